/* limits of a process of this machine: it and all that it started get a cgroup of their own. That
 * would stay when we die, so it is journalled. Memory that it has already stays on the account of
 * its old cgroup: the limit is for what it takes from then on. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "chaoslib/inject.h"
#include "chaoslib/machine/confine.h"
#include "chaoslib/process/find.h"
#include "chaoslib/process/target.h"

#define MEMORY_MIN ((uint64_t)1 << 20)
#define ANCESTORS_MAX 200

struct limits_params {
    const char *process;
    double cpu;
    uint64_t memory;
    int64_t pids;
};

struct limited {
    struct target target;
    struct json *plan;
    bool entered;
};

static bool is_our_ancestor(pid_t pid)
{
    pid_t at = getpid();

    for (int i = 0; at > 1 && i < ANCESTORS_MAX; i++) {
        if (at == pid)
            return true;
        at = (pid_t)process_stat_field(at, 4);
    }
    return false;
}

static void say_how(struct fault_run *r, const struct json *plan)
{
    unsigned v1 = 0, v2 = 0;

    for (const struct json *g = json_first(json_get(plan, "groups")); g; g = json_next(g)) {
        auto_free char *file = xasprintf("%s/cgroup.controllers", json_str(g, "back", ""));
        bool is_v2 = access(file, F_OK) == 0;
        v2 += is_v2;
        v1 += !is_v2;
    }
    snprintf(r->mechanism, sizeof(r->mechanism), "cgroup %s%s%s", v1 ? "v1" : "",
             v1 && v2 ? " and " : "", v2 ? "v2" : "");
}

/* The cgroup's name tells whose it is. */
static void tag_of(const struct fault_run *r, char *out, size_t size)
{
    snprintf(out, size, "%.40s-%08llx", r->env->run_id,
             (unsigned long long)(rng_entropy() & UINT32_MAX));
    for (char *c = out; *c; c++)
        if (!isalnum((unsigned char)*c))
            *c = '-';
}

static int limits_prepare(struct fault_run *r, struct err *err)
{
    const struct limits_params *p = r->params;
    const struct confine_limits limits = { .cpu = p->cpu,
                                           .memory = p->memory,
                                           .pids = (uint64_t)p->pids };
    struct limited *l = xcalloc(1, sizeof(*l));
    char tag[64];

    l->target.pidfd = -1;
    l->plan = json_object();
    r->state = l;
    if (target_open(r, p->process, &l->target, err) < 0)
        return -ESRCH;
    if (is_our_ancestor(l->target.id.pid))
        return err_set(err, ERR_TARGET, EINVAL,
                       "process '%s' (pid %d) is above chaos-load itself, which would get the "
                       "same limits",
                       p->process, l->target.id.pid);
    tag_of(r, tag, sizeof(tag));
    if (confine_plan(l->target.id.pid, &limits, tag, l->plan, err) < 0)
        return -ENOTSUP;
    target_write(&l->target, l->plan);
    say_how(r, l->plan);
    return 0;
}

static void limits_journal(const struct fault_run *r, struct json *record)
{
    static const char *const keys[] = { "groups", "enabled" };
    const struct limited *l = r->state;

    target_write(&l->target, record);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        auto_free char *text = json_print(json_get(l->plan, keys[i]), false);
        struct json *copy = NULL;
        if (json_parse(text, strlen(text), &copy, NULL) == 0)
            json_put(record, keys[i], copy);
    }
}

static int limits_inject(struct fault_run *r, struct err *err)
{
    struct limited *l = r->state;

    l->entered = true;
    int rc = confine_enter(l->plan, l->target.id.pid, l->target.is_child, err);
    if (rc < 0)
        return rc;
    r->times.effective = clock_now_ns();
    return 0;
}

static int limits_verify_in(struct fault_run *r, struct err *err)
{
    const struct limited *l = r->state;
    int rc = target_is_gone(&l->target) ? 0 : confine_look(l->plan, l->target.id.pid, err);

    if (rc <= 0)
        return rc;
    return err_set(err, ERR_INJECT, EAGAIN, "process %d is not in its cgroup", l->target.id.pid);
}

static bool limits_target_gone(const struct fault_run *r)
{
    const struct limited *l = r->state;

    return target_is_gone(&l->target);
}

static int limits_revert(struct fault_run *r, struct err *err)
{
    struct limited *l = r->state;

    if (!l->entered)
        return 0;
    int rc = confine_leave(l->plan, err);
    if (rc < 0)
        return rc;
    l->entered = false;
    r->times.reverted = clock_now_ns();
    return 0;
}

static int limits_verify_out(struct fault_run *r, struct err *err)
{
    const struct limited *l = r->state;

    if (confine_is_left(l->plan))
        return 0;
    return err_set(err, ERR_REVERT, EAGAIN, "the cgroup of process %d is still there",
                   l->target.id.pid);
}

static void limits_release(struct fault_run *r)
{
    struct limited *l = r->state;

    if (!l)
        return;
    target_close(&l->target);
    json_free(l->plan);
    free(l);
    r->state = NULL;
}

static int limits_undo(const struct json *record, struct err *err)
{
    return confine_leave(record, err);
}

/* ---- parameters ---- */

static void check_limits(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct limits_params *p = base;

    if (p->cpu <= 0 && !p->memory && p->pids <= 0)
        diag_add(ctx->diag, d, "no limit: give it cpu:, memory: or pids:");
    if (p->memory && p->memory < MEMORY_MIN)
        diag_add(ctx->diag, doc_get(d, "memory"), "a limit below 1MiB ends any process");
}

static const struct param limits_rows[] = {
    PARAM(STR, "process", struct limits_params, process, .required = true,
          .help = "a name under processes:, or the program or script that is running; what it "
                  "started is limited with it"),
    PARAM(NUM, "cpu", struct limits_params, cpu, .lo = 0.01, .hi = 1024,
          .help = "so many processors: 0.5 is half of one"),
    PARAM(SIZE, "memory", struct limits_params, memory,
          .help = "so much memory beside what it has already, and no swap; past it the kernel "
                  "kills"),
    PARAM(INT, "pids", struct limits_params, pids, .lo = 1, .hi = 4194304,
          .help = "so many processes and threads"),
};
static const struct param_table limits_table = { .title = "faults[].limits",
                                                 .rows = limits_rows,
                                                 .n = ARRAY_LEN(limits_rows),
                                                 .check = check_limits };

const struct fault_kind fault_process_limits = {
    .name = "limits",
    .backend = "process",
    .summary = "give a process and what it started less CPU, memory or processes",
    .params = &limits_table,
    .params_size = sizeof(struct limits_params),
    .prepare = limits_prepare,
    .journal = limits_journal,
    .inject = limits_inject,
    .verify_in = limits_verify_in,
    .revert = limits_revert,
    .verify_out = limits_verify_out,
    .target_gone = limits_target_gone,
    .release = limits_release,
    .undo = limits_undo,
};
