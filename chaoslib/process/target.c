/* One process, held by its pidfd. */
#include "chaoslib/process/target.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/pidfd.h>

#include "base/parse.h"
#include "chaoslib/process/process.h"

/* The start time is compared after the pidfd is there: from then on the number cannot be reused
 * unnoticed. 1: gone. */
static int hold(struct target *t, struct err *err)
{
    t->pidfd = pidfd_open(t->id.pid, 0);
    if (t->pidfd < 0 && errno == ESRCH)
        return 1;
    if (t->pidfd < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot watch process %d", t->id.pid);
    if (proc_is_alive(&t->id))
        return 0;
    target_close(t);
    return 1;
}

int target_open(struct fault_run *r, const char *name, struct target *ret, struct err *err)
{
    struct target t = { .name = name, .pidfd = -1 };
    int rc = processes_resolve(r->env->processes, name, &t.id, err);

    if (rc < 0)
        return rc;
    t.is_child = processes_is_child(r->env->processes, name);
    rc = hold(&t, err);
    if (rc == 1)
        return err_set(err, ERR_TARGET, ESRCH, "process '%s' (pid %d) has just ended", name,
                       t.id.pid);
    if (rc < 0)
        return rc;
    snprintf(r->target, sizeof(r->target), "process %.100s (pid %d)", name, t.id.pid);
    *ret = t;
    return 0;
}

void target_close(struct target *t)
{
    if (t->pidfd >= 0)
        close(t->pidfd);
    t->pidfd = -1;
}

void target_write(const struct target *t, struct json *record)
{
    json_put_u64(record, "pid", (uint64_t)t->id.pid);
    json_put_u64(record, "start_ticks", t->id.start_ticks);
}

int target_read(const struct json *record, struct target *ret, struct err *err)
{
    struct target t = { .name = "", .pidfd = -1 };

    t.id.pid = (pid_t)json_u64(record, "pid", 0);
    t.id.start_ticks = json_u64(record, "start_ticks", 0);
    if (t.id.pid <= 1)
        return err_set(err, ERR_REVERT, EINVAL, "the journal names no process");
    int rc = hold(&t, err);
    if (rc == 0)
        *ret = t;
    return rc;
}

bool target_is_gone(const struct target *t)
{
    return wait_fd(t->pidfd, NULL, 0) == WAIT_READY;
}

int target_signal(const struct target *t, int signo, struct err *err)
{
    if (pidfd_send_signal(t->pidfd, signo, NULL, 0) == 0)
        return 0;
    if (errno == ESRCH)
        return 1;
    return err_sys(err, ERR_INJECT, errno, "cannot send %s to process %d", signal_name(signo),
                   t->id.pid);
}

enum wait_answer target_wait_gone(const struct target *t, const struct latch *l, uint64_t mono_ns)
{
    return wait_fd(t->pidfd, l, mono_ns);
}

/* ---- signals by name ---- */

int signal_number(const char *text)
{
    uint64_t number;

    if (parse_u64(text, 1, (uint64_t)SIGRTMAX, &number, NULL) == 0)
        return (int)number;
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    for (int signo = 1; signo < NSIG; signo++) {
        const char *name = sigabbrev_np(signo);
        if (name && strcasecmp(name, text) == 0)
            return signo;
    }
    return 0;
}

const char *signal_name(int signo)
{
    static const char *const names[] = {
        [SIGHUP] = "SIGHUP",   [SIGINT] = "SIGINT",   [SIGQUIT] = "SIGQUIT", [SIGABRT] = "SIGABRT",
        [SIGKILL] = "SIGKILL", [SIGUSR1] = "SIGUSR1", [SIGUSR2] = "SIGUSR2", [SIGTERM] = "SIGTERM",
        [SIGCONT] = "SIGCONT", [SIGSTOP] = "SIGSTOP", [SIGSEGV] = "SIGSEGV",
    };

    if (signo > 0 && (size_t)signo < ARRAY_LEN(names) && names[signo])
        return names[signo];
    return "the signal";
}
