/* What conn.c (an open connection) and conn_open.c (how it gets there) share. Nobody else includes
 * this. */
#ifndef RUNNER_CONN_INTERNAL_H
#define RUNNER_CONN_INTERNAL_H

#include <sys/un.h>

#include "runner/conn.h"

#define CONN_RX_SIZE ((size_t)64 << 10)
#define SOURCES_MAX 256

struct conn_env {
    struct loop *loop;
    struct timers *timers;
    struct resolver *resolver;
    struct tls_ctx *tls; /* NULL until an endpoint needs it */
    const struct http_plan *http;
    union address *sources;
    size_t n_sources, next_source;
    uint64_t n_open;
    int fd_end; /* no socket has this number or a higher one */
    char *rx;   /* one receive buffer for all connections of the thread */
};

struct endpoint {
    struct conn_env *env;
    struct name *name; /* NULL: a unix socket */
    struct sockaddr_un path;
    char *tls_name; /* NULL: no TLS */
    struct tls_session *session;
};

/* The connection ends now, from an event of the loop. */
void conn_fail(struct conn *c, enum fail_class why_class, const char *why);
void conn_fail_errno(struct conn *c, enum fail_class why_class, int code, const char *doing);
/* Its next stage begins, and must end by `deadline_ns` or the request's deadline. */
void conn_stage(struct conn *c, enum conn_state state, uint64_t now_ns);
/* What the loop watches it for changes. */
void conn_watch(struct conn *c, unsigned events);
void conn_is_open(struct conn *c, uint64_t now_ns);
/* Sends what there is, as far as it goes; reads up to `max` bytes and tells. */
void conn_flush(struct conn *c);
void conn_read(struct conn *c, size_t max);
/* The same for one with a pace. */
void conn_pace_flush(struct conn *c);
void conn_pace_read(struct conn *c);
/* Continues one that is CONNECTING or SHAKING. */
void conn_open_step(struct conn *c);
void conn_abandon(struct conn *c); /* closes the socket alone: another address is next */

#endif
