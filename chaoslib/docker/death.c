/* One thread that sleeps on a pidfd: whoever kills is busy waiting for the engine's answer. */
#include "chaoslib/docker/death.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>

#include "base/clock.h"
#include "base/mem.h"

struct death {
    pthread_t thread;
    int pidfd, stop_fd;
    uint64_t at_ns; /* the thread's, until it is joined */
};

static void *watch(void *arg)
{
    struct death *d = arg;
    struct pollfd fds[] = { { .fd = d->pidfd, .events = POLLIN },
                            { .fd = d->stop_fd, .events = POLLIN } };

    while (poll(fds, ARRAY_LEN(fds), -1) <= 0)
        ; /* a signal */
    if (fds[0].revents)
        d->at_ns = clock_now_ns();
    return NULL;
}

static void death_free(struct death *d)
{
    if (d->pidfd >= 0)
        close(d->pidfd);
    if (d->stop_fd >= 0)
        close(d->stop_fd);
    free(d);
}

struct death *death_watch(pid_t pid)
{
    struct death *d = xcalloc(1, sizeof(*d));

    d->pidfd = pid > 1 ? pidfd_open(pid, 0) : -1;
    d->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (d->pidfd < 0 || d->stop_fd < 0 || pthread_create(&d->thread, NULL, watch, d) != 0) {
        death_free(d);
        return NULL;
    }
    return d;
}

uint64_t death_instant(struct death *d)
{
    uint64_t one = 1, at;

    if (!d)
        return 0;
    while (write(d->stop_fd, &one, sizeof(one)) < 0)
        ; /* a signal */
    pthread_join(d->thread, NULL);
    at = d->at_ns;
    death_free(d);
    return at;
}
