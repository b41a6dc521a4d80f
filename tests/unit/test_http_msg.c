/* Heads and framing of HTTP/1.1, fed whole and split at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "chaoslib/proxy/http_msg.h"

/* ---- framing ---- */

struct stream {
    const char *what, *bytes;
    bool is_response, no_body;
    unsigned messages; /* how many ends are seen */
    const char *payload;
    bool bad;
};

static const struct stream streams[] = {
    { "a request without a body", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", false, false, 1, "", false },
    { "a length", "POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", false, false, 1, "hello",
      false },
    { "length nought", "POST /x HTTP/1.1\r\nContent-Length: 0\r\n\r\n", false, false, 1, "",
      false },
    { "the same length twice",
      "POST /x HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", false, false, 1, "ab",
      false },
    { "three in a row",
      "GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 1\r\n\r\nxGET /3 "
      "HTTP/1.0\r\n\r\n",
      false, false, 3, "x", false },
    { "chunks",
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;ext=1\r\n0123456789\r\n"
      "0\r\n\r\n",
      false, false, 1, "abc0123456789", false },
    { "chunks with trailers, then another",
      "POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n"
      "GET / HTTP/1.1\r\n\r\n",
      false, false, 2, "x", false },
    { "a response with a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true, false, 1,
      "hi", false },
    { "a response until the end", "HTTP/1.1 200 OK\r\n\r\nall of it", true, false, 0, "all of it",
      false },
    { "no reason phrase", "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", true, false, 1, "", false },
    { "204 has none",
      "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\n"
      "Content-Length: 9\r\n\r\n",
      true, false, 2, "", false },
    { "100, then the answer",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1"
      "\r\n\r\ny",
      true, false, 2, "y", false },
    { "the answer to HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", true, true, 1, "",
      false },

    { "length and chunked",
      "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked"
      "\r\n\r\n",
      false, false, 0, "", true },
    { "two lengths", "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", false,
      false, 0, "", true },
    { "a list of lengths", "POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\n", false, false, 0, "",
      true },
    { "a signed length", "POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n", false, false, 0, "",
      true },
    { "a length too long", "POST / HTTP/1.1\r\nContent-Length: 9999999999999999999\r\n\r\n", false,
      false, 0, "", true },
    { "gzip, chunked", "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", false, false,
      0, "", true },
    { "chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", false, false,
      0, "", true },
    { "a folded field", "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", false, false, 0, "", true },
    { "a blank before the colon", "GET / HTTP/1.1\r\nA : b\r\n\r\n", false, false, 0, "", true },
    { "bare line feeds", "GET / HTTP/1.1\nHost: a\n\n", false, false, 0, "", true },
    { "one bare line feed", "GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", false, false, 0, "", true },
    { "no version", "GET /\r\n\r\n", false, false, 0, "", true },
    { "HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false, false, 0, "", true },
    { "a blank in the target", "GET /a b HTTP/1.1\r\n\r\n", false, false, 0, "", true },
    { "TLS", "\x16\x03\x01\x02", false, false, 0, "", true },
    { "Redis", "*1\r\n$4\r\nPING\r\n", false, false, 0, "", true },
    { "SMTP", "EHLO there\r\n", false, false, 0, "", true },
    { "a greeting", "220 mail ESMTP\r\n", true, false, 0, "", true },
    { "status 99", "HTTP/1.1 099 Odd\r\n\r\n", true, false, 0, "", true },
    { "a chunk size that is none", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
      false, false, 0, "", true },
    { "a chunk size with a sign", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
      false, false, 0, "", true },
    { "a chunk size too long",
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1234567890abcdef0\r\n", false, false, 0,
      "", true },
    { "a chunk line with a bare line feed",
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nx\r\n", false, false, 0, "",
      true },
    { "a chunk longer than it said",
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n", false, false, 0, "x",
      true },
};

struct seen {
    unsigned heads, ends;
    bool bad;
    struct buf payload, raw; /* raw: all that was handed out, then all that was not */
};

/* Feeds one part; everything that was taken must come out again, in order. */
static void feed(struct http_parser *p, const struct stream *s, const char *data, size_t len,
                 struct seen *seen)
{
    struct http_piece piece = { .kind = HTTP_PIECE_END };

    while (!seen->bad && (len > 0 || piece.kind != HTTP_PIECE_MORE)) {
        if (http_parser_is_between(p))
            p->no_body = s->no_body;
        size_t took = http_parser_feed(p, data, len, &piece);
        assert_true(took <= len);
        data += took;
        len -= took;
        buf_add(&seen->raw, piece.raw.p, piece.raw.n);
        seen->heads += piece.kind == HTTP_PIECE_HEAD;
        seen->ends += piece.kind == HTTP_PIECE_END;
        seen->bad = piece.kind == HTTP_PIECE_BAD;
        if (piece.kind == HTTP_PIECE_BODY && piece.is_payload)
            buf_add(&seen->payload, piece.raw.p, piece.raw.n);
    }
    struct http_span held = http_parser_held(p);
    if (seen->bad) {
        buf_add(&seen->raw, held.p, held.n);
        buf_add(&seen->raw, data, len);
    }
}

static void check(const struct stream *s, size_t cut, bool by_bytes)
{
    struct http_parser p;
    struct seen seen = { .payload = BUF_INIT(0), .raw = BUF_INIT(0) };
    size_t n = strlen(s->bytes);

    http_parser_init(&p, s->is_response);
    if (by_bytes) {
        for (size_t i = 0; i < n && !seen.bad; i++)
            feed(&p, s, s->bytes + i, 1, &seen);
    } else {
        feed(&p, s, s->bytes, cut, &seen);
        if (!seen.bad)
            feed(&p, s, s->bytes + cut, n - cut, &seen);
        else
            buf_add(&seen.raw, s->bytes + cut, n - cut);
    }
    if (seen.bad != s->bad || seen.ends != s->messages ||
        strcmp(buf_str(&seen.payload), s->payload) != 0)
        fail_msg("%s, cut at %zu%s: bad %d, %u messages, payload '%s'", s->what, cut,
                 by_bytes ? " (bytes)" : "", seen.bad, seen.ends, buf_str(&seen.payload));
    if (!by_bytes || !seen.bad) {
        assert_int_equal(seen.raw.len, n);
        assert_memory_equal(buf_str(&seen.raw), s->bytes, n);
    }
    http_parser_done(&p);
    buf_done(&seen.payload);
    buf_done(&seen.raw);
}

static void test_streams(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        for (size_t cut = 0; cut <= strlen(streams[i].bytes); cut++)
            check(&streams[i], cut, false);
        check(&streams[i], 0, true);
    }
}

static void test_heads_have_a_bound(void **state)
{
    auto_buf struct buf text = BUF_INIT(0);
    struct http_parser p;
    struct http_piece piece;

    (void)state;
    buf_adds(&text, "GET / HTTP/1.1\r\n");
    while (text.len < HTTP_MSG_HEAD_MAX + 100)
        buf_adds(&text, "X-Long: 0123456789012345678901234567890123456789\r\n");
    http_parser_init(&p, false);
    size_t took = http_parser_feed(&p, text.data, 1000, &piece);
    assert_int_equal(piece.kind, HTTP_PIECE_MORE);
    for (size_t at = took; piece.kind == HTTP_PIECE_MORE && at < text.len;)
        at += http_parser_feed(&p, text.data + at, MIN(text.len - at, 5000), &piece);
    assert_int_equal(piece.kind, HTTP_PIECE_BAD);
    http_parser_done(&p);
}

/* ---- heads ---- */

static struct http_head parsed(const char *text, bool is_response)
{
    struct http_head h;

    assert_int_equal(http_head_parse((struct http_span){ text, strlen(text) }, is_response, &h), 0);
    return h;
}

static void test_head_fields(void **state)
{
    struct http_head h = parsed("POST /a?b=1 HTTP/1.1\r\nhost: x\r\nA:  one \r\na: two\r\n"
                                "Expect: 100-continue\r\n\r\n",
                                false);
    struct http_span v;

    (void)state;
    assert_true(http_span_is(h.method, "POST"));
    assert_true(http_span_is(h.target, "/a?b=1"));
    assert_int_equal(h.minor, 1);
    assert_true(h.expect_continue);
    assert_true(http_head_find(&h, "HOST", &v) && http_span_is(v, "x"));
    assert_true(http_head_find(&h, "A", &v) && http_span_is(v, "one"));
    assert_false(http_head_find(&h, "b", &v));
    assert_false(http_span_is(h.method, "POS"));
    assert_true(http_span_is_nocase(h.method, "post"));
}

static void test_head_persists(void **state)
{
    static const struct {
        const char *text;
        bool persists;
    } rows[] = {
        { "GET / HTTP/1.1\r\n\r\n", true },
        { "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false },
        { "GET / HTTP/1.1\r\nConnection: foo, Close\r\n\r\n", false },
        { "GET / HTTP/1.0\r\n\r\n", false },
        { "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true },
        { "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_head h = parsed(rows[i].text, false);
        assert_int_equal(http_head_persists(&h), rows[i].persists);
    }
}

static void test_head_copy(void **state)
{
    struct http_head h =
        parsed("HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 3\r\nB: 2\r\n\r\n", true);
    static const char *const drop[] = { "content-length", "b", NULL };
    auto_buf struct buf out = BUF_INIT(0);

    (void)state;
    http_head_copy(&h, (struct http_span){ 0 }, drop, "C: 3\r\n", &out);
    assert_string_equal(buf_str(&out), "HTTP/1.1 200 OK\r\nA: 1\r\nC: 3\r\n\r\n");
    buf_clear(&out);
    http_head_copy(&h, (struct http_span){ "HTTP/1.1 500 No", 15 }, NULL, "", &out);
    assert_string_equal(buf_str(&out),
                        "HTTP/1.1 500 No\r\nA: 1\r\nContent-Length: 3\r\nB: 2\r\n\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),     cmocka_unit_test(test_heads_have_a_bound),
        cmocka_unit_test(test_head_fields), cmocka_unit_test(test_head_persists),
        cmocka_unit_test(test_head_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
