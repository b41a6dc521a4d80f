/* Users' choices: by weight, repeatable, independent of timing; think times as the plan says. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "load_sample.h"
#include "runner/user.h"

#define S NS_PER_SEC
#define MS NS_PER_MS

static void shop(struct load_sample *s)
{
    sample_init(s);

    struct user_class *web = sample_class(s, "web", 3);

    sample_task(s, web, "GET /", "/", 3);
    sample_task(s, web, "GET /health", "/health", 1);
    web->think = (struct think){ .kind = THINK_BETWEEN, .a_ns = 1 * S, .b_ns = 5 * S };

    struct user_class *api = sample_class(s, "api", 1);

    sample_task(s, api, "GET /items", "/items", 1);
    sample_part(s, LOAD_CLOSED);
}

static struct user user_number(uint32_t user_class, uint64_t number)
{
    struct user u = { 0 };

    user_init(&u, &(struct user_id){ .user_class = user_class, .number = number, .left = 1000 }, 7);
    return u;
}

/* Goes through `n` iterations whose requests take `service_ns` each; tells what was chosen. */
static void walk(const struct cast *c, struct user *u, unsigned n, uint64_t service_ns,
                 const struct task **tasks, uint64_t *thinks)
{
    struct user_move move = user_wake(u, c, S);
    uint64_t now = S;

    for (unsigned i = 0; i < n;) {
        if (move.kind == USER_WAIT) {
            now = move.at_ns;
            move = user_wake(u, c, now);
            continue;
        }
        assert_int_equal(move.kind, USER_SEND);
        if (move.begins) {
            tasks[i] = u->task;
            thinks[i++] = u->think_ns;
        }
        now += service_ns;
        move = user_next(u, c, now);
    }
}

static void test_choices_do_not_depend_on_the_targets_speed(void **state)
{
    enum { N = 200 };
    const struct task *tasks[2][N];
    uint64_t thinks[2][N];
    struct load_sample s;
    struct cast c;

    (void)state;
    shop(&s);
    cast_init(&c, &s.plan);
    for (unsigned i = 0; i < 2; i++) {
        struct user u = user_number(0, 5);

        walk(&c, &u, N, i ? 3 * S : 1 * MS, tasks[i], thinks[i]);
        rng_u64(&u.data); /* what templates draw changes nothing either */
        user_done(&u);
    }
    assert_memory_equal(tasks[0], tasks[1], sizeof tasks[0]);
    assert_memory_equal(thinks[0], thinks[1], sizeof thinks[0]);
    cast_done(&c);
}

static void test_users_differ(void **state)
{
    enum { N = 50 };
    const struct task *tasks[3][N];
    uint64_t thinks[3][N];
    struct load_sample s;
    struct cast c;

    (void)state;
    shop(&s);
    cast_init(&c, &s.plan);
    for (unsigned i = 0; i < 3; i++) {
        struct user u = user_number(0, i % 2);

        u.life = i / 2;
        if (i == 2)
            user_init(&u, &(struct user_id){ .number = 0, .life = 1, .left = 1000 }, 7);
        walk(&c, &u, N, MS, tasks[i], thinks[i]);
    }
    assert_memory_not_equal(thinks[0], thinks[1], sizeof thinks[0]);
    assert_memory_not_equal(thinks[0], thinks[2], sizeof thinks[0]); /* another life */
    cast_done(&c);
}

static void test_tasks_come_by_weight(void **state)
{
    enum { N = 20000 };
    struct load_sample s;
    struct cast c;
    struct rng r;
    unsigned n = 0;

    (void)state;
    shop(&s);
    s.tasks[0][1].weight = 0; /* never */
    sample_task(&s, &s.classes[0], "x", "/x", 1);
    cast_init(&c, &s.plan);
    rng_seed(&r, 1, 1);
    for (unsigned i = 0; i < N; i++) {
        const struct task *t = cast_pick(&c, 0, i, &r);

        assert_ptr_not_equal(t, &s.tasks[0][1]);
        n += t == &s.tasks[0][0];
    }
    assert_true(fabs((double)n / N - 0.75) < 5 * sqrt(0.75 * 0.25 / N));
    cast_done(&c);
}

static void test_a_sequential_class_goes_in_order(void **state)
{
    const struct task *tasks[6];
    uint64_t thinks[6];
    struct load_sample s;
    struct cast c;

    (void)state;
    shop(&s);
    s.classes[0].sequential = true;
    cast_init(&c, &s.plan);

    struct user u = user_number(0, 0);

    walk(&c, &u, 6, MS, tasks, thinks);
    for (unsigned i = 0; i < 6; i++)
        assert_ptr_equal(tasks[i], &s.tasks[0][i % 2]);
    cast_done(&c);
}

