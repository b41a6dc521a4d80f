/* Thresholds against the plan they stand in. A threshold that can never have a value would fail the
 * run after its last second; saying so before the first one is kinder. */
#include <string.h>

#include "base/parse.h"
#include "campaign/plan_internal.h"
#include "campaign/result.h"
#include "campaign/threshold_names.h"

#define NAMES_MAX 1100

struct check {
    const struct param_ctx *ctx;
    const struct plan *p;
    const struct doc *at; /* the threshold's node */
};

static void say_unknown(const struct check *c, const char *what, const char *name,
                        const char *const *names, size_t n)
{
    const char *near = nearest_name(name, names, n);

    if (near)
        diag_add(c->ctx->diag, c->at, "no %s '%s' in this plan, did you mean '%s'?", what, name,
                 near);
    else if (n == 0)
        diag_add(c->ctx->diag, c->at, "no %s '%s': this plan has none", what, name);
    else
        diag_add(c->ctx->diag, c->at, "no %s '%s' in this plan; there is '%s'%s", what, name,
                 names[0], n > 1 ? " and others" : "");
}

static void endpoint_check(const struct check *c, const char *endpoint)
{
    const char *names[NAMES_MAX];
    size_t n = 0;

    for (uint32_t i = 0; i < c->p->load.n_series && n < NAMES_MAX; i++) {
        names[n++] = load_plan_series_name(&c->p->load, c->ctx->arena, i);
        if (strcmp(names[n - 1], endpoint) == 0)
            return;
    }
    say_unknown(c, "endpoint", endpoint, names, n);
}

static void fault_check(const struct check *c, const char *fault)
{
    const char *names[FAULTS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < c->p->n_faults; i++) {
        names[n++] = c->p->faults[i].name;
        if (strcmp(names[n - 1], fault) == 0)
            return;
    }
    say_unknown(c, "fault", fault, names, n);
}

static bool has_baseline(const struct plan *p)
{
    for (size_t i = 0; i < p->n_faults; i++)
        if (!p->faults[i].after && p->faults[i].at_ns <= p->load.warmup_ns)
            return false;
    return p->load.duration_ns == 0 || p->load.warmup_ns < p->load.duration_ns;
}

static bool has_cool_down(const struct plan *p)
{
    for (size_t i = 0; i < p->load.n_parts; i++) {
        const struct load_plan_part *part = &p->load.parts[i];
        const struct stage_plan *last = part->n_stages ? &part->stages[part->n_stages - 1] : NULL;

        if (!last || part->n_stages < 2 || last->target > 0 || last->duration_ns == 0)
            return false;
    }
    return p->load.n_parts > 0;
}

/* NULL when the plan has such a phase, else why not. */
static const char *missing_phase(const struct plan *p, enum phase_kind kind)
{
    switch (kind) {
    case PHASE_WARM_UP: return p->load.warmup_ns ? NULL : "there is no warmup: in this plan";
    case PHASE_BASELINE:
        return has_baseline(p) ? NULL : "a fault begins before there could be a baseline";
    case PHASE_INJECT:
    case PHASE_RECOVERY: return p->n_faults ? NULL : "there are no faults in this plan";
    case PHASE_COOL_DOWN:
        return has_cool_down(p) ? NULL : "the load does not end with a stage down to 0";
    case PHASE_KIND_MAX: break;
    }
    return NULL;
}

/* "inject kill shop #2", "recovery after kill shop": does the name end with a fault of the plan? */
static bool names_fault_phase(const struct plan *p, const char *phase)
{
    static const char *const heads[] = { "inject ", "recovery after ",
                                         "baseline after recovery after " };

    for (size_t i = 0; i < p->n_faults; i++)
        for (size_t k = 0; k < ARRAY_LEN(heads); k++) {
            size_t head = strlen(heads[k]), name = strlen(p->faults[i].name);

            if (strncmp(phase, heads[k], head) == 0 &&
                strncmp(phase + head, p->faults[i].name, name) == 0 &&
                (phase[head + name] == '\0' || phase[head + name] == ' '))
                return true;
        }
    return false;
}

static void phase_check(const struct check *c, const char *phase)
{
    const char *names[PHASE_KIND_MAX];

    for (enum phase_kind k = 0; k < PHASE_KIND_MAX; k++) {
        const char *why;

        names[k] = phase_kind_name(k);
        if (strcmp(names[k], phase) != 0)
            continue;
        why = missing_phase(c->p, k);
        if (why)
            diag_add(c->ctx->diag, c->at, "there will be no phase '%s': %s", phase, why);
        return;
    }
    if (!names_fault_phase(c->p, phase))
        say_unknown(c, "phase", phase, names, PHASE_KIND_MAX);
}

static void dropped_check(const struct check *c)
{
    for (size_t i = 0; i < c->p->load.n_parts; i++)
        if (c->p->load.parts[i].kind == LOAD_OPEN)
            return;
    diag_add(c->ctx->diag, c->at,
             "only arrivals can be dropped, and this plan has users; remove this threshold");
}

static void threshold_check(const struct check *c, const struct threshold *t)
{
    if (t->endpoint)
        endpoint_check(c, t->endpoint);
    if (t->phase)
        phase_check(c, t->phase);
    if (t->during)
        fault_check(c, t->during);
    if (t->is_relative && !has_baseline(c->p))
        diag_add(c->ctx->diag, c->at, "there is no baseline to compare with: %s",
                 missing_phase(c->p, PHASE_BASELINE));
    if (t->metric >= METRIC_RECOVERY_TIME && c->p->n_faults == 0)
        diag_add(c->ctx->diag, c->at, "%s needs faults, and this plan has none",
                 metric_name(t->metric));
    if (t->metric == METRIC_DROPPED)
        dropped_check(c);
}

/* The node of threshold i, through all the shapes that thresholds: may have. */
static const struct doc *threshold_doc(const struct doc *root, size_t i)
{
    const struct doc *d = doc_get(root, "thresholds");

    if (!d || d->kind == DOC_SCALAR || (d->kind == DOC_MAP && doc_get(d, "is")))
        return d;
    for (size_t k = 0; k < d->n_items; k++) {
        const struct doc *item = d->items[k];
        bool many = d->kind == DOC_MAP && item->kind == DOC_LIST;

        if (many && i < item->n_items)
            return item->items[i];
        if (!many && i == 0)
            return item;
        i -= many ? item->n_items : 1;
    }
    return d;
}

void thresholds_check(const struct param_ctx *ctx, const struct doc *root, const struct plan *p)
{
    for (size_t i = 0; i < p->n_thresholds; i++) {
        const struct check c = { ctx, p, threshold_doc(root, i) };

        threshold_check(&c, &p->thresholds[i]);
    }
}
