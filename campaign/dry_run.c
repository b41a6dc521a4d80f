/* See dry_run.h. Targets that are running already are looked up as the run itself would; children
 * and proxies that the plan starts are named. */
#include "campaign/dry_run.h"

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

static int look_up(const struct plan *p, struct processes *processes, const struct fault_plan *f,
                   FILE *out)
{
    const struct chaos_env env = { .run_id = "dry-run", .processes = processes, .dry_run = true };
    struct fault_run run = {
        .kind = f->spec.kind, .params = f->spec.params, .env = &env, .name = f->name
    };
    const char *name = target_name(f);
    struct err err = { 0 };

    if (strcmp(f->spec.kind->backend, "process") != 0 || is_started_by_plan(p, name)) {
        fprintf(out, "  %s: %s %s '%s', started by this plan\n", f->name, f->spec.kind->name,
                f->spec.kind->backend, name);
        return 0;
    }
    int rc = f->spec.kind->prepare(&run, &err);
    if (f->spec.kind->release)
        f->spec.kind->release(&run);
    if (rc < 0)
        fprintf(out, "  %s: nothing would be hit: %s\n", f->name, err.msg);
    else
        fprintf(out, "  %s: %s would hit %s\n", f->name, f->spec.kind->name, run.target);
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
    struct processes *processes = processes_new(p->processes, p->n_processes);
    int exit_code = EXIT_PASS;

    fprintf(out, "dry run: nothing is started, injected or sent\n");
    if (p->n_faults)
        fprintf(out, "targets:\n");
    for (size_t i = 0; i < p->n_faults; i++)
        if (look_up(p, processes, &p->faults[i], out) < 0)
            exit_code = EXIT_COULD_NOT_RUN;
    if (p->n_faults)
        fprintf(out, "timeline:\n");
    print_timeline(p, out);
    processes_free(processes);
    return exit_code;
}
