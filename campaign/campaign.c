/* The one clock: a loop that ticks ten times a second, starts faults when they are due, listens to
 * their threads and to signals, and ends when load and faults have. Everything it knows is in the
 * result; the verdict comes last. */
#include "campaign/campaign.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "campaign/dry_run.h"
#include "campaign/state.h"

#define START_LEAD_NS (2 * NS_PER_MS)
#define TICK_STOPPING_NS (10 * NS_PER_MS)

/* ---- the result's beginning ---- */

static void name_run(struct result *r)
{
    time_t sec = (time_t)(r->started_wall_ns / NS_PER_SEC);
    struct tm tm;
    char when[32];

    gmtime_r(&sec, &tm);
    strftime(when, sizeof(when), "%Y%m%d-%H%M%S", &tm);
    r->run_id = xasprintf("%s-%06x", when, (unsigned)(rng_entropy() & 0xffffff));
}

static bool has_open_part(const struct load_plan *load)
{
    for (size_t i = 0; i < load->n_parts; i++)
        if (load->parts[i].kind == LOAD_OPEN)
            return true;
    return false;
}

static void describe(struct campaign *c)
{
    struct result *r = c->result;
    const struct plan *p = c->plan;

    r->started_wall_ns = clock_wall_ns();
    name_run(r);
    r->name = xstrdup(p->name ? p->name : "");
    r->description = xstrdup(p->description ? p->description : "");
    r->version = xstrdup(CHAOS_LOAD_VERSION);
    r->plan_text = p->text ? xstrdup(p->text) : NULL;
    r->seed = c->load.seed;
    r->seed_text = xasprintf("%llu", (unsigned long long)r->seed);
    r->open_load = has_open_part(&c->load);
    r->judged_by = "response_time";
    r->complete = true;
    r->engine = xstrdup("");
    r->endpoints = xcalloc(c->load.n_series, sizeof(*r->endpoints));
    r->n_endpoints = c->load.n_series;
    for (size_t i = 0; i < r->n_endpoints; i++) {
        const struct task *t = c->load.series[i];
        r->endpoints[i].name = xstrdup(load_plan_series_name(&c->load, p->arena, (uint32_t)i));
        r->endpoints[i].misdeed = xstrdup(misdeed_name(c->load.misdeeds[i]));
        r->endpoints[i].method = xstrdup(t->method);
        r->endpoints[i].user_class = xstrdup(c->load.classes[t->user_class].name);
    }
}

static void describe_engine(struct campaign *c)
{
    struct result *r = c->result;

    free(r->target);
    r->target = xstrdup(c->load.target ? c->load.target : "");
    if (!c->runner)
        return;
    free(r->engine);
    r->engine = xstrdup(runner_engine(c->runner));
    r->threads = (unsigned)runner_threads(c->runner);
    for (const char *const *n = runner_notes(c->runner); n && *n; n++) {
        r->notes = xrealloc(r->notes, r->n_notes + 1, sizeof(*r->notes));
        r->notes[r->n_notes++] = xstrdup(*n);
    }
}

/* ---- ending ---- */

static void stop_load(struct campaign *c, uint64_t t_ns, uint64_t grace_ns)
{
    if (c->stopping)
        return;
    phases_end(c, t_ns);
    c->stopping = true;
    c->faults_over = true;
    runner_stop_begin(c->runner, grace_ns);
    latch_set(c->abort);
}

