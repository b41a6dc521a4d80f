/* Thresholds against what was measured, once a second and at the end. A threshold that measured
 * nothing is not met: it proved nothing. A threshold `over` a window keeps one small ring and
 * remembers its worst window. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "campaign/state.h"

#define WINDOW_SECONDS_MAX 600

/* Which phases and endpoints a threshold looks at. */
struct scope {
    const char *phase;  /* kind or full name; NULL: all */
    const char *during; /* fault name; NULL */
    const char *endpoint;
};

/* What lies in a scope. */
struct found {
    struct cell *cell;
    uint64_t span_ns; /* how long its phases lasted */
};

static bool in_scope(const struct campaign *c, const struct scope *s, const struct result_phase *p)
{
    if (s->phase && strcmp(s->phase, phase_kind_name(p->kind)) != 0 &&
        strcmp(s->phase, p->name) != 0)
        return false;
    if (!s->during)
        return true;
    return p->kind == PHASE_INJECT && p->fault >= 0 &&
           strcmp(c->result->faults[p->fault].name, s->during) == 0;
}

static void add_endpoints(const struct campaign *c, const char *name, struct cell *const *cells,
                          struct cell *into)
{
    for (size_t e = 0; e < c->result->n_endpoints; e++)
        if (cells[e] && strcmp(c->result->endpoints[e].name, name) == 0)
            cell_merge(into, cells[e]);
}

static void find(const struct campaign *c, const struct scope *s, struct found *f)
{
    for (size_t i = 0; i < c->result->n_phases; i++) {
        const struct result_phase *p = &c->result->phases[i];
        if (!in_scope(c, s, p))
            continue;
        uint64_t end = p->end_ns == T_NONE ? c->result->duration_ns : p->end_ns;
        f->span_ns += end > p->start_ns ? end - p->start_ns : 0;
        if (s->endpoint)
            add_endpoints(c, s->endpoint, p->endpoints, f->cell);
        else
            cell_merge(f->cell, &p->cell);
    }
}

static const struct hist *hist_of(const struct cell *cell, enum metric m)
{
    switch (m) {
    case METRIC_RESPONSE_TIME: return &cell->response;
    case METRIC_SERVICE_TIME: return &cell->service;
    case METRIC_SCHEDULE_LAG: return &cell->lag;
    case METRIC_DNS: return &cell->stages[STAGE_DNS];
    case METRIC_CONNECT: return &cell->stages[STAGE_CONNECT];
    case METRIC_TLS: return &cell->stages[STAGE_TLS];
    case METRIC_WAIT: return &cell->stages[STAGE_WAIT];
    case METRIC_TRANSFER: return &cell->stages[STAGE_TRANSFER];
    case METRIC_ERRORS:
    case METRIC_REQUESTS:
    case METRIC_DROPPED:
    case METRIC_RECOVERY_TIME:
    case METRIC_TIME_TO_IMPACT:
    case METRIC_REQUESTS_LOST:
    case METRIC_MAX: break;
    }
    return NULL;
}

static bool hist_value(const struct hist *h, const struct threshold *t, double *ret)
{
    if (t->agg == AGG_COUNT) {
        *ret = (double)h->count;
        return true;
    }
    if (!h->count)
        return false;
    switch (t->agg) {
    case AGG_P: *ret = (double)hist_quantile_ns(h, t->q); break;
    case AGG_MED: *ret = (double)hist_quantile_ns(h, 0.5); break;
    case AGG_AVG: *ret = hist_mean_ns(h); break;
    case AGG_MIN: *ret = (double)h->min_ns; break;
    case AGG_MAX: *ret = (double)h->max_ns; break;
    case AGG_COUNT:
    case AGG_RATE: return false;
    }
    return true;
}

/* Shares of requests, counts, and requests per second. */
static bool count_value(const struct found *f, const struct threshold *t, double *ret)
{
    const struct cell *cell = f->cell;
    double all = (double)(cell->n_ok + cell->n_fail);
    double part = all;

    if (t->metric == METRIC_ERRORS)
        part = (double)(t->fail == FAIL_NONE ? cell->n_fail : cell->fails[t->fail]);
    if (t->metric == METRIC_DROPPED)
        part = (double)cell->fails[FAIL_DROPPED];
    if (t->agg == AGG_COUNT) {
        *ret = part;
        return true;
    }
    double per = t->metric == METRIC_REQUESTS ? ns_to_sec(f->span_ns) : all;
    if (per <= 0)
        return false;
    *ret = part / per;
    return true;
}

