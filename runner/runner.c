/* The load engine's outside: makes ready what threads share (forms, curves, choices), starts the
 * threads, and gathers what they measured. The owner's thread sleeps on one condition; workers wake
 * it when an answer or the silence is there. */
#include "runner/runner.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"
#include "runner/client.h"
#include "runner/limits.h"
#include "runner/misdeed_internal.h"
#include "runner/worker.h"

/* A cut request is called back at once; a worker that stays busy longer than this is broken. */
#define SILENCE_PATIENCE_NS (2 * NS_PER_SEC)

struct seat { /* the owner's view of one worker */
    struct worker *worker;
    struct stats *spare; /* empty, unless a question is under way */
    bool asked;
    struct worker_report last;
};

struct runner {
    struct runner_opts opts;
    const struct load_plan *plan;
    struct cast cast;
    struct request_forms *forms;
    struct pace_curve *curves;
    struct seat *seats;
    size_t n, n_running;
    struct notes notes;
    const char *engine;
    bool started, stopped, drained;
    bool told[FAIL_CLASS_MAX];
    pthread_mutex_t lock;
    pthread_cond_t woken;
    uint64_t wakes;           /* under lock */
    struct misdeed *misdeeds; /* under lock: all there ever were */
};

static void wake_owner(void *arg)
{
    struct runner *r = arg;

    pthread_mutex_lock(&r->lock);
    r->wakes++;
    pthread_cond_signal(&r->woken);
    pthread_mutex_unlock(&r->lock);
}

/* Waits until a worker woke us after `seen`, or the instant passed; returns the new count. */
static uint64_t wait_for_wake(struct runner *r, uint64_t seen, uint64_t until_ns)
{
    struct timespec until = { .tv_sec = (time_t)(until_ns / NS_PER_SEC),
                              .tv_nsec = (long)(until_ns % NS_PER_SEC) };

    pthread_mutex_lock(&r->lock);
    while (r->wakes == seen) {
        if (pthread_cond_timedwait(&r->woken, &r->lock, &until) == ETIMEDOUT)
            break;
    }
    seen = r->wakes;
    pthread_mutex_unlock(&r->lock);
    return seen;
}

/* ---- making ---- */

static int check_machine(struct runner *r, struct err *err)
{
    struct machine machine;
    struct demand demand;
    uint64_t files = 0;

    machine_read(&machine);
    demand_of(r->plan, &machine, &demand);
    r->n = (size_t)demand.threads;

    int rc = limits_check(r->plan, &machine, &demand, &r->notes, &files, err);

    if (rc == 0)
        rc = limits_raise_files(files, err);
    if (rc == 0)
        rc = limits_sources(r->plan, err);
    if (rc == 0 && !r->opts.connect_to && !r->plan->http.proxy)
        rc = limits_resolve(r->plan, err);
    return rc;
}

static void choose_engine(struct runner *r)
{
    const char *why = client_needs_curl(r->plan);

    r->engine = why ? "curl" : "native";
    if (why)
        notes_add(&r->notes, "engine: curl, because %s", why);
}

static int make_shared(struct runner *r, struct err *err)
{
    cast_init(&r->cast, r->plan);
    r->curves = xcalloc(r->plan->n_parts, sizeof *r->curves);
    for (size_t i = 0; i < r->plan->n_parts; i++)
        pace_curve_init(&r->curves[i], &r->plan->parts[i]);
    r->forms = request_forms_new(r->plan, err);
    return r->forms ? 0 : -EINVAL;
}

static int make_workers(struct runner *r, struct err *err)
{
    r->seats = xcalloc(r->n, sizeof *r->seats);
    for (size_t i = 0; i < r->n; i++) {
        struct worker_opts opts = { .plan = r->plan,
                                    .cast = &r->cast,
                                    .forms = r->forms,
                                    .curves = r->curves,
                                    .connect_to = r->opts.connect_to,
                                    .index = (unsigned)i,
                                    .n_workers = (unsigned)r->n,
                                    .trace = r->opts.trace_path != NULL };

        r->seats[i].worker = worker_new(&opts, err);
        if (!r->seats[i].worker)
            return -EIO;
        r->seats[i].spare = stats_new(r->plan->n_series);
    }
    return 0;
}

static void init_lock(struct runner *r)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->woken, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&r->lock, NULL);
}

struct runner *runner_new(const struct runner_opts *opts, struct err *err)
{
    struct runner *r = xcalloc(1, sizeof *r);

