/* Network faults, in the network namespace of a process, of a container, or of this machine.
 *
 * `struct net_params` is what a plan says; `struct net_fault` is the same with everything resolved,
 * as the holder gets it: a helper process inside the namespace (holder.c), which makes the fault by
 * one of the mechanisms of mech.h. */
#ifndef CHAOSLIB_NET_NET_H
#define CHAOSLIB_NET_NET_H

#include <netinet/in.h>

#include "chaoslib/chaos.h"
#include "chaoslib/docker/select.h"

enum net_effect {
    NET_LATENCY,
    NET_LOSS,
    NET_CORRUPT,
    NET_DUPLICATE,
    NET_REORDER,
    NET_RATE,
    NET_PARTITION,
    NET_TCP_RESET,
    NET_EFFECT_MAX
};
const char *net_effect_name(enum net_effect e); /* "latency" */

enum net_direction { NET_EGRESS = 1, NET_INGRESS = 2, NET_BOTH = 3 };
enum net_distribution { NET_UNIFORM, NET_NORMAL, NET_PARETO, NET_PARETONORMAL };
enum net_loss_model { NET_RANDOM, NET_NTH, NET_GEMODEL, NET_STATE };
enum net_mode { NET_DROP, NET_REJECT, NET_RESET };
enum net_proto { NET_ANY, NET_TCP, NET_UDP, NET_ICMP };

/* What happens to a packet. Fractions are 0..1; what an effect does not use is 0. */
struct net_shape {
    uint64_t delay_ns, jitter_ns;
    enum net_distribution distribution;
    double correlation;
    double
        percent; /* of packets, or of connections: loss, corrupt, duplicate, reorder, tcp-reset */
    enum net_loss_model loss;
    double ge[4];         /* gemodel: p, r, 1-h, 1-k */
    double state[5];      /* p13, p31, p32, p23, p14 */
    uint32_t every, nth;  /* NET_NTH: the packets nth, nth + every, … counted from 0 */
    uint32_t gap;         /* reorder */
    uint64_t rate_bits;   /* per second; 0: no pacing */
    uint64_t burst_bytes; /* rate */
    uint64_t limit_bytes; /* rate: the queue; more is dropped */
    uint32_t limit;       /* packets held at once; more pass undelayed: 0: as many as it takes */
    enum net_mode mode;   /* partition */
    uint64_t seed;
};

#define NET_ADDRS_MAX 64
#define NET_PORTS_MAX 16
#define NET_IFACE_MAX 16

struct net_addr {
    int af; /* AF_INET, AF_INET6 */
    uint8_t bytes[16];
    uint8_t prefix; /* 0..32, 0..128 */
};
struct net_addrs {
    struct net_addr v[NET_ADDRS_MAX];
    size_t n;
};
struct net_ports {
    struct {
        uint16_t lo, hi;
    } v[NET_PORTS_MAX];
    size_t n;
};

/* All conditions must hold (AND); within one list any does. Empty: no condition. Address resolution
 * (ARP, neighbour discovery) is never hit. */
struct net_filter {
    struct net_addrs peers; /* the other end: destination on egress, source on ingress */
    struct net_addrs dst, src;
    struct net_ports port; /* either end's */
    struct net_ports dport, sport;
    enum net_proto proto;
    char iface[NET_IFACE_MAX]; /* "": all */
};

struct net_fault {
    enum net_effect effect;
    enum net_direction direction;
    struct net_shape shape;
    struct net_filter filter;
    char mechanism[16]; /* "auto", or the one that the plan wants */
    char tag[24];       /* of run and fault: part of every name we make in the kernel */
};

/* The way to the holder and back: text that a fuzzer may write. */
struct json *net_fault_write(const struct net_fault *f);
int net_fault_read(const struct json *j, struct net_fault *ret, struct err *err) MUST_CHECK;

/* "10.0.0.0/8", "::1", "db.example": appends what it means; names are resolved here and now. */
int net_addrs_add(struct net_addrs *a, const char *text, struct err *err) MUST_CHECK;
/* "80", "8000-8010". */
int net_ports_add(struct net_ports *p, const char *text, struct err *err) MUST_CHECK;
bool net_filter_is_empty(const struct net_filter *f);

/* ---- the model: what happens to the next packet; pure, from a seed ---- */
struct net_model {
    struct net_shape shape;
    struct rng rng;
    bool bad;          /* gemodel, correlated loss */
    unsigned state;    /* the four states */
    double last_delay; /* correlated draws, 0..1 */
    uint64_t counted, since_reorder, free_at_ns;
};
struct net_verdict {
    bool drop, corrupt, duplicate;
    uint64_t release_ns; /* when it goes on; now or before: at once */
};
void net_model_init(struct net_model *m, const struct net_fault *f, uint64_t stream);
struct net_verdict net_model_next(struct net_model *m, enum net_effect effect, uint64_t now_ns,
                                  size_t wire_bytes);
/* A draw of the distribution: mean 0, deviation 1 (uniform: within ±1), from u in [0, 1). Never
 * outside ±4, as netem's tables. */
double net_distribution_draw(enum net_distribution d, double u);

#endif
