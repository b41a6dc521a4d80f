/* The load engine against a server of known behaviour: every request is accounted for, however the
 * run ends and however many threads there are. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "run_fixture.h"

static void test_iterations_are_all_done_once(void **state)
{
    (void)state;
    for (int64_t threads = 1; threads <= 3; threads++) {
        struct fixture f;
        struct user_class *web = set_up(&f);

        sample_task(&f.s, web, "GET /", "/", 3);
        sample_task(&f.s, web, "GET /status/200", "/status/200", 1);
        f.s.plan.threads = threads;
        closed_load(&f, 7, 500);
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
        closed_load(&f, 10, 300);

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
        closed_load(&f, 6, 90);

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
    closed_load(&f, 2, 10);
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
    closed_load(&f, 1, 2);
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
    closed_load(&f, 2, 10);

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
        closed_load(&f, 1, 3);
        run_to_end(&f);
        assert_int_equal(sum_ok(&f), 0);
        assert_int_equal(sum_fails(&f, FAIL_REDIRECTS), 3);
        tear_down(&f);
    }
}

static void test_redirects_may_lead_to_another_server(void **state)
{
    struct fixture f;
    struct user_class *web = set_up(&f);
    struct tiny_server *other = tiny_server_new();
    char url[64];

    (void)state;
    snprintf(url, sizeof url, "/away/%u", tiny_server_port(other));
    sample_task(&f.s, web, "x", url, 1);
    closed_load(&f, 2, 10);
    run_to_end(&f);
    assert_int_equal(sum_ok(&f), 10);
    assert_int_equal(stats_peek(f.total, 0, 0)->redirects, 10);
    assert_int_equal(tiny_server_requests(other, "/"), 10);
    tiny_server_free(other);
    tear_down(&f);
}

static void test_redirects_may_be_left_alone(void **state)
{
    struct fixture f;
    struct user_class *web = set_up(&f);

    (void)state;
    sample_task(&f.s, web, "x", "/redirect/3", 1);
    f.s.plan.http.follow_redirects = false;
    closed_load(&f, 1, 4);
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
    closed_load(&f, 3, 12); /* each: need (403), set, need (200), set */
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
    closed_load(&f, 1, 4);
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
    closed_load(&f, 2, 10);
    run_to_end(&f);

    const struct cell *c = stats_peek(f.total, 0, 0);

    assert_int_equal(c->fails[FAIL_STATUS], 10);
    assert_non_null(strstr(f.total->example[FAIL_STATUS], "503"));
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
    closed_load(&f, 2, 10);

    struct tiny_server *server = f.server;

    begin(&f);
    collect_until_done(&f);
    assert_int_equal(tiny_server_requests(server, "/item/42"), 10);
    assert_int_equal(f.status.iterations, 10);
    end(&f);
    assert_int_equal(stats_peek(f.total, 0, 1)->n_ok, 10);
    tear_down(&f);
}

static void test_nobody_listens(void **state)
{
    struct fixture f;
    struct user_class *web = set_up(&f);

    (void)state;
    sample_task(&f.s, web, "x", "/", 1);
    snprintf(f.s.target, sizeof f.s.target, "http://127.0.0.1:1");
    closed_load(&f, 2, 6);
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
    closed_load(&f, 2, 6);
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
    closed_load(&f, 2, 6);
    assert_null(runner_new(&(struct runner_opts){ .plan = &f.s.plan }, &err));
    assert_non_null(strstr(err.msg, "no-such-name.invalid"));
    tiny_server_free(f.server);
}

static void test_a_value_that_never_came_fails_without_spinning(void **state)
{
    static const char *keys[] = { "where" }, *from[] = { "header:No-Such" };
    struct fixture f;
    struct user_class *web = set_up(&f);

    (void)state;
    web->sequential = true;
    sample_task(&f.s, web, "get it", "/", 1)->extract = (struct pairs){ keys, from, 1 };
    sample_task(&f.s, web, "use it", "{{where}}", 1);
    closed_load(&f, 1, 6);
    run_to_end(&f);
    assert_int_equal(stats_peek(f.total, 0, 0)->fails[FAIL_EXPECTATION], 3);
    assert_int_equal(stats_peek(f.total, 0, 1)->fails[FAIL_EXPECTATION], 3);
    assert_int_equal(stats_peek(f.total, 0, 1)->lag.count, 0); /* nothing was sent */
    assert_int_equal(f.status.iterations, 6);
    assert_true(clock_now_ns() - f.start_ns >= 20 * MS);
    tear_down(&f);
}

/* ---- memory ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_MEASURE_MEMORY false /* their allocators are others, and larger */
#else
#define CAN_MEASURE_MEMORY true
#endif

static uint64_t memory_in_use(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

/* Bytes for each of `users` users who have sent one request and now think for long; the server
 * keeps their connections, or refuses them. */
static uint64_t bytes_per_user(double users, bool connected)
{
    struct fixture f;
    struct user_class *web = set_up(&f);
    uint64_t until = clock_now_ns() + 20 * S, before, bytes;
    const struct cell *c = NULL;

    sample_task(&f.s, web, "x", "/", 1);
    web->think = (struct think){ .kind = THINK_CONSTANT, .a_ns = 600 * S };
    if (!connected)
        snprintf(f.s.target, sizeof f.s.target, "http://127.0.0.1:1");
    f.s.plan.threads = 1;
    closed_load(&f, users, 0);
    before = memory_in_use();
    begin(&f);
    while ((!c || c->n_ok + c->n_fail < (uint64_t)users) && clock_now_ns() < until) {
        clock_sleep_until(clock_now_ns() + 50 * MS);
        collect(&f);
        c = stats_peek(f.total, 0, 0);
    }
    assert_int_equal(f.status.users, (uint64_t)users);
    assert_int_equal(f.status.connections, connected ? (uint64_t)users : 0);
    bytes = (memory_in_use() - before) / (uint64_t)users;
    end(&f);
    tear_down(&f);
    return bytes;
}

static void test_memory_per_user(void **state)
{
    struct rlimit files;

    (void)state;
    getrlimit(RLIMIT_NOFILE, &files);
    if (!CAN_MEASURE_MEMORY || files.rlim_max < 12000)
        skip();
    assert_true(bytes_per_user(10000, false) <= 1024);
    assert_true(bytes_per_user(900, true) <= 8192);
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
        cmocka_unit_test(test_redirects_may_lead_to_another_server),
        cmocka_unit_test(test_redirects_may_be_left_alone),
        cmocka_unit_test(test_cookies_belong_to_the_user),
        cmocka_unit_test(test_without_cookies_none_are_sent),
        cmocka_unit_test(test_an_unexpected_status_is_a_failure),
        cmocka_unit_test(test_values_go_from_one_step_to_the_next),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_a_value_that_never_came_fails_without_spinning),
        cmocka_unit_test(test_memory_per_user),
        cmocka_unit_test(test_a_runner_that_never_starts_can_go),
        cmocka_unit_test(test_a_name_that_does_not_resolve_is_an_error_before_the_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
