/* When the load wants what, as pure arithmetic: no clock, no I/O, no randomness but the seed's. All
 * instants are nanoseconds from the start of the part. The sequence is a function of the plan and
 * the seed alone; each worker computes all of it and takes its own share (user k and arrival n
 * belong to worker k % threads), so that it is the same for any number of threads. */
#ifndef RUNNER_PACE_H
#define RUNNER_PACE_H

#include "base/clock.h"
#include "base/rng.h"
#include "runner/plan.h"

/* The curve of a part: straight pieces of value over time. Immutable. */
struct pace_piece {
    double t0_s, t1_s; /* equal for a step */
    double v0, v1;
    double area0; /* integral of the curve up to t0 */
};

struct pace_curve {
    struct pace_piece *pieces;
    size_t n;
    bool endless; /* holds the last value for ever */
    double end_s; /* of the last piece; the curve ends there unless it is endless */
    double peak;
};

void pace_curve_init(struct pace_curve *c, const struct load_plan_part *p);
void pace_curve_done(struct pace_curve *c);
double pace_curve_area(const struct pace_curve *c); /* arrivals in all; HUGE_VAL when endless */
uint64_t pace_users_at(double value); /* users that a curve value asks for: it, rounded up */

/* Closed load: the instants at which the wanted number of users changes. User k (from 0) exists
 * while the curve is above k. */
struct pace_users {
    const struct pace_curve *curve;
    size_t piece;
    uint64_t wanted;
    bool begun, ended;
};
void pace_users_init(struct pace_users *u, const struct pace_curve *c);
/* False when nothing changes any more. The last change of a curve with an end is to 0. */
bool pace_users_next(struct pace_users *u, uint64_t *ret_at_ns, uint64_t *ret_wanted);

/* Open load: the instants of arrivals. Arrival n (from 0) is where the integral of the rate reaches
 * n; with Poisson where it reaches the n-th point of a unit-rate Poisson process, which gives a
 * process of exactly that changing rate. */
struct pace_arrivals {
    const struct pace_curve *curve;
    size_t piece;
    uint64_t n, max;
    double reach;
    bool poisson;
    struct rng rng;
};
void pace_arrivals_init(struct pace_arrivals *a, const struct pace_curve *c,
                        const struct load_plan_part *p, uint64_t seed, uint64_t part);
bool pace_arrivals_next(struct pace_arrivals *a, uint64_t *ret_at_ns, uint64_t *ret_n);

/* How `total` things are shared among `n`, to the one with number k: sizes differ by at most 1. */
static inline uint64_t pace_share(uint64_t total, uint64_t n, uint64_t k)
{
    return total / n + (k < total % n);
}

#endif