static bool value_in(const struct campaign *c, const struct threshold *t, const struct scope *s,
                     double *ret)
{
    struct found f = { .cell = cell_new() };
    bool has;

    find(c, s, &f);
    if (t->metric == METRIC_ERRORS || t->metric == METRIC_REQUESTS || t->metric == METRIC_DROPPED)
        has = count_value(&f, t, ret);
    else
        has = hist_value(hist_of(f.cell, t->metric), t, ret);
    cell_free(f.cell);
    return has;
}

/* One figure of one activation; "not recovered" counts as the time until now, and HUGE_VAL at the
 * end. */
static double fault_figure(const struct campaign *c, size_t slot, enum metric m, bool at_end)
{
    const struct result_fault *out = &c->result->faults[c->slots[slot].result_index];
    const struct felt *f = &c->felt[slot];

    if (m == METRIC_REQUESTS_LOST)
        return (double)(at_end ? out->requests_lost : f->lost);
    if (m == METRIC_TIME_TO_IMPACT)
        return out->time_to_impact_ns == T_NONE ? HUGE_VAL : (double)out->time_to_impact_ns;
    if (at_end)
        return out->time_to_recover_ns == T_NONE ? HUGE_VAL : (double)out->time_to_recover_ns;
    if (f->first_bad_ns == T_NONE)
        return 0;
    uint64_t until = f->well_since_ns != T_NONE ? f->well_since_ns : c->result->duration_ns;
    return (double)(until - MIN(until, f->effective_ns));
}

/* An activation that took effect, of the fault that the threshold names. */
static bool is_meant(const struct campaign *c, const struct threshold *t, size_t slot)
{
    const char *name = c->plan->faults[c->slots[slot].act.fault].name;

    return c->felt[slot].window_ns && (!t->during || strcmp(name, t->during) == 0);
}

/* What others broke so shortly before the end that users could still have been well again in time:
 * it shows neither, and nobody could have planned for it. */
static bool is_cut_off(const struct campaign *c, const struct threshold *t, size_t slot)
{
    const struct result_fault *out = &c->result->faults[c->slots[slot].result_index];
    uint64_t end = MAX(c->result->duration_ns, out->effective_ns);

    return t->metric == METRIC_RECOVERY_TIME && out->observed &&
           out->time_to_recover_ns == T_NONE && (double)(end - out->effective_ns) < t->value;
}

static bool faults_value(const struct campaign *c, const struct threshold *t, bool at_end,
                         double *ret)
{
    double sum = 0, lo = HUGE_VAL, hi = 0;
    size_t n = 0;

    for (size_t i = 0; i < c->n_slots; i++) {
        if (!is_meant(c, t, i) || (at_end && is_cut_off(c, t, i)))
            continue;
        double v = fault_figure(c, i, t->metric, at_end);
        if (t->metric == METRIC_TIME_TO_IMPACT && isinf(v))
            continue; /* not felt: no impact to time */
        sum += v;
        lo = MIN(lo, v);
        hi = MAX(hi, v);
        n++;
    }
    if (t->agg == AGG_COUNT) {
        *ret = sum;
        return true;
    }
    if (!n)
        return false;
    *ret = t->agg == AGG_AVG ? sum / (double)n : t->agg == AGG_MIN ? lo : hi;
    return true;
}

static double longest_unrecovered(const struct campaign *c, const struct threshold *t)
{
    double longest = 0;

    for (size_t i = 0; i < c->n_slots; i++) {
        const struct result_fault *out = &c->result->faults[c->slots[i].result_index];
        if (!is_meant(c, t, i) || out->time_to_recover_ns != T_NONE)
            continue;
        uint64_t end = MAX(c->result->duration_ns, c->felt[i].effective_ns);
        longest = MAX(longest, (double)(end - c->felt[i].effective_ns));
    }
    return longest;
}

