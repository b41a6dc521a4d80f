/* See rng.h. */
#include "base/rng.h"

#include <math.h>
#include <sys/random.h>

#include "base/clock.h"

/* splitmix64: turns a seed into well mixed state words. */
static uint64_t mix(uint64_t *x)
{
    uint64_t z = (*x += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void rng_seed(struct rng *r, uint64_t seed, uint64_t stream)
{
    uint64_t x = seed;
    uint64_t y = stream + UINT64_C(0xd1b54a32d192ed03);

    for (size_t i = 0; i < ARRAY_LEN(r->s); i++)
        r->s[i] = mix(&x) ^ rotl(mix(&y), 17);
    if (!(r->s[0] | r->s[1] | r->s[2] | r->s[3]))
        r->s[0] = 1;
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

double rng_unit(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1.0p-53;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t x;

    do
        x = rng_u64(r);
    while (x >= limit);
    return x % n;
}

int64_t rng_int(struct rng *r, int64_t lo, int64_t hi)
{
    uint64_t span = (uint64_t)hi - (uint64_t)lo;

    if (span == UINT64_MAX)
        return (int64_t)rng_u64(r);
    return (int64_t)((uint64_t)lo + rng_below(r, span + 1));
}

double rng_uniform(struct rng *r, double lo, double hi)
{
    return lo + (hi - lo) * rng_unit(r);
}

double rng_exponential(struct rng *r, double mean)
{
    return -mean * log1p(-rng_unit(r));
}

double rng_normal(struct rng *r)
{
    double u = 1.0 - rng_unit(r);

    return sqrt(-2.0 * log(u)) * cos(2.0 * M_PI * rng_unit(r));
}

uint64_t rng_entropy(void)
{
    uint64_t x;

    if (getrandom(&x, sizeof(x), 0) != (ssize_t)sizeof(x))
        x = clock_wall_ns() ^ ((uint64_t)getpid() << 32);
    return x;
}
