/* The curves of load and the instants they ask for. Each piece is solved in closed form instead of
 * being sampled by a tick, so that a ramp places its users and arrivals exactly, whatever the
 * machine does. */
#include "runner/pace.h"

#include <math.h>

/* Sums of fractions miss whole numbers by a few ulps; a billionth of a user is no user. */
#define NOISE 1e-9

static void add_piece(struct pace_curve *c, double duration_s, double v0, double v1)
{
    double area = 0;

    if (c->n > 0) {
        const struct pace_piece *last = &c->pieces[c->n - 1];

        area = last->area0 + (last->v0 + last->v1) / 2 * (last->t1_s - last->t0_s);
    }
    c->pieces[c->n++] = (struct pace_piece){
        .t0_s = c->end_s, .t1_s = c->end_s + duration_s, .v0 = v0, .v1 = v1, .area0 = area
    };
    c->end_s += duration_s;
    c->peak = MAX(c->peak, MAX(v0, v1));
}

/* Moves at the stage's own rate, then holds; cut off by the stage's end, when it has one. */
static double add_moving_stage(struct pace_curve *c, const struct stage_plan *s, double from,
                               bool unbounded)
{
    double needed = fabs(s->target - from) / s->spawn_rate;
    double duration = unbounded ? needed : ns_to_sec(s->duration_ns);
    double to = s->target;

    if (needed > duration) {
        to = from + (s->target - from) * duration / needed;
        needed = duration;
    }
    add_piece(c, needed, from, to);
    if (needed < duration)
        add_piece(c, duration - needed, to, to);
    return to;
}

void pace_curve_init(struct pace_curve *c, const struct load_plan_part *p)
{
    double value = p->start_value;

    *c = (struct pace_curve){ .endless = p->duration_ns == 0 };
    c->pieces = xcalloc(2 * p->n_stages + 1, sizeof *c->pieces);
    for (size_t i = 0; i < p->n_stages; i++) {
        const struct stage_plan *s = &p->stages[i];
        bool unbounded = c->endless && i + 1 == p->n_stages && s->duration_ns == 0;

        if (s->spawn_rate > 0 && (s->duration_ns > 0 || unbounded)) {
            value = add_moving_stage(c, s, value, unbounded);
            continue;
        }
        add_piece(c, ns_to_sec(s->duration_ns), value, s->target);
        value = s->target;
    }
    if (ns_to_sec(p->duration_ns) > c->end_s + NOISE || c->n == 0)
        add_piece(c, MAX(0, ns_to_sec(p->duration_ns) - c->end_s), value, value);
}

void pace_curve_done(struct pace_curve *c)
{
    free(c->pieces);
    *c = (struct pace_curve){ 0 };
}

static double area_after(const struct pace_piece *p)
{
    return p->area0 + (p->v0 + p->v1) / 2 * (p->t1_s - p->t0_s);
}

double pace_curve_area(const struct pace_curve *c)
{
    const struct pace_piece *last = &c->pieces[c->n - 1];

    return c->endless && last->v1 > 0 ? HUGE_VAL : area_after(last);
}

uint64_t pace_users_at(double value)
{
    return value <= NOISE ? 0 : (uint64_t)ceil(value - NOISE);
}

static uint64_t seconds_to_ns(double s)
{
    return s <= 0 ? 0 : (uint64_t)llround(s * 1e9);
}

void pace_users_init(struct pace_users *u, const struct pace_curve *c)
{
    *u = (struct pace_users){ .curve = c };
}

/* The instant in a sloped piece at which the curve is at `value`. */
static double crossing_s(const struct pace_piece *p, double value)
{
    double share = (value - p->v0) / (p->v1 - p->v0);

    return p->t0_s + MAX(0.0, MIN(share, 1.0)) * (p->t1_s - p->t0_s);
}

/* The next change inside a piece: false when there is none left in it. */
static bool change_in_piece(struct pace_users *u, const struct pace_piece *p, double *ret_at_s)
{
    uint64_t end = pace_users_at(p->v1);

    if (p->t1_s <= p->t0_s) {
        *ret_at_s = p->t0_s;
        if (u->wanted == end)
            return false;
        u->wanted = end;
        return true;
    }
    if (u->wanted < end) {
        *ret_at_s = crossing_s(p, (double)u->wanted++);
        return true;
    }
    if (u->wanted > end && p->v1 < p->v0) {
        *ret_at_s = crossing_s(p, (double)--u->wanted);
        return true;
    }
    return false;
}

bool pace_users_next(struct pace_users *u, uint64_t *ret_at_ns, uint64_t *ret_wanted)
{
    const struct pace_curve *c = u->curve;
    double at_s = c->end_s;

    if (!u->begun) {
        u->begun = true;
        u->wanted = pace_users_at(c->pieces[0].v0);
        *ret_at_ns = 0;
        *ret_wanted = u->wanted;
        if (u->wanted > 0)
            return true;
    }
    while (u->piece < c->n && !change_in_piece(u, &c->pieces[u->piece], &at_s))
        u->piece++;
    if (u->piece == c->n) {
        if (c->endless || u->ended || u->wanted == 0)
            return false;
        u->ended = true;
        u->wanted = 0;
        at_s = c->end_s;
    }
    *ret_at_ns = seconds_to_ns(at_s);
    *ret_wanted = u->wanted;
    return true;
}

void pace_arrivals_init(struct pace_arrivals *a, const struct pace_curve *c,
                        const struct load_plan_part *p, uint64_t seed, uint64_t part)
{
    *a = (struct pace_arrivals){ .curve = c,
                                 .max = p->iterations ? p->iterations : UINT64_MAX,
                                 .poisson = p->process == ARRIVAL_POISSON };
    rng_seed(&a->rng, seed, UINT64_C(0xa551) << 48 | part);
    a->reach = a->poisson ? rng_exponential(&a->rng, 1) : 0;
}

/* The x at which v0*x + slope/2*x^2 = y, in the form that stays exact for small slopes. */
static double reach_s(const struct pace_piece *p, double y)
{
    double width = p->t1_s - p->t0_s;
    double slope = width > 0 ? (p->v1 - p->v0) / width : 0;
    double under = p->v0 * p->v0 + 2 * slope * y;
    double below = p->v0 + sqrt(MAX(under, 0));

    return below > 0 ? 2 * y / below : 0;
}

/* Finds where the integral reaches `reach`; false when it never does. */
static bool arrival_at(struct pace_arrivals *a, double *ret_at_s)
{
    const struct pace_curve *c = a->curve;

    for (; a->piece < c->n; a->piece++) {
        const struct pace_piece *p = &c->pieces[a->piece];
        double area = area_after(p);

        if (a->reach < area - NOISE * (1 + area)) {
            *ret_at_s = p->t0_s + reach_s(p, a->reach - p->area0);
            return true;
        }
    }

    double rate = c->pieces[c->n - 1].v1;

    if (!c->endless || rate <= 0)
        return false;
    *ret_at_s = c->end_s + (a->reach - area_after(&c->pieces[c->n - 1])) / rate;
    return true;
}

bool pace_arrivals_next(struct pace_arrivals *a, uint64_t *ret_at_ns, uint64_t *ret_n)
{
    double at_s = 0;

    if (a->n >= a->max || !arrival_at(a, &at_s))
        return false;
    *ret_at_ns = seconds_to_ns(at_s);
    *ret_n = a->n++;
    a->reach = a->poisson ? a->reach + rng_exponential(&a->rng, 1) : (double)a->n;
    return true;
}
