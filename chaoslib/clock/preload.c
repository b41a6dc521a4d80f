/* The object that is preloaded into a process of the plan whose clocks a fault skews. It stands
 * before the C library's functions that tell the time, and before those that wait until an instant:
 * an instant that the process reckoned by a skewed clock is no instant of the kernel's.
 *
 * It is linked with nothing and uses what the process has, so that it fits in wherever it comes.
 * While nothing is skewed, a call costs one look at the page more. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "chaoslib/clock/page.h"

#define SECOND INT64_C(1000000000)
#define OURS __attribute__((visibility("default")))

_Static_assert(sizeof(time_t) == 8, "the functions are those with 64 bits of seconds");

/* Where the page is, when there is one. It is found before main() and stays. */
static const struct clock_page *page;

/* ---- what we stand before ---- */

static void *next_of(_Atomic(void *) *known, const char *name)
{
    void *f = atomic_load_explicit(known, memory_order_relaxed);

    if (!f) {
        f = dlsym(RTLD_NEXT, name);
        atomic_store_explicit(known, f, memory_order_relaxed);
    }
    return f;
}

/* NEXT(time)(NULL) calls the function that would have been called without us. */
#define NEXT(function)                                        \
    (__extension__({                                          \
        static _Atomic(void *) known_;                        \
        (__typeof__(&(function)))next_of(&known_, #function); \
    }))

/* ---- the skew ---- */

static bool is_skewed(const struct clock_page *p, clockid_t id)
{
    unsigned clocks = atomic_load_explicit(&p->clocks, memory_order_relaxed);

    switch (id) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_TAI: return clocks & CLOCKS_REALTIME;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME: return clocks & CLOCKS_MONOTONIC;
    default: return false;
    }
}

/* What a clock is ahead by now. */
static int64_t skew_of(clockid_t id)
{
    const struct clock_page *p = page;
    uint64_t until = p ? atomic_load_explicit(&p->until_ns, memory_order_acquire) : 0;
    struct timespec now;

    if (until == 0 || !is_skewed(p, id) || NEXT(clock_gettime)(CLOCK_MONOTONIC, &now) != 0)
        return 0;
    if ((uint64_t)(now.tv_sec * SECOND + now.tv_nsec) >= until)
        return 0;
    return atomic_load_explicit(&p->offset_ns, memory_order_relaxed);
}

static void shift(struct timespec *t, int64_t by)
{
    t->tv_sec += by / SECOND;
    t->tv_nsec += by % SECOND;
    if (t->tv_nsec < 0) {
        t->tv_nsec += SECOND;
        t->tv_sec--;
    } else if (t->tv_nsec >= SECOND) {
        t->tv_nsec -= SECOND;
        t->tv_sec++;
    }
    if (t->tv_sec < 0)
        *t = (struct timespec){ 0 };
}

/* The kernel's instant for one of the process's own: `t` itself, or `room` with it. What is no
 * valid time is for the function to refuse. */
static const struct timespec *true_instant(clockid_t id, const struct timespec *t,
                                           struct timespec *room)
{
    int64_t ahead = t ? skew_of(id) : 0;

    if (ahead == 0 || t->tv_nsec < 0 || t->tv_nsec >= SECOND)
        return t;
    *room = *t;
    shift(room, -ahead);
    return room;
}

/* The parameters' names are ours, not the C library's reserved ones.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

/* ---- telling the time ---- */

OURS int clock_gettime(clockid_t id, struct timespec *t)
{
    int rc = NEXT(clock_gettime)(id, t);
    int64_t ahead = rc == 0 ? skew_of(id) : 0;

    if (ahead)
        shift(t, ahead);
    return rc;
}

OURS int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timeval *told = t;
    int rc = NEXT(gettimeofday)(t, zone);
    int64_t ahead = rc == 0 ? skew_of(CLOCK_REALTIME) : 0;

    __asm__("" : "+r"(told)); /* it may be NULL, whatever the prototype promises */
    if (ahead && told) {
        struct timespec exact = { told->tv_sec, told->tv_usec * 1000 };
        shift(&exact, ahead);
        *told = (struct timeval){ exact.tv_sec, exact.tv_nsec / 1000 };
    }
    return rc;
}

OURS time_t time(time_t *ret)
{
    struct timespec now;

    if (skew_of(CLOCK_REALTIME) == 0)
        return NEXT(time)(ret);
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret)
        *ret = now.tv_sec;
    return now.tv_sec;
}

