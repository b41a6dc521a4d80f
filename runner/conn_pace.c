/* A connection that is slow on purpose: bytes leave, or are taken from the socket, in small
 * helpings at a rate. What is not taken stays in the kernel, so the window closes and the server
 * feels it.
 *
 * A helping is what the rate gives in STEP_NS, or one byte when that takes longer. */
#include <string.h>

#include "runner/conn_internal.h"

#define STEP_NS (50 * NS_PER_MS)

static uint64_t helping_ns(uint64_t per_sec)
{
    return MAX(STEP_NS, NS_PER_SEC / MAX(per_sec, 1));
}

static size_t helping(uint64_t per_sec)
{
    double bytes = (double)per_sec * (double)helping_ns(per_sec) / (double)NS_PER_SEC;

    return (size_t)MAX(bytes + 0.5, 1.0);
}

static void again_at(struct conn *c, uint64_t at_ns, timer_fn *fn)
{
    timer_set(c->env->timers, &c->pace->timer, at_ns, fn);
}

/* ---- bytes out ---- */

static void next_out(struct timer *t)
{
    conn_pace_flush(CONTAINER_OF(t, struct conn_pace, timer)->conn);
}

/* conn_flush knows no bound, so it is shown a helping only. A socket that is full is not waited
 * for: the next helping is tried when it is due, with the same bytes. */
static void send_helping(struct conn *c, size_t max)
{
    size_t hidden = c->out_len - MIN(c->out_len, max);

    c->out_len -= hidden;
    conn_flush(c);
    if (c->pending || c->send_errno)
        return;
    c->out_len += hidden;
    if (c->is_writing)
        conn_watch(c, LOOP_READ);
    c->is_writing = false;
}

void conn_pace_flush(struct conn *c)
{
    uint64_t rate = c->pace->out_per_sec;

    if (!rate) {
        conn_flush(c);
        return;
    }
    send_helping(c, helping(rate));
    if (c->out_len && !c->pending)
        again_at(c, loop_now_ns(c->env->loop) + helping_ns(rate), next_out);
}

/* ---- bytes in ---- */

static void next_in(struct timer *t);

static unsigned writing(const struct conn *c)
{
    return c->is_writing ? LOOP_WRITE : 0;
}

/* Nothing is read until then; the socket may still be written to. */
static void rest(struct conn *c, uint64_t until_ns)
{
    conn_watch(c, writing(c));
    again_at(c, until_ns, next_in);
}

/* A helping may come in several pieces, when less than it is there at a time. */
static size_t allowance(struct conn *c)
{
    struct conn_pace *p = c->pace;
    uint64_t now = loop_now_ns(c->env->loop);

    if (!p->in_per_sec)
        return CONN_RX_SIZE;
    if (now >= p->helping_ends_ns) {
        p->left = helping(p->in_per_sec);
        p->helping_ends_ns = now + helping_ns(p->in_per_sec);
    }
    return MIN(p->left, CONN_RX_SIZE);
}

static void read_helping(struct conn *c)
{
    struct conn_pace *p = c->pace;
    const uint32_t life = c->life;
    uint64_t before = c->bytes_in;
    size_t max = allowance(c);

    if (max)
        conn_read(c, max);
    if (c->life != life || c->pending)
        return;
    if (p->in_per_sec)
        p->left -= MIN(p->left, c->bytes_in - before);
    if (p->in_per_sec && p->left == 0)
        rest(c, p->helping_ends_ns);
    else if (c->tls && tls_has_more(c->tls)) /* the socket will not say so again */
        rest(c, 0);
    else
        conn_watch(c, LOOP_READ | writing(c));
}

static void next_in(struct timer *t)
{
    read_helping(CONTAINER_OF(t, struct conn_pace, timer)->conn);
}

void conn_pace_read(struct conn *c)
{
    uint64_t silent_until = c->send_ns + c->pace->silence_ns;

    if (c->pace->out_per_sec) /* its timer is for what leaves */
        conn_read(c, CONN_RX_SIZE);
    else if (timer_is_set(&c->pace->timer)) /* TLS woke us for its own needs */
        conn_watch(c, writing(c));
    else if (c->pace->silence_ns && loop_now_ns(c->env->loop) < silent_until)
        rest(c, silent_until);
    else
        read_helping(c);
}
