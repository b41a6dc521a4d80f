/* Reports of the sample run: what must be said is said, what came from outside does nothing, and a
 * file is there whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "campaign/campaign.h"
#include "campaign/report_fmt.h"
#include "campaign/report_html.h"
#include "edge/json.h"
#include "sample_result.h"

typedef void render_fn(const struct result *r, struct buf *out);

static char *render(render_fn *f, const struct result *r)
{
    struct buf out = BUF_INIT(0);

    f(r, &out);
    assert_false(buf_failed(&out));
    return buf_take(&out);
}

static int setup(void **state)
{
    static struct sample_run s;

    sample_init(&s);
    *state = &s;
    return 0;
}

static int teardown(void **state)
{
    sample_done(*state);
    return 0;
}

static const struct result *sample(void **state)
{
    return ((const struct sample_run *)*state)->r;
}

static void must_have(const char *text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strstr(text, words[i]))
            fail_msg("'%s' is missing in:\n%.3000s", words[i], text);
}

static void the_summary_says_what_counts(void **state)
{
    static const char *const words[] = {
        "✗ FAIL  the shop survives a killed replica",
        "2 of 6 thresholds do not hold",
        "http://127.0.0.1:5001",
        "seed 17446744073709551615",
        "response time ◂",
        "✓ errors: rate < 1% in baseline",
        "✗ response_time{GET /}: p(99) < 100ms over 10s",
        "231 ms",
        "61.200 s",
        "no sample",
        "kill shop",
        "did not happen",
        "not seen",
        "inject latency shop",
        "POST /items",
        "refused",
        "nothing listens there",
        "first: GET /: connect 127.0.0.1:5001: Connection refused",
        "open files: raised",
    };
    struct buf out = BUF_INIT(0);

    report_text(sample(state), false, 110, &out);
    must_have(buf_str(&out), words, ARRAY_LEN(words));
    assert_null(strchr(buf_str(&out), '\033'));
    buf_done(&out);
}

static void the_summary_fits_every_width(void **state)
{
    static const unsigned widths[] = { 40, 60, 80, 100, 120 };

    for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
        struct buf out = BUF_INIT(0);
        report_text(sample(state), false, widths[i], &out);
        for (const char *line = buf_str(&out); *line;) {
            size_t len = strcspn(line, "\n");
            auto_free char *one = xstrndup(line, len);
            if (text_width(one) > widths[i])
                fail_msg("wider than %u: %s", widths[i], one);
            line += len + (line[len] == '\n');
        }
        buf_done(&out);
    }
}

static void colours_open_and_close(void **state)
{
    struct buf out = BUF_INIT(0);
    size_t on = 0, off = 0;

    report_text(sample(state), true, 100, &out);
    for (const char *p = buf_str(&out); (p = strstr(p, "\033[")); p += 2) {
        off += strncmp(p, "\033[0m", 4) == 0;
        on += strncmp(p, "\033[0m", 4) != 0;
    }
    assert_true(on > 10);
    assert_true(off > 10 && off <= on);
    assert_null(strstr(buf_str(&out), "\033[31m\xff")); /* the name's own escape is gone */
    buf_done(&out);
}

static void the_page_has_all_its_parts(void **state)
{
    static const char *const words[] = {
        "<!doctype html>",
        "<title>Fail: the shop survives a killed replica</title>",
        "class=\"banner fail\"",
        "10,4", /* requests */
        "Dygraph",
        "id=\"data\"",
        "errors: rate &lt; 1% in baseline",
        "felt, recovered",
        " <small>by pidfd</small>",
        "shop-2 &lt;i&gt; <small>not hit</small>",
        "felt, not recovered",
        "did not happen",
        "± 100 ms",
        "the target refused the connection",
        "first: GET /: connect 127.0.0.1:5001",
        "The run is judged by its <b>response time</b>",
        "--seed 17446744073709551615",
        "# &lt;/script&gt; in a comment",
        "200 × ",
        "prefers-color-scheme",
        "@media print",
    };
    auto_free char *page = render(report_html, sample(state));

    must_have(page, words, ARRAY_LEN(words));
    assert_null(strstr(page, "{{banner"));
    assert_null(strstr(page, "{{js"));
}

static size_t count_of(const char *text, const char *word)
{
    size_t n = 0;

    for (; (text = strstr(text, word)); text += strlen(word))
        n++;
    return n;
}

static void hostile_names_stay_text(void **state)
{
    auto_free char *page = render(report_html, sample(state));

    assert_null(strstr(page, "<img"));
    assert_null(strstr(page, "<b>db</b>"));
    assert_null(strchr(page, '\033'));
    assert_null(strstr(page, "sourceMappingURL"));
    /* Every script that ends was begun by us: the theme, the data, dygraphs, ours. */
    assert_int_equal(count_of(page, "<script"), 4);
    assert_int_equal(count_of(page, "</script"), 4);
}

