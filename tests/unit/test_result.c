/* A result and its text form: what is written reads back to the same, to the last histogram; what
 * is no result is refused with a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "edge/json.h"
#include "sample_result.h"

static char *text_of(const struct result *r)
{
    auto(json) struct json *j = result_to_json(r);

    return json_print(j, true);
}

static struct result *reread(const char *text)
{
    auto(json) struct json *j = NULL;
    struct result *r = NULL;
    struct err err = { 0 };

    assert_int_equal(json_parse(text, strlen(text), &j, &err), 0);
    if (result_from_json(j, &r, &err) < 0)
        fail_msg("%s", err.msg);
    return r;
}

static void what_is_written_reads_back_identically(void **state)
{
    struct sample_run s;

    (void)state;
    sample_init(&s);
    auto_free char *first = text_of(s.r);
    auto(result) struct result *again = reread(first);
    auto_free char *second = text_of(again);
    assert_string_equal(first, second);
    sample_done(&s);
}

static void the_structs_are_equal_not_only_their_texts(void **state)
{
    struct sample_run s;

    (void)state;
    sample_init(&s);
    auto_free char *text = text_of(s.r);
    auto(result) struct result *again = reread(text);
    assert_true(again->seed == s.r->seed);
    assert_true(again->started_wall_ns == s.r->started_wall_ns);
    assert_true(again->duration_ns == s.r->duration_ns);
    for (size_t i = 0; i < s.r->n_faults; i++) {
        assert_true(again->faults[i].effective_ns == s.r->faults[i].effective_ns);
        assert_true(again->faults[i].time_to_recover_ns == s.r->faults[i].time_to_recover_ns);
        assert_int_equal(again->faults[i].ended_by, s.r->faults[i].ended_by);
        assert_int_equal(again->faults[i].n_hits, s.r->faults[i].n_hits);
    }
    const struct result_fault *kill = &again->faults[0];
    assert_string_equal(kill->mechanism, "pidfd");
    assert_null(again->faults[1].mechanism);
    assert_string_equal(kill->hits[0].name, "shop-1");
    assert_string_equal(kill->hits[1].id, "pid 4712");
    assert_true(kill->hits[0].effective_ns == s.r->faults[0].hits[0].effective_ns);
    assert_true(kill->hits[1].reverted_ns == T_NONE);
    for (unsigned slot = 0; slot < HIST_SLOTS; slot++)
        assert_int_equal(hist_slot_count(&again->total.response, slot),
                         hist_slot_count(&s.r->total.response, slot));
    assert_true(again->total.response.min_ns == s.r->total.response.min_ns);
    assert_true(again->total.first_fail_ns == s.r->total.first_fail_ns);
    assert_int_equal(again->total.statuses[503], s.r->total.statuses[503]);
    assert_true(again->rows[42].response.sum_us == s.r->rows[42].response.sum_us);
    sample_done(&s);
}

static void the_contract_at_the_top_of_result_json(void **state)
{
    static const char *const names[] = {
        "schema",
        "verdict",
        "exit_code",
        "seed",
        "started_at",
        "duration_ms",
        "totals.requests",
        "totals.successes",
        "totals.failures",
        "totals.dropped",
        "response_time.count",
        "response_time.min_ms",
        "response_time.mean_ms",
        "response_time.p50_ms",
        "response_time.p90_ms",
        "response_time.p95_ms",
        "response_time.p99_ms",
        "response_time.p999_ms",
        "response_time.max_ms",
        "service_time.p99_ms",
        "schedule_lag.p99_ms",
        "failed.count",
        "errors.0.class",
        "errors.0.count",
        "phases.0.name",
        "phases.0.kind",
        "phases.0.start_ms",
        "phases.0.end_ms",
        "phases.0.totals.requests",
        "phases.0.response_time.p95_ms",
        "endpoints.0.name",
        "faults.0.kind",
        "faults.0.planned_ms",
        "faults.0.effective_ms",
        "faults.0.reverted_ms",
        "faults.0.felt",
        "faults.0.time_to_recover_ms",
        "faults.0.requests_lost",
        "thresholds.0.expression",
        "thresholds.0.phase",
        "thresholds.0.value",
        "thresholds.0.ok",
    };
    struct sample_run s;

    (void)state;
    sample_init(&s);
    auto(json) struct json *j = result_to_json(s.r);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!json_get(j, names[i]))
            fail_msg("%s is missing", names[i]);
    assert_string_equal(json_str(j, "verdict", ""), "Fail");
    assert_int_equal(json_u64(j, "totals.requests", 0), s.r->total.n_ok + s.r->total.n_fail);
    assert_string_equal(json_str(j, "seed", ""), "17446744073709551615");
    assert_string_equal(json_str(j, "started_at", ""), "2026-11-21T08:15:00.123Z");
    assert_true(json_is_null(json_get(j, "faults.1.time_to_recover_ms")));
    assert_true(json_is_null(json_get(j, "thresholds.5.value")));
    sample_done(&s);
}

static void a_small_seed_stays_a_number(void **state)
{
    auto(result) struct result *r = result_new();

    (void)state;
    r->seed = 7;
    auto(json) struct json *j = result_to_json(r);
    assert_true(json_str(j, "seed", NULL) == NULL);
    assert_int_equal(json_u64(j, "seed", 0), 7);
}

#define HEAD "{\"schema\":\"chaos-load/result/v1\",\"verdict\":\"Pass\""

static void what_is_no_result_is_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        { "{}", "schema: '' is not 'chaos-load/result/v1'" },
        { "[]", "schema" },
        { "{\"schema\":\"chaos-load/result/v9\"}", "v9" },
        { "{\"schema\":\"chaos-load/result/v1\"}", "verdict: '' is none of Pass" },
        { HEAD ",\"histograms\":{\"response\":\"1;2;x\"}}", "not the text of a histogram" },
        { HEAD ",\"errors\":[{\"class\":\"bored\",\"count\":1}]}", "'bored' is no class" },
        { HEAD ",\"statuses\":{\"999\":1}}", "'999' is no status" },
        { HEAD ",\"phases\":[{\"name\":\"a\",\"kind\":\"lunch\"}]}", "phases.0: kind: 'lunch'" },
        { HEAD ",\"phases\":[{\"kind\":\"inject\",\"endpoints\":[{\"endpoint\":3}]}]}",
          "no such endpoint" },
        { HEAD ",\"endpoints\":[{}],\"phases\":[{\"kind\":\"inject\",\"endpoints\":"
               "[{\"endpoint\":0},{\"endpoint\":0}]}]}",
          "there twice" },
        { HEAD ",\"faults\":[1]}", "faults.0: not an object" },
        { HEAD ",\"rows\":[{\"response\":\"zzz\"}]}", "rows.0" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto(json) struct json *j = NULL;
        struct result *r = NULL;
        struct err err = { 0 };
        assert_int_equal(json_parse(bad[i].text, strlen(bad[i].text), &j, &err), 0);
        assert_true(result_from_json(j, &r, &err) < 0);
        assert_null(r);
        if (!strstr(err.msg, bad[i].says))
            fail_msg("%s\nsays: %s\nwanted: %s", bad[i].text, err.msg, bad[i].says);
    }
}

static void an_activation_has_so_many_targets_at_most(void **state)
{
    auto_buf struct buf text = BUF_INIT((size_t)1 << 20);
    auto(json) struct json *j = NULL;
    struct result *r = NULL;
    struct err err = { 0 };

    (void)state;
    buf_adds(&text, HEAD ",\"faults\":[{\"targets\":[1");
    for (int i = 0; i < RESULT_HITS_MAX; i++)
        buf_adds(&text, ",{}");
    buf_adds(&text, "]}]}");
    assert_int_equal(json_parse(buf_str(&text), text.len, &j, &err), 0);
    assert_true(result_from_json(j, &r, &err) < 0);
    assert_string_equal(err.msg, "faults.0: targets: 1001 items, at most 1000 are allowed");
}

static void numbers_out_of_bounds_become_harmless(void **state)
{
    static const char text[] = HEAD ",\"duration_ms\":1e300,\"exit_code\":1e18,\"seed\":-3,"
                                    "\"generator\":{\"cpu_share_max\":\"x\"},"
                                    "\"phases\":[{\"kind\":\"inject\",\"fault\":1e99,"
                                    "\"start_ms\":-5,\"end_ms\":null}]}";
    auto(result) struct result *r = reread(text);

    (void)state;
    assert_true(r->duration_ns == 0);
    assert_in_range(r->exit_code, 0, 255);
    assert_true(r->seed == 0);
    assert_int_equal(r->phases[0].fault, -1);
    assert_true(r->phases[0].start_ns == 0);
    assert_true(r->phases[0].end_ns == T_NONE);
}

static void names_read_back_to_their_enums(void **state)
{
    enum verdict v;

    (void)state;
    for (int i = 0; i < PHASE_KIND_MAX; i++)
        assert_int_equal(phase_kind_by_name(phase_kind_name((enum phase_kind)i)), i);
    assert_int_equal(phase_kind_by_name("x"), PHASE_KIND_MAX);
    for (int i = VERDICT_PASS; i <= VERDICT_INVALID; i++) {
        assert_true(verdict_by_name(verdict_name((enum verdict)i), &v));
        assert_int_equal(v, i);
    }
    assert_false(verdict_by_name("pass", &v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back_identically),
        cmocka_unit_test(the_structs_are_equal_not_only_their_texts),
        cmocka_unit_test(the_contract_at_the_top_of_result_json),
        cmocka_unit_test(a_small_seed_stays_a_number),
        cmocka_unit_test(what_is_no_result_is_refused),
        cmocka_unit_test(an_activation_has_so_many_targets_at_most),
        cmocka_unit_test(numbers_out_of_bounds_become_harmless),
        cmocka_unit_test(names_read_back_to_their_enums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
