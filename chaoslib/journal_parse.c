/* Lines to records, and back: no file, no clock, so that the fuzzer can have it.
 *
 * All records are read first and the intents sorted by number; then each later record finds its
 * intent by bisection. Hostile files cost n log n. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chaoslib/journal_file.h"

struct intent {
    uint64_t seq;
    size_t line;
    struct json *record;
    bool closed;
};

struct parse {
    struct journal_scan *scan;
    struct intent *intents;
    size_t n_intents, cap;
    size_t line; /* number of the current one, from 1 */
    bool ended;
};

/* ---- one line ---- */

static uint32_t crc32_of(const char *data, size_t len)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < len; i++) {
        crc ^= (uint8_t)data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (UINT32_C(0xedb88320) & -(crc & 1));
    }
    return ~crc;
}

int journal_line(const struct json *record, struct buf *out, struct err *err)
{
    auto_free char *text = json_print(record, false);
    size_t len = strlen(text);

    if (len > JOURNAL_LINE_MAX)
        return err_set(err, ERR_LIMIT, EMSGSIZE,
                       "a journal record of %zu bytes is longer than the maximum of %zu", len,
                       JOURNAL_LINE_MAX);
    buf_addf(out, "%zu %08x %s\n", len, crc32_of(text, len), text);
    return 0;
}

static const char *const mistakes[] = { "length", "checksum", "shape" };
enum mistake { BAD_LENGTH, BAD_CHECKSUM, BAD_SHAPE };

static int bad_line(const struct parse *p, enum mistake m, struct err *err)
{
    return err_set(err, ERR_GENERIC, EBADMSG, "journal line %zu: its %s does not check out",
                   p->line, mistakes[m]);
}

static bool read_digits(const char **s, const char *end, unsigned base, size_t max, uint32_t *ret)
{
    static const char digits[] = "0123456789abcdef";
    const char *start = *s;

    *ret = 0;
    for (; *s < end && (size_t)(*s - start) < max; (*s)++) {
        const char *d = memchr(digits, **s, base);
        if (!d)
            break;
        *ret = *ret * base + (uint32_t)(d - digits);
    }
    return *s > start;
}

/* `line` without its newline. */
static int split_line(const struct parse *p, const char *line, const char *end,
                      struct json **ret_json, struct err *err)
{
    const char *s = line;
    uint32_t len, crc;

    if (!read_digits(&s, end, 10, 6, &len) || s == end || *s++ != ' ')
        return bad_line(p, BAD_SHAPE, err);
    const char *hex = s;
    if (!read_digits(&s, end, 16, 8, &crc) || s - hex != 8 || s == end || *s++ != ' ')
        return bad_line(p, BAD_SHAPE, err);
    if (len > JOURNAL_LINE_MAX || len != (size_t)(end - s))
        return bad_line(p, BAD_LENGTH, err);
    if (crc != crc32_of(s, len))
        return bad_line(p, BAD_CHECKSUM, err);
    if (json_parse(s, len, ret_json, err) < 0)
        return err_wrap(err, "journal line %zu", p->line);
    return 0;
}

/* ---- what the records mean ---- */

static void begin_seen(struct parse *p, const struct json *record)
{
    const char *run = json_str(record, "run", "");

    if (!p->scan->run_id[0])
        snprintf(p->scan->run_id, sizeof(p->scan->run_id), "%s", run);
}

static void keep_intent(struct parse *p, struct json *record, uint64_t seq)
{
    if (p->n_intents == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 64;
        p->intents = xrealloc(p->intents, p->cap, sizeof(*p->intents));
    }
    p->intents[p->n_intents++] = (struct intent){ .seq = seq, .line = p->line, .record = record };
}

static int intent_order(const void *a, const void *b)
{
    const struct intent *x = a, *y = b;

    return (x->seq > y->seq) - (x->seq < y->seq);
}

static struct intent *intent_find(const struct parse *p, uint64_t seq)
{
    struct intent key = { .seq = seq };

    if (!p->n_intents)
        return NULL;
    return bsearch(&key, p->intents, p->n_intents, sizeof(key), intent_order);
}

/* In the first pass intents are collected; in the second the others find theirs. */
static int take_intent(struct parse *p, struct json **record, struct err *err)
{
    uint64_t seq = json_u64(*record, "seq", 0);

    if (seq == 0 || !*json_str(*record, "kind", "") || !*json_str(*record, "backend", ""))
        return err_set(err, ERR_GENERIC, EBADMSG,
                       "journal line %zu: an intent without seq, kind or backend", p->line);
    begin_seen(p, *record);
    keep_intent(p, TAKE(*record), seq);
    return 0;
}

