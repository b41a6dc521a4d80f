/* Units are read strictly: each table says what is taken and, for what is not, the exact sentence.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/parse.h"

#define S NS_PER_SEC
#define MS NS_PER_MS

static void durations_with_units_are_exact(void **state)
{
    static const struct {
        const char *in;
        uint64_t want;
    } rows[] = {
        { "0", 0 },
        { "0s", 0 },
        { "1ns", 1 },
        { "7us", 7000 },
        { "7\xc2\xb5s", 7000 },
        { "7\xce\xbcs", 7000 },
        { "500ms", 500 * MS },
        { "2s", 2 * S },
        { "1.5s", 1500 * MS },
        { "0.1s", 100 * MS },
        { ".5s", 500 * MS },
        { "1.000000001s", S + 1 },
        { "1h30m", 5400 * S },
        { "1d2h3m4s5ms6us7ns", 93784 * S + 5006007 },
        { "0.5h", 1800 * S },
        { "366d", DURATION_MAX_NS },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t got = 0;
        struct err err = { 0 };
        assert_int_equal(parse_duration(rows[i].in, PARSE_UNIT, &got, &err), 0);
        assert_int_equal(got, rows[i].want);
    }
}

static void wrong_durations_are_refused_with_the_remedy(void **state)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        { "", "a duration is missing: write it like 500ms, 1.5s or 1h30m" },
        { "200", "'200' needs a unit: write 200ms or 200s" },
        { "1.5", "'1.5' needs a unit: write 1.5ms or 1.5s" },
        { "-1s", "'-1s' is negative: write a duration like 500ms, 1.5s or 1h30m" },
        { "soon", "'soon' is not a duration: write it like 500ms, 1.5s or 1h30m" },
        { "5sec", "'5sec' has the unknown unit 'sec': use ns us ms s m h d" },
        { "5S", "'5S' has the unknown unit 'S': use ns us ms s m h d" },
        { "1h junk", "'1h junk' has the unknown unit 'h junk': use ns us ms s m h d" },
        { "1s ", "'1s ' has the unknown unit 's ': use ns us ms s m h d" },
        { "1h30", "'1h30' has a number without a unit: write it like 500ms, 1.5s or 1h30m" },
        { "30m1h", "'30m1h' is out of order: write large units first, like 500ms, 1.5s or 1h30m" },
        { "1s1s", "'1s1s' is out of order: write large units first, like 500ms, 1.5s or 1h30m" },
        { "1.s", "'1.s' is not a duration: write it like 500ms, 1.5s or 1h30m" },
        { "1.2.3s", "'1.2.3s' has a number without a unit: write it like 500ms, 1.5s or 1h30m" },
        { "1.5ns", "'1.5ns' is finer than a nanosecond" },
        { "367d", "'367d' is more than 366d" },
        { "366d1ns", "'366d1ns' is more than 366d" },
        { "99999999999999999999s",
          "'99999999999999999999s' is not a duration: write it like 500ms, 1.5s or 1h30m" },
        { "1844674407370955161d", "'1844674407370955161d' is more than 366d" },
        { "infs", "'infs' is not a duration: write it like 500ms, 1.5s or 1h30m" },
        { "0x10s", "'0x10s' has the unknown unit 'x': use ns us ms s m h d" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t got = 77;
        struct err err = { 0 };
        assert_int_not_equal(parse_duration(rows[i].in, PARSE_UNIT, &got, &err), 0);
        assert_string_equal(err.msg, rows[i].want);
        assert_int_equal(err.kind, ERR_USAGE);
        assert_int_equal(got, 77);
    }
}

static void flags_may_leave_the_seconds_out(void **state)
{
    uint64_t ns = 0;
    double rate = 0;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(parse_duration("90", PARSE_BARE_SECONDS, &ns, &err), 0);
    assert_int_equal(ns, 90 * S);
    assert_int_equal(parse_duration("1.5", PARSE_BARE_SECONDS, &ns, &err), 0);
    assert_int_equal(ns, 1500 * MS);
    assert_int_equal(parse_rate("10", PARSE_BARE_SECONDS, &rate, &err), 0);
    assert_true(rate == 10);
    assert_int_not_equal(parse_duration("1h30", PARSE_BARE_SECONDS, &ns, &err), 0);
    assert_int_not_equal(parse_duration("31622401", PARSE_BARE_SECONDS, &ns, &err), 0);
    assert_string_equal(err.msg, "'31622401' is not a duration of at most 366d");
}

static void duration_text_is_read_back_as_the_same(void **state)
{
    static const struct {
        uint64_t ns;
        const char *want;
    } rows[] = {
        { 0, "0s" },
        { 1, "1ns" },
        { 15000, "15us" },
        { 1500000, "1.5ms" },
        { 200 * MS, "200ms" },
        { 1500 * MS, "1.5s" },
        { 150 * S, "2m30s" },
        { 3600 * S, "1h" },
        { 5400 * S, "1h30m" },
        { 86400 * S, "1d" },
        { 90500 * MS, "1m30.5s" },
        { S + 1, "1.000000001s" },
        { 60 * S + 5 * MS, "1m5ms" },
        { DURATION_MAX_NS, "366d" },
    };
    char text[DURATION_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t back = 1;
        assert_string_equal(duration_text(rows[i].ns, text), rows[i].want);
        assert_int_equal(parse_duration(text, PARSE_UNIT, &back, NULL), 0);
        assert_int_equal(back, rows[i].ns);
    }
    assert_non_null(duration_text(UINT64_MAX, text));
}

static void rates_are_per_second(void **state)
{
    static const struct {
        const char *in;
        double want;
    } rows[] = { { "500/s", 500 }, { "30/m", 0.5 },  { "3600/h", 1 }, { "0.5/ms", 500 },
                 { "0", 0 },       { "86400/d", 1 }, { "2/us", 2e6 } };
    static const struct {
        const char *in, *want;
    } bad[] = {
        { "500", "'500' needs a unit: write 500/s or 500/m" },
        { "500rps", "'500rps' has the unknown unit 'rps': use /s /m /h, like 500/s" },
        { "/s", "'/s' is not a rate: write it like 500/s or 30/m" },
        { "", "a rate is missing: write it like 500/s or 30/m" },
        { "-5/s", "'-5/s' is negative: write a rate like 500/s or 30/m" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double got = -1;
        assert_int_equal(parse_rate(rows[i].in, PARSE_UNIT, &got, NULL), 0);
        assert_true(fabs(got - rows[i].want) < 1e-9 * (1 + rows[i].want));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        double got = 0;
        struct err err = { 0 };
        assert_int_not_equal(parse_rate(bad[i].in, PARSE_UNIT, &got, &err), 0);
        assert_string_equal(err.msg, bad[i].want);
    }
}

typedef int whole_fn(const char *s, uint64_t *ret, struct err *err);

static void sizes_and_bandwidths_are_exact(void **state)
{
    static const struct {
        whole_fn *parse;
        const char *in;
        uint64_t want;
    } rows[] = {
        { parse_size, "0", 0 },
        { parse_size, "512B", 512 },
        { parse_size, "64KiB", 65536 },
        { parse_size, "0.5KiB", 512 },
        { parse_size, "10MB", 10000000 },
        { parse_size, "1kB", 1000 },
        { parse_size, "1.5GB", 1500000000 },
        { parse_size, "2GiB", UINT64_C(2) << 30 },
        { parse_bandwidth, "0", 0 },
        { parse_bandwidth, "512kbit", 512000 },
        { parse_bandwidth, "10mbit", 10000000 },
        { parse_bandwidth, "10Mbps", 10000000 },
        { parse_bandwidth, "1.5gbit", 1500000000 },
        { parse_bandwidth, "1MB/s", 8000000 },
        { parse_bandwidth, "1KiB/s", 8192 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t got = 1;
        assert_int_equal(rows[i].parse(rows[i].in, &got, NULL), 0);
        assert_int_equal(got, rows[i].want);
    }
}

static void wrong_sizes_and_bandwidths_are_refused(void **state)
{
    static const struct {
        whole_fn *parse;
        const char *in, *want;
    } rows[] = {
        { parse_size, "100", "'100' needs a unit: write it like 512B, 64KiB or 10MB" },
        { parse_size, "", "a size is missing: write it like 512B, 64KiB or 10MB" },
        { parse_size, "1Mb",
          "'1Mb' has the unknown unit 'Mb': use B KB MB GB (1000) or KiB MiB GiB (1024)" },
        { parse_size, "0.5B", "'0.5B' is not a whole number of bytes" },
        { parse_size, "99999999999TB", "'99999999999TB' is too large" },
        { parse_bandwidth, "100", "'100' needs a unit: write it like 512kbit, 10mbit or 1MB/s" },
        { parse_bandwidth, "1MB",
          "'1MB' has the unknown unit 'MB': use bit kbit mbit gbit (bits "
          "per second) or B/s KB/s MB/s KiB/s MiB/s" },
        { parse_bandwidth, "0.3bit", "'0.3bit' is not a whole number of bits per second" },
        { parse_bandwidth, "-1mbit",
          "'-1mbit' is negative: write a bandwidth like 512kbit, 10mbit or 1MB/s" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t got = 0;
        struct err err = { 0 };
        assert_int_not_equal(rows[i].parse(rows[i].in, &got, &err), 0);
        assert_string_equal(err.msg, rows[i].want);
    }
}

static void percents_become_fractions(void **state)
{
    static const struct {
        const char *in, *problem;
        double want;
    } rows[] = {
        { "5%", NULL, 0.05 },
        { "0.5%", NULL, 0.005 },
        { "100%", NULL, 1 },
        { "0", NULL, 0 },
        { "5", "'5' needs a unit: write 5%", 0 },
        { "101%", "'101%' is more than 100%", 0 },
        { "5 %", "'5 %' is not a percentage: write it like 5% or 0.5%", 0 },
        { "-5%", "'-5%' is negative: write a percentage like 5% or 0.5%", 0 },
        { "", "a percentage is missing: write it like 5% or 0.5%", 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double got = 0;
        struct err err = { 0 };
        int rc = parse_percent(rows[i].in, &got, &err);
        assert_string_equal(err.msg, rows[i].problem ? rows[i].problem : "");
        assert_int_equal(rc < 0, rows[i].problem != NULL);
        assert_true(fabs(got - rows[i].want) < 1e-12);
    }
}

static void whole_numbers_keep_their_bounds(void **state)
{
    static const struct {
        const char *in;
        uint64_t lo, hi;
        const char *problem;
        uint64_t want;
    } rows[] = {
        { "7", 1, 10, NULL, 7 },
        { "18446744073709551615", 0, UINT64_MAX, NULL, UINT64_MAX },
        { "ten", 1, 10, "'ten' is not a whole number in 1..10", 0 },
        { "", 1, 10, "'' is not a whole number in 1..10", 0 },
        { "1.0", 0, UINT64_MAX, "'1.0' is not a whole number", 0 },
        { " 1", 0, UINT64_MAX, "' 1' is not a whole number", 0 },
        { "+1", 0, UINT64_MAX, "'+1' is not a whole number", 0 },
        { "11", 1, 10, "'11' is not in 1..10", 0 },
        { "-1", 0, 10, "'-1' is not in 0..10", 0 },
        { "18446744073709551616", 0, 10, "'18446744073709551616' is not in 0..10", 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t got = 0;
        struct err err = { 0 };
        int rc = parse_u64(rows[i].in, rows[i].lo, rows[i].hi, &got, &err);
        assert_string_equal(err.msg, rows[i].problem ? rows[i].problem : "");
        assert_int_equal(rc < 0, rows[i].problem != NULL);
        assert_int_equal(got, rows[i].want);
    }
}

static void signed_numbers_reach_both_ends(void **state)
{
    int64_t got = 0;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(parse_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &got, &err), 0);
    assert_true(got == INT64_MIN);
    assert_int_not_equal(parse_i64("9223372036854775808", INT64_MIN, INT64_MAX, &got, &err), 0);
    assert_int_not_equal(parse_i64("--1", -5, 5, &got, &err), 0);
    assert_string_equal(err.msg, "'--1' is not a whole number in -5..5");
    assert_int_not_equal(parse_i64("-6", -5, 5, &got, &err), 0);
    assert_string_equal(err.msg, "'-6' is not in -5..5");
}

static void doubles_are_plain_decimal(void **state)
{
    static const struct {
        const char *in;
        bool ok;
        double want;
    } rows[] = {
        { "1", true, 1 },      { "-1.5", true, -1.5 },    { "+2", true, 2 },
        { "1e3", true, 1000 }, { "1.5E-2", true, 0.015 }, { "", false, 0 },
        { "nan", false, 0 },   { "inf", false, 0 },       { "0x10", false, 0 },
        { "1.", false, 0 },    { "1e", false, 0 },        { "1e400", false, 0 },
        { " 1", false, 0 },    { "1.2.3", false, 0 },     { "--1", false, 0 },
        { "1,5", false, 0 },   { "-", false, 0 },         { "1e5x", false, 0 },
        { ".5", true, 0.5 },   { "5000", false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double got = 0;
        struct err err = { 0 };
        assert_int_equal(parse_double(rows[i].in, -2000, 2000, &got, &err) == 0, rows[i].ok);
        assert_true(got == rows[i].want);
        assert_int_equal(err_is_set(&err), !rows[i].ok);
    }
}

static void booleans_have_six_words(void **state)
{
    static const struct {
        const char *in;
        int want; /* -1: refused */
    } rows[] = { { "true", 1 }, { "yes", 1 },  { "on", 1 }, { "false", 0 }, { "no", 0 },
                 { "off", 0 },  { "True", 1 }, { "1", -1 }, { "", -1 },     { "y", -1 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool got = false;
        int rc = parse_bool(rows[i].in, &got, NULL);
        assert_int_equal(rc < 0, rows[i].want < 0);
        assert_int_equal(got, rows[i].want > 0);
    }
}

