/* Arrivals, ends and phases of the load engine against a server of known behaviour: what a freeze
 * does shows in the figures, and a stop loses nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "run_fixture.h"

static void test_arrivals_all_come(void **state)
{
    (void)state;
    for (int64_t threads = 1; threads <= 2; threads++) {
        struct fixture f;

        sample_task(&f.s, set_up(&f), "x", "/", 1);
        f.s.plan.threads = threads;
        open_load(&f, 200, 500 * MS);
        run_to_end(&f);
        assert_int_equal(f.status.arrivals_due, 100);
        assert_int_equal(f.status.arrivals_dropped, 0);
        assert_int_equal(sum_ok(&f), 100);
        tear_down(&f);
    }
}

static void test_a_part_lasts_as_long_as_its_curve(void **state)
{
    static const struct {
        double rate;
        uint64_t duration, iterations, want_due, least, most;
    } rows[] = {
        { 2, 1 * S, 0, 2, 1 * S, 20 * S }, /* the last arrival comes at 0.5 s */
        { 2, 30 * S, 1, 1, 0, 20 * S },    /* nothing is left to wait for */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        uint64_t took;

        sample_task(&f.s, set_up(&f), "x", "/", 1);
        open_load(&f, rows[i].rate, rows[i].duration)->iterations = rows[i].iterations;
        begin(&f);
        collect_until_done(&f);
        took = clock_now_ns() - f.start_ns;
        end(&f);
        assert_int_equal(f.status.arrivals_due, rows[i].want_due);
        assert_in_range(took, rows[i].least, rows[i].most);
        tear_down(&f);
    }
}

static void test_an_arrival_without_a_free_user_is_a_failure(void **state)
{
    struct fixture f;

    (void)state;
    sample_task(&f.s, set_up(&f), "x", "/slow/400", 1);
    open_load(&f, 100, 200 * MS)->max_users = 3;
    run_to_end(&f);
    assert_int_equal(f.status.arrivals_due, 20);
    assert_int_equal(f.status.arrivals_dropped, 17);
    assert_int_equal(sum_fails(&f, FAIL_DROPPED), 17);
    assert_int_equal(sum_ok(&f), 3);
    tear_down(&f);
}

static void test_a_frozen_server_shows_before_its_timeouts(void **state)
{
    struct fixture f;

    (void)state;
    sample_task(&f.s, set_up(&f), "x", "/", 1);
    open_load(&f, 100, 600 * MS);
    begin(&f);
    clock_sleep_until(f.start_ns + 100 * MS);
    tiny_server_freeze(f.server, true);
    clock_sleep_until(f.start_ns + 500 * MS);
    collect(&f);
    assert_true(f.status.in_flight > 20);
    assert_true(f.status.oldest_in_flight_sched_ns > f.start_ns);
    assert_true(f.status.oldest_in_flight_sched_ns < f.start_ns + 300 * MS);
    tiny_server_freeze(f.server, false);
    collect_until_done(&f);
    end(&f);
    /* Nobody waited for the frozen server before arriving: all arrivals are there, and they tell of
     * the freeze. */
    assert_int_equal(sum_ok(&f), 60);
    assert_true(stats_peek(f.total, 0, 0)->response.max_ns > 250 * MS);
    tear_down(&f);
}

/* The expected response time at quantile q of `n` arrivals, of which those in the freeze wait for
 * its end and the others take no time: plain arithmetic. */
static double expected_ms(double q, unsigned n, double rate, double freeze_ms)
{
    double in_freeze = rate * freeze_ms / 1000;
    double above = q * n - (n - in_freeze);

    return above > 0 ? freeze_ms * above / in_freeze : 0;
}

