/* HTTP by libcurl: what the native load engine does not speak (proxies, HTTP/2), and everything off
 * the hot path.
 *
 * Two ways in: http_fetch blocks until the answer or the deadline (for straight-line code in its
 * own thread); http_multi sends many at once on a loop (for the second load engine). Neither reads
 * proxy settings, cookies or .netrc from the environment. */
#ifndef EDGE_HTTP_H
#define EDGE_HTTP_H

#include "base/mem.h"
#include "edge/loop.h"

#define HTTP_HEAD_MAX ((size_t)256 << 10)
#define HTTP_BODY_MAX ((size_t)16 << 20) /* the default of body_max */

struct http_tls {
    bool no_verify;
    const char *ca_file, *cert_file, *key_file; /* PEM; NULL: the system's, none, none */
    const char *sni;         /* name to ask for and check instead of the URL's host */
    const char *min_version; /* "1.2" (default) or "1.3" */
    bool no_resume;
};

/* ---- blocking ---- */

struct http_req {
    const char *method; /* NULL: GET */
    const char *url;
    const char *unix_socket;    /* connect there instead (Docker); the URL keeps its host */
    const char *const *headers; /* "Name: value", NULL-terminated; NULL: none */
    const void *body;
    size_t body_len;
    uint64_t timeout_ms;    /* of everything; 0: 30 s */
    size_t body_max;        /* a larger answer is an error; 0: HTTP_BODY_MAX */
    unsigned max_redirects; /* 0: redirects are answers like any other */
    struct http_tls tls;
};

struct http_resp {
    unsigned status;
    struct buf head; /* of the last answer */
    struct buf body;
};

/* Any status is an answer; only its absence is a failure (ERR_TIMEOUT with -ETIMEDOUT,
 * -ECONNREFUSED, -ECONNRESET, -EHOSTUNREACH, -EPROTO of TLS, -EMSGSIZE past body_max, else -EIO).
 * Any thread. */
int http_fetch(const struct http_req *req, struct http_resp *ret, struct err *err) MUST_CHECK;
void http_resp_done(struct http_resp *r);

/* Appends a text so that it can stand in a path or a query. */
void http_escape(struct buf *out, const char *text);

/* ---- an answer without end ---- */

/* Called on the thread that called http_stream; false ends it. The bytes live during the call. */
struct http_follower {
    bool (*on_head)(void *arg, unsigned status); /* once, when the whole head is there */
    bool (*on_data)(void *arg, const char *data, size_t len);
    void *arg;
    int stop_fd; /* ends it when readable; -1: none */
};

/* Blocks until the answer ends (0), or a callback or stop_fd ended it (1). The request's timeout is
 * that of the head: afterwards silence is no failure. Failures are those of http_fetch. */
int http_stream(const struct http_req *req, const struct http_follower *f,
                struct err *err) MUST_CHECK;

/* ---- many, on a loop ---- */

/* Why there is no (whole) answer. */
enum http_fail {
    HTTP_OK,
    HTTP_DNS,
    HTTP_REFUSED,
    HTTP_UNREACHABLE,
    HTTP_CONNECT_TIMEOUT,
    HTTP_TLS,
    HTTP_TLS_TIMEOUT,
    HTTP_RESET,
    HTTP_CLOSED,           /* before the first byte */
    HTTP_SHORT,            /* inside head or body */
    HTTP_RESPONSE_TIMEOUT, /* nothing came */
    HTTP_TRANSFER_TIMEOUT, /* it began and did not end */
    HTTP_MALFORMED,
    HTTP_TOO_LARGE,
    HTTP_CUT, /* by http_call_cut or http_multi_free */
    HTTP_INTERNAL,
    HTTP_FAIL_MAX
};

struct http_multi_opts {
    struct loop *loop;
    const char *proxy;        /* NULL: none */
    const char *http_version; /* "1.1", "2" */
    uint64_t connect_timeout_ns;
    int64_t dns_ttl_s;                   /* 0: a look-up per connection; -1: for ever */
    const char *const *source_addresses; /* n_sources of them, taken in turn */
    size_t n_sources;
    struct http_tls tls;
    int fd_end; /* a socket gets no such number or a higher one; 0: any */
};

struct http_multi;
struct http_lane; /* connections of its own, shared with no other lane */
struct http_call;

struct http_send {
    const char *method, *url;
    const char *unix_socket;
    const char *connect_to;     /* NULL, or "ip:port": where connections really go */
    const char *const *headers; /* all that is sent, NULL-terminated; borrowed during the call */
    size_t n_headers;
    const void *body; /* NULL: none. Lives until done */
    size_t body_len;
    bool is_head, want_body, decode, close;
    uint64_t timeout_ns;
};

struct http_outcome { /* valid during the callback */
    enum http_fail fail;
    const char *why; /* a sentence when fail is set */
    unsigned status;
    bool reused;
    uint64_t send_ns, first_ns, done_ns; /* CLOCK_MONOTONIC; 0: did not happen */
    uint64_t dns_ns, connect_ns, tls_ns;
    uint64_t bytes_in, bytes_out;
    const struct buf *head, *body;
};

/* Once per accepted call, on the loop's thread, never from inside http_multi_send. */
typedef void http_done_fn(void *arg, const struct http_outcome *o);

struct http_multi *http_multi_new(const struct http_multi_opts *opts, struct err *err);
/* No call may be in flight (cut them first) and all lanes must be freed. */
void http_multi_free(struct http_multi *m);
struct http_lane *http_lane_new(struct http_multi *m);
void http_lane_free(struct http_lane *l); /* nothing may be in flight on it */
/* `lane` NULL: a connection of the common pool. Never fails: see http_done_fn. */
struct http_call *http_multi_send(struct http_multi *m, struct http_lane *lane,
                                  const struct http_send *s, http_done_fn *done, void *arg);
void http_call_cut(struct http_call *c);       /* its callback comes from the loop, with HTTP_CUT */
void http_multi_cut_all(struct http_multi *m); /* the callbacks come now */
uint64_t http_multi_connections(const struct http_multi *m); /* open now */

#endif
