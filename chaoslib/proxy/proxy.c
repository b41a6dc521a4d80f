/* The proxies' thread and the calls into it. Each call is a small struct on the caller's stack that
 * the thread fills in; the caller waits, so that what it asked for is in effect when it goes on. */
#include "chaoslib/proxy/proxy.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "chaoslib/proxy/internal.h"

static const char *const protocols[] = { "tcp", "http", "auto", NULL };

static const struct param proxy_rows[] = {
    PARAM(STR, "name", struct proxy_plan, name, .required = true,
          .help = "what faults call it: {latency: {proxy: NAME, …}}"),
    PARAM(STR, "listen", struct proxy_plan, listen, .def = "127.0.0.1:0",
          .help = "where it listens; without it, or with port 0, it stands before the target"),
    PARAM(STR, "upstream", struct proxy_plan, upstream, .required = true,
          .help = "where it leads: 127.0.0.1:5001, [::1]:80, unix:/path"),
    PARAM(ENUM, "protocol", struct proxy_plan, protocol, .def = "auto", .choices = protocols,
          .help = "tcp: bytes only, no http faults; http and auto: messages are followed, and "
                  "what is not HTTP/1 is passed on as it is"),
};
const struct param_table proxy_table = { .title = "proxies[]",
                                         .rows = proxy_rows,
                                         .n = ARRAY_LEN(proxy_rows) };

struct call;
typedef int call_fn(struct proxies *all, struct call *c);

struct call {
    call_fn *fn;
    struct proxies *all;
    const char *name;
    const struct proxy_plan *row;
    const struct proxy_addr *upstream;
    int listen_fd;
    const struct toxic *toxic;
    uint64_t handle, at_ns;
    struct proxy_counts counts;
    struct toxic_hits hits;
    char *out; /* 64 bytes */
    struct err *err;
    int rc;
    bool done;
};

static void on_call(void *arg)
{
    struct call *c = arg;
    struct proxies *all = c->all;
    int rc = c->fn(all, c);

    pthread_mutex_lock(&all->lock);
    c->rc = rc;
    c->done = true;
    pthread_cond_broadcast(&all->called);
    pthread_mutex_unlock(&all->lock);
}

static int call(struct proxies *all, struct call *c)
{
    c->all = all;
    loop_post(all->loop, on_call, c);
    pthread_mutex_lock(&all->lock);
    while (!c->done)
        pthread_cond_wait(&all->called, &all->lock);
    pthread_mutex_unlock(&all->lock);
    return c->rc;
}

/* ---- on the thread ---- */

static struct proxy *find(struct proxies *all, const char *name)
{
    struct proxy *p;

    TAILQ_FOREACH (p, &all->list, link)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

static int no_such(const struct call *c)
{
    return err_set(c->err, ERR_TARGET, ENOENT, "no proxy is called '%s'", c->name);
}

static void reap(void *arg)
{
    struct proxies *all = arg;
    struct conn *c;

    while ((c = TAILQ_FIRST(&all->dead))) {
        TAILQ_REMOVE(&all->dead, c, link);
        conn_free(c);
    }
}

static void proxy_free(struct proxy *p)
{
    while (!TAILQ_EMPTY(&p->conns))
        conn_reset(TAILQ_FIRST(&p->conns));
    proxy_unlisten(p);
    loop_timer_free(p->accept_again);
    if (p->listen_fd >= 0)
        close(p->listen_fd);
    for (unsigned i = 0; i < PROXY_TOXICS_MAX; i++)
        toxic_live_free(p->toxics[i]);
    free(p->name);
    free(p);
}

static int do_add(struct proxies *all, struct call *c)
{
    struct proxy *p;

    if (find(all, c->name))
        return err_set(c->err, ERR_USAGE, EEXIST, "two proxies are called '%s'", c->name);
    if (all->n == PROXIES_MAX)
        return err_set(c->err, ERR_LIMIT, E2BIG, "more than %d proxies", PROXIES_MAX);
    p = xcalloc(1, sizeof *p);
    p->owner = all;
    p->name = xstrdup(c->name);
    p->protocol = c->row->protocol;
    p->upstream = *c->upstream;
    p->mark = c->row->mark;
    p->listen_fd = c->listen_fd;
    c->listen_fd = -1;
    TAILQ_INIT(&p->conns);
    if (proxy_addr_text(p->listen_fd, p->address, c->err) < 0 || proxy_listen(p, c->err) < 0) {
        proxy_free(p);
        return -EIO;
    }
    TAILQ_INSERT_TAIL(&all->list, p, link);
    all->n++;
    return 0;
}

static int do_has(struct proxies *all, struct call *c)
{
    return find(all, c->name) != NULL;
}

static int do_address(struct proxies *all, struct call *c)
{
    const struct proxy *p = find(all, c->name);

    if (!p)
        return no_such(c);
    memcpy(c->out, p->address, sizeof p->address);
    return 0;
}

static int do_toxic_add(struct proxies *all, struct call *c)
{
    struct proxy *p = find(all, c->name);

    c->at_ns = clock_now_ns();
    return p ? proxy_toxic_add(p, c->toxic, &c->handle, c->err) : no_such(c);
}

static int do_toxic_remove(struct proxies *all, struct call *c)
{
    struct proxy *p = find(all, c->name);
    int rc = p ? proxy_toxic_remove(p, c->handle, c->err) : no_such(c);

    c->at_ns = clock_now_ns();
    return rc;
}

static int do_toxic_is_in(struct proxies *all, struct call *c)
{
    const struct proxy *p = find(all, c->name);

    return p && proxy_toxic_slot(p, c->handle) >= 0;
}

static int do_refusals(struct proxies *all, struct call *c)
{
    const struct proxy *p = find(all, c->name);

    return p ? (int)p->n_refuse : 0;
}

static int do_counts(struct proxies *all, struct call *c)
{
    const struct proxy *p = find(all, c->name);

    if (p)
        c->counts = p->counts;
    return 0;
}

static int do_hits(struct proxies *all, struct call *c)
{
    const struct proxy *p = find(all, c->name);
    int slot = p ? proxy_toxic_slot(p, c->handle) : -1;

    if (slot >= 0)
        c->hits = (struct toxic_hits){ p->toxics[slot]->connections, p->toxics[slot]->requests };
    return 0;
}

static void *thread_main(void *arg)
{
    struct proxies *all = arg;

    err_ignore(loop_run(all->loop, &all->run_err), "nobody is left to tell on this thread");
    return NULL;
}

/* ---- from any thread ---- */

/* Signals are for the main thread. */
static int thread_start(struct proxies *all)
{
    sigset_t everything, before;

    sigfillset(&everything);
    pthread_sigmask(SIG_SETMASK, &everything, &before);
    int rc = pthread_create(&all->thread, NULL, thread_main, all);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        pthread_setname_np(all->thread, "proxies");
    return rc;
}

static void proxies_release(struct proxies *all)
{
    struct proxy *p;

    while ((p = TAILQ_FIRST(&all->list))) {
        TAILQ_REMOVE(&all->list, p, link);
        proxy_free(p);
    }
    reap(all);
    loop_timer_free(all->reaper);
    loop_free(all->loop);
    pthread_mutex_destroy(&all->lock);
    pthread_cond_destroy(&all->called);
    free(all->scratch);
    free(all);
}

struct proxies *proxies_new(struct err *err)
{
    struct loop *loop = loop_new(err);
    struct proxies *all;

