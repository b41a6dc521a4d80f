/* A result as JSON: one table per kind of row would hide more than it shows here, so each part has
 * its own short writer. docs/result.schema.json describes what comes out; result_read.c reads it.
 */
#include <string.h>

#include "base/clock.h"
#include "campaign/result_cell.h"

struct json *phase_json(const struct result_phase *p, bool with_cell)
{
    struct json *j = json_object();

    json_put_text(j, "name", p->name);
    json_put_str(j, "kind", phase_kind_name(p->kind));
    if (p->fault >= 0)
        json_put_u64(j, "fault", (uint64_t)p->fault);
    else
        json_put_null(j, "fault");
    json_put_ms(j, "start_ms", p->start_ns);
    json_put_ms(j, "end_ms", p->end_ns);
    if (with_cell)
        cell_put_json(j, &p->cell, true);
    return j;
}

static void put_fault_times(struct json *j, const struct result_fault *f)
{
    const struct {
        const char *key;
        uint64_t ns;
    } times[] = {
        { "planned_ms", f->planned_ns },
        { "requested_ms", f->requested_ns },
        { "effective_ms", f->effective_ns },
        { "revert_requested_ms", f->revert_requested_ns },
        { "reverted_ms", f->reverted_ns },
        { "duration_ms", f->duration_ns },
        { "time_to_impact_ms", f->time_to_impact_ns },
        { "time_to_recover_ms", f->time_to_recover_ns },
        { "time_to_recover_after_removal_ms", f->time_to_recover_after_removal_ns },
        { "recover_hold_ms", f->recover_hold_ns },
        { "resolution_ms", f->resolution_ns },
        { "worst_window_ms", f->worst_window_ns },
        { "worst_window_p95_ms", f->worst_window_p95_ns },
    };

    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        json_put_ms(j, times[i].key, times[i].ns);
}

static struct json *hits_json(const struct result_fault *f)
{
    struct json *list = json_array();

    for (size_t i = 0; i < f->n_hits; i++) {
        const struct result_hit *h = &f->hits[i];
        struct json *one = json_put(list, NULL, json_object());
        json_put_text(one, "name", h->name);
        json_put_text(one, "id", h->id);
        json_put_ms(one, "requested_ms", h->requested_ns);
        json_put_ms(one, "effective_ms", h->effective_ns);
        json_put_ms(one, "reverted_ms", h->reverted_ns);
    }
    return list;
}

struct json *fault_json(const struct result_fault *f)
{
    struct json *j = json_object();

    json_put_text(j, "name", f->name);
    json_put_text(j, "kind", f->kind);
    json_put_text(j, "backend", f->backend);
    json_put_text(j, "target", f->target);
    json_put(j, "targets", hits_json(f));
    json_put_text(j, "mechanism", f->mechanism);
    json_put_u64(j, "activation", f->activation);
    json_put_bool(j, "one_shot", f->one_shot);
    json_put_bool(j, "observed", f->observed);
    json_put_bool(j, "verified_in", f->verified_in);
    json_put_bool(j, "verified_out", f->verified_out);
    json_put_str(j, "ended_by", fault_end_name(f->ended_by));
    json_put_text(j, "error", f->error);
    json_put_bool(j, "felt", f->felt);
    put_fault_times(j, f);
    json_put_u64(j, "requests_lost", f->requests_lost);
    json_put_u64(j, "requests_slow", f->requests_slow);
    json_put_num(j, "worst_window_error_rate", f->worst_window_error_rate);
    json_put_num(j, "good_share", f->good_share);
    return j;
}

struct json *threshold_json(const struct result_threshold *t)
{
    struct json *j = json_object();

    json_put_text(j, "expression", t->expression);
    json_put_text(j, "phase", t->phase);
    if (t->has_value)
        json_put_num(j, "value", t->value);
    else
        json_put_null(j, "value");
    json_put_num(j, "limit", t->limit);
    json_put_text(j, "unit", t->unit);
    json_put_bool(j, "ok", t->ok);
    json_put_bool(j, "aborted", t->aborted);
    json_put_bool(j, "at_least", t->at_least);
    json_put_ms(j, "first_broken_ms", t->first_broken_ns);
    return j;
}

struct json *endpoint_json(const struct result_endpoint *e)
{
    struct json *j = json_object();

    json_put_text(j, "name", e->name);
    json_put_text(j, "method", e->method);
    json_put_text(j, "user_class", e->user_class);
    if (!endpoint_is_honest(e))
        json_put_text(j, "misdeed", e->misdeed);
    return j;
}

void health_put_json(struct json *j, const struct result *r)
{
    struct json *g = json_put(j, "generator", json_object());

    json_put_text(g, "engine", r->engine);
    json_put_u64(g, "threads", r->threads);
    json_put_num(g, "cpu_share_max", r->cpu_share_max);
    json_put_ms(g, "lag_p99_ms", r->lag_p99_ns);
    json_put_u64(g, "users_max", r->users_max);
    json_put_u64(g, "arrivals_due", r->arrivals_due);
    json_put_u64(g, "iterations", r->iterations);
}

