/* kill, stop, restart, remove: a container is down for a while, or for good. An engine does not
 * bring back what was killed or stopped through it, whatever the restart policy says; we do, with
 * restart_after or at the end of the fault. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "chaoslib/docker/crew.h"
#include "chaoslib/inject.h"
#include "chaoslib/process/process.h"
#include "chaoslib/process/ready.h"
#include "chaoslib/process/target.h"

#define CALL_NS (20 * NS_PER_SEC)
#define KILLED_NS (10 * NS_PER_SEC)
#define LOOK_NS (50 * NS_PER_MS)
#define ON_ITS_WAY_MS 500 /* a call that was sent just before we died may still take so long */

/* One struct for all four: each table sets what its kind has. */
struct down_params {
    struct docker_select docker;
    const char *signal, *wait_healthy, *healthy;
    uint64_t restart_after_ns, timeout_ns, grace_ns, healthy_timeout_ns;
    bool allow, force, volumes;
};

/* ---- undo ---- */

int crew_start_again(struct docker *d, const struct json *work, const struct json *entry,
                     struct err *err)
{
    const char *id = json_str(entry, "id", "");
    uint64_t until = clock_now_ns() + MIN(json_u64(work, "grace_ms", 0), 3600000) * NS_PER_MS;
    struct docker_container now;
    int rc;

    /* One that still runs may be about to end: whoever recovers may be quicker than the engine. */
    while ((rc = docker_inspect(d, id, &now, err)) == 0 && now.running &&
           strcmp(now.started_at, json_str(entry, "started_at", "")) == 0 && clock_now_ns() < until)
        clock_sleep_until(clock_now_ns() + LOOK_NS);
    if (rc != 0)
        return rc;
    if (now.running || strcmp(now.started_at, json_str(entry, "started_at", "")) != 0)
        return 1;
    rc = crew_post(d, id, "start", CALL_NS, err);
    return rc < 0 ? err_wrap(err, "start it by hand: docker start %.12s", id) : rc;
}

int crew_save_down(const struct fault_run *r, const struct json *all, struct json *entry,
                   struct err *err)
{
    (void)r;
    if (json_bool(all, "HostConfig.AutoRemove", false))
        return err_set(err, ERR_PREPARE, EINVAL,
                       "container '%s' is removed when it ends (--rm), so nobody could start it "
                       "again: run it without --rm",
                       json_str(entry, "name", ""));
    return 0;
}

/* ---- kill ---- */

static int send_kill(const struct fault_run *r, const struct crew_member *m, struct err *err)
{
    const struct down_params *p = r->params;
    auto_free char *verb = xasprintf("kill?signal=%s", signal_name(signal_number(p->signal)));

    return crew_post(r->env->docker, m->was->id, verb, CALL_NS, err);
}

static uint64_t kill_wait(const struct fault_run *r)
{
    const struct down_params *p = r->params;

    return signal_number(p->signal) == SIGKILL ? KILLED_NS : p->timeout_ns;
}

static bool is_down(const struct crew_member *m, const struct docker_container *now)
{
    return !now->running || !crew_is_same(m, now);
}

static bool is_up(const struct crew_member *m, const struct docker_container *now)
{
    (void)m;
    return now->running;
}

static const struct crew_kind kill_for_good = {
    .in_events = "die",
    .out_events = "",
    .must_see_event = true,
    .put_in = send_kill,
    .in_wait_ns = kill_wait,
    .is_in = is_down,
};
static const struct crew_kind kill_and_back = {
    .in_events = "die",
    .out_events = "start",
    .gone_events = "start|destroy",
    .must_see_event = true,
    .save = crew_save_down,
    .put_in = send_kill,
    .in_wait_ns = kill_wait,
    .is_in = is_down,
    .undo = crew_start_again,
    .is_out = is_up,
};

static void expect_healthy(struct fault_run *r)
{
    const struct down_params *p = r->params;
    struct crew *c = r->state;

    c->healthy = p->healthy;
    c->healthy_ns = p->healthy_timeout_ns;
}

static int kill_prepare(struct fault_run *r, struct err *err)
{
    const struct down_params *p = r->params;
    bool back = p->restart_after_ns > 0;

    r->hold_ns = p->restart_after_ns;
    if (crew_prepare(r, back ? &kill_and_back : &kill_for_good, &p->docker, err) < 0)
        return -EINVAL;
    struct crew *c = r->state;
    json_put_u64(c->work, "grace_ms", ON_ITS_WAY_MS);
    expect_healthy(r);
    return 0;
}

