/* crash: a process ends by a signal, and nothing of ours brings it back: that is for whoever
 * supervises it (systemd, a supervisor of containers, a shell loop), whom the fault watches when it
 * is told how long that may take. So `kill` is what we do and undo, `crash` what others must mend.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/parse.h"
#include "chaoslib/inject.h"
#include "chaoslib/process/process.h"
#include "chaoslib/process/target.h"

#define KILLED_NS (5 * NS_PER_SEC)
#define LOOK_NS (20 * NS_PER_MS)

struct crash_params {
    const char *process, *signal;
    int signo;
    uint64_t timeout_ns, returns_within_ns;
    bool wait_ready;
};

struct crash {
    struct target target;
    bool ended, back;
    struct proc_id now; /* once it is back */
};

static int crash_prepare(struct fault_run *r, struct err *err)
{
    const struct crash_params *p = r->params;
    struct crash *c = xcalloc(1, sizeof(*c));

    c->target.pidfd = -1;
    r->state = c;
    if (target_open(r, p->process, &c->target, err) < 0)
        return -ESRCH;
    if (c->target.is_child && p->returns_within_ns)
        return err_set(err, ERR_PREPARE, EINVAL,
                       "process '%s' is started by this run, so nobody else would start it again: "
                       "use kill with restart_after",
                       p->process);
    return 0;
}

/* Nothing is ours to undo. */
static void crash_journal(const struct fault_run *r, struct json *record)
{
    (void)r;
    (void)record;
}

static int crash_inject(struct fault_run *r, struct err *err)
{
    const struct crash_params *p = r->params;
    struct crash *c = r->state;
    uint64_t wait_ns = p->signo == SIGKILL ? KILLED_NS : p->timeout_ns;

    processes_expect_exit(r->env->processes, p->process, true);
    int rc = target_signal(&c->target, p->signo, err);
    if (rc == 1)
        return err_set(err, ERR_TARGET, ESRCH, "process '%s' (pid %d) had ended before", p->process,
                       c->target.id.pid);
    if (rc < 0)
        return rc;
    if (target_wait_gone(&c->target, r->hurry, clock_now_ns() + wait_ns) != WAIT_READY)
        return err_set(err, ERR_INJECT, ETIMEDOUT,
                       "process '%s' (pid %d) did not end after %s: it handles or ignores it; use "
                       "signal: SIGKILL",
                       p->process, c->target.id.pid, p->signal);
    c->ended = true;
    r->times.effective = clock_now_ns();
    return 0;
}

static int crash_verify_in(struct fault_run *r, struct err *err)
{
    const struct crash *c = r->state;

    if (!proc_is_alive(&c->target.id))
        return 0;
    return err_set(err, ERR_INJECT, EAGAIN, "process %d still runs", c->target.id.pid);
}

/* ---- back, by somebody else ---- */

static int not_back(const struct crash_params *p, const struct err *why, struct err *err)
{
    char limit[DURATION_TEXT_MAX];

    return err_set(err, ERR_REVERT, ETIMEDOUT,
                   "nobody started process '%s' again within %s%s%.200s", p->process,
                   duration_text(p->returns_within_ns, limit), err_is_set(why) ? ": " : "",
                   why->msg);
}

/* Another process that the name means now, and that is ready. An abort ends the wait: who mends it
 * is not us. */
static int wait_return(struct fault_run *r, struct err *err)
{
    const struct crash_params *p = r->params;
    struct crash *c = r->state;
    struct processes *all = r->env->processes;
    uint64_t until = r->times.effective + p->returns_within_ns;
    struct err why = { 0 };
    struct proc_id now;

    while (!latch_wait_until(r->abort, MIN(until, clock_now_ns() + LOOK_NS))) {
        err_clear(&why);
        if (processes_resolve(all, p->process, &now, &why) == 0 &&
            (now.pid != c->target.id.pid || now.start_ticks != c->target.id.start_ticks) &&
            (!p->wait_ready || processes_wait_ready(all, p->process, &now, r->abort, &why) == 0)) {
            r->times.reverted = clock_now_ns();
            c->now = now;
            c->back = !latch_is_set(r->abort);
            return 0;
        }
        if (clock_now_ns() >= until)
            return not_back(p, &why, err);
    }
    return 0;
}

static int crash_revert(struct fault_run *r, struct err *err)
{
    const struct crash_params *p = r->params;
    const struct crash *c = r->state;

    if (!c->ended) {
        processes_expect_exit(r->env->processes, p->process, false);
        return 0;
    }
    return p->returns_within_ns ? wait_return(r, err) : 0;
}

static int crash_verify_out(struct fault_run *r, struct err *err)
{
    const struct crash_params *p = r->params;
    const struct crash *c = r->state;

    if (!c->back || proc_is_alive(&c->now))
        return 0;
    return err_set(err, ERR_REVERT, ECHILD, "process '%s' was started again and ended at once",
                   p->process);
}

static void crash_release(struct fault_run *r)
{
    struct crash *c = r->state;

    if (!c)
        return;
    target_close(&c->target);
    free(c);
    r->state = NULL;
}

static int crash_undo(const struct json *record, struct err *err)
{
    (void)record;
    (void)err;
    return 1;
}

/* ---- parameters ---- */

static void check_crash(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    struct crash_params *p = base;

    p->signo = signal_number(p->signal);
    if (!p->signo)
        diag_add(ctx->diag, doc_get(d, "signal"),
                 "'%s' is not a signal: write SIGKILL, SEGV, 11, ...", p->signal);
}

static const struct param crash_rows[] = {
    PARAM(STR, "process", struct crash_params, process, .required = true,
          .help = "a name under processes:, or the program or script that is running"),
    PARAM(STR, "signal", struct crash_params, signal, .def = "SIGKILL",
          .help = "the signal that it gets, with or without SIG; SEGV and ABRT may write a core "
                  "file, as they do in a crash"),
    PARAM(DURATION, "timeout", struct crash_params, timeout_ns, .def = "10s", .lo = 0.001,
          .hi = 3600, .help = "how long it may take to end after a signal other than SIGKILL"),
    PARAM(DURATION, "returns_within", struct crash_params, returns_within_ns, .lo = 0.001,
          .hi = 3600,
          .help = "how long whoever supervises it may take to start it again; nobody waits for "
                  "that when absent"),
    PARAM(BOOL, "wait_ready", struct crash_params, wait_ready, .def = "true",
          .help = "returns_within: it counts as back when its ready check passes"),
};

static const struct param_table crash_table = {
    .title = "faults[].crash", .rows = crash_rows, .n = ARRAY_LEN(crash_rows), .check = check_crash
};

const struct fault_kind fault_process_crash = {
    .name = "crash",
    .backend = "process",
    .summary = "end a process by a signal and leave it to its supervisor to start it again",
    .flags = FAULT_ONE_SHOT | FAULT_INTRUSIVE,
    .params = &crash_table,
    .params_size = sizeof(struct crash_params),
    .prepare = crash_prepare,
    .journal = crash_journal,
    .inject = crash_inject,
    .verify_in = crash_verify_in,
    .revert = crash_revert,
    .verify_out = crash_verify_out,
    .release = crash_release,
    .undo = crash_undo,
};
