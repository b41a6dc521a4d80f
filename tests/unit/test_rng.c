/* The same seed gives the same numbers on every machine; the distributions are what they claim. The
 * draws are seeded, so that the bounds below cannot fail by chance. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"

#define DRAWS 200000

static void a_seed_gives_the_same_sequence_for_ever(void **state)
{
    static const uint64_t want[] = { UINT64_C(8639442806326587442), UINT64_C(12101022645402375088),
                                     UINT64_C(14579961282752670900) };
    struct rng a, b, other_stream, other_seed;

    (void)state;
    rng_seed(&a, 7, 0);
    rng_seed(&b, 7, 0);
    rng_seed(&other_stream, 7, 1);
    rng_seed(&other_seed, 8, 0);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        uint64_t x = rng_u64(&a);
        assert_true(x == want[i]);
        assert_true(x == rng_u64(&b));
        assert_true(x != rng_u64(&other_stream));
        assert_true(x != rng_u64(&other_seed));
    }
}

static void the_state_steps_as_published(void **state)
{
    /* xoshiro256** from state {1, 2, 3, 4}: the reference implementation's first outputs. */
    static const uint64_t want[] = { 11520, 0, 1509978240, 1215971899390074240 };
    struct rng r = { { 1, 2, 3, 4 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_true(rng_u64(&r) == want[i]);
}

static void streams_are_not_correlated(void **state)
{
    struct rng a, b;
    double sum = 0;

    (void)state;
    rng_seed(&a, 1, 0);
    rng_seed(&b, 1, 1);
    for (int i = 0; i < DRAWS; i++)
        sum += (rng_unit(&a) - 0.5) * (rng_unit(&b) - 0.5);
    assert_true(fabs(sum / DRAWS * 12) < 0.01);
}

static void units_lie_in_the_half_open_interval(void **state)
{
    struct rng r;
    double sum = 0;

    (void)state;
    rng_seed(&r, 3, 0);
    for (int i = 0; i < DRAWS; i++) {
        double u = rng_unit(&r);
        assert_true(u >= 0 && u < 1);
        sum += u;
    }
    assert_true(fabs(sum / DRAWS - 0.5) < 0.005);
}

static void whole_numbers_are_even_and_within_bounds(void **state)
{
    struct rng r;
    int seen[7] = { 0 };

    (void)state;
    rng_seed(&r, 3, 0);
    for (int i = 0; i < 70000; i++) {
        int64_t x = rng_int(&r, -3, 3);
        assert_true(x >= -3 && x <= 3);
        seen[x + 3]++;
    }
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        assert_in_range(seen[i], 9600, 10400);
    assert_int_equal(rng_int(&r, 5, 5), 5);
    assert_int_equal(rng_below(&r, 1), 0);
    for (int i = 0; i < 100; i++)
        assert_true(rng_below(&r, UINT64_MAX) < UINT64_MAX);
    (void)rng_int(&r, INT64_MIN, INT64_MAX);
}

static void distributions_have_their_moments(void **state)
{
    struct rng r;
    double exp_sum = 0, exp_square = 0, norm_sum = 0, norm_square = 0, uni_sum = 0;

    (void)state;
    rng_seed(&r, 5, 0);
    for (int i = 0; i < DRAWS; i++) {
        double e = rng_exponential(&r, 2), n = rng_normal(&r), u = rng_uniform(&r, 10, 20);
        assert_true(e >= 0 && isfinite(e) && isfinite(n) && u >= 10 && u < 20);
        exp_sum += e;
        exp_square += e * e;
        norm_sum += n;
        norm_square += n * n;
        uni_sum += u;
    }
    assert_true(fabs(exp_sum / DRAWS - 2) < 0.03);
    assert_true(fabs(exp_square / DRAWS - 8) < 0.3);
    assert_true(fabs(norm_sum / DRAWS) < 0.01);
    assert_true(fabs(norm_square / DRAWS - 1) < 0.02);
    assert_true(fabs(uni_sum / DRAWS - 15) < 0.05);
}

static void entropy_differs(void **state)
{
    (void)state;
    assert_true(rng_entropy() != rng_entropy());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_gives_the_same_sequence_for_ever),
        cmocka_unit_test(the_state_steps_as_published),
        cmocka_unit_test(streams_are_not_correlated),
        cmocka_unit_test(units_lie_in_the_half_open_interval),
        cmocka_unit_test(whole_numbers_are_even_and_within_bounds),
        cmocka_unit_test(distributions_have_their_moments),
        cmocka_unit_test(entropy_differs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
