/* The helper's side: what every role needs before and after its own work. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/clock.h"
#include "chaoslib/helper.h"

#define SPEC_WAIT_NS (10 * NS_PER_SEC)

static void keep_fds(struct msghdr *m, struct helper_job *job)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        job->n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(job->fds, CMSG_DATA(c), job->n_fds * sizeof(int));
    }
}

/* By a signal that nobody handles: so ends one that hangs, too. Unlike the wall clock, the time
 * goes on evenly. */
static void live_for(uint64_t ms)
{
    const struct itimerval t = { .it_value = { .tv_sec = (time_t)(ms / 1000),
                                               .tv_usec = (suseconds_t)(ms % 1000 * 1000) } };

    setitimer(ITIMER_REAL, &t, NULL);
}

/* 0 a message, 1 end-of-file or nonsense: either way our work is over. */
static int receive(struct json **ret, struct helper_job *job)
{
    auto_free char *text = xcalloc(1, HELPER_MSG_MAX + 1);
    char control[CMSG_SPACE(HELPER_FDS_MAX * sizeof(int))];
    struct iovec iov = { .iov_base = text, .iov_len = HELPER_MSG_MAX };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n;

    if (job) {
        m.msg_control = control;
        m.msg_controllen = sizeof(control);
    }
    do
        n = recvmsg(HELPER_FD, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return 1;
    if (job)
        keep_fds(&m, job);
    if (json_parse(text, (size_t)n, ret, NULL) < 0)
        return 1;
    uint64_t ttl_ms = json_u64(*ret, "ttl_ms", 0);
    if (ttl_ms)
        live_for(ttl_ms);
    return 0;
}

int helper_next(uint64_t until_ns, struct json **ret_question)
{
    uint64_t until = until_ns ? until_ns : clock_now_ns() + 3600 * NS_PER_SEC;

    for (;;) {
        if (wait_fd(HELPER_FD, NULL, until) == WAIT_READY)
            return receive(ret_question, NULL);
        if (until_ns)
            return 2;
        until = clock_now_ns() + 3600 * NS_PER_SEC;
    }
}

void helper_reply(const struct json *reply)
{
    auto_free char *text = json_print(reply, false);
    size_t len = strlen(text);

    while (send(HELPER_FD, text, len, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return; /* whoever asked is gone: the next helper_next says so */
}

void helper_reply_ok(void)
{
    auto(json) struct json *j = json_object();

    json_put_bool(j, "ok", true);
    helper_reply(j);
}

void helper_reply_error(const struct err *err)
{
    auto(json) struct json *j = json_object();

    json_put_str(j, "error", err->msg);
    helper_reply(j);
}

/* Ctrl-C is for the run: it tells us when to end. */
static void ignore_signals(void)
{
    const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT, SIGTSTP };
    struct sigaction sa = { .sa_handler = SIG_IGN };

    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        sigaction(ignored[i], &sa, NULL);
}

static const struct helper_role *find(const char *name)
{
    for (const struct helper_role *const *r = helper_roles; *r; r++)
        if (strcmp((*r)->name, name) == 0)
            return *r;
    return NULL;
}

int helper_main(const char *role)
{
    const struct helper_role *r = find(role);
    struct helper_job job = { 0 };

    if (!r || fcntl(HELPER_FD, F_GETFD) < 0) {
        fprintf(stderr, "chaos-load helper: it is started by chaos-load run, not by hand\n");
        return 2;
    }
    fcntl(HELPER_FD, F_SETFD, FD_CLOEXEC);
    ignore_signals();
    prctl(PR_SET_NAME, "chaos-helper");
    if (wait_fd(HELPER_FD, NULL, clock_now_ns() + SPEC_WAIT_NS) != WAIT_READY ||
        receive(&job.spec, &job) != 0)
        return 0;
    int rc = r->run(&job);
    for (size_t i = 0; i < job.n_fds; i++)
        close(job.fds[i]);
    json_free(job.spec);
    return rc;
}
