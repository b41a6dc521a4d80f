/* Errors carry a kind, a code and a sentence that grows on the way up and never overflows. Log
 * lines keep their form. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

static void setting_returns_the_negative_code(void **state)
{
    struct err err = { 0 };

    (void)state;
    assert_false(err_is_set(&err));
    assert_int_equal(err_set(&err, ERR_USAGE, EINVAL, "users: '%s' is wrong", "x"), -EINVAL);
    assert_int_equal(err.kind, ERR_USAGE);
    assert_int_equal(err.code, EINVAL);
    assert_string_equal(err.msg, "users: 'x' is wrong");
    assert_int_equal(err_set(&err, ERR_GENERIC, 0, "no code"), -EIO);
    assert_int_equal(err_set(&err, ERR_GENERIC, -ENOENT, "negative"), -ENOENT);
    assert_int_equal(err_set(NULL, ERR_GENERIC, EPERM, "nobody listens"), -EPERM);
    err_clear(&err);
    assert_false(err_is_set(&err));
    err_clear(NULL);
}

static void system_errors_say_why(void **state)
{
    struct err err = { 0 };

    (void)state;
    assert_int_equal(err_sys(&err, ERR_PREPARE, ENOENT, "open '%s'", "a"), -ENOENT);
    assert_string_equal(err.msg, "open 'a': No such file or directory");
}

static void wrapping_puts_the_deed_in_front(void **state)
{
    struct err err = { 0 };

    (void)state;
    err_set(&err, ERR_TARGET, ESRCH, "no such process");
    assert_int_equal(err_wrap(&err, "kill %s", "shop"), -ESRCH);
    assert_string_equal(err.msg, "kill shop: no such process");
    assert_int_equal(err.kind, ERR_TARGET);
    assert_int_equal(err_wrap(NULL, "x"), -EIO);
}

static void long_sentences_are_cut_not_overrun(void **state)
{
    struct err err = { 0 };
    char big[2 * ERR_MSG_MAX];

    (void)state;
    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    err_set(&err, ERR_GENERIC, EIO, "%s", big);
    assert_int_equal(strlen(err.msg), ERR_MSG_MAX - 1);
    err_wrap(&err, "%s", big);
    assert_in_range(strlen(err.msg), ERR_MSG_MAX - 4, ERR_MSG_MAX - 1);
    err_sys(&err, ERR_GENERIC, EIO, "%s", big);
    assert_in_range(strlen(err.msg), ERR_MSG_MAX - 4, ERR_MSG_MAX - 1);
}

static void every_kind_has_a_name(void **state)
{
    (void)state;
    for (int k = ERR_GENERIC; k < ERR_KIND_MAX; k++)
        assert_true(strlen(err_kind_name((enum err_kind)k)) > 0);
    assert_string_equal(err_kind_name(ERR_NONE), "");
}

static void catch_line(void *arg, const char *line, size_t len)
{
    buf_add(arg, line, len);
}

static void log_lines_are_text_or_json(void **state)
{
    auto_buf struct buf lines = BUF_INIT(0);

    (void)state;
    log_set_sink(catch_line, &lines);
    log_setup(LOG_INFO, LOG_TEXT, false);
    log_info("fault.inject", "name=%s", "kill");
    assert_non_null(strstr(buf_str(&lines), " info  fault.inject name=kill\n"));
    log_debug("quiet", "must not appear");
    assert_null(strstr(buf_str(&lines), "quiet"));
    buf_clear(&lines);
    log_setup(LOG_DEBUG, LOG_JSON, false);
    log_debug("a.b", "quote \" backslash \\ newline \n");
    assert_non_null(strstr(buf_str(&lines), "\"level\":\"debug\",\"event\":\"a.b\",\"message\":"
                                            "\"quote \\\" backslash \\\\ newline \\u000a\"}\n"));
    log_set_sink(NULL, NULL);
}

static void instants_are_written_as_iso_8601(void **state)
{
    char text[CLOCK_ISO_LEN];

    (void)state;
    clock_iso(UINT64_C(1700000000123456789), text);
    assert_string_equal(text, "2023-11-14T22:13:20.123Z");
    clock_iso(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    assert_true(ns_to_ms(1500000) == 1.5 && ns_to_sec(NS_PER_SEC / 2) == 0.5);
}

static void sleeping_until_an_instant_is_not_short(void **state)
{
    uint64_t begin = clock_now_ns();

    (void)state;
    clock_sleep_until(begin + 5 * NS_PER_MS);
    assert_true(clock_now_ns() >= begin + 5 * NS_PER_MS);
    clock_sleep_until(begin); /* has passed: returns */
    assert_true(clock_process_cpu_ns() >= clock_cpu_ns() / 2);
    assert_true(clock_wall_ns() > UINT64_C(1600000000) * NS_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setting_returns_the_negative_code),
        cmocka_unit_test(system_errors_say_why),
        cmocka_unit_test(wrapping_puts_the_deed_in_front),
        cmocka_unit_test(long_sentences_are_cut_not_overrun),
        cmocka_unit_test(every_kind_has_a_name),
        cmocka_unit_test(log_lines_are_text_or_json),
        cmocka_unit_test(instants_are_written_as_iso_8601),
        cmocka_unit_test(sleeping_until_an_instant_is_not_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
