/* kill, stop, restart: a process is gone for a while, and (but for a plain kill) comes back.
 *
 * Ours come back through the registry; foreign ones with the command, directory and environment
 * that /proc told before they ended. The instants that count are when it is really gone (its pidfd
 * says so) and when it is ready again, not when a signal was sent. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "chaoslib/guardian.h"
#include "chaoslib/inject.h"
#include "chaoslib/process/offspring.h"
#include "chaoslib/process/process.h"
#include "chaoslib/process/revival.h"
#include "chaoslib/process/target.h"

#define KILLED_NS (5 * NS_PER_SEC) /* what SIGKILL may take: a process deep in the kernel */

struct kill_params {
    const char *process, *signal;
    int signo;
    uint64_t restart_after_ns, timeout_ns;
    bool wait_ready;
};

struct stop_params {
    const char *process;
    uint64_t grace_ns;
    bool wait_ready;
};

struct down {
    struct target target;
    int signo;         /* the first one */
    uint64_t grace_ns; /* how long it may take to end */
    bool insist;       /* SIGKILL when it did not end in time */
    bool comes_back, wait_ready;
    struct revival revival; /* of a foreign process */
    bool sent, back;        /* how far we are */
    struct proc_id now;     /* once it is back */
};

/* ---- prepare ---- */

static int prepare_down(struct fault_run *r, const char *name, struct down *want, struct err *err)
{
    struct down *d = xcalloc(1, sizeof(*d));

    *d = *want;
    d->target.pidfd = -1;
    r->state = d;
    if (target_open(r, name, &d->target, err) < 0)
        return -ESRCH;
    if (!d->comes_back || d->target.is_child)
        return 0;
    return revival_read(&d->target.id, &d->revival, err);
}

static int kill_prepare(struct fault_run *r, struct err *err)
{
    const struct kill_params *p = r->params;

    r->hold_ns = p->restart_after_ns;
    return prepare_down(r, p->process,
                        &(struct down){
                            .signo = p->signo,
                            .grace_ns = p->signo == SIGKILL ? KILLED_NS : p->timeout_ns,
                            .comes_back = p->restart_after_ns > 0,
                            .wait_ready = p->wait_ready,
                        },
                        err);
}

static int stop_prepare(struct fault_run *r, struct err *err)
{
    const struct stop_params *p = r->params;

    return prepare_down(r, p->process,
                        &(struct down){
                            .signo = SIGTERM,
                            .grace_ns = p->grace_ns,
                            .insist = true,
                            .comes_back = true,
                            .wait_ready = p->wait_ready,
                        },
                        err);
}

static void journal_down(const struct fault_run *r, struct json *record)
{
    const struct down *d = r->state;

    if (!d->comes_back || d->target.is_child)
        return;
    target_write(&d->target, record);
    revival_write(&d->revival, record);
    json_put_u64(record, "grace_ms", d->signo == SIGKILL ? 500 : d->grace_ns / NS_PER_MS + 500);
    if (r->env->guardian)
        err_ignore(guardian_keep(r->env->guardian, r->seq, "env", d->revival.env,
                                 d->revival.env_len, NULL),
                   "a guardian that cannot keep it cannot be armed next, and nothing is injected");
}

/* ---- inject ---- */

/* A child of ours may be a wrapper (sh, npm, a prefork master): what it started goes with it, or
 * the fault would be called effective while the service still answers. Its number is safe: a dead
 * child is buried only by the registry. */
static void signal_offspring(const struct down *d)
{
    if (d->target.is_child)
        err_ignore(kill(-d->target.id.pid, d->signo), "then it was alone");
}

static void end_offspring(const struct down *d)
{
    if (d->target.is_child && (d->insist || d->signo == SIGKILL))
        err_ignore(offspring_end(&d->target.id, NULL), "burying the child tries again");
}

