/* The model of a result: birth, death, the names of its enums, and the few ways in which it grows.
 * Its text form is in result_json.c and result_read.c. */
#include "campaign/result.h"

#include <string.h>

#include "campaign/observer.h"

static const char *const verdict_names[] = {
    [VERDICT_PASS] = "Pass",       [VERDICT_FAIL] = "Fail",       [VERDICT_ERROR] = "Error",
    [VERDICT_STOPPED] = "Stopped", [VERDICT_INVALID] = "Invalid",
};

static const char *const phase_kind_names[] = {
    [PHASE_WARM_UP] = "warm-up",   [PHASE_BASELINE] = "baseline",   [PHASE_INJECT] = "inject",
    [PHASE_RECOVERY] = "recovery", [PHASE_COOL_DOWN] = "cool-down",
};
_Static_assert(ARRAY_LEN(phase_kind_names) == PHASE_KIND_MAX, "every phase kind has a name");

const char *verdict_name(enum verdict v)
{
    return (size_t)v < ARRAY_LEN(verdict_names) ? verdict_names[v] : "Error";
}

bool verdict_by_name(const char *name, enum verdict *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(verdict_names); i++) {
        if (strcmp(verdict_names[i], name) == 0) {
            *ret = (enum verdict)i;
            return true;
        }
    }
    return false;
}

const char *phase_kind_name(enum phase_kind k)
{
    return (size_t)k < PHASE_KIND_MAX ? phase_kind_names[k] : "";
}

enum phase_kind phase_kind_by_name(const char *name)
{
    for (size_t i = 0; i < PHASE_KIND_MAX; i++)
        if (strcmp(phase_kind_names[i], name) == 0)
            return (enum phase_kind)i;
    return PHASE_KIND_MAX;
}

struct result *result_new(void)
{
    struct result *r = xcalloc(1, sizeof(*r));

    r->judged_by = "response_time";
    return r;
}

/* A cell that is embedded in something: what cell_free does, but for the cell itself. */
static void cell_done(struct cell *c)
{
    struct hist *const all[] = { &c->response, &c->service, &c->lag, &c->lateness, &c->failed };

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        hist_done(all[i]);
    for (size_t i = 0; i < STAGE_MAX; i++)
        hist_done(&c->stages[i]);
    free(c->statuses);
}

static void endpoint_done(struct result_endpoint *e)
{
    free(e->name);
    free(e->method);
    free(e->user_class);
    free(e->misdeed);
    free(e->seconds);
    cell_done(&e->cell);
}

static void phase_done(struct result_phase *p, size_t n_endpoints)
{
    free(p->name);
    cell_done(&p->cell);
    for (size_t i = 0; p->endpoints && i < n_endpoints; i++)
        cell_free(p->endpoints[i]);
    free(p->endpoints);
}

void result_fault_done(struct result_fault *f)
{
    for (size_t i = 0; i < f->n_hits; i++) {
        free(f->hits[i].name);
        free(f->hits[i].id);
    }
    free(f->hits);
    free(f->mechanism);
    free(f->name);
    free(f->kind);
    free(f->backend);
    free(f->target);
    free(f->error);
}

static void threshold_done(struct result_threshold *t)
{
    free(t->expression);
    free(t->phase);
    free(t->unit);
}

static void row_done(struct result_row *row)
{
    hist_done(&row->response);
    hist_done(&row->failed);
}

static void texts_done(struct result *r)
{
    char *const texts[] = { r->run_id,  r->name,      r->description, r->target, r->engine,
                            r->version, r->seed_text, r->plan_text,   r->reason };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
    for (size_t i = 0; i < r->n_notes; i++)
        free(r->notes[i]);
    free(r->notes);
    for (size_t i = 0; i < FAIL_CLASS_MAX; i++)
        free(r->examples[i]);
}

void result_free(struct result *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_phases; i++)
        phase_done(&r->phases[i], r->n_endpoints);
    for (size_t i = 0; i < r->n_endpoints; i++)
        endpoint_done(&r->endpoints[i]);
    for (size_t i = 0; i < r->n_faults; i++)
        result_fault_done(&r->faults[i]);
    for (size_t i = 0; i < r->n_thresholds; i++)
        threshold_done(&r->thresholds[i]);
    for (size_t i = 0; i < r->n_rows; i++)
        row_done(&r->rows[i]);
    free(r->phases);
    free(r->endpoints);
    free(r->faults);
    free(r->thresholds);
    free(r->rows);
    cell_done(&r->total);
    texts_done(r);
    free(r);
}

static bool is_power_of_two(size_t n)
{
    return (n & (n - 1)) == 0;
}

/* Makes room for one more in an array whose capacity is the next power of two of its length. */
static void *grown(void *array, size_t n, size_t size)
{
    return is_power_of_two(n) ? xrealloc(array, n ? 2 * n : 1, size) : array;
}

static void count_second(struct result_endpoint *e, uint64_t t_ns, const struct cell *c)
{
    uint32_t at_s = (uint32_t)MIN(t_ns / NS_PER_SEC, UINT32_MAX);
    struct result_second *last = e->n_seconds ? &e->seconds[e->n_seconds - 1] : NULL;

    if (!last || last->at_s != at_s) {
        e->seconds = grown(e->seconds, e->n_seconds, sizeof(*e->seconds));
        last = &e->seconds[e->n_seconds++];
        *last = (struct result_second){ .at_s = at_s };
    }
    last->ok += (uint32_t)MIN(c->n_ok, UINT32_MAX);
    last->fail += (uint32_t)MIN(c->n_fail, UINT32_MAX);
}

void result_add_second(struct result *r, const struct result_row *second, const struct row *rows,
                       size_t n)
{
    r->rows = grown(r->rows, r->n_rows, sizeof(*r->rows));
    struct result_row *copy = &r->rows[r->n_rows++];

    *copy = *second;
    copy->response = (struct hist){ 0 };
    copy->failed = (struct hist){ 0 };
    hist_merge(&copy->response, &second->response);
    hist_merge(&copy->failed, &second->failed);
    hist_pack(&copy->response);
    hist_pack(&copy->failed);
    for (size_t i = 0; i < n; i++)
        if (rows[i].endpoint < r->n_endpoints)
            count_second(&r->endpoints[rows[i].endpoint], second->t_ns, rows[i].cell);
}

void result_row_count(struct result_row *row, const struct cell *c)
{
    row->ok += c->n_ok;
    row->fail += c->n_fail;
    row->dropped += c->fails[FAIL_DROPPED];
    for (int i = 0; i < FAIL_CLASS_MAX; i++)
        row->fails[i] += c->fails[i];
    hist_merge(&row->response, &c->response);
    hist_merge(&row->failed, &c->failed);
}

uint64_t result_phase_end_ns(const struct result *r, const struct result_phase *p)
{
    uint64_t end_ns = p->end_ns == T_NONE ? r->duration_ns : p->end_ns;

    return MAX(end_ns, p->start_ns);
}

struct cell *result_phase_cell(struct result *r, size_t phase, size_t endpoint)
{
    struct result_phase *p = &r->phases[phase];

    if (!p->endpoints)
        p->endpoints = xcalloc(r->n_endpoints, sizeof(struct cell *));
    if (!p->endpoints[endpoint])
        p->endpoints[endpoint] = cell_new();
    return p->endpoints[endpoint];
}
