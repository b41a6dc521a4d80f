/* A journal's lines from the JSON of their records, for its tests. */
#ifndef TESTS_UNIT_JOURNAL_LINES_H
#define TESTS_UNIT_JOURNAL_LINES_H

#include "chaoslib/journal_file.h"
#include "tests/unit/fault_fixture.h"

/* Each JSON text, separated by '\n', becomes a good line. */
static char *lines_of(const char *records)
{
    auto_buf struct buf out = BUF_INIT(0);
    auto_free char *copy = xstrdup(records);
    char *save = NULL;

    for (char *s = strtok_r(copy, "\n", &save); s; s = strtok_r(NULL, "\n", &save)) {
        struct json *j = NULL;
        assert_int_equal(json_parse(s, strlen(s), &j, NULL), 0);
        assert_int_equal(journal_line(j, &out, NULL), 0);
        json_free(j);
    }
    return buf_take(&out);
}

#define BEGIN "{\"type\":\"begin\",\"run\":\"r1\"}\n"
#define INTENT(n) \
    "{\"type\":\"intent\",\"seq\":" #n ",\"kind\":\"pause\",\"backend\":\"process\"}\n"
#define MARK(type, n) "{\"type\":\"" type "\",\"seq\":" #n "}\n"
#define END "{\"type\":\"end\"}\n"

#endif