OURS int timespec_get(struct timespec *t, int base)
{
    int rc = NEXT(timespec_get)(t, base);
    int64_t ahead = rc == TIME_UTC ? skew_of(CLOCK_REALTIME) : 0;

    if (ahead)
        shift(t, ahead);
    return rc;
}

/* ---- waiting until an instant ---- */

/* glibc keeps a condition's clock in the second bit of this word. */
static clockid_t clock_of(const pthread_cond_t *c)
{
    return c->__data.__wrefs & 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
}

OURS int pthread_cond_timedwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m,
                                const struct timespec *restrict t)
{
    struct timespec room;

    return NEXT(pthread_cond_timedwait)(c, m, true_instant(clock_of(c), t, &room));
}

OURS int pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t id,
                                const struct timespec *t)
{
    struct timespec room;

    return NEXT(pthread_cond_clockwait)(c, m, id, true_instant(id, t, &room));
}

OURS int pthread_mutex_timedlock(pthread_mutex_t *restrict m, const struct timespec *restrict t)
{
    struct timespec room;

    return NEXT(pthread_mutex_timedlock)(m, true_instant(CLOCK_REALTIME, t, &room));
}

OURS int pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t id, const struct timespec *t)
{
    struct timespec room;

    return NEXT(pthread_mutex_clocklock)(m, id, true_instant(id, t, &room));
}

OURS int sem_timedwait(sem_t *restrict s, const struct timespec *restrict t)
{
    struct timespec room;

    return NEXT(sem_timedwait)(s, true_instant(CLOCK_REALTIME, t, &room));
}

OURS int sem_clockwait(sem_t *restrict s, clockid_t id, const struct timespec *restrict t)
{
    struct timespec room;

    return NEXT(sem_clockwait)(s, id, true_instant(id, t, &room));
}

OURS int clock_nanosleep(clockid_t id, int flags, const struct timespec *t, struct timespec *left)
{
    struct timespec room;

    if (flags & TIMER_ABSTIME)
        t = true_instant(id, t, &room);
    return NEXT(clock_nanosleep)(id, flags, t, left);
}

/* A timer's own clock is told by the kernel only. */
static clockid_t clock_of_timer(int fd)
{
    char path[48], text[512];
    clockid_t id = CLOCK_REALTIME;

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    int info = open(path, O_RDONLY | O_CLOEXEC);
    if (info < 0)
        return id;
    ssize_t n = read(info, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strstr(text, "clockid: ");
    if (at)
        id = (clockid_t)strtol(at + 9, NULL, 10);
    close(info);
    return id;
}

OURS int timerfd_settime(int fd, int flags, const struct itimerspec *t, struct itimerspec *old)
{
    struct itimerspec own;
    struct timespec room;

    if (!t || !(flags & TFD_TIMER_ABSTIME) ||
        (t->it_value.tv_sec == 0 && t->it_value.tv_nsec == 0) ||
        (skew_of(CLOCK_REALTIME) == 0 && skew_of(CLOCK_MONOTONIC) == 0))
        return NEXT(timerfd_settime)(fd, flags, t, old);
    own = *t;
    own.it_value = *true_instant(clock_of_timer(fd), &t->it_value, &room);
    return NEXT(timerfd_settime)(fd, flags, &own, old);
}

/* ---- what goes past the C library: Rust and C++ wait for futexes so ---- */

static bool waits_until(int op)
{
    int command = op & FUTEX_CMD_MASK;

    return command == FUTEX_WAIT_BITSET || command == FUTEX_LOCK_PI || command == FUTEX_LOCK_PI2 ||
           command == FUTEX_WAIT_REQUEUE_PI;
}

OURS long syscall(long number, ...)
{
    struct timespec room;
    long a[6];
    va_list ap;

    va_start(ap, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (number == SYS_clock_gettime)
        return clock_gettime((clockid_t)a[0], (struct timespec *)a[1]);
    if (number == SYS_futex && waits_until((int)a[1])) {
        bool real = (a[1] & FUTEX_CLOCK_REALTIME) || (a[1] & FUTEX_CMD_MASK) == FUTEX_LOCK_PI;
        a[3] = (long)true_instant(real ? CLOCK_REALTIME : CLOCK_MONOTONIC,
                                  (const struct timespec *)a[3], &room);
    }
    return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

/* ---- the page ---- */

__attribute__((constructor)) static void find_page(void)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): before main() there is one thread */
    const char *path = getenv(CLOCK_PAGE_ENV);
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof(struct clock_page), PROT_READ, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED)
        page = at;
    close(fd);
}