    r->opts = *opts;
    r->plan = opts->plan;
    init_lock(r);
    choose_engine(r);
    if (check_machine(r, err) < 0 || make_shared(r, err) < 0 || make_workers(r, err) < 0) {
        runner_free(r);
        return NULL;
    }
    return r;
}

const char *const *runner_notes(const struct runner *r)
{
    static const char *const none[] = { NULL };

    return r->notes.v ? (const char *const *)r->notes.v : none;
}

const char *runner_engine(const struct runner *r)
{
    return r->engine;
}

size_t runner_threads(const struct runner *r)
{
    return r->n;
}

/* ---- running ---- */

int runner_start(struct runner *r, uint64_t start_ns, struct err *err)
{
    r->started = true;
    for (size_t i = 0; i < r->n; i++) {
        int rc = worker_start(r->seats[i].worker, start_ns, wake_owner, r, err);

        if (rc < 0) {
            r->n_running = i;
            runner_stop(r, 0);
            return rc;
        }
        r->n_running = i + 1;
    }
    return 0;
}

void runner_mark(struct runner *r, uint32_t phase, uint64_t start_ns)
{
    for (size_t i = 0; i < r->n && !r->stopped; i++)
        worker_mark(r->seats[i].worker, phase, start_ns);
}

/* The first failure of each class, once a run. */
static void tell_examples(struct runner *r, const struct stats *delta)
{
    for (unsigned i = 0; i < FAIL_CLASS_MAX; i++) {
        if (!delta->example[i] || r->told[i])
            continue;
        r->told[i] = true;
        log_debug("load.failure", "class=%s first='%s'", fail_class_name((enum fail_class)i),
                  delta->example[i]);
    }
}

static void take_delta(struct runner *r, struct stats *delta, struct stats *into)
{
    tell_examples(r, delta);
    stats_merge(into, delta);
    stats_clear(delta);
}

/* Takes the answers that are there; true when no question is open any more. */
static bool take_answers(struct runner *r, struct stats *into)
{
    bool all = true;

    for (size_t i = 0; i < r->n_running; i++) {
        struct seat *s = &r->seats[i];

        if (!s->asked)
            continue;
        if (!worker_answer(s->worker, &s->last)) {
            all = false;
            continue;
        }
        s->asked = false;
        s->spare = TAKE(s->last.stats);
        take_delta(r, s->spare, into);
    }
    return all;
}

static bool ask_all(struct runner *r, struct stats *into, uint64_t timeout_ns)
{
    uint64_t until_ns = clock_now_ns() + timeout_ns, seen = 0;

    for (size_t i = 0; i < r->n_running; i++) {
        struct seat *s = &r->seats[i];

        if (s->asked) /* an answer that came too late last time */
            continue;
        s->asked = true;
        worker_ask(s->worker, TAKE(s->spare));
    }
    for (;;) {
        pthread_mutex_lock(&r->lock);
        seen = r->wakes;
        pthread_mutex_unlock(&r->lock);
        if (take_answers(r, into))
            return true;
        if (clock_now_ns() >= until_ns)
            return false;
        wait_for_wake(r, seen, until_ns);
    }
}

/* After the threads have ended: what they held back. */
static void drain(struct runner *r, struct stats *into)
{
    bool none_open = take_answers(r, into);

    err_ignore(none_open ? 0 : 1, "what was asked and not answered comes next");
    for (size_t i = 0; i < r->n_running && !r->drained; i++) {
        struct seat *s = &r->seats[i];

        worker_last(s->worker, &s->last);
        take_delta(r, s->last.stats, into);
        stats_free(TAKE(s->last.stats));
    }
    r->drained = true;
}

static void sum_status(const struct runner *r, struct runner_status *ret)
{
    *ret = (struct runner_status){ .all_done = r->started };
    for (size_t i = 0; i < r->n_running; i++) {
        const struct worker_report *w = &r->seats[i].last;
        uint64_t oldest = ret->oldest_in_flight_sched_ns;

        ret->users += w->users;
        ret->users_peak += w->users_peak;
        ret->users_wanted += w->users_wanted;
        ret->in_flight += w->in_flight;
        ret->arrivals_due += w->arrivals_due;
        ret->arrivals_dropped += w->arrivals_dropped;
        ret->iterations += w->iterations;
        ret->connections += w->connections;
        ret->cpu_share = MAX(ret->cpu_share, w->cpu_share);
        ret->all_done &= w->done;
        if (w->oldest_sched_ns && (!oldest || w->oldest_sched_ns < oldest))
            ret->oldest_in_flight_sched_ns = w->oldest_sched_ns;
    }
}

