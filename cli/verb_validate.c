/* `validate`: reads a plan as `run` would, and says what it is. */
#include <stdio.h>

#include "base/parse.h"
#include "cli/flags.h"
#include "cli/plan_source.h"
#include "cli/verbs.h"

static size_t count_tasks(const struct plan *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->load.n_classes; i++)
        n += p->load.classes[i].n_tasks;
    return n;
}

static void print_count(size_t n, const char *one, const char *many)
{
    printf(", %zu %s", n, n == 1 ? one : many);
}

static int validate(const struct verb *v, const struct verb_args *args)
{
    struct plan p;
    char length[DURATION_TEXT_MAX];
    int rc = plan_from_args(args, &p);

    (void)v;
    if (rc == 0) {
        printf("OK: %s: %s", p.source, p.name);
        print_count(p.load.n_classes, "user class", "user classes");
        print_count(count_tasks(&p), "task", "tasks");
        print_count(p.n_faults, "fault", "faults");
        print_count(p.n_thresholds, "threshold", "thresholds");
        printf(", %s\n",
               p.load.duration_ns ? duration_text(p.load.duration_ns, length) : "no fixed end");
    }
    plan_free(&p);
    return rc;
}

const struct verb verb_validate = {
    .name = "validate",
    .summary = "check a plan, and say all that is wrong with it",
    .usage = "validate [OPTIONS] PLAN.yaml",
    .description =
        "Reads a plan and options as 'run' does, and sends nothing. Exit code 0, or 2 with all "
        "mistakes on standard error.",
    .examples = "chaos-load validate plan.yaml\nchaos-load validate plan.yaml -t 30s",
    .opts = plan_options,
    .run = validate,
};
