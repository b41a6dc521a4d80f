/* expect and extract: what an answer must be, and what is taken out of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#undef expect_check /* cmocka's macro; ours is a function */

#include "runner/expect.h"
#include "runner/extract.h"

#define HEAD                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nX-Id: 7\r\n" \
    "Set-Cookie: sid=abc; Path=/\r\nLocation: /next\r\nX-Id: 8\r\n\r\n"

static struct answer answer_of(unsigned status, const char *body)
{
    return (struct answer){ .sample = { .status = (uint16_t)status, .bytes_in = sizeof(HEAD) + 99 },
                            .head = HEAD,
                            .head_len = sizeof(HEAD) - 1,
                            .body = body,
                            .body_len = body ? strlen(body) : 0 };
}

static struct strs texts(const char **v, size_t n)
{
    return (struct strs){ v, n };
}

static void statuses(void **state)
{
    static const struct {
        const char *want; /* "" is the default */
        unsigned status;
        bool ok;
    } rows[] = {
        { "", 200, true },        { "", 399, true },         { "", 302, true },
        { "", 400, false },       { "", 503, false },        { "", 0, false },
        { "200", 200, true },     { "200", 201, false },     { "404", 404, true },
        { "2xx", 204, true },     { "2xx", 300, false },     { "5xx", 503, true },
        { "200-204", 204, true }, { "200-204", 205, false }, { "503", 200, false },
        { "599", 599, true },     { "", 600, false },        { "", 999, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena *a = arena_new(0);
        const char *one[] = { rows[i].want };
        struct expect e = { .status = texts(one, *rows[i].want ? 1 : 0) };
        struct answer answer = answer_of(rows[i].status, NULL);
        struct expect_form *f = NULL;
        char why[WHY_MAX] = "";

        assert_int_equal(expect_form_new(a, &e, &f, NULL), 0);
        assert_int_equal(expect_check(f, &answer, 0, why), rows[i].ok ? FAIL_NONE : FAIL_STATUS);
        if (!rows[i].ok) {
            auto_free char *want = xasprintf("status %u", rows[i].status);

            assert_string_equal(why, want);
        }
        expect_form_done(f);
        arena_free(a);
    }
}

static void bad_statuses_and_regexes_are_refused(void **state)
{
    static const char *const bad[] = { "20", "2000", "6xx", "0xx", "xx", "204-200", "200-", "abc" };
    struct arena *a = arena_new(0);
    struct expect regex = { .body_regex = "a[" };
    struct expect_form *f = NULL;
    struct err err = { 0 };
    uint64_t bits[10];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *one[] = { bad[i] };
        struct strs s = texts(one, 1);

        assert_true(expect_status_bits(&s, bits, &err) < 0);
    }
    assert_true(expect_form_new(a, &regex, &f, &err) < 0);
    assert_null(f);
    arena_free(a);
}

struct check_row {
    const char *contains, *not_contains, *regex, *header, *header_value;
    uint64_t max_time_ns, max_body;
    const char *body;
    const char *why; /* NULL: as expected */
};

static const struct check_row checks[] = {
    { .contains = "item", .body = "an item", .why = NULL },
    { .contains = "item", .body = "nothing", .why = "body does not hold 'item'" },
    { .contains = "item", .body = "", .why = "body does not hold 'item'" },
    { .not_contains = "error", .body = "fine", .why = NULL },
    { .not_contains = "error", .body = "an error here", .why = "body holds 'error'" },
    { .regex = "id=[0-9]+$", .body = "x id=12", .why = NULL },
    { .regex = "^id=[0-9]+$", .body = "x id=12", .why = "body does not match '^id=[0-9]+$'" },
    { .header = "content-type", .header_value = "text/html", .body = "", .why = NULL },
    { .header = "X-Id", .header_value = "8", .body = "", .why = NULL }, /* any of several */
    { .header = "X-Id", .header_value = "9", .body = "", .why = "header X-Id does not hold '9'" },
    { .header = "X-None", .header_value = "", .body = "", .why = "header X-None does not hold ''" },
    { .max_time_ns = 5000000, .body = "", .why = NULL },
    { .max_time_ns = 4999999, .body = "", .why = "slower than 4.999999ms" },
    { .max_body = 3, .body = "abc", .why = NULL },
    { .max_body = 3, .body = "abcd", .why = "body larger than 3 bytes" },
    { .max_body = 100, .body = NULL, .why = NULL },
    { .max_body = 99, .body = NULL, .why = "body larger than 99 bytes" },
};