void examples_put_json(struct json *j, const struct result *r)
{
    struct json *all = NULL;

    for (int i = FAIL_NONE + 1; i < FAIL_CLASS_MAX; i++) {
        if (!r->examples[i])
            continue;
        if (!all)
            all = json_put(j, "examples", json_object());
        json_put_text(all, fail_class_name((enum fail_class)i), r->examples[i]);
    }
}

void result_put_head(struct json *j, const struct result *r)
{
    char started[CLOCK_ISO_LEN];

    clock_iso(r->started_wall_ns, started);
    json_put_str(j, "verdict", verdict_name(r->verdict));
    json_put_num(j, "exit_code", r->exit_code);
    json_put_text(j, "reason", r->reason);
    json_put_exact(j, "seed", r->seed);
    json_put_str(j, "started_at", started);
    json_put_exact(j, "started_unix_ns", r->started_wall_ns);
    json_put_ms(j, "duration_ms", r->duration_ns);
    json_put_bool(j, "complete", r->complete);
    json_put_text(j, "run_id", r->run_id);
    json_put_text(j, "name", r->name);
    json_put_text(j, "description", r->description);
    json_put_text(j, "target", r->target);
    json_put_text(j, "version", r->version);
    json_put_str(j, "judged_by", r->judged_by);
    json_put_bool(j, "open_load", r->open_load);
    health_put_json(j, r);
    examples_put_json(j, r);
    struct json *notes = json_put(j, "notes", json_array());
    for (size_t i = 0; i < r->n_notes; i++)
        json_put_text(notes, NULL, r->notes[i]);
    json_put_text(j, "seed_text", r->seed_text);
    json_put_text(j, "plan", r->plan_text);
}

static struct json *seconds_json(const struct result_endpoint *e)
{
    struct json *list = json_array();

    for (size_t i = 0; i < e->n_seconds; i++) {
        struct json *s = json_put(list, NULL, json_array());
        json_put_u64(s, NULL, e->seconds[i].at_s);
        json_put_u64(s, NULL, e->seconds[i].ok);
        json_put_u64(s, NULL, e->seconds[i].fail);
    }
    return list;
}

static void put_endpoints(struct json *j, const struct result *r)
{
    struct json *list = json_put(j, "endpoints", json_array());

    for (size_t i = 0; i < r->n_endpoints; i++) {
        struct json *e = json_put(list, NULL, endpoint_json(&r->endpoints[i]));
        cell_put_json(e, &r->endpoints[i].cell, true);
        json_put(e, "per_second", seconds_json(&r->endpoints[i]));
    }
}

static void put_phases(struct json *j, const struct result *r)
{
    struct json *list = json_put(j, "phases", json_array());

    for (size_t i = 0; i < r->n_phases; i++) {
        const struct result_phase *p = &r->phases[i];
        struct json *one = json_put(list, NULL, phase_json(p, true));
        struct json *cells = json_put(one, "endpoints", json_array());
        for (size_t k = 0; p->endpoints && k < r->n_endpoints; k++) {
            if (!p->endpoints[k])
                continue;
            struct json *c = json_put(cells, NULL, json_object());
            json_put_u64(c, "endpoint", k);
            cell_put_json(c, p->endpoints[k], true);
        }
    }
}

static void put_rows(struct json *j, const struct result *r)
{
    struct json *list = json_put(j, "rows", json_array());

    for (size_t i = 0; i < r->n_rows; i++) {
        const struct result_row *row = &r->rows[i];
        struct json *one = json_put(list, NULL, json_object());
        json_put_ms(one, "t_ms", row->t_ns);
        json_put_num(one, "phase", row->phase);
        json_put_u64(one, "users", row->users);
        json_put_u64(one, "in_flight", row->in_flight);
        json_put_u64(one, "successes", row->ok);
        json_put_u64(one, "failures", row->fail);
        json_put_u64(one, "dropped", row->dropped);
        json_put(one, "errors", errors_json(row->fails));
        hist_put_json(one, "response", &row->response);
        hist_put_json(one, "failed", &row->failed);
    }
}

struct json *result_to_json(const struct result *r)
{
    struct json *j = json_object();

    json_put_str(j, "schema", RESULT_SCHEMA);
    result_put_head(j, r);
    cell_put_json(j, &r->total, true);
    put_endpoints(j, r);
    put_phases(j, r);
    struct json *faults = json_put(j, "faults", json_array());
    for (size_t i = 0; i < r->n_faults; i++)
        json_put(faults, NULL, fault_json(&r->faults[i]));
    struct json *thresholds = json_put(j, "thresholds", json_array());
    for (size_t i = 0; i < r->n_thresholds; i++)
        json_put(thresholds, NULL, threshold_json(&r->thresholds[i]));
    put_rows(j, r);
    return j;
}
