/* The parts of the load: who begins what, when. Here is what closed and open parts share: the life
 * of an actor from its first move to its retirement. */
#include "runner/drive.h"

#include <errno.h>

#include "base/clock.h"

/* A request that could not even be sent costs no time: without a pause its user would spin. */
#define UNSENT_PAUSE_NS (10 * NS_PER_MS)

struct actor *actor_new(struct drive *d, const struct user_id *id)
{
    struct worker *w = d->w;
    struct actor *a = xcalloc(1, sizeof *a);

    a->drive = d;
    user_init(&a->user, id, w->opts.plan->seed);

    struct render_ctx ctx = { .rng = &a->user.data, .user_id = id->id };

    request_vars_init(w->opts.forms, id->user_class, &ctx, &a->user.vars);
    return a;
}

void actor_free(struct actor *a)
{
    struct worker *w = a->drive->w;

    timer_stop(w->timers, &a->timer);
    lane_close(w->client, &a->lane);
    user_done(&a->user);
    free(a);
}

static void timer_fired(struct timer *t);

static void wait_until(struct actor *a, uint64_t at_ns)
{
    a->sched_ns = at_ns;
    timer_set(a->drive->w->timers, &a->timer, at_ns, timer_fired);
}

static void over(struct actor *a)
{
    if (drive_is_open(a->drive))
        open_actor_over(a);
    else
        closed_actor_over(a);
}

static void note_iteration(const struct actor *a)
{
    const struct drive *d = a->drive;
    const struct user *u = &a->user;

    if (LIKELY(!d->w->trace) || drive_is_open(d))
        return;
    trace_add(d->w->trace, &(struct trace_line){ .task = u->task,
                                                 .number = u->number,
                                                 .iteration = u->iteration,
                                                 .think_ns = u->think_ns,
                                                 .part = d->index,
                                                 .life = u->life });
}

void actor_move(struct actor *a, const struct user_move *move, uint64_t now_ns)
{
    switch (move->kind) {
    case USER_SEND:
        if (move->begins)
            note_iteration(a);
        visit_begin(a, move->request, move->at_ns, now_ns);
        return;
    case USER_WAIT: wait_until(a, move->at_ns); return;
    case USER_DONE: over(a); return;
    }
}

static bool is_last_step(const struct user *u)
{
    return u->step + 1 >= u->task->n_steps;
}

static void go_on(struct actor *a, uint64_t now_ns)
{
    struct user_move move = user_next(&a->user, a->drive->w->opts.cast, now_ns);

    actor_move(a, &move, now_ns);
}

void drive_request_done(struct actor *a, uint64_t now_ns, bool sent)
{
    struct worker *w = a->drive->w;

    w->iterations += is_last_step(&a->user);
    if (UNLIKELY(w->stopping || a->leaving)) {
        over(a);
        worker_tell_silence(w);
        return;
    }
    if (UNLIKELY(!sent)) {
        a->paused = true;
        wait_until(a, now_ns + UNSENT_PAUSE_NS);
        return;
    }
    go_on(a, now_ns);
}

static void timer_fired(struct timer *t)
{
    struct actor *a = CONTAINER_OF(t, struct actor, timer);
    uint64_t now_ns = loop_now_ns(a->drive->w->loop);

    if (a->paused) {
        a->paused = false;
        go_on(a, now_ns);
        return;
    }

    struct user_move move = user_wake(&a->user, a->drive->w->opts.cast, a->sched_ns);

    actor_move(a, &move, now_ns);
}

/* ---- a part ---- */

/* Ids count over all parts: a part's begin after those of the parts before it. */
static uint64_t first_id_of(const struct drive *d)
{
    const struct worker_opts *o = &d->w->opts;
    uint64_t id = 1;

    for (uint32_t i = 0; i < d->index; i++)
        id += o->plan->parts[i].kind == LOAD_OPEN ? o->plan->parts[i].max_users
                                                  : pace_users_at(o->curves[i].peak);
    return id;
}

int drive_init(struct drive *d, struct worker *w, uint32_t part, struct err *err)
{
    d->w = w;
    d->index = part;
    d->part = &w->opts.plan->parts[part];
    d->first_id = first_id_of(d);
    spread_init(&d->spread, w->opts.plan, d->part);
    d->timer = loop_timer_new(w->loop, drive_is_open(d) ? open_due : closed_due, d);
    if (!d->timer)
        return err_set(err, ERR_LIMIT, ENOMEM, "no timer for part '%s' of the load",
                       d->part->name ? d->part->name : "load");
    if (drive_is_open(d))
        open_init(d);
    else
        closed_init(d);
    return 0;
}

void drive_start(struct drive *d, uint64_t start_ns)
{
    d->base_ns = start_ns + d->part->start_ns;
    loop_timer_at(d->timer, d->base_ns);
}

void drive_stop(struct drive *d)
{
    d->ended = true;
    loop_timer_stop(d->timer);
    if (drive_is_open(d))
        open_stop(d);
    else
        closed_stop(d);
}

void drive_done(struct drive *d)
{
    if (!d->w)
        return;
    if (drive_is_open(d))
        open_done(d);
    else
        closed_done(d);
    loop_timer_free(d->timer);
    spread_done(&d->spread);
}

bool drive_is_done(const struct drive *d)
{
    return d->ended && d->n_live == 0;
}

uint64_t drive_users_wanted(const struct drive *d)
{
    return drive_is_open(d) ? d->n_live : closed_users_wanted(d);
}
