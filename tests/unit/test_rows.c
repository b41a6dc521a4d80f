/* rows.ndjson: a finished run is rebuilt to the letter, a killed one up to its last whole second,
 * and no torn or foreign line does harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "edge/json.h"
#include "sample_result.h"

struct place {
    char dir[64], path[96];
};

static void place_init(struct place *p)
{
    snprintf(p->dir, sizeof(p->dir), "/tmp/chaos-load-rows-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->path, sizeof(p->path), "%s/rows.ndjson", p->dir);
}

static void place_done(struct place *p)
{
    unlink(p->path);
    rmdir(p->dir);
}

static char *slurp(const char *path)
{
    struct buf text = BUF_INIT(0);
    char chunk[4096];
    size_t n;
    FILE *f = fopen(path, "re");

    assert_non_null(f);
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_add(&text, chunk, n);
    fclose(f);
    return buf_take(&text);
}

/* The rows file of the sample run, whole or killed after so many seconds. */
static char *rows_of(const struct sample_run *s, size_t seconds)
{
    struct place p;
    struct err err = { 0 };

    place_init(&p);
    struct observer *o = rows_observer_new(p.path, &err);
    assert_non_null(o);
    assert_int_equal(sample_play(s, o, seconds, &err), 0);
    char *text = slurp(p.path); /* before it is closed: all that a killed process leaves */
    o->free(o->arg);
    place_done(&p);
    return text;
}

static char *text_of(const struct result *r)
{
    auto(json) struct json *j = result_to_json(r);

    return json_print(j, true);
}

static void a_finished_run_is_rebuilt_to_the_letter(void **state)
{
    struct sample_run s;
    struct err err = { 0 };
    auto(result) struct result *r = NULL;

    (void)state;
    sample_init(&s);
    auto_free char *rows = rows_of(&s, SIZE_MAX);
    if (result_from_rows(rows, strlen(rows), &r, &err) < 0)
        fail_msg("%s", err.msg);
    auto_free char *want = text_of(s.r);
    auto_free char *got = text_of(r);
    assert_string_equal(want, got);
    sample_done(&s);
}

static void a_killed_run_keeps_every_whole_second(void **state)
{
    struct sample_run s;
    struct err err = { 0 };
    auto(result) struct result *r = NULL;
    struct cell *want = cell_new();

    (void)state;
    sample_init(&s);
    auto_free char *rows = rows_of(&s, 40);
    if (result_from_rows(rows, strlen(rows), &r, &err) < 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < 40; i++)
        for (size_t k = 0; k < s.seconds[i].n; k++)
            cell_merge(want, s.seconds[i].rows[k].cell);
    assert_int_equal(r->n_rows, 40);
    assert_true(r->total.n_ok == want->n_ok);
    assert_true(r->total.n_fail == want->n_fail);
    assert_true(r->total.response.sum_us == want->response.sum_us);
    assert_false(r->complete);
    assert_int_equal(r->verdict, VERDICT_ERROR);
    assert_int_equal(r->exit_code, 3);
    assert_non_null(strstr(r->reason, "cut off"));
    for (size_t i = 0; i < r->n_thresholds; i++)
        assert_false(r->thresholds[i].has_value);
    cell_free(want);
    sample_done(&s);
}

static void phases_and_endpoints_add_up_to_the_total(void **state)
{
    struct sample_run s;
    struct err err = { 0 };
    auto(result) struct result *r = NULL;
    uint64_t phases = 0, endpoints = 0, cells = 0, rows = 0;

    (void)state;
    sample_init(&s);
    auto_free char *text = rows_of(&s, 70);
    assert_int_equal(result_from_rows(text, strlen(text), &r, &err), 0);
    for (size_t i = 0; i < r->n_phases; i++) {
        phases += r->phases[i].cell.n_ok;
        for (size_t k = 0; r->phases[i].endpoints && k < r->n_endpoints; k++)
            cells += r->phases[i].endpoints[k] ? r->phases[i].endpoints[k]->n_ok : 0;
    }
    for (size_t i = 0; i < r->n_endpoints; i++)
        endpoints += r->endpoints[i].cell.n_ok;
    for (size_t i = 0; i < r->n_rows; i++)
        rows += r->rows[i].ok;
    assert_true(phases == r->total.n_ok);
    assert_true(endpoints == r->total.n_ok);
    assert_true(cells == r->total.n_ok);
    assert_true(rows == r->total.n_ok);
    sample_done(&s);
}

