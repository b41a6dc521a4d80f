/* The embedded fault proxy: TCP and HTTP, no privilege, in a thread with a loop of its own so that
 * it never shares one with the load. Toxics change under a running load; all calls are from any
 * thread and take effect before they return. */
#ifndef CHAOSLIB_PROXY_PROXY_H
#define CHAOSLIB_PROXY_PROXY_H

#include "base/param.h"

/* PROXY_TCP never looks into the bytes and takes no http toxics. The other two follow messages from
 * a connection's first byte, so that http toxics hit connections that are open already; AUTO is for
 * those who do not know what comes, HTTP counts a stream that is not HTTP/1 as a surprise. */
enum proxy_protocol { PROXY_TCP, PROXY_HTTP, PROXY_AUTO };
enum proxy_stream { PROXY_REQUEST = 1, PROXY_RESPONSE = 2, PROXY_BOTH = 3 };

/* One row of the plan's `proxies:`. */
struct proxy_plan {
    const char *name;
    const char *listen;   /* "127.0.0.1:0": port 0 picks one */
    const char *upstream; /* "127.0.0.1:5001", "[::1]:80", "unix:/path"; NULL: where each connection
                             was going before a rule redirected it */
    int protocol;         /* enum proxy_protocol; default "auto" */
    uint32_t mark;        /* of connections upstream; 0: none */
};
extern const struct param_table proxy_table;

enum toxic_kind {
    TOXIC_LATENCY,
    TOXIC_BANDWIDTH,
    TOXIC_LOSS,
    TOXIC_RESET,
    TOXIC_REFUSE,
    TOXIC_BLACKHOLE,
    TOXIC_SLOW_CLOSE,
    TOXIC_SLICER,
    TOXIC_LIMIT_DATA,
    TOXIC_HTTP_STATUS,
    TOXIC_HTTP_ABORT,
    TOXIC_HTTP_DELAY,
    TOXIC_HTTP_BODY,
    TOXIC_HTTP_HEADER,
    TOXIC_GRPC_STATUS,
    TOXIC_KIND_MAX
};

struct toxic_match { /* HTTP toxics; empty fields match all */
    const char *method, *path /* glob with * */, *header /* "Name: text" */;
};

struct toxic_calls { /* gRPC toxics; globs with commas between, "pkg.Shop,pkg.Cart*"; empty: all */
    const char *services, *methods;
};

struct toxic {
    enum toxic_kind kind;
    enum proxy_stream stream;
    double percent;               /* fraction 0..1 of connections (tcp) or requests (http) */
    uint64_t delay_ns, jitter_ns; /* latency, http-delay, slow-close, slicer's pause; loss: the
                                     stall (RTO, 200 ms) */
    uint64_t bits_per_sec;        /* bandwidth */
    uint64_t bytes;               /* limit-data; reset after so many; slicer's size */
    uint64_t after_ns;            /* reset, blackhole: after so much time */
    int status;                   /* http-status, grpc-status */
    const char *body;             /* http-status, http-body; grpc-status: the message */
    struct pairs headers;         /* http-header: set these (empty value: remove) */
    struct toxic_match match;
    struct toxic_calls calls;
    uint64_t seed;
};

struct proxies;
struct proxies *proxies_new(struct err *err); /* starts the thread */
int proxies_add(struct proxies *p, const struct proxy_plan *row,
                struct err *err) MUST_CHECK; /* binds, listens */
bool proxies_has(struct proxies *p, const char *name);
/* "127.0.0.1:41234": where it listens. */
int proxies_address(struct proxies *p, const char *name, char out[64], struct err *err) MUST_CHECK;
/* Copies what it keeps. The handle removes it; removal of what is gone is success.
 * `ret_effective_ns`: when the proxy's thread began to apply it. */
int proxies_toxic_add(struct proxies *p, const char *name, const struct toxic *t,
                      uint64_t *ret_handle, uint64_t *ret_effective_ns, struct err *err) MUST_CHECK;
int proxies_toxic_remove(struct proxies *p, const char *name, uint64_t handle,
                         uint64_t *ret_removed_ns, struct err *err) MUST_CHECK;
bool proxies_toxic_is_in(struct proxies *p, const char *name, uint64_t handle);
struct proxy_counts {
    uint64_t connections, open, bytes_up, bytes_down, requests, hit;
    uint64_t not_http; /* connections that were passed through because they were not HTTP/1 */
};
struct proxy_counts proxies_counts(struct proxies *p, const char *name);
/* Whom one toxic hit so far; zero once it is removed. */
struct toxic_hits {
    uint64_t connections, requests;
};
struct toxic_hits proxies_toxic_hits(struct proxies *p, const char *name, uint64_t handle);
void proxies_free(struct proxies *p); /* closes all, joins the thread */

#endif
