/* What happens to the next packet: draws and pacing, pure, from a seed.
 *
 * netem's models, with one difference: a correlation keeps the rate, and the jitter, that was asked
 * for. netem mixes its draws, and then 20 % with a correlation of 50 % lose 2.5 %, and a jitter
 * with one of 80 % is a third as wide. Here a correlated hit is a chain of two states whose share
 * of hits is the percentage and whose correlation from packet to packet is the correlation. */
#include <math.h>

#include "chaoslib/net/net.h"

#define DRAW_MAX 4.0
#define PARETO_SHAPE 3.0
#define PARETO_MEAN 1.5
#define PARETO_DEVIATION 0.8660254037844386
#define LINK_HEADER_BYTES 14 /* a wire's frame is so much longer than what netfilter sees */
#define BITS_PER_BYTE 8
#define WAKING_NS NS_PER_MS
#define MAX_BELOW_1 (1 - 1e-12)

enum four_states { TX_IN_GAP, TX_IN_BURST, LOST_IN_GAP, LOST_IN_BURST };

/* The inverse of the normal distribution up to its middle; Acklam's approximation, good to 1e-9 of
 * the value. */
static double lower_quantile(double u)
{
    static const double a[] = { -3.969683028665376e+01, 2.209460984245205e+02,
                                -2.759285104469687e+02, 1.383577518672690e+02,
                                -3.066479806614716e+01, 2.506628277459239e+00 };
    static const double b[] = { -5.447609879822406e+01, 1.615858368580409e+02,
                                -1.556989798598866e+02, 6.680131188771972e+01,
                                -1.328068155288572e+01 };
    static const double c[] = { -7.784894002430293e-03, -3.223964580411365e-01,
                                -2.400758277161838e+00, -2.549732539343734e+00,
                                4.374664141464968e+00,  2.938163982698783e+00 };
    static const double d[] = { 7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                                3.754408661907416e+00 };
    const double tail = 0.02425;

    if (u < tail) {
        double q = sqrt(-2 * log(MAX(u, 1e-12)));
        return (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
               ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
    }
    double q = u - 0.5, r = q * q;
    return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
           (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

static double normal_quantile(double u)
{
    return u > 0.5 ? -lower_quantile(1 - u) : lower_quantile(u);
}

void net_model_init(struct net_model *m, const struct net_fault *f, uint64_t stream)
{
    *m = (struct net_model){ .shape = f->shape, .state = TX_IN_GAP };
    rng_seed(&m->rng, f->shape.seed, stream);
    m->last_delay = normal_quantile(rng_unit(&m->rng));
}

static double pareto_quantile(double u)
{
    return (pow(1 - u, -1 / PARETO_SHAPE) - PARETO_MEAN) / PARETO_DEVIATION;
}

double net_distribution_draw(enum net_distribution d, double u)
{
    double x = 0;

    switch (d) {
    case NET_UNIFORM: return 2 * u - 1;
    case NET_NORMAL: x = normal_quantile(u); break;
    case NET_PARETO: x = pareto_quantile(u); break;
    case NET_PARETONORMAL: x = 0.25 * normal_quantile(u) + 0.75 * pareto_quantile(u); break;
    }
    return fmax(-DRAW_MAX, fmin(DRAW_MAX, x));
}

/* True for `share` of all packets, in runs when they are correlated. */
static bool hits(struct net_model *m, double share)
{
    double rho = m->shape.correlation;
    double now = m->bad ? share + rho * (1 - share) : share * (1 - rho);

    m->bad = rng_unit(&m->rng) < now;
    return m->bad;
}

static bool nth_hits(struct net_model *m)
{
    return m->counted++ % m->shape.every == m->shape.nth;
}

/* netem's order: the state moves first, what is lost follows from the state before. */
static bool gemodel_hits(struct net_model *m)
{
    const double *ge = m->shape.ge;
    double move = rng_unit(&m->rng), lose = rng_unit(&m->rng);
    bool was_bad = m->bad;

    if (move < (was_bad ? ge[1] : ge[0]))
        m->bad = !was_bad;
    return lose < (was_bad ? ge[2] : ge[3]);
}

static bool state_hits(struct net_model *m)
{
    const double *s = m->shape.state;
    const double p13 = s[0], p31 = s[1], p32 = s[2], p23 = s[3], p14 = s[4];
    double u = rng_unit(&m->rng);

    switch ((enum four_states)m->state) {
    case TX_IN_GAP:
        m->state = u < p14 ? LOST_IN_GAP : u < p14 + p13 ? LOST_IN_BURST : TX_IN_GAP;
        break;
    case TX_IN_BURST: m->state = u < p23 ? LOST_IN_BURST : TX_IN_BURST; break;
    case LOST_IN_BURST:
        m->state = u < p32 ? TX_IN_BURST : u < p32 + p31 ? TX_IN_GAP : LOST_IN_BURST;
        break;
    case LOST_IN_GAP: m->state = TX_IN_GAP; break;
    }
    return m->state == LOST_IN_GAP || m->state == LOST_IN_BURST;
}

static bool is_lost(struct net_model *m)
{
    switch (m->shape.loss) {
    case NET_NTH: return nth_hits(m);
    case NET_GEMODEL: return gemodel_hits(m);
    case NET_STATE: return state_hits(m);
    case NET_RANDOM: break;
    }
    return hits(m, m->shape.percent);
}

/* Correlated draws are those of a normal process, and each is made an even one again, so that the
 * delays have the distribution that was asked for whatever their correlation. */
static uint64_t delay_of(struct net_model *m)
{
    const struct net_shape *s = &m->shape;
    double rho = s->correlation;

    if (s->jitter_ns == 0)
        return s->delay_ns;
    m->last_delay = m->last_delay * rho + normal_quantile(rng_unit(&m->rng)) * sqrt(1 - rho * rho);
    double u = erfc(-m->last_delay * M_SQRT1_2) / 2;
    double ns = (double)s->delay_ns +
                (double)s->jitter_ns * net_distribution_draw(s->distribution, fmin(u, MAX_BELOW_1));
    return ns > 0 ? (uint64_t)ns : 0;
}

/* A token bucket as a clock: how long the line is busy with all that came before. A sender on this
 * machine may wait until we let its last packet go before it hands over the next, so a line that
 * seems to have been idle for a moment was not: only our waking up took so long. */
static void pace(struct net_model *m, uint64_t now_ns, size_t bytes, struct net_verdict *v)
{
    const struct net_shape *s = &m->shape;
    double ns_per_byte = (double)(BITS_PER_BYTE * NS_PER_SEC) / (double)s->rate_bits;
    uint64_t burst_ns = (uint64_t)((double)s->burst_bytes * ns_per_byte);
    uint64_t idle_ns = now_ns > m->free_at_ns ? now_ns - m->free_at_ns : 0;
    uint64_t credit_ns = idle_ns < WAKING_NS ? MAX(burst_ns, idle_ns) : burst_ns;
    uint64_t from = MAX(m->free_at_ns, now_ns > credit_ns ? now_ns - credit_ns : 0);
    uint64_t done = from + (uint64_t)((double)(bytes + LINK_HEADER_BYTES) * ns_per_byte);

    if (s->limit_bytes && done > now_ns &&
        (double)(done - now_ns) / ns_per_byte > (double)s->limit_bytes) {
        v->drop = true;
        return;
    }
    m->free_at_ns = done;
    v->release_ns = MAX(done, now_ns);
}

/* netem's rule: of each `gap` packets one may overtake, and does so with the percentage. */
static bool overtakes(struct net_model *m)
{
    if (m->shape.gap && ++m->since_reorder < m->shape.gap)
        return false;
    if (!hits(m, m->shape.percent))
        return false;
    m->since_reorder = 0;
    return true;
}

struct net_verdict net_model_next(struct net_model *m, enum net_effect effect, uint64_t now_ns,
                                  size_t wire_bytes)
{
    struct net_verdict v = { .release_ns = now_ns };

    switch (effect) {
    case NET_LATENCY: v.release_ns = now_ns + delay_of(m); break;
    case NET_LOSS: v.drop = is_lost(m); break;
    case NET_CORRUPT: v.corrupt = hits(m, m->shape.percent); break;
    case NET_DUPLICATE: v.duplicate = hits(m, m->shape.percent); break;
    case NET_REORDER:
        if (!overtakes(m))
            v.release_ns = now_ns + delay_of(m);
        break;
    case NET_RATE: pace(m, now_ns, wire_bytes, &v); break;
    case NET_PARTITION:
    case NET_TCP_RESET:
    case NET_EFFECT_MAX: break;
    }
    return v;
}
