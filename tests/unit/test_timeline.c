/* The timeline: which activations there are, when, and that chance is the seed's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "campaign/plan.h"

#define SEC NS_PER_SEC

static const struct {
    const char *what;
    struct fault_plan fault;
    uint64_t load_ns;
    size_t n;
    uint64_t first_ns, last_ns;
} cases[] = {
    { "once", { .at_ns = 5 * SEC, .count = 1 }, 60 * SEC, 1, 5 * SEC, 5 * SEC },
    { "every with count",
      { .at_ns = 5 * SEC, .every_ns = 10 * SEC, .count = 3 },
      60 * SEC,
      3,
      5 * SEC,
      25 * SEC },
    { "every until the load ends",
      { .at_ns = 5 * SEC, .every_ns = 10 * SEC },
      30 * SEC,
      3,
      5 * SEC,
      25 * SEC },
    { "an instant at the very end does not come",
      { .at_ns = 10 * SEC, .every_ns = 10 * SEC },
      30 * SEC,
      2,
      10 * SEC,
      20 * SEC },
    { "a count beyond the end is cut",
      { .at_ns = 5 * SEC, .every_ns = 10 * SEC, .count = 9 },
      30 * SEC,
      3,
      5 * SEC,
      25 * SEC },
    { "endless load with a count",
      { .at_ns = SEC, .every_ns = SEC, .count = 4 },
      0,
      4,
      SEC,
      4 * SEC },
    { "endless load without one",
      { .at_ns = SEC, .every_ns = SEC },
      0,
      ACTIVATIONS_MAX,
      SEC,
      ACTIVATIONS_MAX *SEC },
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fault_plan f = cases[i].fault;
        struct plan p = { .faults = &f, .n_faults = 1, .load.duration_ns = cases[i].load_ns };
        struct activation out[ACTIVATIONS_MAX];

        size_t n = timeline_build(&p, out, ACTIVATIONS_MAX);
        if (n != cases[i].n || out[0].planned_ns != cases[i].first_ns ||
            out[n - 1].planned_ns != cases[i].last_ns)
            fail_msg("%s: %zu activations, first %llu, last %llu", cases[i].what, n,
                     (unsigned long long)out[0].planned_ns,
                     (unsigned long long)out[n - 1].planned_ns);
    }
}

static void test_several_are_in_order(void **state)
{
    struct fault_plan f[] = { { .at_ns = 20 * SEC, .count = 1 },
                              { .at_ns = 5 * SEC, .every_ns = 10 * SEC, .count = 3 },
                              { .at_ns = SEC, .after = "x", .count = 1 } };
    struct plan p = { .faults = f, .n_faults = ARRAY_LEN(f), .load.duration_ns = 60 * SEC };
    struct activation out[ACTIVATIONS_MAX];

    (void)state;
    assert_int_equal(timeline_build(&p, out, ACTIVATIONS_MAX), 5);
    for (size_t i = 1; i < 5; i++)
        assert_true(out[i - 1].planned_ns <= out[i].planned_ns);
    assert_int_equal(out[4].fault, 2);
    assert_true(out[4].planned_ns == UINT64_MAX);
    assert_int_equal(timeline_build(&p, out, 2), 2);
}

static void test_chance_is_the_seeds(void **state)
{
    struct fault_plan f = { .at_ns = 10 * SEC, .at_max_ns = 20 * SEC, .count = 1 };
    struct plan p = { .faults = &f, .n_faults = 1, .load = { .duration_ns = 60 * SEC, .seed = 7 } };
    struct activation a, b;
    unsigned different = 0;

    (void)state;
    for (p.load.seed = 0; p.load.seed < 50; p.load.seed++) {
        assert_int_equal(timeline_build(&p, &a, 1), 1);
        assert_int_equal(timeline_build(&p, &b, 1), 1);
        assert_true(a.planned_ns == b.planned_ns);
        assert_true(a.planned_ns >= 10 * SEC && a.planned_ns <= 20 * SEC);
        different += a.planned_ns != 10 * SEC;
    }
    assert_true(different > 45);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases),
                                        cmocka_unit_test(test_several_are_in_order),
                                        cmocka_unit_test(test_chance_is_the_seeds) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