static int apply_mark(struct parse *p, const struct json *record, bool closes, struct err *err)
{
    uint64_t seq = json_u64(record, "seq", 0);
    struct intent *intent = intent_find(p, seq);

    if (!intent || intent->line > p->line)
        return err_set(err, ERR_GENERIC, EBADMSG,
                       "journal line %zu: '%s' of record %llu, which was never announced", p->line,
                       json_str(record, "type", ""), (unsigned long long)seq);
    intent->closed |= closes;
    return 0;
}

enum record_type { REC_BEGIN, REC_INTENT, REC_MARK, REC_FINAL, REC_END };

static const struct {
    const char *name;
    enum record_type type;
} types[] = {
    { "begin", REC_BEGIN },    { "intent", REC_INTENT }, { "applied", REC_MARK },
    { "reverting", REC_MARK }, { "orphan", REC_MARK },   { "not_applied", REC_FINAL },
    { "reverted", REC_FINAL }, { "end", REC_END },
};

static int type_of(const struct parse *p, const struct json *record, enum record_type *ret,
                   struct err *err)
{
    const char *name = json_str(record, "type", "");

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (strcmp(types[i].name, name) == 0) {
            *ret = types[i].type;
            return 0;
        }
    }
    return err_set(err, ERR_GENERIC, EBADMSG, "journal line %zu: unknown record type '%.40s'",
                   p->line, name);
}

static int take_record(struct parse *p, struct json **record, unsigned pass, struct err *err)
{
    enum record_type type = REC_BEGIN;

    if (type_of(p, *record, &type, err) < 0)
        return -EBADMSG;
    if (p->ended)
        return err_set(err, ERR_GENERIC, EBADMSG, "journal line %zu: a record after the end",
                       p->line);
    if (type == REC_END)
        p->ended = true;
    if (pass == 0 && type == REC_BEGIN)
        begin_seen(p, *record);
    if (pass == 0 && type == REC_INTENT)
        return take_intent(p, record, err);
    if (pass == 1 && (type == REC_MARK || type == REC_FINAL))
        return apply_mark(p, *record, type == REC_FINAL, err);
    return 0;
}

/* ---- the file ---- */

static int each_line(struct parse *p, const char *text, size_t len, unsigned pass,
                     size_t *ret_valid, struct err *err)
{
    const char *end = text + len, *s = text;

    p->line = 0;
    p->ended = false;
    while (s < end) {
        const char *newline = memchr(s, '\n', (size_t)(end - s));
        auto(json) struct json *record = NULL;
        if (!newline)
            break;
        if (++p->line > JOURNAL_RECORDS_MAX)
            return err_set(err, ERR_LIMIT, E2BIG, "the journal has more than %d records",
                           JOURNAL_RECORDS_MAX);
        if (split_line(p, s, newline, &record, err) < 0 || take_record(p, &record, pass, err) < 0)
            return -EBADMSG;
        s = newline + 1;
    }
    p->scan->torn = s < end;
    p->scan->ended = p->ended;
    *ret_valid = (size_t)(s - text);
    return 0;
}

static int sort_intents(struct parse *p, struct err *err)
{
    if (p->n_intents)
        qsort(p->intents, p->n_intents, sizeof(*p->intents), intent_order);
    for (size_t i = 1; i < p->n_intents; i++)
        if (p->intents[i].seq == p->intents[i - 1].seq)
            return err_set(err, ERR_GENERIC, EBADMSG,
                           "journal line %zu: record %llu was announced before",
                           MAX(p->intents[i].line, p->intents[i - 1].line),
                           (unsigned long long)p->intents[i].seq);
    return 0;
}

static int parse_passes(struct parse *p, const char *text, size_t len, size_t *ret_valid,
                        struct err *err)
{
    if (each_line(p, text, len, 0, ret_valid, err) < 0 || sort_intents(p, err) < 0 ||
        each_line(p, text, len, 1, ret_valid, err) < 0)
        return -EBADMSG;
    p->scan->open = json_array();
    for (size_t i = p->n_intents; i-- > 0;)
        if (!p->intents[i].closed)
            json_put(p->scan->open, NULL, TAKE(p->intents[i].record));
    return 0;
}

int journal_parse_lines(const char *text, size_t len, struct journal_scan *ret, size_t *ret_valid,
                        struct err *err)
{
    struct journal_scan scan = { 0 };
    struct parse p = { .scan = &scan };
    int rc = parse_passes(&p, text, len, ret_valid, err);

    for (size_t i = 0; i < p.n_intents; i++)
        json_free(p.intents[i].record);
    free(p.intents);
    if (rc == 0)
        *ret = scan;
    return rc;
}

int journal_parse(const char *text, size_t len, struct journal_scan *ret, struct err *err)
{
    size_t valid;

    return journal_parse_lines(text, len, ret, &valid, err);
}

void journal_scan_done(struct journal_scan *s)
{
    if (!s)
        return;
    json_free(s->open);
    *s = (struct journal_scan){ 0 };
}