static void the_charts_data_is_json_that_adds_up(void **state)
{
    const struct result *r = sample(state);
    auto_free char *text = render(report_data_json, r);
    auto(json) struct json *j = NULL;
    struct err err = { 0 };
    double ok = 0, heat = 0;

    if (json_parse(text, strlen(text), &j, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(json_len(json_get(j, "t")), r->n_rows);
    for (const struct json *v = json_first(json_get(j, "ok")); v; v = json_next(v))
        ok += json_num(v, "", 0);
    assert_true(ok > (double)r->total.n_ok - 1 && ok < (double)r->total.n_ok + 1);
    for (const struct json *c = json_first(json_get(j, "heat.columns")); c; c = json_next(c)) {
        assert_int_equal(json_len(c) % 2, 0);
        for (size_t i = 1; i < json_len(c); i += 2)
            heat += json_num(json_at(c, i), "", 0);
    }
    assert_true((uint64_t)heat == r->total.response.count);
    assert_int_equal(json_len(json_get(j, "classes")), 5);
    assert_int_equal(json_len(json_get(j, "faults")), 3);
    assert_true(json_is_null(json_get(j, "faults.2.effective")));
    /* Seconds in which nothing succeeded have no percentile, not a zero. */
    assert_true(json_is_null(json_at(json_get(j, "p50"), 31)));
    /* The phase without a success has no spectrum: whole run and six phases. */
    assert_int_equal(json_len(json_get(j, "spectrum.series")), 7);
}

static void long_runs_are_joined_not_cut(void **state)
{
    auto(result) struct result *r = result_new();
    struct result_row row = { .users = 3 };
    struct err err = { 0 };
    auto(json) struct json *j = NULL;
    double heat = 0;

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        row.t_ns = i * NS_PER_SEC;
        row.ok = 1;
        hist_clear(&row.response);
        hist_record(&row.response, NS_PER_MS);
        result_add_second(r, &row, NULL, 0);
    }
    hist_done(&row.response);
    r->duration_ns = 5000 * NS_PER_SEC;
    auto_free char *text = render(report_data_json, r);
    assert_int_equal(json_parse(text, strlen(text), &j, &err), 0);
    assert_in_range(json_len(json_get(j, "t")), 500, 1300);
    for (const struct json *c = json_first(json_get(j, "heat.columns")); c; c = json_next(c))
        heat += json_num(json_at(c, 1), "", 0);
    assert_true(heat == 5000);
}

static void an_empty_result_renders_everywhere(void **state)
{
    static render_fn *const all[] = { report_html, report_markdown, report_junit,
                                      report_locust_json, report_locust_stats_csv };
    auto(result) struct result *r = result_new();
    struct buf out = BUF_INIT(0);

    (void)state;
    r->verdict = VERDICT_ERROR;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        auto_free char *text = render(all[i], r);
        assert_true(strlen(text) > 0);
    }
    report_text(r, false, 80, &out);
    assert_non_null(strstr(buf_str(&out), "ERROR"));
    assert_null(strstr(buf_str(&out), "response time")); /* no table of nothing */
    buf_done(&out);
}

static void the_pull_request_summary_is_one_screen(void **state)
{
    static const char *const words[] = {
        "## ❌ Fail: the shop survives a killed replica",
        "| ✅ | errors: rate &lt; 1% in baseline",
        "**not recovered**",
        "did not happen",
        "5.00 s ± 100 ms",
        "<details><summary>Phases</summary>",
    };
    auto_free char *text = render(report_markdown, sample(state));

    must_have(text, words, ARRAY_LEN(words));
    assert_null(strstr(text, "<img"));
    assert_true(count_of(text, "\n") < 60);
}

static void junit_has_a_case_for_each_threshold_and_one_for_the_run(void **state)
{
    static const char *const words[] = {
        "<testsuite name=\"the shop survives a killed replica\"",
        " tests=\"7\" failures=\"2\" errors=\"0\"",
        "name=\"the run is valid\"",
        "<failure type=\"threshold\" message=\"value 231 ms, limit 100 ms\">",
        "first broken at 61.200 s",
    };
    auto_free char *text = render(report_junit, sample(state));

    must_have(text, words, ARRAY_LEN(words));
    assert_int_equal(count_of(text, "<testcase"), 7);
    assert_int_equal(count_of(text, "<failure"), 2);
}

static void an_invalid_run_is_an_error_in_junit_not_a_failure(void **state)
{
    auto(result) struct result *r = result_new();

    (void)state;
    r->verdict = VERDICT_INVALID;
    r->complete = true;
    r->reason = xstrdup("schedule lag p99 was 1.2 s: the generator was the limit");
    auto_free char *text = render(report_junit, r);
    assert_non_null(strstr(text, "errors=\"1\""));
    assert_non_null(strstr(text, "<error type=\"Invalid\" message=\"schedule lag"));
}

