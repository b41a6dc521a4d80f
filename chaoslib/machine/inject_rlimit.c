/* fd-exhaustion of a process: its soft limit of open files is lowered to what it has open.
 *
 * The limit stays when we die, so it is journalled. It is given back only while it is still the one
 * that we set: whoever changed it since knows better. */
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "chaoslib/inject.h"
#include "chaoslib/machine/rlimit.h"
#include "chaoslib/process/find.h"
#include "chaoslib/process/target.h"

struct rlimit_params {
    const char *process;
    int64_t leave;
};

struct lowered {
    struct target target;
    uint64_t old, ours; /* soft limits */
    bool is_set;
};

/* ---- how low ---- */

struct open_fds {
    bool *is_open;
    uint64_t n;
};

static bool note_fd(void *arg, pid_t fd)
{
    struct open_fds *o = arg;

    if ((uint64_t)fd < o->n)
        o->is_open[fd] = true;
    return true;
}

uint64_t rlimit_leaving(const bool *is_open, uint64_t n, uint64_t leave)
{
    for (uint64_t fd = 0; fd < n; fd++)
        if (!is_open[fd] && leave-- == 0)
            return fd;
    return n;
}

/* A limit bounds the numbers, and the lowest free one is given out first. */
static int limit_for(pid_t pid, uint64_t soft, uint64_t leave, uint64_t *ret, struct err *err)
{
    struct open_fds o = { .n = MIN(soft, RLIMIT_FILES_MAX) };
    auto_free char *path = xasprintf("/proc/%d/fd", (int)pid);

    auto_free bool *is_open = xcalloc(o.n + 1, sizeof(*is_open));
    o.is_open = is_open;
    if (process_each(path, note_fd, &o) < 0)
        return err_sys(err, ERR_PREPARE, errno,
                       "cannot see what process %d has open (root, or "
                       "its own user, is needed)",
                       (int)pid);
    auto_free char *zero = xasprintf("%s/0", path); /* which process_each leaves out */
    struct stat st;
    is_open[0] = lstat(zero, &st) == 0;
    *ret = rlimit_leaving(is_open, o.n, leave);
    return 0;
}

/* ---- setting ---- */

static int soft_limit(pid_t pid, struct rlimit *ret, struct err *err)
{
    if (prlimit(pid, RLIMIT_NOFILE, NULL, ret) < 0)
        return err_sys(err, ERR_PREPARE, errno,
                       "cannot read the limits of process %d (root, or "
                       "its own user, is needed)",
                       (int)pid);
    return 0;
}

/* 0 done, 1 it is not `from` any more. */
static int change(const struct target *t, uint64_t from, uint64_t to, struct err *err)
{
    struct rlimit now;

    if (target_is_gone(t))
        return 1;
    if (soft_limit(t->id.pid, &now, err) < 0)
        return target_is_gone(t) ? 1 : -1;
    if (now.rlim_cur != from)
        return 1;
    now.rlim_cur = to;
    if (prlimit(t->id.pid, RLIMIT_NOFILE, &now, NULL) < 0 && !target_is_gone(t))
        return err_sys(err, ERR_INJECT, errno,
                       "cannot set the limit of process %d: prlimit --pid %d --nofile=%llu:",
                       (int)t->id.pid, (int)t->id.pid, (unsigned long long)to);
    return 0;
}

/* ---- the steps ---- */

static int rlimit_prepare(struct fault_run *r, struct err *err)
{
    const struct rlimit_params *p = r->params;
    struct lowered *l = xcalloc(1, sizeof(*l));
    struct rlimit now;

    r->state = l;
    l->target.pidfd = -1;
    if (target_open(r, p->process, &l->target, err) < 0 ||
        soft_limit(l->target.id.pid, &now, err) < 0)
        return -1;
    l->old = now.rlim_cur;
    snprintf(r->mechanism, sizeof(r->mechanism), "RLIMIT_NOFILE");
    return limit_for(l->target.id.pid, l->old, (uint64_t)p->leave, &l->ours, err);
}

