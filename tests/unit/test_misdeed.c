/* Who misbehaves is decided by the seed alone, in the share that was asked for; and each misdeed of
 * a class has series of its own behind the honest ones. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "plan_text.h"
#include "runner/misdeed.h"
#include "runner/user.h"

#define DRAWS 20000

static struct user user_number(uint64_t number)
{
    struct user u = { 0 };

    user_init(&u, &(struct user_id){ .number = number, .left = UINT64_MAX }, 7);
    return u;
}

static void test_lots_are_even_and_repeatable(void **state)
{
    unsigned below[3] = { 0 };
    struct user u = user_number(5), again = user_number(5);

    (void)state;
    for (u.iteration = 0; u.iteration < DRAWS; u.iteration++) {
        double lot = user_lot(&u, 99, false);

        again.iteration = u.iteration;
        assert_true(lot >= 0 && lot < 1);
        assert_true(user_lot(&again, 99, false) == lot);
        below[0] += lot < 0.01;
        below[1] += lot < 0.3;
        below[2] += lot < 0.99;
    }
    assert_in_range(below[0], 120, 290);
    assert_in_range(below[1], 5700, 6300);
    assert_in_range(below[2], 19700, 19880);
}

/* Another user, turn, step or seed draws another lot. */
static void test_lots_differ(void **state)
{
    struct user u = user_number(1), other = user_number(2);
    double lot = user_lot(&u, 1, false);

    (void)state;
    assert_true(lot != user_lot(&other, 1, false));
    assert_true(lot != user_lot(&u, 2, false));
    assert_true(lot != user_lot(&u, 1, true));
    u.step = 1;
    assert_true(lot != user_lot(&u, 1, false));
    u.step = 0;
    u.iteration = 1;
    assert_true(lot != user_lot(&u, 1, false));
    assert_true(
        user_lot(&u, 1, true) ==
        user_lot(&(struct user){ .part = u.part, .number = u.number, .life = u.life }, 1, true));
}

/* Drawing moves neither the choices nor the data of a user. */
static void test_lots_move_nothing(void **state)
{
    struct user u = user_number(3), before = u;

    (void)state;
    user_lot(&u, 1, false);
    user_lot(&u, 1, true);
    assert_memory_equal(&u, &before, sizeof(u));
}

/* An arrival's lot is the arrival's, whoever takes it. */
static void test_arrivals_have_lots_of_their_own(void **state)
{
    const struct task t = { .name = "GET /" };
    struct user a = user_number(1), b = user_number(9);

    (void)state;
    a.iteration = 12;
    user_arrive(&a, 7, 500, &t, 0);
    user_arrive(&b, 7, 500, &t, 0);
    assert_true(user_lot(&a, 3, false) == user_lot(&b, 3, false));
    user_arrive(&b, 7, 501, &t, 0);
    assert_true(user_lot(&a, 3, false) != user_lot(&b, 3, false));
}

static void test_abandoned_iterations_end(void **state)
{
    struct task steps[3] = { { .name = "a" }, { .name = "b" }, { .name = "c" } };
    const struct task t = { .steps = steps, .n_steps = 3 };
    struct user u = user_number(1);

    (void)state;
    u.task = &t;
    user_abandon(&u);
    assert_int_equal(u.step, 2);
    u.task = &steps[0];
    u.step = 0;
    user_abandon(&u);
    assert_int_equal(u.step, 0);
}

static const char two_classes[] =
    "target: http://127.0.0.1:9\nload: {users: 2, for: 1s}\n"
    "users:\n  - {name: web, tasks: [{get: /a}, {get: /b}]}\n  - {name: api, tasks: [{get: /a}]}\n";

