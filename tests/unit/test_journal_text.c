/* The journal's text: what a reader makes of every kind of damage. */
#include "tests/unit/journal_lines.h"

static const struct {
    const char *records;
    const char *open; /* the numbers that are still open, newest first */
    bool ended;
} good[] = {
    { "", "", false },
    { BEGIN, "", false },
    { BEGIN INTENT(1), "1", false },
    { BEGIN INTENT(1) MARK("applied", 1), "1", false },
    { BEGIN INTENT(1) MARK("applied", 1) MARK("reverting", 1), "1", false },
    { BEGIN INTENT(1) MARK("applied", 1) MARK("reverted", 1), "", false },
    { BEGIN INTENT(1) MARK("not_applied", 1), "", false },
    { BEGIN INTENT(1) MARK("orphan", 1), "1", false },
    { BEGIN INTENT(1) INTENT(2) INTENT(3), "321", false },
    { BEGIN INTENT(1) INTENT(2) INTENT(3) MARK("reverted", 2), "31", false },
    { BEGIN INTENT(2) INTENT(1), "21", false }, /* two threads */
    { BEGIN INTENT(1) MARK("reverted", 1) MARK("reverted", 1), "",
      false }, /* guardian and runner */
    { BEGIN INTENT(1) MARK("reverted", 1) END, "", true },
};

static void good_texts_are_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        auto_free char *text = lines_of(good[i].records);
        struct journal_scan scan = { 0 };
        struct err err = { 0 };
        char open[16] = "";
        if (journal_parse(text, strlen(text), &scan, &err) < 0)
            fail_msg("%zu: %s", i, err.msg);
        for (const struct json *j = json_first(scan.open); j; j = json_next(j))
            snprintf(open + strlen(open), 4, "%u", (unsigned)json_u64(j, "seq", 0));
        assert_string_equal(open, good[i].open);
        assert_int_equal(scan.ended, good[i].ended);
        assert_false(scan.torn);
        if (*good[i].records)
            assert_string_equal(scan.run_id, "r1");
        journal_scan_done(&scan);
    }
}

static const struct {
    const char *records, *message;
} bad[] = {
    { BEGIN MARK("applied", 1),
      "journal line 2: 'applied' of record 1, which was never announced" },
    { BEGIN MARK("reverted", 1) INTENT(1),
      "journal line 2: 'reverted' of record 1, which was never announced" },
    { BEGIN INTENT(1) INTENT(1), "journal line 3: record 1 was announced before" },
    { BEGIN "{\"type\":\"intent\",\"kind\":\"pause\",\"backend\":\"process\"}",
      "journal line 2: an intent without seq, kind or backend" },
    { BEGIN "{\"type\":\"intent\",\"seq\":1,\"backend\":\"process\"}",
      "journal line 2: an intent without seq, kind or backend" },
    { BEGIN "{\"type\":\"surprise\"}", "journal line 2: unknown record type 'surprise'" },
    { BEGIN "{}", "journal line 2: unknown record type ''" },
    { BEGIN "[]", "journal line 2: unknown record type ''" },
    { BEGIN END BEGIN, "journal line 3: a record after the end" },
    { BEGIN END END, "journal line 3: a record after the end" },
};

static void bad_records_name_their_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto_free char *text = lines_of(bad[i].records);
        struct journal_scan scan = { 0 };
        struct err err = { 0 };
        assert_true(journal_parse(text, strlen(text), &scan, &err) < 0);
        assert_string_equal(err.msg, bad[i].message);
        assert_null(scan.open);
    }
}

