/* Faults that the load itself makes: its users are bad clients. The load is not ours to know; this
 * is the door through which it is asked, and whoever runs both fills it in. */
#ifndef CHAOSLIB_CLIENT_PORT_H
#define CHAOSLIB_CLIENT_PORT_H

#include "chaoslib/chaos.h"

#define CLIENT_ANY "any"
#define CLIENT_HEADERS_BYTES_MAX ((uint64_t)16 << 20)
#define CLIENT_FIELD_MIN 64 /* bytes of one added header field */

struct client_params {
    const char *client;   /* the user class, or CLIENT_ANY */
    double percent;       /* share of the requests; retry-storm: of the users */
    uint64_t rate_bits;   /* slow-read (0: as fast as it comes), slow-send */
    uint64_t pause_ns;    /* slow-read */
    uint64_t buffer;      /* slow-read */
    uint64_t hold_ns;     /* half-open, tls-stall */
    int sends;            /* half-open: 0 nothing, 1 half of the request */
    uint64_t after_bytes; /* abort */
    uint64_t size;        /* big-headers */
    int64_t count;        /* big-headers */
    int64_t retries;      /* retry-storm */
};

struct client_fault {
    const char *kind;
    const struct client_params *params; /* outlives the fault */
    uint64_t seed;                      /* of the draws */
};

struct client_counts {
    uint64_t threads;   /* of the load that do it now */
    uint64_t requests;  /* that misbehaved so far, or were tried again */
    uint64_t in_flight; /* of these, now */
};

/* All from any thread, while the load runs. */
struct client_port {
    void *arg;
    /* The whole load does it when this returns. NULL: none of it does. */
    void *(*begin)(void *arg, const struct client_fault *f, struct err *err);
    /* None of it does, and nothing of it is in flight, when this returns 0. Idempotent. */
    int (*end)(void *arg, void *fault, struct err *err);
    struct client_counts (*counts)(void *arg, const void *fault);
};

#endif
