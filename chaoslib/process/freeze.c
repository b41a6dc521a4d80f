/* PTRACE_SEIZE and PTRACE_INTERRUPT on every thread, scanned until no new one shows up: a thread
 * that still runs may make another at any moment, but stopped ones make none. */
#include "chaoslib/process/freeze.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "chaoslib/process/find.h"

#define FREEZE_NS (2 * NS_PER_SEC)
#define LOOK_NS (200 * NS_PER_US)
#define THREADS_MAX 100000

struct traced {
    pid_t tid;
    int pending; /* a signal that stopped it on its way in: handed over at the end */
    bool stopped, gone;
};

struct freeze {
    const struct target *target;
    struct traced *threads;
    size_t n;
};

/* ---- the threads of a process ---- */

static int each_thread(pid_t pid, process_each_fn *fn, void *arg)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    return process_each(path, fn, arg);
}

struct session {
    pid_t sid;
    process_each_fn *fn;
    void *arg;
};

static bool visit_member(void *arg, pid_t pid)
{
    const struct session *s = arg;

    if (getsid(pid) == s->sid)
        err_ignore(each_thread(pid, s->fn, s->arg), "it has just ended");
    return true;
}

/* Of a child of ours also the threads of all that it started in turn (its session): behind a
 * wrapper such as sh -c it is they who answer the users. */
static int each_target_thread(const struct target *t, process_each_fn *fn, void *arg)
{
    struct session s = { .sid = t->id.pid, .fn = fn, .arg = arg };

    return t->is_child ? process_each("/proc", visit_member, &s) : each_thread(t->id.pid, fn, arg);
}

static bool look_if_stopped(void *arg, pid_t tid)
{
    bool *all = arg;
    char state = proc_state(tid);

    if (state && state != 'T' && state != 't' && state != 'Z' && state != 'X')
        *all = false;
    return *all;
}

bool target_is_stopped(const struct target *t)
{
    bool all = true;

    return each_target_thread(t, look_if_stopped, &all) == 0 && all;
}

struct telling {
    int signo, code;
};

static bool tell(void *arg, pid_t pid)
{
    struct telling *t = arg;

    if (kill(pid, t->signo) < 0 && errno != ESRCH)
        t->code = errno;
    return true;
}

/* A signal to a thread's number reaches its process. */
int target_signal_all(const struct target *t, int signo, struct err *err)
{
    struct telling telling = { .signo = signo };

    if (!t->is_child)
        return target_signal(t, signo, err);
    int rc = each_target_thread(t, tell, &telling);
    if (rc < 0 || telling.code)
        return err_sys(err, ERR_INJECT, rc < 0 ? -rc : telling.code,
                       "cannot send %s to all processes of '%s'", signal_name(signo), t->name);
    return 0;
}

/* ---- seizing ---- */

static bool is_known(const struct freeze *f, pid_t tid)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->threads[i].tid == tid)
            return true;
    return false;
}

struct seizing {
    struct freeze *f;
    struct err *err;
    int rc;
};

static bool seize(void *arg, pid_t tid)
{
    struct seizing *s = arg;
    struct freeze *f = s->f;

    if (is_known(f, tid))
        return true;
    if (f->n == THREADS_MAX) {
        s->rc = err_set(s->err, ERR_LIMIT, E2BIG, "process %d has more than %d threads",
                        f->target->id.pid, THREADS_MAX);
        return false;
    }
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0) {
        int code = errno;
        if (code != ESRCH && proc_state(tid) && proc_state(tid) != 'Z')
            s->rc = err_sys(s->err, ERR_INJECT, code, "cannot trace process %d", f->target->id.pid);
        return s->rc == 0;
    }
    f->threads = xrealloc(f->threads, f->n + 1, sizeof(*f->threads));
    f->threads[f->n++] = (struct traced){ .tid = tid };
    err_ignore((int)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL), "then it has just ended");
    return true;
}

static int seize_new(struct freeze *f, struct err *err)
{
    struct seizing s = { .f = f, .err = err };
    int rc = each_target_thread(f->target, seize, &s);

    if (rc < 0)
        return err_sys(err, ERR_TARGET, -rc, "process %d", f->target->id.pid);
    return s.rc;
}

/* WNOWAIT: a child of ours must be left for its registry to bury. */
static void look(struct traced *t)
{
    siginfo_t info = { 0 };
    int rc = waitid(P_PID, (id_t)t->tid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL);

    if (rc < 0 && errno == ECHILD)
        t->gone = true;
    if (rc < 0 || info.si_pid == 0)
        return;
    if (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED) {
        t->gone = true;
        return;
    }
    t->stopped = true;
    if (info.si_status >> 8 == 0)
        t->pending = info.si_status & 0x7f;
}

static bool all_stopped(struct freeze *f)
{
    bool all = true;

    for (size_t i = 0; i < f->n; i++) {
        if (!f->threads[i].stopped && !f->threads[i].gone)
            look(&f->threads[i]);
        all &= f->threads[i].stopped || f->threads[i].gone;
    }
    return all;
}

static int freeze_all(struct freeze *f, struct err *err)
{
    uint64_t deadline_ns = clock_now_ns() + FREEZE_NS;

    for (;;) {
        size_t before = f->n;
        if (seize_new(f, err) < 0)
            return -EPERM;
        if (all_stopped(f) && f->n == before && f->n > 0)
            return 0;
        if (clock_now_ns() >= deadline_ns)
            return err_set(err, ERR_INJECT, ETIMEDOUT,
                           "not all threads of process %d could be stopped", f->target->id.pid);
        if (f->n == before)
            clock_sleep_until(clock_now_ns() + LOOK_NS);
    }
}

struct freeze *freeze_start(const struct target *t, struct err *err)
{
    struct freeze *f = xcalloc(1, sizeof(*f));

    f->target = t;
    if (freeze_all(f, err) < 0) {
        freeze_end(f);
        return NULL;
    }
    return f;
}

/* ---- letting go ---- */

static void detach(struct freeze *f, struct traced *t)
{
    uint64_t deadline_ns = clock_now_ns() + FREEZE_NS;

    /* Only a stopped thread can be let go. */
    while (!t->stopped && !t->gone && clock_now_ns() < deadline_ns) {
        look(t);
        if (!t->stopped && !t->gone)
            clock_sleep_until(clock_now_ns() + LOOK_NS);
    }
    if (ptrace(PTRACE_DETACH, t->tid, NULL, (void *)(uintptr_t)t->pending) == 0)
        return;
    look(t);
    bool is_ours = f->target->is_child && t->tid == f->target->id.pid;
    if (t->gone && !is_ours)
        err_ignore(waitpid(t->tid, NULL, WNOHANG | __WALL), "someone else saw it end");
}

void freeze_end(struct freeze *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->n; i++)
        detach(f, &f->threads[i]);
    free(f->threads);
    free(f);
}

void freeze_bury(struct freeze *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (!f->target->is_child || f->threads[i].tid != f->target->id.pid)
            err_ignore(waitpid(f->threads[i].tid, NULL, WNOHANG | __WALL), "it did not end yet");
}
