/* signal: any signal, and another one later that takes it back (STOP and CONT, USR1 and USR2). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "chaoslib/inject.h"
#include "chaoslib/process/target.h"

struct signal_params {
    const char *process, *signal, *recover_signal;
    int signo, recover_signo; /* 0: none */
    uint64_t recover_after_ns;
};

struct sent {
    struct target target;
    bool sent;
};

static int signal_prepare(struct fault_run *r, struct err *err)
{
    const struct signal_params *p = r->params;
    struct sent *s = xcalloc(1, sizeof(*s));

    r->state = s;
    s->target.pidfd = -1;
    r->hold_ns = p->recover_signo ? p->recover_after_ns : 0;
    return target_open(r, p->process, &s->target, err);
}

static void signal_journal(const struct fault_run *r, struct json *record)
{
    const struct signal_params *p = r->params;
    const struct sent *s = r->state;

    if (!p->recover_signo || s->target.is_child)
        return;
    target_write(&s->target, record);
    json_put_u64(record, "signal", (uint64_t)p->recover_signo);
}

static int signal_inject(struct fault_run *r, struct err *err)
{
    const struct signal_params *p = r->params;
    struct sent *s = r->state;
    int rc = target_signal(&s->target, p->signo, err);

    if (rc == 1)
        return err_set(err, ERR_TARGET, ESRCH, "process '%s' (pid %d) had ended before", p->process,
                       s->target.id.pid);
    if (rc < 0)
        return rc;
    s->sent = true;
    r->times.effective = clock_now_ns();
    return 0;
}

static bool signal_target_gone(const struct fault_run *r)
{
    const struct signal_params *p = r->params;
    const struct sent *s = r->state;

    return p->recover_signo && target_is_gone(&s->target);
}

static int signal_revert(struct fault_run *r, struct err *err)
{
    const struct signal_params *p = r->params;
    struct sent *s = r->state;

    if (!s->sent || !p->recover_signo)
        return 0;
    if (target_signal(&s->target, p->recover_signo, err) < 0)
        return -EPERM;
    s->sent = false;
    r->times.reverted = clock_now_ns();
    return 0;
}

static void signal_release(struct fault_run *r)
{
    struct sent *s = r->state;

    if (!s)
        return;
    target_close(&s->target);
    free(s);
    r->state = NULL;
}

static int signal_undo(const struct json *record, struct err *err)
{
    uint64_t signo = json_u64(record, "signal", 0);
    struct target t;

    if (signo == 0 || signo > (uint64_t)SIGRTMAX)
        return err_set(err, ERR_REVERT, EINVAL, "the journal names no signal");
    int rc = target_read(record, &t, err);
    if (rc != 0)
        return rc;
    rc = target_signal(&t, (int)signo, err);
    target_close(&t);
    return rc;
}

static int read_signal(const struct param_ctx *ctx, const struct doc *d, const char *key,
                       const char *text)
{
    int signo = text ? signal_number(text) : 0;

    if (text && !signo)
        diag_add(ctx->diag, doc_get(d, key), "'%s' is not a signal: write SIGUSR1, HUP, 10, ...",
                 text);
    return signo;
}

static void check_signal(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    struct signal_params *p = base;

    p->signo = read_signal(ctx, d, "signal", p->signal);
    p->recover_signo = read_signal(ctx, d, "recover_signal", p->recover_signal);
    if (p->recover_signal && !doc_get(d, "recover_after"))
        diag_add(ctx->diag, d, "recover_signal needs recover_after: how much later it is sent");
    if (!p->recover_signal && doc_get(d, "recover_after"))
        diag_add(ctx->diag, d, "recover_after needs recover_signal: which signal is sent then");
    if (p->signo == SIGSTOP && !p->recover_signal)
        diag_add(ctx->diag, d,
                 "SIGSTOP alone would leave the process stopped: add recover_signal: CONT and "
                 "recover_after, or use pause");
}

static unsigned signal_flags(const void *params)
{
    const struct signal_params *p = params;

    return p->recover_signo ? 0 : FAULT_INTRUSIVE;
}

static const struct param signal_rows[] = {
    PARAM(STR, "process", struct signal_params, process, .required = true,
          .help = "a name under processes:, or the program or script that is running"),
    PARAM(STR, "signal", struct signal_params, signal, .required = true,
          .help = "the signal that is sent, with or without SIG"),
    PARAM(STR, "recover_signal", struct signal_params, recover_signal,
          .help = "the signal that takes it back"),
    PARAM(DURATION, "recover_after", struct signal_params, recover_after_ns,
          .help = "how much later recover_signal is sent"),
};

static const struct param_table signal_table = { .title = "faults[].signal",
                                                 .rows = signal_rows,
                                                 .n = ARRAY_LEN(signal_rows),
                                                 .check = check_signal };

const struct fault_kind fault_process_signal = {
    .name = "signal",
    .backend = "process",
    .summary = "send a signal to a process, and later the one that takes it back",
    .flags = FAULT_ONE_SHOT,
    .flags_of = signal_flags,
    .params = &signal_table,
    .params_size = sizeof(struct signal_params),
    .prepare = signal_prepare,
    .journal = signal_journal,
    .inject = signal_inject,
    .revert = signal_revert,
    .target_gone = signal_target_gone,
    .release = signal_release,
    .undo = signal_undo,
};
