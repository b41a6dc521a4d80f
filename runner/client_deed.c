/* Requests that misbehave on purpose. Each has a wire of its own, which is buried when it is over,
 * so that no honest request ever meets what is left of it.
 *
 * Those with an answer are ordinary requests on a slow connection, or with more in their head; the
 * others consist of what they do not do: they keep a connection open and say nothing more, or break
 * it off with a reset. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "runner/client_wire.h"

#define NS_PER_HOUR (3600 * NS_PER_SEC)
#define LOOK_NS NS_PER_MS /* is the request out yet? */
#define FIELD_NAME "X-Chaos-Load-%04u: "
#define FIELD_NAME_LEN 19

struct deed {
    struct wire *wire;
    const struct misdeed_rule *rule;
    struct conn_pace pace;
    struct timer timer; /* the end of the hold; whether the request is out */
    char *bytes;        /* a head of its own; NULL: the request's */
    client_done_fn *done;
    void *arg;
};

static struct timers *timers_of(const struct deed *d)
{
    return conn_env_timers(client_of(d->wire)->env);
}

void deed_free(struct deed *d)
{
    if (!d)
        return;
    free(d->bytes);
    free(d);
}

/* What the wire calls when the request is over. */
static void deed_done(void *arg, const struct answer *a)
{
    struct deed *d = arg;

    timer_stop(timers_of(d), &d->timer);
    d->done(d->arg, a);
    wire_bury(d->wire);
}

/* Of a wire that is known to have one. */
static struct deed *its_deed(const struct wire *w)
{
    return w->arg;
}

/* Honest users, who are many, carry no pointer for it. */
struct deed *deed_of(const struct wire *w)
{
    return w->done == deed_done ? w->arg : NULL;
}

static void deed_over(struct deed *d)
{
    conn_close(&d->wire->conn);
    wire_tell(d->wire, FAIL_NONE, NULL);
}

/* ---- oversized heads ---- */

/* After the request line come n fields that are `size` bytes together. */
static char *inflated(const struct request *r, const struct misdeed_rule *rule, size_t *ret_len)
{
    const char *line = memchr(r->bytes, '\n', r->len);
    size_t at = line ? (size_t)(line + 1 - r->bytes) : 0;
    auto_buf struct buf out = BUF_INIT(r->len + rule->size_bytes + 64 * rule->n_headers);

    buf_add(&out, r->bytes, at);
    for (uint64_t i = 0; i < rule->n_headers; i++) {
        uint64_t end = rule->size_bytes * (i + 1) / rule->n_headers;
        uint64_t bytes = end - rule->size_bytes * i / rule->n_headers;

        buf_addf(&out, FIELD_NAME, (unsigned)i);
        for (uint64_t k = FIELD_NAME_LEN + 2; k < bytes; k++)
            buf_addc(&out, 'x');
        buf_adds(&out, "\r\n");
    }
    buf_add(&out, r->bytes + at, r->len - at);
    *ret_len = out.len;
    return buf_take(&out);
}

/* ---- connections that are held ---- */

static void hold_ended(struct timer *t)
{
    deed_over(CONTAINER_OF(t, struct deed, timer));
}

/* Which bytes it says before it falls silent; NULL: none could be made. */
static const char *first_words(struct wire *w, size_t *ret_len, struct err *err)
{
    struct deed *d = its_deed(w);

    *ret_len = d->rule->sends_half ? w->request.len / 2 : 0;
    if (d->rule->kind != MISDEED_TLS_STALL)
        return w->request.bytes;
    d->bytes = endpoint_hello(pool_of(w->origin)->endpoint, ret_len, err);
    return d->bytes;
}

static void hold_opened(struct conn *c)
{
    struct wire *w = wire_of(c);
    struct deed *d = its_deed(w);
    struct err err = { 0 };
    uint64_t now = clock_now_ns();
    struct conn_message m = { .now_ns = now, .deadline_ns = now + d->rule->hold_ns + NS_PER_HOUR };

    m.bytes = first_words(w, &m.len, &err);
    if (!m.bytes) {
        conn_cut(c, FAIL_INTERNAL, err.msg);
        return;
    }
    conn_send(c, &m);
    timer_set(timers_of(d), &d->timer, now + d->rule->hold_ns, hold_ended);
}

/* A server may say what it likes, its part of a handshake included. */
static void hold_received(struct conn *c, const char *data, size_t len)
{
    (void)data;
    (void)len;
    wire_begin_event(client_of(wire_of(c)));
}

static void hold_closed(struct conn *c, enum fail_class why_class, const char *why)
{
    struct wire *w = wire_of(c);

    wire_begin_event(client_of(w));
    if (why_class == FAIL_NONE)
        wire_tell(w, FAIL_CLOSED, "the server did not keep the connection so long");
    else
        wire_tell(w, why_class, why);
}

static const struct conn_events hold_events = {
    .opened = hold_opened,
    .received = hold_received,
    .ended = hold_closed,
};

