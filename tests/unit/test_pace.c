/* Schedules: users and arrivals stand where the curve puts them, to the microsecond, whatever the
 * number of threads; a Poisson process has the mean and the variance it must have. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "load_sample.h"
#include "runner/pace.h"

#define S NS_PER_SEC
#define MS NS_PER_MS
#define CHANGES_MAX 4000

struct change {
    uint64_t at_ns, wanted;
};

static size_t changes_of(const struct load_plan_part *p, struct change *out)
{
    struct pace_curve curve;
    struct pace_users users;
    size_t n = 0;

    pace_curve_init(&curve, p);
    pace_users_init(&users, &curve);
    while (n < CHANGES_MAX && pace_users_next(&users, &out[n].at_ns, &out[n].wanted))
        n++;
    pace_curve_done(&curve);
    return n;
}

struct stage_row {
    uint64_t duration_ns;
    double target, spawn;
};

/* "0=1 100=2 ..." in milliseconds: when how many users are wanted. */
static const struct {
    const char *name;
    struct stage_row stages[SAMPLE_STAGES];
    bool endless;
    const char *want;
} closed_rows[] = {
    { "a ramp", { { 4 * S, 4, 0 } }, false, "0=1 1000=2 2000=3 3000=4 4000=0" },
    { "a step", { { 0, 3, 0 }, { 2 * S, 3, 0 } }, false, "0=3 2000=0" },
    { "a ramp down", { { 0, 3, 0 }, { 3 * S, 0, 0 } }, false, "0=3 1000=2 2000=1 3000=0" },
    { "spawn rate, then hold", { { 10 * S, 3, 2 } }, false, "0=1 500=2 1000=3 10000=0" },
    { "spawn rate cut off by the end",
      { { 2 * S, 100, 2 } },
      false,
      "0=1 500=2 1000=3 1500=4 2000=0" },
    { "spawn rate without an end", { { 0, 3, 2 } }, true, "0=1 500=2 1000=3" },
    { "two shape stages", { { 2 * S, 2, 2 }, { 2 * S, 1, 1 } }, false, "0=1 500=2 3000=1 4000=0" },
    { "up, down and up again",
      { { 2 * S, 2, 0 }, { 2 * S, 0, 0 }, { 1 * S, 1, 0 } },
      false,
      "0=1 1000=2 3000=1 4000=0 4000=1 5000=0" },
    { "a step down",
      { { 0, 5, 0 }, { S, 5, 0 }, { 0, 2, 0 }, { S, 2, 0 } },
      false,
      "0=5 1000=2 2000=0" },
    { "nobody", { { S, 0, 0 } }, false, "" },
    { "a tenth of a user a second", { { 20 * S, 2, 0.1 } }, false, "0=1 10000=2 20000=0" },
};

static void test_when_users_are_wanted(void **state)
{
    static struct change got[CHANGES_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(closed_rows); i++) {
        struct load_sample s;
        auto_buf struct buf text = BUF_INIT(0);

        sample_init(&s);

        struct load_plan_part *p = sample_part(&s, LOAD_CLOSED);

        for (size_t k = 0; k < SAMPLE_STAGES; k++) {
            const struct stage_row *row = &closed_rows[i].stages[k];

            if (row->duration_ns || row->target > 0)
                sample_stage(p, row->duration_ns, row->target, row->spawn);
        }
        if (closed_rows[i].endless)
            p->duration_ns = 0;

        size_t n = changes_of(p, got);

        for (size_t k = 0; k < n; k++)
            buf_addf(&text, "%s%llu=%llu", k ? " " : "",
                     (unsigned long long)((got[k].at_ns + MS / 2) / MS),
                     (unsigned long long)got[k].wanted);
        if (strcmp(buf_str(&text), closed_rows[i].want) != 0)
            fail_msg("%s: %s", closed_rows[i].name, buf_str(&text));
    }
}

static void test_a_curve_may_begin_above_zero(void **state)
{
    struct change got[CHANGES_MAX];
    struct load_sample s;

    (void)state;
    sample_init(&s);

    struct load_plan_part *p = sample_part(&s, LOAD_CLOSED);

    p->start_value = 2;
    sample_stage(p, 2 * S, 0, 0);

    size_t n = changes_of(p, got);

    assert_int_equal(n, 3);
    assert_int_equal(got[0].at_ns, 0);
    assert_int_equal(got[0].wanted, 2);
    assert_int_equal(got[1].at_ns, 1 * S);
    assert_int_equal(got[2].wanted, 0);
}