static int kill_undo(const struct json *record, struct err *err)
{
    return crew_undo(&kill_and_back, record, err);
}

/* ---- stop ---- */

static uint64_t whole_seconds(uint64_t ns)
{
    return (ns + NS_PER_SEC - 1) / NS_PER_SEC;
}

static int send_graceful(const struct fault_run *r, const struct crew_member *m, const char *what,
                         struct err *err)
{
    const struct down_params *p = r->params;
    auto_free char *verb =
        xasprintf("%s?t=%llu", what, (unsigned long long)whole_seconds(p->grace_ns));

    return crew_post(r->env->docker, m->was->id, verb, p->grace_ns + CALL_NS, err);
}

static int send_stop(const struct fault_run *r, const struct crew_member *m, struct err *err)
{
    return send_graceful(r, m, "stop", err);
}

static const struct crew_kind stop_crew = {
    .in_events = "die",
    .out_events = "start",
    .gone_events = "start|destroy",
    .save = crew_save_down,
    .put_in = send_stop,
    .is_in = is_down,
    .undo = crew_start_again,
    .is_out = is_up,
};

static int stop_prepare(struct fault_run *r, struct err *err)
{
    const struct down_params *p = r->params;

    if (crew_prepare(r, &stop_crew, &p->docker, err) < 0)
        return -EINVAL;
    struct crew *c = r->state;
    json_put_u64(c->work, "grace_ms", p->grace_ns / NS_PER_MS + ON_ITS_WAY_MS);
    expect_healthy(r);
    return 0;
}

static int stop_undo(const struct json *record, struct err *err)
{
    return crew_undo(&stop_crew, record, err);
}

/* ---- restart ---- */

static int send_restart(const struct fault_run *r, const struct crew_member *m, struct err *err)
{
    return send_graceful(r, m, "restart", err);
}

static bool is_restarted(const struct crew_member *m, const struct docker_container *now)
{
    return !crew_is_same(m, now);
}

/* The engine starts it by itself; only when that went wrong is there something left to do. */
static const struct crew_kind restart_crew = {
    .in_events = "die",
    .out_events = "",
    .save = crew_save_down,
    .put_in = send_restart,
    .is_in = is_restarted,
    .undo = crew_start_again,
    .is_out = is_up,
};

static int restart_prepare(struct fault_run *r, struct err *err)
{
    const struct down_params *p = r->params;

    if (crew_prepare(r, &restart_crew, &p->docker, err) < 0)
        return -EINVAL;
    struct crew *c = r->state;
    json_put_u64(c->work, "grace_ms", p->grace_ns / NS_PER_MS + ON_ITS_WAY_MS);
    expect_healthy(r);
    return 0;
}

static int restart_undo(const struct json *record, struct err *err)
{
    return crew_undo(&restart_crew, record, err);
}

/* ---- remove ---- */

static int send_remove(const struct fault_run *r, const struct crew_member *m, struct err *err)
{
    const struct down_params *p = r->params;
    auto_free char *path =
        xasprintf("/containers/%s?force=%d&v=%d", m->was->id, p->force, p->volumes);
    const struct docker_call call = { .method = "DELETE", .path = path, .timeout_ns = CALL_NS };

    return docker_do(r->env->docker, &call, NULL, err);
}

static const struct crew_kind remove_crew = {
    .state = DOCKER_ANY,
    .in_events = "die|destroy|remove",
    .out_events = "",
    .put_in = send_remove,
};

static int remove_prepare(struct fault_run *r, struct err *err)
{
    const struct down_params *p = r->params;

    return crew_prepare(r, &remove_crew, &p->docker, err);
}

/* Nothing is journalled, since nothing can be undone. */
static int remove_undo(const struct json *record, struct err *err)
{
    (void)record;
    (void)err;
    return 1;
}

static int remove_verify_in(struct fault_run *r, struct err *err)
{
    const struct crew *c = r->state;
    struct docker_container now;

    for (size_t i = 0; i < c->targets.n; i++) {
        int rc = docker_inspect(r->env->docker, c->targets.v[i].id, &now, err);
        if (rc < 0)
            return rc;
        if (rc == 0 && strcmp(now.status, "removing") != 0)
            return err_set(err, ERR_INJECT, EAGAIN, "container '%s' is still there",
                           c->targets.v[i].name);
    }
    return 0;
}

/* ---- parameters ---- */

static void check_healthy(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    struct down_params *p = base;

    p->healthy = crew_healthy(ctx, d, p->wait_healthy);
}

