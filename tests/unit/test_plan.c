/* Good load plans: what a text becomes, the curve of each kind of load, and tags. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "plan_text.h"
#include "runner/client.h"

#define HEAD "target: http://h\n"
#define TASKS "users: [{tasks: [{get: /}]}]\n"
#define SEC NS_PER_SEC

static struct plan_text read_plan(const char *yaml)
{
    struct plan_text p;

    plan_text_read(&p, "plan.yaml", yaml, strlen(yaml));
    assert_string_equal(buf_str(&p.diag.text), "");
    return p;
}

static void the_plan_of_the_readme(void **state)
{
    struct plan_text p = read_plan("target: http://127.0.0.1:5001\n"
                                   "users:\n"
                                   "  - name: website\n"
                                   "    think: between(1s, 5s)\n"
                                   "    tasks:\n"
                                   "      - {get: /,       weight: 3}\n"
                                   "      - {get: /health, weight: 1, expect: {status: 200}}\n"
                                   "      - post: /items\n"
                                   "        headers: {Content-Type: application/json}\n"
                                   "        body: '{\"name\":\"item-{{random.int(1,1000)}}\"}'\n"
                                   "load: {users: 100, spawn: 10/s, for: 2m}\n"
                                   "seed: 7\n");
    const struct user_class *c = &p.plan.classes[0];

    (void)state;
    assert_string_equal(p.plan.target, "http://127.0.0.1:5001");
    assert_int_equal(p.plan.n_classes, 1);
    assert_string_equal(c->name, "website");
    assert_int_equal(c->think.kind, THINK_BETWEEN);
    assert_int_equal(c->think.a_ns, 1 * SEC);
    assert_int_equal(c->think.b_ns, 5 * SEC);
    assert_int_equal(c->n_tasks, 3);
    assert_string_equal(c->tasks[0].name, "GET /");
    assert_true(c->tasks[0].weight == 3);
    assert_string_equal(c->tasks[1].expect.status.v[0], "200");
    assert_string_equal(c->tasks[2].method, "POST");
    assert_string_equal(c->tasks[2].url, "/items");
    assert_int_equal(c->tasks[2].body_len, strlen(c->tasks[2].body));
    assert_int_equal(p.plan.n_series, 3);
    assert_ptr_equal(p.plan.series[2], &c->tasks[2]);
    assert_int_equal(p.plan.duration_ns, 120 * SEC);
    assert_int_equal(p.plan.seed, 7);
    plan_text_done(&p);
}

static void defaults_are_the_documented_ones(void **state)
{
    struct plan_text p = read_plan(HEAD TASKS);
    const struct http_plan *http = &p.plan.http;

    (void)state;
    assert_string_equal(p.plan.classes[0].name, "users");
    assert_int_equal(p.plan.classes[0].think.kind, THINK_NONE);
    assert_int_equal(http->timeout_ns, 60 * SEC);
    assert_int_equal(http->connect_timeout_ns, 10 * SEC);
    assert_true(http->follow_redirects && http->keep_alive && http->cookies);
    assert_false(http->compressed);
    assert_int_equal(http->max_redirects, 30);
    assert_int_equal(http->conn, CONN_PER_USER);
    assert_int_equal(http->dns, DNS_TTL);
    assert_int_equal(http->dns_ttl_ns, 30 * SEC);
    assert_string_equal(http->engine, "auto");
    assert_true(http->tls.verify && http->tls.resume);
    assert_int_equal(p.plan.graceful_stop_ns, 30 * SEC);
    assert_int_equal(p.plan.max_lag_ns, 100 * NS_PER_MS);
    assert_int_equal(p.plan.n_parts, 1);
    assert_int_equal(p.plan.duration_ns, 0);
    assert_true(load_part_value_at(&p.plan.parts[0], 5 * SEC) == 1);
    assert_null(client_needs_curl(&p.plan));
    plan_text_done(&p);
}

static void a_seed_is_drawn_when_none_is_given(void **state)
{
    struct plan_text a = read_plan(HEAD TASKS);
    struct plan_text b = read_plan(HEAD TASKS);

    (void)state;
    assert_int_not_equal(a.plan.seed, b.plan.seed);
    assert_true(a.plan.seed < UINT64_C(1) << 53); /* exact in JSON */
    plan_text_done(&a);
    plan_text_done(&b);
}

