/* Answers as a table: what they mean, and that they mean the same however they are cut. Each is fed
 * whole, byte by byte, and at every split in two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runner/http1.h"

#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"

enum how { KEPT, CLOSED, MORE, BAD, LARGE, SHORT, NOTHING };

static const struct row {
    const char *name;
    const char *in;
    enum how how;
    unsigned status;
    const char *body;   /* NULL: as NULL from the parser, or not looked at */
    bool is_head, ends; /* the stream ends after `in` */
    size_t excess;      /* bytes that are not the answer's */
} rows[] = {
    { "length", OK "Content-Length: 5\r\n\r\nhello", .how = KEPT, 200, "hello" },
    { "length, blanks and case", OK "CONTENT-length:\t 5 \t\r\n\r\nhello", .how = KEPT, 200,
      "hello" },
    { "length 0", OK "Content-Length: 0\r\n\r\n", .how = KEPT, 200, "" },
    { "length, more follows", OK "Content-Length: 2\r\n\r\nhello", .how = KEPT, 200, "he",
      .excess = 3 },
    { "length, leading zeros", OK "Content-Length: 0005\r\n\r\nhello", .how = KEPT, 200, "hello" },
    { "bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", .how = KEPT, 200, "hi" },
    { "no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", .how = KEPT, 200, "" },
    { "empty reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", .how = KEPT, 200, "" },
    { "close", OK "Connection: close\r\nContent-Length: 1\r\n\r\nx", .how = CLOSED, 200, "x" },
    { "close in a list", OK "Connection: foo, CLOSE\r\nContent-Length: 1\r\n\r\nx", .how = CLOSED,
      200, "x" },
    { "closed is no close", OK "Connection: closed\r\nContent-Length: 1\r\n\r\nx", .how = KEPT, 200,
      "x" },
    { "1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", .how = CLOSED, 200, "x" },
    { "1.0 kept", "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx",
      .how = KEPT, 200, "x" },
    { "1.0 to the end", "HTTP/1.0 200 OK\r\n\r\nall of it", .how = CLOSED, 200, "all of it",
      .ends = true },
    { "to the end", OK "\r\nall of it", .how = CLOSED, 200, "all of it", .ends = true },
    { "to the end, empty", OK "\r\n", .how = CLOSED, 200, "", .ends = true },
    { "to the end, not yet", OK "\r\nall of it", .how = MORE, 200, NULL },
    { "204", "HTTP/1.1 204 No Content\r\n\r\n", .how = KEPT, 204, "" },
    { "204 with a length", "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", .how = KEPT, 204, "" },
    { "304 with a length", "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n", .how = KEPT, 304, "" },
    { "HEAD", OK "Content-Length: 5000\r\n\r\n", .how = KEPT, 200, "", .is_head = true },
    { "HEAD, chunked", CHUNKED, .how = KEPT, 200, "", .is_head = true },
    { "HEAD, no framing", OK "\r\n", .how = KEPT, 200, "", .is_head = true },
    { "100", "HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 1\r\n\r\nx", .how = KEPT, 200,
      "x" },
    { "103 with headers, 102",
      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 7\r\n\r\nHTTP/1.1 102 P\r\n\r\n" OK
      "Content-Length: 1\r\n\r\nx",
      .how = KEPT, 200, "x" },
    { "100 alone, then the end", "HTTP/1.1 100 Continue\r\n\r\n", .how = SHORT, 0, NULL,
      .ends = true },
    { "500", "HTTP/1.1 500 Oops\r\nContent-Length: 1\r\n\r\nx", .how = KEPT, 500, "x" },
    { "chunked", CHUNKED "5\r\nhello\r\n6;ext=\"a b\"\r\n world\r\n0\r\n\r\n", .how = KEPT, 200,
      "hello world" },
    { "chunked, upper case, zeros",
      OK "Transfer-Encoding: Chunked\r\n\r\n00a\r\n0123456789\r\n"
         "0000\r\n\r\n",
      .how = KEPT, 200, "0123456789" },
    { "chunked, blanks before the extension", CHUNKED "1 \t;a\r\nx\r\n0\r\n\r\n", .how = KEPT, 200,
      "x" },
    { "chunked, bare LF", CHUNKED "1\nx\n0\n\n", .how = KEPT, 200, "x" },
    { "chunked, trailers", CHUNKED "1\r\nx\r\n0\r\nExpires: a: b\r\nX-Sum:1\r\n\r\n", .how = KEPT,
      200, "x" },
    { "chunked, more follows", CHUNKED "0\r\n\r\nHTTP", .how = KEPT, 200, "", .excess = 4 },
    { "chunked, empty", CHUNKED "0\r\n\r\n", .how = KEPT, 200, "" },

    { "nothing", "", .how = NOTHING, 0, NULL, .ends = true },
    { "half a status line", "HTTP/1.1 20", .how = SHORT, 0, NULL, .ends = true },
    { "half a head", OK "Content-Le", .how = SHORT, 0, NULL, .ends = true },
    { "half a body", OK "Content-Length: 5\r\n\r\nhel", .how = SHORT, 200, NULL, .ends = true },
    { "half a chunk", CHUNKED "5\r\nhel", .how = SHORT, 200, NULL, .ends = true },
    { "no last chunk", CHUNKED "1\r\nx\r\n", .how = SHORT, 200, NULL, .ends = true },
    { "half the trailers", CHUNKED "0\r\nA: b\r\n", .how = SHORT, 200, NULL, .ends = true },

    { "garbage", "SSH-2.0-OpenSSH_9.2\r\n", .how = BAD },
    { "garbage without a line", "\x16\x03\x01\x02", .how = BAD },
    { "empty line first", "\r\n" OK "\r\n", .how = BAD },
    { "HTTP/2", "HTTP/2 200 OK\r\n\r\n", .how = BAD },
    { "HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n", .how = BAD },
    { "HTTP/1.11", "HTTP/1.11 200 OK\r\n\r\n", .how = BAD },
    { "lower case", "http/1.1 200 OK\r\n\r\n", .how = BAD },
    { "status too short", "HTTP/1.1 20 OK\r\n\r\n", .how = BAD },
    { "status too long", "HTTP/1.1 2000 OK\r\n\r\n", .how = BAD },
    { "status 099", "HTTP/1.1 099 OK\r\n\r\n", .how = BAD },
    { "status 600", "HTTP/1.1 600 OK\r\n\r\n", .how = BAD },
    { "status -200", "HTTP/1.1 -20 OK\r\n\r\n", .how = BAD },
    { "101", "HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n", .how = BAD },
    { "folded", OK "A: b\r\n c\r\nContent-Length: 0\r\n\r\n", .how = BAD },
    { "folded with a tab", OK "A: b\r\n\tc: d\r\nContent-Length: 0\r\n\r\n", .how = BAD },
    { "no colon", OK "A b\r\nContent-Length: 0\r\n\r\n", .how = BAD },
    { "no name", OK ": b\r\nContent-Length: 0\r\n\r\n", .how = BAD },
    { "blank before the colon", OK "Content-Length : 5\r\n\r\nhello", .how = BAD },
    { "lone CR in a value", OK "A: b\rc\r\nContent-Length: 0\r\n\r\n", .how = BAD },
    { "lone CR in the status", "HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n", .how = BAD },
    { "length twice", OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", .how = BAD },
    { "lengths that differ", OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", .how = BAD },
    { "length list", OK "Content-Length: 5, 5\r\n\r\nhello", .how = BAD },
    { "length negative", OK "Content-Length: -5\r\n\r\nhello", .how = BAD },
    { "length plus", OK "Content-Length: +5\r\n\r\nhello", .how = BAD },
    { "length hex", OK "Content-Length: 0x5\r\n\r\nhello", .how = BAD },
    { "length empty", OK "Content-Length: \r\n\r\n", .how = BAD },
    { "length with a blank inside", OK "Content-Length: 5 0\r\n\r\n", .how = BAD },
    { "length 2^63", OK "Content-Length: 9223372036854775808\r\n\r\n", .how = BAD },
    { "length overflows", OK "Content-Length: 99999999999999999999999\r\n\r\n", .how = BAD },
    { "length and chunked", OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1",
      .how = BAD },
    { "chunked twice", OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
      .how = BAD },
    { "gzip, chunked", OK "Transfer-Encoding: gzip, chunked\r\n\r\n", .how = BAD },
    { "identity", OK "Transfer-Encoding: identity\r\n\r\n", .how = BAD },
    { "1.0 chunked", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", .how = BAD },
    { "chunk without size", CHUNKED "\r\nx", .how = BAD },
    { "chunk size not hex", CHUNKED "g\r\nx", .how = BAD },
    { "chunk size negative", CHUNKED "-1\r\nx", .how = BAD },
    { "chunk size with 0x", CHUNKED "0x1\r\nx", .how = BAD },
    { "chunk size in two", CHUNKED "1 1\r\nx", .how = BAD },
    { "chunk extension without size", CHUNKED ";a\r\nx", .how = BAD },
    { "chunk size overflows", CHUNKED "fffffffffffffffff\r\nx", .how = BAD },
    { "chunk size, lone CR", CHUNKED "1\rx", .how = BAD },
    { "chunk longer than it said", CHUNKED "1\r\nxy\r\n0\r\n\r\n", .how = BAD },
    { "chunk end, two CRs", CHUNKED "1\r\nx\r\r\n0\r\n\r\n", .how = BAD },
    { "trailer no colon", CHUNKED "0\r\nabc\r\n\r\n", .how = BAD },
    { "trailer folded", CHUNKED "0\r\nA: b\r\n c\r\n\r\n", .how = BAD },
    { "trailer lone CR", CHUNKED "0\r\n\rx", .how = BAD },
    { "huge length, wanted", OK "Content-Length: 8388609\r\n\r\n", .how = LARGE, 200 },
    { "huge chunk, wanted", CHUNKED "800001\r\n", .how = LARGE, 200 },
    { "chunks that add up, wanted", CHUNKED "1\r\nx\r\n800000\r\n", .how = LARGE, 200 },
};

struct result {
    enum how how;
    unsigned status;
    char *body, *head;
    size_t used;
};

static enum how how_of(const struct http1 *h)
{
    if (h->state == HTTP1_MORE)
        return MORE;
    if (h->state == HTTP1_DONE)
        return h->keep_alive ? KEPT : CLOSED;
    assert_non_null(h->why);
    switch ((int)h->fail) {
    case FAIL_MALFORMED: return BAD;
    case FAIL_TOO_LARGE: return LARGE;
    case FAIL_SHORT_BODY: return SHORT;
    case FAIL_CLOSED: return NOTHING;
    default: fail_msg("class %s", fail_class_name(h->fail));
    }
    return BAD;
}

/* Feeds [0, cut) and [cut, len) in pieces of `piece` bytes, each piece in memory of its own that is
 * gone afterwards, so that a pointer that outlives its piece is a sanitizer report. */
static struct result feed(struct http1 *h, const struct row *r, size_t cut, size_t piece)
{
    struct result out = { 0 };
    size_t len = strlen(r->in);
    char *memory = NULL;

    http1_begin(h, r->is_head, true);
    for (size_t at = 0; at < len && h->state == HTTP1_MORE;) {
        size_t n = MIN(piece, (at < cut ? cut : len) - at);
        free(memory);
        memory = malloc(n);
        assert_non_null(memory);
        memcpy(memory, r->in + at, n);
        size_t used = http1_feed(h, memory, n);
        assert_true(used <= n);
        assert_true(used == n || h->state != HTTP1_MORE);
        out.used += used;
        at += n;
    }
    if (r->ends)
        http1_eof(h);
    out.how = how_of(h);
    out.status = h->head ? h->status : 0;
    out.body = h->body ? strndup(h->body, h->body_len) : NULL;
    out.head = h->head ? strndup(h->head, h->head_len) : NULL;
    free(memory);
    return out;
}

static void check(const struct row *r, const struct result *got, const char *whole_head)
{
    bool same_status = got->status == r->status || r->how == BAD;

    if (got->how != r->how || !same_status)
        fail_msg("%s: %d, status %u instead of %d, %u", r->name, (int)got->how, got->status,
                 (int)r->how, r->status);
    if (r->how == KEPT || r->how == CLOSED) {
        assert_string_equal(got->body, r->body);
        assert_int_equal(got->used, strlen(r->in) - r->excess);
        assert_string_equal(got->head, whole_head);
        assert_non_null(strstr(got->head, "HTTP/1."));
    }
}

static void release(struct result *r)
{
    free(r->body);
    free(r->head);
}

static void any_cut_means_the_same(void **state)
{
    struct http1 h = { 0 }; /* one for all: nothing of an answer may leak into the next */

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        size_t len = strlen(r->in);
        struct result whole = feed(&h, r, len, len);
        check(r, &whole, whole.head);
        for (size_t cut = 0; cut <= len; cut++) {
            struct result two = feed(&h, r, cut, len);
            check(r, &two, whole.head);
            release(&two);
        }
        struct result bytes = feed(&h, r, 0, 1);
        check(r, &bytes, whole.head);
        release(&bytes);
        release(&whole);
    }
    http1_done(&h);
}

static void unwanted_bodies_are_only_counted(void **state)
{
    static const char head[] = OK "Content-Length: 9000000000\r\n\r\n";
    static const char block[100000];
    struct http1 h = { 0 };

    (void)state;
    http1_begin(&h, false, false);
    http1_feed(&h, head, sizeof(head) - 1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(http1_feed(&h, block, sizeof(block)), sizeof(block));
    assert_int_equal(h.body_bytes, 100 * sizeof(block));
    assert_int_equal(h.state, HTTP1_MORE);
    assert_null(h.body_buf.data);
    http1_done(&h);
}

/* Fills a head with `n` bytes and ends it; the answer is whole up to HTTP_HEAD_MAX. */
static void feed_head_of(struct http1 *h, size_t n, size_t piece)
{
    static const char begin[] = OK "Content-Length: 0\r\nA: ", end[] = "\r\n\r\n";
    char *text = malloc(n);

    assert_non_null(text);
    memset(text, 'x', n);
    memcpy(text, begin, sizeof(begin) - 1);
    memcpy(text + n - 4, end, 4);
    http1_begin(h, false, false);
    for (size_t at = 0; at < n && h->state == HTTP1_MORE; at += piece)
        http1_feed(h, text + at, MIN(piece, n - at));
    free(text);
}

static void heads_are_bounded(void **state)
{
    static const size_t pieces[] = { 1 << 20, 4096, 4093, 1 };
    struct http1 h = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        feed_head_of(&h, HTTP_HEAD_MAX, pieces[i]);
        assert_int_equal(h.state, HTTP1_DONE);
        feed_head_of(&h, HTTP_HEAD_MAX + 1, pieces[i]);
        assert_int_equal(h.state, HTTP1_FAILED);
        assert_int_equal(h.fail, FAIL_TOO_LARGE);
        assert_true(h.kept.cap <= 2 * HTTP_HEAD_MAX);
    }
    http1_rest(&h);
    assert_null(h.kept.data); /* a resting parser gives large memory back */
    http1_done(&h);
}

static void repeat(struct http1 *h, const char *begin, const char *again, size_t times)
{
    http1_begin(h, false, false);
    http1_feed(h, begin, strlen(begin));
    for (size_t i = 0; i < times && h->state == HTTP1_MORE; i++)
        http1_feed(h, again, strlen(again));
}

static void endless_things_end(void **state)
{
    static const struct {
        const char *begin, *again;
    } endless[] = {
        { OK, "A: b\r\n" },                                     /* headers */
        { OK "A", "A" },                                        /* one header */
        { "HTTP/1.1 100 C\r\n\r\n", "HTTP/1.1 100 C\r\n\r\n" }, /* interim answers */
        { CHUNKED "1;", "x" },                                  /* a chunk's extension */
        { CHUNKED "0", "0" },                                   /* zeros */
        { CHUNKED "0\r\n", "A: b\r\n" },                        /* trailers */
    };
    struct http1 h = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(endless); i++) {
        repeat(&h, endless[i].begin, endless[i].again, 100000);
        assert_int_equal(h.state, HTTP1_FAILED);
        assert_int_equal(h.fail, FAIL_TOO_LARGE);
    }
    http1_done(&h);
}

static void a_nul_in_the_head_is_refused(void **state)
{
    static const char in[] = OK "A: b\0c\r\nContent-Length: 0\r\n\r\n";
    struct http1 h = { 0 };

    (void)state;
    http1_begin(&h, false, false);
    http1_feed(&h, in, sizeof(in) - 1);
    assert_int_equal(h.fail, FAIL_MALFORMED);
    http1_done(&h);
}

static void encodings_are_told(void **state)
{
    static const struct {
        const char *in;
        bool is_gzip;
    } encodings[] = {
        { OK "Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", true },
        { OK "Content-Encoding: deflate\r\nContent-Length: 0\r\n\r\n", true },
        { OK "Content-Encoding: br\r\nContent-Length: 0\r\n\r\n", false },
        { OK "Content-Length: 0\r\n\r\n", false },
        { "HTTP/1.1 103 E\r\nContent-Encoding: gzip\r\n\r\n" OK "Content-Length: 0\r\n\r\n",
          false },
    };
    struct http1 h = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(encodings); i++) {
        http1_begin(&h, false, true);
        http1_feed(&h, encodings[i].in, strlen(encodings[i].in));
        assert_int_equal(h.state, HTTP1_DONE);
        assert_int_equal(h.is_gzip, encodings[i].is_gzip);
    }
    http1_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cut_means_the_same),
        cmocka_unit_test(unwanted_bodies_are_only_counted),
        cmocka_unit_test(heads_are_bounded),
        cmocka_unit_test(endless_things_end),
        cmocka_unit_test(a_nul_in_the_head_is_refused),
        cmocka_unit_test(encodings_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
