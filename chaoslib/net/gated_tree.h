/* Trees of queueing disciplines on devices: gated.c's hands. */
#ifndef CHAOSLIB_NET_GATED_TREE_H
#define CHAOSLIB_NET_GATED_TREE_H

#include "chaoslib/net/gated.h"
#include "edge/nft.h"

#define GATED_IFB "clifb-"

struct gated_device {
    char name[NET_IFACE_MAX];
    int ifindex;
};
/* Where our trees are, and what is ours: roots with the handle `root`, and the device `ifb`, whose
 * name has the fault's tag in it. */
struct gated_place {
    struct tc *tc;
    struct gated_device devices[NFT_DEVS_MAX];
    size_t n;
    uint32_t root;
    char ifb[NET_IFACE_MAX]; /* "": none */
    int ifb_index;
};

/* Tries them on devices of a namespace made for it. */
int gated_try(const struct gated_trees *t, bool with_ifb, struct err *err);
/* Only defaults of the kernel are on the devices. */
int gated_check_free(struct gated_place *p, struct err *err);
int gated_plant(struct gated_place *p, const struct gated_tree *t, struct err *err);
int gated_plant_ifb(struct gated_place *p, const struct gated_tree *t, struct err *err);
int gated_check(struct gated_place *p, const struct gated_tree *t, struct err *err);
int gated_check_ifb(struct gated_place *p, const struct gated_tree *t, struct err *err);
/* Waits until our trees hold no packet any more; returns how many packets they have let through. */
uint64_t gated_drain(struct gated_place *p, uint64_t deadline_ns);
/* Removes what is ours. 1: nothing was there. */
int gated_uproot(struct gated_place *p, struct err *err);
int gated_check_gone(struct gated_place *p, struct err *err);

#endif
