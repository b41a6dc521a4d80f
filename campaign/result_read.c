/* A result from JSON. The text may come from anywhere (an old run, another machine, a hand that
 * edited it), so lists have named maxima, indices are checked, and what is no histogram is refused.
 * Members we do not know are skipped: a newer writer may add some. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "campaign/result_cell.h"

static char *text(const struct json *j, const char *key)
{
    const char *s = json_str(j, key, NULL);

    return s ? xstrdup(s) : NULL;
}

/* Names are never NULL, so that reports need not ask. */
static char *name_text(const struct json *j, const char *key)
{
    return xstrdup(json_str(j, key, ""));
}

static unsigned small(const struct json *j, const char *key)
{
    return (unsigned)MIN(json_u64(j, key, 0), UINT32_MAX);
}

static int index_of(const struct json *j, const char *key)
{
    uint64_t i = json_u64(j, key, UINT64_MAX);

    return i < INT32_MAX ? (int)i : -1;
}

static double number(const struct json *j, const char *key)
{
    double d = json_num(j, key, 0);

    return isfinite(d) ? d : 0;
}

/* The length of a list that must not be longer than max. */
static int list_len(const struct json *list, const char *name, size_t max, size_t *ret,
                    struct err *err)
{
    size_t n = json_is_array(list) ? json_len(list) : 0;

    if (n > max)
        return err_set(err, ERR_LIMIT, E2BIG, "%s: %zu items, at most %zu are allowed", name, n,
                       max);
    *ret = n;
    return 0;
}

/* result_add_second appends into a power of two: what is read here keeps to that. */
static size_t capacity_for(size_t n)
{
    size_t capacity = 1;

    while (capacity < n)
        capacity *= 2;
    return capacity;
}

static int notes_from_json(const struct json *j, struct result *r, struct err *err)
{
    const struct json *list = json_get(j, "notes");
    size_t n = 0;

    if (list_len(list, "notes", RESULT_NOTES_MAX, &n, err) < 0)
        return -E2BIG;
    r->notes = xcalloc(n + 1, sizeof(*r->notes));
    for (const struct json *s = n ? json_first(list) : NULL; s; s = json_next(s))
        r->notes[r->n_notes++] = name_text(s, "");
    return 0;
}

void health_from_json(const struct json *j, struct result *r)
{
    const struct json *g = json_get(j, "generator");

    free(r->engine);
    r->engine = text(g, "engine");
    r->threads = small(g, "threads");
    r->cpu_share_max = number(g, "cpu_share_max");
    r->lag_p99_ns = json_ms(g, "lag_p99_ms", 0);
    r->users_max = json_u64(g, "users_max", 0);
    r->arrivals_due = json_u64(g, "arrivals_due", 0);
    r->iterations = json_u64(g, "iterations", 0);
}

void examples_from_json(const struct json *j, struct result *r)
{
    const struct json *all = json_get(j, "examples");

    for (int i = FAIL_NONE + 1; i < FAIL_CLASS_MAX; i++) {
        char *example = text(all, fail_class_name((enum fail_class)i));
        if (!example)
            continue;
        free(r->examples[i]);
        r->examples[i] = example;
    }
}

int result_head_from_json(const struct json *j, struct result *r, struct err *err)
{
    const char *verdict = json_str(j, "verdict", "");

    if (!verdict_by_name(verdict, &r->verdict))
        return err_set(err, ERR_USAGE, EINVAL,
                       "verdict: '%.40s' is none of Pass Fail Error Stopped Invalid", verdict);
    r->exit_code = (int)MIN(small(j, "exit_code"), 255);
    r->seed = json_exact(j, "seed", 0);
    r->started_wall_ns = json_exact(j, "started_unix_ns", 0);
    r->duration_ns = json_ms(j, "duration_ms", 0);
    r->complete = json_bool(j, "complete", false);
    r->open_load = json_bool(j, "open_load", false);
    r->judged_by = strcmp(json_str(j, "judged_by", ""), "service_time") == 0 ? "service_time"
                                                                             : "response_time";
    r->reason = text(j, "reason");
    r->run_id = text(j, "run_id");
    r->name = text(j, "name");
    r->description = text(j, "description");
    r->target = text(j, "target");
    r->version = text(j, "version");
    r->seed_text = text(j, "seed_text");
    r->plan_text = text(j, "plan");
    health_from_json(j, r);
    examples_from_json(j, r);
    return notes_from_json(j, r, err);
}

