/* exec: a command inside of a container that breaks something, and one that mends it.
 *
 * The engine makes the first command before the journal is written, and starts it at the planned
 * instant: so the journal can name it, and whoever undoes can ask the engine whether it ran, and
 * wait until it has ended. A container that was started again since is another one, in which
 * nothing is run. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "chaoslib/docker/crew.h"
#include "chaoslib/docker/exec.h"
#include "chaoslib/inject.h"

#define TIMEOUT_MAX_MS 3600000
#define ON_ITS_WAY_NS (500 * NS_PER_MS) /* a start that was sent just before we died */
#define LOOK_NS (20 * NS_PER_MS)
#define KILLED 137
#define DEATH_NS (2 * NS_PER_SEC)
#define EVENT_NS (100 * NS_PER_MS)

struct exec_params {
    struct docker_select docker;
    struct strs command, revert;
    const char *user;
    uint64_t revert_after_ns, timeout_ns;
};

static struct json *json_words(const struct strs *words)
{
    struct json *list = json_array();

    for (size_t i = 0; i < words->n; i++)
        json_put_str(list, NULL, words->v[i]);
    return list;
}

/* ---- in ---- */

static int save_exec(const struct fault_run *r, const struct json *all, struct json *entry,
                     struct err *err)
{
    const struct exec_params *p = r->params;
    auto(json) struct json *argv = json_words(&p->command);
    const struct exec_command c = { .container = json_str(entry, "id", ""),
                                    .argv = argv,
                                    .user = p->user };
    char id[EXEC_ID_MAX];

    (void)all;
    if (r->env->dry_run)
        return 0;
    int rc = exec_create(r->env->docker, &c, id, err);
    if (rc != 0) {
        err_ignore(err_wrap(err, "container '%s'", json_str(entry, "name", "")), "as it is");
        err->kind = rc == 1 ? ERR_TARGET : err->kind;
        return -EINVAL;
    }
    json_put_str(entry, "event", id);
    return 0;
}

/* A command may well end its own container, and is then killed with it; the engine tells that a
 * little later. */
static bool ended_with_container(const struct fault_run *r, const struct crew_member *m, int status)
{
    const struct docker_event_query q = { .mark = m->mark,
                                          .id = m->was->id,
                                          .actions = "die",
                                          .latch = r->hurry,
                                          .until_ns = clock_now_ns() + DEATH_NS };
    struct docker_event e;

    return status == KILLED && docker_events_wait(r->env->docker_events, &q, &e) == 0;
}

/* An engine tells of an end some seconds late when the output is still open. */
static uint64_t exec_wait(const struct fault_run *r)
{
    (void)r;
    return EVENT_NS;
}

static int send_exec(const struct fault_run *r, const struct crew_member *m, struct err *err)
{
    const struct exec_params *p = r->params;
    struct exec_end end = { 0 };
    const char *name = p->command.v[0];
    int rc = exec_run(r->env->docker, json_str(m->entry, "event", ""), p->timeout_ns, r->hurry,
                      &end, err);

    if (rc < 0)
        return err_wrap(err, "'%.100s'", name);
    if (rc == 1 || end.status == 0 || ended_with_container(r, m, end.status))
        return 0;
    return err_set(err, ERR_INJECT, EIO, "'%.100s' ended with status %d%s%.200s", name, end.status,
                   *end.said ? ": " : "", end.said);
}

/* ---- out: also from the journal alone ---- */

/* 0 it ran, or may have; 1 it was never started. It is over when this returns. */
static int wait_for_command(struct docker *d, const char *id, uint64_t timeout_ns, struct err *err)
{
    uint64_t began = clock_now_ns();
    struct exec_look look;
    int rc;

    while ((rc = exec_inspect(d, id, &look, err)) == 0 && look.state != EXEC_ENDED) {
        uint64_t waited = clock_now_ns() - began;
        if (look.state == EXEC_NEW && waited >= ON_ITS_WAY_NS)
            return 1;
        if (look.state == EXEC_RUNNING && waited >= timeout_ns) {
            rc = exec_kill(d, id, err);
            break;
        }
        clock_sleep_until(clock_now_ns() + LOOK_NS);
    }
    return MIN(rc, 0);
}

static int run_revert(struct docker *d, const struct json *work, const char *container,
                      struct err *err)
{
    const struct exec_command c = { .container = container,
                                    .argv = json_get(work, "revert"),
                                    .user = json_str(work, "user", NULL) };
    uint64_t timeout_ms = MIN(json_u64(work, "timeout_ms", 30000), TIMEOUT_MAX_MS);
    struct exec_end end = { 0 };
    char id[EXEC_ID_MAX];
    const char *name = json_str(json_at(c.argv, 0), "", "");
    int rc = exec_create(d, &c, id, err);

