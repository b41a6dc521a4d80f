/* Queueing disciplines behind a gate: what netem and rate limits have in common.
 *
 * A qdisc outlives whoever added it. So we add it where no packet goes by itself, a band or a class
 * of a root of our own, and lead packets there by a rule in a table that the kernel removes with
 * our socket. When we die, all packets pass at once, those held go on at their time, and an idle
 * qdisc is left, which `undo` takes away.
 *
 *     leaves   postrouting:  meta priority set ROOT:4        → the device's qdisc, band or class 4
 *     arrives  the device's ingress hook:  fwd to an ifb     → the ifb's qdisc, and back to the
 * device
 */
#ifndef CHAOSLIB_NET_GATED_H
#define CHAOSLIB_NET_GATED_H

#include "chaoslib/net/mech.h"
#include "edge/tc.h"

#define GATED_CLASS 4
#define GATED_QDISCS_MAX 3

/* From the root down; ifindex is filled in for each device. */
struct gated_tree {
    struct tc_qdisc v[GATED_QDISCS_MAX];
    size_t n;
};
struct gated_trees {
    struct gated_tree device; /* with a root that lets all pass but what is led to GATED_CLASS */
    struct gated_tree ifb;    /* all that comes here is hit */
    void *owned;              /* what the trees point to; freed with them */
};
/* `root` and `leaf` are major numbers of our own, as handles. */
typedef void gated_make_fn(const struct net_fault *f, uint32_t root, uint32_t leaf,
                           struct gated_trees *ret);

/* Tries the trees in a namespace made for it; looks whether the fault's devices are free. */
int gated_probe(const struct net_fault *f, gated_make_fn *make, struct err *err);
int gated_open(const struct net_fault *f, gated_make_fn *make, void **ret_state, struct err *err);

/* As in struct net_mech. */
int gated_inject(void *state, struct err *err);
int gated_verify(void *state, bool in, struct json *evidence, struct err *err);
int gated_revert(void *state, uint64_t drain_ns, struct err *err);
void gated_close(void *state);
void gated_residue(const void *state, struct json *record);
int gated_undo(const struct json *record, struct err *err);

#endif