static void test_a_sequence_is_one_iteration(void **state)
{
    struct task steps[3] = { { .name = "a" }, { .name = "b" }, { .name = "c" } };
    struct load_sample s;
    struct cast c;

    (void)state;
    shop(&s);
    s.classes[1].think = (struct think){ .kind = THINK_CONSTANT, .a_ns = 2 * S };
    s.tasks[1][0].steps = steps;
    s.tasks[1][0].n_steps = 3;
    cast_init(&c, &s.plan);

    struct user u = user_number(1, 0);
    struct user_move m = user_wake(&u, &c, 10 * S);

    assert_ptr_equal(m.request, &steps[0]);
    assert_true(m.begins);
    m = user_next(&u, &c, 11 * S);
    assert_ptr_equal(m.request, &steps[1]);
    assert_false(m.begins);
    assert_int_equal(m.at_ns, 11 * S);
    m = user_next(&u, &c, 12 * S);
    assert_ptr_equal(m.request, &steps[2]);
    m = user_next(&u, &c, 13 * S);
    assert_int_equal(m.kind, USER_WAIT);
    assert_int_equal(m.at_ns, 15 * S);
    assert_int_equal(u.iteration, 1);
    cast_done(&c);
}

/* Begun at 10 s, ended at 10 s + service: when does the next iteration begin? */
static void test_think_times(void **state)
{
    static const struct {
        struct think think;
        uint64_t service_ns;
        enum user_move_kind kind;
        uint64_t lo_ns, hi_ns;
    } rows[] = {
        { { THINK_NONE, 0, 0 }, 1 * S, USER_SEND, 11 * S, 11 * S },
        { { THINK_CONSTANT, 2 * S, 0 }, 1 * S, USER_WAIT, 13 * S, 13 * S },
        { { THINK_CONSTANT, 0, 0 }, 1 * S, USER_SEND, 11 * S, 11 * S },
        { { THINK_BETWEEN, 1 * S, 2 * S }, 1 * S, USER_WAIT, 12 * S, 13 * S },
        { { THINK_PACING, 5 * S, 0 }, 1 * S, USER_WAIT, 15 * S, 15 * S },
        { { THINK_PACING, 5 * S, 0 }, 5 * S, USER_SEND, 15 * S, 15 * S },
        { { THINK_PACING, 5 * S, 0 }, 8 * S, USER_SEND, 18 * S, 18 * S }, /* no debt is kept */
        { { THINK_EXPONENTIAL, 1 * S, 0 }, 1 * S, USER_WAIT, 11 * S, 111 * S },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct load_sample s;
        struct cast c;

        shop(&s);
        s.classes[0].think = rows[i].think;
        cast_init(&c, &s.plan);

        struct user u = user_number(0, 3);

        user_wake(&u, &c, 10 * S);

        struct user_move m = user_next(&u, &c, 10 * S + rows[i].service_ns);

        assert_int_equal(m.kind, rows[i].kind);
        assert_in_range(m.at_ns, rows[i].lo_ns, rows[i].hi_ns);
        cast_done(&c);
    }
}

static void test_means_of_think_times(void **state)
{
    static const struct {
        struct think think;
        double mean_s, deviation_s, lo_s, hi_s;
    } rows[] = {
        { { THINK_BETWEEN, 1 * S, 5 * S }, 3, 1.1547, 1, 5 },
        { { THINK_EXPONENTIAL, 2 * S, 0 }, 2, 2, 0, 200 },
    };
    enum { N = 20000 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rng r;
        double sum = 0;

        rng_seed(&r, 5, i);
        for (unsigned k = 0; k < N; k++) {
            double t = (double)think_draw(&rows[i].think, &r) / 1e9;

            assert_true(t >= rows[i].lo_s && t <= rows[i].hi_s);
            sum += t;
        }
        assert_true(fabs(sum / N - rows[i].mean_s) < 5 * rows[i].deviation_s / sqrt(N));
    }
}

static void test_iterations_run_out(void **state)
{
    struct load_sample s;
    struct cast c;

    (void)state;
    shop(&s);
    cast_init(&c, &s.plan);

    struct user u = user_number(0, 0);

    u.left = 2;
    assert_int_equal(user_wake(&u, &c, S).kind, USER_SEND);
    assert_int_equal(user_next(&u, &c, 2 * S).kind, USER_WAIT);
    assert_int_equal(user_wake(&u, &c, 9 * S).kind, USER_SEND);
    assert_int_equal(user_next(&u, &c, 10 * S).kind, USER_DONE);
    assert_int_equal(user_wake(&u, &c, 11 * S).kind, USER_DONE);
    cast_done(&c);
}

/* ---- classes ---- */

