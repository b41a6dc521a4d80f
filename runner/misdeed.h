/* Misdeeds: what users do to a server by being bad clients, on purpose. A rule says which share of
 * the requests (or users) of a class does what; while it is on, each worker draws for each request
 * whether it misbehaves. The draw depends on the seed, the user and its turn alone.
 *
 * A misbehaving request has a connection of its own and is recorded in a series of its own, "GET /
 * (slow-read)", so that honest users' figures hold honest users only. */
#ifndef RUNNER_MISDEED_H
#define RUNNER_MISDEED_H

#include "runner/plan.h"

struct misdeed_rule {
    enum misdeed_kind kind;
    int64_t user_class;     /* -1: all */
    double percent;         /* share of the requests; RETRY_STORM: of the users */
    uint64_t seed;          /* of the draws */
    uint64_t bytes_per_sec; /* SLOW_READ (0: as it comes), SLOW_SEND */
    uint64_t pause_ns;      /* SLOW_READ: reads nothing for so long first */
    uint64_t buffer_bytes;  /* SLOW_READ: SO_RCVBUF */
    uint64_t hold_ns;       /* HALF_OPEN, TLS_STALL: how long the connection is kept */
    bool sends_half;        /* HALF_OPEN: half of the request instead of nothing */
    uint64_t after_bytes;   /* ABORT: of the answer; 0: right after the request */
    uint64_t size_bytes;    /* BIG_HEADERS: of all that is added */
    uint64_t n_headers;     /* BIG_HEADERS: in so many fields */
    uint64_t retries;       /* RETRY_STORM: at most, after a failure */
};

bool misdeed_has_answer(
    enum misdeed_kind kind);                  /* its requests are whole, and so are their answers */
bool misdeed_is_held(enum misdeed_kind kind); /* it consists of keeping a connection */

/* ---- from outside: any thread, while the runner runs ---- */
struct runner;
struct misdeed;
/* Returns when every load thread does it; NULL when one did not answer in time (then none does).
 * The runner keeps it until runner_free. */
struct misdeed *runner_misdeed_begin(struct runner *r, const struct misdeed_rule *rule,
                                     struct err *err);
/* Returns when no thread does it any more and nothing of it is in flight: what was is cut.
 * Idempotent. */
int runner_misdeed_end(struct runner *r, struct misdeed *m, struct err *err) MUST_CHECK;
struct misdeed_counts {
    uint64_t threads;   /* that do it now */
    uint64_t requests;  /* that misbehaved so far; RETRY_STORM: that were tried again */
    uint64_t in_flight; /* of these, now */
};
struct misdeed_counts misdeed_counts(const struct misdeed *m);

#endif
