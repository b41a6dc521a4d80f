/* The journal record of a child that the plan started, and what undoes it: SIGKILL for its session.
 *
 * A session is what can be told from outside when the child itself is dead already: the kernel does
 * not give its number to anyone else while a member lives. Who left it with setsid (a daemon) did
 * so on purpose and is not found. */
#include "chaoslib/process/offspring.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

#include "base/clock.h"
#include "chaoslib/guardian.h"
#include "chaoslib/journal_file.h"
#include "chaoslib/process/find.h"

#define FOREVER_NS (366 * 24 * 3600 * NS_PER_SEC) /* a run's longest */
#define END_NS (5 * NS_PER_SEC)
#define LOOK_NS (2 * NS_PER_MS)

/* ---- in the journal ---- */

static struct json *intent(const struct offspring *o, const char *target, struct json *undo,
                           uint64_t deadline_ns)
{
    struct json *j = json_object();
    char boot_id[40];

    proc_boot_id(boot_id);
    json_put_str(j, "type", "intent");
    json_put_str(j, "run", o->run_id);
    json_put_str(j, "kind", fault_process_run.name);
    json_put_str(j, "backend", fault_process_run.backend);
    json_put_str(j, "target", target);
    json_put_u64(j, "deadline_ms", deadline_ns / NS_PER_MS);
    json_put_str(j, "boot_id", boot_id);
    json_put(j, "undo", undo);
    return j;
}

static int announce(const struct offspring *o, const char *target, struct json *undo,
                    uint64_t *ret_seq, struct err *err)
{
    uint64_t deadline_ns = clock_now_ns() + FOREVER_NS, seq;

    seq = journal_next_seq(o->journal);
    auto(json) struct json *j = intent(o, target, undo, deadline_ns);
    json_put_u64(j, "seq", seq);
    if (journal_write(o->journal, j, err) < 0)
        return err_wrap(err, "%s is not started, since it could not be journaled", target);
    *ret_seq = seq;
    if (o->guardian && guardian_arm(o->guardian, seq, deadline_ns, err) < 0)
        return err_wrap(err, "%s is not started, since nobody would end it", target);
    return 0;
}

int offspring_expect(const struct offspring *o, const char *name, const char *mark,
                     uint64_t *ret_seq, struct err *err)
{
    char target[128];

    *ret_seq = 0;
    if (!o->journal)
        return 0;
    struct json *undo = json_object();
    snprintf(target, sizeof(target), "process %.80s", name);
    json_put_str(undo, "mark", mark);
    return announce(o, target, undo, ret_seq, err);
}

int offspring_announce(const struct offspring *o, const char *name, const struct proc_id *id,
                       uint64_t *ret_seq, struct err *err)
{
    char target[128];

    *ret_seq = 0;
    if (!o->journal)
        return 0;
    struct json *undo = json_object();
    snprintf(target, sizeof(target), "process %.80s (pid %d)", name, id->pid);
    json_put_u64(undo, "pid", (uint64_t)id->pid);
    json_put_u64(undo, "start_ticks", id->start_ticks);
    return announce(o, target, undo, ret_seq, err);
}

void offspring_retire(const struct offspring *o, uint64_t seq)
{
    auto(json) struct json *j = json_object();

    if (!seq)
        return;
    json_put_str(j, "type", "reverted");
    json_put_u64(j, "seq", seq);
    json_put_str(j, "verified", "yes");
    err_ignore(journal_note(o->journal, j, NULL), "whoever recovers finds nobody left");
    if (o->guardian)
        guardian_disarm(o->guardian, seq);
}

/* ---- ending a session ---- */

struct ending {
    pid_t sid;        /* or 0: by mark */
    const char *mark; /* "NAME=value" */
    int sig;
    int seen, ended;
    struct err *err;
    int rc;
};

static bool has_mark(pid_t pid, const char *mark)
{
    char path[64], text[64 << 10];
    size_t len = 0, want = strlen(mark) + 1;
    ssize_t n = 1;

    snprintf(path, sizeof(path), "/proc/%d/environ", pid);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && len < sizeof(text) && n > 0) {
        n = read(fd, text + len, sizeof(text) - len);
        len += (size_t)MAX(n, 0);
    }
    return memmem(text, len, mark, want) != NULL;
}

static bool is_in(const struct ending *e, pid_t pid)
{
    bool in = e->sid ? getsid(pid) == e->sid : pid != getpid() && has_mark(pid, e->mark);
    char state = in ? proc_state(pid) : '\0';

    return state && state != 'Z' && state != 'X';
}

/* Looked at again once it is held: the number may have changed hands in between. */
static bool end_member(void *arg, pid_t pid)
{
    struct ending *e = arg;

    if (!is_in(e, pid))
        return true;
    auto_close int fd = pidfd_open(pid, 0);
    if (fd < 0 || !is_in(e, pid))
        return true;
    e->seen++;
    if (pidfd_send_signal(fd, e->sig, NULL, 0) < 0 && errno != ESRCH)
        e->rc =
            err_sys(e->err, ERR_REVERT, errno, "cannot end process %d; run kill -9 %d", pid, pid);
    return e->rc == 0;
}

/* Until none is seen: one that was about to fork leaves another. */
static int end_all(struct ending *e, struct err *err)
{
    uint64_t deadline_ns = clock_now_ns() + END_NS;

    for (;; clock_sleep_until(clock_now_ns() + LOOK_NS)) {
        e->seen = 0;
        int rc = process_each("/proc", end_member, e);
        if (rc < 0)
            return err_sys(err, ERR_REVERT, -rc, "/proc");
        if (e->rc < 0)
            return e->rc;
        if (e->seen == 0)
            return e->ended;
        e->ended = MAX(e->ended, e->seen);
        if (clock_now_ns() >= deadline_ns)
            return err_set(err, ERR_REVERT, ETIMEDOUT, "%d processes do not end", e->seen);
    }
}

int offspring_end(const struct proc_id *leader, struct err *err)
{
    struct ending e = { .sid = leader->pid, .sig = SIGKILL, .err = err };

    if (leader->pid <= 1)
        return err_set(err, ERR_REVERT, EINVAL, "the journal names no process");
    uint64_t started = process_stat_field(leader->pid, 22);
    if (started && started != leader->start_ticks)
        return 0; /* someone else has its number: its session is over */
    return end_all(&e, err);
}

int offspring_ask(const char *mark, int sig, struct err *err)
{
    struct ending e = { .mark = mark, .sig = sig, .err = err };
    int rc = process_each("/proc", end_member, &e);

    if (rc < 0)
        return err_sys(err, ERR_REVERT, -rc, "/proc");
    return e.rc < 0 ? e.rc : e.seen;
}

static int run_undo(const struct json *record, struct err *err)
{
    struct proc_id leader = { .pid = (pid_t)json_u64(record, "pid", 0),
                              .start_ticks = json_u64(record, "start_ticks", 0) };
    const char *mark = json_str(record, "mark", "");
    struct ending marked = { .mark = mark, .sig = SIGKILL, .err = err };
    int n = *mark ? end_all(&marked, err) : offspring_end(&leader, err);

    if (n > 0 && err)
        snprintf(err->msg, sizeof(err->msg), "%d of its processes ended", n);
    return n < 0 ? n : n == 0;
}

const struct fault_kind fault_process_run = {
    .name = "run",
    .backend = "process",
    .summary = "a process that the plan started",
    .undo = run_undo,
};