/* ---- connections that are reset ---- */

static void reset_now(struct deed *d)
{
    const struct linger at_once = { .l_onoff = 1 };

    setsockopt(d->wire->conn.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    deed_over(d);
}

static void reset_when_sent(struct timer *t)
{
    struct deed *d = CONTAINER_OF(t, struct deed, timer);

    if (conn_is_sending(&d->wire->conn))
        timer_set(timers_of(d), t, clock_now_ns() + LOOK_NS, reset_when_sent);
    else
        reset_now(d);
}

static void abort_opened(struct conn *c)
{
    struct wire *w = wire_of(c);

    conn_send(c, &(struct conn_message){ .bytes = w->request.bytes,
                                         .len = w->request.len,
                                         .now_ns = c->stage_began_ns,
                                         .deadline_ns = w->deadline_ns });
    if (its_deed(w)->rule->after_bytes == 0) /* not from here: this may be inside deed_send */
        timer_set(timers_of(its_deed(w)), &its_deed(w)->timer, 0, reset_when_sent);
}

/* An answer that is shorter is reset at its end. */
static void abort_received(struct conn *c, const char *data, size_t len)
{
    struct wire *w = wire_of(c);

    wire_begin_event(client_of(w));
    http1_feed(&w->parser, data, len);
    if (c->bytes_in >= its_deed(w)->rule->after_bytes || w->parser.state != HTTP1_MORE)
        reset_now(its_deed(w));
}

static void abort_closed(struct conn *c, enum fail_class why_class, const char *why)
{
    struct wire *w = wire_of(c);

    wire_begin_event(client_of(w));
    if (why_class == FAIL_NONE)
        wire_tell(w, c->bytes_in ? FAIL_SHORT_BODY : FAIL_CLOSED,
                  "the server closed the connection before we could reset it");
    else
        wire_tell(w, why_class, why);
}

static const struct conn_events abort_events = {
    .opened = abort_opened,
    .received = abort_received,
    .ended = abort_closed,
};

/* ---- for the client ---- */

static const struct conn_events *const events_of[MISDEED_MAX] = {
    [MISDEED_SLOW_READ] = &wire_events,   [MISDEED_SLOW_SEND] = &wire_events,
    [MISDEED_BIG_HEADERS] = &wire_events, [MISDEED_HALF_OPEN] = &hold_events,
    [MISDEED_TLS_STALL] = &hold_events,   [MISDEED_ABORT] = &abort_events,
};

bool misdeed_has_answer(enum misdeed_kind kind)
{
    return kind == MISDEED_SLOW_READ || kind == MISDEED_SLOW_SEND || kind == MISDEED_BIG_HEADERS;
}

bool misdeed_is_held(enum misdeed_kind kind)
{
    return kind == MISDEED_HALF_OPEN || kind == MISDEED_TLS_STALL;
}

static void set_pace(struct wire *w, struct deed *d)
{
    const struct misdeed_rule *rule = d->rule;

    if (rule->kind != MISDEED_SLOW_READ && rule->kind != MISDEED_SLOW_SEND)
        return;
    d->pace.conn = &w->conn;
    d->pace.silence_ns = rule->pause_ns;
    d->pace.buffer_bytes = rule->buffer_bytes;
    if (rule->kind == MISDEED_SLOW_READ)
        d->pace.in_per_sec = rule->bytes_per_sec;
    else
        d->pace.out_per_sec = rule->bytes_per_sec;
    w->conn.pace = &d->pace;
}

struct exchange *deed_send(struct client *c, const struct request *r,
                           const struct misdeed_rule *rule, client_done_fn *done, void *arg)
{
    struct wire *w = wire_new(native_of(c), r->origin);
    struct deed *d = xcalloc(1, sizeof(*d));
    struct request own = *r;
    const uint64_t now = clock_now_ns();

    *d = (struct deed){ .wire = w, .rule = rule, .done = done, .arg = arg };
    own.close = true;
    if (rule->kind == MISDEED_BIG_HEADERS)
        own.bytes = d->bytes = inflated(r, rule, &own.len);
    w->done = deed_done;
    w->arg = d;
    w->conn.events = events_of[rule->kind];
    w->conn.is_bare = rule->kind == MISDEED_TLS_STALL;
    set_pace(w, d);
    wire_take(w, &own, now);
    conn_open(&w->conn, pool_of(r->origin)->endpoint, now, w->deadline_ns);
    return &w->exchange;
}

void deed_end(struct client *c, const struct misdeed_rule *rule)
{
    struct wire *w;

    LIST_FOREACH (w, &native_of(c)->wires, all) {
        struct deed *d = deed_of(w);
        if (!d || d->rule != rule || !w->is_busy)
            continue;
        if (misdeed_is_held(rule->kind) && w->conn.state == CONN_OPEN)
            timer_set(timers_of(d), &d->timer, 0, hold_ended);
        else
            conn_cut(&w->conn, FAIL_INTERRUPTED, "cut at the end of the fault");
    }
}
