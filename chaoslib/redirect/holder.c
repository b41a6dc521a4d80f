/* Inside the target's network namespace: an nftables table of ours redirects new connections to the
 * port, from outside and from inside, to a proxy in this process, which connects to where they were
 * going. Its own connections carry a mark and are let through.
 *
 * Redirection is NAT, and NAT is chosen when a connection begins: those that are open already would
 * pass us by. So what still arrives at the port without our mark is reset, and comes back through
 * us.
 *
 * Only connections to this namespace's own addresses are meant, not those that it forwards. The
 * table and the proxy's sockets end with this process: new connections then go straight to the
 * target, and those that went through us are reset.
 *
 * A connection is redirected once, so of two faults at a port one would be without effect. The
 * table is named after the port: the kernel lets nobody else have it while its owner lives, and the
 * second is refused, whoever's it is. */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "chaoslib/proxy/internal.h"
#include "chaoslib/redirect/redirect.h"
#include "edge/nft.h"

#define OWN_MARK UINT32_C(0x5ca1ab1f)
#define PRIO_NAT (-110) /* before the rules that Docker and others have at -100 */
#define ADDRESSES_MAX 64
#define PROBE_NS (3 * NS_PER_SEC)

struct own_address {
    int family;
    uint8_t bytes[16];
};

struct redirector {
    struct toxic toxic;
    struct proxies *proxies;
    struct nft *nft;
    char table[NFT_NAME_MAX];
    uint16_t port;
    bool reset_open, is_in;
    struct own_address own[ADDRESSES_MAX];
    size_t n_own;
    uint64_t handles[2];
    uint64_t out_ns; /* the last connection that was hit had ended */
    uint64_t in_ns;  /* the kernel switches early in its call and answers milliseconds later */
    uint64_t requests, connections; /* hit, once it is out */
};

/* One proxy for each family; without IPv6 the second is not there. */
static const struct {
    const char *name, *listen;
    int family;
} proxies_of[2] = { { "ip4", "0.0.0.0:0", AF_INET }, { "ip6", "[::]:0", AF_INET6 } };

/* ---- rules ---- */

static void read_addresses(struct redirector *x)
{
    struct ifaddrs *all = NULL;

    if (getifaddrs(&all) < 0)
        return;
    for (const struct ifaddrs *a = all; a && x->n_own < ADDRESSES_MAX; a = a->ifa_next) {
        struct own_address *own = &x->own[x->n_own];
        if (!a->ifa_addr)
            continue;
        own->family = a->ifa_addr->sa_family;
        if (own->family == AF_INET)
            memcpy(own->bytes, &((struct sockaddr_in *)(void *)a->ifa_addr)->sin_addr, 4);
        else if (own->family == AF_INET6)
            memcpy(own->bytes, &((struct sockaddr_in6 *)(void *)a->ifa_addr)->sin6_addr, 16);
        else
            continue;
        x->n_own++;
    }
    freeifaddrs(all);
}

/* A rule for TCP to one of our addresses and the port, without our mark. */
static struct nft_rule *rule_for(const struct redirector *x, struct nft_batch *b, const char *chain,
                                 const struct own_address *own)
{
    struct nft_rule *r = nft_add_rule(b, NFT_INET, x->table, chain);
    bool v4 = own->family == AF_INET;
    uint16_t port = htons(x->port);

    nft_match_family(r, own->family);
    nft_match_l4proto(r, IPPROTO_TCP);
    nft_match_bytes(r, (struct nft_bytes){ NFT_NETWORK_HEADER, v4 ? 16 : 24, v4 ? 4 : 16 }, NFT_EQ,
                    own->bytes);
    nft_match_bytes(r, (struct nft_bytes){ NFT_TRANSPORT_HEADER, 2, 2 }, NFT_EQ, &port);
    nft_match_mark(r, NFT_NEQ, OWN_MARK);
    return r;
}

