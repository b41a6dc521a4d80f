/* Closed load: as many users as the curve wants at each instant. Every user number has a place;
 * this worker keeps those of numbers index, index + n_workers, ... When the curve falls the highest
 * numbers leave first, each after the request it is in. */
#include "runner/drive.h"

/* The place's user number, over all workers. */
static uint64_t number_of(const struct drive *d, uint64_t place)
{
    return place * d->w->opts.n_workers + d->w->opts.index;
}

/* How many of the first `users` users are this worker's. */
static uint64_t own_of(const struct drive *d, uint64_t users)
{
    return pace_share(users, d->w->opts.n_workers, d->w->opts.index);
}

static uint64_t iterations_of(const struct drive *d, uint64_t number)
{
    if (d->part->iterations == 0)
        return UINT64_MAX;
    return number < d->closed.users_peak
               ? pace_share(d->part->iterations, d->closed.users_peak, number)
               : 0;
}

void closed_init(struct drive *d)
{
    const struct pace_curve *curve = &d->w->opts.curves[d->index];
    uint64_t peak = MIN(pace_users_at(curve->peak), spread_max(d->w->opts.plan, d->part));

    pace_users_init(&d->closed.pace, curve);
    d->closed.users_peak = peak;
    d->closed.left = UINT64_MAX;
    if (d->part->iterations == 0)
        return;
    d->closed.left = 0;
    for (uint64_t i = 0; number_of(d, i) < peak; i++)
        d->closed.left += iterations_of(d, number_of(d, i));
}

void closed_done(struct drive *d)
{
    for (size_t i = 0; i < d->closed.n_places; i++) {
        if (d->closed.places[i].actor)
            actor_free(d->closed.places[i].actor);
    }
    free(d->closed.places);
}

static struct place *place_at(struct drive *d, uint64_t i)
{
    if (i < d->closed.n_places)
        return &d->closed.places[i];
    if (d->closed.n_places == d->closed.cap_places) {
        d->closed.cap_places = MAX(64, d->closed.cap_places * 2);
        d->closed.places =
            xrealloc(d->closed.places, d->closed.cap_places, sizeof *d->closed.places);
    }

    /* The spread of classes goes over all numbers; those of other workers are drawn and dropped. */
    int64_t user_class = SPREAD_NONE;

    while (d->spread.n <= number_of(d, i))
        user_class = spread_next(&d->spread);
    d->closed.places[i] = (struct place){ .user_class = (int32_t)user_class,
                                          .left = iterations_of(d, number_of(d, i)) };
    d->closed.n_places++;
    return &d->closed.places[i];
}

static void begin_user(struct drive *d, uint64_t i, uint64_t at_ns)
{
    struct place *p = place_at(d, i);

    if (p->actor) { /* the one before it has still to end its request */
        p->again_ns = at_ns;
        return;
    }
    if (p->user_class == SPREAD_NONE || p->left == 0)
        return;

    uint64_t number = number_of(d, i);

    p->actor = actor_new(d, &(struct user_id){ .part = d->index,
                                               .user_class = (uint32_t)p->user_class,
                                               .life = p->life++,
                                               .number = number,
                                               .id = d->first_id + number,
                                               .left = p->left });
    live_more(d);

    struct actor *a = p->actor;
    struct user_move move = user_wake(&a->user, d->w->opts.cast, at_ns);

    actor_move(a, &move, loop_now_ns(d->w->loop));
}

/* All iterations of all places are used up: nobody new can come. */
static void end_if_used_up(struct drive *d)
{
    if (d->closed.left > 0 || d->n_live > 0 || d->ended)
        return;
    d->ended = true;
    loop_timer_stop(d->timer);
}

void closed_actor_over(struct actor *a)
{
    struct drive *d = a->drive;
    struct place *p = &d->closed.places[a->user.number / d->w->opts.n_workers];
    uint64_t again_ns = p->again_ns;

    if (p->left != UINT64_MAX) {
        d->closed.left -= p->left - a->user.left;
        p->left = a->user.left;
    }
    p->actor = NULL;
    p->again_ns = 0;
    live_less(d);
    actor_free(a);
    if (again_ns && !d->ended)
        begin_user(d, (uint64_t)(p - d->closed.places), again_ns);
    end_if_used_up(d);
}

static void end_user(struct drive *d, uint64_t i)
{
    struct place *p = &d->closed.places[i];

    p->again_ns = 0;
    if (!p->actor)
        return;
    p->actor->leaving = true;
    if (!p->actor->exchange)
        closed_actor_over(p->actor);
}

/* Brings the places towards what is wanted; false when the batch was too small for it. */
static bool follow_wanted(struct drive *d)
{
    unsigned budget = BATCH_MAX;

    for (; d->closed.begun < d->closed.wanted && budget > 0; budget--)
        begin_user(d, d->closed.begun++, d->closed.wanted_at_ns);
    for (; d->closed.begun > d->closed.wanted && budget > 0; budget--)
        end_user(d, --d->closed.begun);
    return d->closed.begun == d->closed.wanted;
}

/* Takes the next change of the curve that concerns this worker; false when there is none. */
static bool read_schedule(struct drive *d)
{
    uint64_t at_ns = 0, users = 0;

    do {
        if (!pace_users_next(&d->closed.pace, &at_ns, &users))
            return false;
    } while (own_of(d, users) == d->closed.wanted);
    d->closed.wanted = own_of(d, users);
    d->closed.wanted_at_ns = d->base_ns + at_ns;
    return true;
}

void closed_due(void *drive)
{
    struct drive *d = drive;
    uint64_t now_ns = loop_now_ns(d->w->loop);

    while (d->closed.wanted_at_ns <= now_ns) {
        if (!follow_wanted(d)) {
            loop_timer_at(d->timer, now_ns);
            return;
        }
        if (!read_schedule(d)) {
            d->ended = !d->closed.pace.curve->endless || d->closed.wanted == 0;
            break;
        }
    }
    if (!d->ended && d->closed.wanted_at_ns > now_ns)
        loop_timer_at(d->timer, d->closed.wanted_at_ns);
    end_if_used_up(d);
}

void closed_stop(struct drive *d)
{
    while (d->closed.begun > 0)
        end_user(d, --d->closed.begun);
}

uint64_t closed_users_wanted(const struct drive *d)
{
    return MIN(d->closed.begun, own_of(d, d->closed.users_peak));
}
