/* One thread of load. Its door is a list of posted messages; what it answers lies under a mutex
 * that is taken ten times a second, never on the request path. */
#include "runner/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "runner/worker_internal.h"

struct worker_thread {
    pthread_t id;
    bool runs;
    worker_wake_fn *wake;
    void *wake_arg;
    struct stats *given; /* the next delta, while worker_ask is on its way */
    pthread_mutex_t lock;
    /* The rest under lock. */
    bool answered, silent;
    struct worker_report report;
    uint64_t cut_ns;
    struct phase_start marks[STATS_PHASES_MAX];
    size_t n_marks;
};

/* ---- on the worker's thread ---- */

static uint32_t phase_at(const struct worker *w, uint64_t sched_ns)
{
    size_t i = w->n_phases;

    while (i > 0 && w->phases[i - 1].start_ns > sched_ns)
        i--;
    return i > 0 ? w->phases[i - 1].phase : 0;
}

void worker_record(struct worker *w, const struct sample *s)
{
    stats_record(w->delta, phase_at(w, s->sched), s);
}

static bool drives_are_done(const struct worker *w)
{
    for (size_t i = 0; i < w->opts.plan->n_parts; i++) {
        if (!drive_is_done(&w->drives[i]))
            return false;
    }
    return true;
}

static void fill_report(struct worker *w, struct worker_report *r)
{
    const struct actor *oldest = TAILQ_FIRST(&w->in_flight);

    *r = (struct worker_report){ .stats = w->delta,
                                 .users = w->n_users,
                                 .users_peak = w->users_peak,
                                 .in_flight = w->n_in_flight,
                                 .oldest_sched_ns = oldest ? oldest->sched_ns : 0,
                                 .arrivals_due = w->arrivals_due,
                                 .arrivals_dropped = w->arrivals_dropped,
                                 .iterations = w->iterations,
                                 .connections = client_connections(w->client),
                                 .done = w->n_in_flight == 0 && drives_are_done(w) };
    for (size_t i = 0; i < w->opts.plan->n_parts; i++)
        r->users_wanted += drive_users_wanted(&w->drives[i]);
    w->users_peak = w->n_users;
}

static void measure_cpu(struct worker *w, struct worker_report *r)
{
    uint64_t now_ns = clock_now_ns(), cpu_ns = clock_cpu_ns();

    if (w->cpu_at_ns && now_ns > w->cpu_at_ns)
        r->cpu_share = MIN(1.0, (double)(cpu_ns - w->cpu_ns) / (double)(now_ns - w->cpu_at_ns));
    w->cpu_ns = cpu_ns;
    w->cpu_at_ns = now_ns;
}

static void tell_report(void *arg)
{
    struct worker *w = arg;
    struct worker_thread *t = w->thread;
    struct worker_report r;

    fill_report(w, &r);
    measure_cpu(w, &r);
    w->delta = TAKE(t->given);
    pthread_mutex_lock(&t->lock);
    t->report = r;
    t->answered = true;
    pthread_mutex_unlock(&t->lock);
    t->wake(t->wake_arg);
}

void worker_tell_silence(struct worker *w)
{
    struct worker_thread *t = w->thread;

    if (!w->stopping || w->n_in_flight > 0)
        return;
    pthread_mutex_lock(&t->lock);
    t->silent = true;
    pthread_mutex_unlock(&t->lock);
    t->wake(t->wake_arg);
}

static void cut_all(void *arg)
{
    struct worker *w = arg;
    struct actor *a;

    w->cutting = true;
    TAILQ_FOREACH (a, &w->in_flight, link)
        client_cut(a->exchange, FAIL_INTERRUPTED);
}

static void begin_load(void *arg)
{
    struct worker *w = arg;

    w->cpu_ns = clock_cpu_ns();
    w->cpu_at_ns = clock_now_ns();
    for (size_t i = 0; i < w->opts.plan->n_parts && !w->stopping; i++)
        drive_start(&w->drives[i], w->start_ns);
}

