/* `experiment`: one of Litmus as chaos-runner starts it, in a Job's pod. The plan comes from the
 * environment; its thresholds become probes of the ChaosResult, with their numbers. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "campaign/campaign.h"
#include "campaign/report_fmt.h"
#include "chaoslib/chaos.h"
#include "chaoslib/litmus/litmus.h"
#include "cli/flags.h"
#include "cli/opts.h"
#include "cli/plan_source.h"
#include "cli/verbs.h"

#define WORDS_MAX 256

/* ---- what the load is ---- */

struct load_env {
    const char *url, *plan_file, *tasks, *thresholds, *arrivals, *spawn_rate, *connect;
    int64_t users;
};

static const struct param load_env_rows[] = {
    PARAM(STR, "TARGET_URL", struct load_env, url, .def = "",
          .help = "where the load goes: http://shop.default:8080"),
    PARAM(STR, "PLAN_FILE", struct load_env, plan_file, .def = "",
          .help = "a whole plan, mounted from a ConfigMap or Secret; what follows overrides it"),
    PARAM(INT, "USERS", struct load_env, users, .def = "0", .lo = 0, .hi = 1000000,
          .help = "users at once; default 10 without a plan"),
    PARAM(STR, "SPAWN_RATE", struct load_env, spawn_rate, .def = "",
          .help = "users begun per second"),
    PARAM(STR, "ARRIVALS", struct load_env, arrivals, .def = "",
          .help = "open load instead of users: 500/s"),
    PARAM(STR, "TASKS", struct load_env, tasks, .def = "",
          .help = "what users do, one per line or semicolon: GET / 3; POST /order"),
    PARAM(STR, "THRESHOLDS", struct load_env, thresholds, .def = "",
          .help = "what is still acceptable, one per line or semicolon"),
};
static const struct param_table load_env_table = { .title = "load env",
                                                   .rows = load_env_rows,
                                                   .n = ARRAY_LEN(load_env_rows) };

struct words {
    char *v[WORDS_MAX];
    int n;
};

static void word(struct words *w, const char *option, const char *value)
{
    if (w->n < WORDS_MAX && *value)
        w->v[w->n++] = xasprintf("%s%s", option, value);
}

/* "a; b\nc" as one option each. */
static void each_word(struct words *w, const char *option, const char *list)
{
    while (*list) {
        size_t n = strcspn(list, ";\n");
        auto_free char *one = xstrndup(list, n);
        char *from = one + strspn(one, " \t\r");

        for (size_t len = strlen(from); len && strchr(" \t\r", from[len - 1]);)
            from[--len] = '\0';
        word(w, option, from);
        list += n + (list[n] != '\0');
    }
}

static void words_done(struct words *w)
{
    for (int i = 0; i < w->n; i++)
        free(w->v[i]);
}

static void words_of(const struct load_env *e, int64_t duration_s, struct words *w)
{
    auto_free char *users = e->users ? xasprintf("%lld", (long long)e->users) : xstrdup("");
    auto_free char *seconds = xasprintf("%lld", (long long)duration_s);

    word(w, "", e->plan_file);
    word(w, "--host=", e->url);
    word(w, "--users=", *users || *e->plan_file || *e->arrivals ? users : "10");
    word(w, "--spawn-rate=", e->spawn_rate);
    word(w, "--arrivals=", e->arrivals);
    each_word(w, "--task=", e->tasks);
    each_word(w, "--threshold=", e->thresholds);
    word(w, "--run-time=", seconds);
}

/* ---- one experiment ---- */

struct experiment {
    struct litmus l;
    struct plan plan;
    char *mistakes; /* of env and plan; NULL: none */
    struct observer told;
};

static void read_load(struct experiment *x, struct arena *arena)
{
    struct load_env env;
    struct words w = { .n = 0 };
    struct verb_args args = { 0 };
    struct diag diag;
    bool wants_help = false;

    diag_init(&diag);
    if (litmus_env_read(&load_env_table, arena, &diag, &env) == 0) {
        words_of(&env, x->l.env.duration_s, &w);
        opts_parse(&verb_run, w.n, w.v, &args, &wants_help, &diag);
        if (diag.n == 0 && plan_from_args_quietly(&args, &diag, &x->plan) == 0)
            for (size_t i = 0; i < x->plan.n_thresholds; i++)
                litmus_probe_add(&x->l, x->plan.thresholds[i].expression, "loadProbe", "EOT");
        opts_done(&args);
    }
    if (diag.n)
        x->mistakes = xstrdup(buf_str(&diag.text));
    diag_done(&diag);
    words_done(&w);
}

static void load_begins(void *arg, const struct plan *p, const struct result *r)
{
    struct experiment *x = arg;
    auto_free char *message = xasprintf("Injecting %s chaos", x->l.env.experiment);

    (void)p;
    (void)r;
    litmus_event_engine(&x->l, "ChaosInject", "Normal", message);
}

