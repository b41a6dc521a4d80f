/* Framing of HTTP/1.1: cuts a stream into heads, pieces of bodies and ends of messages. Bodies are
 * handed out as they lie on the wire, chunk framing included, so that what is not to be changed can
 * be passed on without being built again. */
#include "chaoslib/proxy/http_msg.h"

#include <string.h>

enum parser_state {
    AT_HEAD,
    AT_LENGTH,     /* `left` bytes of body */
    AT_CLOSE,      /* body until the connection ends */
    AT_CHUNK_SIZE, /* the line that says how long the chunk is */
    AT_CHUNK,      /* `left` bytes of it */
    AT_CHUNK_END,  /* its CRLF */
    AT_TRAILER,    /* lines until an empty one */
    AT_END,        /* END is to be said */
};

void http_parser_init(struct http_parser *p, bool is_response)
{
    *p = (struct http_parser){ .is_response = is_response, .held = BUF_INIT(HTTP_MSG_HEAD_MAX) };
}

void http_parser_done(struct http_parser *p)
{
    buf_done(&p->held);
}

struct http_span http_parser_held(const struct http_parser *p)
{
    return (struct http_span){ buf_str(&p->held), p->held_used ? 0 : p->held.len };
}

bool http_parser_is_between(const struct http_parser *p)
{
    return p->state == AT_HEAD && http_parser_held(p).n == 0;
}

/* Could this still become a head? Says no as early as it can, so that other protocols are not kept
 * waiting for an empty line that never comes. */
static bool may_be_head(struct http_span s, bool is_response)
{
    static const char version[] = "HTTP/1.";

    if (is_response)
        return memcmp(s.p, version, MIN(s.n, sizeof version - 1)) == 0;
    size_t n = http_method_len(s);
    if (n == s.n)
        return true;
    if (n == 0 || s.p[n] != ' ')
        return false;
    const char *lf = memchr(s.p, '\n', s.n);
    size_t line = lf ? (size_t)(lf - s.p) : 0;
    return !lf || (line > 10 && memcmp(lf - 10, " HTTP/1.", 8) == 0 && lf[-1] == '\r');
}

static void body_begin(struct http_parser *p)
{
    const struct http_head *h = &p->head;
    bool none =
        p->is_response && (p->no_body || h->status < 200 || h->status == 204 || h->status == 304);

    p->left = h->has_length ? h->length : 0;
    p->digits = 0;
    p->line_len = 0;
    p->saw_cr = false;
    if (none)
        p->state = AT_END;
    else if (h->chunked)
        p->state = AT_CHUNK_SIZE;
    else if (h->has_length || !p->is_response)
        p->state = p->left > 0 ? AT_LENGTH : AT_END;
    else
        p->state = AT_CLOSE;
}

static size_t bad(struct http_piece *ret)
{
    *ret = (struct http_piece){ .kind = HTTP_PIECE_BAD };
    return 0;
}

static size_t head_is(struct http_parser *p, struct http_span text, size_t took,
                      struct http_piece *ret)
{
    if (http_head_parse(text, p->is_response, &p->head) < 0)
        return bad(ret);
    *ret = (struct http_piece){ .kind = HTTP_PIECE_HEAD, .raw = text };
    body_begin(p);
    return took;
}

/* The rest of a head whose beginning is held. */
static size_t head_continue(struct http_parser *p, const char *data, size_t len,
                            struct http_piece *ret)
{
    size_t before = p->held.len;
    size_t n = MIN(len, HTTP_MSG_HEAD_MAX - before);
    size_t from = before > 3 ? before - 3 : 0;

    if (n == 0)
        return bad(ret);
    buf_add(&p->held, data, n);
    const char *end = memmem(p->held.data + from, p->held.len - from, "\r\n\r\n", 4);
    struct http_span held = { p->held.data, p->held.len };
    if (!end) {
        if (may_be_head(held, p->is_response)) {
            *ret = (struct http_piece){ .kind = HTTP_PIECE_MORE };
            return n;
        }
        p->held.len = before;
        return bad(ret);
    }
    held.n = (size_t)(end - held.p) + 4;
    size_t took = head_is(p, held, held.n - before, ret);
    p->held.len = ret->kind == HTTP_PIECE_BAD ? before : held.n;
    p->held_used = ret->kind != HTTP_PIECE_BAD;
    return took;
}

