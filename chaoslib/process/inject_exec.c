/* exec: a command that breaks something, and one that mends it. No shell: a list of arguments, in
 * which {pid} stands for the process, if one is named. The revert command is in the journal before
 * the first one runs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "chaoslib/inject.h"
#include "chaoslib/process/target.h"

#define OUTPUT_MAX ((size_t)64 << 10)
#define TIMEOUT_MAX_MS 3600000
/* A command that was still running when we were killed dies with us, but a moment later; what
 * undoes it must come after. */
#define DYING_NS (50 * NS_PER_MS)

struct exec_params {
    const char *process;
    struct strs command, revert;
    uint64_t revert_after_ns, timeout_ns;
};

struct exec {
    struct target target; /* pidfd -1 without one */
    char **command, **revert;
    bool ran;
    bool mends_it; /* revert names {pid}: it is for this process, or for nobody */
};

/* ---- {pid} ---- */

static char *with_pid(const char *text, const char *pid)
{
    auto_buf struct buf out = BUF_INIT((size_t)1 << 20);

    for (const char *at = strstr(text, "{pid}"); at && pid; at = strstr(text, "{pid}")) {
        buf_add(&out, text, (size_t)(at - text));
        buf_adds(&out, pid);
        text = at + strlen("{pid}");
    }
    buf_adds(&out, text);
    return buf_take(&out);
}

static bool names_pid(const struct strs *words)
{
    for (size_t i = 0; i < words->n; i++)
        if (strstr(words->v[i], "{pid}"))
            return true;
    return false;
}

static char **argv_new(const struct strs *words, const char *pid)
{
    char **argv = xcalloc(words->n + 1, sizeof(*argv));

    for (size_t i = 0; i < words->n; i++)
        argv[i] = with_pid(words->v[i], pid);
    return argv;
}

static void argv_free(char **argv)
{
    for (size_t i = 0; argv && argv[i]; i++)
        free(argv[i]);
    free(argv);
}

/* ---- running ---- */

static const char *first_line(struct buf *out)
{
    if (out->data)
        out->data[strcspn(out->data, "\r\n")] = '\0';
    return buf_str(out);
}

static int run_command(char *const *argv, uint64_t timeout_ms, enum err_kind kind, struct err *err)
{
    auto_buf struct buf out = BUF_INIT(OUTPUT_MAX);
    int status = proc_run((const char *const *)(uintptr_t)argv, timeout_ms, &out, err);

    if (status <= 0)
        return status;
    const char *said = first_line(&out);
    return err_set(err, kind, EIO, "'%s' ended with status %d%s%.150s", argv[0], status,
                   *said ? ": " : "", said);
}

static int exec_prepare(struct fault_run *r, struct err *err)
{
    const struct exec_params *p = r->params;
    struct exec *x = xcalloc(1, sizeof(*x));
    char pid[16] = "";

    r->state = x;
    x->target.pidfd = -1;
    r->hold_ns = p->revert.n ? p->revert_after_ns : 0;
    if (p->process && target_open(r, p->process, &x->target, err) < 0)
        return -ESRCH;
    x->mends_it = p->process && names_pid(&p->revert);
    if (p->process)
        snprintf(pid, sizeof(pid), "%d", x->target.id.pid);
    else
        snprintf(r->target, sizeof(r->target), "command '%.100s'%s", p->command.v[0],
                 p->revert.n ? "" : " (cannot be undone)");
    x->command = argv_new(&p->command, *pid ? pid : NULL);
    x->revert = argv_new(&p->revert, *pid ? pid : NULL);
    return 0;
}

static void exec_journal(const struct fault_run *r, struct json *record)
{
    const struct exec_params *p = r->params;
    const struct exec *x = r->state;

    if (!x->revert[0])
        return;
    struct json *argv = json_put(record, "revert", json_array());
    for (size_t i = 0; x->revert[i]; i++)
        json_put_str(argv, NULL, x->revert[i]);
    json_put_u64(record, "timeout_ms", p->timeout_ns / NS_PER_MS);
    if (x->mends_it)
        target_write(&x->target, json_put(record, "only_for", json_object()));
}

static int exec_inject(struct fault_run *r, struct err *err)
{
    const struct exec_params *p = r->params;
    struct exec *x = r->state;

    x->ran = true;
    int rc = run_command(x->command, p->timeout_ns / NS_PER_MS, ERR_INJECT, err);
    r->times.effective = rc < 0 ? 0 : clock_now_ns();
    return rc;
}

