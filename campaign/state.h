/* The inside of a campaign, shared by the files that make it up: campaign.c (the clock and the
 * loop), injector.c (fault threads), phases.c, measure.c (from deltas to seconds), felt.c (what
 * users felt of each fault), evaluate.c (thresholds), verdict.c, setup.c (target, processes,
 * proxies), tell.c (the observers).
 *
 * All of it belongs to the campaign's thread, but for what injector.c guards with its lock. */
#ifndef CAMPAIGN_STATE_H
#define CAMPAIGN_STATE_H

#include <pthread.h>

#include "campaign/campaign.h"
#include "campaign/observed.h"
#include "campaign/plan.h"
#include "campaign/result.h"
#include "chaoslib/client/port.h"
#include "chaoslib/guardian.h"
#include "chaoslib/journal.h"
#include "runner/runner.h"

#define TICK_NS (100 * NS_PER_MS)
#define ROWS_MAX 3600 /* then two seconds become one row, so that memory stays bounded */

/* ---- injector: one thread per activation ---- */
struct slot {
    struct campaign *campaign;
    struct activation act;
    size_t result_index; /* in result.faults */
    pthread_t thread;
    bool launched, joined; /* joined: the thread ended and was collected */
    bool finished;         /* under injector.lock: its last word was said */
    bool skipped;          /* the load ended before its turn */
    struct fault_run run;  /* the fault thread's */
    struct fault_run seen; /* the campaign's copy: the last event */
    bool in_phase;         /* its inject phase began */
    bool out;              /* reverted, or gone: its recovery began */
    bool observed;         /* by someone else: no thread of ours */
};

struct fault_event {
    size_t slot;
    struct fault_run run; /* by value */
    bool last;
};

struct injector {
    pthread_mutex_t lock;
    struct fault_event *events;
    size_t n_events, cap_events;
    int wake_fd; /* eventfd: something is in events */
};

/* ---- felt: what users saw of one activation, followed online with bounded memory ---- */
struct window {
    uint64_t n, start_ns, ok, fail, slow;
    double expected;
};

struct felt {
    bool active, done;
    uint64_t effective_ns, reverted_ns; /* from start; reverted T_NONE */
    uint64_t window_ns;                 /* resolution: long enough to expect a few requests */
    uint64_t hold_ns;
    struct window now;
    uint64_t well_since_ns; /* T_NONE: not well now */
    uint64_t first_bad_ns;
    uint64_t suspect_ns, bad_from_ns; /* a slow window that may be none; where a bad one began */
    uint64_t lost, slow, good;        /* since effective */
    uint64_t lost_at_well, slow_at_well, good_at_well;
    double expected, expected_at_well;
};

/* Figures of the baseline, frozen when the first fault begins. */
struct baseline {
    bool known;
    uint64_t ok, fail;
    double unit_seconds; /* integral of users wanted and arrival rate over the baseline */
    double ok_per_unit_second;
    double error_share, slow_share;
    uint64_t slow_ns; /* a success slower than this is "slow": the plan's slo, or from baseline */
};

/* ---- thresholds ---- */
struct watch {
    const struct threshold *t;
    struct hist *ring_hist; /* window: one per second */
    uint64_t *ring_ok, *ring_fail;
    size_t ring_len, ring_at, ring_n;
    bool has_worst;
    double worst; /* window: the worst value so far */
};

struct campaign {
    const struct campaign_opts *opts;
    const struct plan *plan;
    struct load_plan load; /* the plan's, with the target as it really is */
    struct result *result;
    struct runner *runner;
    struct runner_status status;
    struct stats *delta, *second; /* of this tick; of this second */

    struct chaos_env env;
    struct client_port client_port; /* env.client */
    struct process_plan *rows;      /* the plan's processes and the embedded target */
    size_t n_rows;
    char *target_url, *connect_to;
    struct latch *abort, *hurry;

    struct slot *slots;
    size_t n_slots, cap_slots; /* more than planned when there is a watch */
    struct observed observed;
    struct injector injector;

