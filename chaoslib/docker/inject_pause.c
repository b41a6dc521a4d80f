/* pause: all processes of a container are frozen. It still accepts connections, since the kernel
 * does that, and answers nothing: a hang, not an outage. */
#include <errno.h>
#include <string.h>

#include "chaoslib/docker/crew.h"
#include "chaoslib/inject.h"

#define CALL_NS (20 * NS_PER_SEC)

struct pause_params {
    struct docker_select docker;
};

static int save_pause(const struct fault_run *r, const struct json *all, struct json *entry,
                      struct err *err)
{
    (void)r;
    if (!json_bool(all, "State.Paused", false))
        return 0;
    return err_set(err, ERR_TARGET, EBUSY,
                   "container '%s' is paused already, by someone else: docker unpause %.12s",
                   json_str(entry, "name", ""), json_str(entry, "id", ""));
}

static int send_pause(const struct fault_run *r, const struct crew_member *m, struct err *err)
{
    return crew_post(r->env->docker, m->was->id, "pause", CALL_NS, err);
}

/* One that was started again since has lost the pause, and may have got another's. */
static int undo_pause(struct docker *d, const struct json *work, const struct json *entry,
                      struct err *err)
{
    const char *id = json_str(entry, "id", "");
    struct docker_container now;

    (void)work;
    int rc = docker_inspect(d, id, &now, err);
    if (rc != 0)
        return rc;
    if (!now.paused || strcmp(now.started_at, json_str(entry, "started_at", "")) != 0)
        return 1;
    rc = crew_post(d, id, "unpause", CALL_NS, err);
    struct err mine = { 0 };
    if (rc < 0 && docker_inspect(d, id, &now, &mine) == 0 && !now.paused)
        return 1; /* someone was quicker */
    return rc < 0 ? err_wrap(err, "docker unpause %.12s by hand", id) : rc;
}

static bool is_paused(const struct crew_member *m, const struct docker_container *now)
{
    return now->paused && crew_is_same(m, now);
}

static bool is_not_paused(const struct crew_member *m, const struct docker_container *now)
{
    return !is_paused(m, now);
}

static const struct crew_kind pause_crew = {
    .in_events = "pause",
    .out_events = "unpause",
    .gone_events = "unpause|die|destroy",
    .save = save_pause,
    .put_in = send_pause,
    .is_in = is_paused,
    .undo = undo_pause,
    .is_out = is_not_paused,
};

static int pause_prepare(struct fault_run *r, struct err *err)
{
    const struct pause_params *p = r->params;

    return crew_prepare(r, &pause_crew, &p->docker, err);
}

static int pause_undo(const struct json *record, struct err *err)
{
    return crew_undo(&pause_crew, record, err);
}

static const struct param pause_rows[] = { DOCKER_PARAM(struct pause_params, docker) };
static const struct param_table pause_table = { .title = "faults[].pause",
                                                .rows = pause_rows,
                                                .n = ARRAY_LEN(pause_rows) };

const struct fault_kind fault_docker_pause = {
    .name = "pause",
    .backend = "docker",
    .summary = "freeze a container: it accepts connections and answers nothing",
    .flags = FAULT_SURVIVES_BOOT,
    .params = &pause_table,
    .params_size = sizeof(struct pause_params),
    .prepare = pause_prepare,
    CREW_STEPS,
    .undo = pause_undo,
};
