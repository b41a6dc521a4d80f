/* What changes under a running load: listening and refusing, and toxics that come and go. */
#include <errno.h>

#include "chaoslib/proxy/internal.h"

#define ACCEPT_AT_ONCE 64
#define ACCEPT_PAUSE_NS (50 * NS_PER_MS)

/* ---- listening ---- */

/* Out of descriptors or memory: the connection stays in the backlog and would wake us for ever. */
static void accept_pause(struct proxy *p)
{
    loop_io_set(p->on_accept, 0);
    loop_timer_at(p->accept_again, loop_now_ns(p->owner->loop) + ACCEPT_PAUSE_NS);
}

static void accept_resume(void *arg)
{
    struct proxy *p = arg;

    if (p->on_accept)
        loop_io_set(p->on_accept, LOOP_READ);
}

static void on_accept(void *arg, unsigned events)
{
    struct proxy *p = arg;

    (void)events;
    for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
        int fd = accept4(p->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            proxy_conn_open(p, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            accept_pause(p);
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

int proxy_listen(struct proxy *p, struct err *err)
{
    if (listen(p->listen_fd, SOMAXCONN) < 0)
        return err_sys(err, ERR_PREPARE, errno, "listen on '%s'", p->address);
    if (!p->accept_again)
        p->accept_again = loop_timer_new(p->owner->loop, accept_resume, p);
    p->on_accept = loop_io_new(p->owner->loop, p->listen_fd, LOOP_READ, on_accept, p);
    return 0;
}

/* Shutting a listening socket down makes Linux refuse connections and keep the port bound, so that
 * nobody can take it before the toxic is removed. */
void proxy_unlisten(struct proxy *p)
{
    loop_io_free(p->on_accept);
    p->on_accept = NULL;
    if (p->accept_again)
        loop_timer_stop(p->accept_again);
    if (p->listen_fd >= 0)
        shutdown(p->listen_fd, SHUT_RD);
}

/* ---- toxics ---- */

static void refuse_begin(struct proxy *p, struct live_toxic *l)
{
    struct conn *c;

    if (p->n_refuse++ == 0)
        proxy_unlisten(p);
    while ((c = TAILQ_FIRST(&p->conns))) {
        l->connections++;
        p->counts.hit++;
        conn_reset(c);
    }
}

static int refuse_end(struct proxy *p, struct err *err)
{
    if (p->n_refuse > 1) {
        p->n_refuse--;
        return 0;
    }
    if (proxy_listen(p, err) < 0)
        return -EIO;
    p->n_refuse = 0;
    return 0;
}

int proxy_toxic_slot(const struct proxy *p, uint64_t handle)
{
    for (int i = 0; i < PROXY_TOXICS_MAX; i++)
        if (p->toxics[i] && p->toxics[i]->handle == handle)
            return i;
    return -1;
}

static int free_slot(const struct proxy *p)
{
    for (int i = 0; i < PROXY_TOXICS_MAX; i++)
        if (!p->toxics[i])
            return i;
    return -1;
}

int proxy_toxic_add(struct proxy *p, const struct toxic *t, uint64_t *ret_handle, struct err *err)
{
    int slot = free_slot(p);
    struct live_toxic *l;
    struct conn *c, *next;

    if (slot < 0)
        return err_set(err, ERR_LIMIT, E2BIG, "proxy '%s' has %d toxics already", p->name,
                       PROXY_TOXICS_MAX);
    if (toxic_reads_messages(t->kind) && p->protocol == PROXY_TCP)
        return err_set(err, ERR_INJECT, EINVAL,
                       "proxy '%s' has protocol tcp; %s needs http or auto", p->name,
                       toxic_kind_name(t->kind));
    l = toxic_live_new(t, ++p->owner->next_handle, err);
    if (!l)
        return -EINVAL;
    l->since_ns = loop_now_ns(p->owner->loop);
    p->toxics[slot] = l;
    if (t->kind == TOXIC_REFUSE)
        refuse_begin(p, l);
    p->n_http += toxic_is_http(t->kind);
    TAILQ_FOREACH_SAFE (c, &p->conns, link, next)
        conn_toxic_added(c, (unsigned)slot);
    *ret_handle = l->handle;
    return 0;
}

int proxy_toxic_remove(struct proxy *p, uint64_t handle, struct err *err)
{
    int slot = proxy_toxic_slot(p, handle);
    struct conn *c, *next;

    if (slot < 0)
        return 0;
    struct live_toxic *l = p->toxics[slot];
    if (l->toxic.kind == TOXIC_REFUSE && refuse_end(p, err) < 0)
        return err_wrap(err, "proxy '%s'", p->name);
    p->toxics[slot] = NULL;
    p->n_http -= toxic_is_http(l->toxic.kind);
    TAILQ_FOREACH_SAFE (c, &p->conns, link, next)
        conn_toxic_removed(c, l);
    toxic_live_free(l);
    return 0;
}