/* Its number may be another's by now. */
static bool exec_target_gone(const struct fault_run *r)
{
    const struct exec *x = r->state;

    return x->mends_it && target_is_gone(&x->target);
}

static int exec_revert(struct fault_run *r, struct err *err)
{
    const struct exec_params *p = r->params;
    struct exec *x = r->state;

    if (!x->ran || !x->revert[0] || exec_target_gone(r))
        return 0;
    if (run_command(x->revert, p->timeout_ns / NS_PER_MS, ERR_REVERT, err) < 0)
        return -EIO;
    x->ran = false;
    r->times.reverted = clock_now_ns();
    return 0;
}

static void exec_release(struct fault_run *r)
{
    struct exec *x = r->state;

    if (!x)
        return;
    target_close(&x->target);
    argv_free(x->command);
    argv_free(x->revert);
    free(x);
    r->state = NULL;
}

static bool is_for_nobody(const struct json *record)
{
    const struct json *process = json_get(record, "only_for");
    struct target t;

    if (!process)
        return false;
    int rc = target_read(process, &t, NULL);
    if (rc == 0)
        target_close(&t);
    return rc == 1;
}

static int exec_undo(const struct json *record, struct err *err)
{
    const struct json *list = json_get(record, "revert");
    uint64_t timeout_ms = MIN(json_u64(record, "timeout_ms", 30000), TIMEOUT_MAX_MS);
    char **argv = xcalloc(json_len(list) + 1, sizeof(*argv));
    size_t n = 0;
    int rc;

    for (const struct json *j = json_first(list); j; j = json_next(j))
        argv[n++] = xstrdup(json_str(j, "", ""));
    clock_sleep_until(clock_now_ns() + DYING_NS);
    if (is_for_nobody(record)) {
        argv_free(argv);
        return 1;
    }
    if (n == 0)
        rc = err_set(err, ERR_REVERT, EINVAL, "the journal names no command");
    else
        rc = run_command(argv, timeout_ms, ERR_REVERT, err);
    argv_free(argv);
    return rc < 0 ? err_wrap(err, "run the revert command by hand") : 0;
}

/* ---- parameters ---- */

static void check_exec(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct exec_params *p = base;

    if (p->revert.n && !doc_get(d, "revert_after"))
        diag_add(ctx->diag, d, "revert needs revert_after: how much later it runs");
    if (!p->revert.n && doc_get(d, "revert_after"))
        diag_add(ctx->diag, d, "revert_after needs revert: the command that runs then");
    if (!p->command.n)
        diag_add(ctx->diag, doc_get(d, "command"), "an empty command");
}

static unsigned exec_flags(const void *params)
{
    const struct exec_params *p = params;

    return p->revert.n ? 0 : FAULT_INTRUSIVE;
}

static const struct param exec_rows[] = {
    PARAM(STR, "process", struct exec_params, process,
          .help = "a name under processes:, or the program or script that is running: {pid} in the "
                  "commands is its number"),
    PARAM(STRS, "command", struct exec_params, command, .required = true,
          .help = "what is run, as a list of arguments; there is no shell"),
    PARAM(STRS, "revert", struct exec_params, revert,
          .help = "what undoes it; it may run more than once, and does not when it names {pid} and "
                  "that process has gone. Both commands are written to the "
                  "journal: no secrets in them"),
    PARAM(DURATION, "revert_after", struct exec_params, revert_after_ns,
          .help = "how much later revert runs"),
    PARAM(DURATION, "timeout", struct exec_params, timeout_ns, .def = "30s", .lo = 0.001,
          .hi = 3600, .help = "a command that takes longer is killed and has failed"),
};

static const struct param_table exec_table = {
    .title = "faults[].exec", .rows = exec_rows, .n = ARRAY_LEN(exec_rows), .check = check_exec
};

const struct fault_kind fault_process_exec = {
    .name = "exec",
    .backend = "process",
    .summary = "run a command that breaks something, and later one that mends it",
    .flags = FAULT_ONE_SHOT | FAULT_SURVIVES_BOOT,
    .flags_of = exec_flags,
    .params = &exec_table,
    .params_size = sizeof(struct exec_params),
    .prepare = exec_prepare,
    .journal = exec_journal,
    .inject = exec_inject,
    .revert = exec_revert,
    .target_gone = exec_target_gone,
    .release = exec_release,
    .undo = exec_undo,
};
