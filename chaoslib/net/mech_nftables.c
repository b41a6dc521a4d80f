/* The mechanism `nftables`: rules of the kernel alone, in tables that end with our socket.
 *
 * What leaves is never dropped in `output`: the sender would be told so (EPERM), as no wire does.
 * It is dropped at the interface (netdev egress) instead. Rejecting is another matter: there the
 * sender is to be told. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chaoslib/net/mech.h"
#include "edge/nft.h"

#define PRIO_IN (-150)   /* behind connection tracking, before any translation: as on the wire */
#define PRIO_OUT 300     /* behind all others */
#define DRAWS 100000000u /* percent to six digits behind the point */
#define TCP_FLAGS_AT 13
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define ICMP_UNREACHABLE 3
#define ICMP6_UNREACHABLE 1

struct state {
    const struct net_fault *fault;
    struct net_fault copy;
    struct nft *nft;
    char table[NFT_NAME_MAX];
    bool uses_inet, uses_netdev;
};

static const char *nftables_cannot(const struct net_fault *f)
{
    switch (f->effect) {
    case NET_LOSS:
        if (f->shape.loss == NET_NTH || (f->shape.loss == NET_RANDOM && f->shape.correlation <= 0))
            return NULL;
        return "it has no loss that remembers";
    case NET_PARTITION:
    case NET_TCP_RESET: return NULL;
    case NET_LATENCY:
    case NET_CORRUPT:
    case NET_DUPLICATE:
    case NET_REORDER:
    case NET_RATE:
    case NET_EFFECT_MAX: break;
    }
    return "it can only drop and reject packets";
}

static bool tells_sender(const struct net_fault *f)
{
    return f->effect == NET_TCP_RESET || (f->effect == NET_PARTITION && f->shape.mode != NET_DROP);
}

/* ---- what is done with a packet that the filter lets through ---- */

static void match_connection(struct nft_rule *r, const struct net_fault *f, int af, bool leaves)
{
    const uint32_t src = af == AF_INET ? 12 : 8, len = af == AF_INET ? 4 : 16;
    const struct nft_bytes near_first[] = {
        { NFT_NETWORK_HEADER, leaves ? src : src + len, len },
        { NFT_NETWORK_HEADER, leaves ? src + len : src, len },
        { NFT_TRANSPORT_HEADER, leaves ? 0 : 2, 2 },
        { NFT_TRANSPORT_HEADER, leaves ? 2 : 0, 2 },
    };

    nft_match_hash(r, near_first, ARRAY_LEN(near_first), (uint32_t)f->shape.seed,
                   (uint32_t)(f->shape.percent * DRAWS + 0.5), DRAWS);
}

/* Each connection is judged by its addresses and ports, the same in both directions. Its first
 * packets pass, so that it is a connection which is reset. */
static void reset_connections(struct nft_batch *b, const struct state *s, const char *chain,
                              bool leaves)
{
    static const int families[] = { AF_INET, AF_INET6 };
    const uint8_t flags = TCP_SYN | TCP_RST, none = 0;

    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct nft_rule *r = nft_add_rule(b, NFT_INET, s->table, chain);
        nft_match_family(r, families[i]);
        nft_match_l4proto(r, IPPROTO_TCP);
        nft_match_masked(r, (struct nft_bytes){ NFT_TRANSPORT_HEADER, TCP_FLAGS_AT, 1 }, &flags,
                         NFT_EQ, &none);
        if (s->fault->shape.percent < 1)
            match_connection(r, s->fault, families[i], leaves);
        nft_counter(r);
        nft_reject(r, true);
    }
}

