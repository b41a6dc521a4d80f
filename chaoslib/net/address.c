/* Addresses, ports and how people write them. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "chaoslib/net/net.h"

#define TEXT_MAX 256

bool net_filter_is_empty(const struct net_filter *f)
{
    return f->peers.n == 0 && f->dst.n == 0 && f->src.n == 0 && f->port.n == 0 && f->dport.n == 0 &&
           f->sport.n == 0;
}

static bool is_same(const struct net_addr *a, const struct net_addr *b)
{
    return a->af == b->af && a->prefix == b->prefix &&
           memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static int add(struct net_addrs *a, const struct net_addr *addr, const char *text, struct err *err)
{
    for (size_t i = 0; i < a->n; i++)
        if (is_same(&a->v[i], addr))
            return 0;
    if (a->n == NET_ADDRS_MAX)
        return err_set(err, ERR_LIMIT, E2BIG, "'%s': more than %d addresses: use a CIDR", text,
                       NET_ADDRS_MAX);
    a->v[a->n++] = *addr;
    return 0;
}

/* Bits past the prefix count for nothing, and a rule compares all. */
static void trim(struct net_addr *a)
{
    for (unsigned bit = a->prefix; bit < 8 * sizeof a->bytes; bit++)
        a->bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
}

static int add_name(struct net_addrs *a, const char *name, struct err *err)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(name, NULL, &hints, &list), added = 0;

    if (rc != 0)
        return err_set(err, ERR_TARGET, ENOENT,
                       "'%s' is no address, no CIDR, and no host name that resolves: %s", name,
                       gai_strerror(rc));
    for (const struct addrinfo *i = list; i && added == 0; i = i->ai_next) {
        struct net_addr addr = { .af = i->ai_family };
        if (i->ai_family == AF_INET) {
            const struct sockaddr_in *in = (const void *)i->ai_addr;
            memcpy(addr.bytes, &in->sin_addr, 4);
            addr.prefix = 32;
        } else if (i->ai_family == AF_INET6) {
            const struct sockaddr_in6 *in6 = (const void *)i->ai_addr;
            memcpy(addr.bytes, &in6->sin6_addr, 16);
            addr.prefix = 128;
        } else {
            continue;
        }
        added = add(a, &addr, name, err);
    }
    freeaddrinfo(list);
    return added;
}

int net_addrs_add(struct net_addrs *a, const char *text, struct err *err)
{
    char host[TEXT_MAX];
    struct net_addr addr = { .af = AF_INET };
    const char *slash = strchr(text, '/');
    uint64_t prefix = 0;

    snprintf(host, sizeof host, "%.*s", (int)(slash ? slash - text : (long)strlen(text)), text);
    if (inet_pton(AF_INET, host, addr.bytes) != 1) {
        addr.af = AF_INET6;
        if (inet_pton(AF_INET6, host, addr.bytes) != 1) {
            if (slash || !*text)
                return err_set(err, ERR_TARGET, EINVAL,
                               "'%s' is no address: write 10.0.0.0/8, fd00::/8 or a host name",
                               text);
            return add_name(a, text, err);
        }
    }
    addr.prefix = addr.af == AF_INET ? 32 : 128;
    if (slash) {
        if (parse_u64(slash + 1, 0, addr.prefix, &prefix, err) < 0)
            return err_wrap(err, "'%s'", text);
        addr.prefix = (uint8_t)prefix;
    }
    trim(&addr);
    return add(a, &addr, text, err);
}

int net_ports_add(struct net_ports *p, const char *text, struct err *err)
{
    char low[TEXT_MAX];
    const char *dash = strchr(text, '-');
    uint64_t lo, hi;

    snprintf(low, sizeof low, "%.*s", (int)(dash ? dash - text : (long)strlen(text)), text);
    if (parse_u64(low, 1, UINT16_MAX, &lo, NULL) < 0 ||
        parse_u64(dash ? dash + 1 : low, 1, UINT16_MAX, &hi, NULL) < 0)
        return err_set(err, ERR_USAGE, EINVAL, "'%s' is no port: write 80 or 8000-8010", text);
    if (lo > hi)
        return err_set(err, ERR_USAGE, EINVAL, "'%s' is an empty range", text);
    if (p->n == NET_PORTS_MAX)
        return err_set(err, ERR_LIMIT, E2BIG, "more than %d ports: use a range", NET_PORTS_MAX);
    p->v[p->n].lo = (uint16_t)lo;
    p->v[p->n++].hi = (uint16_t)hi;
    return 0;
}
