/* The resolver's two sides: names with what is known of them on the loop's thread, and a few
 * threads that block in getaddrinfo. They share a queue behind a lock and an eventfd; the threads
 * may outlive the resolver (a dead DNS server holds one for half a minute), so the shared part
 * counts its users and goes with the last. */
#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/mem.h"
#include "runner/resolve.h"

#define THREADS_MAX 8
#define THREAD_STACK ((size_t)512 << 10)

struct job {
    STAILQ_ENTRY(job) link;
    LIST_ENTRY(job) of_name;
    struct name *name; /* NULL: nobody wants to know any more. Loop's thread only. */
    bool alone;        /* for `lookup` only, which NULLs itself when it gives up */
    struct lookup *lookup;
    char host[256], port[8];
    struct addresses *found;
    int error; /* of getaddrinfo */
};
STAILQ_HEAD(jobs, job);

struct shared { /* between the loop's thread and the helpers */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct jobs todo, done;
    unsigned users, threads, idle;
    bool closed;
    int wake_fd;
};

struct resolver {
    struct loop *loop;
    enum dns_policy policy;
    uint64_t ttl_ns;
    struct shared *shared; /* NULL until the first real lookup */
    struct loop_io *on_done;
};

struct name {
    struct resolver *resolver;
    char *host;
    uint16_t port;
    struct addresses *known;
    uint64_t until_ns; /* `known` is good until then; UINT64_MAX: for ever */
    LIST_HEAD(, lookup) waiting;
    LIST_HEAD(, job) jobs;
};

bool address_parse(const char *text, uint16_t port, union address *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, text, &ret->v4.sin_addr) == 1) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons(port);
        return true;
    }
    if (inet_pton(AF_INET6, text, &ret->v6.sin6_addr) == 1) {
        ret->v6.sin6_family = AF_INET6;
        ret->v6.sin6_port = htons(port);
        return true;
    }
    return false;
}

void addresses_unref(struct addresses *a)
{
    if (a && --a->refs == 0)
        free(a);
}

static struct addresses *addresses_ref(struct addresses *a)
{
    a->refs++;
    return a;
}

/* ---- helper threads ---- */

static struct addresses *copy_addresses(const struct addrinfo *list)
{
    struct addresses *a = xcalloc(1, sizeof(*a));

    a->refs = 1;
    for (const struct addrinfo *i = list; i && a->n < ADDRESSES_MAX; i = i->ai_next) {
        if (i->ai_addrlen <= sizeof(a->v[0]) &&
            (i->ai_family == AF_INET || i->ai_family == AF_INET6))
            memcpy(&a->v[a->n++], i->ai_addr, i->ai_addrlen);
    }
    if (a->n)
        return a;
    addresses_unref(a);
    return NULL;
}

static void do_job(struct job *j)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;

    j->error = getaddrinfo(j->host, j->port, &hints, &list);
    if (j->error)
        return;
    j->found = copy_addresses(list);
    freeaddrinfo(list);
    if (!j->found)
        j->error = EAI_NONAME;
}

static void job_free(struct job *j)
{
    addresses_unref(j->found);
    free(j);
}

static void free_jobs(struct jobs *q)
{
    for (struct job *j; (j = STAILQ_FIRST(q));) {
        STAILQ_REMOVE_HEAD(q, link);
        job_free(j);
    }
}

