/* The choices of users. Everything random here is drawn in one fixed order per iteration (task,
 * then think time), from a stream of the user's own, so that neither the number of threads nor the
 * target's speed changes what a user does. */
#include "runner/user.h"

#include <math.h>
#include <string.h>

void cast_init(struct cast *c, const struct load_plan *plan)
{
    *c = (struct cast){ .plan = plan, .upto = xcalloc(plan->n_classes, sizeof *c->upto) };
    for (size_t i = 0; i < plan->n_classes; i++) {
        const struct user_class *k = &plan->classes[i];
        double sum = 0;

        c->upto[i] = xcalloc(k->n_tasks, sizeof **c->upto);
        for (size_t t = 0; t < k->n_tasks; t++)
            c->upto[i][t] = sum += k->tasks[t].weight;
    }
}

void cast_done(struct cast *c)
{
    for (size_t i = 0; c->upto && i < c->plan->n_classes; i++)
        free(c->upto[i]);
    free(c->upto);
    *c = (struct cast){ 0 };
}

/* The first i with value < upto[i]. */
static size_t find_share(const double *upto, size_t n, double value)
{
    size_t lo = 0, hi = n - 1;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (value < upto[mid])
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

const struct task *cast_pick(const struct cast *c, uint32_t user_class, uint64_t turn,
                             struct rng *rng)
{
    const struct user_class *k = &c->plan->classes[user_class];
    const double *upto = c->upto[user_class];

    if (k->sequential)
        return &k->tasks[turn % k->n_tasks];
    return &k->tasks[find_share(upto, k->n_tasks, rng_unit(rng) * upto[k->n_tasks - 1])];
}

/* ---- which class ---- */

static bool class_takes_part(const struct spread *s, size_t i)
{
    return s->only < 0 || (size_t)s->only == i;
}

void spread_init(struct spread *s, const struct load_plan *plan, const struct load_plan_part *p)
{
    *s = (struct spread){ .plan = plan, .only = -1 };
    s->given = xcalloc(plan->n_classes, sizeof *s->given);
    for (size_t i = 0; p->only_class && i < plan->n_classes; i++) {
        if (strcmp(plan->classes[i].name, p->only_class) == 0)
            s->only = (int64_t)i;
    }
    for (size_t i = 0; i < plan->n_classes; i++) {
        const struct user_class *k = &plan->classes[i];

        if (!class_takes_part(s, i))
            continue;
        /* Fixed counts are counts of users: they say nothing about arrivals. */
        if (k->fixed_count > 0 && p->kind == LOAD_CLOSED)
            s->n_fixed += (uint64_t)k->fixed_count;
        else
            s->weights += k->weight;
    }
    s->open = p->kind == LOAD_OPEN;
}

void spread_done(struct spread *s)
{
    free(s->given);
    *s = (struct spread){ 0 };
}

/* The weight of a class among those that user s->n is drawn from; 0: not one of them. */
static double weight_now(const struct spread *s, size_t i)
{
    const struct user_class *k = &s->plan->classes[i];
    bool fixed = k->fixed_count > 0 && !s->open;
    bool fixed_now = s->n < s->n_fixed;

    if (!class_takes_part(s, i) || fixed != fixed_now)
        return 0;
    if (!fixed)
        return k->weight;
    return s->given[i] < (double)k->fixed_count ? (double)k->fixed_count : 0;
}

/* The class that is furthest behind its share of the first n users. */
static int64_t most_owed(const struct spread *s)
{
    bool fixed_now = s->n < s->n_fixed;
    double all = fixed_now ? (double)s->n_fixed : s->weights;
    double nth = (double)(fixed_now ? s->n : s->n - s->n_fixed) + 1;
    double most = 0;
    int64_t best = SPREAD_NONE;

    for (size_t i = 0; i < s->plan->n_classes; i++) {
        double weight = weight_now(s, i);
        double owed = weight > 0 ? weight * nth / all - s->given[i] : 0;

        if (weight > 0 && (best == SPREAD_NONE || owed > most + 1e-9)) {
            best = (int64_t)i;
            most = owed;
        }
    }
    return best;
}

int64_t spread_next(struct spread *s)
{
    int64_t best = most_owed(s);

    if (best != SPREAD_NONE)
        s->given[best]++;
    s->n++;
    return best;
}

uint64_t spread_max(const struct load_plan *plan, const struct load_plan_part *p)
{
    struct spread s;

    spread_init(&s, plan, p);

    uint64_t max = s.weights > 0 ? UINT64_MAX : s.n_fixed;

    spread_done(&s);
    return max;
}

/* ---- one user ---- */

static uint64_t stream_of(uint32_t part, uint64_t number, uint32_t life)
{
    return ((uint64_t)part << 56) ^ ((uint64_t)life << 36) ^ (number << 1);
}

void user_init(struct user *u, const struct user_id *id, uint64_t seed)
{
    *u = (struct user){ .part = (uint16_t)id->part,
                        .user_class = id->user_class,
                        .life = id->life,
                        .number = id->number,
                        .id = id->id,
                        .left = id->left };
    rng_seed(&u->choice, seed, stream_of(id->part, id->number, id->life));
    rng_seed(&u->data, seed, stream_of(id->part, id->number, id->life) | 1);
}

void user_done(struct user *u)
{
    vars_done(&u->vars);
    cookies_done(&u->cookies);
}

uint64_t think_draw(const struct think *t, struct rng *rng)
{
    switch (t->kind) {
    case THINK_NONE: return 0;
    case THINK_CONSTANT:
    case THINK_PACING: return t->a_ns;
    case THINK_BETWEEN:
        return (uint64_t)llround(rng_uniform(rng, (double)t->a_ns, (double)t->b_ns));
    case THINK_EXPONENTIAL:
        return (uint64_t)llround(MIN(rng_exponential(rng, (double)t->a_ns), 100 * (double)t->a_ns));
    }
    return 0;
}

static struct user_move send_step(struct user *u, uint64_t at_ns)
{
    const struct task *request = u->task->n_steps ? &u->task->steps[u->step] : u->task;

    return (struct user_move){
        .kind = USER_SEND, .request = request, .at_ns = at_ns, .begins = u->step == 0
    };
}

struct user_move user_wake(struct user *u, const struct cast *c, uint64_t at_ns)
{
    if (u->left == 0)
        return (struct user_move){ .kind = USER_DONE };
    u->left--;
    u->task = cast_pick(c, u->user_class, u->iteration, &u->choice);
    u->think_ns = think_draw(&c->plan->classes[u->user_class].think, &u->choice);
    u->iteration++;
    u->step = 0;
    u->begun_ns = at_ns;
    return send_step(u, at_ns);
}

static uint64_t arrival_stream(uint32_t part, uint64_t n)
{
    return UINT64_C(1) << 63 ^ stream_of(part, n, 0);
}

double user_lot(const struct user *u, uint64_t seed, bool whole)
{
    uint64_t turn = u->is_arrival ? 0 : u->iteration;
    struct rng r;

    if (!whole)
        seed += (turn + 1) * UINT64_C(0x9e3779b97f4a7c15) + u->step * UINT64_C(0xd1b54a32d192ed03);
    rng_seed(&r, seed,
             u->is_arrival ? arrival_stream(u->part, u->arrival)
                           : stream_of(u->part, u->number, u->life));
    return rng_unit(&r);
}

void user_abandon(struct user *u)
{
    if (u->task->n_steps)
        u->step = (uint32_t)u->task->n_steps - 1;
}

struct user_move user_next(struct user *u, const struct cast *c, uint64_t now_ns)
{
    bool is_paced = c->plan->classes[u->user_class].think.kind == THINK_PACING;

    if (u->step + 1 < u->task->n_steps) {
        u->step++;
        return send_step(u, now_ns);
    }
    if (u->left == 0)
        return (struct user_move){ .kind = USER_DONE };

    /* A paced user that is late goes on at once; the debt is not made up, as Locust has it. */
    uint64_t at_ns = (is_paced ? u->begun_ns : now_ns) + u->think_ns;

    if (at_ns <= now_ns)
        return user_wake(u, c, now_ns);
    return (struct user_move){ .kind = USER_WAIT, .at_ns = at_ns };
}

void arrival_rng(struct rng *r, uint64_t seed, uint32_t part, uint64_t n)
{
    rng_seed(r, seed, arrival_stream(part, n));
}

struct user_move user_arrive(struct user *u, uint64_t seed, uint64_t n, const struct task *task,
                             uint64_t at_ns)
{
    u->is_arrival = true;
    u->arrival = n;
    rng_seed(&u->data, seed, arrival_stream(u->part, n) | 1);
    u->task = task;
    u->think_ns = 0;
    u->left = 0;
    u->iteration++;
    u->step = 0;
    return send_step(u, at_ns);
}
