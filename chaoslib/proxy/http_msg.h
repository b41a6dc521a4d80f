/* HTTP/1.1 messages as the fault proxy and the demo target see them: where one begins and ends, and
 * what its head says. Pure: bytes in, pieces out, no sockets.
 *
 * Strict on purpose: whatever could be framed in two ways (a length beside chunked, two lengths, a
 * folded field, a bare line feed) is "not HTTP" here. The proxy then passes the bytes on untouched,
 * which can never break a conversation; a wrong guess could. */
#ifndef CHAOSLIB_PROXY_HTTP_MSG_H
#define CHAOSLIB_PROXY_HTTP_MSG_H

#include "base/mem.h"

#define HTTP_MSG_HEAD_MAX ((size_t)64 << 10)
#define HTTP_MSG_METHOD_MAX 32u
#define HTTP_MSG_CHUNK_LINE_MAX 4096u
#define HTTP_MSG_TRAILER_MAX ((size_t)16 << 10)

struct http_span {
    const char *p;
    size_t n;
};
bool http_span_is(struct http_span s, const char *text);        /* exactly */
bool http_span_is_nocase(struct http_span s, const char *text); /* in any case */

/* A whole head, from the start line to the empty line. All spans point into `text`. */
struct http_head {
    struct http_span text;
    struct http_span line;           /* the start line without its CRLF */
    struct http_span method, target; /* requests */
    int status;                      /* responses */
    int minor;                       /* of HTTP/1.x */
    bool has_length, chunked, close, keep_alive, expect_continue;
    uint64_t length;
};
/* 0, or -1 when it is not a head that can be framed without doubt. */
int http_head_parse(struct http_span text, bool is_response, struct http_head *ret) MUST_CHECK;
/* How much of the beginning of `s` may be a method: capital letters and dashes. */
size_t http_method_len(struct http_span s);
/* Walks the fields; *pos starts at 0. False after the last. */
bool http_head_next(const struct http_head *h, size_t *pos, struct http_span *name,
                    struct http_span *value);
/* The first field of that name. */
bool http_head_find(const struct http_head *h, const char *name, struct http_span *ret);
/* True when the connection may carry another message after this one. */
bool http_head_persists(const struct http_head *h);

/* Copies a head into `out`: without the fields named in `drop` (NULL-terminated, any case), with
 * `line` as the start line (n == 0: as it was) and `add` before the empty line (whole lines with
 * CRLF, or ""). */
void http_head_copy(const struct http_head *h, struct http_span line, const char *const *drop,
                    const char *add, struct buf *out);

/* ---- framing: feed bytes, get one piece at a time ---- */
enum http_piece_kind {
    HTTP_PIECE_MORE, /* all was taken; nothing to see yet */
    HTTP_PIECE_HEAD, /* parser->head is valid until the next feed */
    HTTP_PIECE_BODY, /* bytes of the body as they are on the wire */
    HTTP_PIECE_END,  /* the message is over; the next feed begins another */
    HTTP_PIECE_BAD,  /* not HTTP: nothing was taken, http_parser_held() has what was kept back */
};

struct http_piece {
    enum http_piece_kind kind;
    struct http_span raw; /* HEAD and BODY: exactly these bytes of the stream */
    bool is_payload;      /* BODY: content, not the framing of chunks */
};

struct http_parser {
    bool is_response;
    bool no_body; /* responses: the answer to HEAD; set it before each message */
    int state;
    struct http_head head;
    struct buf held; /* a head that arrived in parts */
    bool held_used;
    uint64_t left; /* of the body, or of the chunk */
    unsigned digits;
    bool saw_cr;
    size_t line_len;
};

void http_parser_init(struct http_parser *p, bool is_response);
void http_parser_done(struct http_parser *p);
/* Returns how many bytes it took; call again with the rest until `MORE` or `BAD`. With len 0 it may
 * still say END (a message without a body). A response that ends with the connection never says
 * END. */
size_t http_parser_feed(struct http_parser *p, const char *data, size_t len,
                        struct http_piece *ret);
/* Bytes taken but not handed out, as after BAD. */
struct http_span http_parser_held(const struct http_parser *p);
bool http_parser_is_between(const struct http_parser *p); /* at the start of a message */

#endif