static void test_classes_are_always_within_one_of_their_share(void **state)
{
    struct load_sample s;
    struct spread spread;
    double given[3] = { 0 };

    (void)state;
    shop(&s);
    sample_class(&s, "rare", 0.37);
    sample_task(&s, &s.classes[2], "r", "/r", 1);
    spread_init(&spread, &s.plan, &s.parts[0]);
    for (unsigned n = 1; n <= 5000; n++) {
        given[spread_next(&spread)]++;
        for (size_t i = 0; i < 3; i++)
            assert_true(fabs(given[i] - s.classes[i].weight * n / 4.37) < 1.0001);
    }
    spread_done(&spread);
}

static void test_fixed_counts_come_first_and_exactly(void **state)
{
    struct load_sample s;
    struct spread spread;
    unsigned given[3] = { 0 };

    (void)state;
    shop(&s);
    sample_class(&s, "admin", 1)->fixed_count = 2;
    spread_init(&spread, &s.plan, &s.parts[0]);
    assert_int_equal(spread_next(&spread), 2);
    assert_int_equal(spread_next(&spread), 2);
    for (unsigned n = 0; n < 400; n++)
        given[spread_next(&spread)]++;
    assert_int_equal(given[0], 300);
    assert_int_equal(given[1], 100);
    assert_int_equal(given[2], 0);
    assert_true(spread_max(&s.plan, &s.parts[0]) == UINT64_MAX);
    spread_done(&spread);
}

static void test_only_fixed_classes_make_no_more_users(void **state)
{
    struct load_sample s;
    struct spread spread;

    (void)state;
    shop(&s);
    s.classes[0].fixed_count = 3;
    s.classes[1].fixed_count = 1;
    assert_int_equal(spread_max(&s.plan, &s.parts[0]), 4);
    spread_init(&spread, &s.plan, &s.parts[0]);
    for (unsigned i = 0; i < 4; i++)
        assert_true(spread_next(&spread) != SPREAD_NONE);
    assert_int_equal(spread_next(&spread), SPREAD_NONE);
    spread_done(&spread);
}

static void test_a_part_may_drive_one_class(void **state)
{
    struct load_sample s;
    struct spread spread;

    (void)state;
    shop(&s);
    s.parts[0].only_class = "api";
    spread_init(&spread, &s.plan, &s.parts[0]);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(spread_next(&spread), 1);
    spread_done(&spread);
}

static void test_fixed_counts_say_nothing_about_arrivals(void **state)
{
    struct load_sample s;
    struct spread spread;
    unsigned given[2] = { 0 };

    (void)state;
    shop(&s);
    s.parts[0].kind = LOAD_OPEN;
    s.classes[1].fixed_count = 5;
    spread_init(&spread, &s.plan, &s.parts[0]);
    for (unsigned i = 0; i < 40; i++)
        given[spread_next(&spread)]++;
    assert_int_equal(given[0], 30);
    assert_int_equal(given[1], 10);
    spread_done(&spread);
}

static void test_an_arrival_is_one_iteration_of_any_user(void **state)
{
    struct load_sample s;
    struct cast c;

    (void)state;
    shop(&s);
    cast_init(&c, &s.plan);

    struct user a = user_number(0, 1), b = user_number(0, 2);
    struct user_move m = user_arrive(&a, 7, 99, &s.tasks[0][0], 3 * S);

    user_arrive(&b, 7, 99, &s.tasks[0][0], 3 * S);
    assert_int_equal(m.kind, USER_SEND);
    assert_int_equal(m.at_ns, 3 * S);
    /* What its templates draw belongs to the arrival, not to the user who happens to take it. */
    assert_int_equal(rng_u64(&a.data), rng_u64(&b.data));
    assert_int_equal(user_next(&a, &c, 4 * S).kind, USER_DONE);
    user_arrive(&b, 7, 100, &s.tasks[0][0], 3 * S);
    assert_int_not_equal(rng_u64(&a.data), rng_u64(&b.data));
    cast_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choices_do_not_depend_on_the_targets_speed),
        cmocka_unit_test(test_users_differ),
        cmocka_unit_test(test_tasks_come_by_weight),
        cmocka_unit_test(test_a_sequential_class_goes_in_order),
        cmocka_unit_test(test_a_sequence_is_one_iteration),
        cmocka_unit_test(test_think_times),
        cmocka_unit_test(test_means_of_think_times),
        cmocka_unit_test(test_iterations_run_out),
        cmocka_unit_test(test_classes_are_always_within_one_of_their_share),
        cmocka_unit_test(test_fixed_counts_come_first_and_exactly),
        cmocka_unit_test(test_only_fixed_classes_make_no_more_users),
        cmocka_unit_test(test_a_part_may_drive_one_class),
        cmocka_unit_test(test_fixed_counts_say_nothing_about_arrivals),
        cmocka_unit_test(test_an_arrival_is_one_iteration_of_any_user),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
