/* Files in Locust's shape: the same columns and quoting as Locust 2.47's own files, its rounding of
 * times, its sorting, its idea of a median. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "campaign/report_locust.h"
#include "edge/json.h"
#include "sample_result.h"

#define STATS_HEAD                                                                            \
    "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Min "   \
    "Response Time,Max Response Time,Average Content Size,Requests/s,Failures/s,50%,66%,75%," \
    "80%,90%,95%,98%,99%,99.9%,99.99%,100%\r\n"
#define HISTORY_HEAD                                                                              \
    "Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,"       \
    "99.9%,99.99%,100%,Total Request Count,Total Failure Count,Total Median Response Time,Total " \
    "Average Response Time,Total Min Response Time,Total Max Response Time,Total Average "        \
    "Content Size\r\n"

static void texts_are_quoted_as_pythons_csv_does(void **state)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        { "/", "/" },         { "/soft \"quoted\", comma", "\"/soft \"\"quoted\"\", comma\"" },
        { "a,b", "\"a,b\"" }, { "two\nlines", "\"two\nlines\"" },
        { "it's", "it's" },   { "", "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_buf struct buf out = BUF_INIT(0);
        csv_text(&out, rows[i].in);
        assert_string_equal(buf_str(&out), rows[i].want);
    }
}

static void floats_are_pythons_shortest(void **state)
{
    static const struct {
        double in;
        const char *want;
    } rows[] = {
        { 0, "0.0" },
        { 100, "100.0" },
        { 12, "12.0" },
        { 2.338449950703877, "2.338449950703877" },
        { 0.1, "0.1" },
        { 200000, "200000.0" },
        { 1795240399.2329636, "1795240399.2329636" },
        { 1.0 / 3, "0.3333333333333333" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_buf struct buf out = BUF_INIT(0);
        python_float(&out, rows[i].in);
        assert_string_equal(buf_str(&out), rows[i].want);
    }
}

static void times_are_rounded_as_locust_rounds(void **state)
{
    static const struct {
        double ms;
        uint64_t want;
    } rows[] = {
        { 0.4, 0 },   { 1.5, 2 },     { 2.5, 2 },       { 99.4, 99 },    { 121.03, 120 },
        { 147, 150 }, { 3432, 3400 }, { 58760, 59000 }, { 999.6, 1000 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(locust_bucket_ms(rows[i].ms), rows[i].want);
}

/* Locust: the first bucket from above at which at most int(n*p) requests are below it. */
static void percentiles_are_locusts(void **state)
{
    struct hist h = { 0 };

    (void)state;
    for (unsigned i = 1; i <= 10; i++)
        hist_record(&h, i * NS_PER_MS);
    assert_int_equal(locust_percentile_ms(&h, 0.5), 6);
    assert_int_equal(locust_percentile_ms(&h, 0.95), 10);
    assert_int_equal(locust_percentile_ms(&h, 1.0), 10);
    hist_clear(&h);
    assert_int_equal(locust_percentile_ms(&h, 0.5), 0);
    hist_done(&h);
}

/* Two endpoints given out of order, one unused: what the stats file says of them, byte for byte. */
static struct result *small_result(void)
{
    struct result *r = result_new();