    if (!loop)
        return NULL;
    all = xcalloc(1, sizeof *all);
    all->loop = loop;
    all->scratch = xcalloc(1, PROXY_READ_MAX);
    TAILQ_INIT(&all->list);
    TAILQ_INIT(&all->dead);
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->called, NULL);
    all->reaper = loop_timer_new(loop, reap, all);
    int rc = thread_start(all);
    if (rc == 0)
        return all;
    proxies_release(all);
    err_sys(err, ERR_PREPARE, rc, "start the proxies' thread");
    return NULL;
}

void proxies_free(struct proxies *p)
{
    if (!p)
        return;
    loop_stop(p->loop);
    pthread_join(p->thread, NULL);
    proxies_release(p);
}

int proxies_add(struct proxies *p, const struct proxy_plan *row, struct err *err)
{
    struct proxy_addr at, upstream = { 0 };
    struct call c = { .fn = do_add, .name = row->name, .row = row, .listen_fd = -1, .err = err };

    if (proxy_addr_parse(row->listen, &at, err) < 0 ||
        proxy_addr_bind(&at, row->listen, &c.listen_fd, err) < 0 ||
        (row->upstream && proxy_addr_parse(row->upstream, &upstream, err) < 0)) {
        if (c.listen_fd >= 0)
            close(c.listen_fd);
        return err_wrap(err, "proxy '%s'", row->name);
    }
    c.upstream = &upstream;
    int rc = call(p, &c);
    if (c.listen_fd >= 0)
        close(c.listen_fd);
    return rc < 0 ? err_wrap(err, "proxy '%s'", row->name) : 0;
}

bool proxies_has(struct proxies *p, const char *name)
{
    return call(p, &(struct call){ .fn = do_has, .name = name }) == 1;
}

int proxies_address(struct proxies *p, const char *name, char out[64], struct err *err)
{
    return call(p, &(struct call){ .fn = do_address, .name = name, .out = out, .err = err });
}

int proxies_toxic_add(struct proxies *p, const char *name, const struct toxic *t,
                      uint64_t *ret_handle, uint64_t *ret_effective_ns, struct err *err)
{
    struct call c = { .fn = do_toxic_add, .name = name, .toxic = t, .err = err };
    int rc = call(p, &c);

    if (rc < 0)
        return rc;
    *ret_handle = c.handle;
    if (ret_effective_ns)
        *ret_effective_ns = c.at_ns;
    return 0;
}

int proxies_toxic_remove(struct proxies *p, const char *name, uint64_t handle,
                         uint64_t *ret_removed_ns, struct err *err)
{
    struct call c = { .fn = do_toxic_remove, .name = name, .handle = handle, .err = err };
    int rc = call(p, &c);

    if (rc == 0 && ret_removed_ns)
        *ret_removed_ns = c.at_ns;
    return rc;
}

bool proxies_toxic_is_in(struct proxies *p, const char *name, uint64_t handle)
{
    return call(p, &(struct call){ .fn = do_toxic_is_in, .name = name, .handle = handle }) == 1;
}

unsigned proxies_refusals(struct proxies *all, const char *name)
{
    return (unsigned)call(all, &(struct call){ .fn = do_refusals, .name = name });
}

struct proxy_counts proxies_counts(struct proxies *p, const char *name)
{
    struct call c = { .fn = do_counts, .name = name };

    err_ignore(call(p, &c), "what does not exist has counted nothing");
    return c.counts;
}

struct toxic_hits proxies_toxic_hits(struct proxies *p, const char *name, uint64_t handle)
{
    struct call c = { .fn = do_hits, .name = name, .handle = handle };

    err_ignore(call(p, &c), "what does not exist has hit nothing");
    return c.hits;
}