static void a_torn_second_does_not_count(void **state)
{
    struct sample_run s;
    struct err err = { 0 };

    (void)state;
    sample_init(&s);
    auto_free char *text = rows_of(&s, 3);
    char *last = strstr(text, "{\"type\":\"second\"");

    for (char *next = last; next; next = strstr(next + 1, "{\"type\":\"second\""))
        last = next;
    if (!last)
        fail_msg("no second in %s", text);
    last = last ? last : text; /* gcc does not see that fail_msg ends the test */
    /* Cut at every place of the last second's closing line: two seconds remain. */
    for (size_t cut = 0; last[cut] && last[cut] != '\n'; cut += 7) {
        auto(result) struct result *r = NULL;
        assert_int_equal(result_from_rows(text, (size_t)(last - text) + cut, &r, &err), 0);
        assert_int_equal(r->n_rows, 2);
        assert_true(r->total.n_ok == s.seconds[0].row.ok + s.seconds[1].row.ok);
    }
    sample_done(&s);
}

#define HEADER "{\"type\":\"header\",\"schema\":\"chaos-load/rows/v1\",\"verdict\":\"Error\"}\n"

static void what_is_no_rows_file_is_refused_by_line(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        { "", "no header line" },
        { "{\"type\":\"row\"}\n", "rows: line 1: the first line is no header" },
        { "hello\n", "rows: line 1" },
        { "{\"type\":\"header\",\"schema\":\"x\"}\n", "schema: 'x' is not" },
        { HEADER HEADER, "line 2: a second header" },
        { HEADER "{\"type\":\"row\",\"phase\":0,\"endpoint\":0}\n", "no such endpoint" },
        { HEADER "{\"type\":\"phase\",\"index\":99999,\"phase\":{}}\n", "at most 1024" },
        { HEADER "{\"type\":\"phase\",\"index\":0,\"phase\":{\"kind\":\"x\"}}\n", "kind: 'x'" },
        { HEADER "{\"type\":\"fault\",\"index\":4,\"fault\":{}}\n", "fault 4" },
        { HEADER "{\"type\":\"end\",\"verdict\":\"?\"}\n", "verdict: '?'" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct result *r = NULL;
        struct err err = { 0 };
        assert_true(result_from_rows(bad[i].text, strlen(bad[i].text), &r, &err) < 0);
        assert_null(r);
        if (!strstr(err.msg, bad[i].says))
            fail_msg("%s\nsays: %s\nwanted: %s", bad[i].text, err.msg, bad[i].says);
    }
}

static void lines_of_a_newer_writer_are_skipped(void **state)
{
    static const char text[] = HEADER "{\"type\":\"weather\",\"rain\":true}\n"
                                      "{\"type\":\"second\",\"t_ms\":0,\"phase\":0}\n";
    auto(result) struct result *r = NULL;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(result_from_rows(text, sizeof(text) - 1, &r, &err), 0);
    assert_int_equal(r->n_rows, 1);
}

static void a_place_that_cannot_be_written_is_told_at_once(void **state)
{
    struct err err = { 0 };

    (void)state;
    assert_null(rows_observer_new("/proc/nowhere/rows.ndjson", &err));
    assert_non_null(strstr(err.msg, "/proc/nowhere"));
}

static void a_full_disk_is_told_at_the_end(void **state)
{
    struct sample_run s;
    struct err err = { 0 };

    (void)state;
    sample_init(&s);
    struct observer *o = rows_observer_new("/dev/full", &err);
    assert_non_null(o);
    assert_true(sample_play(&s, o, SIZE_MAX, &err) < 0);
    assert_non_null(strstr(err.msg, "No space left"));
    o->free(o->arg);
    sample_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_finished_run_is_rebuilt_to_the_letter),
        cmocka_unit_test(a_killed_run_keeps_every_whole_second),
        cmocka_unit_test(phases_and_endpoints_add_up_to_the_total),
        cmocka_unit_test(a_torn_second_does_not_count),
        cmocka_unit_test(what_is_no_rows_file_is_refused_by_line),
        cmocka_unit_test(lines_of_a_newer_writer_are_skipped),
        cmocka_unit_test(a_place_that_cannot_be_written_is_told_at_once),
        cmocka_unit_test(a_full_disk_is_told_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