static bool holds(enum compare_op op, double value, double limit)
{
    switch (op) {
    case OP_LT: return value < limit;
    case OP_LE: return value <= limit;
    case OP_GT: return value > limit;
    case OP_GE: return value >= limit;
    case OP_EQ: return value >= limit && value <= limit;
    case OP_NE: return value < limit || value > limit;
    }
    return false;
}

static bool limit_of(const struct campaign *c, const struct threshold *t, double *ret)
{
    const struct scope base = { .phase = phase_kind_name(PHASE_BASELINE), .endpoint = t->endpoint };
    double v;

    *ret = t->value;
    if (!t->is_relative)
        return true;
    if (!value_in(c, t, &base, &v))
        return false;
    *ret = t->relative_absolute ? v + t->value : v * (1 + t->value);
    return true;
}

/* ---- windows ---- */

static void push_second(const struct campaign *c, struct watch *w)
{
    const struct scope scope = { .phase = w->t->phase, .during = w->t->during };
    const struct stats *s = c->second;
    struct hist *h = &w->ring_hist[w->ring_at];
    struct cell *sum = cell_new();

    for (uint32_t p = s->first_phase; p < s->end_phase && p < c->result->n_phases; p++) {
        if (!in_scope(c, &scope, &c->result->phases[p]))
            continue;
        for (uint32_t e = 0; e < s->n_tasks; e++) {
            const struct cell *cell = stats_peek(s, p, e);
            const struct result_endpoint *at = &c->result->endpoints[e];
            bool counts =
                w->t->endpoint ? strcmp(at->name, w->t->endpoint) == 0 : endpoint_is_honest(at);
            if (cell && counts)
                cell_merge(sum, cell);
        }
    }
    hist_clear(h);
    if (hist_of(sum, w->t->metric))
        hist_merge(h, hist_of(sum, w->t->metric));
    w->ring_ok[w->ring_at] = sum->n_ok + sum->n_fail;
    w->ring_fail[w->ring_at] = w->t->metric == METRIC_DROPPED ? sum->fails[FAIL_DROPPED]
                               : w->t->fail == FAIL_NONE      ? sum->n_fail
                                                              : sum->fails[w->t->fail];
    cell_free(sum);
    w->ring_at = (w->ring_at + 1) % w->ring_len;
    w->ring_n = MIN(w->ring_n + 1, w->ring_len);
}

static bool window_value(const struct watch *w, double *ret)
{
    struct hist all = { 0 };
    double n = 0, part = 0;
    bool has = true;

    for (size_t i = 0; i < w->ring_n; i++) {
        hist_merge(&all, &w->ring_hist[i]);
        n += (double)w->ring_ok[i];
        part += (double)w->ring_fail[i];
    }
    if (w->t->metric == METRIC_REQUESTS)
        *ret = w->t->agg == AGG_COUNT ? n : n / (double)w->ring_n;
    else if (w->t->metric != METRIC_ERRORS && w->t->metric != METRIC_DROPPED)
        has = hist_value(&all, w->t, ret);
    else if (w->t->agg == AGG_COUNT)
        *ret = part;
    else if ((has = n > 0))
        *ret = part / n;
    hist_done(&all);
    return has;
}

/* The value that is hardest on the threshold so far. */
static bool worst_window(struct watch *w, bool at_end, double *ret)
{
    bool upper = w->t->op == OP_LT || w->t->op == OP_LE;
    bool full = w->ring_n == w->ring_len || (at_end && !w->has_worst && w->ring_n);
    double v;

    if (full && window_value(w, &v)) {
        w->worst = !w->has_worst ? v : upper ? MAX(w->worst, v) : MIN(w->worst, v);
        w->has_worst = true;
    }
    *ret = w->worst;
    return w->has_worst;
}

/* ---- all of them ---- */

static bool is_time(enum metric m)
{
    return m <= METRIC_TRANSFER || m == METRIC_RECOVERY_TIME || m == METRIC_TIME_TO_IMPACT;
}

