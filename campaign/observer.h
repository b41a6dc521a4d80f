/* Observers are told of what happens: the terminal, files, later the web page, Prometheus and
 * Litmus. All calls come from the campaign's thread, in order; arguments live during the call; none
 * may block for long. Any callback may be NULL. */
#ifndef CAMPAIGN_OBSERVER_H
#define CAMPAIGN_OBSERVER_H

#include "campaign/plan.h"
#include "campaign/result.h"

/* What a live view needs, ten times a second. */
struct live {
    uint64_t t_ns, planned_duration_ns; /* 0: open end */
    uint64_t users, users_wanted, in_flight, arrivals_dropped;
    double rate, fail_rate;      /* requests and failures per second, over the last full second */
    uint64_t requests, failures; /* since the start */
    /* response time over the last full second; T_NONE: no answer in it */
    uint64_t p50_ns, p95_ns, p99_ns;
    const struct result_phase *phase;
    const struct fault_run *const *active;
    size_t n_active;
    const char *next_fault; /* NULL: none to come */
    uint64_t next_fault_ns;
    const struct result *so_far; /* totals, phases, faults, thresholds as known now */
    bool stopping;
};

/* One second of one series; rows.ndjson has one line for each. */
struct row {
    uint64_t t_ns;
    uint32_t phase, endpoint;
    const struct cell *cell;
};

struct observer {
    void *arg;
    void (*begin)(void *arg, const struct plan *p, const struct result *r);
    void (*phase)(void *arg, const struct result *r, size_t phase); /* a phase began */
    void (*fault)(void *arg, const struct result *r,
                  size_t fault); /* something about an activation changed */
    void (*second)(void *arg, const struct result *r, const struct result_row *second,
                   const struct row *rows, size_t n);
    void (*tick)(void *arg, const struct live *live);
    /* 0, or negative with err: the run's exit code tells that a report could not be written. */
    int (*end)(void *arg, const struct plan *p, const struct result *r, struct err *err);
    void (*free)(void *arg);
};

/* ---- the observers of this folder (report_*.c, term.c, rows.c); NULL and err on failure ---- */
struct observer *rows_observer_new(const char *path,
                                   struct err *err); /* rows.ndjson, flushed each second */
struct observer *files_observer_new(const struct output_plan *out,
                                    struct err *err); /* all reports, written at end */
struct observer *locust_csv_observer_new(const char *prefix, bool full_history, struct err *err);
enum term_mode { TERM_AUTO, TERM_LIVE, TERM_PLAIN, TERM_QUIET };
struct observer *term_observer_new(int fd, enum term_mode mode, bool colour);

/* ---- reports from a finished result; each writes the whole file atomically (temporary name, then
 * rename) ---- */
void report_html(const struct result *r, struct buf *out);
void report_markdown(const struct result *r, struct buf *out);
void report_junit(const struct result *r, struct buf *out);
void report_text(const struct result *r, bool colour, unsigned width,
                 struct buf *out); /* terminal summary */
void report_locust_stats_csv(const struct result *r, struct buf *out);
void report_locust_failures_csv(const struct result *r, struct buf *out);
void report_locust_json(const struct result *r, struct buf *out); /* Locust's --json */
int report_write_file(const char *path, const struct buf *text,
                      struct err *err) MUST_CHECK; /* "-": stdout */
/* result.json, report.html, summary.md, junit.xml into dir. */
int report_write_all(const struct result *r, const char *dir, struct err *err) MUST_CHECK;
/* From rows.ndjson of a killed run: what can be known, complete = false. */
int result_from_rows(const char *text, size_t len, struct result **ret, struct err *err) MUST_CHECK;

#endif
