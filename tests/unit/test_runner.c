/* The load engine against a server of known behaviour: every request is accounted for, however the
 * run ends and however many threads there are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "load_sample.h"
#include "runner/runner.h"
#include "tiny_server.h"

#define S NS_PER_SEC
#define MS NS_PER_MS
#define PATIENCE_NS (20 * S)

struct fixture {
    struct load_sample s;
    struct tiny_server *server;
    struct runner *runner;
    struct stats *total;
    struct runner_status status;
    uint64_t start_ns;
};

/* One class "web" at the server; tasks and load are added by each test. */
static struct user_class *set_up(struct fixture *f)
{
    *f = (struct fixture){ 0 };
    sample_init(&f->s);
    f->server = tiny_server_new();
    snprintf(f->s.target, sizeof f->s.target, "http://127.0.0.1:%u", tiny_server_port(f->server));
    return sample_class(&f->s, "web", 1);
}

static void begin_traced(struct fixture *f, const char *trace_path)
{
    struct err err = { 0 };

    f->total = stats_new(f->s.plan.n_series);
    f->runner =
        runner_new(&(struct runner_opts){ .plan = &f->s.plan, .trace_path = trace_path }, &err);
    if (!f->runner)
        fail_msg("%s", err.msg);
    f->start_ns = clock_now_ns();
    if (runner_start(f->runner, f->start_ns, &err) < 0)
        fail_msg("%s", err.msg);
}

static void begin(struct fixture *f)
{
    begin_traced(f, NULL);
}

static void collect(struct fixture *f)
{
    assert_int_equal(runner_collect(f->runner, f->total, &f->status, 5 * S), 0);
}

static void collect_until_done(struct fixture *f)
{
    uint64_t until = clock_now_ns() + PATIENCE_NS;

    do {
        clock_sleep_until(clock_now_ns() + 10 * MS);
        collect(f);
        if (clock_now_ns() > until)
            fail_msg("the load does not end");
    } while (!f->status.all_done);
}

static void end(struct fixture *f)
{
    runner_stop(f->runner, 0);
    assert_int_equal(runner_collect(f->runner, f->total, &f->status, 0), 0);
    runner_free(f->runner);
    f->runner = NULL;
    tiny_server_free(f->server);
    f->server = NULL;
}

static void tear_down(struct fixture *f)
{
    stats_free(f->total);
}

static void run_to_end(struct fixture *f)
{
    begin(f);
    collect_until_done(f);
    end(f);
}

static uint64_t sum_ok(const struct fixture *f)
{
    uint64_t n = 0;

    for (uint32_t phase = 0; phase < 8; phase++) {
        for (uint32_t task = 0; task < f->s.plan.n_series; task++) {
            const struct cell *c = stats_peek(f->total, phase, task);

            n += c ? c->n_ok : 0;
        }
    }
    return n;
}

static uint64_t sum_fails(const struct fixture *f, enum fail_class class)
{
    uint64_t n = 0;

    for (uint32_t phase = 0; phase < 8; phase++) {
        for (uint32_t task = 0; task < f->s.plan.n_series; task++) {
            const struct cell *c = stats_peek(f->total, phase, task);

            n += c ? c->fails[class] : 0;
        }
    }
    return n;
}

static struct load_plan_part *closed(struct fixture *f, double users, uint64_t iterations)
{
    struct load_plan_part *p = sample_part(&f->s, LOAD_CLOSED);

    sample_stage(p, 0, users, 0);
    p->iterations = iterations;
    return p;
}

static void test_iterations_are_all_done_once(void **state)
{
    (void)state;
    for (int64_t threads = 1; threads <= 3; threads++) {
        struct fixture f;
        struct user_class *web = set_up(&f);

        sample_task(&f.s, web, "GET /", "/", 3);
        sample_task(&f.s, web, "GET /status/200", "/status/200", 1);
        f.s.plan.threads = threads;
        closed(&f, 7, 500);
        run_to_end(&f);
        assert_int_equal(sum_ok(&f), 500);
        assert_int_equal(f.status.iterations, 500);
        assert_int_equal(f.status.in_flight, 0);
        tear_down(&f);
    }
}

