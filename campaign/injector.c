/* Fault threads. Each activation runs straight-line blocking code in a thread of its own
 * (chaoslib/run.c); what it says arrives here as events, copied by value, and is handled on the
 * campaign's thread. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "campaign/state.h"

#define LEAD_NS (250 * NS_PER_MS) /* prepare and journal before the planned instant */
#define FAULT_STREAM UINT64_C(0x7500000000)
#define EVENTS_MAX 65536

static uint64_t or_none(const struct campaign *c, uint64_t mono_ns)
{
    return mono_ns ? since_start(c, mono_ns) : T_NONE;
}

static void add_result(struct campaign *c, struct slot *s)
{
    struct result *r = c->result;
    const struct fault_plan *f = &c->plan->faults[s->act.fault];

    s->result_index = r->n_faults;
    r->faults[r->n_faults++] = (struct result_fault){
        .name = xstrdup(f->name),
        .kind = xstrdup(f->spec.kind->name),
        .backend = xstrdup(f->spec.kind->backend),
        .target = xstrdup(""),
        .activation = s->act.number,
        .planned_ns = s->act.planned_ns,
        .requested_ns = T_NONE,
        .effective_ns = T_NONE,
        .revert_requested_ns = T_NONE,
        .reverted_ns = T_NONE,
        .duration_ns = f->duration_ns,
        .one_shot = fault_spec_flags(&f->spec) & FAULT_ONE_SHOT,
        .time_to_impact_ns = T_NONE,
        .time_to_recover_ns = T_NONE,
        .time_to_recover_after_removal_ns = T_NONE,
        .worst_window_ns = T_NONE,
        .good_share = 1.0,
    };
}

int injector_init(struct campaign *c, struct err *err)
{
    struct activation acts[ACTIVATIONS_MAX];
    size_t n = timeline_build(c->plan, acts, ACTIVATIONS_MAX);

    pthread_mutex_init(&c->injector.lock, NULL);
    c->injector.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->injector.wake_fd < 0)
        return err_sys(err, ERR_GENERIC, errno, "eventfd");
    c->cap_slots = observed_is_wanted(c->plan) ? ACTIVATIONS_MAX : n;
    c->slots = xcalloc(c->cap_slots, sizeof(*c->slots));
    c->felt = xcalloc(c->cap_slots, sizeof(*c->felt));
    c->result->faults = xcalloc(c->cap_slots, sizeof(*c->result->faults));
    for (size_t i = 0; i < n; i++) {
        c->slots[i].campaign = c;
        c->slots[i].act = acts[i];
        add_result(c, &c->slots[i]);
    }
    c->n_slots = n;
    return 0;
}

/* ---- on the fault's thread ---- */

