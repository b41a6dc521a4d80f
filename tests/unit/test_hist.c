/* The histogram's promises: no value off by more than 1/1024 anywhere in its range, quantiles as of
 * the sorted data, merging and text form without loss. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "runner/hist.h"

#define US NS_PER_US
#define MS NS_PER_MS

static int hist_equal(const struct hist *a, const struct hist *b)
{
    if (a->count != b->count || a->sum_us != b->sum_us || a->min_ns != b->min_ns ||
        a->max_ns != b->max_ns)
        return 0;
    for (unsigned i = 0; i < HIST_SLOTS; i++) {
        if (hist_slot_count(a, i) != hist_slot_count(b, i))
            return 0;
    }
    return 1;
}

/* Latencies as they are: mostly around 2 ms, some to minutes, a few at 0 and past the end. */
static uint64_t draw(struct rng *r)
{
    switch (rng_below(r, 20)) {
    case 0: return rng_below(r, 3000);
    case 1: return (uint64_t)rng_exponential(r, 60e9);
    case 2: return HIST_MAX_NS + rng_below(r, 1000);
    default: return (uint64_t)(2e6 * exp(rng_normal(r)));
    }
}

static void test_steps_tile_the_range(void **state)
{
    uint64_t next = 0;

    (void)state;
    for (unsigned i = 0; i < HIST_SLOTS; i++) {
        assert_int_equal(hist_slot_low_us(i), next);
        next += hist_slot_width_us(i);
    }
    assert_true(next * US > HIST_MAX_NS);
}

static void test_no_value_is_off_by_more_than_its_share(void **state)
{
    (void)state;
    for (double v = 1; v <= 3600e6; v *= 1.0007) {
        uint64_t ns = (uint64_t)(v * 1000);
        struct hist h = { 0 };

        /* A far smaller and a far larger value, so that min and max do not hide the step. */
        hist_record(&h, 0);
        hist_record(&h, ns);
        hist_record(&h, HIST_MAX_NS);

        double got = (double)hist_quantile_ns(&h, 0.5);
        double off = fabs(got - (double)ns);

        assert_true(off <= 500 || off / (double)ns <= 1.0 / 1024);
        hist_done(&h);
    }
}

static void test_small_values_are_exact(void **state)
{
    (void)state;
    for (unsigned us = 0; us < 2048; us++) {
        struct hist h = { 0 };

        hist_record(&h, us * US);
        assert_int_equal(hist_slot_count(&h, us), 1);
        assert_int_equal(hist_quantile_ns(&h, 0.5), us * US);
        hist_done(&h);
    }
}