/* An abort cuts the grace short: it will be started again anyway. */
static int end_it(struct fault_run *r, struct down *d, struct err *err)
{
    const struct latch *cut = d->insist ? r->abort : r->hurry;
    enum wait_answer a = target_wait_gone(&d->target, cut, clock_now_ns() + d->grace_ns);

    if (a != WAIT_READY && d->insist) {
        if (target_signal(&d->target, SIGKILL, err) < 0)
            return -EPERM;
        a = target_wait_gone(&d->target, NULL, clock_now_ns() + KILLED_NS);
    }
    if (a == WAIT_READY) {
        end_offspring(d);
        r->times.effective = clock_now_ns();
        return 0;
    }
    return err_set(err, ERR_INJECT, ETIMEDOUT,
                   "process '%s' (pid %d) did not end after %s; use signal: SIGKILL, or stop:",
                   d->target.name, d->target.id.pid, signal_name(d->signo));
}

static int inject_down(struct fault_run *r, struct err *err)
{
    struct down *d = r->state;

    processes_expect_exit(r->env->processes, d->target.name, true);
    int rc = target_signal(&d->target, d->signo, err);
    if (rc == 1)
        return err_set(err, ERR_TARGET, ESRCH, "process '%s' (pid %d) had ended before",
                       d->target.name, d->target.id.pid);
    if (rc < 0)
        return rc;
    d->sent = true;
    signal_offspring(d);
    return end_it(r, d, err);
}

static int verify_down(struct fault_run *r, struct err *err)
{
    const struct down *d = r->state;

    if (!proc_is_alive(&d->target.id))
        return 0;
    return err_set(err, ERR_INJECT, EAGAIN, "process %d still runs", d->target.id.pid);
}

/* ---- revert ---- */

static int start_again(struct fault_run *r, struct down *d, struct err *err)
{
    struct processes *p = r->env->processes;

    if (d->target.is_child)
        return processes_respawn(p, d->target.name, &d->now, err);
    int rc = revival_start(&d->revival, &d->now, err);
    if (rc >= 0)
        processes_adopt(p, d->target.name, &d->now);
    return MIN(rc, 0);
}

static int revert_down(struct fault_run *r, struct err *err)
{
    struct down *d = r->state;

    if (!d->sent) { /* it is as it was */
        processes_expect_exit(r->env->processes, d->target.name, false);
        return 0;
    }
    if (!d->comes_back)
        return 0;
    /* One that survived its signal needs nothing. */
    if (target_wait_gone(&d->target, NULL, clock_now_ns()) != WAIT_READY)
        return 0;
    if (!d->back && start_again(r, d, err) < 0)
        return err_wrap(err, "cannot start process '%s' again", d->target.name);
    d->back = true;
    processes_expect_exit(r->env->processes, d->target.name, false);
    if (d->wait_ready &&
        processes_wait_ready(r->env->processes, d->target.name, &d->now, r->hurry, err) < 0)
        return err_wrap(err, "process '%s' was started again", d->target.name);
    r->times.reverted = clock_now_ns();
    return 0;
}

static int verify_up(struct fault_run *r, struct err *err)
{
    const struct down *d = r->state;

    if (!d->back || proc_is_alive(&d->now))
        return 0;
    return err_set(err, ERR_REVERT, ECHILD, "process '%s' was started again and ended at once",
                   d->target.name);
}

static void release_down(struct fault_run *r)
{
    struct down *d = r->state;

    if (!d)
        return;
    target_close(&d->target);
    revival_done(&d->revival);
    free(d);
    r->state = NULL;
}

/* ---- from the journal ---- */

/* Whoever recovers may be quicker than the signal: one that is about to end is waited for. */
static bool is_still_there(const struct json *record)
{
    struct target t;
    uint64_t grace_ms = MIN(json_u64(record, "grace_ms", 0), 3600000);

    if (target_read(record, &t, NULL) != 0)
        return false;
    bool gone = target_wait_gone(&t, NULL, clock_now_ns() + grace_ms * NS_PER_MS) == WAIT_READY;
    target_close(&t);
    return !gone;
}

