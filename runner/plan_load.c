/* How much load: {users, spawn, for}, stages, arrivals, or a list of those. All of them become
 * stages, so that the rest of the program knows one shape. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "runner/plan_internal.h"

#define STAGES_MAX 1000
#define PARTS_MAX 64
#define RATE_MAX 1e7

struct stage_row {
    uint64_t duration_ns;
    int64_t users;
    double rate, spawn;
    const char *name;
};

struct arrivals_row {
    double rate, start_rate;
    uint64_t duration_ns;
    int process;
    struct items stages;
    int64_t max_users;
};

struct load_row {
    int64_t users;
    double spawn;
    uint64_t duration_ns, start_ns;
    int64_t iterations;
    struct items stages;
    struct arrivals_row arrivals;
    const char *class_name, *name;
};

static const char *const processes[] = { "constant", "poisson", NULL };

static const struct param stage_rows[] = {
    PARAM(DURATION, "for", struct stage_row, duration_ns, .required = true, .aliases = "duration",
          .help = "how long; 0s is a step"),
    PARAM(INT, "users", struct stage_row, users, .required = true, .lo = 0, .hi = USERS_MAX,
          .help = "users at the end of the stage"),
    PARAM(RATE, "spawn", struct stage_row, spawn, .aliases = "spawn_rate", .lo = 1e-6,
          .hi = RATE_MAX,
          .help = "go there at this rate and hold, instead of evenly over the stage"),
    PARAM(STR, "name", struct stage_row, name, .help = "shown beside it by explain"),
};
const struct param_table stage_table = { "load.stages[]", stage_rows, ARRAY_LEN(stage_rows), NULL };

static const struct param arrivals_stage_rows[] = {
    PARAM(DURATION, "for", struct stage_row, duration_ns, .required = true, .aliases = "duration",
          .help = "how long; 0s is a step"),
    PARAM(RATE, "rate", struct stage_row, rate, .required = true, .lo = 0, .hi = RATE_MAX,
          .help = "arrivals per second at the end of the stage; the rate moves there evenly"),
    PARAM(STR, "name", struct stage_row, name, .help = "shown beside it by explain"),
};
const struct param_table arrivals_stage_table = { "load.arrivals.stages[]", arrivals_stage_rows,
                                                  ARRAY_LEN(arrivals_stage_rows), NULL };

static const struct param arrivals_rows[] = {
    PARAM(RATE, "rate", struct arrivals_row, rate, .lo = 0, .hi = RATE_MAX,
          .help = "iterations that begin per second, whether or not earlier ones are done"),
    PARAM(DURATION, "for", struct arrivals_row, duration_ns, .aliases = "duration",
          .help = "how long; without it until Ctrl-C"),
    PARAM(ENUM, "process", struct arrivals_row, process, .def = "constant", .choices = processes,
          .help = "constant: evenly spaced; poisson: random, as independent users come"),
    PARAM(LIST, "stages", struct arrivals_row, stages, .table = &arrivals_stage_table,
          .item_size = sizeof(struct stage_row), .help = "a rate that changes over time"),
    PARAM(INT, "max_users", struct arrivals_row, max_users, .lo = 0, .hi = USERS_MAX,
          .help = "users at most at once; an arrival that finds none free is dropped and counts as "
                  "a failure; default: 10 x the highest rate, at least 100"),
    PARAM(RATE, "start_rate", struct arrivals_row, start_rate, .lo = 0, .hi = RATE_MAX,
          .help = "the rate at which the first stage begins; default: its own rate"),
};
const struct param_table arrivals_table = { "load.arrivals", arrivals_rows,
                                            ARRAY_LEN(arrivals_rows), NULL };

static const struct param load_rows[] = {
    PARAM(INT, "users", struct load_row, users, .lo = 1, .hi = USERS_MAX,
          .help = "closed load: so many users at once"),
    PARAM(RATE, "spawn", struct load_row, spawn, .aliases = "spawn_rate", .lo = 1e-6,
          .hi = RATE_MAX, .help = "users started per second; default: all at once"),
    PARAM(DURATION, "for", struct load_row, duration_ns, .aliases = "duration,run_time",
          .help = "how long, starting included; without it until iterations are done, or Ctrl-C"),
    PARAM(INT, "iterations", struct load_row, iterations, .lo = 1, .hi = 1e15,
          .help = "end after so many iterations of all users together"),
    PARAM(LIST, "stages", struct load_row, stages, .table = &stage_table,
          .item_size = sizeof(struct stage_row),
          .help = "a number of users that changes over time, from 0"),
    PARAM(TABLE, "arrivals", struct load_row, arrivals, .table = &arrivals_table,
          .help = "open load: iterations that begin on a schedule"),
    PARAM(DURATION, "start", struct load_row, start_ns,
          .help = "begin so long after the run's start"),
    PARAM(STR, "class", struct load_row, class_name,
          .help = "drives only this user class; default: all, by weight"),
    PARAM(STR, "name", struct load_row, name,
          .help = "name of this part in explain and in messages"),
};
const struct param_table load_table = { "load", load_rows, ARRAY_LEN(load_rows), NULL };

const char parts_schema[] = "{\"oneOf\":[{\"$ref\":\"#/$defs/load\"},{\"type\":\"array\","
                            "\"items\":{\"$ref\":\"#/$defs/load\"},\"minItems\":1}]}";

/* What is being read, for messages. */
struct reading {
    const struct param_ctx *ctx;
    const struct doc *d; /* the part's map */
};