    uint64_t start_ns;           /* CLOCK_MONOTONIC of t = 0 */
    uint64_t next_tick_ns;       /* monotonic */
    uint64_t second_start_ns;    /* from start */
    uint64_t load_end_ns;        /* from start; T_NONE: open end */
    unsigned row_span, row_fill; /* seconds a row holds; and the last one holds now */
    int signal_fd;
    unsigned signals;  /* how many SIGINT or SIGTERM */
    bool stopping;     /* the load was asked to end */
    bool aborted;      /* by a threshold */
    bool faults_over;  /* no further activation begins */
    bool unguarded;    /* the guardian died */
    struct err failed; /* why the verdict is Error */

    struct baseline baseline;
    struct felt *felt; /* one per slot */
    struct watch *watches;
    unsigned seconds, busy_seconds;
    uint64_t last_second_requests, last_second_failures;
    uint64_t p50_ns, p95_ns, p99_ns; /* of the last full second */
    struct cell *second_cell;
};

static inline uint64_t since_start(const struct campaign *c, uint64_t mono_ns)
{
    return mono_ns > c->start_ns ? mono_ns - c->start_ns : 0;
}

/* setup.c: everything that must be there before the first byte; setup_undo on every way out. */
int setup_engine(struct campaign *c, struct err *err) MUST_CHECK;
int setup_target(struct campaign *c, struct err *err) MUST_CHECK;
int setup_safety(struct campaign *c,
                 struct err *err) MUST_CHECK; /* journal and guardian, when there are faults */
void setup_undo(struct campaign *c);

/* injector.c */
int injector_init(struct campaign *c, struct err *err) MUST_CHECK;
void injector_wake(struct injector *in); /* from any thread */
void injector_launch_due(struct campaign *c, uint64_t now_ns);
uint64_t injector_next_ns(
    const struct campaign *c);           /* monotonic instant of the next launch; UINT64_MAX */
void injector_drain(struct campaign *c); /* handles what fault threads said */
bool injector_is_idle(const struct campaign *c);  /* no thread runs */
bool injector_has_more(const struct campaign *c); /* something is still to come */
void injector_join(struct campaign *c);           /* after the abort latch was set: waits for all */
void injector_done(struct campaign *c);

/* phases.c */
void phases_begin(struct campaign *c);
void phases_announce(struct campaign *c); /* once the runner has started */
void phases_tick(struct campaign *c, uint64_t t_ns);
void phases_fault_in(struct campaign *c, size_t slot, uint64_t t_ns);
void phases_fault_out(struct campaign *c, size_t slot, uint64_t t_ns);
void phases_end(struct campaign *c, uint64_t t_ns);
struct result_phase *phases_current(const struct campaign *c);

/* measure.c */
void measure_tick(struct campaign *c, uint64_t now_ns);
void measure_last(struct campaign *c);

/* felt.c */
void felt_freeze_baseline(struct campaign *c);
void felt_begin(struct campaign *c, size_t slot, uint64_t effective_ns);
void felt_reverted(struct campaign *c, size_t slot, uint64_t reverted_ns);
/* What finished in [t, t + TICK) of the run: counts of this tick. */
void felt_tick(struct campaign *c, uint64_t t_ns, const struct stats *delta);
void felt_end(struct campaign *c, uint64_t t_ns);

/* evaluate.c */
void evaluate_init(struct campaign *c);
void evaluate_second(struct campaign *c, uint64_t t_ns); /* may set c->aborted */
void evaluate_end(struct campaign *c);
void evaluate_done(struct campaign *c);

/* verdict.c */
void verdict_decide(struct campaign *c);

/* tell.c: the observers, all in order */
void tell_begin(struct campaign *c);
void tell_phase(struct campaign *c, size_t phase);
void tell_fault(struct campaign *c, size_t fault);
void tell_second(struct campaign *c, const struct result_row *second, const struct row *rows,
                 size_t n);
void tell_tick(struct campaign *c, uint64_t t_ns);
void tell_end(struct campaign *c);

#endif
