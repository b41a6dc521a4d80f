/* crash: a container's first process is killed from outside of the engine. That is what a crash
 * looks like to it, so the restart policy acts, which it does not after a kill through the API; the
 * fault lasts until it has. Without a policy the container stays down.
 *
 * The number that the engine told is trusted only when it tells the same once the process'
 * start time is known. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "chaoslib/docker/crew.h"
#include "chaoslib/inject.h"
#include "chaoslib/process/target.h"

#define KILLED_NS (10 * NS_PER_SEC)

struct crash_params {
    struct docker_select docker;
    const char *signal, *wait_healthy, *healthy;
    uint64_t timeout_ns, returns_within_ns, healthy_timeout_ns;
};

static uint64_t crash_wait(const struct fault_run *r)
{
    const struct crash_params *p = r->params;

    return signal_number(p->signal) == SIGKILL ? KILLED_NS : p->timeout_ns;
}

/* ---- prepare ---- */

static bool will_return(const struct json *all)
{
    const char *policy = json_str(all, "HostConfig.RestartPolicy.Name", "");
    double most = json_num(all, "HostConfig.RestartPolicy.MaximumRetryCount", 0);

    if (strcmp(policy, "always") == 0 || strcmp(policy, "unless-stopped") == 0)
        return true;
    return strcmp(policy, "on-failure") == 0 &&
           (most < 1 || json_num(all, "RestartCount", 0) < most);
}

static int save_crash(const struct fault_run *r, const struct json *all, struct json *entry,
                      struct err *err)
{
    const char *name = json_str(entry, "name", "");
    const char *policy = json_str(all, "HostConfig.RestartPolicy.Name", "");
    struct docker_container now = { 0 };
    struct proc_id id;

    if (!docker_is_local(r->env->docker))
        return err_set(err, ERR_PREPARE, EREMOTE,
                       "%s is not on this machine, so nothing here can signal its processes: run "
                       "chaos-load where the containers run, or use kill",
                       docker_describe(r->env->docker));
    pid_t pid = (pid_t)MIN(json_u64(all, "State.Pid", 0), INT32_MAX);
    int rc = pid > 1 ? proc_identify(pid, &id, err) : 1;
    if (rc == 0)
        rc = docker_inspect(r->env->docker, json_str(entry, "id", ""), &now, err);
    if (rc < 0)
        return rc;
    if (rc == 1 || now.pid != pid || !proc_is_alive(&id))
        return err_set(err, ERR_TARGET, ESRCH,
                       "container '%s' has just ended, or its process %d cannot be seen from here",
                       name, pid);
    json_put_u64(entry, "pid", (uint64_t)pid);
    json_put_u64(entry, "start_ticks", id.start_ticks);
    json_put_bool(entry, "returns", will_return(all));
    json_put_str(entry, "policy", *policy ? policy : "no");
    return 0;
}

/* ---- in ---- */

static int send_crash(const struct fault_run *r, const struct crew_member *m, struct err *err)
{
    const struct crash_params *p = r->params;
    struct target t;
    int rc = target_read(m->entry, &t, err);

    if (rc != 0)
        return rc;
    rc = target_signal(&t, signal_number(p->signal), err);
    /* Until it has ended: the caller's watch takes that instant. */
    if (rc == 0 && target_wait_gone(&t, r->hurry, clock_now_ns() + crash_wait(r)) != WAIT_READY)
        rc = err_set(err, ERR_INJECT, ETIMEDOUT,
                     "its process %d did not end after %s: the first process of a container gets "
                     "only signals that it handles, and SIGKILL",
                     t.id.pid, p->signal);
    target_close(&t);
    return rc;
}

/* The engine calls one that its policy is about to start again running, too. */
static bool runs(const struct docker_container *now)
{
    return now->running && strcmp(now->status, "restarting") != 0;
}

/* Also when the policy has been quick. */
static bool is_down(const struct crew_member *m, const struct docker_container *now)
{
    return !runs(now) || !crew_is_same(m, now);
}

static const struct crew_kind crash_crew = {
    .in_events = "die",
    .must_see_event = true,
    .save = save_crash,
    .put_in = send_crash,
    .in_wait_ns = crash_wait,
    .is_in = is_down,
};

static int crash_prepare(struct fault_run *r, struct err *err)
{
    const struct crash_params *p = r->params;

    if (crew_prepare(r, &crash_crew, &p->docker, err) < 0)
        return -EINVAL;
    struct crew *c = r->state;
    c->healthy = p->healthy;
    c->healthy_ns = p->healthy_timeout_ns;
    if (c->targets.n)
        snprintf(r->mechanism, sizeof(r->mechanism), "%s from the host; restart policy: %s",
                 signal_name(signal_number(p->signal)),
                 json_str(c->members[0].entry, "policy", ""));
    return 0;
}

