/* What the native engine's files share: client_native.c (honest requests) and client_deed.c (those
 * that are not). Nobody else includes this. */
#ifndef RUNNER_CLIENT_WIRE_H
#define RUNNER_CLIENT_WIRE_H

#include "runner/client_engine.h"
#include "runner/conn.h"
#include "runner/http1.h"

struct wire {
    struct exchange exchange; /* first */
    struct conn conn;
    struct http1 parser;
    struct wire *next; /* in its lane, its pool, or among the dead */
    LIST_ENTRY(wire) all;
    const struct origin *origin;
    bool is_busy, is_pooled, is_dead;
    bool is_reused, is_retried;

    struct request request;
    client_done_fn *done;
    void *arg;
    uint64_t deadline_ns, first_send_ns, idle_since_ns, rested_ns;
};

struct native {
    struct client base; /* first */
    struct conn_env *env;
    LIST_HEAD(, wire) wires;
    struct wire *dead; /* freed when no event of theirs can be on the stack */
    unsigned depth;    /* of callbacks */
    struct buf plain;  /* the inflated body of the answer that is being told */
};

struct pool { /* an origin's */
    struct endpoint *endpoint;
    struct wire *idle;
};

static inline struct wire *wire_of(struct conn *c)
{
    return CONTAINER_OF(c, struct wire, conn);
}

static inline struct native *native_of(const struct client *c)
{
    return (struct native *)(uintptr_t)c;
}

static inline struct native *client_of(const struct wire *w)
{
    return native_of(w->exchange.client);
}

static inline struct pool *pool_of(const struct origin *o)
{
    return o->engine;
}

extern const struct conn_events wire_events; /* of an honest one */
struct wire *wire_new(struct native *n, const struct origin *o);
/* Closed at once; the memory goes when no event of it can be on the stack. */
void wire_bury(struct wire *w);
/* First in each event. */
void wire_begin_event(struct native *n);
/* A request begins on it, or another one after it: fills all but the connection. */
void wire_take(struct wire *w, const struct request *r, uint64_t now_ns);
/* Tells the end of its request: the wire is at rest by then. FAIL_NONE: what it was to do is done.
 */
void wire_tell(struct wire *w, enum fail_class why_class, const char *why);

/* client_deed.c */
struct exchange *deed_send(struct client *c, const struct request *r,
                           const struct misdeed_rule *rule, client_done_fn *done, void *arg);
void deed_end(struct client *c, const struct misdeed_rule *rule);
/* What it does wrong on purpose; NULL: nothing. */
struct deed *deed_of(const struct wire *w);
void deed_free(struct deed *d);

#endif