static void check_kill(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    struct down_params *p = base;

    if (!signal_number(p->signal))
        diag_add(ctx->diag, doc_get(d, "signal"),
                 "'%s' is not a signal: write SIGKILL, TERM, 9, ...", p->signal);
    check_healthy(ctx, d, base);
    if (p->healthy && !p->restart_after_ns)
        diag_add(ctx->diag, doc_get(d, "wait_healthy"),
                 "wait_healthy needs restart_after: without it nobody starts the container again");
}

static void check_remove(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct down_params *p = base;

    if (!p->allow)
        diag_add(ctx->diag, d,
                 "remove cannot be undone: write allow: true if that is what you want");
}

static const struct param kill_rows[] = {
    DOCKER_PARAM(struct down_params, docker),
    PARAM(STR, "signal", struct down_params, signal, .def = "SIGKILL",
          .help = "the signal that ends it, with or without SIG"),
    PARAM(DURATION, "restart_after", struct down_params, restart_after_ns,
          .help = "start it again after so long; never when absent, and no restart policy does"),
    PARAM(DURATION, "timeout", struct down_params, timeout_ns, .def = "10s", .lo = 0.001,
          .hi = 3600, .help = "how long it may take to end after a signal other than SIGKILL"),
    CREW_HEALTHY_ROWS(struct down_params),
};
static const struct param stop_rows[] = {
    DOCKER_PARAM(struct down_params, docker),
    PARAM(DURATION, "grace", struct down_params, grace_ns, .def = "10s", .lo = 0, .hi = 3600,
          .help = "how long it may take to end after its stop signal, before SIGKILL; rounded up "
                  "to whole seconds"),
    CREW_HEALTHY_ROWS(struct down_params),
};
static const struct param remove_rows[] = {
    DOCKER_PARAM(struct down_params, docker),
    PARAM(BOOL, "allow", struct down_params, allow, .def = "false",
          .help = "must be true: a removed container cannot be brought back"),
    PARAM(BOOL, "force", struct down_params, force, .def = "true", .help = "also when it runs"),
    PARAM(BOOL, "volumes", struct down_params, volumes, .def = "false",
          .help = "its anonymous volumes, too"),
};

static const struct param_table kill_table = {
    .title = "faults[].kill", .rows = kill_rows, .n = ARRAY_LEN(kill_rows), .check = check_kill
};
static const struct param_table stop_table = {
    .title = "faults[].stop", .rows = stop_rows, .n = ARRAY_LEN(stop_rows), .check = check_healthy
};
static const struct param_table restart_table = { .title = "faults[].restart",
                                                  .rows = stop_rows,
                                                  .n = ARRAY_LEN(stop_rows),
                                                  .check = check_healthy };
static const struct param_table remove_table = { .title = "faults[].remove",
                                                 .rows = remove_rows,
                                                 .n = ARRAY_LEN(remove_rows),
                                                 .check = check_remove };

const struct fault_kind fault_docker_kill = {
    .name = "kill",
    .backend = "docker",
    .summary = "end a container at once, and start it again later if asked",
    .flags = FAULT_ONE_SHOT | FAULT_SURVIVES_BOOT,
    .params = &kill_table,
    .params_size = sizeof(struct down_params),
    .prepare = kill_prepare,
    CREW_STEPS,
    .undo = kill_undo,
};
const struct fault_kind fault_docker_stop = {
    .name = "stop",
    .backend = "docker",
    .summary = "stop a container in good order and start it again at the end",
    .flags = FAULT_SURVIVES_BOOT,
    .params = &stop_table,
    .params_size = sizeof(struct down_params),
    .prepare = stop_prepare,
    CREW_STEPS,
    .undo = stop_undo,
};
const struct fault_kind fault_docker_restart = {
    .name = "restart",
    .backend = "docker",
    .summary = "stop a container in good order and start it again at once",
    .flags = FAULT_ONE_SHOT | FAULT_SURVIVES_BOOT,
    .params = &restart_table,
    .params_size = sizeof(struct down_params),
    .prepare = restart_prepare,
    CREW_STEPS,
    .undo = restart_undo,
};
const struct fault_kind fault_docker_remove = {
    .name = "remove",
    .backend = "docker",
    .summary = "remove a container for good",
    .flags = FAULT_ONE_SHOT | FAULT_INTRUSIVE,
    .params = &remove_table,
    .params_size = sizeof(struct down_params),
    .prepare = remove_prepare,
    .journal = crew_journal,
    .inject = crew_inject,
    .verify_in = remove_verify_in,
    .revert = crew_revert,
    .release = crew_release,
    .undo = remove_undo,
};
