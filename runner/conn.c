/* An open connection: bytes out, bytes in, deadlines. In the steady state an exchange costs one
 * send, one wake-up and one receive into a buffer that all connections of the thread share; the
 * deadline is a number that is looked at only when an old timer fires. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "runner/conn_internal.h"

static void on_timer(struct timer *t);

/* ---- the end ---- */

void conn_abandon(struct conn *c)
{
    loop_io_free(TAKE(c->io));
    tls_free(c->env->tls, TAKE(c->tls));
    if (c->fd >= 0) {
        close(c->fd);
        c->env->n_open--;
    }
    c->fd = -1;
}

void conn_close(struct conn *c)
{
    if (c->state == CONN_OFF && !c->pending)
        return;
    conn_abandon(c);
    lookup_cancel(&c->lookup);
    addresses_unref(TAKE(c->addresses));
    timer_stop(c->env->timers, &c->timer);
    free(TAKE(c->pending_why));
    c->state = CONN_OFF;
    c->pending = FAIL_NONE;
    c->deadline_ns = 0;
    c->out_len = 0;
    c->send_errno = 0;
    c->is_writing = false;
    if (c->pace)
        timer_stop(c->env->timers, &c->pace->timer);
    c->life++;
}

/* Inside a call of the user's an end is put off: it is told from the loop. */
void conn_fail(struct conn *c, enum fail_class why_class, const char *why)
{
    char copy[ERR_MSG_MAX];

    if (c->is_calling) {
        conn_cut(c, why_class, why);
        return;
    }
    snprintf(copy, sizeof(copy), "%s", why);
    conn_close(c);
    c->events->ended(c, why_class, copy);
}

void conn_fail_errno(struct conn *c, enum fail_class why_class, int code, const char *doing)
{
    struct err err = { 0 };

    err_ignore(err_sys(&err, ERR_TARGET, code, "%s", doing), "only its sentence is wanted");
    conn_fail(c, why_class, err.msg);
}

void conn_cut(struct conn *c, enum fail_class why_class, const char *why)
{
    c->pending = (uint8_t)why_class;
    free(c->pending_why);
    c->pending_why = xstrdup(why);
    if (c->io)
        conn_watch(c, 0);
    timer_set(c->env->timers, &c->timer, 0, on_timer);
}

/* ---- deadlines ---- */

static void timed_out(struct conn *c)
{
    static const struct {
        enum fail_class fail;
        const char *why;
    } by_state[] = {
        [CONN_RESOLVING] = { FAIL_CONNECT_TIMEOUT, "the name did not resolve in time" },
        [CONN_CONNECTING] = { FAIL_CONNECT_TIMEOUT, "no connection in time" },
        [CONN_SHAKING] = { FAIL_TLS_TIMEOUT, "the TLS handshake did not end in time" },
        [CONN_OPEN] = { FAIL_RESPONSE_TIMEOUT, "no byte of an answer in time" },
    };

    if (c->state == CONN_OPEN && c->first_ns)
        conn_fail(c, FAIL_TRANSFER_TIMEOUT, "the answer did not end in time");
    else
        conn_fail(c, by_state[c->state].fail, by_state[c->state].why);
}

static void tell_pending(struct conn *c)
{
    enum fail_class why_class = c->pending;
    auto_free char *why = TAKE(c->pending_why);

    conn_close(c);
    c->events->ended(c, why_class, why);
}

/* The timer is set once and stays while requests come and go; what counts is deadline_ns. */
static void on_timer(struct timer *t)
{
    struct conn *c = CONTAINER_OF(t, struct conn, timer);

    if (c->pending)
        tell_pending(c);
    else if (c->deadline_ns && loop_now_ns(c->env->loop) >= c->deadline_ns)
        timed_out(c);
    else if (c->deadline_ns)
        timer_set(c->env->timers, t, c->deadline_ns, on_timer);
}

static void set_deadline(struct conn *c, uint64_t deadline_ns)
{
    c->deadline_ns = deadline_ns;
    timer_by(c->env->timers, &c->timer, deadline_ns, on_timer);
}

void conn_stage(struct conn *c, enum conn_state state, uint64_t now_ns)
{
    c->state = (uint8_t)state;
    c->stage_began_ns = now_ns;
    set_deadline(c, MIN(c->request_deadline_ns, now_ns + c->env->http->connect_timeout_ns));
}

/* ---- bytes out ---- */

