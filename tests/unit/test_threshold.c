/* Thresholds from text: what they mean, and where a mistake is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "campaign/threshold.h"
#include "campaign/threshold_names.h"

#define MS 1e6

static const struct {
    const char *text;
    struct threshold want;
} good[] = {
    { "response_time: p(95) < 500ms",
      { .metric = METRIC_RESPONSE_TIME, .agg = AGG_P, .q = 0.95, .op = OP_LT, .value = 500 * MS } },
    { "p(99.9)<=2s",
      { .metric = METRIC_RESPONSE_TIME,
        .agg = AGG_P,
        .q = 0.999,
        .op = OP_LE,
        .value = 2000 * MS } },
    { "service_time: med > 1.5ms",
      { .metric = METRIC_SERVICE_TIME, .agg = AGG_MED, .op = OP_GT, .value = 1.5 * MS } },
    { "  errors :  rate<1%  ",
      { .metric = METRIC_ERRORS, .agg = AGG_RATE, .op = OP_LT, .value = 0.01 } },
    { "rate < 1%", { .metric = METRIC_ERRORS, .agg = AGG_RATE, .op = OP_LT, .value = 0.01 } },
    { "count == 0", { .metric = METRIC_ERRORS, .agg = AGG_COUNT, .op = OP_EQ, .value = 0 } },
    { "errors: rate == 0", { .metric = METRIC_ERRORS, .agg = AGG_RATE, .op = OP_EQ, .value = 0 } },
    { "errors{class:refused}: count === 3",
      { .metric = METRIC_ERRORS,
        .fail = FAIL_REFUSED,
        .agg = AGG_COUNT,
        .op = OP_EQ,
        .value = 3 } },
    { "requests: rate >= 100/s",
      { .metric = METRIC_REQUESTS, .agg = AGG_RATE, .op = OP_GE, .value = 100 } },
    { "requests: rate > 120/m",
      { .metric = METRIC_REQUESTS, .agg = AGG_RATE, .op = OP_GT, .value = 2 } },
    { "http_reqs: count != 7",
      { .metric = METRIC_REQUESTS, .agg = AGG_COUNT, .op = OP_NE, .value = 7 } },
    { "http_req_duration: avg < 1s",
      { .metric = METRIC_RESPONSE_TIME, .agg = AGG_AVG, .op = OP_LT, .value = 1000 * MS } },
    { "http_req_duration{expected_response:true}: max < 1s",
      { .metric = METRIC_RESPONSE_TIME, .agg = AGG_MAX, .op = OP_LT, .value = 1000 * MS } },
    { "http_req_duration{name:GET /}: min < 1s",
      { .metric = METRIC_RESPONSE_TIME,
        .endpoint = "GET /",
        .agg = AGG_MIN,
        .op = OP_LT,
        .value = 1000 * MS } },
    { "http_req_failed: rate < 0.5%",
      { .metric = METRIC_ERRORS, .agg = AGG_RATE, .op = OP_LT, .value = 0.005 } },
    { "http_req_waiting: p(50) < 9ms",
      { .metric = METRIC_WAIT, .agg = AGG_P, .q = 0.5, .op = OP_LT, .value = 9 * MS } },
    { "dropped_iterations: count == 0",
      { .metric = METRIC_DROPPED, .agg = AGG_COUNT, .op = OP_EQ, .value = 0 } },
    { "response_time{GET /items/{{random.int(1,9)}}}: p(90) < 1s in recovery over 10s",
      { .metric = METRIC_RESPONSE_TIME,
        .endpoint = "GET /items/{{random.int(1,9)}}",
        .agg = AGG_P,
        .q = 0.9,
        .op = OP_LT,
        .value = 1000 * MS,
        .phase = "recovery",
        .window_ns = 10 * NS_PER_SEC } },
    { "errors: rate < 5% over 5s during kill shop",
      { .metric = METRIC_ERRORS,
        .agg = AGG_RATE,
        .op = OP_LT,
        .value = 0.05,
        .during = "kill shop",
        .window_ns = 5 * NS_PER_SEC } },
    { "errors: rate < 5% during \"slow over lunch\"",
      { .metric = METRIC_ERRORS,
        .agg = AGG_RATE,
        .op = OP_LT,
        .value = 0.05,
        .during = "slow over lunch" } },
    { "errors: rate < 5% in 'recovery after kill shop #2'",
      { .metric = METRIC_ERRORS,
        .agg = AGG_RATE,
        .op = OP_LT,
        .value = 0.05,
        .phase = "recovery after kill shop #2" } },
    { "recovery_time: max < 5s",
      { .metric = METRIC_RECOVERY_TIME, .agg = AGG_MAX, .op = OP_LT, .value = 5000 * MS } },
    { "requests_lost: count < 100",
      { .metric = METRIC_REQUESTS_LOST, .agg = AGG_COUNT, .op = OP_LT, .value = 100 } },
    { "requests_lost: max < 12.5",
      { .metric = METRIC_REQUESTS_LOST, .agg = AGG_MAX, .op = OP_LT, .value = 12.5 } },
    { "response_time: p(95) < baseline",
      { .metric = METRIC_RESPONSE_TIME,
        .agg = AGG_P,
        .q = 0.95,
        .op = OP_LT,
        .is_relative = true } },
    { "response_time: p(95) < baseline + 20% in recovery",
      { .metric = METRIC_RESPONSE_TIME,
        .agg = AGG_P,
        .q = 0.95,
        .op = OP_LT,
        .is_relative = true,
        .value = 0.2,
        .phase = "recovery" } },
    { "response_time: p(95) < baseline * 3",
      { .metric = METRIC_RESPONSE_TIME,
        .agg = AGG_P,
        .q = 0.95,
        .op = OP_LT,
        .is_relative = true,
        .value = 2 } },
    { "response_time: p(95) < baseline + 50ms",
      { .metric = METRIC_RESPONSE_TIME,
        .agg = AGG_P,
        .q = 0.95,
        .op = OP_LT,
        .is_relative = true,
        .relative_absolute = true,
        .value = 50 * MS } },
    { "requests: rate > baseline - 10%",
      { .metric = METRIC_REQUESTS,
        .agg = AGG_RATE,
        .op = OP_GT,
        .is_relative = true,
        .value = -0.1 } },
    { "errors: rate < baseline + 2%",
      { .metric = METRIC_ERRORS,
        .agg = AGG_RATE,
        .op = OP_LT,
        .is_relative = true,
        .relative_absolute = true,
        .value = 0.02 } },
};

static void same_text(const char *got, const char *want)
{
    assert_int_equal(!got, !want);
    if (want)
        assert_string_equal(got, want);
}

static void test_meaning(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        auto(arena) struct arena *a = arena_new(0);
        const struct threshold *want = &good[i].want;
        struct threshold t;
        struct err err = { 0 };

        if (threshold_parse(good[i].text, a, &t, &err) < 0)
            fail_msg("%s: %s", good[i].text, err.msg);
        assert_int_equal(t.metric, want->metric);
        assert_int_equal(t.agg, want->agg);
        assert_int_equal(t.op, want->op);
        assert_int_equal(t.fail, want->fail);
        assert_float_equal(t.q, want->q, 1e-9);
        assert_float_equal(t.value, want->value, 1e-9);
        assert_int_equal(t.is_relative, want->is_relative);
        assert_int_equal(t.relative_absolute, want->relative_absolute);
        assert_int_equal(t.window_ns, want->window_ns);
        same_text(t.endpoint, want->endpoint);
        same_text(t.phase, want->phase);
        same_text(t.during, want->during);
    }
}

/* What reports show reads back to the same threshold. */
static void test_expression_reads_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        auto(arena) struct arena *a = arena_new(0);
        struct threshold first, second;
        struct err err = { 0 };

        assert_int_equal(threshold_parse(good[i].text, a, &first, &err), 0);
        if (threshold_parse(first.expression, a, &second, &err) < 0)
            fail_msg("%s -> %s: %s", good[i].text, first.expression, err.msg);
        assert_string_equal(first.expression, second.expression);
        assert_float_equal(first.value, second.value, 1e-9);
        same_text(second.during, first.during);
        same_text(second.phase, first.phase);
    }
}