/* The second of two good lines, damaged. */
static const struct {
    const char *line, *message;
} damaged[] = {
    { "14 00000000 {\"type\":\"end\"}\n", "journal line 2: its checksum does not check out" },
    { "15 00000000 {\"type\":\"end\"}\n", "journal line 2: its length does not check out" },
    { "14 0000000 {\"type\":\"end\"}\n", "journal line 2: its shape does not check out" },
    { "14 0000000g {\"type\":\"end\"}\n", "journal line 2: its shape does not check out" },
    { "14\n", "journal line 2: its shape does not check out" },
    { "14 \n", "journal line 2: its shape does not check out" },
    { "14 00000000\n", "journal line 2: its shape does not check out" },
    { " 14 00000000 x\n", "journal line 2: its shape does not check out" },
    { "-1 00000000 x\n", "journal line 2: its shape does not check out" },
    { "99999999999999999999 00000000 x\n", "journal line 2: its shape does not check out" },
    { "999999 00000000 x\n", "journal line 2: its length does not check out" },
    { "\n", "journal line 2: its shape does not check out" },
    { "0 00000000 \n", "journal line 2" }, /* an empty text is not JSON */
};

static void damaged_lines_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
        auto_free char *first = lines_of(BEGIN);
        auto_free char *text = xasprintf("%s%s", first, damaged[i].line);
        struct journal_scan scan = { 0 };
        struct err err = { 0 };
        assert_true(journal_parse(text, strlen(text), &scan, &err) < 0);
        if (strncmp(err.msg, damaged[i].message, strlen(damaged[i].message)) != 0)
            fail_msg("%zu: %s", i, err.msg);
    }
}

/* Cut anywhere, the whole lines before the cut still count. */
static void a_torn_last_line_is_ignored(void **state)
{
    auto_free char *text = lines_of(BEGIN INTENT(1) INTENT(2));
    const char *second = strchr(text, '\n') + 1, *third = strchr(second, '\n') + 1;

    (void)state;
    for (size_t len = 0; len <= strlen(text); len++) {
        struct journal_scan scan = { 0 };
        struct err err = { 0 };
        size_t valid = 0;
        if (journal_parse_lines(text, len, &scan, &valid, &err) < 0)
            fail_msg("%zu: %s", len, err.msg);
        assert_int_equal(scan.torn, valid != len);
        size_t want = (text + len >= third) + (len == strlen(text));
        assert_int_equal(json_len(scan.open), want);
        journal_scan_done(&scan);
    }
}

static void zeroes_at_the_end_are_a_torn_line(void **state)
{
    auto_free char *good_text = lines_of(BEGIN INTENT(1));
    size_t len = strlen(good_text);
    auto_free char *text = xcalloc(len + 100, 1);
    struct journal_scan scan = { 0 };

    (void)state;
    memcpy(text, good_text, len);
    assert_int_equal(journal_parse(text, len + 100, &scan, NULL), 0);
    assert_true(scan.torn);
    assert_int_equal(json_len(scan.open), 1);
    journal_scan_done(&scan);
}

static void limits_have_names(void **state)
{
    auto_buf struct buf out = BUF_INIT(0);
    auto(json) struct json *big = json_object();
    auto_free char *filler = xcalloc(JOURNAL_LINE_MAX + 1, 1);
    struct err err = { 0 };

    (void)state;
    memset(filler, 'x', JOURNAL_LINE_MAX);
    json_put_str(big, "type", filler);
    assert_true(journal_line(big, &out, &err) < 0);
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_non_null(strstr(err.msg, "longer than the maximum of 65536"));

    auto_free char *line = lines_of(BEGIN);
    auto_buf struct buf many = BUF_INIT(0);
    for (unsigned i = 0; i <= JOURNAL_RECORDS_MAX; i++)
        buf_adds(&many, line);
    struct journal_scan scan = { 0 };
    assert_true(journal_parse(many.data, many.len, &scan, &err) < 0);
    assert_string_equal(err.msg, "the journal has more than 100000 records");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_texts_are_understood),
        cmocka_unit_test(bad_records_name_their_line),
        cmocka_unit_test(damaged_lines_are_refused),
        cmocka_unit_test(a_torn_last_line_is_ignored),
        cmocka_unit_test(zeroes_at_the_end_are_a_torn_line),
        cmocka_unit_test(limits_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
