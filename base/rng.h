/* Seeded randomness: xoshiro256** streams. The same (seed, stream) gives the same sequence on every
 * machine. Source: Blackman & Vigna, https://prng.di.unimi.it/xoshiro256starstar.c (public domain
 * algorithm). */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include "base/defs.h"

struct rng {
    uint64_t s[4];
};

/* Streams of one seed are independent: one per user, per arrival process, per fault. */
void rng_seed(struct rng *r, uint64_t seed, uint64_t stream);
uint64_t rng_u64(struct rng *r);
double rng_unit(struct rng *r);                          /* [0, 1) */
uint64_t rng_below(struct rng *r, uint64_t n);           /* [0, n), n > 0, without bias */
int64_t rng_int(struct rng *r, int64_t lo, int64_t hi);  /* [lo, hi] */
double rng_uniform(struct rng *r, double lo, double hi); /* [lo, hi) */
double rng_exponential(struct rng *r, double mean);
double rng_normal(struct rng *r); /* mean 0, deviation 1 */
uint64_t rng_entropy(void);       /* from the kernel, for a run without --seed */

#endif
