/* An HTTP/1.x answer, parsed as its bytes come: pure, knows no socket, and gives the same result
 * for the same bytes however they are cut into pieces. What lies whole in the caller's memory is
 * pointed at, not copied.
 *
 * Accepted: HTTP/1.0 and 1.1; lines that end in CRLF or in LF alone; interim answers (1xx but 101)
 * before the real one; Content-Length, chunked (extensions are skipped, trailers checked), or a
 * body that ends with the connection; no body for HEAD, 204, 304.
 * Refused as FAIL_MALFORMED: any other version, status below 100 or above 599, 101, folded headers,
 * a header without a colon or with a name that is no token, a NUL or a CR that ends no line, more
 * than one Content-Length or Transfer-Encoding, both at once, a length that is not plain digits
 * below 2^63, a transfer coding other than "chunked", any in HTTP/1.0, a chunk that does not end
 * where it said.
 * Refused as FAIL_TOO_LARGE: heads (interim ones included) or trailers past HTTP_HEAD_MAX, chunk
 * lines past HTTP_CHUNK_LINE_MAX, wanted bodies past HTTP_BODY_MAX. Bodies that are not wanted are
 * counted only. */
#ifndef RUNNER_HTTP1_H
#define RUNNER_HTTP1_H

#include "base/mem.h"
#include "runner/stats.h"

#define HTTP_HEAD_MAX ((size_t)64 << 10)
#define HTTP_BODY_MAX ((size_t)8 << 20)
#define HTTP_CHUNK_LINE_MAX 4096

enum http1_state { HTTP1_MORE, HTTP1_DONE, HTTP1_FAILED };

struct http1 { /* zeroed: ready for http1_begin */
    /* The result. Texts are valid until the next http1_feed or http1_done, and no longer than the
     * memory that was fed last. */
    enum http1_state state;
    uint16_t status;      /* 0 until the status line was read */
    bool keep_alive;      /* DONE: the server will answer another request on this connection */
    bool is_gzip;         /* the body is gzip or zlib data */
    enum fail_class fail; /* FAILED */
    const char *why;      /* FAILED: a sentence */
    const char *head; /* once complete: status line and headers with the empty line; else NULL */
    size_t head_len;
    const char *body; /* DONE, when wanted: as transferred, chunks joined; else NULL */
    size_t body_len;
    uint64_t body_bytes; /* so far, wanted or not */

    /* Private. */
    bool is_head_request, want_body, is_old, wants_close, wants_keep, has_length, is_chunked;
    bool begun; /* some byte was fed */
    uint8_t phase, chunk_part;
    uint32_t line, scanned; /* head: where the current line begins; searched so far for its end */
    uint32_t interim;       /* bytes of 1xx heads */
    uint64_t left;          /* of the body or the chunk */
    struct buf kept;        /* a head that came in pieces, or whose body did */
    struct buf body_buf;    /* a wanted body that came in pieces */
};

/* Before each answer. Earlier texts stay valid until the first feed. */
void http1_begin(struct http1 *h, bool is_head_request, bool want_body);
/* Takes bytes until the answer is complete or refused; returns how many were its own. */
size_t http1_feed(struct http1 *h, const char *data, size_t len);
/* The stream has ended: DONE if the body was to end so, else FAIL_CLOSED (no byte came) or
 * FAIL_SHORT_BODY. */
void http1_eof(struct http1 *h);
/* Lets go of large memory between answers; a usual head's stays for the next one. */
void http1_rest(struct http1 *h);
void http1_done(struct http1 *h);

#endif
