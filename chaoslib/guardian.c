/* The runner's end of the guardian: start it, tell it what is open, notice when it is gone.
 *
 * The descriptor that we hold is the only one of its kind (close-on-exec, never passed on), since
 * one leaked copy would keep the guardian waiting for an end-of-file that does not come. */
#include "chaoslib/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/proc.h"
#include "chaoslib/guardian_wire.h"
#include "chaoslib/wait.h"

#define ANSWER_WAIT_NS (10 * NS_PER_SEC)
#define LAST_TRY_NS (60 * NS_PER_SEC)

struct guardian {
    pthread_mutex_t lock; /* one message and its answer at a time */
    int fd;
    int pidfd;
    struct proc_id id;
};

static int gone(struct err *err)
{
    return err_set(err, ERR_PREPARE, EPIPE,
                   "the guardian process does not answer: was it killed? start the run again");
}

static int await_answer(const struct guardian *g, struct err *err)
{
    char c = 0;
    ssize_t n;

    if (wait_fd(g->fd, NULL, clock_now_ns() + ANSWER_WAIT_NS) != WAIT_READY)
        return gone(err);
    do
        n = recv(g->fd, &c, 1, 0);
    while (n < 0 && errno == EINTR);
    return n == 1 && c == GUARDIAN_ANSWER ? 0 : gone(err);
}

static int send_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int say(struct guardian *g, const struct guardian_msg *m, const void *data, struct err *err)
{
    pthread_mutex_lock(&g->lock);
    int rc = send_all(g->fd, m, sizeof(*m));
    if (rc == 0 && m->len)
        rc = send_all(g->fd, data, m->len);
    rc = rc < 0 ? gone(err) : await_answer(g, err);
    pthread_mutex_unlock(&g->lock);
    return rc;
}

/* ---- life ---- */

/* A name that `ps` can show; the link in /proc when the file was replaced meanwhile. */
static void self_path(char out[4096])
{
    ssize_t n = readlink("/proc/self/exe", out, 4095);

    if (n > 0) {
        out[n] = '\0';
        if (access(out, X_OK) == 0)
            return;
    }
    snprintf(out, 4096, "/proc/self/exe");
}

static int spawn(struct guardian *g, const char *journal_path, int fd, struct err *err)
{
    char self[4096];

    self_path(self);
    return proc_spawn(
        &(struct proc_spawn_opts){
            .argv = (const char *const[]){ self, "guardian", journal_path, NULL },
            .pass_fd = fd,
            .new_session = true,
        },
        &g->id, err);
}

static int set_up(struct guardian *g, const char *journal_path, struct err *err)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot make a socket pair for the guardian");
    g->fd = pair[0];
    int rc = spawn(g, journal_path, pair[1], err);
    close(pair[1]);
    if (rc < 0)
        return err_wrap(err, "cannot start the guardian");
    g->pidfd = pidfd_open(g->id.pid, 0);
    if (g->pidfd < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot watch the guardian");
    return await_answer(g, err);
}

struct guardian *guardian_start(const char *journal_path, struct err *err)
{
    struct guardian *g = xcalloc(1, sizeof(*g));

    pthread_mutex_init(&g->lock, NULL);
    g->fd = g->pidfd = -1;
    if (set_up(g, journal_path, err) < 0) {
        guardian_stop(g);
        return NULL;
    }
    return g;
}

static void reap(const struct guardian *g)
{
    if (g->pidfd >= 0 && wait_fd(g->pidfd, NULL, clock_now_ns() + LAST_TRY_NS) != WAIT_READY)
        err_ignore(pidfd_send_signal(g->pidfd, SIGKILL, NULL, 0), "it ended at this very moment");
    while (waitpid(g->id.pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

void guardian_stop(struct guardian *g)
{
    if (!g)
        return;
    if (g->pidfd >= 0)
        err_ignore(say(g, &(struct guardian_msg){ .verb = GUARDIAN_STOP }, NULL, NULL),
                   "it is gone already");
    if (g->fd >= 0)
        close(g->fd);
    if (g->id.pid > 0)
        reap(g);
    if (g->pidfd >= 0)
        close(g->pidfd);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

/* ---- what is open ---- */

int guardian_arm(struct guardian *g, uint64_t seq, uint64_t deadline_ns, struct err *err)
{
    struct guardian_msg m = { .verb = GUARDIAN_ARM, .seq = seq, .deadline_ns = deadline_ns };

    return say(g, &m, NULL, err);
}

void guardian_disarm(struct guardian *g, uint64_t seq)
{
    struct guardian_msg m = { .verb = GUARDIAN_DISARM, .seq = seq };

    err_ignore(say(g, &m, NULL, NULL), "a guardian that is gone reverts nothing either");
}

int guardian_keep(struct guardian *g, uint64_t seq, const char *key, const void *data, size_t len,
                  struct err *err)
{
    struct guardian_msg m = { .verb = GUARDIAN_KEEP, .seq = seq, .len = (uint32_t)len };

    if (len > GUARDIAN_KEEP_MAX || strlen(key) >= sizeof(m.key))
        return err_set(err, ERR_LIMIT, E2BIG, "the guardian keeps at most %zu bytes under a name",
                       GUARDIAN_KEEP_MAX);
    memcpy(m.key, key, strlen(key));
    return say(g, &m, data, err);
}

bool guardian_is_alive(const struct guardian *g)
{
    return g && wait_fd(g->pidfd, NULL, 0) == WAIT_TIMEOUT;
}