static void test_users_agree_with_the_plans_curve(void **state)
{
    static struct change got[CHANGES_MAX];
    struct load_sample s;

    (void)state;
    sample_init(&s);

    struct load_plan_part *p = sample_part(&s, LOAD_CLOSED);

    sample_stage(p, 7 * S, 250, 0);
    sample_stage(p, 5 * S, 40, 100);
    sample_stage(p, 3 * S, 333, 0);

    size_t n = changes_of(p, got);

    assert_true(n > 700);
    for (size_t i = 0; i + 1 < n; i++) {
        uint64_t middle = (got[i].at_ns + got[i + 1].at_ns) / 2;

        assert_true(got[i].at_ns <= got[i + 1].at_ns);
        if (got[i + 1].at_ns - got[i].at_ns > 2)
            assert_int_equal(got[i].wanted, pace_users_at(load_part_value_at(p, middle)));
    }
}

/* ---- arrivals ---- */

static uint64_t *arrivals_of(const struct load_plan_part *p, uint64_t seed, size_t max, size_t *ret)
{
    uint64_t *at = xcalloc(max, sizeof *at), number = 0;
    struct pace_curve curve;
    struct pace_arrivals a;
    size_t n = 0;

    pace_curve_init(&curve, p);
    pace_arrivals_init(&a, &curve, p, seed, 0);
    while (n < max && pace_arrivals_next(&a, &at[n], &number)) {
        assert_int_equal(number, n);
        assert_true(n == 0 || at[n] >= at[n - 1]);
        n++;
    }
    pace_curve_done(&curve);
    *ret = n;
    return at;
}

static void open_part(struct load_sample *s, double from, const struct stage_row *stages, size_t n)
{
    sample_init(s);

    struct load_plan_part *p = sample_part(s, LOAD_OPEN);

    p->start_value = from;
    for (size_t i = 0; i < n; i++)
        sample_stage(p, stages[i].duration_ns, stages[i].target, 0);
}

