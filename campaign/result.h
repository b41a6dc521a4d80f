/* The result of a run: the one document from which every report is made. result.json is its text
 * form (docs/result.schema.json), and reads back into the same struct, histograms included.
 *
 * Instants inside are ns from the start of the run (t = 0); in JSON they are *_ms numbers. */
#ifndef CAMPAIGN_RESULT_H
#define CAMPAIGN_RESULT_H

#include "chaoslib/chaos.h"
#include "runner/stats.h"

#define RESULT_SCHEMA "chaos-load/result/v1"
#define T_NONE UINT64_MAX /* an instant that did not come */

enum verdict { VERDICT_PASS, VERDICT_FAIL, VERDICT_ERROR, VERDICT_STOPPED, VERDICT_INVALID };
const char *verdict_name(enum verdict v); /* "Pass" … */
bool verdict_by_name(const char *name, enum verdict *ret);

enum phase_kind {
    PHASE_WARM_UP,
    PHASE_BASELINE,
    PHASE_INJECT,
    PHASE_RECOVERY,
    PHASE_COOL_DOWN,
    PHASE_KIND_MAX
};
const char *phase_kind_name(
    enum phase_kind k); /* "warm-up" "baseline" "inject" "recovery" "cool-down" */
enum phase_kind phase_kind_by_name(const char *name); /* PHASE_KIND_MAX when unknown */

/* How many requests of one endpoint ended up in one second of the run; for Locust's --json. */
struct result_second {
    uint32_t at_s; /* seconds from the start */
    uint32_t ok, fail;
};

struct result_endpoint {
    char *name, *method, *user_class;
    char *misdeed; /* "slow-read": what its requests did wrong on purpose; honest: "" or NULL. Only
                      honest ones count into totals, phases and rows. */
    struct cell cell;              /* whole run */
    struct result_second *seconds; /* only seconds in which something was seen, ascending */
    size_t n_seconds;
};

static inline bool endpoint_is_honest(const struct result_endpoint *e)
{
    return !e->misdeed || !*e->misdeed;
}

struct result_phase {
    char *name; /* "inject kill shop #2" */
    enum phase_kind kind;
    int fault;                 /* index in result.faults (an activation); -1 */
    uint64_t start_ns, end_ns; /* end T_NONE while it lasts */
    struct cell cell;
    struct cell **endpoints; /* [n_endpoints], NULL where nothing was seen */
};

/* One of the things that an activation hit; instants T_NONE: not. */
struct result_hit {
    char *name, *id;
    uint64_t requested_ns, effective_ns, reverted_ns;
};

/* One activation of one fault. */
struct result_fault {
    char *name, *kind, *backend, *target;
    char *mechanism;         /* by what, where there is a choice; NULL: none */
    struct result_hit *hits; /* one by one, where it may hit several */
    size_t n_hits;
    unsigned activation;
    uint64_t planned_ns, requested_ns, effective_ns, revert_requested_ns,
        reverted_ns; /* T_NONE: not */
    uint64_t duration_ns;
    bool one_shot, verified_in, verified_out;
    bool observed; /* done by someone else, and seen by a watch */
    enum fault_end ended_by;
    char *error; /* NULL: none */
    /* what users felt */
    bool felt;
    uint64_t time_to_impact_ns;  /* from effective; T_NONE */
    uint64_t time_to_recover_ns; /* from effective to the beginning of the first well hold; T_NONE:
                                    never */
    uint64_t
        time_to_recover_after_removal_ns;    /* from reverted; 0 when it was well before; T_NONE */
    uint64_t recover_hold_ns, resolution_ns; /* hold demanded; error bar of the three above */
    uint64_t requests_lost;                  /* failures from effective until recovered */
    uint64_t requests_slow;         /* successes beyond the slo or baseline p99, same span */
    uint64_t worst_window_ns;       /* start of the worst second in that span; T_NONE */
    double worst_window_error_rate; /* of that second */
    uint64_t worst_window_p95_ns;
    double good_share; /* good during span / would have been good at baseline rate */
};

struct result_threshold {
    char *expression, *phase; /* phase: "" for the whole run */
    bool has_value;           /* false: no sample (not ok unless it asks for none) */
    double value;             /* in the unit of the metric: ms, fraction, per second, count */
    double limit;
    char *unit; /* "ms" "" "/s" "ratio" */
    bool ok, aborted;
    bool at_least; /* it had not come when the run ended: the value is a lower bound, and not ok */
    uint64_t first_broken_ns; /* T_NONE */
};

/* One second of the whole run (rows.ndjson has it per series too). */
struct result_row {
    uint64_t t_ns; /* its beginning */
    int phase;     /* the phase at its end */
    uint64_t users, in_flight, ok, fail, dropped;
    uint64_t fails[FAIL_CLASS_MAX];
    struct hist response; /* successes and censored */
    struct hist failed;   /* failures that are not censored */
};
/* Adds what a cell counted in that second: ok, fail, dropped, fails, response, failed. */
void result_row_count(struct result_row *row, const struct cell *c);

struct result {
    char *run_id, *name, *description, *target, *engine, *version, *seed_text,
        *plan_text; /* plan_text: redacted, may be NULL */
    enum verdict verdict;
    int exit_code;
    char *reason; /* one sentence: why this verdict */
    uint64_t seed;
    uint64_t started_wall_ns, duration_ns;
    const char
        *judged_by; /* "response_time" or "service_time": what thresholds on closed load mean */
    bool open_load;
    struct cell total;
    struct result_endpoint *endpoints;
    size_t n_endpoints;
    struct result_phase *phases;
    size_t n_phases;
    struct result_fault *faults;
    size_t n_faults;
    struct result_threshold *thresholds;
    size_t n_thresholds;
    struct result_row *rows;
    size_t n_rows;
    uint64_t users_max, arrivals_due, iterations;
    unsigned threads;
    double cpu_share_max; /* of the busiest worker thread, worst second */
    uint64_t lag_p99_ns;
    bool complete;                  /* false: rebuilt from rows after a crash */
    char *examples[FAIL_CLASS_MAX]; /* the first failure of its class in words; NULL: none */
    char **notes;
    size_t n_notes; /* limits raised, engine, warnings */
};

struct row; /* observer.h */

/* What a result may hold when it comes from a file. */
#define RESULT_ENDPOINTS_MAX STATS_TASKS_MAX
#define RESULT_PHASES_MAX 1024
#define RESULT_FAULTS_MAX 1024
#define RESULT_HITS_MAX 1000 /* of one activation */
#define RESULT_THRESHOLDS_MAX 1024
#define RESULT_NOTES_MAX 256
#define RESULT_ROWS_MAX 100000 /* seconds: more than a day */

/* Frees what it holds, not itself. */
void result_fault_done(struct result_fault *f);

struct result *result_new(void);
void result_free(struct result *r);
static inline void result_autofree(struct result **r)
{
    result_free(*r);
}
/* Appends one second: copies `second` (with its histogram) into r->rows, and counts `rows` (its
 * series) into endpoints[].seconds. Totals and phases are not touched. */
void result_add_second(struct result *r, const struct result_row *second, const struct row *rows,
                       size_t n);
/* The end of a phase, or of the run so far while it lasts. */
uint64_t result_phase_end_ns(const struct result *r, const struct result_phase *p);
/* The cell of an endpoint in a phase; made when there is none. */
struct cell *result_phase_cell(struct result *r, size_t phase, size_t endpoint);
struct json *result_to_json(const struct result *r);
int result_from_json(const struct json *j, struct result **ret, struct err *err) MUST_CHECK;

#endif