static const char *unit_of(const struct threshold *t)
{
    if (t->agg == AGG_COUNT || t->metric == METRIC_REQUESTS_LOST)
        return "";
    if (is_time(t->metric))
        return "ms";
    return t->metric == METRIC_REQUESTS ? "/s" : "ratio";
}

static void judge(struct campaign *c, size_t i, bool at_end, uint64_t t_ns)
{
    struct watch *w = &c->watches[i];
    const struct threshold *t = w->t;
    struct result_threshold *out = &c->result->thresholds[i];
    const struct scope scope = { .phase = t->phase, .during = t->during, .endpoint = t->endpoint };
    double value = 0, limit = t->value;

    if (t->metric >= METRIC_RECOVERY_TIME)
        out->has_value = faults_value(c, t, at_end, &value);
    else if (t->window_ns)
        out->has_value = worst_window(w, at_end, &value);
    else
        out->has_value = value_in(c, t, &scope, &value);
    bool has_limit = limit_of(c, t, &limit);
    bool met = out->has_value && has_limit && holds(t->op, value, limit);
    out->at_least = isinf(value);
    if (out->at_least) /* not well again when the run ended: it took at least so long */
        value = longest_unrecovered(c, t);
    bool to_ms = strcmp(out->unit, "ms") == 0;
    out->value = to_ms ? value / (double)NS_PER_MS : value;
    out->limit = to_ms ? limit / (double)NS_PER_MS : limit;
    if (out->has_value && has_limit)
        out->ok = met;
    else
        out->ok =
            !at_end; /* nothing seen yet is no reason to stop; nothing seen at all is no proof */
    if (!out->ok && out->first_broken_ns == T_NONE)
        out->first_broken_ns = t_ns;
}

void evaluate_init(struct campaign *c)
{
    const struct plan *p = c->plan;
    struct result *r = c->result;

    c->watches = xcalloc(p->n_thresholds, sizeof(*c->watches));
    r->thresholds = xcalloc(p->n_thresholds, sizeof(*r->thresholds));
    r->n_thresholds = p->n_thresholds;
    for (size_t i = 0; i < p->n_thresholds; i++) {
        const struct threshold *t = &p->thresholds[i];
        struct watch *w = &c->watches[i];
        w->t = t;
        r->thresholds[i] = (struct result_threshold){
            .expression = xstrdup(t->expression),
            .phase = xstrdup(t->phase    ? t->phase
                             : t->during ? t->during
                                         : ""),
            .unit = xstrdup(unit_of(t)),
            .ok = true,
            .first_broken_ns = T_NONE,
        };
        if (!t->window_ns)
            continue;
        w->ring_len = MAX(1, MIN(t->window_ns / NS_PER_SEC, WINDOW_SECONDS_MAX));
        w->ring_hist = xcalloc(w->ring_len, sizeof(*w->ring_hist));
        w->ring_ok = xcalloc(w->ring_len, sizeof(*w->ring_ok));
        w->ring_fail = xcalloc(w->ring_len, sizeof(*w->ring_fail));
    }
}

void evaluate_second(struct campaign *c, uint64_t t_ns)
{
    for (size_t i = 0; i < c->plan->n_thresholds; i++) {
        struct watch *w = &c->watches[i];
        if (w->t->window_ns)
            push_second(c, w);
        judge(c, i, false, t_ns);
        struct result_threshold *out = &c->result->thresholds[i];
        if (out->ok || !w->t->abort || t_ns < w->t->delay_abort_ns || c->stopping)
            continue;
        out->aborted = true;
        c->aborted = true;
    }
}

void evaluate_end(struct campaign *c)
{
    for (size_t i = 0; i < c->plan->n_thresholds; i++)
        judge(c, i, true, c->result->duration_ns);
}

void evaluate_done(struct campaign *c)
{
    for (size_t i = 0; c->watches && i < c->plan->n_thresholds; i++) {
        struct watch *w = &c->watches[i];
        for (size_t k = 0; k < w->ring_len; k++)
            hist_done(&w->ring_hist[k]);
        free(w->ring_hist);
        free(w->ring_ok);
        free(w->ring_fail);
    }
    free(c->watches);
    c->watches = NULL;
}
