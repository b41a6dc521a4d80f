/* limits: a container gets less CPU, memory or processes while it runs. Limits are kept by the
 * engine over a restart of the container, so they are put back by its id alone; and only where they
 * are still the ones we set: somebody else's later choice stays. */
#include <errno.h>
#include <string.h>

#include "chaoslib/docker/crew.h"
#include "chaoslib/inject.h"

#define PERIOD_US 100000
#define MEMORY_MIN ((uint64_t)6 << 20) /* the engine's own */

struct limits_params {
    struct docker_select docker;
    double cpu;
    uint64_t memory;
    int64_t pids;
};

static const char *const keys[] = { "NanoCpus",   "CpuPeriod", "CpuQuota",
                                    "MemorySwap", "Memory",    "PidsLimit" };

static double host(const struct json *all, const char *key)
{
    auto_free char *path = xasprintf("HostConfig.%s", key);

    return json_num(all, path, 0);
}

/* A container made with --cpus has NanoCpus, which excludes the other two; one without must not get
 * it, since NanoCpus cannot be taken away again. */
static void save_cpu(const struct json *all, double cpu, struct json *old, struct json *set)
{
    if (host(all, "NanoCpus") > 0) {
        json_put_num(old, "NanoCpus", host(all, "NanoCpus"));
        json_put_num(set, "NanoCpus", cpu * 1e9);
        return;
    }
    double period = host(all, "CpuPeriod"), quota = host(all, "CpuQuota");
    json_put_num(old, "CpuPeriod", period > 0 ? period : PERIOD_US);
    json_put_num(old, "CpuQuota", quota > 0 ? quota : -1);
    json_put_num(set, "CpuPeriod", PERIOD_US);
    json_put_num(set, "CpuQuota", (double)(int64_t)(cpu * PERIOD_US));
}

/* An engine does not take a memory limit away again; all of the machine's memory is as good. */
static int save_memory(const struct fault_run *r, const struct json *all, struct json *old,
                       struct json *set, struct err *err)
{
    const struct limits_params *p = r->params;
    const struct docker_call call = { .path = "/info" };
    auto(json) struct json *info = NULL;
    double memory = host(all, "Memory"), swap = host(all, "MemorySwap");

    if (memory <= 0) {
        if (docker_do(r->env->docker, &call, &info, err) != 0)
            return -EIO;
        memory = swap = json_num(info, "MemTotal", 0);
        if (memory <= 0)
            return err_set(err, ERR_PREPARE, ENOTSUP,
                           "the container engine does not say how much memory its machine has");
    }
    json_put_num(old, "Memory", memory);
    json_put_num(old, "MemorySwap", swap);
    json_put_u64(set, "Memory", p->memory);
    json_put_u64(set, "MemorySwap", p->memory);
    return 0;
}

static int save_limits(const struct fault_run *r, const struct json *all, struct json *entry,
                       struct err *err)
{
    const struct limits_params *p = r->params;
    struct json *old = json_put(entry, "old", json_object());
    struct json *set = json_put(entry, "set", json_object());

    if (p->cpu > 0)
        save_cpu(all, p->cpu, old, set);
    if (p->pids > 0) {
        json_put_num(old, "PidsLimit", host(all, "PidsLimit") > 0 ? host(all, "PidsLimit") : -1);
        json_put_num(set, "PidsLimit", (double)p->pids);
    }
    return p->memory ? save_memory(r, all, old, set, err) : 0;
}

static int update(struct docker *d, const char *id, const struct json *body, struct err *err)
{
    auto_free char *path = xasprintf("/containers/%s/update", id);

    return crew_send(d, path, body, err);
}

static int send_limits(const struct fault_run *r, const struct crew_member *m, struct err *err)
{
    return update(r->env->docker, m->was->id, json_get(m->entry, "set"), err);
}

