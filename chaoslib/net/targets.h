/* Whose network is hit: processes whose namespaces are entered. Inside net/ only. */
#ifndef CHAOSLIB_NET_TARGETS_H
#define CHAOSLIB_NET_TARGETS_H

#include "chaoslib/net/params.h"

struct net_target_one {
    struct proc_id id;
    char name[64];
    char hit_id[72];
};
struct net_targets {
    struct net_target_one *v;
    size_t n;
};

/* Resolves, and fills r->target. */
int net_targets_find(struct fault_run *r, const struct net_params *p, struct net_targets *ret,
                     struct err *err) MUST_CHECK;
void net_targets_done(struct net_targets *t);

#endif