static void take_marks(void *arg)
{
    struct worker *w = arg;
    struct worker_thread *t = w->thread;

    pthread_mutex_lock(&t->lock);
    for (; w->n_phases < t->n_marks; w->n_phases++)
        w->phases[w->n_phases] = t->marks[w->n_phases];
    pthread_mutex_unlock(&t->lock);
}

static uint64_t asked_cut(const struct worker *w)
{
    struct worker_thread *t = w->thread;

    pthread_mutex_lock(&t->lock);

    uint64_t cut_ns = t->cut_ns;

    pthread_mutex_unlock(&t->lock);
    return cut_ns;
}

static void take_stop(void *arg)
{
    struct worker *w = arg;
    uint64_t cut_ns = asked_cut(w);

    if (!w->stopping) {
        w->stopping = true;
        for (size_t i = 0; i < w->opts.plan->n_parts; i++)
            drive_stop(&w->drives[i]);
    }
    if (w->n_in_flight == 0)
        worker_tell_silence(w);
    else if (!w->cutting && cut_ns <= loop_now_ns(w->loop))
        cut_all(w);
    else if (!w->cutting)
        loop_timer_at(w->cut_timer, cut_ns);
}

static void *thread_main(void *arg)
{
    struct worker *w = arg;
    char name[16];

    snprintf(name, sizeof name, "load-%u", w->opts.index);
    pthread_setname_np(pthread_self(), name);
    err_ignore(loop_run(w->loop, NULL), "it ends when worker_join stops it");
    return NULL;
}

/* ---- on the owner's thread ---- */

static int make_forms(struct worker *w, struct err *err)
{
    const struct load_plan *plan = w->opts.plan;

    w->forms = xcalloc(plan->n_forms, sizeof *w->forms);
    for (uint32_t i = 0; i < plan->n_forms; i++) {
        const struct request_form *f = request_form_of(w->opts.forms, plan->forms[i]);

        w->forms[i].form = f;
        if (!f->base_url)
            continue;
        w->forms[i].origin = client_origin(w->client, f->base_url, err);
        if (!w->forms[i].origin)
            return err_wrap(err, "task '%s'", plan->forms[i]->name);
    }
    return 0;
}

