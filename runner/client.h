/* An HTTP client on one loop: prebuilt request bytes go out, a scanned answer comes back. Two
 * engines stand behind it: native (HTTP/1.1 on sockets and OpenSSL) and curl. One thread.
 *
 * Layers of the native engine: http1.h (a pure parser that knows no socket) under client.c (pool,
 * keep-alive, origins), over conn.h (a connection that knows no HTTP: connect, TLS, send, receive,
 * stage times, timeouts). */
#ifndef RUNNER_CLIENT_H
#define RUNNER_CLIENT_H

#include "edge/loop.h"
#include "runner/misdeed.h"
#include "runner/stats.h"

struct client;
struct origin; /* scheme, host, port (or unix socket path): where requests go. Interned per client.
                */

/* A user's own connection (CONN_PER_USER); zeroed means none. With CONN_POOLED pass NULL instead.
 * lane_close before its user goes. */
struct lane {
    void *conn;
    const struct origin *origin;
};

struct request {
    const struct origin *origin;
    const char *bytes; /* whole request, head and body; must live until done is called */
    size_t len;
    bool is_head;                /* HEAD: the answer has no body */
    bool want_body;              /* keep the body (decoded) for checks; else it is only counted */
    bool close;                  /* do not keep the connection afterwards */
    uint64_t sched_ns, start_ns; /* copied into the answer's sample */
    uint64_t timeout_ns;         /* 0: the plan's */
};

/* Valid during the callback only. */
struct answer {
    struct sample sample; /* task, redirects: left 0 for the caller */
    const char *why;      /* a sentence for the log when sample.fail is set; else NULL */
    bool reused;          /* went over a kept-alive connection */
    const char *head;     /* status line and headers as received; NULL when there was none */
    size_t head_len;
    const char *body; /* NULL unless want_body; not NUL-terminated */
    size_t body_len;
};

/* Once for each accepted request, on the loop's thread, never from inside client_send. It may send
 * again at once, on the same lane, and may close lanes. */
typedef void client_done_fn(void *arg, const struct answer *a);

struct client_opts {
    struct loop *loop;
    const struct http_plan *http;
    const char
        *connect_to; /* see runner_opts: NULL or "ip:port" for the origin named by `target` */
    const char *target;
};

struct client *client_new(const struct client_opts *opts, struct err *err);
void client_free(struct client *c); /* cuts what is in flight: each gets its callback with
                                       FAIL_INTERRUPTED first */

/* "http://host:port", "https://…", "unix:/path": interned, valid as long as the client. NULL and
 * err otherwise, also for one more than ORIGINS_MAX: servers can send us to ever new hosts. */
#define ORIGINS_MAX 1000
const struct origin *client_origin(struct client *c, const char *base_url, struct err *err);
const char *origin_host_header(const struct origin *o);

struct exchange; /* one request in flight */
/* Never fails: what cannot be sent gets its callback with the reason. Returns a handle for
 * client_cut, valid until the callback. */
struct exchange *client_send(struct client *c, struct lane *lane, const struct request *r,
                             client_done_fn *done, void *arg);
/* The same, on a connection of its own, as badly as the rule (which lives until the callback) says;
 * RETRY_STORM is none of the client's. Native engine only. Without misdeed_has_answer the answer
 * has no head, and FAIL_NONE means that all was done as it should be. */
struct exchange *client_misbehave(struct client *c, const struct request *r,
                                  const struct misdeed_rule *rule, client_done_fn *done, void *arg);
/* Ends all that is in flight by this rule: held connections are done, the rest is cut. */
void client_misbehave_end(struct client *c, const struct misdeed_rule *rule);
bool client_can_misbehave(const struct client *c);
bool origin_has_tls(const struct origin *o);
/* Cuts one request: its callback comes (from the loop) with `why_class` and the time so far. */
void client_cut(struct exchange *x, enum fail_class why_class);
void lane_close(struct client *c, struct lane *lane); /* nothing may be in flight on it */
uint64_t client_connections(const struct client *c);  /* open now */

/* What happened that is no failure of a request. */
struct client_counters {
    uint64_t idle_closed; /* kept connections that the server closed while they rested */
    uint64_t excess;      /* connections dropped because bytes came that nobody had asked for */
    uint64_t retried;     /* requests sent once more because their kept connection, rested for a
                             second or more, was found closed (see client_native.c) */
};
struct client_counters client_counters(const struct client *c);

/* The value of a header in an answer's head (case-insensitive name), or NULL; *ret_len without
 * outer blanks. `nth` counts from 0 for headers that repeat (Set-Cookie). */
const char *head_find(const char *head, size_t head_len, const char *name, unsigned nth,
                      size_t *ret_len);

/* Which engine this plan needs: NULL for native, else the sentence why it must be curl. */
const char *client_needs_curl(const struct load_plan *plan);

#endif