void endpoint_from_json(const struct json *j, struct result_endpoint *e)
{
    e->name = name_text(j, "name");
    e->method = name_text(j, "method");
    e->user_class = name_text(j, "user_class");
    e->misdeed = name_text(j, "misdeed");
}

static int seconds_from_json(const struct json *list, struct result_endpoint *e, struct err *err)
{
    size_t n = 0;

    if (list_len(list, "per_second", RESULT_ROWS_MAX, &n, err) < 0)
        return -E2BIG;
    if (n == 0)
        return 0;
    e->seconds = xcalloc(capacity_for(n), sizeof(*e->seconds));
    for (const struct json *s = json_first(list); s; s = json_next(s))
        e->seconds[e->n_seconds++] = (struct result_second){ .at_s = small(s, "0"),
                                                             .ok = small(s, "1"),
                                                             .fail = small(s, "2") };
    return 0;
}

static int endpoints_from_json(const struct json *j, struct result *r, struct err *err)
{
    const struct json *list = json_get(j, "endpoints");
    size_t n = 0;

    if (list_len(list, "endpoints", RESULT_ENDPOINTS_MAX, &n, err) < 0)
        return -E2BIG;
    r->endpoints = xcalloc(n + 1, sizeof(*r->endpoints));
    for (const struct json *i = n ? json_first(list) : NULL; i; i = json_next(i)) {
        struct result_endpoint *e = &r->endpoints[r->n_endpoints++];
        endpoint_from_json(i, e);
        if (cell_from_json(i, &e->cell, err) < 0 ||
            seconds_from_json(json_get(i, "per_second"), e, err) < 0)
            return err_wrap(err, "endpoints.%zu", r->n_endpoints - 1);
    }
    return 0;
}

int phase_from_json(const struct json *j, struct result_phase *p, struct err *err)
{
    const char *kind = json_str(j, "kind", "");

    p->name = name_text(j, "name");
    p->kind = phase_kind_by_name(kind);
    p->fault = index_of(j, "fault");
    p->start_ns = json_ms(j, "start_ms", 0);
    p->end_ns = json_ms(j, "end_ms", T_NONE);
    if (p->kind == PHASE_KIND_MAX) {
        p->kind = PHASE_BASELINE;
        return err_set(err, ERR_USAGE, EINVAL, "kind: '%.40s' is no kind of phase", kind);
    }
    return 0;
}

static int phase_endpoints_from_json(const struct json *list, struct result *r, size_t phase,
                                     struct err *err)
{
    for (const struct json *c = json_is_array(list) ? json_first(list) : NULL; c;
         c = json_next(c)) {
        uint64_t k = json_u64(c, "endpoint", UINT64_MAX);
        if (k >= r->n_endpoints)
            return err_set(err, ERR_USAGE, EINVAL, "endpoint: there is no such endpoint");
        if (r->phases[phase].endpoints && r->phases[phase].endpoints[k])
            return err_set(err, ERR_USAGE, EINVAL, "endpoint %zu is there twice", (size_t)k);
        if (cell_from_json(c, result_phase_cell(r, phase, k), err) < 0)
            return err_wrap(err, "endpoint %zu", (size_t)k);
    }
    return 0;
}

