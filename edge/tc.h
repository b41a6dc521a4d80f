/* Queueing disciplines of the network namespace we are in (rtnetlink by libmnl): what `tc qdisc`
 * does, without tc. Only adds, with NLM_F_EXCL, and deletes what the caller named by device and
 * handle: what is there already is never replaced. */
#ifndef EDGE_TC_H
#define EDGE_TC_H

#include "base/err.h"

#define TC_HANDLE(major, minor) ((uint32_t)(major) << 16 | (uint32_t)(minor))
#define TC_ROOT UINT32_C(0xffffffff)
#define TC_PRIO_BANDS_MAX 16
#define TC_DIST_MAX 8192 /* entries of a delay distribution; the kernel takes 16384 */
#define TC_QDISCS_MAX 4096
#define TC_REQUEST_MAX ((size_t)32 << 10)

enum tc_kind {
    TC_OTHER, /* by name only */
    TC_NETEM,
    TC_PRIO,
    TC_TBF,
    TC_BFIFO,
    TC_HTB,
    TC_HTB_CLASS, /* a class of an htb, not a qdisc: `handle` is its class id */
    TC_KIND_MAX
};

enum tc_loss { TC_LOSS_RANDOM, TC_LOSS_STATE, TC_LOSS_GEMODEL };

/* Shares are fractions of UINT32_MAX: tc_share(0.2). Names as in tc-netem(8). */
struct tc_netem {
    uint64_t latency_ns, jitter_ns;
    uint32_t delay_corr;
    const int16_t *dist; /* of n_dist entries, mean 0, TC_DIST_SCALE is one jitter; not dumped */
    size_t n_dist;
    enum tc_loss loss_model;
    uint32_t loss, loss_corr;         /* TC_LOSS_RANDOM */
    uint32_t p13, p31, p32, p23, p14; /* TC_LOSS_STATE */
    uint32_t ge_p, ge_r, ge_1h,
        ge_1k; /* TC_LOSS_GEMODEL: 1-h is the loss while bad, 1-k while good */
    uint32_t duplicate, duplicate_corr;
    uint32_t corrupt, corrupt_corr;
    uint32_t reorder, reorder_corr, gap;
    uint64_t rate_bytes; /* per second; 0 is none */
    uint32_t limit;      /* packets */
    uint64_t seed;       /* for kernels that take one (6.6); not dumped by others */
};
#define TC_DIST_SCALE 8192

struct tc_prio {
    int bands;
    uint8_t priomap[16];
};

/* tbf, and the one class of an htb. */
struct tc_rate {
    uint64_t rate_bytes; /* per second */
    uint32_t burst_bytes;
    uint32_t limit_bytes;      /* tbf: its queue */
    uint64_t peak_rate_bytes;  /* tbf; 0 is none */
    uint32_t peak_burst_bytes; /* with peak_rate_bytes: a packet's size at least */
};

struct tc_htb {
    uint32_t default_class; /* minor number; 0: what no class is named for passes unshaped */
};
struct tc_bfifo {
    uint32_t limit_bytes;
};

struct tc_qdisc {
    int ifindex;
    uint32_t handle, parent;
    enum tc_kind kind;
    /* Filled by tc_dump: the kind's name as the kernel says it, and what it has seen. */
    char name[16];
    uint32_t held_packets, dropped_packets, sent_packets;
    union {
        struct tc_netem netem;
        struct tc_prio prio;
        struct tc_rate rate;
        struct tc_htb htb;
        struct tc_bfifo bfifo;
    };
};

uint32_t tc_share(double fraction);
const char *tc_name(const struct tc_qdisc *q); /* "netem" */
/* Is what was dumped what was asked for? But for the device, and what no kernel tells. */
bool tc_same(const struct tc_qdisc *asked, const struct tc_qdisc *seen);

struct tc;
/* In the network namespace of the calling thread, and stays there. */
struct tc *tc_open(struct err *err);
void tc_close(struct tc *t);
static inline void tc_autofree(struct tc **t)
{
    tc_close(*t);
}

int tc_add(struct tc *t, const struct tc_qdisc *q, struct err *err) MUST_CHECK;
/* By ifindex, parent and handle. 1: it was not there (nor, maybe, the device). */
int tc_delete(struct tc *t, const struct tc_qdisc *q, struct err *err) MUST_CHECK;
/* All of a device (ifindex 0: of every device). The caller frees *ret. */
int tc_dump(struct tc *t, int ifindex, struct tc_qdisc **ret, size_t *ret_n,
            struct err *err) MUST_CHECK;

/* A device of kind `ifb`, up: what is sent to it goes through its qdisc and comes back as received.
 */
int tc_ifb_add(struct tc *t, const char *name, int *ret_ifindex, struct err *err) MUST_CHECK;
/* 1: there is no such device. */
int tc_ifb_delete(struct tc *t, const char *name, struct err *err) MUST_CHECK;

/* ---- the wire, for tests: a message without a socket ---- */
/* The request that tc_add sends, into buf; its length. */
size_t tc_encode(const struct tc_qdisc *q, void *buf);
/* One RTM_NEWQDISC or RTM_NEWTCLASS message of n bytes. False: it is none, or it is broken. */
bool tc_decode(const void *msg, size_t n, struct tc_qdisc *ret);

#endif