static const struct {
    const char *text, *normal;
} shown[] = {
    { "p(95)<500ms", "response_time: p(95) < 500ms" },
    { "http_req_failed:rate<1%", "errors: rate < 1%" },
    { "errors:  rate   <   baseline   +   1%   in   recovery",
      "errors: rate < baseline + 1% in recovery" },
    { "errors: rate < 1% during kill shop over 5s",
      "errors: rate < 1% during \"kill shop\" over 5s" },
};

static void test_expression(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        auto(arena) struct arena *a = arena_new(0);
        struct threshold t;

        assert_int_equal(threshold_parse(shown[i].text, a, &t, NULL), 0);
        assert_string_equal(t.expression, shown[i].normal);
    }
}

static const struct {
    const char *text, *why;
} bad[] = {
    { "", "empty" },
    { "response_time", "what about it? write response_time: p(95) < 500ms" },
    { "response_time: p(95)<500", "write p(95) < 500ms" },
    { "http_req_failed: rate<0.01", "write rate < 1%" },
    { "errors: rate < 5", "write rate < 5%" },
    { "requests: rate > 100", "write rate > 100/s" },
    { "errors: p(95) < 1s", "errors has no p(95); it has rate and count" },
    { "p(-1) < 1s", "0..100" },
    { "p(x) < 1s", "0..100" },
    { "p(95 < 1s", "not closed" },
    { "response_time{}: p(95) < 1s", "nothing between the braces" },
    { "response_time{GET /} p(95) < 1s", "expected ':'" },
    { "recovery_time{GET /}: max < 1s", "belongs to faults" },
    { "recovery_time: max < 1s in recovery", "write 'during <fault>'" },
    { "recovery_time: max < baseline + 1s", "has no baseline" },
    { "errors: count < baseline + 5%", "compare a rate" },
    { "errors: rate < 1% in", "which phase?" },
    { "errors: rate < 1% during", "which fault?" },
    { "errors: rate < 1% in recovery in baseline", "once" },
    { "errors: rate < 1% over 5s over 5s", "twice" },
    { "errors: rate < 1% over 700s", "1s to 10m" },
    { "errors: rate < 1% ovr 5s", "did you mean 'over'?" },
    { "errors: rate < 1% in 'recovery", "quote is not closed" },
    { "checks: rate > 99%", "a failed expectation is a failed request" },
    { "errors{class:none}: count == 0", "unknown error class" },
};

static void test_mistakes_say_the_remedy(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto(arena) struct arena *a = arena_new(0);
        struct threshold t;
        struct err err = { 0 };

        if (threshold_parse(bad[i].text, a, &t, &err) == 0)
            fail_msg("'%s' was accepted", bad[i].text);
        if (!strstr(err.msg, bad[i].why))
            fail_msg("'%s' says '%s' without '%s'", bad[i].text, err.msg, bad[i].why);
    }
}

/* Each metric's example and help hold what they promise. */
static void test_examples_of_metrics(void **state)
{
    (void)state;
    for (enum metric m = 0; m < METRIC_MAX; m++) {
        auto(arena) struct arena *a = arena_new(0);
        auto_free char *text = xasprintf("%s: %s", metric_name(m), metric_example(m));
        struct threshold t;
        struct err err = { 0 };

        if (threshold_parse(text, a, &t, &err) < 0)
            fail_msg("%s: %s", text, err.msg);
        assert_int_equal(t.metric, m);
        assert_true(strlen(metric_help(m)) > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meaning),
        cmocka_unit_test(test_expression_reads_back),
        cmocka_unit_test(test_expression),
        cmocka_unit_test(test_mistakes_say_the_remedy),
        cmocka_unit_test(test_examples_of_metrics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
