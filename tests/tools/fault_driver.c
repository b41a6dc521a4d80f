/* Runs one fault by its contract, and dies of SIGKILL where it is told to: the subject of the
 * safety matrix (tests/e2e/test_safety.py).
 *
 *     fault_driver DIR STEP alone|both HOLD_MS FAULT [NAME=PID]
 *
 * DIR is the state folder. STEP names a step of the contract ("inject"), or is "none". `both`: its
 * guardian dies with it. FAULT is YAML, "pause: {docker: web}". NAME=PID declares a process. The
 * engine is found as the program finds it. Exit code 0, or 1 with a message.
 *
 * It is also its own guardian and its own helpers. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"
#include "chaoslib/docker/engine.h"
#include "chaoslib/docker/events.h"
#include "chaoslib/guardian.h"
#include "chaoslib/helper.h"
#include "chaoslib/journal.h"
#include "chaoslib/process/find.h"
#include "chaoslib/process/process.h"
#include "edge/yaml.h"

struct doom {
    const char *step;
    bool both;
};

static bool kill_guardian(void *arg, pid_t pid)
{
    const pid_t *driver = arg;
    auto_free char **argv = proc_argv(pid);

    if (argv && argv[0] && argv[1] && strcmp(argv[1], "guardian") == 0 &&
        (pid_t)process_stat_field(pid, 4) == *driver)
        kill(pid, SIGKILL);
    return true;
}

static void die_at_step(void *arg, const struct fault_run *r)
{
    const struct doom *d = arg;
    pid_t self = getpid();

    if (strcmp(d->step, fault_step_name(r->step)) != 0)
        return;
    if (d->both)
        err_ignore(process_each("/proc", kill_guardian, &self), "there is always /proc");
    kill(self, SIGKILL);
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

static int declare(struct world *w, const char *text)
{
    const char *eq = text ? strchr(text, '=') : NULL;
    uint64_t pid = 0;

    if (eq && parse_u64(eq + 1, 2, INT32_MAX, &pid, NULL) == 0)
        w->row =
            (struct process_plan){ .name = arena_printf(w->arena, "%.*s", (int)(eq - text), text),
                                   .pid = (int64_t)pid };
    w->env.processes = processes_new(&w->row, pid ? 1 : 0);
    return 0;
}

static int open_world(struct world *w, const char *dir, const char *fault, const char *process,
                      struct err *err)
{
    *w = (struct world){ .arena = arena_new(0), .env.run_id = "matrix" };
    diag_init(&w->diag);
    if (read_fault(w, fault) < 0 || declare(w, process) < 0)
        return -1;
    w->env.journal = journal_open(dir, "matrix", err);
    w->env.guardian = w->env.journal ? guardian_start(journal_path(w->env.journal), err) : NULL;
    if (!w->env.guardian)
        return -1;
    if (!strstr(fault, "docker"))
        return 0;
    w->env.docker = docker_open(&(struct docker_plan){ .timeout_ns = 10 * NS_PER_SEC }, err);
    w->env.docker_events = w->env.docker ? docker_events_start(w->env.docker, err) : NULL;
    return w->env.docker_events ? 0 : -1;
}

static int drive(struct world *w, struct doom *doom, uint64_t hold_ms, struct err *err)
{
    struct fault_run r = { .kind = w->spec.kind,
                           .params = w->spec.params,
                           .env = &w->env,
                           .name = "matrix",
                           .hold_ns = hold_ms * NS_PER_MS,
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
    struct err err = { 0 };
    struct world w;
    uint64_t hold_ms;

    if (argc == 3 && strcmp(argv[1], "guardian") == 0)
        return guardian_main(argv[2]);
    if (argc == 3 && strcmp(argv[1], "helper") == 0)
        return helper_main(argv[2]);
    if (argc < 6 || parse_u64(argv[4], 0, 600000, &hold_ms, NULL) < 0) {
        fprintf(stderr, "usage: fault_driver DIR STEP alone|both HOLD_MS FAULT [NAME=PID]\n");
        return 2;
    }
    struct doom doom = { .step = argv[2], .both = strcmp(argv[3], "both") == 0 };
    int rc = open_world(&w, argv[1], argv[5], argv[6], &err);
    if (rc == 0)
        rc = drive(&w, &doom, hold_ms, &err);
    close_world(&w);
    if (rc < 0)
        fprintf(stderr, "fault_driver: %s\n", err.msg);
    return rc < 0;
}