/* ---- back, by the engine alone ---- */

static bool returns(const struct crew_member *m)
{
    return m->sent && json_bool(m->entry, "returns", false);
}

static int wait_return(struct fault_run *r, size_t i, uint64_t until, struct err *err)
{
    const struct crash_params *p = r->params;
    const struct crew *c = r->state;
    const struct crew_member *m = &c->members[i];
    const struct docker_event_query q = { .mark = m->mark,
                                          .id = m->was->id,
                                          .actions = "start|destroy",
                                          .latch = r->abort,
                                          .until_ns = until };
    struct docker_event e;
    char limit[DURATION_TEXT_MAX];

    if (docker_events_wait(r->env->docker_events, &q, &e) == 0) {
        if (strcmp(e.action, "start") == 0)
            r->hits[i].reverted = docker_event_within(&e, r->hits[i].effective, clock_now_ns());
        return 0;
    }
    if (latch_is_set(r->abort)) /* it comes back all the same, and nobody wants to see it */
        return 0;
    return err_set(err, ERR_REVERT, ETIMEDOUT,
                   "container '%s' was not started again within %s by its restart policy '%s'",
                   m->was->name, duration_text(p->returns_within_ns, limit),
                   json_str(m->entry, "policy", ""));
}

static int crash_revert(struct fault_run *r, struct err *err)
{
    const struct crash_params *p = r->params;
    const struct crew *c = r->state;
    uint64_t until = r->times.effective + p->returns_within_ns;

    for (size_t i = 0; r->times.effective && i < c->targets.n; i++)
        if (returns(&c->members[i]) && r->hits[i].effective && wait_return(r, i, until, err) < 0)
            return -ETIMEDOUT;
    if (!latch_is_set(r->abort) && crew_wait_healthy(r, err) < 0)
        return -ETIMEDOUT;
    for (size_t i = 0; i < c->targets.n; i++)
        r->times.reverted = MAX(r->times.reverted, r->hits[i].reverted);
    return 0;
}

/* One that ends again at once has not come back. */
static int crash_verify_out(struct fault_run *r, struct err *err)
{
    const struct crew *c = r->state;
    struct docker_container now;

    for (size_t i = 0; i < c->targets.n; i++) {
        int rc =
            r->hits[i].reverted ? docker_inspect(r->env->docker, c->targets.v[i].id, &now, err) : 1;
        if (rc < 0)
            return rc;
        if (rc == 0 && !runs(&now))
            return err_set(err, ERR_REVERT, ECHILD,
                           "container '%s' was started again by its restart policy and is %s",
                           now.name, now.status);
    }
    return 0;
}

/* Nothing is journalled: the engine does it, or nobody. */
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

    if (!signal_number(p->signal))
        diag_add(ctx->diag, doc_get(d, "signal"),
                 "'%s' is not a signal: write SIGKILL, SEGV, 11, ...", p->signal);
    p->healthy = crew_healthy(ctx, d, p->wait_healthy);
}

static const struct param crash_rows[] = {
    DOCKER_PARAM(struct crash_params, docker),
    PARAM(STR, "signal", struct crash_params, signal, .def = "SIGKILL",
          .help = "the signal that its first process gets, with or without SIG; such a process "
                  "gets only those that it handles, and SIGKILL"),
    PARAM(DURATION, "timeout", struct crash_params, timeout_ns, .def = "10s", .lo = 0.001,
          .hi = 3600, .help = "how long it may take to end after a signal other than SIGKILL"),
    PARAM(DURATION, "returns_within", struct crash_params, returns_within_ns, .def = "60s",
          .lo = 0.001, .hi = 3600,
          .help = "how long its restart policy, if it has one, may take to start it again"),
    CREW_HEALTHY_ROWS(struct crash_params),
};
static const struct param_table crash_table = {
    .title = "faults[].crash", .rows = crash_rows, .n = ARRAY_LEN(crash_rows), .check = check_crash
};

const struct fault_kind fault_docker_crash = {
    .name = "crash",
    .backend = "docker",
    .summary = "end a container from outside of its engine, so that its restart policy acts",
    .flags = FAULT_ONE_SHOT | FAULT_INTRUSIVE,
    .params = &crash_table,
    .params_size = sizeof(struct crash_params),
    .prepare = crash_prepare,
    .journal = crew_journal,
    .inject = crew_inject,
    .verify_in = crew_verify_in,
    .revert = crash_revert,
    .verify_out = crash_verify_out,
    .release = crew_release,
    .undo = crash_undo,
};
