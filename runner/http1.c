/* The answer parser: a head is walked line by line where it lies, only four header fields are
 * looked into, and body bytes are skipped in blocks. Strict about everything that says where an
 * answer ends, because under faults a wrong guess there turns one broken answer into many. */
#include <string.h>
#include <strings.h>

#include "runner/http1.h"

enum phase { HEAD, BODY, BODY_TO_EOF, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };
/* Where in the line before a chunk's data (or, for the trailer, in a line of it). */
enum chunk_part { SIZE_FIRST, SIZE_MORE, SIZE_BLANK, SIZE_EXTENSION, SIZE_CR };
enum trailer_part { LINE_FIRST, LINE_NAME, LINE_VALUE, LINE_LAST_CR };

#define LENGTH_MAX ((uint64_t)INT64_MAX)
#define KEPT_REST 4096 /* bytes a resting parser may hold */

/* Both return false, so that a step that returns "went well" ends with them. */
static bool fail(struct http1 *h, enum fail_class fail_class, const char *why)
{
    h->state = HTTP1_FAILED;
    h->fail = fail_class;
    h->why = why;
    return false;
}

static bool malformed(struct http1 *h, const char *why)
{
    return fail(h, FAIL_MALFORMED, why);
}

static void complete(struct http1 *h)
{
    h->state = HTTP1_DONE;
    h->keep_alive = h->is_old ? h->wants_keep && !h->wants_close : !h->wants_close;
    if (!h->want_body)
        return;
    if (!h->body) {
        h->body = buf_str(&h->body_buf);
        h->body_len = h->body_buf.len;
    }
}

/* ---- header fields that say how the answer ends ---- */