    r->duration_ns = 4 * NS_PER_SEC;
    r->started_wall_ns = UINT64_C(1795240387) * NS_PER_SEC;
    r->n_endpoints = 3;
    r->endpoints = xcalloc(3, sizeof(*r->endpoints));
    static const char *const names[] = { "POST /echo", "GET /", "named" };
    static const char *const methods[] = { "POST", "GET", "GET" };
    for (size_t i = 0; i < 3; i++) {
        r->endpoints[i].name = xstrdup(names[i]);
        r->endpoints[i].method = xstrdup(methods[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        struct sample s = { .status = 200,
                            .sched = 1,
                            .start = 1,
                            .send = 1,
                            .first = 2,
                            .done = 1 + (i + 1) * 2 * NS_PER_MS,
                            .bytes_in = 100 };
        cell_record(&r->endpoints[1].cell, &s);
    }
    struct sample bad = { .status = 500,
                          .fail = FAIL_STATUS,
                          .sched = NS_PER_SEC,
                          .start = NS_PER_SEC,
                          .send = NS_PER_SEC,
                          .first = NS_PER_SEC,
                          .done = NS_PER_SEC + 121 * NS_PER_MS,
                          .bytes_in = 14 };
    cell_record(&r->endpoints[0].cell, &bad);
    cell_merge(&r->total, &r->endpoints[0].cell);
    cell_merge(&r->total, &r->endpoints[1].cell);
    return r;
}

static void the_stats_file_byte_for_byte(void **state)
{
    auto(result) struct result *r = small_result();
    auto_buf struct buf out = BUF_INIT(0);

    (void)state;
    report_locust_stats_csv(r, &out);
    assert_string_equal(
        buf_str(&out), STATS_HEAD
        "GET,/,4,0,6,5.0,2.0,8.0,100.0,1.0,0.0,6,6,8,8,8,8,8,8,8,8,8\r\n"
        "POST,/echo,1,1,121.0,121.0,121.0,121.0,14.0,0.25,0.25,120,120,120,120,120,120,120,120,"
        "120,120,120\r\n"
        "GET,named,0,0,0,0.0,0,0,0,0.0,0.0,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A\r\n"
        ",Aggregated,5,1,6,28.2,2.0,121.0,82.8,1.25,0.25,6,8,8,120,120,120,120,120,120,120,"
        "120\r\n");
}

static void the_failures_file_names_class_and_span(void **state)
{
    auto(result) struct result *r = small_result();
    auto_buf struct buf out = BUF_INIT(0);

    (void)state;
    report_locust_failures_csv(r, &out);
    assert_string_equal(buf_str(&out),
                        "Method,Name,Error,Occurrences,First Seen,Last Seen\r\n"
                        "POST,/echo,status: the answer's status was not an expected one,1,"
                        "2026-11-21T05:53:08Z,2026-11-21T05:53:08Z\r\n");
}

static void exceptions_are_never_there(void **state)
{
    auto(result) struct result *r = small_result();
    auto_buf struct buf out = BUF_INIT(0);

    (void)state;
    report_locust_exceptions_csv(r, &out);
    assert_string_equal(buf_str(&out), "Count,Message,Traceback,Nodes\r\n");
}

static size_t n_lines(const char *s)
{
    size_t n = 0;

    for (; (s = strstr(s, "\r\n")); s += 2)
        n++;
    return n;
}

static void the_history_begins_before_the_load_and_ends_with_all(void **state)
{
    struct sample_run s;
    auto_buf struct buf out = BUF_INIT(0);
    char last[160];

    (void)state;
    sample_init(&s);
    report_locust_history_csv(s.r, &out);
    const char *text = buf_str(&out);
    static const char begin[] =
        HISTORY_HEAD "1795248900,0,,Aggregated,0.000000,0.000000,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,"
                     "N/A,N/A,N/A,0,0,0,0.0,0,0,0\r\n1795248901,20,,Aggregated,";
    assert_memory_equal(text, begin, sizeof(begin) - 1);
    assert_int_equal(n_lines(text), 2 + s.r->n_rows);
    snprintf(last, sizeof(last), ",%llu,%llu,11,",
             (unsigned long long)(s.r->total.n_ok + s.r->total.n_fail),
             (unsigned long long)s.r->total.n_fail);
    assert_non_null(strstr(text, last));
    sample_done(&s);
}

static void the_json_is_locusts_list_of_entries(void **state)
{
    struct sample_run s;
    auto_buf struct buf out = BUF_INIT(0);
    auto(json) struct json *j = NULL;
    struct err err = { 0 };
    uint64_t requests = 0, times = 0, per_second = 0;

    (void)state;
    sample_init(&s);
    report_locust_json(s.r, &out);
    if (json_parse(buf_str(&out), out.len, &j, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(json_len(j), 6);
    assert_string_equal(json_str(j, "0.name", ""), "/");
    for (const struct json *e = json_first(j); e; e = json_next(e)) {
        requests += json_u64(e, "num_requests", 0);
        for (const struct json *t = json_first(json_get(e, "response_times")); t; t = json_next(t))
            times += json_u64(t, "", 0);
        for (const struct json *t = json_first(json_get(e, "num_reqs_per_sec")); t;
             t = json_next(t))
            per_second += json_u64(t, "", 0);
    }
    assert_true(requests == s.r->total.n_ok + s.r->total.n_fail);
    assert_true(times == requests);
    assert_true(per_second == requests);
    sample_done(&s);
}

static char *slurp(const char *prefix, const char *suffix)
{
    struct buf text = BUF_INIT(0);
    auto_free char *path = xasprintf("%s%s", prefix, suffix);
    char chunk[4096];
    size_t n;
    FILE *f = fopen(path, "re");

    assert_non_null(f);
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_add(&text, chunk, n);
    fclose(f);
    unlink(path);
    return buf_take(&text);
}

static void the_observer_writes_all_four_files(void **state)
{
    static const bool full[] = { false, true };
    struct sample_run s;

    (void)state;
    sample_init(&s);
    for (size_t i = 0; i < ARRAY_LEN(full); i++) {
        char dir[] = "/tmp/chaos-load-csv-XXXXXX";
        struct err err = { 0 };
        assert_non_null(mkdtemp(dir));
        auto_free char *prefix = xasprintf("%s/deep/run", dir);
        auto_free char *deep = xasprintf("%s/deep", dir);
        struct observer *o = locust_csv_observer_new(prefix, full[i], &err);
        assert_non_null(o);
        assert_int_equal(sample_play(&s, o, SIZE_MAX, &err), 0);
        o->free(o->arg);
        auto_free char *history = slurp(prefix, "_stats_history.csv");
        auto_free char *stats = slurp(prefix, "_stats.csv");
        auto_free char *failures = slurp(prefix, "_failures.csv");
        auto_free char *exceptions = slurp(prefix, "_exceptions.csv");
        assert_int_equal(rmdir(deep), 0); /* and nothing else was left there */
        rmdir(dir);
        auto_buf struct buf want = BUF_INIT(0);
        report_locust_history_csv(s.r, &want);
        /* Five endpoints were used in each second: their rows stand before the aggregated one. */
        assert_in_range(n_lines(history), full[i] ? s.r->n_rows * 5 : n_lines(buf_str(&want)),
                        2 + s.r->n_rows * 6);
        assert_memory_equal(history, HISTORY_HEAD, sizeof(HISTORY_HEAD) - 1);
        assert_memory_equal(stats, STATS_HEAD, sizeof(STATS_HEAD) - 1);
        assert_int_equal(n_lines(stats), 1 + 6 + 1);
        assert_true(n_lines(failures) > 5);
        assert_int_equal(n_lines(exceptions), 1);
    }
    sample_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_quoted_as_pythons_csv_does),
        cmocka_unit_test(floats_are_pythons_shortest),
        cmocka_unit_test(times_are_rounded_as_locust_rounds),
        cmocka_unit_test(percentiles_are_locusts),
        cmocka_unit_test(the_stats_file_byte_for_byte),
        cmocka_unit_test(the_failures_file_names_class_and_span),
        cmocka_unit_test(exceptions_are_never_there),
        cmocka_unit_test(the_history_begins_before_the_load_and_ends_with_all),
        cmocka_unit_test(the_json_is_locusts_list_of_entries),
        cmocka_unit_test(the_observer_writes_all_four_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
