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
#include "chaoslib/journal_file.h"
#include "chaoslib/machine/place.h"
#include "chaoslib/machine/rlimit.h"
#include "chaoslib/process/find.h"

struct rlimit_params {
    struct place_at at;
    int64_t leave;
};

struct limit {
    uint64_t old, ours; /* soft */
    bool is_set;
};

struct lowered {
    struct places places;
    struct limit *v; /* one for each place */
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
    if (places_open(r, &p->at, &l->places, err) < 0)
        return -1;
    l->v = xcalloc(l->places.n + 1, sizeof(*l->v));
    snprintf(r->mechanism, sizeof(r->mechanism), "RLIMIT_NOFILE");
    for (size_t i = 0; i < l->places.n; i++) {
        pid_t pid = l->places.v[i].id.pid;
        if (soft_limit(pid, &now, err) < 0)
            return -1;
        l->v[i].old = now.rlim_cur;
        if (limit_for(pid, now.rlim_cur, (uint64_t)p->leave, &l->v[i].ours, err) < 0)
            return -1;
    }
    return 0;
}

static void rlimit_journal(const struct fault_run *r, struct json *record)
{
    const struct lowered *l = r->state;
    struct json *list = l->places.n ? json_put(record, "limits", json_array()) : NULL;

    for (size_t i = 0; i < l->places.n; i++) {
        const struct target *t = &l->places.v[i];
        struct json *j = json_put(list, NULL, json_object());
        auto_free char *claim = xasprintf("limits of process %d/%llu", (int)t->id.pid,
                                          (unsigned long long)t->id.start_ticks);
        target_write(t, j);
        json_put_u64(j, "old", l->v[i].old);
        json_put_u64(j, "ours", l->v[i].ours);
        journal_claim(record, claim);
    }
}

static int rlimit_inject(struct fault_run *r, struct err *err)
{
    struct lowered *l = r->state;

    for (size_t i = 0; i < l->places.n; i++) {
        r->hits[i].requested = clock_now_ns();
        int rc = change(&l->places.v[i], l->v[i].old, l->v[i].ours, err);
        if (rc < 0)
            return rc;
        if (rc == 1)
            return err_set(err, ERR_TARGET, ESRCH,
                           "process %d ended, or somebody changed its limit",
                           (int)l->places.v[i].id.pid);
        l->v[i].is_set = true;
        r->hits[i].effective = clock_now_ns();
    }
    r->times.effective = l->places.n ? r->hits[0].effective : clock_now_ns();
    return 0;
}

/* It has our limit; false also when it is gone. */
static bool is_ours(const struct lowered *l, size_t i)
{
    struct rlimit now;

    return !target_is_gone(&l->places.v[i]) &&
           prlimit(l->places.v[i].id.pid, RLIMIT_NOFILE, NULL, &now) == 0 &&
           now.rlim_cur == l->v[i].ours;
}

static int rlimit_verify_in(struct fault_run *r, struct err *err)
{
    const struct lowered *l = r->state;

    for (size_t i = 0; i < l->places.n; i++)
        if (!is_ours(l, i))
            return err_set(err, ERR_INJECT, EAGAIN, "the limit of process %d is not ours",
                           (int)l->places.v[i].id.pid);
    return 0;
}

/* All of them, whatever happens to one. */
static int rlimit_revert(struct fault_run *r, struct err *err)
{
    struct lowered *l = r->state;
    int failed = 0;

    for (size_t i = 0; i < l->places.n; i++) {
        int rc = l->v[i].is_set ? change(&l->places.v[i], l->v[i].ours, l->v[i].old, err) : 0;
        failed = rc < 0 ? rc : failed;
        l->v[i].is_set &= rc < 0;
        r->hits[i].reverted = clock_now_ns();
    }
    r->times.reverted = clock_now_ns();
    return failed;
}

static int rlimit_verify_out(struct fault_run *r, struct err *err)
{
    const struct lowered *l = r->state;

    for (size_t i = 0; i < l->places.n; i++)
        if (l->v[i].old != l->v[i].ours && is_ours(l, i))
            return err_set(err, ERR_REVERT, EAGAIN, "prlimit --pid %d --nofile=%llu: sets it back",
                           (int)l->places.v[i].id.pid, (unsigned long long)l->v[i].old);
    return 0;
}

static bool rlimit_target_gone(const struct fault_run *r)
{
    const struct lowered *l = r->state;

    for (size_t i = 0; i < l->places.n; i++)
        if (!target_is_gone(&l->places.v[i]))
            return false;
    return l->places.n > 0;
}

static void rlimit_release(struct fault_run *r)
{
    struct lowered *l = r->state;

    if (l) {
        places_close(&l->places);
        free(l->v);
    }
    free(l);
    r->state = NULL;
}

static int undo_one(const struct json *j, struct err *err)
{
    uint64_t old = json_u64(j, "old", 0), ours = json_u64(j, "ours", UINT64_MAX);
    struct target t;

    if (ours == UINT64_MAX)
        return err_set(err, ERR_REVERT, EINVAL, "the journal does not say which limit was set");
    int rc = target_read(j, &t, err);
    if (rc != 0)
        return rc;
    rc = change(&t, ours, old, err);
    target_close(&t);
    return rc;
}

static int rlimit_undo(const struct json *record, struct err *err)
{
    int failed = 0;
    bool undone = false;

    for (const struct json *j = json_first(json_get(record, "limits")); j; j = json_next(j)) {
        int rc = undo_one(j, err);
        failed = rc < 0 ? rc : failed;
        undone |= rc == 0;
    }
    return failed < 0 ? failed : undone ? 0 : 1;
}

#define LEAVE                                                            \
    PARAM(INT, "leave", struct rlimit_params, leave, .lo = 0, .hi = 1e6, \
          .help = "how many more files and connections it may still open")

static const struct param rlimit_process_rows[] = {
    PARAM(STR, "process", struct rlimit_params, at.process, .required = true,
          .help = "a name under processes:, or the program or script that is running"),
    LEAVE,
};
static const struct param rlimit_docker_rows[] = { DOCKER_PARAM(struct rlimit_params, at.docker),
                                                   LEAVE };

static const struct param_table rlimit_process_table = { .title = "faults[].fd-exhaustion",
                                                         .rows = rlimit_process_rows,
                                                         .n = ARRAY_LEN(rlimit_process_rows) };
static const struct param_table rlimit_docker_table = { .title = "faults[].fd-exhaustion",
                                                        .rows = rlimit_docker_rows,
                                                        .n = ARRAY_LEN(rlimit_docker_rows) };

#define RLIMIT_KIND(id_, backend_, summary_, table_)                             \
    const struct fault_kind id_ = { .name = "fd-exhaustion",                     \
                                    .backend = (backend_),                       \
                                    .summary = (summary_),                       \
                                    .params = &(table_),                         \
                                    .params_size = sizeof(struct rlimit_params), \
                                    .prepare = rlimit_prepare,                   \
                                    .journal = rlimit_journal,                   \
                                    .inject = rlimit_inject,                     \
                                    .verify_in = rlimit_verify_in,               \
                                    .revert = rlimit_revert,                     \
                                    .verify_out = rlimit_verify_out,             \
                                    .target_gone = rlimit_target_gone,           \
                                    .release = rlimit_release,                   \
                                    .undo = rlimit_undo }

RLIMIT_KIND(fault_process_fds, "process", "let a process open no more files and connections",
            rlimit_process_table);
RLIMIT_KIND(fault_docker_fds, "docker",
            "let a container's first process open no more files and connections",
            rlimit_docker_table);