static void take_signals(struct campaign *c)
{
    struct signalfd_siginfo info;

    while (read(c->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        c->signals++;
        if (c->signals == 1)
            log_warn("signal", "stopping the load and undoing all faults; once more to hurry");
        else
            latch_set(c->hurry);
    }
}

static void note(struct campaign *c, char *text)
{
    struct result *r = c->result;

    r->notes = xrealloc(r->notes, r->n_notes + 1, sizeof(*r->notes));
    r->notes[r->n_notes++] = text;
    log_warn("campaign", "%s", text);
}

/* A fault that could not do its work makes the rest of the run worthless. */
static bool fault_is_broken(const struct campaign *c)
{
    for (size_t i = 0; i < c->n_slots; i++) {
        const struct err *e = &c->slots[i].seen.err;
        if (c->slots[i].launched &&
            ((err_is_set(e) && e->kind != ERR_ABORTED) || err_is_set(&c->slots[i].seen.revert_err)))
            return true;
    }
    return false;
}

static void watch_children(struct campaign *c)
{
    const char *why = processes_unexpected_exit(c->env.processes);

    if (why)
        note(c, xasprintf("%s", why));
}

/* Without it nobody would undo our faults if we died as well. So what is in is taken out by us,
 * now, and no more is put in. */
static void watch_guardian(struct campaign *c)
{
    if (c->unguarded || !c->env.guardian || guardian_is_alive(c->env.guardian))
        return;
    c->unguarded = true;
    if (!injector_has_more(c)) {
        note(c, xstrdup("the guardian process was killed; there was nothing left to guard"));
        return;
    }
    err_set(&c->failed, ERR_INJECT, ESRCH,
            "the guardian process was killed: the run took its faults back and put no more in, "
            "since nobody would undo them if it died as well");
    note(c, xasprintf("the guardian process was killed: the faults are taken back, and no more "
                      "are put in"));
}

static void look_for_end(struct campaign *c, uint64_t t_ns)
{
    if (c->stopping)
        return;
    if (c->signals || c->aborted || err_is_set(&c->failed) || fault_is_broken(c))
        stop_load(c, t_ns, 0);
    else if (t_ns >= c->load_end_ns || c->status.all_done)
        stop_load(c, MIN(t_ns, c->load_end_ns), c->load.graceful_stop_ns);
}

static bool is_over(const struct campaign *c)
{
    return c->stopping && c->status.all_done && injector_is_idle(c);
}

/* ---- the loop ---- */

static void wait_for_something(struct campaign *c)
{
    struct pollfd fds[] = { { .fd = c->signal_fd, .events = POLLIN },
                            { .fd = c->injector.wake_fd, .events = POLLIN } };
    uint64_t now = clock_now_ns();
    uint64_t until = MIN(c->next_tick_ns, injector_next_ns(c));
    uint64_t wait = until > now ? until - now : 0;
    struct timespec ts = { .tv_sec = (time_t)(wait / NS_PER_SEC),
                           .tv_nsec = (long)(wait % NS_PER_SEC) };

    if (ppoll(fds, ARRAY_LEN(fds), &ts, NULL) < 0 && errno != EINTR)
        log_debug("campaign.poll", "%d", errno);
}

static void tick(struct campaign *c, uint64_t now_ns)
{
    uint64_t t = since_start(c, now_ns);

    phases_tick(c, t);
    measure_tick(c, now_ns);
    watch_children(c);
    watch_guardian(c);
    tell_tick(c, t);
    uint64_t step = c->stopping ? TICK_STOPPING_NS : TICK_NS;
    c->next_tick_ns += step;
    if (c->next_tick_ns < now_ns) /* we were held up: no burst of ticks afterwards */
        c->next_tick_ns = now_ns + step;
}

static void run_loop(struct campaign *c)
{
    while (!is_over(c)) {
        wait_for_something(c);
        take_signals(c);
        injector_drain(c);
        uint64_t now = clock_now_ns();
        injector_launch_due(c, now);
        if (now >= c->next_tick_ns)
            tick(c, now);
        bool was_stopping = c->stopping;
        look_for_end(c, since_start(c, now));
        if (c->stopping && !was_stopping)
            c->next_tick_ns = now;
    }
}

static int begin(struct campaign *c, struct err *err)
{
    c->start_ns = clock_now_ns() + START_LEAD_NS;
    c->next_tick_ns = c->start_ns + TICK_NS;
    c->load_end_ns = c->load.duration_ns ? c->load.duration_ns : T_NONE;
    int rc = runner_start(c->runner, c->start_ns, err);
    if (rc == 0)
        phases_announce(c);
    return rc;
}

static int prepare(struct campaign *c, struct err *err)
{
    if (injector_init(c, err) < 0 || setup_engine(c, err) < 0 || setup_safety(c, err) < 0 ||
        setup_target(c, err) < 0 || observed_start(c, err) < 0)
        return -EIO;
    return 0;
}

static void conclude(struct campaign *c)
{
    injector_join(c);
    observed_stop(c);
    injector_drain(c);
    if (c->runner && c->start_ns)
        measure_last(c);
    felt_end(c, c->result->duration_ns);
    phases_end(c, c->result->duration_ns);
    evaluate_end(c);
    verdict_decide(c);
}

static void run(struct campaign *c)
{
    bool ready = prepare(c, &c->failed) == 0;

    describe_engine(c);
    evaluate_init(c);
    tell_begin(c);
    phases_begin(c);
    if (ready && begin(c, &c->failed) == 0)
        run_loop(c);
    conclude(c);
    tell_end(c);
}

static int take_over_signals(struct campaign *c, sigset_t *old, struct err *err)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, old);
    c->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (c->signal_fd < 0)
        return err_sys(err, ERR_GENERIC, errno, "signalfd");
    return 0;
}

/* What came while the end was written came too late for anything; let through now, it would only
 * replace our exit code by a death. */
static void give_back_signals(struct campaign *c, const sigset_t *old)
{
    struct signalfd_siginfo info;

    while (read(c->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        c->signals++;
    close(c->signal_fd);
    pthread_sigmask(SIG_SETMASK, old, NULL);
}

int campaign_run(const struct campaign_opts *opts, struct result **ret, struct err *err)
{
    struct campaign c = { .opts = opts, .plan = opts->plan, .load = opts->plan->load };
    sigset_t old;

    c.result = *ret = result_new();
    if (opts->plan->dry_run)
        return dry_run(opts->plan, stdout);
    if (take_over_signals(&c, &old, err) < 0)
        return EXIT_COULD_NOT_RUN;
    c.row_span = 1;
    c.p50_ns = c.p95_ns = c.p99_ns = T_NONE;
    c.injector.wake_fd = -1;
    c.abort = latch_new();
    c.hurry = latch_new();
    c.delta = stats_new(c.load.n_series);
    c.second = stats_new(c.load.n_series);
    c.second_cell = cell_new();
    describe(&c);
    c.env.run_id = c.result->run_id;
    run(&c);
    setup_undo(&c);
    evaluate_done(&c);
    observed_done(&c);
    injector_done(&c);
    stats_free(c.delta);
    stats_free(c.second);
    cell_free(c.second_cell);
    latch_free(c.abort);
    latch_free(c.hurry);
    give_back_signals(&c, &old);
    if (err_is_set(&c.failed) && err)
        *err = c.failed;
    return c.result->exit_code;
}