int runner_collect(struct runner *r, struct stats *into, struct runner_status *ret,
                   uint64_t timeout_ns)
{
    bool all = true;

    if (r->stopped)
        drain(r, into);
    else
        all = ask_all(r, into, timeout_ns);
    sum_status(r, ret);
    return all ? 0 : 1;
}

/* ---- misdeeds ---- */

struct misdeed *runner_misdeed_begin(struct runner *r, const struct misdeed_rule *rule,
                                     struct err *err)
{
    struct misdeed *m;

    if (strcmp(r->engine, "native") != 0) {
        err_set(err, ERR_PREPARE, ENOTSUP,
                "users can only misbehave with the native HTTP engine, and this load needs %s",
                r->engine);
        return NULL;
    }
    m = misdeed_new(rule, r->n_running);
    for (size_t i = 0; i < r->n_running; i++)
        misdeed_seat(m, i, r->seats[i].worker);
    pthread_mutex_lock(&r->lock);
    misdeed_chain(m, &r->misdeeds);
    pthread_mutex_unlock(&r->lock);
    if (misdeed_put_on(m, err) == 0)
        return m;
    struct err ignored = { 0 };
    err_ignore(misdeed_take_off(m, &ignored), "the first error is the one to tell");
    return NULL;
}

int runner_misdeed_end(struct runner *r, struct misdeed *m, struct err *err)
{
    (void)r;
    return misdeed_take_off(m, err);
}

/* ---- stopping ---- */

void runner_stop_begin(struct runner *r, uint64_t grace_ns)
{
    uint64_t cut_ns = clock_now_ns() + MIN(grace_ns, DURATION_MAX_NS);

    for (size_t i = 0; i < r->n_running && !r->stopped; i++)
        worker_stop(r->seats[i].worker, cut_ns);
}

static bool all_silent(const struct runner *r)
{
    for (size_t i = 0; i < r->n_running; i++) {
        if (!worker_is_silent(r->seats[i].worker))
            return false;
    }
    return true;
}

static void wait_for_silence(struct runner *r, uint64_t until_ns)
{
    uint64_t seen = 0;

    for (;;) {
        pthread_mutex_lock(&r->lock);
        seen = r->wakes;
        pthread_mutex_unlock(&r->lock);
        if (all_silent(r))
            return;
        if (clock_now_ns() >= until_ns) {
            log_error("runner.stop", "why='a load thread does not answer'");
            return;
        }
        wait_for_wake(r, seen, until_ns);
    }
}

static void write_trace(struct runner *r)
{
    struct err err = { 0 };
    auto_free struct trace **traces = xcalloc(r->n, sizeof(struct trace *));

    for (size_t i = 0; i < r->n_running; i++)
        traces[i] = worker_trace(r->seats[i].worker);
    if (trace_write(traces, r->n_running, r->plan, r->opts.trace_path, &err) < 0)
        log_error("runner.trace", "why='%s'", err.msg);
}

void runner_stop(struct runner *r, uint64_t grace_ns)
{
    if (r->stopped)
        return;
    runner_stop_begin(r, grace_ns);
    wait_for_silence(r, clock_now_ns() + MIN(grace_ns, DURATION_MAX_NS) + SILENCE_PATIENCE_NS);
    for (size_t i = 0; i < r->n_running; i++)
        worker_join(r->seats[i].worker);
    r->stopped = true;
    if (r->opts.trace_path && r->started)
        write_trace(r);
}

void runner_free(struct runner *r)
{
    if (!r)
        return;
    runner_stop(r, 0);
    for (size_t i = 0; r->seats && i < r->n; i++) {
        worker_free(r->seats[i].worker);
        stats_free(r->seats[i].spare);
    }
    free(r->seats);
    misdeeds_free(r->misdeeds);
    if (r->forms)
        request_forms_free(r->forms);
    cast_done(&r->cast);
    for (size_t i = 0; r->curves && i < r->plan->n_parts; i++)
        pace_curve_done(&r->curves[i]);
    free(r->curves);
    notes_done(&r->notes);
    pthread_cond_destroy(&r->woken);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
