/* The native engine: HTTP/1.1 over conn.h. A wire is one connection with its parser and the request
 * that is on it, in one block of memory, so that a request allocates nothing. A user's lane is a
 * short list of wires (one per origin); pooled wires rest in their origin's pool, last used first.
 *
 * A kept connection may have been closed by the server a moment before we use it. That is nobody's
 * fault and no failure: a request is sent once more, on a new connection, if and only if it went
 * over a kept one that had rested for RETRY_RESTED_NS or more, the end (EOF or reset) came before
 * any byte of an answer and within RETRY_SOON_NS and two round trips of sending, and the method may
 * be repeated (GET HEAD PUT DELETE OPTIONS TRACE). Its `send` stamp stays that of the first try. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "edge/gz.h"
#include "runner/client_wire.h"

#define RETRY_RESTED_NS NS_PER_SEC
#define RETRY_SOON_NS (20 * NS_PER_MS)
#define LANE_WIRES_MAX 6 /* origins of one user that stay connected */

/* ---- wires ---- */

struct wire *wire_new(struct native *n, const struct origin *o)
{
    struct wire *w = xcalloc(1, sizeof(*w));

    w->exchange.client = &n->base;
    w->conn.events = &wire_events;
    w->origin = o;
    LIST_INSERT_HEAD(&n->wires, w, all);
    return w;
}

/* Its own event may still be on the stack, and its answer be looked at: the memory goes later. */
void wire_bury(struct wire *w)
{
    struct native *n = client_of(w);

    conn_close(&w->conn);
    LIST_REMOVE(w, all);
    w->is_dead = true;
    w->next = n->dead;
    n->dead = w;
}

static void free_dead(struct native *n)
{
    while (n->dead) {
        struct wire *w = n->dead;
        n->dead = w->next;
        http1_done(&w->parser);
        deed_free(deed_of(w));
        free(w);
    }
}

static struct wire *new_lane_wire(struct native *n, struct lane *lane, const struct origin *o)
{
    struct wire *w = wire_new(n, o);

    w->next = lane->conn;
    lane->conn = w;
    lane->origin = o;
    return w;
}

static struct wire *lane_wire(struct native *n, struct lane *lane, const struct origin *o)
{
    struct wire *other = NULL;
    unsigned count = 0;

    for (struct wire *w = lane->conn; w; w = w->next, count++) {
        if (w->is_busy)
            continue;
        if (w->origin == o)
            return w;
        other = w;
    }
    if (count < LANE_WIRES_MAX || !other)
        return new_lane_wire(n, lane, o);
    conn_close(&other->conn);
    other->origin = o;
    return other;
}

static struct wire *pool_wire(struct native *n, const struct origin *o)
{
    struct pool *p = pool_of(o);
    struct wire *w;

    while ((w = p->idle)) {
        p->idle = w->next;
        if (w->conn.state == CONN_OPEN)
            return w;
        wire_bury(w);
    }
    w = wire_new(n, o);
    w->is_pooled = true;
    return w;
}

static void to_pool(struct wire *w)
{
    struct pool *p = pool_of(w->origin);

    w->next = p->idle;
    p->idle = w;
}

/* ---- the end of a request ---- */

static uint64_t span_at_least_1(uint64_t from, uint64_t to)
{
    return to > from ? to - from : 1;
}

static void take_stamps(const struct wire *w, uint64_t now_ns, struct sample *s)
{
    const struct conn *c = &w->conn;

    s->sched = w->request.sched_ns;
    s->start = w->request.start_ns;
    s->send = w->first_send_ns ? w->first_send_ns : c->send_ns;
    s->first = c->first_ns;
    s->done = MAX(now_ns, MAX(c->first_ns, c->send_ns));
    s->bytes_in = c->bytes_in;
    s->bytes_out = c->bytes_out;
    if (!w->is_reused) {
        for (unsigned i = STAGE_DNS; i <= STAGE_TLS; i++)
            s->stage_ns[i] = c->stage_ns[i];
    }
    if (!c->first_ns)
        return;
    s->stage_ns[STAGE_WAIT] = span_at_least_1(c->send_ns, c->first_ns);
    s->stage_ns[STAGE_TRANSFER] = span_at_least_1(c->first_ns, s->done);
}

/* The wire is at rest before its user is told, so that the user may send on it at once. */
static void tell(struct wire *w, struct answer *a)
{
    struct native *n = client_of(w);

    a->head = w->parser.head;
    a->head_len = w->parser.head_len;
    a->sample.status = w->parser.head ? w->parser.status : 0;
    a->reused = w->is_reused;
    w->is_busy = false;
    if (w->is_pooled)
        to_pool(w);
    n->depth++;
    w->done(w->arg, a);
    n->depth--;
    if (!w->is_busy && !w->is_dead)
        http1_rest(&w->parser);
}

void wire_tell(struct wire *w, enum fail_class why_class, const char *why)
{
    struct answer a = { .why = why };

    take_stamps(w, clock_now_ns(), &a.sample);
    a.sample.fail = why_class;
    tell(w, &a);
}