static void test_misdeeds_have_series(void **state)
{
    struct err err = { 0 };
    struct plan_text p;
    struct load_plan *l = &p.plan;

    (void)state;
    plan_text_read(&p, "test", two_classes, sizeof(two_classes) - 1);
    assert_int_equal(l->n_series, 3);
    assert_int_equal(l->n_honest, 3);
    assert_int_equal(load_plan_misbehave(l, -1, MISDEED_ABORT, &err), 0);
    assert_int_equal(load_plan_misbehave(l, 1, MISDEED_SLOW_READ, &err), 0);
    assert_int_equal(load_plan_misbehave(l, 1, MISDEED_SLOW_READ, &err), 0); /* again: no more */
    assert_int_equal(l->n_honest, 3);
    assert_int_equal(l->n_series, 7);

    uint32_t api_abort = load_plan_series(l, 2, MISDEED_ABORT);
    uint32_t api_read = load_plan_series(l, 2, MISDEED_SLOW_READ);
    assert_true(api_abort >= 3 && api_read >= 3 && api_abort != api_read);
    assert_string_equal(load_plan_series_name(l, p.arena, api_read), "GET /a (slow-read)");
    assert_string_equal(load_plan_series_name(l, p.arena, 1), "GET /b");
    assert_int_equal(load_plan_series(l, 0, MISDEED_SLOW_READ), 0); /* web does not do that */
    plan_text_done(&p);
}

static void test_misdeeds_stay_when_tags_filter(void **state)
{
    static const char plan[] = "target: http://127.0.0.1:9\nload: {users: 2, for: 1s}\n"
                               "users: [{name: web, tasks: [{get: /a, tags: [x]}, {get: /b}]}]\n";
    const char *tag = "x";
    struct err err = { 0 };
    struct plan_text p;

    (void)state;
    plan_text_read(&p, "test", plan, sizeof(plan) - 1);
    assert_int_equal(load_plan_misbehave(&p.plan, 0, MISDEED_ABORT, &err), 0);
    assert_int_equal(p.plan.n_series, 4);
    assert_int_equal(load_plan_filter_tags(&p.plan, &(struct strs){ &tag, 1 }, NULL, &err), 0);
    assert_int_equal(p.plan.n_honest, 1);
    assert_int_equal(p.plan.n_series, 2);
    assert_string_equal(load_plan_series_name(&p.plan, p.arena, 1), "GET /a (abort)");
    plan_text_done(&p);
}

static void test_too_many_series_are_refused(void **state)
{
    auto_buf struct buf yaml = BUF_INIT(1 << 20);
    struct err err = { 0 };
    struct plan_text p;

    (void)state;
    buf_adds(&yaml, "target: http://127.0.0.1:9\nload: {users: 2, for: 1s}\nusers: [{tasks: [");
    for (unsigned i = 0; i < 600; i++)
        buf_addf(&yaml, "{get: /%u}, ", i);
    buf_adds(&yaml, "]}]\n");
    plan_text_read(&p, "test", yaml.data, yaml.len);
    assert_int_equal(p.plan.n_series, 600);
    assert_int_equal(load_plan_misbehave(&p.plan, -1, MISDEED_ABORT, &err), -E2BIG);
    assert_non_null(strstr(err.msg, "more than 1024 endpoints"));
    plan_text_done(&p);
}

static void test_names(void **state)
{
    (void)state;
    for (unsigned m = 1; m < MISDEED_MAX; m++)
        assert_int_equal(misdeed_by_name(misdeed_name((enum misdeed_kind)m)), m);
    assert_int_equal(misdeed_by_name("good-deed"), MISDEED_MAX);
    assert_int_equal(misdeed_by_name(""), MISDEED_MAX);
    assert_string_equal(misdeed_name(MISDEED_NONE), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lots_are_even_and_repeatable),
        cmocka_unit_test(test_lots_differ),
        cmocka_unit_test(test_lots_move_nothing),
        cmocka_unit_test(test_arrivals_have_lots_of_their_own),
        cmocka_unit_test(test_abandoned_iterations_end),
        cmocka_unit_test(test_misdeeds_have_series),
        cmocka_unit_test(test_misdeeds_stay_when_tags_filter),
        cmocka_unit_test(test_too_many_series_are_refused),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