static void test_a_freeze_shows_in_the_percentiles_as_arithmetic_says(void **state)
{
    static const double qs[] = { 0.75, 0.9, 0.95, 0.99 };
    struct fixture f;
    uint64_t frozen_ns, thawed_ns;
    const struct cell *c;

    (void)state;
    sample_task(&f.s, set_up(&f), "x", "/", 1);
    open_load(&f, 100, 4 * S)->max_users = 600;
    begin(&f);
    clock_sleep_until(f.start_ns + 1 * S);
    tiny_server_freeze(f.server, true);
    frozen_ns = clock_now_ns();
    clock_sleep_until(f.start_ns + 3 * S);
    tiny_server_freeze(f.server, false);
    thawed_ns = clock_now_ns();
    collect_until_done(&f);
    end(&f);
    c = stats_peek(f.total, 0, 0);
    assert_int_equal(c->n_ok, 400);
    assert_int_equal(c->n_fail, 0);
    for (size_t i = 0; i < ARRAY_LEN(qs); i++) {
        double want = expected_ms(qs[i], 400, 100, ns_to_ms(thawed_ns - frozen_ns));
        double got = ns_to_ms(hist_quantile_ns(&c->response, qs[i]));

        /* 2 %, one arrival's distance, and the server's own clumsiness on a busy machine. */
        if (got < want * 0.98 - 40 || got > want * 1.02 + 40)
            fail_msg("p(%g): %.1f ms, expected %.1f ms", qs[i] * 100, got, want);
    }
    tear_down(&f);
}

/* ---- ends and phases ---- */

static void test_users_leave_when_the_curve_falls(void **state)
{
    struct fixture f;
    struct user_class *web = set_up(&f);
    struct load_plan_part *p = sample_part(&f.s, LOAD_CLOSED);

    (void)state;
    sample_task(&f.s, web, "x", "/slow/5", 1);
    f.s.plan.threads = 2;
    sample_stage(p, 0, 8, 0);
    sample_stage(p, 300 * MS, 8, 0);
    sample_stage(p, 0, 3, 0);
    sample_stage(p, 400 * MS, 3, 0);
    begin(&f);
    clock_sleep_until(f.start_ns + 200 * MS);
    collect(&f);
    assert_int_equal(f.status.users, 8);
    clock_sleep_until(f.start_ns + 500 * MS);
    collect(&f);
    assert_int_equal(f.status.users, 3);
    assert_int_equal(f.status.users_wanted, 3);
    collect_until_done(&f);
    assert_int_equal(f.status.users, 0);
    end(&f);
    assert_int_equal(sum_fails(&f, FAIL_INTERRUPTED), 0);
    tear_down(&f);
}

static void test_a_graceful_stop_lets_requests_end(void **state)
{
    struct fixture f;

    (void)state;
    sample_task(&f.s, set_up(&f), "x", "/slow/200", 1);
    closed_load(&f, 10, 0);
    begin(&f);
    clock_sleep_until(f.start_ns + 100 * MS);
    runner_stop(f.runner, 10 * S);
    end(&f);
    assert_int_equal(sum_ok(&f), 10);
    assert_int_equal(sum_fails(&f, FAIL_INTERRUPTED), 0);
    tear_down(&f);
}

static void test_what_is_cut_is_counted_as_at_least(void **state)
{
    struct fixture f;

    (void)state;
    sample_task(&f.s, set_up(&f), "x", "/hang", 1);
    f.s.plan.threads = 2;
    closed_load(&f, 10, 0);
    begin(&f);
    clock_sleep_until(f.start_ns + 300 * MS);

    uint64_t asked_ns = clock_now_ns();

    runner_stop(f.runner, 0);
    assert_true(clock_now_ns() - asked_ns < 1 * S);
    end(&f);

    const struct cell *c = stats_peek(f.total, 0, 0);

    assert_int_equal(c->fails[FAIL_INTERRUPTED], 10);
    assert_int_equal(c->response.count, 10);
    assert_true(c->response.max_ns >= 200 * MS);
    tear_down(&f);
}

static void test_after_a_stop_there_is_silence(void **state)
{
    struct fixture f;
    uint64_t asked_ns, requests;

    (void)state;
    sample_task(&f.s, set_up(&f), "x", "/", 1);
    f.s.plan.threads = 2;
    closed_load(&f, 50, 0);
    begin(&f);
    clock_sleep_until(f.start_ns + 200 * MS);
    asked_ns = clock_now_ns();
    runner_stop(f.runner, 0);
    clock_sleep_until(clock_now_ns() + 50 * MS); /* the server may still read what was sent */
    requests = tiny_server_requests(f.server, "");
    assert_true(tiny_server_last_request_ns(f.server) < asked_ns + 300 * MS);
    clock_sleep_until(clock_now_ns() + 100 * MS);
    assert_int_equal(tiny_server_requests(f.server, ""), requests);
    end(&f);
    tear_down(&f);
}