static int make_drives(struct worker *w, struct err *err)
{
    const struct load_plan *plan = w->opts.plan;

    w->drives = xcalloc(plan->n_parts, sizeof *w->drives);
    for (uint32_t i = 0; i < plan->n_parts; i++) {
        int rc = drive_init(&w->drives[i], w, i, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static int make_engine(struct worker *w, struct err *err)
{
    const struct worker_opts *o = &w->opts;

    w->loop = loop_new(err);
    if (!w->loop)
        return -EIO;
    w->timers = timers_new(w->loop);
    w->cut_timer = loop_timer_new(w->loop, cut_all, w);
    w->client = client_new(&(struct client_opts){ .loop = w->loop,
                                                  .http = &o->plan->http,
                                                  .connect_to = o->connect_to,
                                                  .target = o->plan->target },
                           err);
    return w->client ? 0 : -EIO;
}

static int make_trace(struct worker *w, struct err *err)
{
    if (!w->opts.trace)
        return 0;
    w->trace = trace_new(err);
    return w->trace ? 0 : -EIO;
}

struct worker *worker_new(const struct worker_opts *opts, struct err *err)
{
    struct worker *w = xcalloc(1, sizeof *w);

    w->opts = *opts;
    TAILQ_INIT(&w->in_flight);
    SLIST_INIT(&w->visits);
    w->delta = stats_new(opts->plan->n_series);
    w->phases = xcalloc(STATS_PHASES_MAX, sizeof *w->phases);
    w->thread = xcalloc(1, sizeof *w->thread);
    w->thread->cut_ns = UINT64_MAX;
    pthread_mutex_init(&w->thread->lock, NULL);
    if (make_engine(w, err) < 0 || make_forms(w, err) < 0 || make_drives(w, err) < 0 ||
        make_trace(w, err) < 0) {
        worker_free(w);
        return NULL;
    }
    return w;
}

int worker_start(struct worker *w, uint64_t start_ns, worker_wake_fn *wake, void *arg,
                 struct err *err)
{
    struct worker_thread *t = w->thread;
    sigset_t all, before;

    w->start_ns = start_ns;
    w->wall_minus_mono_ns = clock_wall_ns() - clock_now_ns();
    t->wake = wake;
    t->wake_arg = arg;
    loop_post(w->loop, begin_load, w);
    /* Signals are the owner's: this thread is born with all of them blocked. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);

    int rc = pthread_create(&t->id, NULL, thread_main, w);

    pthread_sigmask(SIG_SETMASK, &before, NULL);
    t->runs = rc == 0;
    return rc ? err_sys(err, ERR_LIMIT, rc, "start load thread %u", w->opts.index) : 0;
}

void worker_mark(struct worker *w, uint32_t phase, uint64_t start_ns)
{
    struct worker_thread *t = w->thread;

    pthread_mutex_lock(&t->lock);
    if (t->n_marks < STATS_PHASES_MAX)
        t->marks[t->n_marks++] = (struct phase_start){ .start_ns = start_ns, .phase = phase };
    pthread_mutex_unlock(&t->lock);
    loop_post(w->loop, take_marks, w);
}

void worker_ask(struct worker *w, struct stats *cleared)
{
    w->thread->given = cleared;
    loop_post(w->loop, tell_report, w);
}

bool worker_answer(struct worker *w, struct worker_report *ret)
{
    struct worker_thread *t = w->thread;

    pthread_mutex_lock(&t->lock);

    bool answered = t->answered;

    if (answered)
        *ret = t->report;
    t->answered = false;
    pthread_mutex_unlock(&t->lock);
    return answered;
}

void worker_stop(struct worker *w, uint64_t cut_ns)
{
    struct worker_thread *t = w->thread;

    pthread_mutex_lock(&t->lock);
    t->cut_ns = MIN(t->cut_ns, cut_ns);
    pthread_mutex_unlock(&t->lock);
    loop_post(w->loop, take_stop, w);
}

bool worker_is_silent(const struct worker *w)
{
    struct worker_thread *t = w->thread;

    pthread_mutex_lock(&t->lock);

    bool silent = t->silent;

    pthread_mutex_unlock(&t->lock);
    return silent;
}

void worker_join(struct worker *w)
{
    if (!w->thread->runs)
        return;
    loop_stop(w->loop);
    pthread_join(w->thread->id, NULL);
    w->thread->runs = false;
}

void worker_last(struct worker *w, struct worker_report *ret)
{
    fill_report(w, ret);
    ret->done = true;
    w->delta = stats_new(w->opts.plan->n_series);
}

struct trace *worker_trace(struct worker *w)
{
    return w->trace;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    worker_join(w);
    w->stopping = w->cutting = true;
    for (size_t i = 0; w->drives && i < w->opts.plan->n_parts; i++)
        drive_stop(&w->drives[i]);
    /* Cuts what a worker that was never stopped has in flight; its users go with it. */
    if (w->client)
        client_free(w->client);
    for (size_t i = 0; w->drives && i < w->opts.plan->n_parts; i++)
        drive_done(&w->drives[i]);
    free(w->drives);
    visits_done(&w->visits);
    if (w->cut_timer)
        loop_timer_free(w->cut_timer);
    if (w->timers)
        timers_free(w->timers);
    if (w->loop)
        loop_free(w->loop);
    trace_free(w->trace);
    stats_free(w->delta);
    stats_free(w->thread->given);
    pthread_mutex_destroy(&w->thread->lock);
    free(w->thread);
    free(w->phases);
    free(w->forms);
    free(w);
}