/* N threads = 1 thread: the same counts in each series, and what the server saw. */
static void test_threads_do_not_change_the_counts(void **state)
{
    uint64_t counts[2][3] = { { 0 } };

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct fixture f;
        struct user_class *web = set_up(&f);

        sample_task(&f.s, web, "GET /", "/", 5);
        sample_task(&f.s, web, "GET /slow/1", "/slow/1", 2);
        f.s.plan.threads = i ? 3 : 1;
        closed(&f, 10, 300);

        struct tiny_server *server = f.server;

        begin(&f);
        collect_until_done(&f);
        counts[i][2] = tiny_server_requests(server, "/slow");
        end(&f);
        for (uint32_t task = 0; task < 2; task++)
            counts[i][task] = stats_peek(f.total, 0, task)->n_ok;
        tear_down(&f);
    }
    assert_memory_equal(counts[0], counts[1], sizeof counts[0]);
    assert_int_equal(counts[0][1], counts[0][2]);
    assert_int_equal(counts[0][0] + counts[0][1], 300);
}

static void read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "r");
    char chunk[4096];
    size_t n;

    assert_non_null(file);
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0)
        buf_add(out, chunk, n);
    fclose(file);
}

static void test_traces_of_one_seed_are_equal(void **state)
{
    struct buf text[3] = { BUF_INIT(0), BUF_INIT(0), BUF_INIT(0) };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        char path[] = "/tmp/test_runner_XXXXXX";
        struct fixture f;
        struct user_class *web = set_up(&f);
        int fd = mkstemp(path);

        assert_true(fd >= 0);
        close(fd);
        sample_task(&f.s, web, "GET /", "/", 5);
        sample_task(&f.s, web, "GET /slow/2", "/slow/2", 2);
        web->think = (struct think){ .kind = THINK_BETWEEN, .a_ns = 0, .b_ns = 3 * MS };
        f.s.plan.threads = i == 1 ? 3 : 1;
        f.s.plan.seed = i == 2 ? 8 : 7;
        closed(&f, 6, 90);

        struct load_plan_part *p = sample_part(&f.s, LOAD_OPEN);

        p->process = ARRIVAL_POISSON;
        p->start_value = 300;
        sample_stage(p, 200 * MS, 300, 0);
        begin_traced(&f, path);
        collect_until_done(&f);
        end(&f);
        read_file(path, &text[i]);
        unlink(path);
        tear_down(&f);
    }
    assert_string_equal(buf_str(&text[0]), buf_str(&text[1]));
    assert_string_not_equal(buf_str(&text[0]), buf_str(&text[2]));
    assert_non_null(strstr(buf_str(&text[0]), "0\tuser\t5\t0\t15\tweb\tGET /"));
    assert_non_null(strstr(buf_str(&text[0]), "1\tarrival\t30\t"));
    for (unsigned i = 0; i < 3; i++)
        buf_done(&text[i]);
}

static void test_think_times_are_kept(void **state)
{
    struct fixture f;
    struct user_class *web = set_up(&f);

    (void)state;
    sample_task(&f.s, web, "GET /", "/", 1);
    web->think = (struct think){ .kind = THINK_CONSTANT, .a_ns = 40 * MS };
    closed(&f, 2, 10);
    run_to_end(&f);
    assert_int_equal(sum_ok(&f), 10);
    /* Five iterations each have four pauses between them. */
    assert_true(clock_now_ns() - f.start_ns >= 160 * MS);
    tear_down(&f);
}

static void test_a_pause_is_no_part_of_the_response_time(void **state)
{
    struct fixture f;
    struct user_class *web = set_up(&f);

    (void)state;
    sample_task(&f.s, web, "GET /slow/30", "/slow/30", 1);
    web->think = (struct think){ .kind = THINK_CONSTANT, .a_ns = 300 * MS };
    closed(&f, 1, 2);
    run_to_end(&f);

    const struct cell *c = stats_peek(f.total, 0, 0);

    assert_int_equal(c->n_ok, 2);
    assert_true(c->response.min_ns >= 30 * MS);
    assert_true(c->response.max_ns < 300 * MS);
    tear_down(&f);
}