/* The numbers, where everyone who looks at the ChaosResult sees them. */
static void put_numbers(struct experiment *x, const struct result *r)
{
    char measured[FMT_LEN], limit[FMT_LEN], p95[FMT_LEN];

    for (size_t i = 0; i < r->n_thresholds && i < x->l.n_probes; i++) {
        const struct result_threshold *t = &r->thresholds[i];
        struct litmus_probe *p = &x->l.probes[i];

        p->verdict = t->ok ? PROBE_PASSED : PROBE_FAILED;
        free(p->description);
        p->description = xasprintf("%s: %s, limit %s", t->expression,
                                   t->has_value ? fmt_measured(t, measured) : "no sample",
                                   fmt_value(t->limit, t->unit, limit));
    }
    uint64_t n = r->total.n_ok + r->total.n_fail;
    auto_free char *text =
        xasprintf("%llu requests, %llu failed, p(95) %s", (unsigned long long)n,
                  (unsigned long long)r->total.n_fail,
                  fmt_value((double)hist_quantile_ns(&r->total.response, 0.95) / 1e6, "ms", p95));
    x->l.annotations = json_object();
    json_put_str(x->l.annotations, "chaos-load/load", text);
    json_put_str(x->l.annotations, "chaos-load/reason", r->reason ? r->reason : "");
    json_put_str(x->l.annotations, "chaos-load/run", r->run_id ? r->run_id : "");
}

static void take_result(struct experiment *x, const struct result *r)
{
    auto(json) struct json *j = result_to_json(r);
    auto_free char *line = json_print(j, false);

    if (r->verdict == VERDICT_PASS || r->verdict == VERDICT_FAIL)
        put_numbers(x, r);
    if (r->verdict == VERDICT_STOPPED)
        latch_set(x->l.abort);
    else if (r->verdict == VERDICT_INVALID || r->verdict == VERDICT_ERROR)
        litmus_fail(&x->l, r->n_faults ? "CHAOS_INJECT_ERROR" : "GENERIC_ERROR", r->target,
                    r->reason ? r->reason : "the load could not run");
    printf("%s\n", line);
    fflush(stdout);
}

static void drive(struct litmus *l, void *arg)
{
    struct experiment *x = arg;
    struct observer *term = term_observer_new(STDERR_FILENO, TERM_PLAIN, false);
    struct observer *observers[] = { &x->told, term, NULL };
    struct result *result = NULL;
    struct err err = { 0 };
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (x->mistakes) {
        litmus_fail(l, "GENERIC_ERROR", NULL, x->mistakes);
    } else if (n > 0) {
        self[n] = '\0';
        const struct campaign_opts opts = { .plan = &x->plan,
                                            .observers = observers,
                                            .self_path = self };
        err_ignore(campaign_run(&opts, &result, &err), "the result says it");
        take_result(x, result);
        if (err_is_set(&err))
            litmus_fail(l, "GENERIC_ERROR", NULL, err.msg);
    }
    result_free(result);
    if (term && term->free)
        term->free(term->arg);
}

/* ---- the verb ---- */

static struct latch *stop; // set by signals; a pod's first process has no default action

static void on_signal(int number)
{
    (void)number;
    if (stop)
        latch_set(stop);
}

static int live(struct experiment *x, const char *name)
{
    const struct litmus_experiment life = { .name = name, .drive = drive, .arg = x };
    struct sigaction act = { .sa_handler = on_signal };
    struct err err = { 0 };

    stop = x->l.abort;
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    int rc = litmus_live(&x->l, &life, &err);
    stop = NULL; /* the latch goes with the experiment */
    if (err_is_set(&err))
        fprintf(stderr, "chaos-load: %s\n", err.msg);
    return rc < 0 ? EXIT_COULD_NOT_RUN : rc;
}

static int experiment_verb(const struct verb *v, const struct verb_args *args)
{
    const char *name = opt_value(args, "name") ? opt_value(args, "name") : "chaos-loadgen";
    struct arena *arena = arena_new(0);
    struct experiment x = { 0 };
    struct err err = { 0 };
    int rc;

    (void)v;
    if (strcmp(name, "chaos-loadgen") != 0) {
        fprintf(stderr, "chaos-load: there is no experiment '%s'; there is: chaos-loadgen\n", name);
        rc = EXIT_USAGE;
    } else if (litmus_open(&x.l, name, opt_value(args, "kubeconfig"), arena, &err) < 0) {
        fprintf(stderr, "chaos-load: %s\n", err.msg);
        rc = EXIT_COULD_NOT_RUN;
    } else {
        x.told = (struct observer){ .arg = &x, .begin = load_begins };
        read_load(&x, arena);
        rc = live(&x, name);
        litmus_done(&x.l);
        plan_free(&x.plan);
        free(x.mistakes);
    }
    arena_free(arena);
    return rc;
}

static const struct opt experiment_options[] = {
    { "name", 0, OPT_ONE, "EXPERIMENT", "which one; default chaos-loadgen", NULL, "chaos-loadgen" },
    { "kubeconfig", 0, OPT_ONE, "FILE", "default: that of the pod", NULL, "file" },
    { 0 },
};

const struct verb verb_experiment = {
    .name = "experiment",
    .summary = "run as a LitmusChaos experiment, in the pod that chaos-runner makes",
    .usage = "experiment [--name EXPERIMENT]",
    .description =
        "Reads its environment as chaos-runner sets it, puts load on the target, and writes the "
        "ChaosResult: each threshold is a probe of it, with its number. Exit code 0 once the load "
        "ran, whatever the verdict; 1 after an abort; 3 when it could not begin.",
    .examples = "chaos-load experiment --name chaos-loadgen",
    .opts = experiment_options,
    .one_dash = true,
    .hidden = true,
    .run = experiment_verb,
};