struct text {
    const char *s;
    size_t n;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct text trim(struct text t)
{
    while (t.n && is_blank(t.s[0])) {
        t.s++;
        t.n--;
    }
    while (t.n && is_blank(t.s[t.n - 1]))
        t.n--;
    return t;
}

static bool equals(struct text t, const char *word)
{
    return t.n == strlen(word) && strncasecmp(t.s, word, t.n) == 0;
}

static bool on_length(struct http1 *h, struct text v)
{
    uint64_t n = 0;

    if (h->has_length)
        return malformed(h, "the answer has more than one Content-Length");
    for (size_t i = 0; i < v.n; i++) {
        unsigned digit = (unsigned char)v.s[i] - (unsigned)'0';
        if (digit > 9 || n > (LENGTH_MAX - digit) / 10)
            return malformed(h, "the answer's Content-Length is not a number below 2^63");
        n = n * 10 + digit;
    }
    if (v.n == 0)
        return malformed(h, "the answer's Content-Length is empty");
    h->has_length = true;
    h->left = n;
    return true;
}

static bool on_transfer(struct http1 *h, struct text v)
{
    if (h->is_chunked)
        return malformed(h, "the answer has more than one Transfer-Encoding");
    if (!equals(v, "chunked"))
        return malformed(h, "the answer's Transfer-Encoding is not 'chunked'");
    h->is_chunked = true;
    return true;
}

static bool on_connection(struct http1 *h, struct text v)
{
    while (v.n) {
        const char *comma = memchr(v.s, ',', v.n);
        size_t n = comma ? (size_t)(comma - v.s) : v.n;
        struct text token = trim((struct text){ v.s, n });

        if (equals(token, "close"))
            h->wants_close = true;
        else if (equals(token, "keep-alive"))
            h->wants_keep = true;
        n += comma != NULL;
        v.s += n;
        v.n -= n;
    }
    return true;
}

static bool on_encoding(struct http1 *h, struct text v)
{
    if (equals(v, "gzip") || equals(v, "x-gzip") || equals(v, "deflate"))
        h->is_gzip = true;
    return true;
}

static const struct field {
    size_t len;
    const char *name;
    bool (*take)(struct http1 *h, struct text value);
} fields[] = {
    { 10, "connection", on_connection },
    { 14, "content-length", on_length },
    { 16, "content-encoding", on_encoding },
    { 17, "transfer-encoding", on_transfer },
};

/* ---- lines of a head ---- */

/* RFC 9110 token: what a header's name is made of. */
static const bool is_token[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1,
    ['-'] = 1, ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1,  ['~'] = 1, ['0'] = 1,
    ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1,  ['7'] = 1, ['8'] = 1,
    ['9'] = 1, ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1,  ['F'] = 1, ['G'] = 1,
    ['H'] = 1, ['I'] = 1, ['J'] = 1, ['K'] = 1, ['L'] = 1, ['M'] = 1,  ['N'] = 1, ['O'] = 1,
    ['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1,  ['V'] = 1, ['W'] = 1,
    ['X'] = 1, ['Y'] = 1, ['Z'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1,  ['d'] = 1, ['e'] = 1,
    ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1, ['j'] = 1, ['k'] = 1,  ['l'] = 1, ['m'] = 1,
    ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1,  ['t'] = 1, ['u'] = 1,
    ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1,
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

#define VERSION "HTTP/1." /* then '0' or '1' */
#define VERSION_LEN (sizeof(VERSION) - 1)

static bool status_line(struct http1 *h, struct text l)
{
    if (l.n < VERSION_LEN + 5 || memcmp(l.s, VERSION, VERSION_LEN) != 0)
        return malformed(h, "the answer does not begin with an HTTP/1.x status line");
    const char *code = l.s + VERSION_LEN + 2;
    if ((code[-2] != '0' && code[-2] != '1') || code[-1] != ' ')
        return malformed(h, "the answer's HTTP version is neither 1.0 nor 1.1");
    if (code[0] < '1' || code[0] > '5' || !is_digit(code[1]) || !is_digit(code[2]) ||
        (l.n > VERSION_LEN + 5 && code[3] != ' '))
        return malformed(h, "the answer's status is not a number in 100..599");
    h->is_old = code[-2] == '0';
    h->status = (uint16_t)((code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0'));
    return true;
}

static bool header_line(struct http1 *h, struct text l)
{
    size_t n = 0;

    while (n < l.n && is_token[(unsigned char)l.s[n]])
        n++;
    if (n == 0 || n == l.n || l.s[n] != ':')
        return malformed(h, is_blank(l.s[0]) ? "the answer folds a header over two lines"
                                             : "a header of the answer is not 'name: value'");
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (fields[i].len == n && strncasecmp(l.s, fields[i].name, n) == 0)
            return fields[i].take(h, trim((struct text){ l.s + n + 1, l.n - n - 1 }));
    }
    return true;
}

static bool has_lonely_cr(struct text l)
{
    return memchr(l.s, '\r', l.n) != NULL;
}

/* Walks the lines that are whole; true when the empty one was among them. */
static bool head_lines(struct http1 *h, const char *head, size_t len)
{
    const char *lf;

    while ((lf = memchr(head + h->scanned, '\n', len - h->scanned))) {
        struct text l = { head + h->line, (size_t)(lf - head) - h->line };
        bool is_first = h->line == 0;

        if ((size_t)(lf - head) + 1 + h->interim > HTTP_HEAD_MAX)
            break;
        h->line = h->scanned = (uint32_t)(lf - head) + 1;
        if (l.n && l.s[l.n - 1] == '\r')
            l.n--;
        if (l.n == 0 && !is_first)
            return true;
        if (has_lonely_cr(l))
            return malformed(h, "a line of the answer's head holds a lone CR");
        if (!(is_first ? status_line : header_line)(h, l))
            return false;
    }
    h->scanned = (uint32_t)MIN(len, HTTP_HEAD_MAX);
    if (len + h->interim >= HTTP_HEAD_MAX)
        fail(h, FAIL_TOO_LARGE, "the answer's head is longer than 64 KiB");
    else if (h->line == 0 && memcmp(head, VERSION, MIN(len, VERSION_LEN)) != 0)
        malformed(h, "the answer does not begin with an HTTP/1.x status line");
    return false;
}

/* ---- what follows a head ---- */

static bool passes_body_max(struct http1 *h, uint64_t more)
{
    if (!h->want_body || (more <= HTTP_BODY_MAX && h->body_bytes + more <= HTTP_BODY_MAX))
        return false;
    return !fail(h, FAIL_TOO_LARGE,
                 "the answer's body is longer than 8 MiB, the most that checks read");
}

static bool has_no_body(const struct http1 *h)
{
    return h->is_head_request || h->status == 204 || h->status == 304 ||
           (h->has_length && h->left == 0);
}

static void begin_body(struct http1 *h)
{
    if (has_no_body(h)) {
        complete(h);
    } else if (h->is_chunked) {
        h->phase = CHUNK_SIZE;
        h->chunk_part = SIZE_FIRST;
        h->left = 0;
        h->line = 0;
    } else if (!h->has_length) {
        h->phase = BODY_TO_EOF;
        h->wants_close = true;
    } else if (!passes_body_max(h, h->left)) {
        h->phase = BODY;
    }
}

static void next_head(struct http1 *h)
{
    h->interim += h->line;
    h->line = h->scanned = 0;
    h->has_length = h->is_chunked = h->wants_close = h->wants_keep = h->is_gzip = false;
    h->status = 0;
}

static bool head_is_sound(struct http1 *h, const char *head)
{
    if (memchr(head, '\0', h->line))
        return malformed(h, "the answer's head holds a NUL byte");
    if (h->has_length && h->is_chunked)
        return malformed(h, "the answer has both a Content-Length and a Transfer-Encoding");
    if (h->is_chunked && h->is_old)
        return malformed(h, "the answer is HTTP/1.0 and has a Transfer-Encoding");
    if (h->status == 101)
        return malformed(h, "the answer switches protocols (101), which was not asked for");
    return true;
}

static void end_head(struct http1 *h, const char *head)
{
    if (!head_is_sound(h, head))
        return;
    if (h->status < 200) {
        next_head(h);
        return;
    }
    h->head = head;
    h->head_len = h->line;
    begin_body(h);
}

/* A head that began in an earlier piece continues in our copy of it. */
static size_t feed_kept_head(struct http1 *h, const char *data, size_t len)
{
    size_t before = h->kept.len;
    size_t n = MIN(len, HTTP_HEAD_MAX - before);

    buf_add(&h->kept, data, n);
    if (buf_failed(&h->kept)) {
        fail(h, FAIL_INTERNAL, "no memory for the answer's head");
        return len;
    }
    if (!head_lines(h, h->kept.data, h->kept.len))
        return n;
    size_t end = h->line;
    bool is_interim = h->status < 200;
    end_head(h, h->kept.data);
    h->kept.len = is_interim ? 0 : end;
    return end - before;
}

static size_t feed_head(struct http1 *h, const char *data, size_t len)
{
    if (h->kept.len)
        return feed_kept_head(h, data, len);
    if (head_lines(h, data, len)) {
        size_t end = h->line;
        end_head(h, data);
        return end;
    }
    if (h->state == HTTP1_MORE)
        buf_add(&h->kept, data, len);
    return len;
}

/* ---- bodies ---- */

static void keep_body(struct http1 *h, const char *data, size_t n)
{
    h->body_bytes += n;
    if (!h->want_body)
        return;
    buf_add(&h->body_buf, data, n);
    if (buf_failed(&h->body_buf))
        fail(h, FAIL_INTERNAL, "no memory for the answer's body");
}

static size_t feed_body(struct http1 *h, const char *data, size_t len)
{
    size_t n = (size_t)MIN((uint64_t)len, h->left);

    h->left -= n;
    if (h->want_body && h->left == 0 && h->body_bytes == 0) {
        h->body = data;
        h->body_len = n;
        h->body_bytes = n;
    } else {
        keep_body(h, data, n);
    }
    if (h->left == 0 && h->state == HTTP1_MORE)
        complete(h);
    return n;
}

static size_t feed_body_to_eof(struct http1 *h, const char *data, size_t len)
{
    if (!passes_body_max(h, len))
        keep_body(h, data, len);
    return len;
}

static size_t feed_chunk_data(struct http1 *h, const char *data, size_t len)
{
    size_t n = (size_t)MIN((uint64_t)len, h->left);

    keep_body(h, data, n);
    h->left -= n;
    if (h->left == 0)
        h->phase = CHUNK_END;
    return n;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void chunk_line_ends(struct http1 *h)
{
    if (h->chunk_part == SIZE_FIRST) {
        malformed(h, "a chunk of the answer has no size");
        return;
    }
    h->chunk_part = SIZE_FIRST;
    h->line = 0;
    if (h->left == 0) {
        h->phase = TRAILER;
        h->chunk_part = LINE_FIRST;
    } else if (!passes_body_max(h, h->left)) {
        h->phase = CHUNK_DATA;
    }
}

static void chunk_digit(struct http1 *h, int value)
{
    if (h->left > LENGTH_MAX >> 4)
        malformed(h, "a chunk of the answer says it is 2^63 bytes or more");
    h->left = h->left << 4 | (unsigned)value;
    h->chunk_part = SIZE_MORE;
}

static void chunk_char(struct http1 *h, char c)
{
    int value = h->chunk_part <= SIZE_MORE ? hex_value(c) : -1;
    bool has_size = h->chunk_part != SIZE_FIRST && h->chunk_part != SIZE_CR;

    if (c == '\n')
        chunk_line_ends(h);
    else if (value >= 0)
        chunk_digit(h, value);
    else if (has_size && c == '\r')
        h->chunk_part = SIZE_CR;
    else if (has_size && (h->chunk_part == SIZE_EXTENSION || c == ';'))
        h->chunk_part = SIZE_EXTENSION;
    else if (has_size && is_blank(c))
        h->chunk_part = SIZE_BLANK;
    else
        malformed(h, "a chunk's size in the answer is not a hexadecimal number");
}

static size_t feed_chunk_size(struct http1 *h, const char *data, size_t len)
{
    size_t i = 0;

    while (i < len && h->phase == CHUNK_SIZE && h->state == HTTP1_MORE) {
        if (h->line++ == HTTP_CHUNK_LINE_MAX)
            fail(h, FAIL_TOO_LARGE, "a chunk's size line in the answer is longer than 4 KiB");
        else
            chunk_char(h, data[i++]);
    }
    return i;
}

/* CRLF, or LF alone, between a chunk's data and the next size. */
static size_t feed_chunk_end(struct http1 *h, const char *data, size_t len)
{
    (void)len;
    if (data[0] == '\n') {
        h->phase = CHUNK_SIZE;
        h->chunk_part = SIZE_FIRST;
        h->line = 0;
    } else if (data[0] == '\r' && h->chunk_part != SIZE_CR) {
        h->chunk_part = SIZE_CR;
    } else {
        malformed(h, "a chunk of the answer is longer than it said");
    }
    return 1;
}

static void trailer_char(struct http1 *h, char c)
{
    if (c == '\n') {
        if (h->chunk_part == LINE_FIRST || h->chunk_part == LINE_LAST_CR)
            complete(h);
        else if (h->chunk_part == LINE_NAME)
            malformed(h, "a trailer of the answer is not 'name: value'");
        h->chunk_part = LINE_FIRST;
    } else if (h->chunk_part == LINE_VALUE) {
        return;
    } else if (h->chunk_part == LINE_FIRST && c == '\r') {
        h->chunk_part = LINE_LAST_CR;
    } else if (h->chunk_part == LINE_NAME && c == ':') {
        h->chunk_part = LINE_VALUE;
    } else if (h->chunk_part == LINE_LAST_CR || !is_token[(unsigned char)c]) {
        malformed(h, "a trailer of the answer is not 'name: value'");
    } else {
        h->chunk_part = LINE_NAME;
    }
}

static size_t feed_trailer(struct http1 *h, const char *data, size_t len)
{
    size_t i = 0;

    while (i < len && h->state == HTTP1_MORE) {
        if (h->line++ == HTTP_HEAD_MAX)
            fail(h, FAIL_TOO_LARGE, "the answer's trailers are longer than 64 KiB");
        else
            trailer_char(h, data[i++]);
    }
    return i;
}

/* ---- the parser ---- */

static size_t (*const feeders[])(struct http1 *h, const char *data, size_t len) = {
    [HEAD] = feed_head,
    [BODY] = feed_body,
    [BODY_TO_EOF] = feed_body_to_eof,
    [CHUNK_SIZE] = feed_chunk_size,
    [CHUNK_DATA] = feed_chunk_data,
    [CHUNK_END] = feed_chunk_end,
    [TRAILER] = feed_trailer,
};

void http1_begin(struct http1 *h, bool is_head_request, bool want_body)
{
    struct buf kept = h->kept, body_buf = h->body_buf;

    *h = (struct http1){ .is_head_request = is_head_request, .want_body = want_body };
    h->kept = kept;
    h->body_buf = body_buf;
}

static void clear_earlier_answer(struct http1 *h)
{
    h->begun = true;
    h->kept.max = HTTP_HEAD_MAX + 1;
    h->body_buf.max = HTTP_BODY_MAX + 1;
    h->kept.len = h->body_buf.len = 0;
    h->kept.failed = h->body_buf.failed = false;
}

/* The caller's memory is about to change under an answer that goes on. */
static void keep_head(struct http1 *h)
{
    if (h->head != h->kept.data) {
        h->kept.len = 0;
        buf_add(&h->kept, h->head, h->head_len);
        if (buf_failed(&h->kept))
            fail(h, FAIL_INTERNAL, "no memory for the answer's head");
    }
    h->head = h->kept.data;
}

size_t http1_feed(struct http1 *h, const char *data, size_t len)
{
    size_t at = 0;

    if (!h->begun)
        clear_earlier_answer(h);
    while (at < len && h->state == HTTP1_MORE)
        at += feeders[h->phase](h, data + at, len - at);
    if (h->state == HTTP1_MORE && h->head)
        keep_head(h);
    return at;
}

void http1_eof(struct http1 *h)
{
    if (h->state != HTTP1_MORE)
        return;
    if (h->phase == BODY_TO_EOF)
        complete(h);
    else if (!h->begun)
        fail(h, FAIL_CLOSED, "the server closed the connection without an answer");
    else if (!h->head)
        fail(h, FAIL_SHORT_BODY, "the server closed the connection inside the answer's head");
    else
        fail(h, FAIL_SHORT_BODY, "the server closed the connection inside the answer's body");
}

void http1_rest(struct http1 *h)
{
    if (h->kept.cap > KEPT_REST)
        buf_done(&h->kept);
    if (h->body_buf.cap)
        buf_done(&h->body_buf);
}

void http1_done(struct http1 *h)
{
    if (!h)
        return;
    buf_done(&h->kept);
    buf_done(&h->body_buf);
}
