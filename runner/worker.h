/* One thread of load: its own loop, client, users, timers and statistics. Other threads only post
 * to it; it answers through one callback. */
#ifndef RUNNER_WORKER_H
#define RUNNER_WORKER_H

#include "runner/request.h"
#include "runner/stats.h"
#include "runner/trace.h"
#include "runner/user.h"

struct worker;

struct worker_opts {
    const struct load_plan *plan;
    const struct cast *cast;
    const struct request_forms *forms;
    const struct pace_curve *curves; /* [plan->n_parts] */
    const char *connect_to;          /* see runner_opts */
    unsigned index, n_workers;
    bool trace;
};

/* What a worker tells; counts are since the start of the run. */
struct worker_report {
    struct stats *stats; /* the delta; the asker's until it gives it back with the next request */
    uint64_t users, users_peak, users_wanted, in_flight, oldest_sched_ns;
    uint64_t arrivals_due, arrivals_dropped, iterations, connections;
    double cpu_share; /* of this thread since its last report */
    bool done;        /* every part ended and nothing is in flight */
};

struct worker *worker_new(const struct worker_opts *opts, struct err *err);
void worker_free(struct worker *w); /* joins the thread first when it still runs */

/* Called on the worker's thread when a report is ready or the worker has become silent. */
typedef void worker_wake_fn(void *arg);

/* Load begins at start_ns. */
int worker_start(struct worker *w, uint64_t start_ns, worker_wake_fn *wake, void *arg,
                 struct err *err) MUST_CHECK;

/* The following are called by one other thread. */
void worker_mark(struct worker *w, uint32_t phase, uint64_t start_ns);
/* Asks for a report; `cleared` (empty) becomes the worker's next delta. One at a time. */
void worker_ask(struct worker *w, struct stats *cleared);
/* True once per worker_ask, when the answer is there. */
bool worker_answer(struct worker *w, struct worker_report *ret);
/* No new work from now on; at `cut_ns` what is still in flight is cut. May be repeated with an
 * earlier instant. */
void worker_stop(struct worker *w, uint64_t cut_ns);
bool worker_is_silent(const struct worker *w); /* stopped, and nothing in flight */
/* Ends the thread of a silent worker. Afterwards worker_last gives what was left. */
void worker_join(struct worker *w);
void worker_last(struct worker *w, struct worker_report *ret);
/* Any thread, while the worker's runs: the rule is on, or off, when its count of threads says so.
 */
struct misdeed_seat;
void worker_misdeed(struct misdeed_seat *seat, bool on);
struct trace *worker_trace(struct worker *w); /* NULL without opts.trace; after worker_join */

#endif
