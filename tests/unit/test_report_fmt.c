/* Numbers as people read them, and foreign text that must not do anything but be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "campaign/report_fmt.h"
#include "campaign/text_table.h"

static void times_have_three_digits_and_a_unit(void **state)
{
    static const struct {
        uint64_t ns;
        const char *want;
    } rows[] = {
        { 0, "0 ms" },
        { 420000, "0.42 ms" },
        { 9990000, "9.99 ms" },
        { 12345678, "12.3 ms" },
        { 999400000, "999 ms" },
        { 999900000, "1.00 s" },
        { 1240000000, "1.24 s" },
        { UINT64_C(12340000000), "12.3 s" },
        { UINT64_C(125000000000), "2 m 05 s" },
        { UINT64_C(3720000000000), "1 h 02 m" },
        { T_NONE, "–" },
    };
    char out[FMT_LEN];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(fmt_time(rows[i].ns, out), rows[i].want);
}

static void counts_shares_and_rates(void **state)
{
    char out[FMT_LEN];

    (void)state;
    assert_string_equal(fmt_count(0, out), "0");
    assert_string_equal(fmt_count(999, out), "999");
    assert_string_equal(fmt_count(1234567, out), "1,234,567");
    assert_string_equal(fmt_count(UINT64_MAX, out), "18,446,744,073,709,551,615");
    assert_string_equal(fmt_share(0, out), "0 %");
    assert_string_equal(fmt_share(0.00004, out), "0.004 %");
    assert_string_equal(fmt_share(0.0125, out), "1.25 %");
    assert_string_equal(fmt_share(0.5, out), "50.0 %");
    assert_string_equal(fmt_share(1, out), "100 %");
    assert_string_equal(fmt_share(0 / 1.0, out), "0 %");
    assert_string_equal(fmt_rate(0.5, out), "0.50/s");
    assert_string_equal(fmt_rate(103.4, out), "103/s");
    assert_string_equal(fmt_rate(1.0e300, out), "0/s");
    assert_string_equal(fmt_bytes(1536, out), "1.5 KiB");
}

static void what_is_below_the_resolution_is_told_so(void **state)
{
    char out[FMT_LEN];

    (void)state;
    assert_string_equal(fmt_found(0, 100 * NS_PER_MS, out), "< 100 ms");
    assert_string_equal(fmt_found(100 * NS_PER_MS, 100 * NS_PER_MS, out), "100 ms");
    assert_string_equal(fmt_found(T_NONE, 100 * NS_PER_MS, out), "–");
    assert_string_equal(fmt_found(0, 0, out), "0 ms");
}

static void a_run_is_called_by_its_name_or_its_target(void **state)
{
    static char name[] = "checkout", unnamed[] = "unnamed", target[] = "http://shop";
    static const struct {
        struct result r;
        const char *want;
    } rows[] = {
        { { .name = name, .target = target }, "checkout" },
        { { .name = unnamed, .target = target }, "load on http://shop" },
        { { .target = target }, "load on http://shop" },
        { { 0 }, "unnamed run" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_buf struct buf out = BUF_INIT(0);
        run_title(&rows[i].r, &out);
        assert_string_equal(buf_str(&out), rows[i].want);
    }
}

static void a_threshold_value_is_written_in_its_unit(void **state)
{
    static const struct {
        double value;
        const char *unit, *want;
    } rows[] = {
        { 812, "ms", "812 ms" }, { 0.0084, "ratio", "0.84 %" }, { 120, "/s", "120/s" },
        { 17, "", "17" },        { 17.25, "", "17.25" },        { 17, NULL, "17" },
        { -1, "ms", "-1 ms" },
    };
    char out[FMT_LEN];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(fmt_value(rows[i].value, rows[i].unit, out), rows[i].want);
}

typedef void text_fn(struct buf *out, const char *s);

static void foreign_text_is_harmless(void **state)
{
    static const struct {
        text_fn *write;
        const char *in, *want;
    } rows[] = {
        { text_plain, "a\033[31mb\nc\x7f", "a [31mb c " },
        { text_plain,
          "\xc2\x9b"
          "31m",
          " 31m" },                                        /* C1: an escape sequence without ESC */
        { text_plain, "\xe2\x80\xaegnp.exe", " gnp.exe" }, /* right-to-left override */
        { text_plain, "caf\xc3\xa9 \xf0\x9f\x94\xa5", "caf\xc3\xa9 \xf0\x9f\x94\xa5" },
        { text_plain, "\xff\xc3", "\xef\xbf\xbd\xef\xbf\xbd" },
        { text_plain, "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },                 /* overlong slash */
        { text_plain, "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* surrogate */
        { text_plain, NULL, "" },
        { text_html, "<a href=\"x\">'&", "&lt;a href=&#34;x&#34;&gt;&#39;&amp;" },
        { text_xml, "a\nb\1", "a&#10;b " },
        { text_xml, "\xef\xbf\xbf", " " }, /* U+FFFF is no XML */
        { text_markdown, "a|b `c` <d> [e](f) @g",
          "a&#124;b &#96;c&#96; &lt;d&gt; &#91;e&#93;(f) "
          "&#64;g" },
        { json_for_script, "\"</script><!--&\"", "\"\\u003c/script\\u003e\\u003c!--\\u0026\"" },
        { text_utf8, "a\033\xff", "a\033\xef\xbf\xbd" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_buf struct buf out = BUF_INIT(0);
        rows[i].write(&out, rows[i].in);
        assert_string_equal(buf_str(&out), rows[i].want);
    }
}

static void texts_are_cut_by_columns_not_bytes(void **state)
{
    static const struct {
        const char *in;
        size_t width;
        const char *want;
    } rows[] = {
        { "short", 10, "short" },  { "exactly", 7, "exactly" },
        { "too long", 4, "too…" }, { "ééééé", 3, "éé…" },
        { "ab", 1, "…" },          { "ab", 0, "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_buf struct buf out = BUF_INIT(0);
        text_fit(&out, rows[i].in, rows[i].width);
        assert_string_equal(buf_str(&out), rows[i].want);
    }
}

static const struct text_col cols[] = {
    { "", true, 0 }, { "first", false, 0 }, { "second", false, 2 }, { "third", true, 1 }
};

static char *table_text(unsigned width)
{
    auto_table struct text_table t = { 0 };
    struct buf out = BUF_INIT(0);

    text_table_init(&t, cols, ARRAY_LEN(cols));
    static const char *const cells[] = {
        "a rather long name", "1", "22", "x", "b", "4444444", "5", "yy"
    };
    for (size_t i = 0; i < ARRAY_LEN(cells); i++)
        text_table_add(&t, cells[i], NULL);
    text_table_print(&t, 0, width, false, &out);
    return buf_take(&out);
}

static void a_table_gives_up_columns_by_importance_then_cuts_names(void **state)
{
    auto_free char *wide = table_text(80), *medium = table_text(32), *narrow = table_text(26),
                   *tiny = table_text(10);

    (void)state;
    assert_string_equal(wide, "                      first  second  third\n"
                              "a rather long name        1      22  x\n"
                              "b                   4444444       5  yy\n");
    assert_null(strstr(medium, "second"));
    assert_non_null(strstr(medium, "third"));
    assert_null(strstr(narrow, "third"));
    assert_non_null(strstr(narrow, "4444444"));
    assert_non_null(strstr(tiny, "4444444")); /* what must stay stays, even when too wide */
    for (const char *line = narrow; *line; line = strchr(line, '\n') + 1) {
        auto_free char *one = xstrndup(line, strcspn(line, "\n"));
        assert_true(text_width(one) <= 26);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_have_three_digits_and_a_unit),
        cmocka_unit_test(counts_shares_and_rates),
        cmocka_unit_test(what_is_below_the_resolution_is_told_so),
        cmocka_unit_test(a_run_is_called_by_its_name_or_its_target),
        cmocka_unit_test(a_threshold_value_is_written_in_its_unit),
        cmocka_unit_test(foreign_text_is_harmless),
        cmocka_unit_test(texts_are_cut_by_columns_not_bytes),
        cmocka_unit_test(a_table_gives_up_columns_by_importance_then_cuts_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
