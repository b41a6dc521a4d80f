/* clock-skew: a process of the plan lives at another time than we.
 *
 * Nothing needs to be undone by anybody else: the process dies with us, and what it left behind, if
 * anything, sees the true time again when the skew's own end has come. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "chaoslib/clock/clock.h"
#include "chaoslib/clock/skew.h"
#include "chaoslib/inject.h"
#include "chaoslib/process/process.h"
#include "chaoslib/process/target.h"

/* How long past its planned end it may last when we hang. */
#define TTL_NS (10 * NS_PER_SEC)

struct clock_params {
    const char *process;
    int64_t offset_ns;
    struct strs clock_names;
    unsigned clocks; /* of the names */
};

struct skewed {
    struct target target;
    struct skew *skew; /* of the registry */
    bool is_ours;      /* we set it */
};

static int check_monotonic(const struct clock_params *p, struct err *err)
{
    uint64_t up = clock_now_ns();

    if ((p->clocks & CLOCKS_MONOTONIC) && p->offset_ns < 0 && (uint64_t)-p->offset_ns >= up)
        return err_set(err, ERR_TARGET, ERANGE,
                       "this machine has been up for %llu s only: its monotonic clock cannot be "
                       "set further back",
                       (unsigned long long)(up / NS_PER_SEC));
    return 0;
}

static int clock_prepare(struct fault_run *r, struct err *err)
{
    const struct clock_params *p = r->params;
    struct skewed *s = xcalloc(1, sizeof(*s));

    r->state = s;
    s->target.pidfd = -1;
    snprintf(r->mechanism, sizeof(r->mechanism), "preloaded object");
    s->skew = processes_skew(r->env->processes, p->process);
    if (!s->skew)
        return err_set(err, ERR_TARGET, EINVAL,
                       "process '%s' was not started by this run: only of those are clocks skewed",
                       p->process);
    if (target_open(r, p->process, &s->target, err) < 0 || check_monotonic(p, err) < 0)
        return -ESRCH;
    return skew_check(s->skew, s->target.id.pid, err);
}

static int clock_inject(struct fault_run *r, struct err *err)
{
    const struct clock_params *p = r->params;
    struct skewed *s = r->state;

    if (skew_set(s->skew, p->offset_ns, p->clocks, clock_now_ns() + r->hold_ns + TTL_NS, err) < 0)
        return err_wrap(err, "process '%s'", p->process);
    s->is_ours = true;
    r->times.effective = clock_now_ns();
    return 0;
}

static int clock_verify_in(struct fault_run *r, struct err *err)
{
    const struct skewed *s = r->state;

    if (!skew_is_set(s->skew))
        return err_set(err, ERR_INJECT, EAGAIN, "the clocks are not skewed");
    return target_is_gone(&s->target) ? 0 : skew_check(s->skew, s->target.id.pid, err);
}

static int clock_revert(struct fault_run *r, struct err *err)
{
    struct skewed *s = r->state;

    (void)err;
    if (s->is_ours)
        skew_clear(s->skew);
    r->times.reverted = clock_now_ns();
    return 0;
}

static int clock_verify_out(struct fault_run *r, struct err *err)
{
    struct skewed *s = r->state;

    if (s->is_ours && skew_is_set(s->skew))
        return err_set(err, ERR_REVERT, EAGAIN, "the clocks are still skewed");
    s->is_ours = false;
    return 0;
}

static void clock_release(struct fault_run *r)
{
    struct skewed *s = r->state;

    if (s)
        target_close(&s->target);
    free(s);
    r->state = NULL;
}

/* ---- parameters ---- */

static void offset_load(const struct param_ctx *ctx, const struct doc *d, void *field)
{
    const char *text = d->kind == DOC_SCALAR ? d->text : "";
    unsigned flags = ctx->from_flags ? PARSE_BARE_SECONDS : PARSE_UNIT;
    struct err err = { 0 };
    bool back = *text == '-';
    uint64_t ns = 0;

    if (d->kind != DOC_SCALAR)
        diag_add(ctx->diag, d, "expected an offset such as 1h or -30s, not %s",
                 doc_kind_name(d->kind));
    else if (parse_duration(text + (back || *text == '+'), flags, &ns, &err) < 0)
        diag_add(ctx->diag, d, "%s", err.msg);
    else if (ns == 0)
        diag_add(ctx->diag, d, "'%.40s' skews nothing", text);
    else
        *(int64_t *)field = back ? -(int64_t)ns : (int64_t)ns;
}

static unsigned clock_of(const char *name)
{
    static const char *const names[] = { "realtime", "monotonic" };

    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0)
            return 1U << i;
    return 0;
}

static void clock_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    struct clock_params *p = base;

    for (size_t i = 0; i < p->clock_names.n; i++) {
        unsigned one = clock_of(p->clock_names.v[i]);

        if (!one)
            diag_add(ctx->diag, doc_get(d, "clocks"),
                     "no clock '%s': there are realtime and monotonic", p->clock_names.v[i]);
        p->clocks |= one;
    }
    if (p->clock_names.n == 0)
        diag_add(ctx->diag, doc_get(d, "clocks"), "names no clock: realtime, monotonic");
}

static const struct param clock_rows[] = {
    PARAM(STR, "process", struct clock_params, process, .required = true,
          .help = "a name under processes: that has run:, or the embedded target"),
    PARAM(CUSTOM, "offset", struct clock_params, offset_ns, .required = true, .load = offset_load,
          .type_text = "duration, with - in front: back", .schema_json = "{\"type\":\"string\"}",
          .help = "how far its clocks are ahead, or with a minus sign behind"),
    PARAM(STRS, "clocks", struct clock_params, clock_names, .def = "realtime",
          .type_text = "list of realtime, monotonic",
          .help = "realtime tells dates; monotonic is what durations are measured by"),
};
static const struct param_table clock_table = { .title = "faults[].clock-skew",
                                                .rows = clock_rows,
                                                .n = ARRAY_LEN(clock_rows),
                                                .check = clock_check };

const struct fault_kind fault_process_clock_skew = {
    .name = "clock-skew",
    .backend = "process",
    .summary = "let a process that the plan starts live at another time",
    .flags = FAULT_FREE,
    .params = &clock_table,
    .params_size = sizeof(struct clock_params),
    .prepare = clock_prepare,
    .inject = clock_inject,
    .verify_in = clock_verify_in,
    .revert = clock_revert,
    .verify_out = clock_verify_out,
    .release = clock_release,
};

const char *clock_skew_process(const struct fault_spec *s)
{
    const struct clock_params *p = s->params;

    return s->kind == &fault_process_clock_skew ? p->process : NULL;
}
