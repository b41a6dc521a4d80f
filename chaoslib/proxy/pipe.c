/* One direction of a connection. Bytes that may go at once are written from the buffer they were
 * read into; what must wait (for its instant, for its share of the band, for room in the socket) is
 * queued in order, up to a bound, past which the source is not read. */
#include <errno.h>
#include <string.h>

#include "chaoslib/proxy/internal.h"

/* Pacing writes what fits into this much time, so that a narrow band is smooth. */
#define SLICE_NS (5 * NS_PER_MS)
#define LOSS_IN_A_ROW_MAX 5

static uint64_t now_ns(const struct pipe *p)
{
    return loop_now_ns(p->conn->proxy->owner->loop);
}

size_t pipe_room(const struct pipe *p)
{
    size_t max = p->floor_ns > now_ns(p) ? PIPE_QUEUE_DELAYED_MAX : PIPE_QUEUE_MAX;

    return p->queued < max ? max - p->queued : 0;
}

/* ---- when the bytes are due ---- */

static uint64_t loss_stall(struct live_toxic *l)
{
    uint64_t stall = 0, rto = l->toxic.delay_ns;

    for (int i = 0; i < LOSS_IN_A_ROW_MAX && toxic_draw(l); i++) {
        stall += rto;
        rto *= 2;
    }
    l->requests += stall > 0;
    return stall;
}

static uint64_t due_now(struct pipe *p)
{
    uint64_t due = now_ns(p);

    for (uint64_t rest = p->shape.delays; rest; rest &= rest - 1) {
        struct live_toxic *l = p->conn->proxy->toxics[__builtin_ctzll(rest)];
        due += l->toxic.kind == TOXIC_LOSS ? loss_stall(l) : toxic_delay_draw(l);
    }
    p->floor_ns = MAX(p->floor_ns, due);
    return p->floor_ns;
}

void pipe_hold(struct pipe *p, uint64_t delay_ns)
{
    if (delay_ns > 0)
        p->floor_ns = MAX(p->floor_ns, now_ns(p) + delay_ns);
}

static void queue_add(struct pipe *p, const char *data, size_t len, uint64_t due_ns)
{
    struct seg *s = xcalloc(1, sizeof *s + len);

    s->due_ns = due_ns;
    s->len = len;
    s->fin = len == 0;
    if (len > 0)
        memcpy(s->data, data, len);
    STAILQ_INSERT_TAIL(&p->queue, s, link);
    p->queued += len;
}

static void queue_pop(struct pipe *p)
{
    struct seg *s = STAILQ_FIRST(&p->queue);

    STAILQ_REMOVE_HEAD(&p->queue, link);
    p->queued -= s->len - s->at;
    free(s);
}

void pipe_drop(struct pipe *p)
{
    while (!STAILQ_EMPTY(&p->queue))
        queue_pop(p);
    if (p->timer)
        loop_timer_stop(p->timer);
}

void pipe_hasten(struct pipe *p, uint64_t latest_ns)
{
    struct seg *s;

    STAILQ_FOREACH (s, &p->queue, link)
        s->due_ns = MIN(s->due_ns, latest_ns);
    p->floor_ns = MIN(p->floor_ns, latest_ns);
    p->next_ns = 0;
}

/* ---- writing ---- */

static void on_timer(void *arg)
{
    struct pipe *p = arg;

    pipe_pump(p);
    conn_settle(p->conn);
}

static void wake_at(struct pipe *p, uint64_t at_ns)
{
    if (!p->timer)
        p->timer = loop_timer_new(p->conn->proxy->owner->loop, on_timer, p);
    loop_timer_at(p->timer, at_ns);
}

/* How many of `len` bytes may be written now; 0: the timer is set. */
static size_t allowance(struct pipe *p, size_t len)
{
    const struct shape *s = &p->shape;

    if ((s->bits_per_sec || s->slice) && p->next_ns > now_ns(p)) {
        wake_at(p, p->next_ns);
        return 0;
    }
    if (s->bits_per_sec) {
        double fits = (double)s->bits_per_sec / 8 * (double)SLICE_NS / (double)NS_PER_SEC;
        len = MIN(len, fits > 1 ? (size_t)fits : 1);
    }
    if (s->slice)
        len = MIN(len, s->slice);
    uint64_t stop = MIN(s->limit, s->reset_at);
    return stop > p->total && stop - p->total < len ? (size_t)(stop - p->total) : len;
}