static void test_rounding_is_to_nearest(void **state)
{
    static const struct {
        uint64_t ns;
        unsigned slot;
    } rows[] = { { 0, 0 }, { 499, 0 }, { 500, 1 }, { 1499, 1 }, { 1500, 2 }, { 2047499, 2047 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct hist h = { 0 };

        hist_record(&h, rows[i].ns);
        assert_int_equal(hist_slot_count(&h, rows[i].slot), 1);
        assert_int_equal(h.min_ns, rows[i].ns);
        assert_int_equal(h.max_ns, rows[i].ns);
        hist_done(&h);
    }
}

static void test_above_an_hour_counts_as_an_hour(void **state)
{
    struct hist h = { 0 };

    (void)state;
    hist_record(&h, UINT64_MAX);
    hist_record(&h, HIST_MAX_NS + 1);
    assert_int_equal(h.max_ns, HIST_MAX_NS);
    assert_int_equal(hist_quantile_ns(&h, 1), HIST_MAX_NS);
    assert_int_equal(h.count, 2);
    hist_done(&h);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void test_quantiles_are_those_of_the_sorted_data(void **state)
{
    static const double qs[] = { 0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1 };
    enum { N = 20000 };
    uint64_t *all = xcalloc(N, sizeof *all);
    struct hist h = { 0 };
    struct rng r;

    (void)state;
    rng_seed(&r, 42, 0);
    for (size_t i = 0; i < N; i++) {
        all[i] = MIN(draw(&r), HIST_MAX_NS);
        hist_record(&h, all[i]);
    }
    qsort(all, N, sizeof *all, compare);
    for (size_t i = 0; i < ARRAY_LEN(qs); i++) {
        size_t rank = (size_t)ceil(qs[i] * N - 1e-9);
        double want = (double)all[rank ? rank - 1 : 0];
        double got = (double)hist_quantile_ns(&h, qs[i]);

        assert_true(fabs(got - want) <= MAX(500, want / 1024));
    }
    assert_int_equal(hist_quantile_ns(&h, 1), h.max_ns);
    hist_done(&h);
    free(all);
}

static void test_quantile_ranks_of_few_values(void **state)
{
    static const struct {
        unsigned n;
        double q;
        unsigned want_us; /* of the values 1, 2, ... n */
    } rows[] = {
        { 1, 0, 1 },          { 1, 1, 1 },     { 2, 0.5, 1 },     { 2, 0.51, 2 },
        { 20, 0.95, 19 },     { 20, 0.9, 18 }, { 100, 0.99, 99 }, { 100, 0.991, 100 },
        { 1000, 0.999, 999 }, { 10, 0.3, 3 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct hist h = { 0 };

        for (unsigned v = 1; v <= rows[i].n; v++)
            hist_record(&h, v * US);
        assert_int_equal(hist_quantile_ns(&h, rows[i].q), rows[i].want_us * US);
        hist_done(&h);
    }
}

static void test_an_empty_histogram_answers_zero(void **state)
{
    struct hist h = { 0 };

    (void)state;
    assert_int_equal(hist_quantile_ns(&h, 0.99), 0);
    assert_int_equal(hist_count_below(&h, HIST_MAX_NS), 0);
    assert_true(hist_mean_ns(&h) == 0);
    hist_done(&h);
    hist_done(NULL);
}

static void test_merging_equals_recording_all_in_one(void **state)
{
    struct hist all = { 0 }, part[4] = { { 0 } }, merged = { 0 };
    struct rng r;

    (void)state;
    rng_seed(&r, 7, 0);
    for (unsigned i = 0; i < 40000; i++) {
        uint64_t v = draw(&r);

        hist_record(&all, v);
        hist_record(&part[rng_below(&r, 4)], v);
    }
    for (unsigned i = 0; i < 4; i++) {
        hist_merge(&merged, &part[i]);
        hist_done(&part[i]);
    }
    assert_true(hist_equal(&all, &merged));
    assert_true(fabs(hist_mean_ns(&all) - hist_mean_ns(&merged)) < 1e-6);
    hist_merge(&merged, &part[0]); /* an empty one changes nothing */
    assert_true(hist_equal(&all, &merged));
    hist_done(&all);
    hist_done(&merged);
}

static void test_clear_keeps_memory_and_forgets_values(void **state)
{
    struct hist h = { 0 };

    (void)state;
    hist_record(&h, 5 * MS);

    const uint32_t *page = NULL;

    for (unsigned i = 0; i < HIST_PAGES; i++)
        page = h.page[i] ? h.page[i] : page;
    assert_non_null(page);
    hist_clear(&h);
    assert_int_equal(h.count, 0);
    assert_int_equal(hist_quantile_ns(&h, 1), 0);
    hist_record(&h, 5 * MS);
    assert_int_equal(h.count, 1);
    assert_int_equal(h.min_ns, 5 * MS);
    for (unsigned i = 0; i < HIST_PAGES; i++)
        assert_true(!h.page[i] || h.page[i] == page);
    hist_done(&h);
}

/* Packed or not must not be seen in any figure. */
static void test_a_packed_one_says_the_same(void **state)
{
    static const unsigned sizes[] = { 0, 1, 2, 300, 20000 };
    static const double qs[] = { 0, 0.01, 0.5, 0.9, 0.99, 0.999, 1 };

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
        struct hist open = { 0 }, packed = { 0 }, sum = { 0 };
        auto_buf struct buf a = BUF_INIT(0), b = BUF_INIT(0);
        struct rng r;

        rng_seed(&r, 3, k);
        for (unsigned i = 0; i < sizes[k]; i++)
            hist_record(&open, draw(&r));
        hist_merge(&packed, &open);
        hist_pack(&packed);
        hist_pack(&packed); /* twice is once */
        assert_int_equal(packed.packed != NULL, sizes[k] > 0);
        assert_null(packed.page);
        for (size_t i = 0; i < ARRAY_LEN(qs); i++)
            assert_int_equal(hist_quantile_ns(&open, qs[i]), hist_quantile_ns(&packed, qs[i]));
        for (uint64_t ns = 0; ns < 4 * HIST_MAX_NS; ns = ns * 2 + 700)
            assert_int_equal(hist_count_below(&open, ns), hist_count_below(&packed, ns));
        assert_true(hist_equal(&open, &packed));
        hist_encode(&open, &a);
        hist_encode(&packed, &b);
        assert_string_equal(buf_str(&a), buf_str(&b));
        hist_merge(&sum, &packed); /* out of a packed one, and into one */
        assert_true(hist_equal(&sum, &open));
        hist_pack(&sum);
        hist_merge(&sum, &packed);
        assert_int_equal(sum.count, 2 * open.count);
        assert_int_equal(hist_quantile_ns(&sum, 0.9), hist_quantile_ns(&open, 0.9));
        hist_record(&packed, 5 * MS); /* unpacks */
        hist_record(&open, 5 * MS);
        assert_true(hist_equal(&open, &packed));
        hist_pack(&packed);
        hist_clear(&packed);
        assert_int_equal(hist_quantile_ns(&packed, 0.5), 0);
        hist_done(&open);
        hist_done(&packed);
        hist_done(&sum);
    }
}

/* A second of 500 requests around 2 ms. */
static void test_a_packed_one_is_small(void **state)
{
    struct hist h = { 0 };
    size_t bytes = 0;
    struct rng r;

    (void)state;
    rng_seed(&r, 3, 0);
    for (unsigned i = 0; i < 500; i++)
        hist_record(&h, (uint64_t)(2e6 * exp(rng_normal(&r) / 4)));
    hist_pack(&h);
    while (h.packed[bytes] || h.packed[bytes + 1]) /* no count within is 0 */
        bytes++;
    assert_in_range(bytes, 500 / 2, 500 * 4);
    hist_done(&h);
}

static void test_a_count_does_not_wrap(void **state)
{
    struct hist h = { 0 };

    (void)state;
    hist_record(&h, 0);
    for (unsigned i = 0; i < 33; i++) {
        uint32_t page[HIST_PAGE] = { h.page[0][0] };
        uint32_t *pages[HIST_PAGES] = { page };

        hist_merge(&h, &(struct hist){ .count = h.count, .sum_us = h.sum_us, .page = pages });
    }
    assert_int_equal(hist_slot_count(&h, 0), UINT32_MAX);
    assert_int_equal(h.count, UINT64_C(1) << 33);
    hist_done(&h);
}

static void test_count_below(void **state)
{
    static const struct {
        uint64_t ns, want;
    } rows[] = {
        { 0, 0 }, { 1 * US, 1 }, { 1999 * US, 2 }, { 2000 * US, 3 }, { 9 * MS, 3 }, { 10 * MS, 4 },
    };
    struct hist h = { 0 };

    (void)state;
    hist_record(&h, 1 * US);
    hist_record(&h, 2 * US);
    hist_record(&h, 2000 * US);
    hist_record(&h, 10 * MS);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(hist_count_below(&h, rows[i].ns), rows[i].want);
    assert_int_equal(hist_count_below(&h, UINT64_MAX), 4);
    hist_done(&h);
}

static void test_count_below_is_exact_at_step_borders(void **state)
{
    struct hist h = { 0 };
    uint64_t below = 0;

    (void)state;
    for (uint64_t us = 2048; us < 4096; us++)
        hist_record(&h, us * US);
    for (unsigned slot = 2048; slot < 3072; slot++) {
        below += hist_slot_width_us(slot);
        uint64_t last_us = hist_slot_low_us(slot) + hist_slot_width_us(slot) - 1;
        assert_int_equal(hist_count_below(&h, last_us * US), below);
    }
    hist_done(&h);
}

static void test_text_reads_back_equal(void **state)
{
    struct rng r;

    (void)state;
    rng_seed(&r, 3, 0);
    for (unsigned n = 0; n < 2000; n = n * 3 + 1) {
        struct hist h = { 0 }, back = { 0 };
        auto_buf struct buf text = BUF_INIT(0);

        for (unsigned i = 0; i < n; i++)
            hist_record(&h, draw(&r));
        hist_encode(&h, &text);
        assert_int_equal(hist_decode(buf_str(&text), &back), 0);
        assert_true(hist_equal(&h, &back));
        hist_done(&h);
        hist_done(&back);
    }
}

static void test_text_form(void **state)
{
    auto_buf struct buf text = BUF_INIT(0);
    struct hist h = { 0 };

    (void)state;
    hist_record(&h, 3 * US);
    hist_record(&h, 3 * US);
    hist_record(&h, 10 * US);
    hist_encode(&h, &text);
    assert_string_equal(buf_str(&text), "1;3;16;3000;10000;3:2,7:1");
    hist_done(&h);
}

static void test_bad_text_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "1",
        "2;0;0;0;0;",
        "1;0;0;0;0",
        "1;0;0;0;0;x",
        "1;0;5;0;0;",
        "1;1;3;3000;3000;",
        "1;2;3;3000;3000;3:1",     /* counts do not add up */
        "1;1;3;4000;3000;3:1",     /* min above max */
        "1;1;3;9000;9000;3:1",     /* min is not in the first step */
        "1;2;6;3000;9000;3:1,1:1", /* max is not in the last one */
        "1;2;6;3000;3000;3:1,0:1", /* a step twice */
        "1;1;3;3000;3000;3:0",     /* a step of nothing */
        "1;1;3;3000;3000;3:1,",    /* ends in a comma */
        "1;1;3;3000;3000;3:-1",
        "1;1;3;3000;3000;3:1 ",
        "1;1;3;3000;3000;23552:1",      /* past the last step */
        "1;1;3;3000;3000;3:4294967296", /* past a counter */
        "1;1;99999999999999999999;3000;3000;3:1",
        "1;1;3600000001;3000;3000;3:1", /* a mean above an hour */
        "1;1;3;3000;3600000000001;3:1",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct hist h = { .count = 77 };

        if (hist_decode(bad[i], &h) == 0)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(h.count, 77); /* untouched */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_tile_the_range),
        cmocka_unit_test(test_no_value_is_off_by_more_than_its_share),
        cmocka_unit_test(test_small_values_are_exact),
        cmocka_unit_test(test_rounding_is_to_nearest),
        cmocka_unit_test(test_above_an_hour_counts_as_an_hour),
        cmocka_unit_test(test_quantiles_are_those_of_the_sorted_data),
        cmocka_unit_test(test_quantile_ranks_of_few_values),
        cmocka_unit_test(test_an_empty_histogram_answers_zero),
        cmocka_unit_test(test_merging_equals_recording_all_in_one),
        cmocka_unit_test(test_clear_keeps_memory_and_forgets_values),
        cmocka_unit_test(test_a_packed_one_says_the_same),
        cmocka_unit_test(test_a_packed_one_is_small),
        cmocka_unit_test(test_a_count_does_not_wrap),
        cmocka_unit_test(test_count_below),
        cmocka_unit_test(test_count_below_is_exact_at_step_borders),
        cmocka_unit_test(test_text_reads_back_equal),
        cmocka_unit_test(test_text_form),
        cmocka_unit_test(test_bad_text_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