static void checks_of_an_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        const struct check_row *row = &checks[i];
        struct arena *a = arena_new(0);
        const char *contains[] = { row->contains }, *not_contains[] = { row->not_contains };
        const char *names[] = { row->header }, *values[] = { row->header_value };
        struct expect e = { .body_contains = texts(contains, row->contains != NULL),
                            .body_not_contains = texts(not_contains, row->not_contains != NULL),
                            .body_regex = row->regex,
                            .headers = { names, values, row->header != NULL },
                            .max_time_ns = row->max_time_ns,
                            .max_body = row->max_body };
        struct answer answer = answer_of(200, row->body);
        struct expect_form *f = NULL;
        char why[WHY_MAX] = "";

        assert_int_equal(expect_form_new(a, &e, &f, NULL), 0);
        assert_int_equal(expect_needs_body(f), row->contains || row->not_contains || row->regex);
        assert_int_equal(expect_check(f, &answer, 5000000, why),
                         row->why ? FAIL_EXPECTATION : FAIL_NONE);
        assert_string_equal(why, row->why ? row->why : "");
        expect_form_done(f);
        arena_free(a);
    }
}

static void extraction(void **state)
{
    static const struct {
        const char *from, *body, *want; /* NULL: nothing found */
    } rows[] = {
        { "header:Location", "", "/next" },
        { "header:x-id", "", "7" },
        { "header:X-None", "", NULL },
        { "cookie:sid", "", "abc" },
        { "cookie:si", "", NULL },
        { "status", "", "200" },
        { "json:id", "{\"id\":42}", "42" },
        { "json:items.1.name", "{\"items\":[{},{\"name\":\"b\"}]}", "b" },
        { "json:ok", "{\"ok\":true}", "true" },
        { "json:o", "{\"o\":{\"a\":[1,2]}}", "{\"a\":[1,2]}" },
        { "json:none", "{\"id\":42}", NULL },
        { "json:id", "{\"id\":null}", NULL },
        { "json:id", "not json", NULL },
        { "json:id", NULL, NULL },
        { "regex:token=\"([a-z]+)\"", "<x token=\"abc\">", "abc" },
        { "regex:[0-9]+", "a 123 b", "123" },
        { "regex:(x)|y", "y", "y" },
        { "regex:zzz", "y", NULL },
    };
    static const char *const names_v[] = { "v" };
    struct var_names names = { (const char **)(uintptr_t)names_v, NULL, 1 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena *a = arena_new(0);
        const char *key[] = { "v" }, *from[] = { rows[i].from };
        struct pairs p = { key, from, 1 };
        struct answer answer = answer_of(200, rows[i].body);
        struct vars vars = { 0 };
        struct extract_form *f = NULL;
        char why[WHY_MAX] = "";

        assert_int_equal(extract_form_new(a, &p, &names, &f, NULL), 0);
        vars_set(&vars, 1, 0, "before", 6);
        assert_int_equal(extract_apply(f, &answer, &vars, why),
                         rows[i].want ? FAIL_NONE : FAIL_EXPECTATION);
        assert_string_equal(vars_get(&vars, 0), rows[i].want ? rows[i].want : "before");
        if (!rows[i].want) {
            auto_free char *want = xasprintf("nothing to extract for 'v' from %s", rows[i].from);

            assert_string_equal(why, want);
        }
        vars_done(&vars);
        extract_form_done(f);
        arena_free(a);
    }
}

static void what_is_there_is_taken_though_other_is_missing(void **state)
{
    static const char *const names_v[] = { "a", "b", "c" };
    const char *from[] = { "json:a", "json:b", "header:X-Id" };
    struct var_names names = { (const char **)(uintptr_t)names_v, NULL, 3 };
    struct pairs p = { (const char **)(uintptr_t)names_v, from, 3 };
    struct arena *a = arena_new(0);
    struct answer answer = answer_of(200, "{\"a\":1}");
    struct vars vars = { 0 };
    struct extract_form *f = NULL;
    char why[WHY_MAX] = "";

    (void)state;
    assert_int_equal(extract_form_new(a, &p, &names, &f, NULL), 0);
    assert_true(extract_needs_body(f));
    assert_int_equal(extract_apply(f, &answer, &vars, why), FAIL_EXPECTATION);
    assert_string_equal(why, "nothing to extract for 'b' from json:b");
    assert_string_equal(vars_get(&vars, 0), "1");
    assert_string_equal(vars_get(&vars, 2), "7");
    vars_done(&vars);
    extract_form_done(f);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses),
        cmocka_unit_test(bad_statuses_and_regexes_are_refused),
        cmocka_unit_test(checks_of_an_answer),
        cmocka_unit_test(extraction),
        cmocka_unit_test(what_is_there_is_taken_though_other_is_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