static uint16_t port_of(struct redirector *x, int family)
{
    char address[64];
    const char *colon;

    for (size_t i = 0; i < ARRAY_LEN(proxies_of); i++)
        if (proxies_of[i].family == family && proxies_has(x->proxies, proxies_of[i].name) &&
            proxies_address(x->proxies, proxies_of[i].name, address, NULL) == 0 &&
            (colon = strrchr(address, ':')))
            return (uint16_t)strtoul(colon + 1, NULL, 10);
    return 0;
}

static void add_chain(const struct redirector *x, struct nft_batch *b, const char *name,
                      unsigned hook)
{
    bool nat = hook != NFT_INPUT;

    nft_add_chain(b, &(struct nft_chain){ .family = NFT_INET,
                                          .table = x->table,
                                          .name = name,
                                          .type = nat ? "nat" : "filter",
                                          .hook = hook,
                                          .prio = nat ? PRIO_NAT : 0 });
}

/* Only what begins a connection. Where nobody tracked connections before us, the kernel takes the
 * next packet of an open one for the first of a new one. */
static void redirect_new(struct nft_rule *r, uint16_t port)
{
    static const uint8_t syn_and_ack = 0x12, syn = 0x02;

    nft_match_masked(r, (struct nft_bytes){ NFT_TRANSPORT_HEADER, 13, 1 }, &syn_and_ack, NFT_EQ,
                     &syn);
    nft_redirect(r, port);
}

static int put_in(struct redirector *x, struct err *err)
{
    struct nft_batch *b = nft_batch_new(x->nft);

    nft_add_table(b, NFT_INET, x->table);
    add_chain(x, b, "outside", NFT_PREROUTING);
    add_chain(x, b, "inside", NFT_OUTPUT);
    add_chain(x, b, "open", NFT_INPUT);
    for (size_t i = 0; i < x->n_own; i++) {
        uint16_t port = port_of(x, x->own[i].family);
        if (port == 0)
            continue;
        redirect_new(rule_for(x, b, "outside", &x->own[i]), port);
        redirect_new(rule_for(x, b, "inside", &x->own[i]), port);
        if (x->reset_open)
            nft_reject(rule_for(x, b, "open", &x->own[i]), true);
    }
    x->in_ns = clock_now_ns();
    int rc = nft_commit(b, err);
    nft_batch_free(b);
    x->is_in = rc == 0;
    if (rc < 0 && nft_has_table(NFT_INET, x->table, NULL) == 0)
        return err_set(err, ERR_TARGET, EBUSY,
                       "port %u is redirected by another fault just now: let that one end first",
                       x->port);
    return rc < 0 ? err_wrap(err, "connections cannot be redirected") : 0;
}

/* ---- proxies ---- */

static int open_proxies(struct redirector *x, struct err *err)
{
    x->proxies = proxies_new(err);
    if (!x->proxies)
        return -EIO;
    for (size_t i = 0; i < ARRAY_LEN(proxies_of); i++) {
        const struct proxy_plan row = { .name = proxies_of[i].name,
                                        .listen = proxies_of[i].listen,
                                        .protocol = PROXY_AUTO,
                                        .mark = OWN_MARK };
        int rc = proxies_add(x->proxies, &row, err);
        if (rc < 0 && proxies_of[i].family == AF_INET)
            return rc;
        if (rc == 0 &&
            proxies_toxic_add(x->proxies, row.name, &x->toxic, &x->handles[i], NULL, err) < 0)
            return -EIO;
    }
    err_clear(err);
    return 0;
}

static void count(struct redirector *x)
{
    if (!x->proxies)
        return;
    x->requests = x->connections = 0;
    for (size_t i = 0; i < ARRAY_LEN(proxies_of); i++) {
        struct toxic_hits h = proxies_toxic_hits(x->proxies, proxies_of[i].name, x->handles[i]);
        x->requests += h.requests;
        x->connections += h.connections;
    }
}