/* The kernel's own refusals leave by the same way. */
static void let_refusals_pass(struct nft_batch *b, const struct state *s, const char *chain)
{
    static const struct {
        uint8_t proto, offset, mask, value;
    } refusals[] = {
        { IPPROTO_TCP, TCP_FLAGS_AT, TCP_RST, TCP_RST },
        { IPPROTO_ICMP, 0, 0xff, ICMP_UNREACHABLE },
        { IPPROTO_ICMPV6, 0, 0xff, ICMP6_UNREACHABLE },
    };

    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        struct nft_rule *r = nft_add_rule(b, NFT_INET, s->table, chain);
        nft_match_l4proto(r, refusals[i].proto);
        nft_match_masked(r, (struct nft_bytes){ NFT_TRANSPORT_HEADER, refusals[i].offset, 1 },
                         &refusals[i].mask, NFT_EQ, &refusals[i].value);
        nft_accept(r);
    }
}

static void refuse(struct nft_batch *b, const struct state *s, const char *chain)
{
    let_refusals_pass(b, s, chain);
    if (s->fault->shape.mode == NET_RESET) {
        struct nft_rule *r = nft_add_rule(b, NFT_INET, s->table, chain);
        nft_match_l4proto(r, IPPROTO_TCP);
        nft_counter(r);
        nft_reject(r, true);
    }
    struct nft_rule *r = nft_add_rule(b, NFT_INET, s->table, chain);
    nft_counter(r);
    nft_reject(r, false);
}

static void lose(struct nft_batch *b, const struct state *s, enum nft_family family,
                 const char *chain)
{
    const struct net_shape *shape = &s->fault->shape;
    struct nft_rule *r = nft_add_rule(b, family, s->table, chain);

    if (s->fault->effect == NET_LOSS && shape->loss == NET_NTH)
        nft_match_nth(r, shape->every, shape->nth);
    else if (s->fault->effect == NET_LOSS && shape->percent < 1)
        nft_match_random(r, (uint32_t)(shape->percent * DRAWS + 0.5), DRAWS);
    nft_counter(r);
    nft_drop(r);
}

static void act(struct nft_batch *b, const struct state *s, enum nft_family family,
                const char *chain, bool leaves)
{
    if (s->fault->effect == NET_TCP_RESET)
        reset_connections(b, s, chain, leaves);
    else if (tells_sender(s->fault))
        refuse(b, s, chain);
    else
        lose(b, s, family, chain);
}

/* ---- one direction: a chain at a hook, the filter, the deed ---- */

static void add_direction(struct nft_batch *b, const struct state *s, enum net_direction d)
{
    bool leaves = d == NET_EGRESS, at_device = leaves && !tells_sender(s->fault);
    enum nft_family family = at_device ? NFT_NETDEV : NFT_INET;
    const char *from = leaves ? "egress" : "ingress", *to = leaves ? "hit-egress" : "hit-ingress";
    char names[NFT_DEVS_MAX][NET_IFACE_MAX];
    const char *devs[NFT_DEVS_MAX];
    size_t n = at_device ? net_interfaces(s->fault, names, NFT_DEVS_MAX) : 0;

    for (size_t i = 0; i < n; i++)
        devs[i] = names[i];
    nft_add_chain(b, &(struct nft_chain){
                         .family = family,
                         .table = s->table,
                         .name = from,
                         .type = "filter",
                         .hook = at_device ? NFT_DEV_EGRESS
                                 : leaves  ? (unsigned)NFT_OUTPUT
                                           : (unsigned)NFT_PREROUTING,
                         .prio = leaves ? PRIO_OUT : PRIO_IN,
                         .devs = devs,
                         .n_devs = n,
                     });
    nft_add_chain(b, &(struct nft_chain){ .family = family, .table = s->table, .name = to });
    act(b, s, family, to, leaves);
    net_match_add(
        b, &s->fault->filter,
        &(struct net_match){
            .family = family, .table = s->table, .from = from, .to = to, .direction = d });
}

