/* JSON trees: what is put is found and printed; what is not JSON is refused with its place. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "edge/json.h"

static struct json *parse(const char *text)
{
    struct json *j = NULL;
    struct err err = { 0 };

    assert_int_equal(json_parse(text, strlen(text), &j, &err), 0);
    return j;
}

static void what_is_put_is_printed(void **state)
{
    auto(json) struct json *j = json_object();
    struct json *list = json_put(j, "list", json_array());

    (void)state;
    json_put_str(j, "s", "a\"b\n");
    json_put_str(j, "none", NULL);
    json_put_num(j, "n", 1.5);
    json_put_num(j, "nan", (double)NAN);
    json_put_num(j, "inf", (double)INFINITY);
    json_put_u64(j, "big", UINT64_C(1) << 53);
    json_put_bool(j, "t", true);
    json_put_null(j, "z");
    json_put_u64(list, NULL, 1);
    json_put_str(list, NULL, "x");
    json_put_bool(list, NULL, false);
    auto_free char *text = json_print(j, false);
    assert_string_equal(text, "{\"list\":[1,\"x\",false],\"s\":\"a\\\"b\\n\",\"none\":null,"
                              "\"n\":1.5,\"nan\":null,\"inf\":null,\"big\":9007199254740992,"
                              "\"t\":true,\"z\":null}");
    auto_free char *pretty = json_print(j, true);
    assert_non_null(strchr(pretty, '\n'));
    auto_free char *nothing = json_print(NULL, false);
    assert_string_equal(nothing, "null");
}

static void numbers_survive_a_round_trip(void **state)
{
    static const double numbers[] = { 0,      -1, 0.1, 1e-9, 123456.789, 1e300, 9007199254740991.0,
                                      1.0 / 3 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        auto(json) struct json *j = json_object();
        json_put_num(j, "n", numbers[i]);
        auto_free char *text = json_print(j, false);
        auto(json) struct json *back = parse(text);
        assert_true(json_num(back, "n", -7) == numbers[i]);
    }
}

static void paths_lead_through_maps_and_lists(void **state)
{
    auto(json) struct json *j =
        parse("{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\",\"n\":3}],"
              "\"on\":true,\"Spec\":1,\"x\":null,\"neg\":-1,\"half\":2.5}}");

    (void)state;
    assert_string_equal(json_str(j, "spec.containers.1.name", ""), "b");
    assert_int_equal(json_u64(j, "spec.containers.1.n", 0), 3);
    assert_true(json_bool(j, "spec.on", false));
    assert_ptr_equal(json_get(j, ""), j);
    assert_true(json_num(j, "spec.half", 0) == 2.5);
    assert_int_equal(json_len(json_get(j, "spec.containers")), 2);
    static const char *const nowhere[] = { "Spec",
                                           "spec.containers.2",
                                           "spec.containers.-1",
                                           "spec.containers.x",
                                           "spec.on.a",
                                           "spec.containers..n",
                                           "specs",
                                           "spec.containers.99999999999" };
    for (size_t i = 0; i < ARRAY_LEN(nowhere); i++)
        assert_null(json_get(j, nowhere[i]));
    assert_null(json_get(NULL, "a"));
}

static void a_wrong_type_is_absent(void **state)
{
    auto(json) struct json *j =
        parse("{\"s\":\"x\",\"n\":-5,\"b\":false,\"h\":1e30,\"i\":1e999,\"z\":null}");

    (void)state;
    assert_string_equal(json_str(j, "n", "absent"), "absent");
    assert_true(json_num(j, "s", 7) == 7);
    assert_int_equal(json_u64(j, "n", 7), 7);
    assert_int_equal(json_u64(j, "h", 7), 7);
    assert_true(json_num(j, "i", 7) == 7);
    assert_false(json_bool(j, "b", true));
    assert_true(json_bool(j, "s", true));
    assert_true(json_is_null(json_get(j, "z")));
    assert_true(json_is_null(NULL));
    assert_false(json_is_null(j));
    assert_true(json_is_object(j));
    assert_false(json_is_array(j));
    assert_false(json_is_object(NULL));
    assert_int_equal(json_len(json_get(j, "s")), 0);
    assert_null(json_at(json_get(j, "s"), 0));
    assert_null(json_first(json_get(j, "s")));
}

static void walking_meets_each_member_once(void **state)
{
    auto(json) struct json *j = parse("{\"a\":1,\"b\":2,\"c\":3}");
    double sum = 0;
    char keys[4] = "";
    size_t n = 0;

    (void)state;
    for (const struct json *m = json_first(j); m; m = json_next(m)) {
        keys[n++] = json_key(m)[0];
        sum += json_num(m, "", 0);
    }
    assert_string_equal(keys, "abc");
    assert_true(sum == 6);
    assert_string_equal(json_key(json_at(j, 1)), "b");
    assert_null(json_at(j, 3));
    assert_null(json_key(NULL));
    assert_null(json_next(NULL));
}

static void what_is_not_json_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "", "json 1:1: the text ends too early" },
        { "{", "json 1:2: the text ends too early" },
        { "{\"a\":1,\n \"b\":x}", "json 2:6: not JSON from here on" },
        { "[1,]", "json 1:4: not JSON from here on" },
        { "nul", "json 1:1: not JSON from here on" },
        { "{} {}", "json 1:4: more text after the end" },
        { "\"a\\u0000b\"", "json 1:1: a text may not contain \\u0000" },
        { "\"\xff\"", "json: not valid UTF-8" },
        { "'a'", "json 1:1: not JSON from here on" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json *j = NULL;
        struct err err = { 0 };
        assert_int_not_equal(json_parse(rows[i].text, strlen(rows[i].text), &j, &err), 0);
        assert_string_equal(err.msg, rows[i].want);
        assert_null(j);
    }
}

static void a_nul_byte_is_refused(void **state)
{
    struct json *j = NULL;
    struct err err = { 0 };

    (void)state;
    assert_int_not_equal(json_parse("[1]\0", 4, &j, &err), 0);
    assert_string_equal(err.msg, "json 1:4: a NUL byte");
    assert_int_equal(json_parse("[1] \n\t\r ", 8, &j, &err), 0);
    json_free(j);
}

static void depth_has_a_limit(void **state)
{
    char text[4 * JSON_DEPTH_MAX];
    struct json *j = NULL;
    struct err err = { 0 };

    (void)state;
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    assert_int_equal(json_parse(text, (size_t)2 * JSON_DEPTH_MAX, &j, &err), 0);
    json_free(TAKE(j));
    memset(text, '[', sizeof(text));
    assert_int_not_equal(json_parse(text, sizeof(text), &j, &err), 0);
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_string_equal(err.msg, "json 1:65: nested deeper than 64 levels");
    /* Brackets in texts do not count. */
    text[0] = '"';
    text[sizeof(text) - 1] = '"';
    assert_int_equal(json_parse(text, sizeof(text), &j, &err), 0);
    json_free(j);
}

static void quoting_escapes_what_must_be(void **state)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        { "", "\"\"" },
        { "plain", "\"plain\"" },
        { "a\"b\\c", "\"a\\\"b\\\\c\"" },
        { "\n\t\r\b\f", "\"\\n\\t\\r\\b\\f\"" },
        { "\x01\x1f\x7f", "\"\\u0001\\u001f\x7f\"" },
        { "\xe2\x82\xac", "\"\xe2\x82\xac\"" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_buf struct buf out = BUF_INIT(0);
        json_quote(&out, rows[i].in);
        assert_string_equal(buf_str(&out), rows[i].want);
        auto(json) struct json *back = parse(buf_str(&out));
        assert_string_equal(json_str(back, "", NULL), rows[i].in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_printed),
        cmocka_unit_test(numbers_survive_a_round_trip),
        cmocka_unit_test(paths_lead_through_maps_and_lists),
        cmocka_unit_test(a_wrong_type_is_absent),
        cmocka_unit_test(walking_meets_each_member_once),
        cmocka_unit_test(what_is_not_json_is_refused_with_its_place),
        cmocka_unit_test(a_nul_byte_is_refused),
        cmocka_unit_test(depth_has_a_limit),
        cmocka_unit_test(quoting_escapes_what_must_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
