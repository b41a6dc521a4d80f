/* Any bytes as a journal: an answer or an error, and what is found open can be read. Random bytes
 * rarely have the right checksum, so the same bytes are tried a second time with each line's header
 * made right. */
#include <string.h>

#include "chaoslib/journal_file.h"

#define INPUT_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *text, size_t len)
{
    struct journal_scan scan = { 0 };
    struct err err = { 0 };

    if (journal_parse(text, len, &scan, &err) < 0) {
        if (!err_is_set(&err) || scan.open)
            abort();
        return;
    }
    for (const struct json *j = json_first(scan.open); j; j = json_next(j))
        if (json_u64(j, "seq", 0) == 0 || !*json_str(j, "kind", ""))
            abort();
    journal_scan_done(&scan);
}

/* The JSON part of a line (all of it, when it has no header) under a header that fits. */
static void repair(const char *line, size_t len, struct buf *out)
{
    const char *brace = memchr(line, '{', len);
    struct json *j = NULL;

    if (brace && json_parse(brace, len - (size_t)(brace - line), &j, NULL) == 0)
        err_ignore(journal_line(j, out, NULL), "too long a line is left out");
    json_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *end = text + size;
    auto_buf struct buf repaired = BUF_INIT(4 * INPUT_MAX);

    if (size > INPUT_MAX)
        return 0;
    check(text, size);
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t len = (size_t)((newline ? newline : end) - text);
        repair(text, len, &repaired);
        text += len + 1;
    }
    check(buf_str(&repaired), repaired.len);
    return 0;
}
