/* The mechanism `netem`: the kernel's network emulator, behind a gate. What its words mean is in
 * tc-netem(8). */
#include <string.h>

#include "chaoslib/net/gated.h"

#define DIST_N 4096
#define LIMIT_MIN 10000u
#define LIMIT_MAX 1000000u
#define LIMIT_PPS 400000.0 /* packets in a second of delay: twice of what two cores can send */

static const char *netem_cannot(const struct net_fault *f)
{
    switch (f->effect) {
    case NET_LOSS: return f->shape.loss == NET_NTH ? "it cannot count packets" : NULL;
    case NET_REORDER:
        return f->shape.delay_ns == 0 ? "without a delay there is nothing to overtake" : NULL;
    case NET_LATENCY:
    case NET_CORRUPT:
    case NET_DUPLICATE:
    case NET_RATE: return NULL;
    case NET_PARTITION:
    case NET_TCP_RESET:
    case NET_EFFECT_MAX: break;
    }
    return "it refuses no connection";
}

/* One jitter is TC_DIST_SCALE; the draws are within ±4, which just fits into 16 bits. The kernel
 * takes a uniform one without a table. */
static int16_t *table_of(enum net_distribution d)
{
    int16_t *table = xcalloc(DIST_N, sizeof *table);

    for (int i = 0; i < DIST_N; i++) {
        double x = net_distribution_draw(d, (i + 0.5) / DIST_N) * TC_DIST_SCALE;
        table[i] = (int16_t)MAX(MIN(x, INT16_MAX), INT16_MIN);
    }
    return table;
}

static void put_loss(const struct net_shape *s, struct tc_netem *n)
{
    switch (s->loss) {
    case NET_GEMODEL:
        n->loss_model = TC_LOSS_GEMODEL;
        n->ge_p = tc_share(s->ge[0]);
        n->ge_r = tc_share(s->ge[1]);
        n->ge_1h = tc_share(s->ge[2]);
        n->ge_1k = tc_share(s->ge[3]);
        return;
    case NET_STATE:
        n->loss_model = TC_LOSS_STATE;
        n->p13 = tc_share(s->state[0]);
        n->p31 = tc_share(s->state[1]);
        n->p32 = tc_share(s->state[2]);
        n->p23 = tc_share(s->state[3]);
        n->p14 = tc_share(s->state[4]);
        return;
    case NET_RANDOM:
    case NET_NTH: break;
    }
    n->loss = tc_share(s->percent);
    n->loss_corr = tc_share(s->correlation);
}

static uint32_t limit_of(const struct net_fault *f)
{
    const struct net_shape *s = &f->shape;
    double held_s = (double)(s->delay_ns + 4 * s->jitter_ns) / 1e9;

    if (s->limit)
        return s->limit;
    if (f->effect == NET_RATE && s->limit_bytes)
        return (uint32_t)MAX(MIN(s->limit_bytes / 1500, LIMIT_MAX), UINT64_C(2));
    return (uint32_t)MAX(MIN(held_s * LIMIT_PPS, LIMIT_MAX), LIMIT_MIN);
}

static void put_effect(const struct net_fault *f, struct tc_netem *n)
{
    const struct net_shape *s = &f->shape;

    switch (f->effect) {
    case NET_LATENCY: n->delay_corr = tc_share(s->correlation); return;
    case NET_LOSS: put_loss(s, n); return;
    case NET_CORRUPT:
        n->corrupt = tc_share(s->percent);
        n->corrupt_corr = tc_share(s->correlation);
        return;
    case NET_DUPLICATE:
        n->duplicate = tc_share(s->percent);
        n->duplicate_corr = tc_share(s->correlation);
        return;
    case NET_REORDER:
        n->reorder = tc_share(s->percent);
        n->reorder_corr = tc_share(s->correlation);
        n->gap = MAX(s->gap, 1u);
        return;
    case NET_RATE: n->rate_bytes = s->rate_bits / 8; return;
    case NET_PARTITION:
    case NET_TCP_RESET:
    case NET_EFFECT_MAX: return;
    }
}

/* prio has a band more than anyone asks for: its map of TOS to bands knows the first three only. */
static void netem_make(const struct net_fault *f, uint32_t root, uint32_t leaf,
                       struct gated_trees *ret)
{
    static const uint8_t classic[16] = { 1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1 };
    struct tc_qdisc prio = {
        .handle = root, .parent = TC_ROOT, .kind = TC_PRIO, .prio = { .bands = GATED_CLASS }
    };
    struct tc_qdisc netem = { .handle = leaf,
                              .parent = root | GATED_CLASS,
                              .kind = TC_NETEM,
                              .netem = { .latency_ns = f->shape.delay_ns,
                                         .jitter_ns = f->shape.jitter_ns,
                                         .limit = limit_of(f),
                                         .seed = f->shape.seed } };

    memcpy(prio.prio.priomap, classic, sizeof classic);
    put_effect(f, &netem.netem);
    if (f->shape.jitter_ns && f->shape.distribution != NET_UNIFORM) {
        netem.netem.dist = ret->owned = table_of(f->shape.distribution);
        netem.netem.n_dist = DIST_N;
    }
    ret->device = (struct gated_tree){ .v = { prio, netem }, .n = 2 };
    netem.parent = TC_ROOT;
    netem.handle = root;
    ret->ifb = (struct gated_tree){ .v = { netem }, .n = 1 };
}

static int netem_probe(const struct net_fault *f, struct err *err)
{
    return gated_probe(f, netem_make, err);
}

static int netem_open(const struct net_fault *f, void **ret_state, struct err *err)
{
    return gated_open(f, netem_make, ret_state, err);
}

const struct net_mech net_mech_netem = {
    .name = "netem",
    .summary = "netem, gated by nftables",
    .cannot = netem_cannot,
    .probe = netem_probe,
    .open = netem_open,
    .inject = gated_inject,
    .verify = gated_verify,
    .revert = gated_revert,
    .close = gated_close,
    .residue = gated_residue,
    .undo = gated_undo,
};