static int nftables_inject(void *state, struct err *err)
{
    struct state *s = state;
    struct nft_batch *b = nft_batch_new(s->nft);

    if (s->uses_inet)
        nft_add_table(b, NFT_INET, s->table);
    if (s->uses_netdev)
        nft_add_table(b, NFT_NETDEV, s->table);
    if (s->fault->direction & NET_INGRESS)
        add_direction(b, s, NET_INGRESS);
    if (s->fault->direction & NET_EGRESS)
        add_direction(b, s, NET_EGRESS);
    int rc = nft_commit(b, err);
    nft_batch_free(b);
    return rc;
}

static int nftables_open(const struct net_fault *f, void **ret_state, struct err *err)
{
    struct state *s = xcalloc(1, sizeof *s);

    s->copy = *f;
    s->fault = &s->copy;
    s->uses_netdev = (f->direction & NET_EGRESS) && !tells_sender(f);
    s->uses_inet = (f->direction & NET_INGRESS) || tells_sender(f);
    net_table_name(f, s->table);
    *ret_state = s;
    s->nft = nft_open(err);
    return s->nft ? 0 : -EIO;
}

static void nftables_close(void *state)
{
    struct state *s = state;

    nft_close(s->nft);
    free(s);
}

static int nftables_revert(void *state, uint64_t drain_ns, struct err *err)
{
    struct state *s = state;
    int rc = nft_remove_table(s->nft, NFT_INET, s->table, err);

    (void)drain_ns; /* nothing is held */
    return rc < 0 ? rc : nft_remove_table(s->nft, NFT_NETDEV, s->table, err);
}

static int look(struct state *s, enum nft_family family, const char *chain, bool in,
                uint64_t *packets, struct err *err)
{
    uint64_t n = 0;
    int rc = nft_has_table(family, s->table, err);

    if (rc < 0)
        return rc;
    if ((rc == 0) != in)
        return err_set(err, in ? ERR_INJECT : ERR_REVERT, EIO, "nftables table '%s' is %s",
                       s->table, in ? "not there" : "still there");
    if (in && nft_count(s->nft, family, s->table, chain, &n, err) < 0)
        return -EIO;
    *packets += n;
    return 0;
}

static int nftables_verify(void *state, bool in, struct json *evidence, struct err *err)
{
    struct state *s = state;
    uint64_t packets = 0;
    enum nft_family out = s->uses_netdev ? NFT_NETDEV : NFT_INET;

    if ((s->fault->direction & NET_INGRESS) &&
        look(s, NFT_INET, "hit-ingress", in, &packets, err) < 0)
        return -EIO;
    if ((s->fault->direction & NET_EGRESS) && look(s, out, "hit-egress", in, &packets, err) < 0)
        return -EIO;
    json_put_str(evidence, "table", s->table);
    json_put_u64(evidence, "packets", packets);
    return 0;
}

/* The deed, in a chain that nothing leads to: what the kernel lacks, it says. */
static int nftables_probe(const struct net_fault *f, struct err *err)
{
    void *state = NULL;
    struct net_fault dead = *f;

    snprintf(dead.tag, sizeof dead.tag, "probe-%.16s", f->tag);
    int rc = nftables_open(&dead, &state, err);
    if (rc == 0) {
        struct state *s = state;
        struct nft_batch *b = nft_batch_new(s->nft);
        nft_add_table(b, NFT_INET, s->table);
        nft_add_chain(b, &(struct nft_chain){ .family = NFT_INET, .table = s->table, .name = "x" });
        if (s->uses_netdev)
            nft_add_table(b, NFT_NETDEV, s->table);
        act(b, s, NFT_INET, "x", true);
        rc = nft_commit(b, err);
        nft_batch_free(b);
    }
    if (state)
        nftables_close(state);
    return rc;
}

const struct net_mech net_mech_nftables = {
    .name = "nftables",
    .summary = "nftables, in a table that ends with us",
    .cannot = nftables_cannot,
    .probe = nftables_probe,
    .open = nftables_open,
    .inject = nftables_inject,
    .verify = nftables_verify,
    .revert = nftables_revert,
    .close = nftables_close,
};
