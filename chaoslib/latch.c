/* A latch: an eventfd that is written once and never read, so that it stays readable. That makes
 * it one more thing to poll for a wait that also watches a process, and setting it is allowed even
 * in a signal handler. */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "chaoslib/wait.h"

struct latch {
    _Atomic bool set;
    int fd; /* -1 when the system had none left: then waits look at `set` every few ms */
};

#define BLIND_STEP_NS (5 * NS_PER_MS)

struct latch *latch_new(void)
{
    struct latch *l = xcalloc(1, sizeof(*l));

    l->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return l;
}

void latch_free(struct latch *l)
{
    if (!l)
        return;
    if (l->fd >= 0)
        close(l->fd);
    free(l);
}

void latch_set(struct latch *l)
{
    int saved = errno;

    atomic_store(&l->set, true);
    if (l->fd >= 0 && eventfd_write(l->fd, 1) < 0)
        errno = saved; /* full: it is readable already */
}

int latch_fd(const struct latch *l)
{
    return l->fd;
}

bool latch_is_set(const struct latch *l)
{
    return l && atomic_load(&l->set);
}

static struct timespec span_of(uint64_t ns)
{
    return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_SEC),
                              .tv_nsec = (long)(ns % NS_PER_SEC) };
}

/* One sleep, that may end early for no reason. */
static short poll_once(int fd, const struct latch *l, uint64_t span_ns)
{
    struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
                           { .fd = l ? l->fd : -1, .events = POLLIN } };

    if (l && l->fd < 0)
        span_ns = MIN(span_ns, BLIND_STEP_NS);
    struct timespec span = span_of(span_ns);
    if (ppoll(p, ARRAY_LEN(p), &span, NULL) <= 0)
        return 0;
    return p[0].revents;
}

enum wait_answer wait_fd(int fd, const struct latch *l, uint64_t mono_ns)
{
    for (;;) {
        uint64_t now = clock_now_ns();
        if (poll_once(fd, l, now < mono_ns ? mono_ns - now : 0))
            return WAIT_READY;
        if (latch_is_set(l))
            return WAIT_LATCH;
        if (clock_now_ns() >= mono_ns)
            return WAIT_TIMEOUT;
    }
}

bool latch_wait_until(struct latch *l, uint64_t mono_ns)
{
    return wait_fd(-1, l, mono_ns) == WAIT_LATCH;
}
