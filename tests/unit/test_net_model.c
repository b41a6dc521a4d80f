/* What happens to packets, from a seed: shares within their binomial bounds, models as in netem. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "chaoslib/net/held.h"
#include "chaoslib/net/net.h"

#define DRAWS 200000

static struct net_model model_of(enum net_effect e, struct net_shape shape)
{
    struct net_fault f = { .effect = e, .shape = shape };
    struct net_model m;

    f.shape.seed = 42;
    net_model_init(&m, &f, 1);
    return m;
}

/* 4.5 deviations, widened for draws that depend on each other. */
static void assert_share(double got, double want, double widen)
{
    double bound = 4.5 * widen * sqrt(want * (1 - want) / DRAWS);

    if (fabs(got - want) > bound)
        fail_msg("%g instead of %g within %g", got, want, bound);
}

struct count {
    double lost, pairs; /* shares: lost, and lost right behind a lost one */
};

static struct count count_losses(struct net_shape shape)
{
    struct net_model m = model_of(NET_LOSS, shape);
    struct count c = { 0 };
    bool before = false;

    for (unsigned i = 0; i < DRAWS; i++) {
        bool lost = net_model_next(&m, NET_LOSS, i, 100).drop;
        c.lost += lost;
        c.pairs += lost && before;
        before = lost;
    }
    return (struct count){ c.lost / DRAWS, c.lost > 0 ? c.pairs / c.lost : 0 };
}

static void random_loss_is_a_share(void **state)
{
    static const double shares[] = { 0, 0.001, 0.05, 0.3, 1 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
        struct count c = count_losses((struct net_shape){ .percent = shares[i] });
        assert_share(c.lost, shares[i], 1);
    }
}

/* Unlike netem's: 20 % stay 20 %, and losses come in rows. */
static void correlation_keeps_the_share(void **state)
{
    (void)state;
    struct count c = count_losses((struct net_shape){ .percent = 0.2, .correlation = 0.5 });
    assert_share(c.lost, 0.2, 2);
    assert_true(fabs(c.pairs - 0.6) < 0.02); /* 0.2 + 0.5 × 0.8 */
    c = count_losses((struct net_shape){ .percent = 0.2 });
    assert_true(fabs(c.pairs - 0.2) < 0.02);
}

static void every_nth_is_exact(void **state)
{
    struct net_model m =
        model_of(NET_LOSS, (struct net_shape){ .loss = NET_NTH, .every = 5, .nth = 2 });

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(net_model_next(&m, NET_LOSS, 0, 1).drop, i % 5 == 2);
}

static void gilbert_elliott_as_in_theory(void **state)
{
    (void)state;
    struct count c =
        count_losses((struct net_shape){ .loss = NET_GEMODEL, .ge = { 0.05, 0.5, 1, 0 } });
    assert_share(c.lost, 0.05 / 0.55, 2);
    assert_true(fabs(c.pairs - 0.5) < 0.02);
    c = count_losses((struct net_shape){ .loss = NET_GEMODEL, .ge = { 0.1, 0.3, 0.7, 0.02 } });
    assert_share(c.lost, 0.25 * 0.7 + 0.75 * 0.02, 3);
}

/* Of the chain gap → burst → gap with p13 and p31 alone: p13 / (p13 + p31). */
static void four_states_as_in_theory(void **state)
{
    (void)state;
    struct count c =
        count_losses((struct net_shape){ .loss = NET_STATE, .state = { 0.05, 0.45, 0, 1, 0 } });
    assert_share(c.lost, 0.05 / 0.5, 3);
    c = count_losses((struct net_shape){ .loss = NET_STATE, .state = { 0, 1, 0, 1, 0.1 } });
    assert_share(c.lost, 0.1 / 1.1, 2); /* single losses: the next one always passes */
    assert_true(c.pairs < 1e-9);
}

static void distributions_have_mean_and_deviation(void **state)
{
    static const struct {
        enum net_distribution d;
        double deviation, tolerance;
    } rows[] = { { NET_UNIFORM, 0.57735, 0.01 },
                 { NET_NORMAL, 1, 0.01 },
                 { NET_PARETO, 0.74, 0.05 }, /* cut at 4 */
                 { NET_PARETONORMAL, 0.8, 0.1 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double sum = 0, squares = 0, last = -(double)INFINITY;
        for (unsigned k = 0; k < DRAWS; k++) {
            double x = net_distribution_draw(rows[i].d, (k + 0.5) / DRAWS);
            assert_true(x >= last && x >= -4 && x <= 4);
            last = x;
            sum += x;
            squares += x * x;
        }
        double mean = sum / DRAWS, deviation = sqrt(squares / DRAWS - mean * mean);
        if (fabs(mean) > 0.05 || fabs(deviation - rows[i].deviation) > rows[i].tolerance)
            fail_msg("distribution %zu: mean %g, deviation %g", i, mean, deviation);
    }
}

static void delays_are_what_was_asked(void **state)
{
    struct net_model m =
        model_of(NET_LATENCY, (struct net_shape){ .delay_ns = 50, .jitter_ns = 0 });

    (void)state;
    assert_int_equal(net_model_next(&m, NET_LATENCY, 1000, 1).release_ns, 1050);
    m = model_of(NET_LATENCY, (struct net_shape){ .delay_ns = 1000, .jitter_ns = 400 });
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t ns = net_model_next(&m, NET_LATENCY, 0, 1).release_ns;
        assert_in_range(ns, 600, 1400);
    }
    m = model_of(NET_LATENCY, (struct net_shape){ .delay_ns = 10, .jitter_ns = 1000 });
    for (unsigned i = 0; i < 10000; i++) /* never before it came */
        assert_true(net_model_next(&m, NET_LATENCY, 5000, 1).release_ns >= 5000);
}

