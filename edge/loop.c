/* The event loop, on libevent. Three things differ from libevent's own way, for the hot path's
 * sake: timers are a heap behind one timerfd, so that an iteration costs no clock read and no
 * second system call, and instants are exact; posting has its own queue and eventfd, so that
 * libevent needs no locks; and the clock is read at most once per wake-up, when a callback asks for
 * it. */
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "edge/loop.h"

struct loop_io {
    struct loop *loop;
    loop_io_fn *fn;
    void *arg;
    unsigned events;
    struct event on_read, on_write;
};

#define NOT_ARMED SIZE_MAX

struct loop_timer {
    struct loop *loop;
    loop_fn *fn;
    void *arg;
    uint64_t at_ns;
    uint64_t turn; /* arming order: equal instants fire in it */
    size_t index;  /* place in the heap, or NOT_ARMED */
};

struct post {
    STAILQ_ENTRY(post) link;
    loop_fn *fn;
    void *arg;
};
STAILQ_HEAD(posts, post);

struct loop {
    struct event_base *base;
    uint64_t now_ns; /* of this wake-up; 0: not asked for yet */
    atomic_bool stop;

    int timer_fd;
    struct event on_timer;
    struct loop_timer **heap;
    size_t n_timers, cap_timers;
    uint64_t turns;
    uint64_t armed_ns; /* when timer_fd fires next; 0: it will not */
    bool firing;       /* timers are being fired: timer_fd is set once, afterwards */

    int wake_fd;
    struct event on_wake;
    pthread_mutex_t lock; /* guards posts */
    struct posts posts;
};

uint64_t loop_now_ns(const struct loop *l)
{
    if (l->now_ns)
        return l->now_ns;
    uint64_t now = clock_now_ns();
    /* A cache behind a const view: the loop is of one thread. */
    ((struct loop *)(uintptr_t)l)->now_ns = now;
    return now;
}

/* ---- timers: a binary heap ordered by instant, then by arming order ---- */

static bool is_before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->turn < b->turn;
}

static void heap_place(struct loop *l, struct loop_timer *t, size_t i)
{
    l->heap[i] = t;
    t->index = i;
}

static void heap_up(struct loop *l, struct loop_timer *t, size_t i)
{
    while (i > 0 && is_before(t, l->heap[(i - 1) / 2])) {
        heap_place(l, l->heap[(i - 1) / 2], i);
        i = (i - 1) / 2;
    }
    heap_place(l, t, i);
}

static void heap_down(struct loop *l, struct loop_timer *t, size_t i)
{
    for (size_t child; (child = 2 * i + 1) < l->n_timers; i = child) {
        if (child + 1 < l->n_timers && is_before(l->heap[child + 1], l->heap[child]))
            child++;
        if (!is_before(l->heap[child], t))
            break;
        heap_place(l, l->heap[child], i);
    }
    heap_place(l, t, i);
}

static void heap_remove(struct loop *l, struct loop_timer *t)
{
    size_t i = t->index;
    struct loop_timer *last = l->heap[--l->n_timers];

    t->index = NOT_ARMED;
    if (last == t)
        return;
    if (i > 0 && is_before(last, l->heap[(i - 1) / 2]))
        heap_up(l, last, i);
    else
        heap_down(l, last, i);
}

/* Only ever brought forward: firing too early once is cheaper than a system call per change. */
static void arm_timer_fd(struct loop *l)
{
    if (l->firing || !l->n_timers || (l->armed_ns && l->armed_ns <= l->heap[0]->at_ns))
        return;
    uint64_t at = l->heap[0]->at_ns;
    struct itimerspec when = {
        .it_value = { .tv_sec = (time_t)(at / NS_PER_SEC), .tv_nsec = (long)(at % NS_PER_SEC) },
    };

    timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    l->armed_ns = at;
}

static void on_timer_fd(int fd, short what, void *arg)
{
    struct loop *l = arg;
    uint64_t expired, last_turn = l->turns;

    (void)what;
    if (read(fd, &expired, sizeof(expired)) < 0 && errno == EAGAIN)
        return;
    /* The kernel fired it, so it is due, whatever this wake-up's clock said before. */
    l->now_ns = MAX(loop_now_ns(l), l->armed_ns);
    l->armed_ns = 0;
    l->firing = true;
    while (l->n_timers && l->heap[0]->at_ns <= l->now_ns && l->heap[0]->turn <= last_turn) {
        struct loop_timer *t = l->heap[0];
        heap_remove(l, t);
        t->fn(t->arg);
    }
    l->firing = false;
    arm_timer_fd(l);
}

struct loop_timer *loop_timer_new(struct loop *l, loop_fn *fn, void *arg)
{
    struct loop_timer *t = xcalloc(1, sizeof(*t));

    *t = (struct loop_timer){ .loop = l, .fn = fn, .arg = arg, .index = NOT_ARMED };
    return t;
}

void loop_timer_at(struct loop_timer *t, uint64_t mono_ns)
{
    struct loop *l = t->loop;

    if (t->index != NOT_ARMED)
        heap_remove(l, t);
    if (l->n_timers == l->cap_timers) {
        l->cap_timers = MAX(2 * l->cap_timers, (size_t)16);
        l->heap = xrealloc(l->heap, l->cap_timers, sizeof(struct loop_timer *));
    }
    /* Instants that have passed are all "now": one that re-arms itself cannot starve the others. */
    t->at_ns = MAX(mono_ns, MAX(l->now_ns, (uint64_t)1));
    t->turn = ++l->turns;
    heap_up(l, t, l->n_timers++);
    arm_timer_fd(l);
}