static void utf8_is_judged_strictly(void **state)
{
    static const struct {
        const char *bytes;
        bool ok;
    } rows[] = {
        { "", true },
        { "plain", true },
        { "\xc3\xa9", true },
        { "\xe2\x82\xac", true },
        { "\xf0\x9f\x98\x80", true },
        { "\xf4\x8f\xbf\xbf", true },
        { "\x80", false },
        { "\xc3", false },
        { "\xc0\xaf", false },             /* overlong */
        { "\xe0\x80\xaf", false },         /* overlong */
        { "\xf0\x80\x80\xaf", false },     /* overlong */
        { "\xed\xa0\x80", false },         /* surrogate */
        { "\xf4\x90\x80\x80", false },     /* above U+10FFFF */
        { "\xf8\x88\x80\x80\x80", false }, /* five bytes */
        { "\xff", false },
        { "a\xe2\x82", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(utf8_is_valid(rows[i].bytes, strlen(rows[i].bytes)), rows[i].ok);
    assert_true(utf8_is_valid("a\0b", 3));
}

static void the_nearest_name_is_within_two_edits(void **state)
{
    static const char *const names[] = { "delay", "jitter", "direction", "percent", "at" };
    static const struct {
        const char *word, *want;
    } rows[] = {
        { "dela", "delay" },    { "dealy", "delay" },
        { "jiter", "jitter" },  { "derection", "direction" },
        { "percentage", NULL }, { "bandwidth", NULL },
        { "x", NULL },          { "", NULL },
        { "ta", "at" },         { "a", NULL },
        { "Delay", "delay" },
    };
    char far[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *got = nearest_name(rows[i].word, names, ARRAY_LEN(names));
        if (rows[i].want)
            assert_string_equal(got, rows[i].want);
        else
            assert_null(got);
    }
    memset(far, 'd', sizeof(far));
    far[sizeof(far) - 1] = '\0';
    assert_null(nearest_name(far, names, ARRAY_LEN(names)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_with_units_are_exact),
        cmocka_unit_test(wrong_durations_are_refused_with_the_remedy),
        cmocka_unit_test(flags_may_leave_the_seconds_out),
        cmocka_unit_test(duration_text_is_read_back_as_the_same),
        cmocka_unit_test(rates_are_per_second),
        cmocka_unit_test(sizes_and_bandwidths_are_exact),
        cmocka_unit_test(wrong_sizes_and_bandwidths_are_refused),
        cmocka_unit_test(percents_become_fractions),
        cmocka_unit_test(whole_numbers_keep_their_bounds),
        cmocka_unit_test(signed_numbers_reach_both_ends),
        cmocka_unit_test(doubles_are_plain_decimal),
        cmocka_unit_test(booleans_have_six_words),
        cmocka_unit_test(utf8_is_judged_strictly),
        cmocka_unit_test(the_nearest_name_is_within_two_edits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