/* Finished bodies that are wanted are told as they were meant. */
static bool unpack_body(struct wire *w, struct answer *a, struct err *err)
{
    struct buf *plain = &client_of(w)->plain;

    a->body = w->parser.body;
    a->body_len = w->parser.body_len;
    if (!w->parser.is_gzip || !a->body || !a->body_len)
        return true;
    buf_clear(plain);
    if (gz_inflate(a->body, a->body_len, HTTP_BODY_MAX, plain, err) < 0)
        return false;
    a->body = buf_str(plain);
    a->body_len = plain->len;
    return true;
}

static bool is_kept(const struct wire *w)
{
    return w->parser.keep_alive && !w->request.close && w->exchange.client->opts.http->keep_alive &&
           !conn_is_sending(&w->conn);
}

static void answered(struct wire *w)
{
    struct answer a = { 0 };
    struct err err = { 0 };

    w->idle_since_ns = loop_now_ns(w->exchange.client->opts.loop);
    take_stamps(w, w->idle_since_ns, &a.sample);
    if (!unpack_body(w, &a, &err)) {
        a.sample.fail = err.kind == ERR_LIMIT ? FAIL_TOO_LARGE : FAIL_MALFORMED;
        a.why = err.msg;
    }
    if (w->conn.state == CONN_OPEN && is_kept(w))
        conn_answered(&w->conn);
    else
        conn_close(&w->conn);
    tell(w, &a);
}

static void refused(struct wire *w)
{
    conn_close(&w->conn);
    wire_tell(w, w->parser.fail, w->parser.why);
}

/* ---- events ---- */

void wire_begin_event(struct native *n)
{
    if (UNLIKELY(n->dead != NULL) && n->depth == 0)
        free_dead(n);
}

static void on_opened(struct conn *c)
{
    struct wire *w = wire_of(c);

    conn_send(c, &(struct conn_message){ .bytes = w->request.bytes,
                                         .len = w->request.len,
                                         .now_ns = c->stage_began_ns,
                                         .deadline_ns = w->deadline_ns });
}

static void drop_excess(struct wire *w)
{
    w->exchange.client->counters.excess++;
    conn_close(&w->conn);
}

static void on_received(struct conn *c, const char *data, size_t len)
{
    struct wire *w = wire_of(c);

    wire_begin_event(client_of(w));
    if (!w->is_busy) {
        drop_excess(w);
        return;
    }
    size_t used = http1_feed(&w->parser, data, len);
    if (w->parser.state == HTTP1_MORE)
        return;
    if (w->parser.state == HTTP1_FAILED) {
        refused(w);
        return;
    }
    if (used < len)
        drop_excess(w);
    answered(w);
}

static bool may_repeat(const struct request *r)
{
    static const char *const methods[] = {
        "GET ", "HEAD ", "PUT ", "DELETE ", "OPTIONS ", "TRACE "
    };

    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        size_t n = strlen(methods[i]);
        if (r->len > n && memcmp(r->bytes, methods[i], n) == 0)
            return true;
    }
    return false;
}

static bool was_closed_at_rest(const struct wire *w, enum fail_class why_class, uint64_t now_ns)
{
    const struct conn *c = &w->conn;
    uint64_t soon = RETRY_SOON_NS + 2 * c->stage_ns[STAGE_CONNECT];

    return w->is_reused && !w->is_retried && c->bytes_in == 0 &&
           (why_class == FAIL_CLOSED || why_class == FAIL_RESET) &&
           w->rested_ns >= RETRY_RESTED_NS && now_ns - c->send_ns <= soon &&
           may_repeat(&w->request);
}

static void send_again(struct wire *w, uint64_t now_ns)
{
    w->exchange.client->counters.retried++;
    w->is_retried = true;
    w->is_reused = false;
    w->first_send_ns = w->conn.send_ns;
    http1_begin(&w->parser, w->request.is_head, w->request.want_body);
    conn_open(&w->conn, pool_of(w->origin)->endpoint, now_ns, w->deadline_ns);
}

static void on_ended(struct conn *c, enum fail_class why_class, const char *why)
{
    struct wire *w = wire_of(c);
    uint64_t now = loop_now_ns(w->exchange.client->opts.loop);

    wire_begin_event(client_of(w));
    if (!w->is_busy) {
        w->exchange.client->counters.idle_closed++;
        return;
    }
    if (why_class == FAIL_NONE) {
        http1_eof(&w->parser);
        if (w->parser.state == HTTP1_DONE) {
            answered(w);
            return;
        }
        why_class = w->parser.fail;
        why = w->parser.why;
    }
    if (was_closed_at_rest(w, why_class, now))
        send_again(w, now);
    else
        wire_tell(w, why_class, why);
}

const struct conn_events wire_events = {
    .opened = on_opened,
    .received = on_received,
    .ended = on_ended,
};

/* ---- the engine ---- */