static ssize_t write_some(struct conn *c, enum tls_want *want)
{
    if (c->tls)
        return tls_write(c->tls, c->out, c->out_len, want);
    ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

/* The peer is gone, but what it said before is still to be read: the end comes with that. */
static void write_failed(struct conn *c, int code)
{
    c->send_errno = code;
    c->out_len = 0;
    if (code != EPIPE && code != ECONNRESET)
        conn_cut(c, FAIL_RESET, strerrordesc_np(code));
}

void conn_flush(struct conn *c)
{
    enum tls_want want = TLS_WANT_WRITE;

    while (c->out_len) {
        ssize_t n = write_some(c, &want);
        if (n >= 0) {
            c->out += n;
            c->out_len -= (size_t)n;
            c->bytes_out += (uint64_t)n;
        } else if (n == -EAGAIN) {
            c->is_writing = true;
            conn_watch(c, want == TLS_WANT_WRITE ? LOOP_READ | LOOP_WRITE : LOOP_READ);
            return;
        } else if (n != -EINTR) {
            write_failed(c, (int)-n);
        }
    }
    if (c->is_writing && !c->pending)
        conn_watch(c, LOOP_READ);
    c->is_writing = false;
}

void conn_send(struct conn *c, const struct conn_message *m)
{
    c->out = m->bytes;
    c->out_len = m->len;
    c->bytes_in = c->bytes_out = 0;
    c->send_ns = m->now_ns;
    c->first_ns = 0;
    set_deadline(c, m->deadline_ns);
    if (UNLIKELY(c->pace != NULL))
        conn_pace_flush(c);
    else
        conn_flush(c);
}

void conn_answered(struct conn *c)
{
    c->deadline_ns = 0;
    c->out_len = 0;
}

/* ---- bytes in ---- */

static void stream_ended(struct conn *c, ssize_t n)
{
    if (n == -EPROTO)
        conn_fail(c, FAIL_TLS, "TLS: the server refused us, or sent a broken record");
    else if (n < 0)
        conn_fail_errno(c, FAIL_RESET, (int)-n, "receive");
    else if (c->send_errno)
        conn_fail_errno(c, FAIL_RESET, c->send_errno, "send");
    else
        conn_fail(c, FAIL_NONE, "");
}

static ssize_t receive(struct conn *c, size_t max)
{
    enum tls_want want = TLS_WANT_READ;
    ssize_t n;

    if (c->tls) {
        n = tls_read(c->tls, c->env->rx, max, &want);
    } else {
        n = recv(c->fd, c->env->rx, max, 0);
        if (n < 0)
            n = -errno;
    }
    if (n == -EAGAIN && want == TLS_WANT_WRITE) {
        c->is_writing = true;
        conn_watch(c, LOOP_READ | LOOP_WRITE);
    }
    return n;
}

void conn_read(struct conn *c, size_t max)
{
    const uint32_t life = c->life;

    do {
        ssize_t n = receive(c, max);
        if (n == -EAGAIN || n == -EINTR)
            return;
        if (n <= 0) {
            stream_ended(c, n);
            return;
        }
        if (!c->first_ns)
            c->first_ns = MAX(loop_now_ns(c->env->loop), c->send_ns);
        c->bytes_in += (uint64_t)n;
        c->events->received(c, c->env->rx, (size_t)n);
    } while (c->life == life && c->tls && tls_has_more(c->tls) && !c->pace);
}

static void on_io(void *arg, unsigned events)
{
    struct conn *c = arg;

    if (c->state != CONN_OPEN) {
        conn_open_step(c);
        return;
    }
    if (events & LOOP_WRITE)
        conn_flush(c);
    if (!(events & LOOP_READ) && !c->tls)
        return;
    if (UNLIKELY(c->pace != NULL))
        conn_pace_read(c);
    else
        conn_read(c, CONN_RX_SIZE);
}

void conn_watch(struct conn *c, unsigned events)
{
    if (c->io)
        loop_io_set(c->io, events);
    else
        c->io = loop_io_new(c->env->loop, c->fd, events, on_io, c);
}

void conn_is_open(struct conn *c, uint64_t now_ns)
{
    addresses_unref(TAKE(c->addresses));
    c->stage_began_ns = now_ns;
    c->state = CONN_OPEN;
    set_deadline(c, c->request_deadline_ns);
    conn_watch(c, LOOP_READ);
    c->events->opened(c);
}