static void test_redirects_are_followed_as_one_request(void **state)
{
    struct fixture f;
    struct user_class *web = set_up(&f);

    (void)state;
    sample_task(&f.s, web, "GET /redirect/3", "/redirect/3", 1);
    closed(&f, 2, 10);

    struct tiny_server *server = f.server;

    begin(&f);
    collect_until_done(&f);
    assert_int_equal(tiny_server_requests(server, "/redirect"), 40);
    end(&f);

    const struct cell *c = stats_peek(f.total, 0, 0);

    assert_int_equal(c->n_ok, 10);
    assert_int_equal(c->redirects, 30);
    assert_int_equal(c->statuses[200], 10);
    assert_int_equal(c->statuses[302], 0);
    assert_int_equal(c->response.count, 10);
    tear_down(&f);
}

static void test_redirects_that_lead_nowhere_fail(void **state)
{
    static const char *const urls[] = { "/loop", "/nowhere" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct fixture f;

        sample_task(&f.s, set_up(&f), "x", urls[i], 1);
        closed(&f, 1, 3);
        run_to_end(&f);
        assert_int_equal(sum_ok(&f), 0);
        assert_int_equal(sum_fails(&f, FAIL_REDIRECTS), 3);
        tear_down(&f);
    }
}

static void test_redirects_may_be_left_alone(void **state)
{
    struct fixture f;
    struct user_class *web = set_up(&f);

    (void)state;
    sample_task(&f.s, web, "x", "/redirect/3", 1);
    f.s.plan.http.follow_redirects = false;
    closed(&f, 1, 4);
    run_to_end(&f);
    assert_int_equal(sum_ok(&f), 4);
    assert_int_equal(stats_peek(f.total, 0, 0)->statuses[302], 4);
    assert_int_equal(stats_peek(f.total, 0, 0)->redirects, 0);
    tear_down(&f);
}

static void test_cookies_belong_to_the_user(void **state)
{
    struct fixture f;
    struct user_class *web = set_up(&f);

    (void)state;
    web->sequential = true;
    sample_task(&f.s, web, "need", "/need", 1);
    sample_task(&f.s, web, "set", "/set", 1);
    closed(&f, 3, 12); /* each: need (403), set, need (200), set */
    run_to_end(&f);
    assert_int_equal(stats_peek(f.total, 0, 0)->n_ok, 3);
    assert_int_equal(stats_peek(f.total, 0, 0)->statuses[403], 3);
    assert_int_equal(stats_peek(f.total, 0, 1)->n_ok, 6);
    tear_down(&f);
}

static void test_without_cookies_none_are_sent(void **state)
{
    struct fixture f;
    struct user_class *web = set_up(&f);

    (void)state;
    web->sequential = true;
    f.s.plan.http.cookies = false;
    sample_task(&f.s, web, "set", "/set", 1);
    sample_task(&f.s, web, "need", "/need", 1);
    closed(&f, 1, 4);
    run_to_end(&f);
    assert_int_equal(stats_peek(f.total, 0, 1)->statuses[403], 2);
    tear_down(&f);
}

static void test_an_unexpected_status_is_a_failure(void **state)
{
    struct fixture f;
    struct user_class *web = set_up(&f);

    (void)state;
    sample_task(&f.s, web, "x", "/status/503", 1);
    closed(&f, 2, 10);
    run_to_end(&f);

    const struct cell *c = stats_peek(f.total, 0, 0);

    assert_int_equal(c->fails[FAIL_STATUS], 10);
    assert_int_equal(c->failed.count, 10);
    assert_int_equal(c->response.count, 0);
    tear_down(&f);
}

static void test_values_go_from_one_step_to_the_next(void **state)
{
    static const char *keys[] = { "where" }, *from[] = { "header:Location" };
    struct task steps[2];
    struct fixture f;
    struct user_class *web = set_up(&f);
    struct task *whole;

    (void)state;
    steps[0] = *sample_task(&f.s, web, "POST /item", "/item", 1);
    steps[1] = *sample_task(&f.s, web, "GET it", "{{where}}", 1);
    steps[0].extract = (struct pairs){ keys, from, 1 };
    web->n_tasks = 1;
    whole = &web->tasks[0];
    *whole = (struct task){ .name = "buy", .weight = 1, .steps = steps, .n_steps = 2 };
    for (unsigned i = 0; i < 2; i++)
        f.s.series[i] = f.s.forms[i] = &steps[i];
    closed(&f, 2, 10);

    struct tiny_server *server = f.server;

    begin(&f);
    collect_until_done(&f);
    assert_int_equal(tiny_server_requests(server, "/item/42"), 10);
    assert_int_equal(f.status.iterations, 10);
    end(&f);
    assert_int_equal(stats_peek(f.total, 0, 1)->n_ok, 10);
    tear_down(&f);
}