void loop_timer_stop(struct loop_timer *t)
{
    if (t && t->index != NOT_ARMED)
        heap_remove(t->loop, t);
}

void loop_timer_free(struct loop_timer *t)
{
    loop_timer_stop(t);
    free(t);
}

/* ---- watched descriptors ---- */

static void on_io(int fd, short what, void *arg)
{
    struct loop_io *io = arg;

    (void)fd;
    io->fn(io->arg, (what & EV_READ) ? LOOP_READ : LOOP_WRITE);
}

struct loop_io *loop_io_new(struct loop *l, int fd, unsigned events, loop_io_fn *fn, void *arg)
{
    struct loop_io *io = xcalloc(1, sizeof(*io));

    *io = (struct loop_io){ .loop = l, .fn = fn, .arg = arg };
    event_assign(&io->on_read, l->base, fd, EV_READ | EV_PERSIST, on_io, io);
    event_assign(&io->on_write, l->base, fd, EV_WRITE | EV_PERSIST, on_io, io);
    loop_io_set(io, events);
    return io;
}

static void watch(struct event *ev, bool was, bool is)
{
    if (was != is)
        is ? event_add(ev, NULL) : event_del(ev);
}

void loop_io_set(struct loop_io *io, unsigned events)
{
    /* What stays is added before the other goes, so that epoll never drops the descriptor. */
    if (events & LOOP_READ)
        watch(&io->on_read, io->events & LOOP_READ, true);
    watch(&io->on_write, io->events & LOOP_WRITE, events & LOOP_WRITE);
    if (!(events & LOOP_READ))
        watch(&io->on_read, io->events & LOOP_READ, false);
    io->events = events;
}

void loop_io_free(struct loop_io *io)
{
    if (!io)
        return;
    loop_io_set(io, 0);
    free(io);
}

/* ---- the door for other threads ---- */

static void wake(struct loop *l)
{
    uint64_t one = 1;

    /* A full counter (EAGAIN) wakes just as well. */
    while (write(l->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

void loop_post(struct loop *l, loop_fn *fn, void *arg)
{
    struct post *p = xcalloc(1, sizeof(*p));

    *p = (struct post){ .fn = fn, .arg = arg };
    pthread_mutex_lock(&l->lock);
    bool was_empty = STAILQ_EMPTY(&l->posts);
    STAILQ_INSERT_TAIL(&l->posts, p, link);
    pthread_mutex_unlock(&l->lock);
    if (was_empty)
        wake(l);
}

static struct post *take_post(struct loop *l)
{
    pthread_mutex_lock(&l->lock);
    struct post *p = STAILQ_FIRST(&l->posts);
    if (p)
        STAILQ_REMOVE_HEAD(&l->posts, link);
    pthread_mutex_unlock(&l->lock);
    return p;
}

/* What is posted from here on belongs to the next wake-up: a function that posts itself again does
 * not keep sockets waiting. */
static size_t count_posts(struct loop *l)
{
    const struct post *p;
    size_t n = 0;

    pthread_mutex_lock(&l->lock);
    STAILQ_FOREACH (p, &l->posts, link)
        n++;
    pthread_mutex_unlock(&l->lock);
    return n;
}

static bool has_posts(struct loop *l)
{
    pthread_mutex_lock(&l->lock);
    bool has = !STAILQ_EMPTY(&l->posts);
    pthread_mutex_unlock(&l->lock);
    return has;
}

static void on_wake_fd(int fd, short what, void *arg)
{
    struct loop *l = arg;
    uint64_t count;

    (void)what;
    if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        return;
    for (size_t n = count_posts(l); n > 0; n--) {
        auto_free struct post *p = take_post(l);
        p->fn(p->arg);
    }
    if (has_posts(l))
        wake(l);
}

/* ---- life ---- */

static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();

    if (!config)
        return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV |
                                      EVENT_BASE_FLAG_NO_CACHE_TIME);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

struct loop *loop_new(struct err *err)
{
    struct loop *l = xcalloc(1, sizeof(*l));

    STAILQ_INIT(&l->posts);
    pthread_mutex_init(&l->lock, NULL);
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->base = l->timer_fd >= 0 && l->wake_fd >= 0 ? new_base() : NULL;
    if (!l->base) {
        err_sys(err, ERR_PREPARE, errno, "make an event loop (open files: raise 'ulimit -n')");
        loop_free(l);
        return NULL;
    }
    event_assign(&l->on_timer, l->base, l->timer_fd, EV_READ | EV_PERSIST, on_timer_fd, l);
    event_assign(&l->on_wake, l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake_fd, l);
    event_add(&l->on_timer, NULL);
    event_add(&l->on_wake, NULL);
    return l;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    for (struct post *p; (p = take_post(l));)
        free(p);
    if (l->base) {
        event_del(&l->on_timer);
        event_del(&l->on_wake);
        event_base_free(l->base);
    }
    if (l->timer_fd >= 0)
        close(l->timer_fd);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    for (size_t i = 0; i < l->n_timers; i++)
        l->heap[i]->index = NOT_ARMED;
    pthread_mutex_destroy(&l->lock);
    free(l->heap);
    free(l);
}

int loop_run(struct loop *l, struct err *err)
{
    while (!atomic_load_explicit(&l->stop, memory_order_relaxed)) {
        l->now_ns = 0;
        if (event_base_loop(l->base, EVLOOP_ONCE) < 0)
            return err_sys(err, ERR_GENERIC, errno, "wait for events");
    }
    atomic_store(&l->stop, false);
    l->now_ns = 0;
    return 0;
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stop, true);
    wake(l);
}