static void think_times(void **state)
{
    static const struct {
        const char *text;
        struct think want;
    } rows[] = {
        { "none", { THINK_NONE, 0, 0 } },
        { "constant(0)", { THINK_CONSTANT, 0, 0 } },
        { "constant(1s)", { THINK_CONSTANT, SEC, 0 } },
        { "between(0, 5s)", { THINK_BETWEEN, 0, 5 * SEC } },
        { "between( 200ms ,1m )", { THINK_BETWEEN, SEC / 5, 60 * SEC } },
        { "pacing(10s)", { THINK_PACING, 10 * SEC, 0 } },
        { "throughput(0.5/s)", { THINK_PACING, 2 * SEC, 0 } },
        { "throughput(30/m)", { THINK_PACING, 2 * SEC, 0 } },
        { "exponential(2s)", { THINK_EXPONENTIAL, 2 * SEC, 0 } },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_free char *yaml = xasprintf(HEAD "users: [{think: '%s', tasks: [{get: /}]}]\n"
                                              "load: {users: 1}\n",
                                         rows[i].text);
        struct plan_text p = read_plan(yaml);
        const struct think *t = &p.plan.classes[0].think;

        assert_int_equal(t->kind, rows[i].want.kind);
        assert_int_equal(t->a_ns, rows[i].want.a_ns);
        assert_int_equal(t->b_ns, rows[i].want.b_ns);
        plan_text_done(&p);
    }
}

static void from_flags_bare_seconds_are_right(void **state)
{
    static const char yaml[] = HEAD "users: [{think: 'between(1,5)', tasks: [{get: /}]}]\n";
    struct plan_text p;

    (void)state;
    plan_text_read(&p, "--think", yaml, strlen(yaml));
    assert_string_equal(buf_str(&p.diag.text), "");
    assert_int_equal(p.plan.classes[0].think.b_ns, 5 * SEC);
    plan_text_done(&p);
}