/* ---- open load ---- */

static struct load_plan_part *open_load(struct fixture *f, double rate, uint64_t duration_ns)
{
    struct load_plan_part *p = sample_part(&f->s, LOAD_OPEN);

    p->start_value = rate;
    sample_stage(p, duration_ns, rate, 0);
    return p;
}

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
    closed(&f, 10, 0);
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
    closed(&f, 10, 0);
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

static void test_a_stop_may_be_hastened(void **state)
{
    struct fixture f;

    (void)state;
    sample_task(&f.s, set_up(&f), "x", "/hang", 1);
    closed(&f, 4, 0);
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
        closed(&f, 20, 0);
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

static void test_nobody_listens(void **state)
{
    struct fixture f;
    struct user_class *web = set_up(&f);

    (void)state;
    sample_task(&f.s, web, "x", "/", 1);
    snprintf(f.s.target, sizeof f.s.target, "http://127.0.0.1:1");
    closed(&f, 2, 6);
    run_to_end(&f);
    assert_int_equal(sum_fails(&f, FAIL_REFUSED), 6);
    assert_int_equal(stats_peek(f.total, 0, 0)->response.count, 0);
    tear_down(&f);
}

static void test_a_runner_that_never_starts_can_go(void **state)
{
    struct fixture f;
    struct err err = { 0 };

    (void)state;
    sample_task(&f.s, set_up(&f), "x", "/", 1);
    closed(&f, 2, 6);
    f.runner = runner_new(&(struct runner_opts){ .plan = &f.s.plan }, &err);
    assert_non_null(f.runner);
    assert_int_equal(runner_threads(f.runner), 1);
    assert_non_null(runner_engine(f.runner));
    assert_non_null(runner_notes(f.runner));
    runner_free(f.runner);
    assert_int_equal(tiny_server_requests(f.server, ""), 0);
    tiny_server_free(f.server);
}

static void test_a_name_that_does_not_resolve_is_an_error_before_the_start(void **state)
{
    struct fixture f;
    struct err err = { 0 };

    (void)state;
    sample_task(&f.s, set_up(&f), "x", "/", 1);
    snprintf(f.s.target, sizeof f.s.target, "http://no-such-name.invalid");
    closed(&f, 2, 6);
    assert_null(runner_new(&(struct runner_opts){ .plan = &f.s.plan }, &err));
    assert_non_null(strstr(err.msg, "no-such-name.invalid"));
    tiny_server_free(f.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_iterations_are_all_done_once),
        cmocka_unit_test(test_threads_do_not_change_the_counts),
        cmocka_unit_test(test_traces_of_one_seed_are_equal),
        cmocka_unit_test(test_think_times_are_kept),
        cmocka_unit_test(test_a_pause_is_no_part_of_the_response_time),
        cmocka_unit_test(test_redirects_are_followed_as_one_request),
        cmocka_unit_test(test_redirects_that_lead_nowhere_fail),
        cmocka_unit_test(test_redirects_may_be_left_alone),
        cmocka_unit_test(test_cookies_belong_to_the_user),
        cmocka_unit_test(test_without_cookies_none_are_sent),
        cmocka_unit_test(test_an_unexpected_status_is_a_failure),
        cmocka_unit_test(test_values_go_from_one_step_to_the_next),
        cmocka_unit_test(test_arrivals_all_come),
        cmocka_unit_test(test_an_arrival_without_a_free_user_is_a_failure),
        cmocka_unit_test(test_a_frozen_server_shows_before_its_timeouts),
        cmocka_unit_test(test_users_leave_when_the_curve_falls),
        cmocka_unit_test(test_a_graceful_stop_lets_requests_end),
        cmocka_unit_test(test_what_is_cut_is_counted_as_at_least),
        cmocka_unit_test(test_a_stop_may_be_hastened),
        cmocka_unit_test(test_a_stop_loses_no_request),
        cmocka_unit_test(test_requests_belong_to_the_phase_of_their_schedule),
        cmocka_unit_test(test_parts_begin_at_their_offsets),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_a_runner_that_never_starts_can_go),
        cmocka_unit_test(test_a_name_that_does_not_resolve_is_an_error_before_the_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
