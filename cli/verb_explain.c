/* `explain`: the plan as a story: who does what, how many, when what breaks, what must hold. Sends
 * nothing and starts nothing; the timeline is the very one that the run will use. */
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "campaign/campaign.h"
#include "cli/explain_load.h"
#include "cli/flags.h"
#include "cli/plan_source.h"
#include "cli/verbs.h"

#define ACTIVATIONS_SHOWN 40

/* ---- what breaks ---- */

static void print_activation(const struct plan *p, const struct activation *a)
{
    const struct fault_plan *f = &p->faults[a->fault];
    char at[DURATION_TEXT_MAX], end[DURATION_TEXT_MAX];

    if (a->planned_ns == UINT64_MAX) {
        printf("  after '%s'%s%s: %s", f->after, f->at_ns ? " + " : "",
               f->at_ns ? duration_text(f->at_ns, at) : "", f->name);
        if (f->duration_ns)
            printf(" for %s", duration_text(f->duration_ns, end));
    } else {
        printf("  %-12s %s", duration_text(a->planned_ns, at), f->name);
        if (f->duration_ns)
            printf(", until %s", duration_text(a->planned_ns + f->duration_ns, end));
    }
    if (f->every_ns)
        printf("  (#%u)", a->number + 1);
    printf("%s\n", f->serial ? "  not while another fault is active" : "");
}

static void print_faults(const struct plan *p)
{
    struct activation acts[ACTIVATIONS_MAX];
    size_t n = timeline_build(p, acts, ACTIVATIONS_MAX);

    if (!p->n_faults)
        return;
    printf("Faults\n");
    for (size_t i = 0; i < n && i < ACTIVATIONS_SHOWN; i++)
        print_activation(p, &acts[i]);
    if (n > ACTIVATIONS_SHOWN)
        printf("  ... and %zu more\n", n - ACTIVATIONS_SHOWN);
    for (size_t i = 0; i < p->n_faults; i++)
        if (fault_spec_flags(&p->faults[i].spec) & FAULT_WATCH)
            printf("  all along    %s: what others break is watched\n", p->faults[i].name);
    for (size_t i = 0; i < p->n_faults; i++)
        if (fault_spec_flags(&p->faults[i].spec) & FAULT_INTRUSIVE)
            printf("  note: '%s' cannot be undone by this program\n", p->faults[i].name);
    if (p->target_proxy)
        printf("  an embedded proxy '%s' stands before the target\n", p->target_proxy);
}

static void print_thresholds(const struct plan *p)
{
    char delay[DURATION_TEXT_MAX];

    printf("Thresholds\n");
    for (size_t i = 0; i < p->n_thresholds; i++) {
        const struct threshold *t = &p->thresholds[i];

        printf("  %s%s", t->expression, t->abort ? "  (aborts the run" : "");
        if (t->abort && t->delay_abort_ns)
            printf(", not before %s", duration_text(t->delay_abort_ns, delay));
        printf("%s\n", t->abort ? ")" : "");
    }
    if (!p->n_thresholds)
        printf("  none: the run passes when it can be done\n");
}

static int explain(const struct verb *v, const struct verb_args *args)
{
    struct plan p;
    char length[DURATION_TEXT_MAX];
    int rc = plan_from_args(args, &p);

    (void)v;
    if (rc == 0) {
        printf("%s\n", p.name);
        if (p.description)
            printf("%s\n", p.description);
        if (p.embedded)
            printf("Target: the demo server '%s', started by the run\n", p.embedded);
        else
            printf("Target: %s\n", p.load.target);
        printf("Length: %s; seed %llu\n\n",
               p.load.duration_ns ? duration_text(p.load.duration_ns, length) : "no fixed end",
               (unsigned long long)p.load.seed);
        for (size_t i = 0; i < p.n_processes; i++)
            printf("Process %s: %s\n", p.processes[i].name,
                   p.processes[i].run.n ? "started by the run" : "running already");
        explain_load(&p.load);
        print_faults(&p);
        print_thresholds(&p);
    }
    plan_free(&p);
    return rc;
}

const struct verb verb_explain = {
    .name = "explain",
    .summary = "tell what a plan would do, without doing it",
    .usage = "explain [OPTIONS] [PLAN.yaml]",
    .description =
        "Prints who would do what, how much load there would be, when which fault would begin "
        "and end, and what would be judged. Takes the options of 'run'. Sends nothing and starts "
        "nothing. What is drawn at random is drawn with the seed, so give --seed to see what a "
        "run with that seed will do.",
    .examples = "chaos-load explain plan.yaml\nchaos-load explain plan.yaml -t 30s --seed 7",
    .opts = plan_options,
    .run = explain,
};