static bool make_stages(const struct reading *r, struct load_plan_part *p, size_t n)
{
    p->stages = n <= STAGES_MAX ? arena_alloc(r->ctx->arena, MAX(n, 1) * sizeof(*p->stages)) : NULL;
    p->n_stages = p->stages ? n : 0;
    if (!p->stages)
        diag_add(r->ctx->diag, r->d, "more than %d stages", STAGES_MAX);
    return p->stages;
}

/* `other` says the same in another way. */
static void refuse_with(const struct reading *r, const struct doc *map, const char *key,
                        const char *other)
{
    if (doc_get(map, key) && doc_get(map, other))
        diag_add_key(r->ctx->diag, doc_get(map, key), "'%s' and '%s' exclude each other", key,
                     other);
}

static void stages_from(const struct reading *r, const struct items *items, bool open,
                        struct load_plan_part *p)
{
    const struct stage_row *rows = items->v;

    if (items->n == 0) {
        diag_add(r->ctx->diag, r->d, "stages needs at least one stage");
        return;
    }
    if (!make_stages(r, p, items->n))
        return;
    for (size_t i = 0; i < items->n; i++) {
        p->stages[i] = (struct stage_plan){ .duration_ns = rows[i].duration_ns,
                                            .target = open ? rows[i].rate : (double)rows[i].users,
                                            .spawn_rate = open ? 0 : rows[i].spawn,
                                            .name = rows[i].name };
        p->duration_ns += rows[i].duration_ns;
    }
    if (p->duration_ns == 0)
        diag_add(r->ctx->diag, r->d, "the stages together last 0 s");
    if (p->duration_ns > DURATION_MAX_NS)
        diag_add(r->ctx->diag, r->d, "the stages together last longer than 366 days");
}

static double peak_of(const struct load_plan_part *p)
{
    double peak = p->start_value;

    for (size_t i = 0; p->stages && i < p->n_stages; i++)
        peak = MAX(peak, p->stages[i].target);
    return peak;
}

static void closed_from(const struct reading *r, const struct load_row *row,
                        struct load_plan_part *p)
{
    p->kind = LOAD_CLOSED;
    refuse_with(r, r->d, "stages", "users");
    refuse_with(r, r->d, "stages", "spawn");
    refuse_with(r, r->d, "stages", "for");
    if (doc_get(r->d, "stages")) {
        stages_from(r, &row->stages, false, p);
        if (p->n_stages > 0 && p->stages && peak_of(p) <= 0)
            diag_add(r->ctx->diag, doc_get(r->d, "stages"),
                     "no stage has users: write for example {for: 1m, users: 10}");
        return;
    }
    if (!make_stages(r, p, 1))
        return;
    p->stages[0] = (struct stage_plan){ .duration_ns = row->duration_ns,
                                        .target = (double)row->users,
                                        .spawn_rate = row->spawn };
    p->start_value = row->spawn > 0 ? 0 : (double)row->users;
    p->duration_ns = row->duration_ns;
    if (doc_get(r->d, "for") && row->duration_ns == 0)
        diag_add(r->ctx->diag, doc_get(r->d, "for"), "0 s of load; leave 'for' out for no end");
}

static void open_from(const struct reading *r, const struct arrivals_row *row,
                      struct load_plan_part *p)
{
    const struct doc *d = doc_get(r->d, "arrivals");
    struct reading inner = { r->ctx, d };