static void test_a_constant_rate_is_exact(void **state)
{
    static const struct {
        double rate;
        uint64_t seconds;
        size_t want;
    } rows[] = { { 100, 10, 1000 },  { 0.5, 10, 5 },    { 3, 10, 30 },      { 0.1, 30, 3 },
                 { 1e5, 1, 100000 }, { 7.3, 100, 730 }, { 1.0 / 3, 30, 10 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct load_sample s;
        size_t n = 0;

        open_part(&s, rows[i].rate, &(struct stage_row){ rows[i].seconds * S, rows[i].rate, 0 }, 1);

        uint64_t *at = arrivals_of(&s.parts[0], 1, 200000, &n);

        assert_int_equal(n, rows[i].want);
        for (size_t k = 0; k < n; k++)
            assert_true(fabs((double)at[k] - (double)k / rows[i].rate * 1e9) <= 2);
        free(at);
    }
}

/* Property: the integral of the rate up to arrival n is n. */
static void test_arrivals_stand_where_the_integral_is_whole(void **state)
{
    static const struct stage_row stages[] = {
        { 10 * S, 200, 0 },
        { 0, 50, 0 },
        { 5 * S, 50, 0 },
        { 10 * S, 0, 0 },
    };
    struct load_sample s;
    size_t n = 0;

    (void)state;
    open_part(&s, 0, stages, ARRAY_LEN(stages));

    uint64_t *at = arrivals_of(&s.parts[0], 1, 10000, &n);

    assert_int_equal(n, 1000 + 250 + 250);
    for (size_t k = 0; k < n; k++) {
        double t = (double)at[k] / 1e9, area;

        if (t <= 10)
            area = 10 * t * t;
        else if (t <= 15)
            area = 1000 + 50 * (t - 10);
        else
            area = 1250 + 50 * (t - 15) - 2.5 * (t - 15) * (t - 15);
        assert_true(fabs(area - (double)k) < 1e-5);
    }
    free(at);
}

static void test_a_rate_of_zero_waits(void **state)
{
    static const struct stage_row stages[] = {
        { 0, 0, 0 }, { 5 * S, 0, 0 }, { 0, 10, 0 }, { 1 * S, 10, 0 }
    };
    struct load_sample s;
    size_t n = 0;

    (void)state;
    open_part(&s, 0, stages, ARRAY_LEN(stages));

    uint64_t *at = arrivals_of(&s.parts[0], 1, 100, &n);

    assert_int_equal(n, 10);
    assert_int_equal(at[0], 5 * S);
    assert_int_equal(at[9], 5 * S + 900 * MS);
    free(at);
}

static void test_without_an_end_arrivals_go_on(void **state)
{
    struct load_sample s;
    size_t n = 0;

    (void)state;
    open_part(&s, 10, &(struct stage_row){ 0, 10, 0 }, 1);

    uint64_t *at = arrivals_of(&s.parts[0], 1, 5000, &n);

    assert_int_equal(n, 5000);
    assert_int_equal(at[4999], 499900 * MS);
    free(at);
    s.parts[0].iterations = 12;
    at = arrivals_of(&s.parts[0], 1, 5000, &n);
    assert_int_equal(n, 12);
    free(at);
}

static void test_poisson_has_its_mean_and_variance(void **state)
{
    enum { WINDOWS = 2000 };
    static unsigned counts[WINDOWS];
    struct load_sample s;
    double mean = 0, variance = 0;
    size_t n = 0;

    (void)state;
    open_part(&s, 50, &(struct stage_row){ WINDOWS * S, 50, 0 }, 1);
    s.parts[0].process = ARRIVAL_POISSON;

    uint64_t *at = arrivals_of(&s.parts[0], 99, 200000, &n);

    for (size_t i = 0; i < n; i++)
        counts[at[i] / S]++;
    for (size_t i = 0; i < WINDOWS; i++)
        mean += (double)counts[i] / WINDOWS;
    for (size_t i = 0; i < WINDOWS; i++)
        variance += pow((double)counts[i] - mean, 2) / (WINDOWS - 1);
    /* Five standard errors; the seed is fixed, so this passes always or never. */
    assert_true(fabs(mean - 50) < 5 * sqrt(50.0 / WINDOWS));
    assert_true(fabs(variance / 50 - 1) < 5 * sqrt(2.0 / WINDOWS));
    free(at);
}

static void test_poisson_follows_a_ramp(void **state)
{
    struct load_sample s;
    size_t n = 0, first_half = 0;

    (void)state;
    open_part(&s, 0, &(struct stage_row){ 100 * S, 400, 0 }, 1);
    s.parts[0].process = ARRIVAL_POISSON;

    uint64_t *at = arrivals_of(&s.parts[0], 5, 100000, &n);

    for (size_t i = 0; i < n; i++)
        first_half += at[i] < 50 * S;
    assert_true(fabs((double)n - 20000) < 5 * sqrt(20000.0));
    assert_true(fabs((double)first_half - 5000) < 5 * sqrt(5000.0));
    free(at);
}

static void test_the_seed_decides_a_poisson_process(void **state)
{
    struct load_sample s;
    size_t n[3] = { 0 };
    uint64_t *at[3];

    (void)state;
    open_part(&s, 50, &(struct stage_row){ 100 * S, 50, 0 }, 1);
    s.parts[0].process = ARRIVAL_POISSON;
    for (size_t i = 0; i < 3; i++)
        at[i] = arrivals_of(&s.parts[0], i == 2 ? 8 : 7, 20000, &n[i]);
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(at[0], at[1], n[0] * sizeof *at[0]);
    assert_memory_not_equal(at[0], at[2], 100 * sizeof *at[0]);
    for (size_t i = 0; i < 3; i++)
        free(at[i]);
}

static void test_shares_add_up_and_differ_by_one(void **state)
{
    (void)state;
    for (uint64_t total = 0; total < 50; total++) {
        for (uint64_t n = 1; n < 9; n++) {
            uint64_t sum = 0;

            for (uint64_t k = 0; k < n; k++) {
                sum += pace_share(total, n, k);
                assert_in_range(pace_share(total, n, k), total / n, total / n + 1);
            }
            assert_int_equal(sum, total);
        }
    }
}

static void test_the_area_is_the_number_of_arrivals(void **state)
{
    static const struct stage_row stages[] = { { 10 * S, 200, 0 }, { 10 * S, 200, 0 } };
    struct pace_curve curve;
    struct load_sample s;

    (void)state;
    open_part(&s, 0, stages, 2);
    pace_curve_init(&curve, &s.parts[0]);
    assert_true(fabs(pace_curve_area(&curve) - 3000) < 1e-6);
    assert_true(fabs(curve.peak - 200) < 1e-9);
    pace_curve_done(&curve);
    s.parts[0].duration_ns = 0;
    pace_curve_init(&curve, &s.parts[0]);
    assert_true(isinf(pace_curve_area(&curve)));
    pace_curve_done(&curve);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_when_users_are_wanted),
        cmocka_unit_test(test_a_curve_may_begin_above_zero),
        cmocka_unit_test(test_users_agree_with_the_plans_curve),
        cmocka_unit_test(test_a_constant_rate_is_exact),
        cmocka_unit_test(test_arrivals_stand_where_the_integral_is_whole),
        cmocka_unit_test(test_a_rate_of_zero_waits),
        cmocka_unit_test(test_without_an_end_arrivals_go_on),
        cmocka_unit_test(test_poisson_has_its_mean_and_variance),
        cmocka_unit_test(test_poisson_follows_a_ramp),
        cmocka_unit_test(test_the_seed_decides_a_poisson_process),
        cmocka_unit_test(test_shares_add_up_and_differ_by_one),
        cmocka_unit_test(test_the_area_is_the_number_of_arrivals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