static void the_curve_of_each_load(void **state)
{
    static const struct {
        const char *load;
        struct {
            double at_s, want;
        } points[6];
        double duration_s;
    } rows[] = {
        { "{users: 100, for: 1m}", { { 0, 100 }, { 59, 100 } }, 60 },
        { "{users: 100, spawn: 10/s, for: 2m}",
          { { 0, 0 }, { 5, 50 }, { 10, 100 }, { 119, 100 } },
          120 },
        { "{users: 100, spawn: 10/s, for: 4s}", { { 2, 20 }, { 4, 40 }, { 9, 40 } }, 4 },
        { "{users: 10, spawn: 2/s}", { { 1, 2 }, { 5, 10 }, { 500, 10 } }, 0 },
        { "{stages: [{for: 10s, users: 10}, {for: 0s, users: 50}, {for: 10s, users: 0}]}",
          { { 5, 5 }, { 9.9, 9.9 }, { 10, 50 }, { 15, 25 }, { 20, 0 } },
          20 },
        { "{stages: [{for: 10s, users: 10, spawn: 5/s}, {for: 10s, users: 0, spawn: 1/s}]}",
          { { 1, 5 }, { 2, 10 }, { 9, 10 }, { 15, 5 }, { 20, 0 } },
          20 },
        { "{arrivals: {rate: 500/s, for: 30s}}", { { 0, 500 }, { 29, 500 } }, 30 },
        { "{arrivals: {stages: [{for: 10s, rate: 10/s}, {for: 10s, rate: 30/s}]}}",
          { { 0, 10 }, { 5, 10 }, { 15, 20 }, { 25, 30 } },
          20 },
        { "{arrivals: {start_rate: 0/s, stages: [{for: 10s, rate: 10/s}]}}",
          { { 0, 0 }, { 5, 5 } },
          10 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_free char *yaml = xasprintf(HEAD TASKS "load: %s\n", rows[i].load);
        struct plan_text p = read_plan(yaml);

        for (size_t k = 0; k < ARRAY_LEN(rows[i].points); k++) {
            uint64_t at = (uint64_t)(rows[i].points[k].at_s * (double)SEC);
            double got = load_part_value_at(&p.plan.parts[0], at);

            if (k > 0 && rows[i].points[k].at_s == 0)
                break;
            assert_true(fabs(got - rows[i].points[k].want) < 1e-6);
        }
        assert_int_equal(p.plan.duration_ns, (uint64_t)(rows[i].duration_s * (double)SEC));
        plan_text_done(&p);
    }
}

static void several_parts_at_once(void **state)
{
    struct plan_text p =
        read_plan(HEAD "users: [{name: a, tasks: [{get: /}]},\n"
                       "        {name: b, fixed_count: 3, tasks: [{get: /}]}]\n"
                       "load:\n"
                       "  - {users: 10, for: 60s, class: a}\n"
                       "  - {arrivals: {rate: 300/s, for: 10s, process: poisson},\n"
                       "     start: 55s, class: b, name: spike}\n");

    (void)state;
    assert_int_equal(p.plan.n_parts, 2);
    assert_string_equal(p.plan.parts[0].name, "load1");
    assert_int_equal(p.plan.parts[1].kind, LOAD_OPEN);
    assert_int_equal(p.plan.parts[1].process, ARRIVAL_POISSON);
    assert_string_equal(p.plan.parts[1].only_class, "b");
    assert_int_equal(p.plan.parts[1].max_users, 3000);
    assert_int_equal(p.plan.duration_ns, 65 * SEC);
    assert_int_equal(p.plan.classes[1].fixed_count, 3);
    assert_int_equal(p.plan.n_series, 2); /* a class has its own "GET /" */
    plan_text_done(&p);
}

static void sequences_number_their_steps(void **state)
{
    struct plan_text p = read_plan(HEAD "users:\n"
                                        "  - tasks:\n"
                                        "      - get: /\n"
                                        "      - name: checkout\n"
                                        "        tags: [buy]\n"
                                        "        steps:\n"
                                        "          - post: /cart\n"
                                        "            extract: {id: 'json:id'}\n"
                                        "          - {get: '/cart/{{id}}', name: cart}\n"
                                        "          - get: /\n");
    const struct user_class *c = &p.plan.classes[0];

    (void)state;
    assert_int_equal(p.plan.n_forms, 4);
    assert_int_equal(p.plan.n_series, 3);
    assert_string_equal(c->tasks[1].name, "checkout");
    assert_int_equal(c->tasks[1].n_steps, 3);
    assert_int_equal(c->tasks[1].steps[2].index, c->tasks[0].index);
    assert_int_not_equal(c->tasks[1].steps[2].form, c->tasks[0].form);
    assert_string_equal(p.plan.series[2]->name, "cart");
    plan_text_done(&p);
}

static void bodies(void **state)
{
    static const struct {
        const char *task, *body, *type;
    } rows[] = {
        { "body: 'a{{user.id}}'", "a{{user.id}}", NULL },
        { "json: {a: 1, b: [true, null, x, '7'], c: -1.5e3, d: 007}",
          "{\"a\":1,\"b\":[true,null,\"x\",\"7\"],\"c\":-1.5e3,\"d\":\"007\"}",
          "application/json" },
        { "json: {n: 'say \"{{user.id}}\"'}", "{\"n\":\"say \\\"{{json(user.id)}}\\\"\"}",
          "application/json" },
        { "json: '{{url(user.id)}}'", "\"{{url(user.id)}}\"", "application/json" },
        { "json: hello", "\"hello\"", "application/json" },
        { "form: {q: a b&c, 'x[]': '{{user.id}}'}", "q=a%20b%26c&x%5B%5D={{url(user.id)}}",
          "application/x-www-form-urlencoded" },
        { "json: {a: 1}, headers: {content-type: application/vnd.x+json}", "{\"a\":1}",
          "application/vnd.x+json" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_free char *yaml = xasprintf(HEAD "users: [{tasks: [{post: /, %s}]}]\n", rows[i].task);
        struct plan_text p = read_plan(yaml);
        const struct task *t = &p.plan.classes[0].tasks[0];

        assert_string_equal(t->body, rows[i].body);
        assert_int_equal(t->body_len, strlen(rows[i].body));
        assert_int_equal(t->headers.n, rows[i].type ? 1 : 0);
        if (rows[i].type)
            assert_string_equal(t->headers.values[0], rows[i].type);
        plan_text_done(&p);
    }
}

static void a_body_file_is_found_from_the_plan(void **state)
{
    char dir[] = "/tmp/chaos-plan-XXXXXX";
    auto_free char *source = NULL;
    auto_free char *path = NULL;
    static const char bytes[] = "a\0{{b";
    const char *yaml = HEAD "users: [{tasks: [{put: /, body_file: b.bin}]}]\n";
    struct plan_text p;
    FILE *f;

    (void)state;
    assert_non_null(mkdtemp(dir));
    source = xasprintf("%s/plan.yaml", dir);
    path = xasprintf("%s/b.bin", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, 6, f), 6);
    assert_int_equal(fclose(f), 0);
    plan_text_read(&p, source, yaml, strlen(yaml));
    assert_string_equal(buf_str(&p.diag.text), "");
    assert_int_equal(p.plan.classes[0].tasks[0].body_len, 6);
    assert_memory_equal(p.plan.classes[0].tasks[0].body, bytes, 6);
    plan_text_done(&p);
    unlink(path);
    rmdir(dir);
}

static void tags_choose_tasks(void **state)
{
    static const char *const slow_tag[] = { "slow" };
    static const char *const none_tag[] = { "none" };
    struct strs slow = { (const char **)(uintptr_t)slow_tag, 1 };
    struct strs none = { (const char **)(uintptr_t)none_tag, 1 };
    struct plan_text p = read_plan(HEAD "users: [{tasks: [{get: /a}, {get: /b, tags: [slow, x]},\n"
                                        "                 {get: /c, tags: slow}]}]\n");
    struct plan_text q = read_plan(HEAD "users: [{tasks: [{get: /a}, {get: /b, tags: slow}]}]\n");
    struct err err = { 0 };

    (void)state;
    assert_int_equal(load_plan_filter_tags(&p.plan, &slow, NULL, &err), 0);
    assert_int_equal(p.plan.classes[0].n_tasks, 2);
    assert_int_equal(p.plan.n_series, 2);
    assert_string_equal(p.plan.series[0]->name, "GET /b");
    assert_int_equal(p.plan.classes[0].tasks[1].form, 1);
    assert_true(load_plan_filter_tags(&p.plan, &none, NULL, &err) < 0);
    assert_string_equal(err.msg, "the user class 'users' has no task left after --tags and "
                                 "--exclude-tags");
    assert_int_equal(load_plan_filter_tags(&q.plan, NULL, &slow, &err), 0);
    assert_int_equal(q.plan.classes[0].n_tasks, 1);
    assert_string_equal(q.plan.series[0]->name, "GET /a");
    plan_text_done(&p);
    plan_text_done(&q);
}

static void what_needs_the_curl_engine(void **state)
{
    static const struct {
        const char *http, *want;
    } rows[] = {
        { "{}", NULL },
        { "{engine: native}", NULL },
        { "{engine: curl}", "the plan asks for it (http.engine)" },
        { "{proxy: 'http://127.0.0.1:3128'}", "requests go through a proxy (http.proxy)" },
        { "{http_version: '2'}", "HTTP/2 is asked for (http.http_version)" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_free char *yaml = xasprintf(HEAD TASKS "http: %s\n", rows[i].http);
        struct plan_text p = read_plan(yaml);
        const char *got = client_needs_curl(&p.plan);

        assert_string_equal(got ? got : "", rows[i].want ? rows[i].want : "");
        plan_text_done(&p);
    }
}

static void an_embedded_target_comes_later(void **state)
{
    struct plan_text p = read_plan("target: {embedded: shop}\n" TASKS);

    (void)state;
    assert_string_equal(p.plan.target, TARGET_LATER);
    plan_text_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan_of_the_readme),
        cmocka_unit_test(defaults_are_the_documented_ones),
        cmocka_unit_test(a_seed_is_drawn_when_none_is_given),
        cmocka_unit_test(think_times),
        cmocka_unit_test(from_flags_bare_seconds_are_right),
        cmocka_unit_test(the_curve_of_each_load),
        cmocka_unit_test(several_parts_at_once),
        cmocka_unit_test(sequences_number_their_steps),
        cmocka_unit_test(bodies),
        cmocka_unit_test(a_body_file_is_found_from_the_plan),
        cmocka_unit_test(tags_choose_tasks),
        cmocka_unit_test(what_needs_the_curl_engine),
        cmocka_unit_test(an_embedded_target_comes_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
