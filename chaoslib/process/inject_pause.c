/* pause: a process keeps its sockets and its memory and does nothing.
 *
 * ptrace first: if we die, the kernel lets it run again. SIGSTOP where that is not allowed (another
 * tracer, a hardened system): that one outlives us, so the journal always says how to undo it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "chaoslib/inject.h"
#include "chaoslib/process/freeze.h"

#define STOP_NS (2 * NS_PER_SEC)
#define LOOK_NS (200 * NS_PER_US)

enum how { HOW_AUTO, HOW_PTRACE, HOW_SIGSTOP };

struct pause_params {
    const char *process;
    int how;
};

struct pause {
    struct target target;
    enum how how;
    struct freeze *freeze; /* by ptrace */
    bool signalled;        /* by SIGSTOP */
};

static int pause_prepare(struct fault_run *r, struct err *err)
{
    const struct pause_params *params = r->params;
    struct pause *p = xcalloc(1, sizeof(*p));

    r->state = p;
    p->target.pidfd = -1;
    p->how = (enum how)params->how;
    if (target_open(r, params->process, &p->target, err) < 0)
        return -ESRCH;
    if (target_is_stopped(&p->target))
        return err_set(err, ERR_TARGET, EBUSY,
                       "process '%s' (pid %d) is stopped already, by someone else: kill -CONT %d",
                       params->process, p->target.id.pid, p->target.id.pid);
    return 0;
}

/* By ptrace alone nobody else can undo it, nor has to: it is there so that the guardian sees when
 * it lasts too long, because the run stands still. */
static void pause_journal(const struct fault_run *r, struct json *record)
{
    const struct pause *p = r->state;

    if (p->target.is_child)
        return;
    target_write(&p->target, record);
    json_put_bool(record, "ptrace", p->how == HOW_PTRACE);
}

static void say_how(struct fault_run *r, const char *how)
{
    size_t n = strlen(r->target);

    snprintf(r->target + n, sizeof(r->target) - n, " by %s", how);
}

static int wait_state(const struct target *t, bool stopped)
{
    uint64_t deadline_ns = clock_now_ns() + STOP_NS;

    while (!target_is_gone(t) && target_is_stopped(t) != stopped) {
        if (clock_now_ns() >= deadline_ns)
            return -ETIMEDOUT;
        clock_sleep_until(clock_now_ns() + LOOK_NS);
    }
    return 0;
}

static int by_signal(struct pause *p, struct err *err)
{
    p->signalled = true;
    int rc = target_signal_all(&p->target, SIGSTOP, err);
    if (rc < 0)
        return rc;
    if (rc == 1)
        return err_set(err, ERR_TARGET, ESRCH, "process %d had ended before", p->target.id.pid);
    if (wait_state(&p->target, true) < 0)
        return err_set(err, ERR_INJECT, ETIMEDOUT, "process %d does not stop", p->target.id.pid);
    return 0;
}

static int pause_inject(struct fault_run *r, struct err *err)
{
    struct pause *p = r->state;
    struct err why = { 0 };

    if (p->how != HOW_SIGSTOP)
        p->freeze = freeze_start(&p->target, &why);
    if (!p->freeze && p->how == HOW_PTRACE) {
        *err = why;
        return err_wrap(err, "how: ptrace");
    }
    if (!p->freeze && by_signal(p, err) < 0)
        return -EIO;
    r->times.effective = clock_now_ns();
    say_how(r, p->freeze ? "ptrace" : "SIGSTOP");
    return 0;
}

static bool pause_target_gone(const struct fault_run *r)
{
    const struct pause *p = r->state;

    if (!target_is_gone(&p->target))
        return false;
    if (p->freeze)
        freeze_bury(p->freeze);
    return true;
}

static int pause_verify_in(struct fault_run *r, struct err *err)
{
    const struct pause *p = r->state;

    if (target_is_stopped(&p->target))
        return 0;
    return err_set(err, ERR_INJECT, EAGAIN, "process %d still runs", p->target.id.pid);
}

static int pause_revert(struct fault_run *r, struct err *err)
{
    struct pause *p = r->state;

    freeze_end(TAKE(p->freeze));
    if (p->signalled && target_signal_all(&p->target, SIGCONT, err) < 0)
        return err_wrap(err, "kill -CONT %d by hand", p->target.id.pid);
    p->signalled = false;
    r->times.reverted = clock_now_ns();
    return 0;
}

static int pause_verify_out(struct fault_run *r, struct err *err)
{
    const struct pause *p = r->state;

    if (wait_state(&p->target, false) == 0)
        return 0;
    return err_set(err, ERR_REVERT, EAGAIN, "process %d is still stopped: kill -CONT %d",
                   p->target.id.pid, p->target.id.pid);
}

static void pause_release(struct fault_run *r)
{
    struct pause *p = r->state;

    if (!p)
        return;
    freeze_end(p->freeze);
    target_close(&p->target);
    free(p);
    r->state = NULL;
}

/* SIGCONT is always sent: it also takes back a SIGSTOP that is still on its way. But by ptrace
 * alone the kernel lets it go, when its tracer ends; what else stops it is someone else's. */
static int let_run(const struct target *t, bool by_ptrace, struct err *err)
{
    char state = proc_state(t->id.pid);
    int rc = by_ptrace ? 0 : target_signal(t, SIGCONT, err);

    if (rc != 0 || (by_ptrace && state != 't'))
        return by_ptrace ? 1 : rc;
    if (wait_state(t, false) < 0)
        return err_set(err, ERR_REVERT, EAGAIN, "process %d is still stopped: %s %d", t->id.pid,
                       state == 't' ? "a debugger, or a run that stands still, holds"
                                    : "kill -CONT",
                       t->id.pid);
    return 0;
}

static int pause_undo(const struct json *record, struct err *err)
{
    struct target t;
    int rc = target_read(record, &t, err);

    if (rc != 0)
        return rc;
    bool was_stopped = target_is_stopped(&t);
    rc = let_run(&t, json_bool(record, "ptrace", false), err);
    target_close(&t);
    return rc == 0 && !was_stopped ? 1 : rc;
}

static const char *const hows[] = { "auto", "ptrace", "sigstop", NULL };

static const struct param pause_rows[] = {
    PARAM(STR, "process", struct pause_params, process, .required = true,
          .help = "a name under processes:, or the program or script that is running"),
    PARAM(ENUM, "how", struct pause_params, how, .def = "auto", .choices = hows,
          .help = "ptrace ends by itself when chaos-load dies; sigstop needs its guardian; auto "
                  "tries them in this order"),
};

static const struct param_table pause_table = { .title = "faults[].pause",
                                                .rows = pause_rows,
                                                .n = ARRAY_LEN(pause_rows) };

const struct fault_kind fault_process_pause = {
    .name = "pause",
    .backend = "process",
    .summary = "freeze a process: it keeps its connections and answers nothing",
    .params = &pause_table,
    .params_size = sizeof(struct pause_params),
    .prepare = pause_prepare,
    .journal = pause_journal,
    .inject = pause_inject,
    .verify_in = pause_verify_in,
    .revert = pause_revert,
    .verify_out = pause_verify_out,
    .target_gone = pause_target_gone,
    .release = pause_release,
    .undo = pause_undo,
};
