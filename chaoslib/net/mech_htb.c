/* The mechanism `htb`: a token bucket of the kernel, behind a gate. htb rather than tbf, since its
 * root lets pass what no class is named for, and since it takes packets larger than the bucket,
 * which are common inside one machine (segments are put together until they leave it). */
#include "chaoslib/net/gated.h"

#define BURST_MIN 2048u

static const char *htb_cannot(const struct net_fault *f)
{
    if (f->effect != NET_RATE)
        return "it can only limit a rate";
    return f->shape.rate_bits < 64 ? "it can do 64 bit/s and more" : NULL;
}

/* A bucket of 5 ms where none is asked for: more would let a short answer pass at full speed. */
static uint32_t burst_of(const struct net_shape *s)
{
    uint64_t burst = s->burst_bytes ? s->burst_bytes : s->rate_bits / 8 / 200;

    return (uint32_t)MAX(MIN(burst, UINT32_MAX), BURST_MIN);
}

static void htb_make(const struct net_fault *f, uint32_t root, uint32_t leaf,
                     struct gated_trees *ret)
{
    uint64_t limit = f->shape.limit_bytes ? f->shape.limit_bytes : UINT64_C(1) << 20;
    struct tc_qdisc htb = { .handle = root, .parent = TC_ROOT, .kind = TC_HTB };
    struct tc_qdisc class = { .handle = root | GATED_CLASS,
                              .parent = root,
                              .kind = TC_HTB_CLASS,
                              .rate = { .rate_bytes = f->shape.rate_bits / 8,
                                        .burst_bytes = burst_of(&f->shape) } };
    struct tc_qdisc fifo = { .handle = leaf,
                             .parent = root | GATED_CLASS,
                             .kind = TC_BFIFO,
                             .bfifo = { .limit_bytes = (uint32_t)MIN(limit, UINT32_MAX) } };

    ret->device = (struct gated_tree){ .v = { htb, class, fifo }, .n = 3 };
    htb.htb.default_class = GATED_CLASS;
    ret->ifb = (struct gated_tree){ .v = { htb, class, fifo }, .n = 3 };
}

static int htb_probe(const struct net_fault *f, struct err *err)
{
    return gated_probe(f, htb_make, err);
}

static int htb_open(const struct net_fault *f, void **ret_state, struct err *err)
{
    return gated_open(f, htb_make, ret_state, err);
}

const struct net_mech net_mech_htb = {
    .name = "htb",
    .summary = "token bucket (htb), gated by nftables",
    .cannot = htb_cannot,
    .probe = htb_probe,
    .open = htb_open,
    .inject = gated_inject,
    .verify = gated_verify,
    .revert = gated_revert,
    .close = gated_close,
    .residue = gated_residue,
    .undo = gated_undo,
};