static int undo_down(const struct json *record, struct err *err)
{
    struct revival v;
    struct proc_id now;

    if (is_still_there(record))
        return 1;
    if (revival_from(record, &v, err) < 0)
        return -EINVAL;
    int rc = revival_start(&v, &now, err);
    if (rc < 0)
        err_wrap(err, "start it by hand in %s", v.cwd);
    if (rc == 0 && !v.env && err)
        snprintf(err->msg, sizeof(err->msg),
                 "started as pid %d with a minimal environment, since its own was not on disk",
                 now.pid);
    revival_done(&v);
    return rc;
}

/* ---- parameters ---- */

static void check_kill(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    struct kill_params *p = base;

    p->signo = signal_number(p->signal);
    if (!p->signo)
        diag_add(ctx->diag, doc_get(d, "signal"),
                 "'%s' is not a signal: write SIGKILL, TERM, 9, ...", p->signal);
}

#define PROCESS_ROW(struct_)                                  \
    PARAM(STR, "process", struct_, process, .required = true, \
          .help = "a name under processes:, or the program or script that is running")

static const struct param kill_rows[] = {
    PROCESS_ROW(struct kill_params),
    PARAM(STR, "signal", struct kill_params, signal, .def = "SIGKILL",
          .help = "the signal that ends it, with or without SIG"),
    PARAM(DURATION, "restart_after", struct kill_params, restart_after_ns,
          .help = "start it again after so long, with the same command, directory and "
                  "environment; never when absent"),
    PARAM(BOOL, "wait_ready", struct kill_params, wait_ready, .def = "true",
          .help = "restart_after: it counts as back when its ready check passes"),
    PARAM(DURATION, "timeout", struct kill_params, timeout_ns, .def = "10s", .lo = 0.001,
          .hi = 3600, .help = "how long it may take to end after a signal other than SIGKILL"),
};

static const struct param stop_rows[] = {
    PROCESS_ROW(struct stop_params),
    PARAM(DURATION, "grace", struct stop_params, grace_ns, .def = "5s", .lo = 0, .hi = 3600,
          .help = "how long it may take to end after SIGTERM, before SIGKILL"),
    PARAM(BOOL, "wait_ready", struct stop_params, wait_ready, .def = "true",
          .help = "it counts as back when its ready check passes"),
};

static const struct param_table kill_table = {
    .title = "faults[].kill", .rows = kill_rows, .n = ARRAY_LEN(kill_rows), .check = check_kill
};
static const struct param_table stop_table = { .title = "faults[].stop",
                                               .rows = stop_rows,
                                               .n = ARRAY_LEN(stop_rows) };
static const struct param_table restart_table = { .title = "faults[].restart",
                                                  .rows = stop_rows,
                                                  .n = ARRAY_LEN(stop_rows) };

#define DOWN_STEPS                                                            \
    .journal = journal_down, .inject = inject_down, .verify_in = verify_down, \
    .revert = revert_down, .verify_out = verify_up, .release = release_down, .undo = undo_down

const struct fault_kind fault_process_kill = {
    .name = "kill",
    .backend = "process",
    .summary = "end a process at once, and start it again later if asked",
    .flags = FAULT_ONE_SHOT,
    .params = &kill_table,
    .params_size = sizeof(struct kill_params),
    .prepare = kill_prepare,
    DOWN_STEPS,
};

const struct fault_kind fault_process_stop = {
    .name = "stop",
    .backend = "process",
    .summary = "stop a process in good order (SIGTERM, then SIGKILL) and start it again at the end",
    .params = &stop_table,
    .params_size = sizeof(struct stop_params),
    .prepare = stop_prepare,
    DOWN_STEPS,
};

const struct fault_kind fault_process_restart = {
    .name = "restart",
    .backend = "process",
    .summary = "stop a process in good order and start it again at once",
    .flags = FAULT_ONE_SHOT,
    .params = &restart_table,
    .params_size = sizeof(struct stop_params),
    .prepare = stop_prepare,
    DOWN_STEPS,
};