void injector_wake(struct injector *in)
{
    uint64_t one = 1;

    if (write(in->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_debug("injector.wake", "%d", errno);
}

static void push_event(struct slot *s, const struct fault_run *run, bool last)
{
    struct injector *in = &s->campaign->injector;

    pthread_mutex_lock(&in->lock);
    if (in->n_events == in->cap_events && in->cap_events < EVENTS_MAX) {
        in->cap_events = in->cap_events ? 2 * in->cap_events : 16;
        in->events = xrealloc(in->events, in->cap_events, sizeof(*in->events));
    }
    if (in->n_events < in->cap_events)
        in->events[in->n_events++] = (struct fault_event){ .slot = (size_t)(s - s->campaign->slots),
                                                           .run = *run,
                                                           .last = last };
    s->finished = s->finished || last;
    pthread_mutex_unlock(&in->lock);
    injector_wake(in);
}

static void on_step(void *arg, const struct fault_run *run)
{
    push_event(arg, run, false);
}

static void *fault_thread(void *arg)
{
    struct slot *s = arg;
    struct err err = { 0 };

    int rc = fault_execute(&s->run, on_step, s, &err);
    if (rc < 0 && !err_is_set(&s->run.err) && !err_is_set(&s->run.revert_err))
        s->run.err = err;
    push_event(s, &s->run, true);
    return NULL;
}

/* ---- on the campaign's thread ---- */

static void launch(struct campaign *c, struct slot *s)
{
    const struct fault_plan *f = &c->plan->faults[s->act.fault];

    s->run = (struct fault_run){ .kind = f->spec.kind,
                                 .params = f->spec.params,
                                 .env = &c->env,
                                 .name = f->name,
                                 .activation = s->act.number,
                                 .hold_ns = f->duration_ns,
                                 .abort = c->abort,
                                 .hurry = c->hurry,
                                 .times.planned = c->start_ns + s->act.planned_ns };
    rng_seed(&s->run.rng, c->load.seed,
             FAULT_STREAM + ((uint64_t)s->act.fault << 20) + s->act.number);
    s->seen = s->run;
    c->result->faults[s->result_index].planned_ns = s->act.planned_ns;
    int rc = pthread_create(&s->thread, NULL, fault_thread, s);
    if (rc) {
        err_sys(&s->seen.err, ERR_INJECT, rc, "cannot start a thread");
        s->joined = s->finished = true;
    }
    s->launched = true;
}

static bool is_running(const struct slot *s)
{
    return s->launched && !s->joined;
}

/* An activation waits for the one before it of the same fault; a serial fault waits for all. */
static bool must_wait(const struct campaign *c, const struct slot *s)
{
    bool serial = c->plan->faults[s->act.fault].serial;

    for (size_t i = 0; i < c->n_slots; i++)
        if (is_running(&c->slots[i]) && (serial || c->slots[i].act.fault == s->act.fault))
            return true;
    return false;
}

/* A fault that waits for another gets its instants when the last activation of that one ended. */
static void release_followers(struct campaign *c, uint32_t fault, uint64_t t_ns)
{
    for (size_t i = 0; i < c->n_slots; i++)
        if (c->slots[i].act.fault == fault && !c->slots[i].joined)
            return;
    for (size_t i = 0; i < c->n_slots; i++) {
        struct slot *s = &c->slots[i];
        const struct fault_plan *f = &c->plan->faults[s->act.fault];
        if (!f->after || f->after_index != (int)fault || s->act.planned_ns != UINT64_MAX)
            continue;
        s->act.planned_ns = t_ns + f->at_ns + s->act.number * f->every_ns;
    }
}

uint64_t injector_next_ns(const struct campaign *c)
{
    uint64_t next = UINT64_MAX;

    for (size_t i = 0; i < c->n_slots && !c->faults_over; i++) {
        const struct slot *s = &c->slots[i];
        if (s->launched || s->act.planned_ns == UINT64_MAX || must_wait(c, s))
            continue;
        uint64_t at = c->start_ns + s->act.planned_ns;
        next = MIN(next, at > LEAD_NS ? at - LEAD_NS : 0);
    }
    return next;
}

void injector_launch_due(struct campaign *c, uint64_t now_ns)
{
    for (size_t i = 0; i < c->n_slots && !c->faults_over; i++) {
        struct slot *s = &c->slots[i];
        if (s->launched || s->act.planned_ns == UINT64_MAX || must_wait(c, s))
            continue;
        if (now_ns + LEAD_NS >= c->start_ns + s->act.planned_ns)
            launch(c, s);
    }
}

/* The instants of the record, as known now. */
static void copy_times(struct campaign *c, const struct slot *s)
{
    struct result_fault *out = &c->result->faults[s->result_index];
    const struct fault_run *run = &s->seen;

    out->requested_ns = or_none(c, run->times.requested);
    out->effective_ns = or_none(c, run->times.effective);
    out->revert_requested_ns = or_none(c, run->times.revert_requested);
    out->reverted_ns = or_none(c, run->times.reverted);
    out->verified_in = run->verified_in;
    out->verified_out = run->verified_out;
    out->ended_by = run->ended_by;
    if (strcmp(out->target, run->target) != 0) {
        free(out->target);
        out->target = xstrdup(run->target);
    }
    const struct err *e = err_is_set(&run->err) ? &run->err : &run->revert_err;
    if (err_is_set(e) && !out->error)
        out->error = xstrdup(e->msg);
}

/* After its thread has ended: before, the hits are that thread's own. */
static void take_hits(struct campaign *c, struct slot *s)
{
    struct result_fault *out = &c->result->faults[s->result_index];
    const struct fault_run *run = &s->run;

    if (run->mechanism[0] && !out->mechanism)
        out->mechanism = xstrdup(run->mechanism);
    out->hits = xcalloc(run->n_hits + 1, sizeof(*out->hits));
    for (size_t i = 0; i < run->n_hits; i++) {
        const struct fault_hit *h = &run->hits[i];
        out->hits[out->n_hits++] = (struct result_hit){
            .name = xstrdup(h->name),
            .id = xstrdup(h->id),
            .requested_ns = or_none(c, h->requested),
            .effective_ns = or_none(c, h->effective),
            .reverted_ns = or_none(c, h->reverted),
        };
    }
}

static void follow(struct campaign *c, size_t slot, bool last)
{
    struct slot *s = &c->slots[slot];
    const struct fault_times *t = &s->seen.times;

    if (t->requested && !s->in_phase) {
        felt_freeze_baseline(c);
        phases_fault_in(c, slot, since_start(c, t->requested));
    }
    if (t->effective && !c->felt[slot].window_ns)
        felt_begin(c, slot, since_start(c, t->effective));
    bool over = t->reverted || (last && s->in_phase);
    if (!over || s->out)
        return;
    uint64_t end = t->reverted ? t->reverted : t->effective ? t->effective : clock_now_ns();
    if (c->felt[slot].window_ns)
        felt_reverted(c, slot, since_start(c, end));
    phases_fault_out(c, slot, since_start(c, end));
}

static void join(struct slot *s)
{
    if (s->joined)
        return;
    pthread_join(s->thread, NULL);
    s->joined = true;
}

static void handle(struct campaign *c, const struct fault_event *ev)
{
    struct slot *s = &c->slots[ev->slot];

    s->seen = ev->run;
    if (ev->last) {
        join(s);
        take_hits(c, s);
    }
    copy_times(c, s);
    follow(c, ev->slot, ev->last);
    tell_fault(c, s->result_index);
    if (!ev->last)
        return;
    release_followers(c, s->act.fault, since_start(c, clock_now_ns()));
}

void injector_drain(struct campaign *c)
{
    struct injector *in = &c->injector;
    uint64_t n;

    if (read(in->wake_fd, &n, sizeof(n)) < 0)
        return;
    pthread_mutex_lock(&in->lock);
    struct fault_event *events = TAKE(in->events);
    size_t n_events = in->n_events;
    in->n_events = in->cap_events = 0;
    pthread_mutex_unlock(&in->lock);
    for (size_t i = 0; i < n_events; i++)
        handle(c, &events[i]);
    free(events);
    observed_drain(c);
}

bool injector_is_idle(const struct campaign *c)
{
    for (size_t i = 0; i < c->n_slots; i++)
        if (is_running(&c->slots[i]))
            return false;
    return true;
}

bool injector_has_more(const struct campaign *c)
{
    for (size_t i = 0; i < c->n_slots && !c->faults_over; i++)
        if (!c->slots[i].launched && c->slots[i].act.planned_ns != UINT64_MAX)
            return true;
    return !injector_is_idle(c);
}

void injector_join(struct campaign *c)
{
    c->faults_over = true;
    for (size_t i = 0; i < c->n_slots; i++) {
        struct slot *s = &c->slots[i];
        if (!s->launched)
            s->skipped = true;
        if (is_running(s))
            join(s);
    }
}

void injector_done(struct campaign *c)
{
    free(c->injector.events);
    if (c->injector.wake_fd >= 0)
        close(c->injector.wake_fd);
    pthread_mutex_destroy(&c->injector.lock);
    for (size_t i = 0; i < c->n_slots; i++)
        free(c->slots[i].run.hits);
    free(c->slots);
    free(c->felt);
}
