/* The load engine as seen from outside: start, mark, snapshot, stop. Everything behind it is
 * threads that share nothing on the request path. Called from one thread, the owner's. */
#ifndef RUNNER_RUNNER_H
#define RUNNER_RUNNER_H

#include "runner/plan.h"
#include "runner/stats.h"

struct runner;

struct runner_opts {
    const struct load_plan *plan; /* outlives the runner */
    const char
        *connect_to; /* NULL, or "127.0.0.1:NNNN": where connections for the plan's target really
                        go (an embedded proxy); Host header, SNI and reports keep the target */
    const char *trace_path; /* --trace: the sequence of users, tasks, think times, arrivals; NULL */
};

/* Checks what can be checked before a byte is sent: limits raised (open files), ports, target's
 * name resolves, engine chosen. Starts no load. NULL and err on failure. */
struct runner *runner_new(const struct runner_opts *opts, struct err *err);
/* Sentences for the user: limits raised, engine chosen and why. NULL-terminated, owned by the
 * runner. */
const char *const *runner_notes(const struct runner *r);

/* Load begins at `start_ns` (CLOCK_MONOTONIC; now or a little ahead). */
int runner_start(struct runner *r, uint64_t start_ns, struct err *err) MUST_CHECK;

/* From `start_ns` on, requests (by their sched stamp) belong to phase `phase`. Phases only count up
 * and their start instants never go back; a start in the near past is right, because requests are
 * assigned when they end. */
void runner_mark(struct runner *r, uint32_t phase, uint64_t start_ns);

struct runner_status {
    uint64_t users;      /* running now */
    uint64_t users_peak; /* the most since the last call */
    uint64_t users_wanted;
    uint64_t in_flight;
    uint64_t oldest_in_flight_sched_ns; /* 0: none */
    uint64_t arrivals_due, arrivals_dropped;
    uint64_t iterations;
    uint64_t connections; /* open now */
    double cpu_share;     /* of the busiest worker thread since the last call, 0..1 */
    bool all_done;        /* every part ended and nothing is in flight */
};

/* Asks each worker for its delta and waits (at most timeout) for them; merges them into `into`.
 * After runner_stop returned, one last call gives what was left. Returns 1 when some worker did not
 * answer in time. */
int runner_collect(struct runner *r, struct stats *into, struct runner_status *ret,
                   uint64_t timeout_ns);

/* Stops new work at once. Within `grace_ns` in-flight requests may finish; then they are cut and
 * recorded as interrupted (censored). Returns when all workers are silent. Idempotent. */
void runner_stop(struct runner *r, uint64_t grace_ns);
/* Begins the stop without waiting; progress is seen by runner_collect's all_done. */
void runner_stop_begin(struct runner *r, uint64_t grace_ns);

const char *runner_engine(const struct runner *r); /* "native" or "curl" */
size_t runner_threads(const struct runner *r);
void runner_free(struct runner *r); /* stops with no grace if still running */

#endif
