/* See dry_run.h. Targets that are running already are looked up as the run itself would; children
 * and proxies that the plan starts are named. */
#include "campaign/dry_run.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "campaign/campaign.h"

static bool is_started_by_plan(const struct plan *p, const char *name)
{
    if (p->embedded && strcmp(p->embedded, name) == 0)
        return true;
    for (size_t i = 0; i < p->n_processes; i++)
        if (p->processes[i].run.n && strcmp(p->processes[i].name, name) == 0)
            return true;
    return false;
}

/* The text after the backend's key: `shop` of {process: shop}. */
static const char *target_name(const struct fault_plan *f)
{
    const struct doc *d = doc_get(doc_get(f->doc, f->spec.kind->name), f->spec.kind->backend);

    return d && d->text ? d->text : "";
}

/* What a fault may use, as in a run; an engine that is not there is told by each who needs it. */
struct dry {
    const struct plan *plan;
    struct chaos_env env;
    struct err no_engine;
    FILE *out;
};

static int prepare(const struct dry *dry, const struct fault_plan *f, size_t i,
                   struct fault_run *run, struct err *err)
{
    int rc;

    if (!dry->env.docker && (fault_spec_flags(&f->spec) & FAULT_NEEDS_DOCKER)) {
        *err = dry->no_engine;
        return -EIO;
    }
    rng_seed(&run->rng, dry->plan->load.seed, i);
    rc = f->spec.kind->prepare(run, err);
    if (f->spec.kind->release)
        f->spec.kind->release(run);
    free(run->hits);
    return rc;
}

static bool is_made_by_plan(const struct plan *p, const struct fault_plan *f, const char *name)
{
    const char *backend = f->spec.kind->backend;

    return strcmp(backend, "proxy") == 0 ||
           (strcmp(backend, "process") == 0 && is_started_by_plan(p, name));
}

static int look_up(const struct dry *dry, size_t i)
{
    const struct fault_plan *f = &dry->plan->faults[i];
    struct fault_run run = {
        .kind = f->spec.kind, .params = f->spec.params, .env = &dry->env, .name = f->name
    };
    const char *name = target_name(f);
    struct err err = { 0 };

    if (fault_spec_flags(&f->spec) & FAULT_WATCH) {
        fprintf(dry->out, "  %s: would be watched\n", f->name);
        return 0;
    }
    if (is_made_by_plan(dry->plan, f, name)) {
        fprintf(dry->out, "  %s: %s %s '%s', started by this plan\n", f->name, f->spec.kind->name,
                f->spec.kind->backend, name);
        return 0;
    }
    int rc = prepare(dry, f, i, &run, &err);
    if (rc < 0)
        fprintf(dry->out, "  %s: nothing would be hit: %s\n", f->name, err.msg);
    else
        fprintf(dry->out, "  %s: %s would hit %s\n", f->name, f->spec.kind->name, run.target);
    return rc;
}

static void print_timeline(const struct plan *p, FILE *out)
{
    struct activation acts[ACTIVATIONS_MAX];
    size_t n = timeline_build(p, acts, ACTIVATIONS_MAX);
    char at[DURATION_TEXT_MAX];

    for (size_t i = 0; i < n; i++) {
        const struct fault_plan *f = &p->faults[acts[i].fault];
        if (acts[i].planned_ns == UINT64_MAX)
            fprintf(out, "  after '%s'  %s\n", f->after, f->name);
        else
            fprintf(out, "  %-10s  %s\n", duration_text(acts[i].planned_ns, at), f->name);
    }
}

int dry_run(const struct plan *p, FILE *out)
{
    struct dry dry = { .plan = p,
                       .env = { .run_id = "dry-run",
                                .processes = processes_new(p->processes, p->n_processes),
                                .dry_run = true },
                       .out = out };
    int exit_code = EXIT_PASS;

    fprintf(out, "dry run: nothing is started, injected or sent\n");
    if (plan_needs_docker(p)) {
        dry.env.docker = docker_open(&p->docker, &dry.no_engine);
        fprintf(out, "container engine:\n  %s\n",
                dry.env.docker ? docker_describe(dry.env.docker) : dry.no_engine.msg);
    }
    if (p->n_faults)
        fprintf(out, "targets:\n");
    for (size_t i = 0; i < p->n_faults; i++)
        if (look_up(&dry, i) < 0)
            exit_code = EXIT_COULD_NOT_RUN;
    if (p->n_faults)
        fprintf(out, "timeline:\n");
    print_timeline(p, out);
    docker_free(dry.env.docker);
    processes_free(dry.env.processes);
    return exit_code;
}