static void test_a_stop_may_be_hastened(void **state)
{
    struct fixture f;

    (void)state;
    sample_task(&f.s, set_up(&f), "x", "/hang", 1);
    closed_load(&f, 4, 0);
    begin(&f);
    clock_sleep_until(f.start_ns + 50 * MS);
    runner_stop_begin(f.runner, 60 * S);
    collect(&f);
    assert_false(f.status.all_done);
    runner_stop_begin(f.runner, 0);
    collect_until_done(&f);
    end(&f);
    assert_int_equal(sum_fails(&f, FAIL_INTERRUPTED), 4);
    tear_down(&f);
}

/* What the server took is what was counted: nothing is lost, whenever the stop comes. */
static void test_a_stop_loses_no_request(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct fixture f;
        uint64_t seen, counted;

        sample_task(&f.s, set_up(&f), "x", "/", 1);
        f.s.plan.threads = 2;
        closed_load(&f, 20, 0);
        begin(&f);
        clock_sleep_until(f.start_ns + (20 + 7 * i) * MS);
        runner_stop(f.runner, 5 * S);
        seen = tiny_server_requests(f.server, "");
        end(&f);
        counted = sum_ok(&f) + sum_fails(&f, FAIL_INTERRUPTED);
        assert_int_equal(seen, counted);
        tear_down(&f);
    }
}

static void test_requests_belong_to_the_phase_of_their_schedule(void **state)
{
    struct fixture f;
    const struct cell *before, *after;

    (void)state;
    sample_task(&f.s, set_up(&f), "x", "/slow/200", 1);
    open_load(&f, 100, 400 * MS);
    begin(&f);
    clock_sleep_until(f.start_ns + 250 * MS);
    /* In the past: those of 200..250 ms are under way and go to phase 1 when they end. */
    runner_mark(f.runner, 1, f.start_ns + 200 * MS);
    collect_until_done(&f);
    end(&f);
    before = stats_peek(f.total, 0, 0);
    after = stats_peek(f.total, 1, 0);
    assert_int_equal(before->n_ok, 20);
    assert_int_equal(after->n_ok, 20);
    tear_down(&f);
}

static void test_parts_begin_at_their_offsets(void **state)
{
    struct fixture f;
    struct user_class *web = set_up(&f);

    (void)state;
    sample_task(&f.s, web, "x", "/", 1);
    open_load(&f, 50, 200 * MS);
    open_load(&f, 50, 200 * MS)->start_ns = 300 * MS;
    begin(&f);
    runner_mark(f.runner, 0, f.start_ns);
    runner_mark(f.runner, 1, f.start_ns + 250 * MS);
    collect_until_done(&f);
    assert_true(clock_now_ns() - f.start_ns >= 450 * MS);
    end(&f);
    assert_int_equal(stats_peek(f.total, 0, 0)->n_ok, 10);
    assert_int_equal(stats_peek(f.total, 1, 0)->n_ok, 10);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrivals_all_come),
        cmocka_unit_test(test_a_part_lasts_as_long_as_its_curve),
        cmocka_unit_test(test_an_arrival_without_a_free_user_is_a_failure),
        cmocka_unit_test(test_a_frozen_server_shows_before_its_timeouts),
        cmocka_unit_test(test_a_freeze_shows_in_the_percentiles_as_arithmetic_says),
        cmocka_unit_test(test_users_leave_when_the_curve_falls),
        cmocka_unit_test(test_a_graceful_stop_lets_requests_end),
        cmocka_unit_test(test_what_is_cut_is_counted_as_at_least),
        cmocka_unit_test(test_after_a_stop_there_is_silence),
        cmocka_unit_test(test_a_stop_may_be_hastened),
        cmocka_unit_test(test_a_stop_loses_no_request),
        cmocka_unit_test(test_requests_belong_to_the_phase_of_their_schedule),
        cmocka_unit_test(test_parts_begin_at_their_offsets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
