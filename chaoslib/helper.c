/* Our side of a helper: start it, ask it, see it end.
 *
 * One SOCK_SEQPACKET pair is all there is between us. Its far end is the only copy (close-on-exec,
 * passed to the one child), so that end-of-file there means that we are gone, and here that it is.
 */
#include "chaoslib/helper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/proc.h"

#define KILL_WAIT_NS (5 * NS_PER_SEC)

struct helper {
    char role[32];
    int fd, pidfd;
    struct proc_id id;
    bool is_late; /* an answer is still on its way, and would be taken for the next one */
};

static int send_packet(const struct helper *h, const struct json *msg, const int *fds, size_t n_fds,
                       struct err *err)
{
    auto_free char *text = json_print(msg, false);
    char control[CMSG_SPACE(HELPER_FDS_MAX * sizeof(int))] = { 0 };
    struct iovec iov = { .iov_base = text, .iov_len = strlen(text) };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (iov.iov_len > HELPER_MSG_MAX || n_fds > HELPER_FDS_MAX)
        return err_set(err, ERR_LIMIT, E2BIG, "helper '%s' is told at most %zu bytes at once",
                       h->role, HELPER_MSG_MAX);
    if (n_fds) {
        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
    }
    while (sendmsg(h->fd, &m, MSG_NOSIGNAL) < 0) {
        if (errno == EPIPE)
            return err_set(err, ERR_INJECT, EPIPE, "helper '%s' died", h->role);
        if (errno != EINTR)
            return err_sys(err, ERR_INJECT, errno, "helper '%s' does not listen", h->role);
    }
    return 0;
}

/* 0 a message, 1 end-of-file. */
static int receive(const struct helper *h, struct json **ret, struct err *err)
{
    auto_free char *text = xcalloc(1, HELPER_MSG_MAX + 1);
    ssize_t n;

    do
        n = recv(h->fd, text, HELPER_MSG_MAX, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return 1;
    if (json_parse(text, (size_t)n, ret, err) < 0)
        return err_wrap(err, "helper '%s'", h->role);
    return 0;
}

static int await_reply(struct helper *h, uint64_t timeout_ns, struct json **ret_reply,
                       struct err *err)
{
    auto(json) struct json *reply = NULL;

    h->is_late = wait_fd(h->fd, NULL, clock_now_ns() + timeout_ns) != WAIT_READY;
    if (h->is_late)
        return err_set(err, ERR_INJECT, ETIMEDOUT, "helper '%s' did not answer within %llu ms",
                       h->role, (unsigned long long)(timeout_ns / NS_PER_MS));
    int rc = receive(h, &reply, err);
    if (rc == 1)
        return err_set(err, ERR_INJECT, EPIPE, "helper '%s' died", h->role);
    if (rc < 0)
        return rc;
    const char *error = json_str(reply, "error", NULL);
    if (error)
        return err_set(err, ERR_INJECT, EIO, "%s", error);
    if (ret_reply)
        *ret_reply = TAKE(reply);
    return 0;
}

static int spawn(struct helper *h, struct err *err)
{
    char self[4096];
    int pair[2];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n < 0)
        return err_sys(err, ERR_INJECT, errno, "/proc is needed, and cannot be read");
    self[n] = '\0';
    if (access(self, X_OK) < 0) /* replaced meanwhile: the link still leads to what we run */
        snprintf(self, sizeof(self), "/proc/self/exe");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_sys(err, ERR_INJECT, errno, "cannot make a socket pair for a helper");
    h->fd = pair[0];
    int rc = proc_spawn(
        &(struct proc_spawn_opts){
            .argv = (const char *const[]){ self, "helper", h->role, NULL },
            .pass_fd = pair[1],
            .die_with_parent = true,
            .new_session = true,
        },
        &h->id, err);
    close(pair[1]);
    if (rc < 0)
        return err_wrap(err, "cannot start helper '%s'", h->role);
    h->pidfd = pidfd_open(h->id.pid, 0);
    return h->pidfd < 0 ? err_sys(err, ERR_INJECT, errno, "cannot watch a helper") : 0;
}

struct helper *helper_start(const struct helper_opts *opts, struct json **ret_reply,
                            struct err *err)
{
    struct helper *h = xcalloc(1, sizeof(*h));

    snprintf(h->role, sizeof(h->role), "%s", opts->role);
    h->fd = h->pidfd = -1;
    if (spawn(h, err) < 0 || send_packet(h, opts->spec, opts->fds, opts->n_fds, err) < 0 ||
        await_reply(h, opts->timeout_ns, ret_reply, err) < 0) {
        helper_stop(h, opts->timeout_ns, NULL);
        return NULL;
    }
    return h;
}

int helper_ask(struct helper *h, const struct json *question, uint64_t timeout_ns,
               struct json **ret_reply, struct err *err)
{
    if (h->is_late)
        return err_set(err, ERR_INJECT, ETIMEDOUT, "helper '%s' did not answer before", h->role);
    int rc = send_packet(h, question, NULL, 0, err);
    return rc < 0 ? rc : await_reply(h, timeout_ns, ret_reply, err);
}

bool helper_is_alive(const struct helper *h)
{
    return h && wait_fd(h->pidfd, NULL, 0) == WAIT_TIMEOUT;
}

pid_t helper_pid(const struct helper *h)
{
    return h->id.pid;
}

static bool ends_within(const struct helper *h, uint64_t ns)
{
    return h->pidfd >= 0 && wait_fd(h->pidfd, NULL, clock_now_ns() + ns) == WAIT_READY;
}

/* Even a killed one may take long (in the middle of a sync, in a frozen cgroup): it is not waited
 * for without end, and init reaps it. */
static void reap(const struct helper *h, uint64_t timeout_ns)
{
    bool ended = ends_within(h, timeout_ns);

    if (!ended) {
        kill(h->id.pid, SIGKILL); /* not reaped yet: it is nobody else's number */
        ended = ends_within(h, KILL_WAIT_NS);
    }
    while (waitpid(h->id.pid, NULL, ended ? 0 : WNOHANG) < 0 && errno == EINTR)
        ;
}

/* Half-closed, so that what it says last can still be read. */
void helper_stop(struct helper *h, uint64_t timeout_ns, struct json **ret_last)
{
    struct err err = { 0 };

    if (!h)
        return;
    if (h->fd >= 0) {
        shutdown(h->fd, SHUT_WR);
        if (ret_last && wait_fd(h->fd, NULL, clock_now_ns() + timeout_ns) == WAIT_READY)
            err_ignore(receive(h, ret_last, &err), "then it had nothing more to say");
    }
    if (h->id.pid > 0)
        reap(h, timeout_ns);
    if (h->fd >= 0)
        close(h->fd);
    if (h->pidfd >= 0)
        close(h->pidfd);
    free(h);
}
