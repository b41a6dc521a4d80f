/* What a plan says of a network fault, for every effect and every target. Inside net/ only. */
#ifndef CHAOSLIB_NET_PARAMS_H
#define CHAOSLIB_NET_PARAMS_H

#include "chaoslib/net/net.h"

struct net_gemodel {
    double p, r, h1, k1; /* 1-h, 1-k */
};
struct net_states {
    double p13, p31, p32, p23, p14;
};

struct net_params {
    const char *process, *host; /* the target: one of the three */
    struct docker_select docker;
    uint64_t delay_ns, jitter_ns;
    double correlation, percent;
    int distribution;
    struct net_gemodel gemodel;
    struct net_states state;
    int64_t every, packet, gap, limit;
    uint64_t rate_bits, burst_bytes, limit_bytes;
    int mode;
    int direction; /* index: egress, ingress, both */
    struct strs peers, dst, src, port, dport, sport;
    int protocol;
    const char *iface;
    int mechanism;
};

extern const char *const net_mechanism_names[]; /* "auto", then those of net_mechs */

/* Everything resolved; names are looked up now. */
int net_fault_make(const struct net_params *p, enum net_effect effect, struct net_fault *ret,
                   struct err *err) MUST_CHECK;

/* The kinds' tables: [effect][target]. */
enum net_target { NET_PROCESS, NET_DOCKER, NET_HOST, NET_TARGET_MAX };
extern const struct param_table net_tables[NET_EFFECT_MAX][NET_TARGET_MAX];

#endif
