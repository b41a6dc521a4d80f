/* A connection through the proxy: from accept to the last close, and the end it comes to. An end of
 * one side becomes the same end of the other: FIN after what came before it, RST at once. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "chaoslib/proxy/internal.h"

/* How long an ended connection waits for its peers to close, so that they see FIN and not RST. */
#define DRAIN_NS (2 * NS_PER_SEC)

static const struct shape shapeless = { .limit = NO_LIMIT, .reset_at = NO_LIMIT };

static void on_end(void *arg, unsigned events);
static void on_deadline(void *arg);

static void end_close(struct end *e, bool with_rst)
{
    struct linger at_once = { .l_onoff = 1 };

    loop_io_free(e->io);
    e->io = NULL;
    if (e->fd < 0)
        return;
    if (with_rst)
        setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(e->fd);
    e->fd = -1;
}

static void conn_close(struct conn *c, bool with_rst)
{
    struct proxies *all = c->proxy->owner;

    if (c->closed)
        return;
    c->closed = true;
    end_close(&c->client, with_rst);
    end_close(&c->server, with_rst);
    pipe_drop(&c->up);
    pipe_drop(&c->down);
    loop_timer_stop(c->deadline);
    TAILQ_REMOVE(&c->proxy->conns, c, link);
    c->proxy->counts.open--;
    TAILQ_INSERT_TAIL(&all->dead, c, link);
    loop_timer_at(all->reaper, loop_now_ns(all->loop));
}

void conn_reset(struct conn *c)
{
    conn_close(c, true);
}

void conn_end(struct conn *c)
{
    if (c->closed || c->draining)
        return;
    if (!c->server.connected) {
        /* An RST into the connect that is under way; there is nothing that it could cut short. */
        end_close(&c->server, true);
        c->down.eof = true;
    }
    c->draining = true;
    pipe_drop(&c->up);
    pipe_drop(&c->down);
    shutdown(c->client.fd, SHUT_WR);
    if (c->server.fd >= 0)
        shutdown(c->server.fd, SHUT_WR);
    loop_timer_at(c->deadline, loop_now_ns(c->proxy->owner->loop) + DRAIN_NS);
}

static void pipe_release(struct pipe *p)
{
    loop_timer_free(p->timer);
    free(p->base);
}

void conn_free(struct conn *c)
{
    proxy_http_free(c->http);
    loop_timer_free(c->deadline);
    pipe_release(&c->up);
    pipe_release(&c->down);
    free(c);
}

static unsigned wanted(const struct end *e)
{
    const struct conn *c = e->conn;
    unsigned events = 0;

    if (e->fd < 0)
        return 0;
    if (!e->connected)
        return LOOP_WRITE;
    if (!e->in->eof && (c->draining || e->in->shape.swallow || pipe_room(e->in) > 0))
        events |= LOOP_READ;
    if (e->out->blocked && !c->draining)
        events |= LOOP_WRITE;
    return events;
}

static void watch(struct end *e)
{
    unsigned events = wanted(e);

    if (events == e->events || !e->io)
        return;
    e->events = events;
    loop_io_set(e->io, events);
}

static bool pipe_is_over(const struct pipe *p)
{
    return p->eof && (p->fin_sent || p->conn->draining);
}

void conn_settle(struct conn *c)
{
    if (c->closed)
        return;
    if (pipe_is_over(&c->up) && pipe_is_over(&c->down)) {
        conn_close(c, false);
        return;
    }
    watch(&c->client);
    watch(&c->server);
}

/* ---- opening ---- */

static void pipe_init(struct pipe *p, struct conn *c, enum proxy_stream stream)
{
    p->conn = c;
    p->stream = stream;
    p->src = stream == PROXY_REQUEST ? &c->client : &c->server;
    p->dst = stream == PROXY_REQUEST ? &c->server : &c->client;
    p->src->in = p;
    p->dst->out = p;
    STAILQ_INIT(&p->queue);
    p->shape = shapeless;
}