    p->kind = LOAD_OPEN;
    p->process = (enum arrival_process)row->process;
    refuse_with(&inner, d, "rate", "stages");
    refuse_with(&inner, d, "for", "stages");
    refuse_with(&inner, d, "start_rate", "rate");
    if (doc_get(d, "stages")) {
        stages_from(&inner, &row->stages, true, p);
        if (p->n_stages > 0 && p->stages)
            p->start_value = doc_get(d, "start_rate") ? row->start_rate : p->stages[0].target;
    } else if (make_stages(&inner, p, 1)) {
        p->stages[0] = (struct stage_plan){ .duration_ns = row->duration_ns, .target = row->rate };
        p->start_value = row->rate;
        p->duration_ns = row->duration_ns;
    }
    if (p->stages && peak_of(p) <= 0)
        diag_add(r->ctx->diag, d, "no rate is above 0: write for example rate: 100/s");
    p->max_users = (uint64_t)row->max_users;
    if (p->max_users == 0)
        p->max_users = (uint64_t)MIN(MAX(100.0, ceil(10 * peak_of(p))), (double)USERS_MAX);
}

static void part_from(const struct reading *r, const struct load_row *row, struct load_plan_part *p)
{
    static const char *const closed_keys[] = { "users", "spawn", "for", "stages" };
    bool open = doc_get(r->d, "arrivals");

    for (size_t i = 0; i < ARRAY_LEN(closed_keys); i++)
        if (open && doc_get(r->d, closed_keys[i]))
            diag_add_key(r->ctx->diag, doc_get(r->d, closed_keys[i]),
                         "'%s' beside 'arrivals': write it inside arrivals, or make load a list of "
                         "two parts",
                         closed_keys[i]);
    if (!open && !doc_get(r->d, "users") && !doc_get(r->d, "stages")) {
        diag_add(r->ctx->diag, r->d,
                 "how much load? write users: 10, stages: [...] or arrivals: {rate: 100/s}");
        return;
    }
    p->name = row->name;
    p->only_class = row->class_name;
    p->start_ns = row->start_ns;
    p->iterations = (uint64_t)row->iterations;
    if (open)
        open_from(r, &row->arrivals, p);
    else
        closed_from(r, row, p);
}

static void part_load(const struct param_ctx *ctx, const struct doc *d, struct load_plan_part *p)
{
    struct reading r = { ctx, d };
    struct load_row row = { 0 };

    if (d->kind != DOC_MAP) {
        diag_add(ctx->diag, d, "expected a map such as {users: 10, for: 1m}, not %s",
                 doc_kind_name(d->kind));
        return;
    }
    if (param_load(ctx, &load_table, d, &row, NULL) == 0)
        part_from(&r, &row, p);
}

void parts_load(const struct param_ctx *ctx, const struct doc *d, void *field)
{
    struct parts *parts = field;
    size_t n = d->kind == DOC_LIST ? d->n_items : 1;

    if (n == 0 || n > PARTS_MAX) {
        diag_add(ctx->diag, d, "load has 1 to %d parts", PARTS_MAX);
        return;
    }
    parts->v = arena_alloc(ctx->arena, n * sizeof(*parts->v));
    if (!parts->v) {
        diag_add(ctx->diag, d, "the plan is too large");
        return;
    }
    parts->n = n;
    for (size_t i = 0; i < n; i++)
        part_load(ctx, d->kind == DOC_LIST ? d->items[i] : d, &parts->v[i]);
}

/* Where a stage is after `ns` when it began at `from`. */
static double stage_value(const struct stage_plan *s, double from, uint64_t ns)
{
    double moved;

    if (s->spawn_rate <= 0)
        return ns >= s->duration_ns
                   ? s->target
                   : from + (s->target - from) * ((double)ns / (double)s->duration_ns);
    moved = s->spawn_rate * ((double)ns / (double)NS_PER_SEC);
    return s->target >= from ? MIN(from + moved, s->target) : MAX(from - moved, s->target);
}

double load_part_value_at(const struct load_plan_part *p, uint64_t t_ns)
{
    double value = p->start_value;

    for (size_t i = 0; i < p->n_stages; i++) {
        const struct stage_plan *s = &p->stages[i];
        bool endless = s->duration_ns == 0 && s->spawn_rate > 0 && i + 1 == p->n_stages;

        if (t_ns < s->duration_ns || endless)
            return stage_value(s, value, t_ns);
        value = stage_value(s, value, s->duration_ns);
        t_ns -= s->duration_ns;
    }
    return value;
}
