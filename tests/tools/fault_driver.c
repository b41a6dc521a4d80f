/* Runs one fault by its contract, and dies of SIGKILL where it is told to: the subject of the
 * safety matrix (tests/e2e/test_safety.py).
 *
 *     fault_driver DIR WHEN alone|both DELAY_US HOLD_MS FAULT [NAME=PID | NAME=PORT>PORT]
 *
 * DIR is the state folder. WHEN, `both` and DELAY_US: see doom.h. FAULT is YAML, "pause: {docker:
 * web}". NAME=PID declares a process, NAME=PORT>PORT a proxy on the first port of loopback before
 * the second. The engine is found as the program finds it. Exit code 0, or 1 with a message. */
#include <stdio.h>

#include "base/log.h"
#include "chaoslib/docker/engine.h"
#include "chaoslib/docker/events.h"
#include "chaoslib/journal.h"
#include "chaoslib/process/process.h"
#include "chaoslib/proxy/proxy.h"
#include "edge/yaml.h"
#include "tests/tools/doom.h"

static void die_at_step(void *arg, const struct fault_run *r)
{
    doom_at(arg, fault_step_name(r->step));
}

struct world {
    struct arena *arena;
    struct diag diag;
    struct fault_spec spec;
    struct chaos_env env;
    struct process_plan row;
};

static int read_fault(struct world *w, const char *text)
{
    const struct param_ctx ctx = { .arena = w->arena, .diag = &w->diag };
    struct doc *d = NULL;

    if (yaml_load("fault", text, strlen(text), w->arena, &w->diag, &d) == 0 && d->kind == DOC_MAP &&
        d->n_items == 1)
        fault_spec_read(&ctx, d->items[0]->key, d->items[0], &w->spec);
    if (w->diag.n || !w->spec.kind)
        fprintf(stderr, "fault_driver: %s\n", buf_str(&w->diag.text));
    return w->diag.n || !w->spec.kind ? -1 : 0;
}

/* NAME=PORT>PORT */
static int declare_proxy(struct world *w, const char *name, const char *ports, struct err *err)
{
    const char *arrow = strchr(ports, '>');
    const struct proxy_plan row = {
        .name = name,
        .listen = arena_printf(w->arena, "127.0.0.1:%.*s", (int)(arrow - ports), ports),
        .upstream = arena_printf(w->arena, "127.0.0.1:%s", arrow + 1),
        .protocol = PROXY_AUTO,
    };

    w->env.proxies = proxies_new(err);
    return w->env.proxies ? proxies_add(w->env.proxies, &row, err) : -1;
}

static int declare(struct world *w, const char *text, struct err *err)
{
    const char *eq = text ? strchr(text, '=') : NULL;
    const char *name = eq ? arena_printf(w->arena, "%.*s", (int)(eq - text), text) : NULL;
    uint64_t pid = 0;

    if (eq && parse_u64(eq + 1, 2, INT32_MAX, &pid, NULL) == 0)
        w->row = (struct process_plan){ .name = name, .pid = (int64_t)pid };
    w->env.processes = processes_new(&w->row, pid ? 1 : 0);
    return eq && strchr(eq, '>') ? declare_proxy(w, name, eq + 1, err) : 0;
}

static int open_world(struct world *w, const char *dir, const char *fault, const char *declared,
                      struct err *err)
{
    *w = (struct world){ .arena = arena_new(0), .env.run_id = "matrix" };
    diag_init(&w->diag);
    if (read_fault(w, fault) < 0 || declare(w, declared, err) < 0)
        return -1;
    w->env.journal = journal_open(dir, "matrix", err);
    w->env.guardian = w->env.journal ? guardian_start(journal_path(w->env.journal), err) : NULL;
    if (!w->env.guardian)
        return -1;
    if (!(fault_spec_flags(&w->spec) & FAULT_NEEDS_DOCKER))
        return 0;
    w->env.docker = docker_open(&(struct docker_plan){ .timeout_ns = 10 * NS_PER_SEC }, err);
    w->env.docker_events = w->env.docker ? docker_events_start(w->env.docker, err) : NULL;
    return w->env.docker_events ? 0 : -1;
}

static int drive(struct world *w, struct doom *doom, uint64_t hold_ms, struct err *err)
{
    bool one_shot = fault_spec_flags(&w->spec) & FAULT_ONE_SHOT;
    struct fault_run r = { .kind = w->spec.kind,
                           .params = w->spec.params,
                           .env = &w->env,
                           .name = "matrix",
                           .hold_ns = one_shot ? 0 : hold_ms * NS_PER_MS,
                           .abort = latch_new(),
                           .hurry = latch_new() };

    rng_seed(&r.rng, 1, 1);
    int rc = fault_execute(&r, die_at_step, doom, err);
    printf("%s\n%s\n", r.target, r.mechanism);
    latch_free(r.abort);
    latch_free(r.hurry);
    free(r.hits);
    return rc;
}

static void close_world(struct world *w)
{
    proxies_free(w->env.proxies);
    if (w->env.docker_events)
        docker_events_stop(w->env.docker_events);
    docker_free(w->env.docker);
    processes_free(w->env.processes);
    if (w->env.journal)
        journal_close(w->env.journal);
    guardian_stop(w->env.guardian);
    diag_done(&w->diag);
    arena_free(w->arena);
}

int main(int argc, char **argv)
{
    int role = doom_other_role(argc, argv);
    struct err err = { 0 };
    struct doom doom;
    struct world w;
    uint64_t hold_ms;

    if (role >= 0)
        return role;
    if (argc < 7 || !doom_read(&doom, argv[2], argv[3], argv[4]) ||
        parse_u64(argv[5], 0, 600000, &hold_ms, NULL) < 0) {
        fprintf(stderr, "usage: fault_driver DIR WHEN alone|both DELAY_US HOLD_MS FAULT "
                        "[NAME=PID | NAME=PORT>PORT]\n");
        return 2;
    }
    int rc = open_world(&w, argv[1], argv[6], argv[7], &err);
    if (rc == 0)
        rc = drive(&w, &doom, hold_ms, &err);
    close_world(&w);
    if (rc < 0)
        fprintf(stderr, "fault_driver: %s\n", err.msg);
    return rc < 0;
}