/* With the lock held; gives it up. */
static void shared_leave(struct shared *s)
{
    bool is_last = --s->users == 0;

    pthread_mutex_unlock(&s->lock);
    if (!is_last)
        return;
    free_jobs(&s->todo);
    free_jobs(&s->done);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static void *helper(void *arg)
{
    struct shared *s = arg;
    const uint64_t one = 1;

    pthread_mutex_lock(&s->lock);
    while (!s->closed) {
        struct job *j = STAILQ_FIRST(&s->todo);
        if (!j) {
            s->idle++;
            pthread_cond_wait(&s->work, &s->lock);
            s->idle--;
            continue;
        }
        STAILQ_REMOVE_HEAD(&s->todo, link);
        pthread_mutex_unlock(&s->lock);
        do_job(j);
        pthread_mutex_lock(&s->lock);
        STAILQ_INSERT_TAIL(&s->done, j, link);
        if (write(s->wake_fd, &one, sizeof(one)) < 0) {
            /* EAGAIN: the counter is full, so the loop is awake already. */
        }
    }
    shared_leave(s);
    return NULL;
}

/* With the lock held. Signals are for the program's other threads. */
static void start_helper(struct shared *s)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, THREAD_STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->users++;
    s->threads++;
    if (pthread_create(&thread, &attr, helper, s) != 0) {
        s->users--;
        s->threads--;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
}

/* ---- the loop's side ---- */

static void finish(struct lookup *l, struct addresses *a, const char *why)
{
    LIST_REMOVE(l, link);
    l->waits = false;
    l->job = NULL;
    l->fn(l->arg, a ? addresses_ref(a) : NULL, why);
}

static void keep_known(struct name *n, const struct job *j)
{
    const struct resolver *r = n->resolver;

    if (r->policy == DNS_PER_CONNECTION || !j->found)
        return;
    addresses_unref(n->known);
    n->known = addresses_ref(j->found);
    n->until_ns = r->policy == DNS_PINNED ? UINT64_MAX : loop_now_ns(r->loop) + r->ttl_ns;
}

static void job_ends(struct job *j)
{
    struct name *n = j->name;
    char why[160] = "";

    if (!n)
        return;
    LIST_REMOVE(j, of_name);
    if (!j->found)
        snprintf(why, sizeof(why), "the name '%.80s' did not resolve: %s", n->host,
                 gai_strerror(j->error));
    keep_known(n, j);
    if (j->alone) {
        if (j->lookup)
            finish(j->lookup, j->found, why);
        return;
    }
    /* Only those who wait now: who asks from inside a callback begins anew. */
    LIST_HEAD(, lookup) now;
    LIST_INIT(&now);
    for (struct lookup *l; (l = LIST_FIRST(&n->waiting));) {
        LIST_REMOVE(l, link);
        LIST_INSERT_HEAD(&now, l, link);
    }
    for (struct lookup *l; (l = LIST_FIRST(&now));)
        finish(l, j->found, why);
}

static void on_done(void *arg, unsigned events)
{
    struct resolver *r = arg;
    struct shared *s = r->shared;
    struct jobs done = STAILQ_HEAD_INITIALIZER(done);
    uint64_t count;

    (void)events;
    if (read(s->wake_fd, &count, sizeof(count)) < 0)
        return;
    pthread_mutex_lock(&s->lock);
    STAILQ_CONCAT(&done, &s->done);
    pthread_mutex_unlock(&s->lock);
    for (struct job *j; (j = STAILQ_FIRST(&done));) {
        STAILQ_REMOVE_HEAD(&done, link);
        job_ends(j);
        job_free(j);
    }
}

static bool open_shared(struct resolver *r)
{
    struct shared *s = xcalloc(1, sizeof(*s));

    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    STAILQ_INIT(&s->todo);
    STAILQ_INIT(&s->done);
    s->users = 1;
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0) {
        pthread_mutex_lock(&s->lock);
        shared_leave(s);
        return false;
    }
    r->shared = s;
    r->on_done = loop_io_new(r->loop, s->wake_fd, LOOP_READ, on_done, r);
    return true;
}

static bool start_job(struct name *n, struct lookup *alone)
{
    struct resolver *r = n->resolver;

    if (!r->shared && !open_shared(r))
        return false;
    struct job *j = xcalloc(1, sizeof(*j));
    j->name = n;
    j->alone = alone != NULL;
    j->lookup = alone;
    if (alone)
        alone->job = j;
    snprintf(j->host, sizeof(j->host), "%s", n->host);
    snprintf(j->port, sizeof(j->port), "%u", (unsigned)n->port);
    LIST_INSERT_HEAD(&n->jobs, j, of_name);

    struct shared *s = r->shared;
    pthread_mutex_lock(&s->lock);
    STAILQ_INSERT_TAIL(&s->todo, j, link);
    if (s->idle == 0 && s->threads < THREADS_MAX)
        start_helper(s);
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    return true;
}

struct addresses *name_lookup(struct name *n, struct lookup *l, lookup_fn *fn, void *arg)
{
    if (n->known && (n->until_ns == UINT64_MAX || loop_now_ns(n->resolver->loop) < n->until_ns))
        return addresses_ref(n->known);
    *l = (struct lookup){ .fn = fn, .arg = arg, .waits = true };
    bool alone = n->resolver->policy == DNS_PER_CONNECTION;
    if (alone || LIST_EMPTY(&n->jobs))
        err_ignore(!start_job(n, alone ? l : NULL),
                   "without files for a helper nobody answers: the connect timeout says so");
    LIST_INSERT_HEAD(&n->waiting, l, link);
    return NULL;
}

void lookup_cancel(struct lookup *l)
{
    if (!l->waits)
        return;
    if (l->job)
        l->job->lookup = NULL;
    l->job = NULL;
    l->waits = false;
    LIST_REMOVE(l, link);
}

/* ---- life ---- */

struct resolver *resolver_new(struct loop *l, enum dns_policy policy, uint64_t ttl_ns)
{
    struct resolver *r = xcalloc(1, sizeof(*r));

    *r = (struct resolver){ .loop = l, .policy = policy, .ttl_ns = ttl_ns };
    return r;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    loop_io_free(r->on_done);
    if (r->shared) {
        pthread_mutex_lock(&r->shared->lock);
        r->shared->closed = true;
        pthread_cond_broadcast(&r->shared->work);
        shared_leave(r->shared);
    }
    free(r);
}

struct name *name_new(struct resolver *r, const char *host, uint16_t port)
{
    struct name *n = xcalloc(1, sizeof(*n));
    union address a;

    *n = (struct name){ .resolver = r, .host = xstrdup(host), .port = port };
    if (address_parse(host, port, &a)) {
        n->known = xcalloc(1, sizeof(*n->known));
        *n->known = (struct addresses){ .refs = 1, .n = 1, .v = { a } };
        n->until_ns = UINT64_MAX;
    }
    return n;
}

void name_free(struct name *n)
{
    struct job *j;

    if (!n)
        return;
    LIST_FOREACH (j, &n->jobs, of_name)
        j->name = NULL;
    addresses_unref(n->known);
    free(n->host);
    free(n);
}