/* Every number in `want` is the one that the container has; below 1 all mean: none. */
static bool has(const struct json *all, const struct json *want)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        double w = json_num(want, keys[i], 0), now = host(all, keys[i]);
        if (json_get(want, keys[i]) && !(w == now || (w < 1 && now < 1)))
            return false;
    }
    return true;
}

static int undo_limits(struct docker *d, const struct json *work, const struct json *entry,
                       struct err *err)
{
    const char *id = json_str(entry, "id", "");
    const struct json *old = json_get(entry, "old"), *set = json_get(entry, "set");
    struct docker_container now;
    auto(json) struct json *all = NULL, *after = NULL;

    (void)work;
    int rc = docker_inspect_json(d, id, &now, &all, err);
    if (rc != 0)
        return rc;
    if (!has(all, set) || has(all, old))
        return 1;
    rc = update(d, id, old, err);
    if (rc != 0)
        return rc < 0 ? err_wrap(err, "docker update %.12s by hand", id) : rc;
    rc = docker_inspect_json(d, id, &now, &after, err);
    if (rc == 0 && !has(after, old))
        return err_set(err, ERR_REVERT, EAGAIN, "the engine did not put the old limits back");
    return rc;
}

static const struct crew_kind limits_crew = {
    .in_events = "update",
    .out_events = "update",
    .gone_events = "destroy",
    .save = save_limits,
    .put_in = send_limits,
    .undo = undo_limits,
};

static int limits_prepare(struct fault_run *r, struct err *err)
{
    const struct limits_params *p = r->params;

    return crew_prepare(r, &limits_crew, &p->docker, err);
}

static int limits_verify_in(struct fault_run *r, struct err *err)
{
    const struct crew *c = r->state;

    for (size_t i = 0; i < c->targets.n; i++) {
        auto(json) struct json *all = NULL;
        struct docker_container now;
        int rc = c->members[i].sent
                     ? docker_inspect_json(r->env->docker, c->targets.v[i].id, &now, &all, err)
                     : 1;
        if (rc < 0)
            return rc;
        if (rc == 0 && !has(all, json_get(c->members[i].entry, "set")))
            return err_set(err, ERR_INJECT, EAGAIN, "container '%s' has other limits", now.name);
    }
    return 0;
}

static int limits_undo(const struct json *record, struct err *err)
{
    return crew_undo(&limits_crew, record, err);
}

static void check_limits(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct limits_params *p = base;

    if (p->cpu <= 0 && !p->memory && p->pids <= 0)
        diag_add(ctx->diag, d, "no limit: give it cpu:, memory: or pids:");
    if (p->memory && p->memory < MEMORY_MIN)
        diag_add(ctx->diag, doc_get(d, "memory"), "an engine takes no memory limit below 6MiB");
}

static const struct param limits_rows[] = {
    DOCKER_PARAM(struct limits_params, docker),
    PARAM(NUM, "cpu", struct limits_params, cpu, .lo = 0.01, .hi = 1024,
          .help = "so many processors: 0.5 is half of one"),
    PARAM(SIZE, "memory", struct limits_params, memory,
          .help = "so much memory, and no swap; past it the kernel kills"),
    PARAM(INT, "pids", struct limits_params, pids, .lo = 1, .hi = 4194304,
          .help = "so many processes and threads"),
};
static const struct param_table limits_table = { .title = "faults[].limits",
                                                 .rows = limits_rows,
                                                 .n = ARRAY_LEN(limits_rows),
                                                 .check = check_limits };

const struct fault_kind fault_docker_limits = {
    .name = "limits",
    .backend = "docker",
    .summary = "give a container less CPU, memory or processes",
    .flags = FAULT_SURVIVES_BOOT,
    .params = &limits_table,
    .params_size = sizeof(struct limits_params),
    .prepare = limits_prepare,
    .journal = crew_journal,
    .inject = crew_inject,
    .verify_in = limits_verify_in,
    .revert = crew_revert,
    .verify_out = crew_verify_out,
    .target_gone = crew_target_gone,
    .release = crew_release,
    .undo = limits_undo,
};