static int phases_from_json(const struct json *j, struct result *r, struct err *err)
{
    const struct json *list = json_get(j, "phases");
    size_t n = 0;

    if (list_len(list, "phases", RESULT_PHASES_MAX, &n, err) < 0)
        return -E2BIG;
    r->phases = xcalloc(n + 1, sizeof(*r->phases));
    for (const struct json *i = n ? json_first(list) : NULL; i; i = json_next(i)) {
        size_t k = r->n_phases++;
        if (phase_from_json(i, &r->phases[k], err) < 0 ||
            cell_from_json(i, &r->phases[k].cell, err) < 0 ||
            phase_endpoints_from_json(json_get(i, "endpoints"), r, k, err) < 0)
            return err_wrap(err, "phases.%zu", k);
    }
    return 0;
}

static enum fault_end fault_end_by_name(const char *name)
{
    for (int e = ENDED_NOT; e <= ENDED_BY_ERROR; e++)
        if (strcmp(fault_end_name((enum fault_end)e), name) == 0)
            return (enum fault_end)e;
    return ENDED_NOT;
}

static void fault_times_from_json(const struct json *j, struct result_fault *f)
{
    f->planned_ns = json_ms(j, "planned_ms", T_NONE);
    f->requested_ns = json_ms(j, "requested_ms", T_NONE);
    f->effective_ns = json_ms(j, "effective_ms", T_NONE);
    f->revert_requested_ns = json_ms(j, "revert_requested_ms", T_NONE);
    f->reverted_ns = json_ms(j, "reverted_ms", T_NONE);
    f->duration_ns = json_ms(j, "duration_ms", 0);
    f->time_to_impact_ns = json_ms(j, "time_to_impact_ms", T_NONE);
    f->time_to_recover_ns = json_ms(j, "time_to_recover_ms", T_NONE);
    f->time_to_recover_after_removal_ns = json_ms(j, "time_to_recover_after_removal_ms", T_NONE);
    f->recover_hold_ns = json_ms(j, "recover_hold_ms", 0);
    f->resolution_ns = json_ms(j, "resolution_ms", 0);
    f->worst_window_ns = json_ms(j, "worst_window_ms", T_NONE);
    f->worst_window_p95_ns = json_ms(j, "worst_window_p95_ms", 0);
}

static int hits_from_json(const struct json *list, struct result_fault *f, struct err *err)
{
    size_t n = 0;

    if (list_len(list, "targets", RESULT_HITS_MAX, &n, err) < 0)
        return -E2BIG;
    f->hits = xcalloc(n + 1, sizeof(*f->hits));
    for (const struct json *i = n ? json_first(list) : NULL; i; i = json_next(i))
        f->hits[f->n_hits++] = (struct result_hit){
            .name = name_text(i, "name"),
            .id = name_text(i, "id"),
            .requested_ns = json_ms(i, "requested_ms", T_NONE),
            .effective_ns = json_ms(i, "effective_ms", T_NONE),
            .reverted_ns = json_ms(i, "reverted_ms", T_NONE),
        };
    return 0;
}

int fault_from_json(const struct json *j, struct result_fault *f, struct err *err)
{
    if (!json_is_object(j))
        return err_set(err, ERR_USAGE, EINVAL, "not an object");
    f->name = name_text(j, "name");
    f->kind = name_text(j, "kind");
    f->backend = name_text(j, "backend");
    f->target = name_text(j, "target");
    f->activation = small(j, "activation");
    f->one_shot = json_bool(j, "one_shot", false);
    f->observed = json_bool(j, "observed", false);
    f->verified_in = json_bool(j, "verified_in", false);
    f->verified_out = json_bool(j, "verified_out", false);
    f->ended_by = fault_end_by_name(json_str(j, "ended_by", ""));
    f->error = text(j, "error");
    f->felt = json_bool(j, "felt", false);
    fault_times_from_json(j, f);
    f->requests_lost = json_u64(j, "requests_lost", 0);
    f->requests_slow = json_u64(j, "requests_slow", 0);
    f->worst_window_error_rate = number(j, "worst_window_error_rate");
    f->good_share = number(j, "good_share");
    f->mechanism = text(j, "mechanism");
    return hits_from_json(json_get(j, "targets"), f, err);
}

