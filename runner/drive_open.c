/* Open load: arrivals come when the curve says so, whatever became of those before. An arrival
 * takes a free user of its class; when all are busy and there may be no more, it is dropped, and
 * that is a failure of the target as its users see it. */
#include "runner/drive.h"

void open_init(struct drive *d)
{
    const struct worker_opts *o = &d->w->opts;

    pace_arrivals_init(&d->open.pace, &o->curves[d->index], d->part, o->plan->seed, d->index);
    d->open.max_actors = MAX(1, pace_share(d->part->max_users, o->n_workers, o->index));
    d->open.free = xcalloc(o->plan->n_classes, sizeof *d->open.free);
    for (size_t i = 0; i < o->plan->n_classes; i++)
        TAILQ_INIT(&d->open.free[i]);
    d->open.has_next = pace_arrivals_next(&d->open.pace, &d->open.next_ns, &d->open.next_n);
}

static void free_idle(struct drive *d)
{
    for (size_t i = 0; i < d->w->opts.plan->n_classes; i++) {
        struct actor_list *list = &d->open.free[i];

        while (!TAILQ_EMPTY(list)) {
            struct actor *a = TAILQ_FIRST(list);

            TAILQ_REMOVE(list, a, link);
            actor_free(a);
            d->open.n_actors--;
        }
    }
}

void open_done(struct drive *d)
{
    free_idle(d);
    free(d->open.free);
}

static struct actor *take_free(struct drive *d, size_t user_class)
{
    struct actor *a = TAILQ_FIRST(&d->open.free[user_class]);

    if (a)
        TAILQ_REMOVE(&d->open.free[user_class], a, link);
    return a;
}

/* Room for another class when all users there may be exist: one that is free in some class goes. */
static bool make_room(struct drive *d)
{
    for (size_t i = 0; i < d->w->opts.plan->n_classes; i++) {
        struct actor *a = take_free(d, i);

        if (a) {
            actor_free(a);
            d->open.n_actors--;
            return true;
        }
    }
    return false;
}

static struct actor *actor_for(struct drive *d, uint32_t user_class)
{
    const struct worker_opts *o = &d->w->opts;
    struct actor *a = take_free(d, user_class);

    if (a)
        return a;
    if (d->open.n_actors >= d->open.max_actors && !make_room(d))
        return NULL;

    uint64_t number = d->open.made++ * o->n_workers + o->index;

    d->open.n_actors++;

    return actor_new(d, &(struct user_id){ .part = d->index,
                                           .user_class = user_class,
                                           .number = number,
                                           .id = d->first_id + number });
}

static void drop(struct drive *d, const struct task *task, uint64_t at_ns, uint64_t now_ns)
{
    const struct task *first = task->n_steps ? &task->steps[0] : task;

    d->w->arrivals_dropped++;
    worker_record(d->w, &(struct sample){ .task = first->index,
                                          .fail = FAIL_DROPPED,
                                          .sched = at_ns,
                                          .start = now_ns,
                                          .done = MAX(now_ns, at_ns) });
}

/* Arrival n at its instant. Its task is drawn from a stream of its own, before it is known whether
 * it will be dropped: what arrives does not depend on how the target copes. */
static void arrive(struct drive *d, uint32_t user_class, uint64_t now_ns)
{
    struct worker *w = d->w;
    uint64_t n = d->open.next_n, at_ns = d->base_ns + d->open.next_ns;
    struct rng rng;

    arrival_rng(&rng, w->opts.plan->seed, d->index, n);

    const struct task *task = cast_pick(w->opts.cast, user_class, n, &rng);

    w->arrivals_due++;
    if (UNLIKELY(w->trace != NULL))
        trace_add(w->trace,
                  &(struct trace_line){
                      .task = task, .number = n, .at_ns = d->open.next_ns, .part = d->index });

    struct actor *a = actor_for(d, user_class);

    if (!a) {
        drop(d, task, at_ns, now_ns);
        return;
    }
    live_more(d);

    struct user_move move = user_arrive(&a->user, w->opts.plan->seed, n, task, at_ns);

    actor_move(a, &move, now_ns);
}

static void end_if_last(struct drive *d)
{
    if (!d->ended || d->n_live > 0)
        return;
    free_idle(d);
}

/* The part lasts as long as its curve, not only until the last arrival: rates are over that time.
 * A limit of iterations ends it where the last of them comes. */
static uint64_t end_of(const struct drive *d)
{
    const struct pace_arrivals *p = &d->open.pace;

    return p->n < p->max ? d->base_ns + d->part->duration_ns : 0;
}

void open_due(void *drive)
{
    struct drive *d = drive;
    const struct worker_opts *o = &d->w->opts;
    uint64_t now_ns = loop_now_ns(d->w->loop);
    unsigned budget = BATCH_MAX;

    while (d->open.has_next && d->base_ns + d->open.next_ns <= now_ns && budget > 0) {
        int64_t user_class = spread_next(&d->spread);

        if (d->open.next_n % o->n_workers == o->index && user_class != SPREAD_NONE) {
            arrive(d, (uint32_t)user_class, now_ns);
            budget--;
        }
        d->open.has_next = pace_arrivals_next(&d->open.pace, &d->open.next_ns, &d->open.next_n);
    }
    if (d->open.has_next) {
        loop_timer_at(d->timer, d->base_ns + d->open.next_ns);
        return;
    }
    if (now_ns < end_of(d)) {
        loop_timer_at(d->timer, end_of(d));
        return;
    }
    d->ended = true;
    end_if_last(d);
}

void open_actor_over(struct actor *a)
{
    struct drive *d = a->drive;

    live_less(d);
    TAILQ_INSERT_HEAD(&d->open.free[a->user.user_class], a, link);
    end_if_last(d);
}

void open_stop(struct drive *d)
{
    end_if_last(d);
}