/* As wide as without it, and each like the one before. */
static void correlated_delays_keep_their_distribution(void **state)
{
    const double rho = 0.8, deviations[] = { 0.57735, 1 };
    const enum net_distribution rows[] = { NET_UNIFORM, NET_NORMAL };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct net_model m = model_of(NET_LATENCY, (struct net_shape){ .delay_ns = 100000000,
                                                                       .jitter_ns = 10000000,
                                                                       .correlation = rho,
                                                                       .distribution = rows[i] });
        double sum = 0, squares = 0, products = 0, last = 0;
        for (unsigned k = 0; k < DRAWS; k++) {
            uint64_t ns = net_model_next(&m, NET_LATENCY, 0, 1).release_ns;
            double x = (double)ns / 10000000 - 10;
            sum += x;
            squares += x * x;
            products += x * last;
            last = x;
        }
        double mean = sum / DRAWS, deviation = sqrt(squares / DRAWS - mean * mean);
        if (fabs(mean) > 0.05 || fabs(deviation - deviations[i]) > 0.03 ||
            fabs(products / squares - rho) > 0.03)
            fail_msg("distribution %zu: mean %g, deviation %g, correlation %g", i, mean, deviation,
                     products / squares);
    }
}

/* It hands over the next packet a little after the last one went. */
static void a_sender_that_waits_for_us_gets_the_whole_rate(void **state)
{
    struct net_model m = model_of(NET_RATE, (struct net_shape){ .rate_bits = 8000000 });
    uint64_t now = 1000000;

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        now = net_model_next(&m, NET_RATE, now, 986).release_ns + 200000;
    assert_in_range(now, 1000 * 1000000, 1002 * 1000000);
}

static void pacing_is_exact_and_the_queue_has_an_end(void **state)
{
    const struct net_shape shape = { .rate_bits = 8000000, .limit_bytes = 5000 }; /* 1 byte/µs */
    struct net_model m = model_of(NET_RATE, shape);
    struct net_verdict v = { 0 };

    (void)state;
    for (unsigned i = 1; i <= 5; i++) {
        v = net_model_next(&m, NET_RATE, 1000000, 986); /* and 14 of the frame */
        assert_false(v.drop);
        assert_int_equal(v.release_ns, 1000000 + i * 1000000);
    }
    assert_true(net_model_next(&m, NET_RATE, 1000000, 986).drop);
    v = net_model_next(&m, NET_RATE, 100000000, 986); /* after a pause: as at first */
    assert_int_equal(v.release_ns, 101000000);
    m = model_of(NET_RATE, (struct net_shape){ .rate_bits = 8000000, .burst_bytes = 3000 });
    for (unsigned i = 0; i < 3; i++) /* the burst goes at once */
        assert_int_equal(net_model_next(&m, NET_RATE, 50000000, 986).release_ns, 50000000);
    assert_true(net_model_next(&m, NET_RATE, 50000000, 986).release_ns > 50000000);
}

static void reordering_sends_some_at_once(void **state)
{
    struct net_model m =
        model_of(NET_REORDER, (struct net_shape){ .percent = 0.25, .delay_ns = 100 });
    unsigned at_once = 0;

    (void)state;
    for (unsigned i = 0; i < DRAWS; i++)
        at_once += net_model_next(&m, NET_REORDER, 7, 1).release_ns == 7;
    assert_share((double)at_once / DRAWS, 0.25, 1);
    m = model_of(NET_REORDER, (struct net_shape){ .percent = 1, .delay_ns = 100, .gap = 5 });
    for (unsigned i = 1; i <= 100; i++)
        assert_int_equal(net_model_next(&m, NET_REORDER, 7, 1).release_ns == 7, i % 5 == 0);
}

static void the_same_seed_gives_the_same_packets(void **state)
{
    const struct net_shape shape = { .percent = 0.5, .correlation = 0.3 };
    struct net_model a = model_of(NET_CORRUPT, shape), b = model_of(NET_CORRUPT, shape);

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(net_model_next(&a, NET_CORRUPT, 0, 1).corrupt,
                         net_model_next(&b, NET_CORRUPT, 0, 1).corrupt);
}

static void held_packets_leave_by_time_then_order(void **state)
{
    struct held h = { 0 };
    struct rng rng;
    uint64_t last = 0;

    (void)state;
    rng_seed(&rng, 1, 1);
    for (uint32_t i = 0; i < 5000; i++)
        held_push(
            &h, &(struct held_packet){ .release_ns = rng_below(&rng, 100), .id = 0xfffff000u + i });
    for (uint32_t i = 0, id = 0; i < 5000; i++) {
        struct held_packet p = held_pop(&h);
        assert_true(p.release_ns >= last);
        if (i && p.release_ns == last)
            assert_true((int32_t)(p.id - id) > 0); /* also where numbers begin anew */
        last = p.release_ns;
        id = p.id;
    }
    assert_null(held_first(&h));
    held_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_loss_is_a_share),
        cmocka_unit_test(correlation_keeps_the_share),
        cmocka_unit_test(correlated_delays_keep_their_distribution),
        cmocka_unit_test(a_sender_that_waits_for_us_gets_the_whole_rate),
        cmocka_unit_test(every_nth_is_exact),
        cmocka_unit_test(gilbert_elliott_as_in_theory),
        cmocka_unit_test(four_states_as_in_theory),
        cmocka_unit_test(distributions_have_mean_and_deviation),
        cmocka_unit_test(delays_are_what_was_asked),
        cmocka_unit_test(pacing_is_exact_and_the_queue_has_an_end),
        cmocka_unit_test(reordering_sends_some_at_once),
        cmocka_unit_test(the_same_seed_gives_the_same_packets),
        cmocka_unit_test(held_packets_leave_by_time_then_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