static size_t head_feed(struct http_parser *p, const char *data, size_t len, struct http_piece *ret)
{
    if (p->held.len > 0)
        return head_continue(p, data, len, ret);
    const char *end = memmem(data, MIN(len, HTTP_MSG_HEAD_MAX), "\r\n\r\n", 4);
    if (end) {
        size_t n = (size_t)(end - data) + 4;
        return head_is(p, (struct http_span){ data, n }, n, ret);
    }
    if (len >= HTTP_MSG_HEAD_MAX || !may_be_head((struct http_span){ data, len }, p->is_response))
        return bad(ret);
    buf_add(&p->held, data, len);
    *ret = (struct http_piece){ .kind = HTTP_PIECE_MORE };
    return len;
}

static size_t body_is(const char *data, size_t n, bool payload, struct http_piece *ret)
{
    *ret =
        (struct http_piece){ .kind = HTTP_PIECE_BODY, .raw = { data, n }, .is_payload = payload };
    return n;
}

static size_t counted_feed(struct http_parser *p, const char *data, size_t len,
                           struct http_piece *ret)
{
    size_t n = p->left < len ? (size_t)p->left : len;

    p->left -= n;
    if (p->left == 0)
        p->state = p->state == AT_LENGTH ? AT_END : AT_CHUNK_END;
    return body_is(data, n, true, ret);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One character of a chunk-size line. 0, -1 on a mistake, 1 when the line is over. */
static int size_char(struct http_parser *p, char c)
{
    bool in_digits = p->digits == p->line_len;
    int digit = in_digits ? hex_digit(c) : -1;

    if (p->saw_cr)
        return c == '\n' ? 1 : -1;
    if (++p->line_len > HTTP_MSG_CHUNK_LINE_MAX)
        return -1;
    if (digit >= 0) {
        p->left = p->left * 16 + (uint64_t)digit;
        return ++p->digits > 15 ? -1 : 0;
    }
    if (p->digits == 0 || (in_digits && c != ';' && c != '\r' && c != ' '))
        return -1;
    p->saw_cr = c == '\r';
    return c == '\n' ? -1 : 0;
}

static size_t chunk_size_feed(struct http_parser *p, const char *data, size_t len,
                              struct http_piece *ret)
{
    for (size_t i = 0; i < len; i++) {
        if (p->line_len == 0)
            p->left = 0;
        int rc = size_char(p, data[i]);
        if (rc < 0)
            return bad(ret);
        if (rc == 0)
            continue;
        p->state = p->left > 0 ? AT_CHUNK : AT_TRAILER;
        p->digits = 0;
        p->line_len = 0;
        p->saw_cr = false;
        return body_is(data, i + 1, false, ret);
    }
    return body_is(data, len, false, ret);
}

static size_t chunk_end_feed(struct http_parser *p, const char *data, struct http_piece *ret)
{
    if (data[0] != "\r\n"[p->line_len])
        return bad(ret);
    if (++p->line_len == 2) {
        p->state = AT_CHUNK_SIZE;
        p->line_len = 0;
    }
    return body_is(data, 1, false, ret);
}

/* Trailers are passed over: `line_len` counts the line, `left` all of them. */
static size_t trailer_feed(struct http_parser *p, const char *data, size_t len,
                           struct http_piece *ret)
{
    for (size_t i = 0; i < len; i++) {
        if (++p->left > HTTP_MSG_TRAILER_MAX)
            return bad(ret);
        if (data[i] != '\n') {
            p->line_len += data[i] == '\r' ? 0 : 1;
            continue;
        }
        bool empty = p->line_len == 0;
        p->line_len = 0;
        if (!empty)
            continue;
        p->state = AT_END;
        return body_is(data, i + 1, false, ret);
    }
    return body_is(data, len, false, ret);
}

size_t http_parser_feed(struct http_parser *p, const char *data, size_t len, struct http_piece *ret)
{
    if (p->held_used) {
        buf_clear(&p->held);
        p->held_used = false;
    }
    if (p->state == AT_END) {
        *ret = (struct http_piece){ .kind = HTTP_PIECE_END };
        p->state = AT_HEAD;
        p->no_body = false;
        return 0;
    }
    *ret = (struct http_piece){ .kind = HTTP_PIECE_MORE };
    if (len == 0)
        return 0;
    switch ((enum parser_state)p->state) {
    case AT_HEAD: return head_feed(p, data, len, ret);
    case AT_LENGTH:
    case AT_CHUNK: return counted_feed(p, data, len, ret);
    case AT_CHUNK_SIZE: return chunk_size_feed(p, data, len, ret);
    case AT_CHUNK_END: return chunk_end_feed(p, data, ret);
    case AT_TRAILER: return trailer_feed(p, data, len, ret);
    case AT_CLOSE:
    case AT_END: break;
    }
    return body_is(data, len, true, ret);
}