static void pace(struct pipe *p, size_t wrote)
{
    const struct shape *s = &p->shape;
    uint64_t now = now_ns(p), earliest = now > SLICE_NS ? now - SLICE_NS : 0;

    if (!s->bits_per_sec && !s->slice)
        return;
    p->next_ns = s->bits_per_sec ? MAX(p->next_ns, earliest) : now;
    if (s->bits_per_sec)
        p->next_ns += (uint64_t)((double)wrote * 8e9 / (double)s->bits_per_sec);
    if (s->slice)
        p->next_ns = MAX(p->next_ns, now) + s->slice_pause_ns;
}

/* True when a toxic that counts bytes ended the connection. */
static bool count(struct pipe *p, size_t wrote)
{
    p->total += wrote;
    if (p->stream == PROXY_REQUEST)
        p->conn->proxy->counts.bytes_up += wrote;
    else
        p->conn->proxy->counts.bytes_down += wrote;
    if (p->total >= p->shape.reset_at)
        conn_reset(p->conn);
    else if (p->total >= p->shape.limit)
        conn_end(p->conn);
    return p->conn->closed || p->conn->draining;
}

/* Writes what may be written of it now. Returns how much; -1: the connection is over. */
static ssize_t write_some(struct pipe *p, const char *data, size_t len)
{
    size_t done = 0;

    while (done < len) {
        size_t n = allowance(p, len - done);
        if (n == 0)
            break;
        ssize_t w = send(p->dst->fd, data + done, n, MSG_NOSIGNAL);
        if (w < 0 && errno != EAGAIN && errno != EINTR) {
            conn_reset(p->conn);
            return -1;
        }
        if (w < 0) {
            p->blocked = true;
            break;
        }
        done += (size_t)w;
        pace(p, (size_t)w);
        if (count(p, (size_t)w))
            return -1;
    }
    return (ssize_t)done;
}

static bool can_write(const struct pipe *p)
{
    return p->dst->connected && !p->blocked && !p->fin_sent;
}

/* 1: the first segment is done; 0: later; -1: the connection is over. */
static int write_first(struct pipe *p)
{
    struct seg *s = STAILQ_FIRST(&p->queue);

    if (s->due_ns > now_ns(p)) {
        wake_at(p, s->due_ns);
        return 0;
    }
    if (s->fin) {
        shutdown(p->dst->fd, SHUT_WR);
        p->fin_sent = true;
        return 1;
    }
    ssize_t n = write_some(p, s->data + s->at, s->len - s->at);
    if (n < 0)
        return -1;
    s->at += (size_t)n;
    p->queued -= (size_t)n;
    return s->at == s->len;
}

void pipe_pump(struct pipe *p)
{
    while (!p->conn->closed && !STAILQ_EMPTY(&p->queue) && can_write(p)) {
        if (write_first(p) <= 0)
            return;
        queue_pop(p);
    }
}

void pipe_emit(struct pipe *p, const char *data, size_t len)
{
    uint64_t due;

    if (len == 0 || p->conn->closed || p->conn->draining)
        return;
    due = due_now(p);
    if (STAILQ_EMPTY(&p->queue) && due <= now_ns(p) && can_write(p)) {
        ssize_t n = write_some(p, data, len);
        if (n < 0 || (size_t)n == len)
            return;
        data += n;
        len -= (size_t)n;
    }
    queue_add(p, data, len, due);
    pipe_pump(p);
}

void pipe_finish(struct pipe *p)
{
    if (p->conn->closed || p->conn->draining)
        return;
    uint64_t due = due_now(p) + p->shape.slow_close_ns;
    queue_add(p, NULL, 0, due);
    pipe_pump(p);
}

/* ---- reading ---- */

static void take(struct pipe *p, const char *data, size_t len)
{
    if (p->conn->draining || p->deaf)
        return;
    if (p->shape.swallow) {
        p->conn->swallowed = true;
        return;
    }
    if (p->conn->http)
        proxy_http_feed(p, data, len);
    else
        pipe_emit(p, data, len);
}

static void take_eof(struct pipe *p)
{
    struct conn *c = p->conn;

    p->eof = true;
    if (c->draining || p->deaf)
        return;
    if (p->shape.swallow) {
        c->swallowed = true;
        if (c->up.shape.swallow && c->down.shape.swallow)
            conn_end(c);
        return;
    }
    if (c->http)
        proxy_http_eof(p);
    pipe_finish(p);
}

void pipe_read(struct pipe *p)
{
    char *scratch = p->conn->proxy->owner->scratch;
    ssize_t n = recv(p->src->fd, scratch, PROXY_READ_MAX, 0);

    if (n > 0)
        take(p, scratch, (size_t)n);
    else if (n == 0)
        take_eof(p);
    else if (errno != EAGAIN && errno != EINTR)
        conn_reset(p->conn);
}