/* ---- files ---- */

static void a_file_is_replaced_whole(void **state)
{
    char dir[] = "/tmp/chaos-load-file-XXXXXX";
    struct err err = { 0 };
    auto_buf struct buf text = BUF_INIT(0);

    (void)state;
    assert_non_null(mkdtemp(dir));
    auto_free char *path = xasprintf("%s/new/deep/report", dir);
    buf_adds(&text, "one");
    assert_int_equal(report_write_file(path, &text, &err), 0);
    buf_adds(&text, " two");
    assert_int_equal(report_write_file(path, &text, &err), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 7);
    /* A report that grew past its limit does not replace the good one. */
    auto_buf struct buf big = BUF_INIT(4);
    buf_adds(&big, "too much");
    assert_true(report_write_file(path, &big, &err) < 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 7);
    unlink(path);
    auto_free char *deep = xasprintf("%s/new/deep", dir), *mid = xasprintf("%s/new", dir);
    assert_int_equal(rmdir(deep), 0); /* no temporary file stays */
    rmdir(mid);
    rmdir(dir);
}

static void what_cannot_be_written_is_told_with_its_path(void **state)
{
    struct err err = { 0 };
    auto_buf struct buf text = BUF_INIT(0);

    (void)state;
    buf_adds(&text, "x");
    assert_true(report_write_file("/proc/no/where", &text, &err) < 0);
    assert_non_null(strstr(err.msg, "/proc/no"));
    assert_true(report_write_file("/dev/full", &text, &err) < 0);
    assert_non_null(strstr(err.msg, "/dev/full"));
}

static void places_are_checked_before_the_load(void **state)
{
    static const struct output_plan bad[] = { { .out_dir = "/proc/no" },
                                              { .html = "/proc/no/page.html" },
                                              { .junit = "/dev/null/x/junit.xml" } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = { 0 };
        assert_null(files_observer_new(&bad[i], &err));
        assert_true(err_is_set(&err));
    }
}

static void one_bad_place_does_not_keep_the_rest_from_being_written(void **state)
{
    char dir[] = "/tmp/chaos-load-out-XXXXXX";
    struct err err = { 0 };

    assert_non_null(mkdtemp(dir));
    auto_free char *html = xasprintf("%s/page.html", dir), *junit = xasprintf("%s/j.xml", dir);
    const struct output_plan out = { .html = "/dev/full", .junit = junit, .result_path = html };
    struct observer *o = files_observer_new(&out, &err);
    assert_non_null(o);
    assert_true(o->end(o->arg, NULL, sample(state), &err) < 0);
    assert_non_null(strstr(err.msg, "/dev/full"));
    assert_int_equal(access(junit, R_OK), 0);
    assert_int_equal(access(html, R_OK), 0);
    o->free(o->arg);
    unlink(junit);
    unlink(html);
    rmdir(dir);
}

static void a_folder_receives_every_report(void **state)
{
    static const char *const names[] = { "result.json",         "report.html",
                                         "summary.md",          "junit.xml",
                                         "locust_stats.csv",    "locust_stats_history.csv",
                                         "locust_failures.csv", "locust_exceptions.csv" };
    char dir[] = "/tmp/chaos-load-all-XXXXXX";
    struct err err = { 0 };

    assert_non_null(mkdtemp(dir));
    assert_int_equal(report_write_all(sample(state), dir, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        auto_free char *path = xasprintf("%s/%s", dir, names[i]);
        if (unlink(path) < 0)
            fail_msg("%s is missing", names[i]);
    }
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_summary_says_what_counts),
        cmocka_unit_test(the_summary_fits_every_width),
        cmocka_unit_test(colours_open_and_close),
        cmocka_unit_test(the_page_has_all_its_parts),
        cmocka_unit_test(hostile_names_stay_text),
        cmocka_unit_test(the_charts_data_is_json_that_adds_up),
        cmocka_unit_test(long_runs_are_joined_not_cut),
        cmocka_unit_test(an_empty_result_renders_everywhere),
        cmocka_unit_test(the_pull_request_summary_is_one_screen),
        cmocka_unit_test(junit_has_a_case_for_each_threshold_and_one_for_the_run),
        cmocka_unit_test(an_invalid_run_is_an_error_in_junit_not_a_failure),
        cmocka_unit_test(a_file_is_replaced_whole),
        cmocka_unit_test(what_cannot_be_written_is_told_with_its_path),
        cmocka_unit_test(places_are_checked_before_the_load),
        cmocka_unit_test(one_bad_place_does_not_keep_the_rest_from_being_written),
        cmocka_unit_test(a_folder_receives_every_report),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
