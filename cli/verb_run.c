/* `run`: the plan, the observers it asks for, and the campaign. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "campaign/campaign.h"
#include "campaign/dry_run.h"
#include "cli/flags.h"
#include "cli/plan_source.h"
#include "cli/run_log.h"
#include "cli/verbs.h"

#define OBSERVERS_MAX 8

struct observers {
    struct observer *v[OBSERVERS_MAX + 1];
    struct observer log;
    size_t n;
};

/* ---- observers ---- */

static int add(struct observers *o, struct observer *one, const struct err *err)
{
    if (!one) {
        fprintf(stderr, "chaos-load: %s\n", err->msg);
        return EXIT_COULD_NOT_RUN;
    }
    o->v[o->n++] = one;
    return 0;
}

static int add_rows(struct observers *o, const struct output_plan *out)
{
    auto_free char *in_dir = out->out_dir ? xasprintf("%s/rows.ndjson", out->out_dir) : NULL;
    const char *const paths[] = { in_dir, out->rows };
    struct err err = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (!paths[i])
            continue;
        int rc = add(o, rows_observer_new(paths[i], &err), &err);
        if (rc)
            return rc;
    }
    return 0;
}

static int add_term(struct observers *o, const struct verb_args *args)
{
    enum term_mode mode = opt_given(args, "quiet")   ? TERM_QUIET
                          : opt_given(args, "plain") ? TERM_PLAIN
                                                     : TERM_AUTO;
    const struct err err = { .msg = "no terminal view" };
    bool only_summary = opt_given(args, "only-summary");
    struct observer *term =
        term_observer_new(STDERR_FILENO, only_summary && mode != TERM_QUIET ? TERM_PLAIN : mode,
                          run_wants_colour(args));

    if (term && only_summary && mode != TERM_QUIET) {
        term->begin = NULL;
        term->phase = NULL;
        term->fault = NULL;
        term->tick = NULL;
    }
    return add(o, term, &err);
}

/* The live view takes log lines to itself; with --logfile they go on to the file. */
static void log_begin(void *arg, const struct plan *p, const struct result *r)
{
    (void)p;
    (void)r;
    log_set_sink(run_log_to_file, arg);
}

/* Files first: the terminal's last words then know that they are written. */
static int add_all(struct observers *o, const struct plan *p, const struct verb_args *args,
                   int *log_fd) // NOLINT(readability-non-const-parameter): an observer's argument
{
    const struct output_plan *out = &p->out;
    struct err err = { 0 };
    int rc = add(o, files_observer_new(out, &err), &err);

    if (rc == 0)
        rc = add_rows(o, out);
    if (rc == 0 && out->csv_prefix)
        rc = add(o, locust_csv_observer_new(out->csv_prefix, out->csv_full_history, &err), &err);
    if (rc == 0)
        rc = add_term(o, args);
    if (rc == 0 && *log_fd >= 0) {
        o->log = (struct observer){ .arg = log_fd, .begin = log_begin };
        o->v[o->n++] = &o->log;
    }
    return rc;
}

static void free_all(struct observers *o)
{
    for (size_t i = 0; i < o->n; i++)
        if (o->v[i]->free)
            o->v[i]->free(o->v[i]->arg);
}

/* ---- run ---- */

static bool self_path(char out[4096])
{
    ssize_t n = readlink("/proc/self/exe", out, 4095);

    if (n < 0)
        return false;
    out[n] = '\0';
    return true;
}

static int run_campaign(const struct plan *p, const struct verb_args *args, int *log_fd)
{
    struct observers observers = { 0 };
    struct result *result = NULL;
    struct err err = { 0 };
    char self[4096];
    int rc = add_all(&observers, p, args, log_fd);

    if (rc == 0 && !self_path(self)) {
        fprintf(stderr, "chaos-load: /proc is needed, and cannot be read\n");
        rc = EXIT_COULD_NOT_RUN;
    }
    if (rc == 0) {
        const struct campaign_opts opts = { .plan = p,
                                            .observers = observers.v,
                                            .trace_path = opt_value(args, "trace"),
                                            .out_dir = p->out.out_dir,
                                            .self_path = self };
        rc = campaign_run(&opts, &result, &err);
        if (err_is_set(&err))
            fprintf(stderr, "chaos-load: %s\n", err.msg);
    }
    result_free(result);
    free_all(&observers);
    return rc;
}

static int run(const struct verb *v, const struct verb_args *args)
{
    struct plan plan;
    int log_fd = -1;
    int rc = run_log_set(args, &log_fd);

    (void)v;
    if (rc == 0) {
        rc = plan_from_args(args, &plan);
        plan.dry_run = opt_given(args, "dry-run");
        if (rc == 0)
            rc = plan.dry_run ? dry_run(&plan, stdout) : run_campaign(&plan, args, &log_fd);
        plan_free(&plan);
    }
    if (log_fd >= 0) {
        log_set_sink(NULL, NULL);
        close(log_fd);
    }
    return rc;
}

const struct verb verb_run = {
    .name = "run",
    .summary = "put load on a target, break it on the same clock, and judge",
    .usage = "run [OPTIONS] [PLAN.yaml]",
    .description = "Reads the plan (- is standard input), or takes all from the options; an option "
                   "overrides what "
                   "the plan says. Load and faults run on one clock, and the reports tell for each "
                   "phase what the "
                   "users felt. Ctrl-C once stops the load, takes all faults back and reports; "
                   "twice takes them "
                   "back at once.\n\n"
                   "On the command line a bare number is seconds, or per second. Thresholds read "
                   "like k6's and may "
                   "be bound to a phase, a fault or a window; see chaos-load-plan(5).",
    .examples =
        "chaos-load run -H http://127.0.0.1:5001 -u 100 -r 10 -t 2m --task 'GET / 3' --task 'GET "
        "/health'\n"
        "chaos-load run -H http://127.0.0.1:5001 --arrivals 500/s -t 1m --threshold 'errors: rate "
        "< 1%'\n"
        "chaos-load run -H http://127.0.0.1:5001 -u 50 -t 90s --process 'shop=python3 app.py' \\\n"
        "    --fault 'kill process=shop at=30s restart_after=2s' --threshold 'recovery_time: max < "
        "5s'\n"
        "chaos-load run plan.yaml -t 30s --out results/",
    .opts = plan_options,
    .run = run,
};