static int upstream_connect(const struct proxy *p, int client_fd, bool *ret_connected)
{
    struct proxy_addr to = p->upstream;
    int one = 1;

    if (to.len == 0 && proxy_addr_original(client_fd, &to) < 0)
        return -1;
    int fd = socket(to.sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (p->mark)
        setsockopt(fd, SOL_SOCKET, SO_MARK, &p->mark, sizeof p->mark);
    if (to.sa.ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *ret_connected = connect(fd, (const struct sockaddr *)&to.sa, to.len) == 0;
    if (*ret_connected || errno == EINPROGRESS)
        return fd;
    close(fd);
    return -1;
}

static void end_init(struct end *e, struct conn *c, int fd, bool connected)
{
    e->fd = fd;
    e->conn = c;
    e->connected = connected;
    e->events = connected ? LOOP_READ : LOOP_WRITE;
    if (fd >= 0)
        e->io = loop_io_new(c->proxy->owner->loop, fd, e->events, on_end, e);
}

void proxy_conn_open(struct proxy *p, int client_fd)
{
    struct loop *loop = p->owner->loop;
    struct conn *c = xcalloc(1, sizeof *c);
    bool connected = false;
    int one = 1;

    c->proxy = p;
    c->number = p->next_number++;
    c->opened_ns = loop_now_ns(loop);
    setsockopt(client_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    pipe_init(&c->up, c, PROXY_REQUEST);
    pipe_init(&c->down, c, PROXY_RESPONSE);
    int server_fd = upstream_connect(p, client_fd, &connected);
    end_init(&c->client, c, client_fd, true);
    end_init(&c->server, c, server_fd, connected);
    c->deadline = loop_timer_new(loop, on_deadline, c);
    TAILQ_INSERT_TAIL(&p->conns, c, link);
    p->counts.connections++;
    p->counts.open++;
    if (server_fd < 0) {
        conn_reset(c);
        return;
    }
    if (p->protocol != PROXY_TCP)
        c->http = proxy_http_new(c);
    for (unsigned i = 0; i < PROXY_TOXICS_MAX && !c->closed; i++)
        if (p->toxics[i])
            conn_toxic_added(c, i);
    conn_settle(c);
}

/* ---- events ---- */

static bool connect_finish(struct end *e)
{
    int code = 0;
    socklen_t len = sizeof code;

    if (getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0 || code != 0) {
        conn_reset(e->conn);
        return false;
    }
    e->connected = true;
    return true;
}

static void on_end(void *arg, unsigned events)
{
    struct end *e = arg;
    struct conn *c = e->conn;

    if (!e->connected && !connect_finish(e))
        return;
    if (events & LOOP_WRITE) {
        e->out->blocked = false;
        pipe_pump(e->out);
    }
    if ((events & LOOP_READ) && !c->closed && !e->in->eof)
        pipe_read(e->in);
    conn_settle(c);
}

/* ---- toxics ---- */

static uint64_t counted_from(struct pipe *p, unsigned slot)
{
    return p->base ? p->base[slot] : 0;
}

typedef void apply_fn(struct pipe *p, const struct toxic *t, unsigned slot);

static void apply_delay(struct pipe *p, const struct toxic *t, unsigned slot)
{
    (void)t;
    p->shape.delays |= UINT64_C(1) << slot;
}

static void apply_bandwidth(struct pipe *p, const struct toxic *t, unsigned slot)
{
    struct shape *s = &p->shape;

    (void)slot;
    s->bits_per_sec = s->bits_per_sec ? MIN(s->bits_per_sec, t->bits_per_sec) : t->bits_per_sec;
}

static void apply_reset(struct pipe *p, const struct toxic *t, unsigned slot)
{
    if (t->bytes > 0)
        p->shape.reset_at = MIN(p->shape.reset_at, counted_from(p, slot) + t->bytes);
}

static void apply_limit(struct pipe *p, const struct toxic *t, unsigned slot)
{
    p->shape.limit = MIN(p->shape.limit, counted_from(p, slot) + t->bytes);
}

static void apply_blackhole(struct pipe *p, const struct toxic *t, unsigned slot)
{
    (void)t;
    (void)slot;
    p->shape.swallow = true;
}

static void apply_slow_close(struct pipe *p, const struct toxic *t, unsigned slot)
{
    (void)slot;
    p->shape.slow_close_ns += t->delay_ns;
}

static void apply_slicer(struct pipe *p, const struct toxic *t, unsigned slot)
{
    struct shape *s = &p->shape;

    (void)slot;
    s->slice = s->slice ? MIN(s->slice, t->bytes) : t->bytes;
    s->slice_pause_ns = MAX(s->slice_pause_ns, t->delay_ns);
}

/* NULL: not a matter of pipes. */
static apply_fn *const apply[TOXIC_KIND_MAX] = {
    [TOXIC_LATENCY] = apply_delay,       [TOXIC_LOSS] = apply_delay,
    [TOXIC_BANDWIDTH] = apply_bandwidth, [TOXIC_RESET] = apply_reset,
    [TOXIC_BLACKHOLE] = apply_blackhole, [TOXIC_SLOW_CLOSE] = apply_slow_close,
    [TOXIC_SLICER] = apply_slicer,       [TOXIC_LIMIT_DATA] = apply_limit,
};

/* Loss draws per chunk, so every connection takes part in its lottery. */
static bool is_hit(const struct conn *c, const struct live_toxic *l)
{
    return apply[l->toxic.kind] &&
           (l->toxic.kind == TOXIC_LOSS || toxic_hits_connection(l, c->number));
}

static void pipe_shape(struct pipe *p)
{
    struct proxy *proxy = p->conn->proxy;

    p->shape = shapeless;
    for (unsigned i = 0; i < PROXY_TOXICS_MAX; i++) {
        const struct live_toxic *l = proxy->toxics[i];
        if (l && (l->toxic.stream & p->stream) && is_hit(p->conn, l))
            apply[l->toxic.kind](p, &l->toxic, i);
    }
}

/* The instant at which a toxic ends the connection; 0: it does not by time. */
static uint64_t ends_at(const struct conn *c, const struct live_toxic *l)
{
    const struct toxic *t = &l->toxic;
    bool by_time = (t->kind == TOXIC_RESET && (t->after_ns > 0 || t->bytes == 0)) ||
                   (t->kind == TOXIC_BLACKHOLE && t->after_ns > 0);

    if (!by_time || !is_hit(c, l))
        return 0;
    return MAX(c->opened_ns, l->since_ns) + t->after_ns;
}

/* Ends the connection when a toxic's time has come, else sets the timer for the next that does. */
static void deadline_set(struct conn *c)
{
    uint64_t now = loop_now_ns(c->proxy->owner->loop), next = 0;

    for (unsigned i = 0; i < PROXY_TOXICS_MAX; i++) {
        struct live_toxic *l = c->proxy->toxics[i];
        uint64_t at = l ? ends_at(c, l) : 0;
        if (at == 0)
            continue;
        if (at <= now) {
            if (l->toxic.kind == TOXIC_RESET)
                conn_reset(c);
            else
                conn_end(c);
            return;
        }
        next = next ? MIN(next, at) : at;
    }
    if (next)
        loop_timer_at(c->deadline, next);
    else
        loop_timer_stop(c->deadline);
}

static void on_deadline(void *arg)
{
    struct conn *c = arg;

    if (c->draining)
        conn_close(c, false);
    else
        deadline_set(c);
    conn_settle(c);
}

static void limits_check(struct pipe *p)
{
    if (p->total >= p->shape.reset_at)
        conn_reset(p->conn);
    else if (p->total >= p->shape.limit)
        conn_end(p->conn);
}

static void counts_begin(struct pipe *p, unsigned slot)
{
    if (!p->base)
        p->base = xcalloc(PROXY_TOXICS_MAX, sizeof *p->base);
    p->base[slot] = p->total;
}

static void swallow_queued(struct pipe *p)
{
    if (!p->shape.swallow || STAILQ_EMPTY(&p->queue))
        return;
    pipe_drop(p);
    p->conn->swallowed = true;
}

void conn_toxic_added(struct conn *c, unsigned slot)
{
    struct live_toxic *l = c->proxy->toxics[slot];

    if (!is_hit(c, l) || c->draining)
        return;
    l->connections++;
    c->proxy->counts.hit++;
    if (l->toxic.kind == TOXIC_RESET || l->toxic.kind == TOXIC_LIMIT_DATA) {
        counts_begin(&c->up, slot);
        counts_begin(&c->down, slot);
    }
    pipe_shape(&c->up);
    pipe_shape(&c->down);
    swallow_queued(&c->up);
    swallow_queued(&c->down);
    deadline_set(c);
    if (!c->closed)
        limits_check(&c->up);
    if (!c->closed)
        limits_check(&c->down);
    conn_settle(c);
}

/* The longest that what stays in effect may still hold a byte back. */
static uint64_t longest_delay(const struct pipe *p)
{
    uint64_t longest = 0;

    for (unsigned i = 0; i < PROXY_TOXICS_MAX; i++) {
        const struct live_toxic *l = p->conn->proxy->toxics[i];
        if (!l || !(l->toxic.stream & p->stream))
            continue;
        if (l->toxic.kind == TOXIC_LATENCY || l->toxic.kind == TOXIC_HTTP_DELAY ||
            l->toxic.kind == TOXIC_LOSS || l->toxic.kind == TOXIC_SLOW_CLOSE)
            longest += l->toxic.delay_ns + l->toxic.jitter_ns;
    }
    return longest;
}

static void pipe_relieve(struct pipe *p)
{
    pipe_shape(p);
    pipe_hasten(p, loop_now_ns(p->conn->proxy->owner->loop) + longest_delay(p));
    pipe_pump(p);
}

void conn_toxic_removed(struct conn *c, const struct live_toxic *was)
{
    if (c->draining)
        return;
    if (was->toxic.kind == TOXIC_BLACKHOLE && c->swallowed &&
        toxic_hits_connection(was, c->number)) {
        conn_end(c);
        conn_settle(c);
        return;
    }
    pipe_relieve(&c->up);
    if (!c->closed)
        pipe_relieve(&c->down);
    if (!c->closed && !c->draining)
        deadline_set(c);
    conn_settle(c);
}
