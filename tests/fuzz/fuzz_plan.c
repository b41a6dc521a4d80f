/* A whole plan from YAML, as run reads it: a sound one has a timeline that fits its bounds. */
#include <stdlib.h>
#include <string.h>

#include "base/subst.h"
#include "campaign/plan.h"
#include "edge/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *lookup(const char *name)
{
    return strcmp(name, "SET") == 0 ? "1s" : NULL;
}

/* What must hold of every plan that was accepted. */
static void check(const struct plan *p)
{
    static struct activation acts[ACTIVATIONS_MAX];
    size_t n = timeline_build(p, acts, ACTIVATIONS_MAX);

    if (!p->name || !p->load.target || p->load.n_classes == 0 || p->load.n_parts == 0)
        abort();
    for (size_t i = 0; i < n; i++)
        if (acts[i].fault >= p->n_faults)
            abort();
    for (size_t i = 0; i < p->n_faults; i++)
        if (!p->faults[i].spec.kind || !p->faults[i].name ||
            p->faults[i].after_index >= (int)p->n_faults)
            abort();
    for (size_t i = 0; i < p->n_thresholds; i++)
        if (!p->thresholds[i].expression)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new((size_t)16 << 20);
    struct plan plan = { .arena = arena };
    struct subst s = { .lookup = lookup };
    struct doc *root = NULL;
    struct diag diag;

    diag_init(&diag);
    /* Files named in a plan are read; no fuzzing of the machine's. */
    if (!memmem(data, size, "body_file", 9) &&
        yaml_load("plan.yaml", (const char *)data, size, arena, &diag, &root) == 0) {
        subst_doc(&s, arena, root, &diag);
        if (diag.n == 0 && plan_read(arena, root, &diag, false, &plan) == 0)
            check(&plan);
        else if (diag.n == 0)
            abort();
    }
    subst_hide(&s, &diag.text);
    plan.arena = arena;
    plan_free(&plan);
    diag_done(&diag);
    return 0;
}