static int probe(struct redirector *x, struct err *err)
{
    uint64_t before = proxies_counts(x->proxies, "ip4").connections,
             until = clock_now_ns() + PROBE_NS;
    auto_free char *to = xasprintf("127.0.0.1:%u", x->port);

    int rc = proxy_addr_probe(to, err);
    if (rc < 0)
        return -EIO;
    if (x->toxic.kind == TOXIC_REFUSE)
        return rc == 1
                   ? 0
                   : err_set(err, ERR_PROBE, EPROTO, "port %u still accepts connections", x->port);
    while (proxies_counts(x->proxies, "ip4").connections == before) {
        if (clock_now_ns() > until)
            return err_set(err, ERR_PROBE, ETIMEDOUT, "a connection to port %u was not redirected",
                           x->port);
        clock_sleep_until(clock_now_ns() + NS_PER_MS);
    }
    return 0;
}

/* First nobody new comes, then those that came are reset while NAT still takes them back, and then
 * the table goes. */
static int take_out(struct redirector *x, struct err *err)
{
    static const char *const chains[] = { "outside", "inside", "open" };
    struct nft_batch *b;

    if (!x->is_in)
        return 0;
    count(x);
    b = nft_batch_new(x->nft);
    for (size_t i = 0; i < ARRAY_LEN(chains); i++)
        nft_flush_chain(b, NFT_INET, x->table, chains[i]);
    int rc = nft_commit(b, err);
    nft_batch_free(b);
    if (rc < 0)
        return rc;
    proxies_free(TAKE(x->proxies));
    x->out_ns = clock_now_ns();
    rc = nft_remove_table(x->nft, NFT_INET, x->table, err);
    if (rc < 0)
        return rc;
    x->is_in = false;
    rc = nft_has_table(NFT_INET, x->table, err);
    return rc == 0 ? err_set(err, ERR_REVERT, EBUSY, "table %s is still there", x->table)
                   : MIN(rc, 0);
}

/* ---- as a helper ---- */

static int redirector_open(struct redirector *x, const struct helper_job *job, struct err *err)
{
    x->port = (uint16_t)json_u64(job->spec, "port", 0);
    x->reset_open = json_bool(job->spec, "reset_open", true);
    snprintf(x->table, sizeof(x->table), "chaos-load-redirect-%u", x->port);
    if (toxic_read(json_get(job->spec, "toxic"), &x->toxic, err) < 0)
        return -EINVAL;
    if (job->n_fds != 1 || setns(job->fds[0], CLONE_NEWNET) < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot enter the network namespace");
    read_addresses(x);
    x->nft = nft_open(err);
    return x->nft ? open_proxies(x, err) : -EIO;
}

static void redirector_close(struct redirector *x)
{
    nft_close(x->nft);
    proxies_free(x->proxies);
    free(x->toxic.headers.keys);
    free(x->toxic.headers.values);
}

static void answer(struct redirector *x, const struct json *question)
{
    auto(json) struct json *reply = json_object();
    const char *what = json_str(question, "do", "");
    struct err err = { 0 };
    int rc = 0;

    if (strcmp(what, "in") == 0)
        rc = put_in(x, &err);
    else if (strcmp(what, "probe") == 0)
        rc = probe(x, &err);
    else if (strcmp(what, "out") == 0)
        rc = take_out(x, &err);
    if (rc < 0) {
        helper_reply_error(&err);
        return;
    }
    json_put_u64(reply, "at_ns", strcmp(what, "out") == 0 ? x->out_ns : x->in_ns);
    json_put_u64(reply, "requests", x->requests);
    json_put_u64(reply, "connections", x->connections);
    helper_reply(reply);
}

static int run(struct helper_job *job)
{
    struct redirector x = { 0 };
    struct err err = { 0 };
    struct json *question;

    if (redirector_open(&x, job, &err) < 0) {
        redirector_close(&x);
        helper_reply_error(&err);
        return 1;
    }
    helper_reply_ok();
    while (helper_next(0, &question) == 0) {
        answer(&x, question);
        json_free(question);
    }
    redirector_close(&x);
    return 0;
}

const struct helper_role redirect_role = { .name = "redirect", .run = run };
