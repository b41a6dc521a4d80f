/* What must fit together in a command line of Pumba. Pumba itself finds some of it out only when it
 * runs, and some never. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "chaoslib/pumba/args.h"

static int check_ports(const char *flag, const char *text, struct err *err)
{
    for (const char *p = text; *p;) {
        char one[16];
        uint64_t port;
        size_t n = strcspn(p, ",");

        snprintf(one, sizeof(one), "%.*s", (int)MIN(n, 15), p);
        if (n > 15 || parse_u64(one, 0, 65535, &port, err) < 0)
            return err_set(err, ERR_USAGE, EINVAL,
                           "--%s '%.60s': ports are numbers from 0 to 65535, separated by commas",
                           flag, text);
        p += n + (p[n] == ',');
    }
    return 0;
}

static bool is_address(const char *text)
{
    char address[64];
    uint64_t bits;
    size_t n = strcspn(text, "/");
    uint8_t raw[16];

    snprintf(address, sizeof(address), "%.*s", (int)MIN(n, 63), text);
    int family = strchr(address, ':') ? AF_INET6 : AF_INET;
    if (n > 63 || inet_pton(family, address, raw) != 1)
        return false;
    return !text[n] || parse_u64(text + n + 1, 0, family == AF_INET ? 32 : 128, &bits, NULL) == 0;
}

static int check_addresses(const char *flag, const struct strs *list, struct err *err)
{
    for (size_t i = 0; i < list->n; i++)
        if (!is_address(list->v[i]))
            return err_set(err, ERR_USAGE, EINVAL,
                           "--%s '%.60s': not an address, nor one with /bits", flag, list->v[i]);
    return 0;
}

static bool is_interface(const char *name)
{
    if (!isalpha((unsigned char)*name))
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr(".:_-", *name))
            return false;
    return true;
}

/* `\d+[gmk]?bit` */
static bool is_rate(const char *text)
{
    size_t n = strspn(text, "0123456789");

    if (n == 0)
        return false;
    text += n;
    if (*text && strchr("gmk", *text))
        text++;
    return strcmp(text, "bit") == 0;
}

static int check_lasting(const struct pumba_line *l, struct err *err)
{
    bool always = l->command == PUMBA_NETEM || l->command == PUMBA_IPTABLES;

    if (!always && l->command != PUMBA_PAUSE && l->command != PUMBA_STOP &&
        l->command != PUMBA_STRESS)
        return 0;
    if (l->duration_ns == 0)
        return err_set(err, ERR_USAGE, EINVAL, "%s needs --duration, such as 20s",
                       pumba_command_name(l->command));
    if (always && l->interval_ns && l->duration_ns >= l->interval_ns)
        return err_set(err, ERR_USAGE, EINVAL, "--duration must be shorter than --interval");
    return 0;
}

static int check_effects(const struct pumba_line *l, struct err *err)
{
    int n = l->delay.on + l->loss.on + l->corrupt.on + l->duplicate.on + l->rate.on;

    if (l->effect == PUMBA_COMBINE && n < 2)
        return err_set(err, ERR_USAGE, EINVAL,
                       "combine needs two at least of --delay, --loss, --corrupt, --duplicate, "
                       "--rate");
    if (l->delay.on && l->delay.time_ms <= 0)
        return err_set(err, ERR_USAGE, EINVAL, "the delay must be above 0 ms");
    if (l->delay.on && l->delay.jitter_ms > l->delay.time_ms)
        return err_set(err, ERR_USAGE, EINVAL, "the jitter (%lld ms) is above the delay (%lld ms)",
                       (long long)l->delay.jitter_ms, (long long)l->delay.time_ms);
    if (l->rate.on && !is_rate(l->rate.rate))
        return err_set(err, ERR_USAGE, EINVAL,
                       "rate '%.40s': write digits and bit, kbit, mbit or gbit", l->rate.rate);
    return 0;
}

static int check_netem(const struct pumba_line *l, struct err *err)
{
    if (!is_interface(l->interface))
        return err_set(err, ERR_USAGE, EINVAL, "--interface '%.40s': not a name of an interface",
                       l->interface);
    if (check_addresses("target", &l->net_targets, err) < 0 ||
        check_ports("egress-port", l->egress_port, err) < 0 ||
        check_ports("ingress-port", l->ingress_port, err) < 0)
        return -EINVAL;
    return check_effects(l, err);
}

static int check_iptables(const struct pumba_line *l, struct err *err)
{
    bool ports = strcmp(l->protocol, "tcp") == 0 || strcmp(l->protocol, "udp") == 0;

    if (!is_interface(l->interface))
        return err_set(err, ERR_USAGE, EINVAL, "--interface '%.40s': not a name of an interface",
                       l->interface);
    if (check_addresses("source", &l->source, err) < 0 ||
        check_addresses("destination", &l->destination, err) < 0 ||
        check_ports("src-port", l->src_port, err) < 0 ||
        check_ports("dst-port", l->dst_port, err) < 0)
        return -EINVAL;
    if (!ports && (*l->src_port || *l->dst_port))
        return err_set(err, ERR_USAGE, EINVAL, "ports need --protocol tcp or udp");
    if (strcmp(l->mode, "nth") != 0)
        return 0;
    if (l->every < 1)
        return err_set(err, ERR_USAGE, EINVAL, "mode nth needs --every above 0");
    if (l->packet >= l->every)
        return err_set(err, ERR_USAGE, EINVAL, "--packet must be below --every (%lld)",
                       (long long)l->every);
    return 0;
}

static int check_targets(const struct pumba_line *l, struct err *err)
{
    bool named = l->command == PUMBA_KILL || l->command == PUMBA_STOP || l->command == PUMBA_RM;

    if (named && !l->targets.n && !l->pattern)
        return err_set(err, ERR_USAGE, EINVAL,
                       "%s needs containers: a name, several, or a pattern such as 're2:^shop'",
                       pumba_command_name(l->command));
    if (strcmp(l->runtime, "containerd") == 0 && l->labels.n)
        return err_set(err, ERR_USAGE, EINVAL, "Pumba knows no --label with --runtime containerd");
    return 0;
}

int pumba_check(const struct pumba_line *l, struct err *err)
{
    if (check_targets(l, err) < 0 || check_lasting(l, err) < 0)
        return -EINVAL;
    if (l->command == PUMBA_NETEM)
        return check_netem(l, err);
    return l->command == PUMBA_IPTABLES ? check_iptables(l, err) : 0;
}