void wire_take(struct wire *w, const struct request *r, uint64_t now_ns)
{
    uint64_t timeout_ns = w->exchange.client->opts.http->timeout_ns;

    w->is_busy = true;
    w->is_retried = false;
    w->is_reused = w->conn.state == CONN_OPEN;
    w->request = *r;
    w->first_send_ns = 0;
    w->rested_ns = now_ns - w->idle_since_ns;
    w->deadline_ns = now_ns + (r->timeout_ns ? r->timeout_ns : timeout_ns);
    http1_begin(&w->parser, r->is_head, r->want_body);
}

static struct exchange *native_send(struct client *c, struct lane *lane, const struct request *r,
                                    client_done_fn *done, void *arg)
{
    struct native *n = native_of(c);
    struct wire *w = lane ? lane_wire(n, lane, r->origin) : pool_wire(n, r->origin);
    const uint64_t now = clock_now_ns();

    w->done = done;
    w->arg = arg;
    wire_take(w, r, now);
    if (w->is_reused)
        conn_send(&w->conn, &(struct conn_message){ .bytes = r->bytes,
                                                    .len = r->len,
                                                    .now_ns = now,
                                                    .deadline_ns = w->deadline_ns });
    else
        conn_open(&w->conn, pool_of(r->origin)->endpoint, now, w->deadline_ns);
    return &w->exchange;
}

static void native_cut(struct exchange *x, enum fail_class why_class)
{
    struct wire *w = CONTAINER_OF(x, struct wire, exchange);

    if (w->is_busy)
        conn_cut(&w->conn, why_class, fail_class_help(why_class));
}

static void native_lane_close(struct client *c, struct lane *lane)
{
    (void)c;
    for (struct wire *w = lane->conn, *next; w; w = next) {
        next = w->next;
        wire_bury(w);
    }
}

static uint64_t native_connections(const struct client *c)
{
    return conn_env_open(native_of(c)->env);
}

/* ip:port, [ip]:port */
static int split_connect_to(const char *text, char host[URL_HOST_MAX + 1], uint16_t *ret_port,
                            struct err *err)
{
    auto_free char *url = xasprintf("http://%s", text);
    struct url u;

    if (url_parse(url, strlen(url), &u, err) < 0)
        return -EINVAL;
    url_host(&u, host);
    *ret_port = u.port;
    return 0;
}

static int native_origin_init(struct origin *o, struct err *err)
{
    char host[URL_HOST_MAX + 1];
    struct endpoint_opts opts = { .host = o->host, .port = o->port };

    if (o->scheme == URL_HTTPS)
        opts.tls_name = o->host;
    if (o->scheme == URL_UNIX)
        opts.unix_path = o->host;
    if (o->connect_to) {
        if (split_connect_to(o->connect_to, host, &opts.port, err) < 0)
            return -EINVAL;
        opts.host = host;
        opts.unix_path = NULL;
    }
    struct pool *p = xcalloc(1, sizeof(*p));
    p->endpoint = endpoint_new(native_of(o->client)->env, &opts, err);
    if (!p->endpoint) {
        free(p);
        return -EINVAL;
    }
    o->engine = p;
    return 0;
}

static void native_origin_done(struct origin *o)
{
    endpoint_free(pool_of(o)->endpoint);
    free(o->engine);
}

static struct client *native_create(const struct client_opts *opts, struct err *err)
{
    struct conn_env *env = conn_env_new(opts->loop, opts->http, err);

    if (!env)
        return NULL;
    struct native *n = xcalloc(1, sizeof(*n));
    n->env = env;
    n->plain.max = HTTP_BODY_MAX + 1;
    LIST_INIT(&n->wires);
    return &n->base;
}

/* A request that is sent from one of these last callbacks gets none of its own: there is no loop
 * turn left in which it could come. */
static void native_cut_all(struct client *c)
{
    struct native *n = native_of(c);
    struct wire *w, *next;

    for (w = LIST_FIRST(&n->wires); w; w = next) {
        n->depth++; /* keeps the dead until the end of the walk */
        conn_close(&w->conn);
        if (w->is_busy)
            wire_tell(w, FAIL_INTERRUPTED, fail_class_help(FAIL_INTERRUPTED));
        n->depth--;
        next = LIST_NEXT(w, all);
    }
    while ((w = LIST_FIRST(&n->wires)))
        wire_bury(w);
    free_dead(n);
}

static void native_destroy(struct client *c)
{
    struct native *n = native_of(c);

    conn_env_free(n->env);
    buf_done(&n->plain);
    free(n);
}

const struct client_ops client_native_ops = {
    .name = "native",
    .create = native_create,
    .cut_all = native_cut_all,
    .destroy = native_destroy,
    .origin_init = native_origin_init,
    .origin_done = native_origin_done,
    .send = native_send,
    .cut = native_cut,
    .lane_close = native_lane_close,
    .connections = native_connections,
    .misbehave = deed_send,
    .misbehave_end = deed_end,
};