int faults_from_json(const struct json *j, struct result *r, struct err *err)
{
    const struct json *list = json_get(j, "faults");
    size_t n = 0;

    if (list_len(list, "faults", RESULT_FAULTS_MAX, &n, err) < 0)
        return -E2BIG;
    r->faults = xcalloc(n + 1, sizeof(*r->faults));
    for (const struct json *i = n ? json_first(list) : NULL; i; i = json_next(i))
        if (fault_from_json(i, &r->faults[r->n_faults++], err) < 0)
            return err_wrap(err, "faults.%zu", r->n_faults - 1);
    return 0;
}

int thresholds_from_json(const struct json *j, struct result *r, struct err *err)
{
    const struct json *list = json_get(j, "thresholds");
    size_t n = 0;

    if (list_len(list, "thresholds", RESULT_THRESHOLDS_MAX, &n, err) < 0)
        return -E2BIG;
    r->thresholds = xcalloc(n + 1, sizeof(*r->thresholds));
    for (const struct json *i = n ? json_first(list) : NULL; i; i = json_next(i)) {
        struct result_threshold *t = &r->thresholds[r->n_thresholds++];
        t->expression = name_text(i, "expression");
        t->phase = name_text(i, "phase");
        t->unit = name_text(i, "unit");
        t->has_value = !json_is_null(json_get(i, "value"));
        t->value = number(i, "value");
        t->limit = number(i, "limit");
        t->ok = json_bool(i, "ok", false);
        t->aborted = json_bool(i, "aborted", false);
        t->at_least = json_bool(i, "at_least", false);
        t->first_broken_ns = json_ms(i, "first_broken_ms", T_NONE);
    }
    return 0;
}

static int rows_from_json(const struct json *j, struct result *r, struct err *err)
{
    const struct json *list = json_get(j, "rows");
    size_t n = 0;

    if (list_len(list, "rows", RESULT_ROWS_MAX, &n, err) < 0)
        return -E2BIG;
    r->rows = xcalloc(capacity_for(n), sizeof(*r->rows));
    for (const struct json *i = n ? json_first(list) : NULL; i; i = json_next(i)) {
        struct result_row *row = &r->rows[r->n_rows++];
        row->t_ns = json_ms(i, "t_ms", 0);
        row->phase = index_of(i, "phase");
        row->users = json_u64(i, "users", 0);
        row->in_flight = json_u64(i, "in_flight", 0);
        row->ok = json_u64(i, "successes", 0);
        row->fail = json_u64(i, "failures", 0);
        row->dropped = json_u64(i, "dropped", 0);
        if (errors_from_json(json_get(i, "errors"), row->fails, err) < 0 ||
            hist_from_json(i, "response", &row->response, err) < 0 ||
            hist_from_json(i, "failed", &row->failed, err) < 0)
            return err_wrap(err, "rows.%zu", r->n_rows - 1);
        hist_pack(&row->response);
        hist_pack(&row->failed);
    }
    return 0;
}

int result_from_json(const struct json *j, struct result **ret, struct err *err)
{
    auto(result) struct result *r = result_new();
    const char *schema = json_str(j, "schema", "");
    static int (*const readers[])(const struct json *, struct result *, struct err *) = {
        result_head_from_json, endpoints_from_json,  phases_from_json,
        faults_from_json,      thresholds_from_json, rows_from_json,
    };

    if (strcmp(schema, RESULT_SCHEMA) != 0)
        return err_set(err, ERR_USAGE, EINVAL, "schema: '%.60s' is not '" RESULT_SCHEMA "'",
                       schema);
    for (size_t i = 0; i < ARRAY_LEN(readers); i++)
        if (readers[i](j, r, err) < 0)
            return -EINVAL;
    if (cell_from_json(j, &r->total, err) < 0)
        return -EINVAL;
    *ret = TAKE(r);
    return 0;
}
