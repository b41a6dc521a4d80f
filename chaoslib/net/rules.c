/* A filter as chains of rules: each condition is a chain in which every alternative leads on to the
 * next; what falls off its end passes. So the number of rules is the sum of the alternatives, not
 * their product. */
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "chaoslib/net/mech.h"
#include "edge/nft.h"

#define STAGES_MAX 9
#define ND_FIRST 133 /* router solicitation … */
#define ND_LAST 137  /* … redirect */

void net_table_name(const struct net_fault *f, char out[64])
{
    snprintf(out, 64, "chaos-load-%s", f->tag);
}

size_t net_interfaces(const struct net_fault *f, char out[][NET_IFACE_MAX], size_t max)
{
    struct if_nameindex *list;
    size_t n = 0;

    if (f->filter.iface[0]) {
        snprintf(out[0], NET_IFACE_MAX, "%s", f->filter.iface);
        return 1;
    }
    list = if_nameindex();
    for (size_t i = 0; list && list[i].if_index && n < max; i++)
        snprintf(out[n++], NET_IFACE_MAX, "%s", list[i].if_name);
    if (list)
        if_freenameindex(list);
    return n;
}

/* ---- the stages ---- */

struct stages {
    struct nft_batch *batch;
    const struct net_match *m;
    char names[STAGES_MAX + 1][NFT_NAME_MAX]; /* chain of each, and the last: `to` */
    size_t n, now;
};

static struct nft_rule *rule(struct stages *s)
{
    return nft_add_rule(s->batch, s->m->family, s->m->table, s->names[s->now]);
}

static void on(const struct stages *s, struct nft_rule *r)
{
    nft_goto(r, s->names[s->now + 1]);
}

static void match_addr(struct stages *s, const struct net_addr *a, bool is_dst)
{
    bool v4 = a->af == AF_INET;
    uint8_t mask[16] = { 0 };
    struct nft_rule *r = rule(s);

    for (unsigned bit = 0; bit < a->prefix; bit++)
        mask[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
    nft_match_family(r, a->af);
    nft_match_masked(r,
                     (struct nft_bytes){ .base = NFT_NETWORK_HEADER,
                                         .offset = v4       ? is_dst ? 16 : 12
                                                   : is_dst ? 24
                                                            : 8,
                                         .len = v4 ? 4 : 16 },
                     mask, NFT_EQ, a->bytes);
    on(s, r);
}

static void addrs_stage(struct stages *s, const struct net_addrs *a, bool is_dst)
{
    if (a->n == 0)
        return;
    for (size_t i = 0; i < a->n; i++)
        match_addr(s, &a->v[i], is_dst);
    s->now++;
}

static void match_ports(struct stages *s, const struct net_ports *p, uint32_t offset)
{
    static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };
    const struct nft_bytes at = { .base = NFT_TRANSPORT_HEADER, .offset = offset, .len = 2 };

    for (size_t i = 0; i < p->n; i++) {
        for (size_t k = 0; k < ARRAY_LEN(protos); k++) {
            uint16_t lo = htons(p->v[i].lo), hi = htons(p->v[i].hi);
            struct nft_rule *r = rule(s);
            nft_match_l4proto(r, protos[k]);
            nft_match_bytes(r, at, NFT_GTE, &lo);
            nft_match_bytes(r, at, NFT_LTE, &hi);
            on(s, r);
        }
    }
}

static void ports_stage(struct stages *s, const struct net_ports *p, bool source, bool destination)
{
    if (p->n == 0)
        return;
    if (source)
        match_ports(s, p, 0);
    if (destination)
        match_ports(s, p, 2);
    s->now++;
}

static void proto_stage(struct stages *s, enum net_proto proto)
{
    static const uint8_t numbers[][2] = {
        [NET_TCP] = { IPPROTO_TCP, IPPROTO_TCP },
        [NET_UDP] = { IPPROTO_UDP, IPPROTO_UDP },
        [NET_ICMP] = { IPPROTO_ICMP, IPPROTO_ICMPV6 },
    };

    if (proto == NET_ANY)
        return;
    for (size_t i = 0; i < 2; i++) {
        struct nft_rule *r = rule(s);
        nft_match_l4proto(r, numbers[proto][i]);
        on(s, r);
    }
    s->now++;
}

/* The hook of netdev is at one interface anyway. */
static void iface_stage(struct stages *s, const char *iface)
{
    if (!*iface || s->m->family == NFT_NETDEV)
        return;
    struct nft_rule *r = rule(s);
    if (s->m->direction == NET_EGRESS)
        nft_match_oif(r, iface);
    else
        nft_match_iif(r, iface);
    on(s, r);
    s->now++;
}

/* First what is never hit: our own copies, and the finding of neighbours. */
static void first_stage(struct stages *s)
{
    const struct nft_bytes type = { .base = NFT_TRANSPORT_HEADER, .offset = 0, .len = 1 };
    uint8_t lo = ND_FIRST, hi = ND_LAST;
    struct nft_rule *r;

    if (s->m->skip_mark) {
        r = rule(s);
        nft_match_mark(r, NFT_EQ, s->m->skip_mark);
        nft_accept(r);
    }
    if (s->m->family == NFT_NETDEV) { /* which sees ARP, too */
        r = rule(s);
        nft_match_family(r, AF_INET);
        on(s, r);
    }
    r = rule(s);
    nft_match_family(r, AF_INET6);
    nft_match_l4proto(r, IPPROTO_ICMPV6);
    nft_match_bytes(r, type, NFT_GTE, &lo);
    nft_match_bytes(r, type, NFT_LTE, &hi);
    nft_accept(r);
    r = rule(s);
    if (s->m->family == NFT_NETDEV)
        nft_match_family(r, AF_INET6);
    on(s, r);
    s->now++;
}

static size_t count_stages(const struct net_filter *f, const struct net_match *m)
{
    return 1 + (f->iface[0] && m->family != NFT_NETDEV) + (f->proto != NET_ANY) + (f->peers.n > 0) +
           (f->dst.n > 0) + (f->src.n > 0) + (f->port.n > 0) + (f->dport.n > 0) + (f->sport.n > 0);
}

void net_match_add(struct nft_batch *b, const struct net_filter *f, const struct net_match *m)
{
    struct stages s = { .batch = b, .m = m, .n = count_stages(f, m) };

    snprintf(s.names[0], NFT_NAME_MAX, "%s", m->from);
    snprintf(s.names[s.n], NFT_NAME_MAX, "%s", m->to);
    for (size_t i = 1; i < s.n; i++) {
        snprintf(s.names[i], NFT_NAME_MAX, "%s-%zu", m->from, i);
        nft_add_chain(
            b, &(struct nft_chain){ .family = m->family, .table = m->table, .name = s.names[i] });
    }
    first_stage(&s);
    iface_stage(&s, f->iface);
    proto_stage(&s, f->proto);
    addrs_stage(&s, &f->peers, m->direction == NET_EGRESS);
    addrs_stage(&s, &f->dst, true);
    addrs_stage(&s, &f->src, false);
    ports_stage(&s, &f->port, true, true);
    ports_stage(&s, &f->dport, false, true);
    ports_stage(&s, &f->sport, true, false);
}