static void rlimit_journal(const struct fault_run *r, struct json *record)
{
    const struct lowered *l = r->state;

    target_write(&l->target, record);
    json_put_u64(record, "old", l->old);
    json_put_u64(record, "ours", l->ours);
}

static int rlimit_inject(struct fault_run *r, struct err *err)
{
    struct lowered *l = r->state;
    int rc = change(&l->target, l->old, l->ours, err);

    if (rc == 1)
        return err_set(err, ERR_TARGET, ESRCH, "process %d ended, or somebody changed its limit",
                       (int)l->target.id.pid);
    l->is_set = rc == 0;
    r->times.effective = clock_now_ns();
    return rc;
}

static int rlimit_verify_in(struct fault_run *r, struct err *err)
{
    const struct lowered *l = r->state;
    struct rlimit now;

    if (soft_limit(l->target.id.pid, &now, err) < 0)
        return -1;
    return now.rlim_cur == l->ours ? 0 : err_set(err, ERR_INJECT, EAGAIN, "the limit is not ours");
}

static int rlimit_revert(struct fault_run *r, struct err *err)
{
    struct lowered *l = r->state;

    if (l->is_set && change(&l->target, l->ours, l->old, err) < 0)
        return -1;
    l->is_set = false;
    r->times.reverted = clock_now_ns();
    return 0;
}

static int rlimit_verify_out(struct fault_run *r, struct err *err)
{
    const struct lowered *l = r->state;
    struct rlimit now;

    if (l->old == l->ours || target_is_gone(&l->target) ||
        prlimit(l->target.id.pid, RLIMIT_NOFILE, NULL, &now) < 0 || now.rlim_cur != l->ours)
        return 0;
    return err_set(err, ERR_REVERT, EAGAIN, "prlimit --pid %d --nofile=%llu: sets it by hand",
                   (int)l->target.id.pid, (unsigned long long)l->old);
}

static bool rlimit_target_gone(const struct fault_run *r)
{
    const struct lowered *l = r->state;

    return target_is_gone(&l->target);
}

static void rlimit_release(struct fault_run *r)
{
    struct lowered *l = r->state;

    if (l)
        target_close(&l->target);
    free(l);
    r->state = NULL;
}

static int rlimit_undo(const struct json *record, struct err *err)
{
    uint64_t old = json_u64(record, "old", 0), ours = json_u64(record, "ours", UINT64_MAX);
    struct target t;
    int rc = target_read(record, &t, err);

    if (rc != 0)
        return rc;
    if (ours == UINT64_MAX)
        rc = err_set(err, ERR_REVERT, EINVAL, "the journal does not say which limit was set");
    else
        rc = change(&t, ours, old, err);
    target_close(&t);
    return rc;
}

static const struct param rlimit_rows[] = {
    PARAM(STR, "process", struct rlimit_params, process, .required = true,
          .help = "a name under processes:, or the program or script that is running"),
    PARAM(INT, "leave", struct rlimit_params, leave, .lo = 0, .hi = 1e6,
          .help = "how many more files and connections it may still open"),
};

static const struct param_table rlimit_table = { .title = "faults[].fd-exhaustion",
                                                 .rows = rlimit_rows,
                                                 .n = ARRAY_LEN(rlimit_rows) };

const struct fault_kind fault_process_fds = {
    .name = "fd-exhaustion",
    .backend = "process",
    .summary = "let a process open no more files and connections",
    .params = &rlimit_table,
    .params_size = sizeof(struct rlimit_params),
    .prepare = rlimit_prepare,
    .journal = rlimit_journal,
    .inject = rlimit_inject,
    .verify_in = rlimit_verify_in,
    .revert = rlimit_revert,
    .verify_out = rlimit_verify_out,
    .target_gone = rlimit_target_gone,
    .release = rlimit_release,
    .undo = rlimit_undo,
};