    if (rc < 0 && err->kind == ERR_TARGET) /* paused: asked again for a while */
        err->kind = ERR_PREPARE;
    if (rc != 0)
        return rc;
    rc = exec_run(d, id, timeout_ms * NS_PER_MS, NULL, &end, err);
    if (rc < 0)
        return err_wrap(err, "'%.100s'", name);
    if (rc == 0 && end.status != 0)
        return err_set(err, ERR_REVERT, EIO, "'%.100s' ended with status %d%s%.200s", name,
                       end.status, *end.said ? ": " : "", end.said);
    return rc;
}

static int undo_exec(struct docker *d, const struct json *work, const struct json *entry,
                     struct err *err)
{
    const char *id = json_str(entry, "id", "");
    uint64_t timeout_ms = MIN(json_u64(work, "timeout_ms", 30000), TIMEOUT_MAX_MS);
    struct docker_container now;
    int rc = docker_inspect(d, id, &now, err);

    if (rc != 0)
        return rc;
    if (!now.running || strcmp(now.started_at, json_str(entry, "started_at", "")) != 0) {
        if (err)
            snprintf(err->msg, sizeof(err->msg),
                     "container '%.64s' ended since, so its revert command was not run; what "
                     "the command wrote to its files is still there",
                     now.name);
        return 1;
    }
    rc = wait_for_command(d, json_str(entry, "event", ""), timeout_ms * NS_PER_MS, err);
    if (rc == 0)
        rc = run_revert(d, work, id, err);
    return rc < 0 ? err_wrap(err, "run the revert command by hand, docker exec %.12s", id) : rc;
}

static const struct crew_kind exec_for_good = {
    .in_events = "exec_die",
    .out_events = "",
    .fails_late = true,
    .save = save_exec,
    .put_in = send_exec,
    .in_wait_ns = exec_wait,
};
static const struct crew_kind exec_and_back = {
    .in_events = "exec_die",
    .out_events = "",
    .gone_events = "die|destroy",
    .fails_late = true,
    .save = save_exec,
    .put_in = send_exec,
    .in_wait_ns = exec_wait,
    .undo = undo_exec,
};

static int exec_prepare(struct fault_run *r, struct err *err)
{
    const struct exec_params *p = r->params;
    bool back = p->revert.n > 0;

    r->hold_ns = back ? p->revert_after_ns : 0;
    if (crew_prepare(r, back ? &exec_and_back : &exec_for_good, &p->docker, err) < 0)
        return -EINVAL;
    struct crew *c = r->state;
    json_put_u64(c->work, "timeout_ms", p->timeout_ns / NS_PER_MS);
    json_put(c->work, "revert", json_words(&p->revert));
    if (p->user)
        json_put_str(c->work, "user", p->user);
    return 0;
}

static int exec_undo(const struct json *record, struct err *err)
{
    return crew_undo(&exec_and_back, record, err);
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
    DOCKER_PARAM(struct exec_params, docker),
    PARAM(STRS, "command", struct exec_params, command, .required = true,
          .help = "what is run inside, as a list of arguments; there is no shell, and the program "
                  "must be in the image"),
    PARAM(STRS, "revert", struct exec_params, revert,
          .help = "what undoes it; it may run more than once. Both commands are written to the "
                  "journal: no secrets in them"),
    PARAM(DURATION, "revert_after", struct exec_params, revert_after_ns,
          .help = "how much later revert runs"),
    PARAM(DURATION, "timeout", struct exec_params, timeout_ns, .def = "30s", .lo = 0.001,
          .hi = 3600,
          .help = "a command that takes longer has failed, and is killed if the engine is on this "
                  "machine"),
    PARAM(STR, "user", struct exec_params, user,
          .help = "as whom, user or user:group; the container's own when absent"),
};
static const struct param_table exec_table = {
    .title = "faults[].exec", .rows = exec_rows, .n = ARRAY_LEN(exec_rows), .check = check_exec
};

const struct fault_kind fault_docker_exec = {
    .name = "exec",
    .backend = "docker",
    .summary = "run a command in a container that breaks something, and later one that mends it",
    .flags = FAULT_ONE_SHOT | FAULT_SURVIVES_BOOT,
    .flags_of = exec_flags,
    .params = &exec_table,
    .params_size = sizeof(struct exec_params),
    .prepare = exec_prepare,
    CREW_STEPS,
    .undo = exec_undo,
};
