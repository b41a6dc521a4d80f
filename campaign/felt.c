/* What users felt of each fault, followed while it happens and with bounded memory.
 *
 * The run is cut into windows long enough to expect about ten requests. A window is bad when it has
 * more failures than the baseline explains, when many successes are slower than the baseline's p99
 * (or the plan's slo), or when fewer than half of the expected answers came. Impact is the first
 * bad window after the fault took effect; recovery is the first window from which all are well for
 * the hold time. The window is the error bar of both. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "campaign/state.h"

#define WINDOW_EXPECT 10.0 /* answers a window should hold at baseline */
#define WINDOW_MAX_NS (5 * NS_PER_SEC)
#define SLOW_SHARE 0.20
#define SUSPECT_WINDOWS 5
#define HOLD_MIN_NS NS_PER_SEC

/* Users wanted plus arrivals per second wanted: what the load asks for at t. */
static double units_at(const struct campaign *c, uint64_t t_ns)
{
    double sum = 0;

    for (size_t i = 0; i < c->load.n_parts; i++) {
        const struct load_plan_part *p = &c->load.parts[i];
        if (t_ns >= p->start_ns && (!p->duration_ns || t_ns < p->start_ns + p->duration_ns))
            sum += load_part_value_at(p, t_ns - p->start_ns);
    }
    return sum;
}

void felt_freeze_baseline(struct campaign *c)
{
    struct baseline *b = &c->baseline;
    struct hist all = { 0 };

    if (b->known)
        return;
    b->known = true;
    for (size_t i = 0; i < c->result->n_phases; i++)
        if (c->result->phases[i].kind == PHASE_BASELINE)
            hist_merge(&all, &c->result->phases[i].cell.response);
    if (b->unit_seconds > 0)
        b->ok_per_unit_second = (double)b->ok / b->unit_seconds;
    if (b->ok + b->fail)
        b->error_share = (double)b->fail / (double)(b->ok + b->fail);
    b->slow_ns = c->plan->slo_ns ? c->plan->slo_ns : hist_quantile_ns(&all, 0.99);
    if (!b->slow_ns)
        b->slow_ns = UINT64_MAX; /* no baseline was seen: nothing is slow, only failures count */
    if (all.count && b->slow_ns != UINT64_MAX)
        b->slow_share = 1.0 - (double)hist_count_below(&all, b->slow_ns) / (double)all.count;
    hist_done(&all);
}

static uint64_t window_for(const struct campaign *c, uint64_t t_ns)
{
    double per_sec = c->baseline.ok_per_unit_second * units_at(c, t_ns);
    double want = per_sec > 0 ? WINDOW_EXPECT / per_sec * 1e9 : (double)NS_PER_SEC;
    uint64_t ticks = (uint64_t)(want / (double)TICK_NS) + 1;

    return MIN(ticks * TICK_NS, WINDOW_MAX_NS);
}

/* The next instant at which something else begins, or the load ends. */
static uint64_t next_event_ns(const struct campaign *c, uint64_t t_ns)
{
    uint64_t next = c->load_end_ns;

    for (size_t i = 0; i < c->n_slots; i++)
        if (!c->slots[i].launched && !c->slots[i].skipped && c->slots[i].act.planned_ns > t_ns)
            next = MIN(next, c->slots[i].act.planned_ns);
    return next;
}

void felt_begin(struct campaign *c, size_t slot, uint64_t effective_ns)
{
    struct felt *f = &c->felt[slot];

    for (size_t i = 0; i < c->n_slots;
         i++) /* the next fault ends the measurement of those before it */
        if (i != slot && c->felt[i].active && c->felt[i].reverted_ns != T_NONE)
            c->felt[i].active = false;
    *f = (struct felt){ .active = true,
                        .effective_ns = effective_ns,
                        .reverted_ns = T_NONE,
                        .window_ns = window_for(c, effective_ns),
                        .hold_ns = c->plan->recover_hold_ns,
                        .now.start_ns = effective_ns,
                        .well_since_ns = T_NONE,
                        .first_bad_ns = T_NONE,
                        .suspect_ns = T_NONE };
    c->result->faults[c->slots[slot].result_index].resolution_ns = f->window_ns;
}

void felt_reverted(struct campaign *c, size_t slot, uint64_t reverted_ns)
{
    struct felt *f = &c->felt[slot];

    if (f->reverted_ns != T_NONE || f->done)
        return;
    f->reverted_ns = reverted_ns;
    uint64_t next = next_event_ns(c, reverted_ns);
    if (next != T_NONE && next > reverted_ns)
        f->hold_ns = MIN(f->hold_ns, MAX(HOLD_MIN_NS, (next - reverted_ns) / 2));
    c->result->faults[c->slots[slot].result_index].recover_hold_ns = f->hold_ns;
}

enum window_kind { WINDOW_WELL, WINDOW_SLOW, WINDOW_BROKEN };

static enum window_kind window_kind(const struct baseline *b, const struct window *w)
{
    double n = (double)(w->ok + w->fail);
    double share = b->error_share;
    double tolerated = share * n + 2 * sqrt(n * share * (1 - share)) + 0.01 * n;

    if (w->fail && (double)w->fail > tolerated)
        return WINDOW_BROKEN;
    if ((double)w->ok < 0.5 * w->expected - 2 * sqrt(w->expected))
        return WINDOW_BROKEN;
    return w->slow >= 3 && (double)w->slow > (SLOW_SHARE + b->slow_share) * n ? WINDOW_SLOW
                                                                              : WINDOW_WELL;
}

/* While users are well, one slow window may be anything that happens on a machine; it counts, from
 * its own beginning, when another one follows soon. */
static bool window_is_bad(struct felt *f, enum window_kind kind)
{
    uint64_t start = f->now.start_ns;

    if (kind != WINDOW_SLOW || f->well_since_ns == T_NONE) {
        f->suspect_ns = kind == WINDOW_WELL ? f->suspect_ns : T_NONE;
        f->bad_from_ns = start;
        return kind != WINDOW_WELL;
    }
    bool again = f->suspect_ns != T_NONE && start - f->suspect_ns <= SUSPECT_WINDOWS * f->window_ns;
    f->bad_from_ns = f->suspect_ns;
    f->suspect_ns = again ? T_NONE : start;
    return again;
}

/* The first failure by its schedule, which is exact, where the inject phase saw one. */
static uint64_t first_bad(const struct campaign *c, size_t slot)
{
    const struct felt *f = &c->felt[slot];
    uint64_t best = f->first_bad_ns;

    for (size_t i = 0; i < c->result->n_phases; i++) {
        const struct result_phase *p = &c->result->phases[i];
        uint64_t t = p->cell.first_fail_ns;
        if (p->fault != (int)c->slots[slot].result_index || !p->cell.first_fail_ns ||
            best == T_NONE)
            continue;
        if (t >= f->effective_ns && t < f->effective_ns + WINDOW_MAX_NS)
            best = MIN(best, t);
    }
    return best;
}

static void worst_second(struct result *r, struct result_fault *out, uint64_t from, uint64_t to)
{
    uint64_t worst_p95 = 0;
    double worst_share = -1;

    out->worst_window_ns = T_NONE;
    for (size_t i = 0; i < r->n_rows; i++) {
        const struct result_row *row = &r->rows[i];
        uint64_t n = row->ok + row->fail;
        if (row->t_ns + NS_PER_SEC <= from || row->t_ns >= to || !n)
            continue;
        double share = (double)row->fail / (double)n;
        uint64_t p95 = hist_quantile_ns(&row->response, 0.95);
        if (share < worst_share || (share <= worst_share && p95 <= worst_p95))
            continue;
        worst_share = share;
        worst_p95 = p95;
        out->worst_window_ns = row->t_ns;
        out->worst_window_error_rate = share;
        out->worst_window_p95_ns = p95;
    }
}

static uint64_t from_to(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? to_ns - from_ns : 0;
}

/* What was lost until users were well; or until now, when they are not. */
static void count_losses(const struct felt *f, bool well, struct result_fault *out)
{
    double expected = well ? f->expected_at_well : f->expected;
    uint64_t good = well ? f->good_at_well : f->good;

    out->requests_lost = well ? f->lost_at_well : f->lost;
    out->requests_slow = well ? f->slow_at_well : f->slow;
    out->good_share = expected > 0 ? MIN((double)good / expected, 1.0) : 1.0;
}

static void conclude(struct campaign *c, size_t slot, uint64_t t_ns)
{
    const struct felt *f = &c->felt[slot];
    struct result_fault *out = &c->result->faults[c->slots[slot].result_index];
    bool well = f->well_since_ns != T_NONE && (f->done || t_ns >= f->well_since_ns + f->hold_ns);
    uint64_t bad = first_bad(c, slot);
    uint64_t back = bad == T_NONE ? f->effective_ns : well ? f->well_since_ns : T_NONE;

    out->felt = bad != T_NONE;
    out->time_to_impact_ns = out->felt ? from_to(f->effective_ns, bad) : T_NONE;
    out->time_to_recover_ns = back == T_NONE ? T_NONE : from_to(f->effective_ns, back);
    out->time_to_recover_after_removal_ns = T_NONE;
    if (back != T_NONE && f->reverted_ns != T_NONE)
        out->time_to_recover_after_removal_ns = from_to(f->reverted_ns, back);
    out->recover_hold_ns = f->hold_ns;
    count_losses(f, well, out);
    worst_second(c->result, out, f->effective_ns,
                 back == T_NONE ? t_ns : MAX(back, f->effective_ns + 1));
}

/* Users are well again: said at once, and once more at the end, when all rows are there. */
static void finish(struct campaign *c, size_t slot, uint64_t t_ns)
{
    struct felt *f = &c->felt[slot];

    f->active = false;
    f->done = true;
    conclude(c, slot, t_ns);
    tell_fault(c, c->slots[slot].result_index);
}

static void end_window(struct campaign *c, size_t slot, uint64_t t_ns)
{
    struct felt *f = &c->felt[slot];
    uint64_t may_end = f->reverted_ns == T_NONE ? T_NONE : f->reverted_ns + f->hold_ns;

    if (window_is_bad(f, window_kind(&c->baseline, &f->now))) {
        f->first_bad_ns = MIN(f->first_bad_ns, f->bad_from_ns);
        f->well_since_ns = T_NONE;
    } else if (f->well_since_ns == T_NONE) {
        f->well_since_ns = f->now.start_ns;
        f->lost_at_well = f->lost - f->now.fail;
        f->slow_at_well = f->slow - f->now.slow;
        f->good_at_well = f->good - (f->now.ok - f->now.slow);
        f->expected_at_well = f->expected - f->now.expected;
    }
    f->now = (struct window){ .start_ns = t_ns };
    if (f->well_since_ns != T_NONE && t_ns >= f->well_since_ns + f->hold_ns && t_ns >= may_end)
        finish(c, slot, t_ns);
}

/* Of the first `n_series`: honest users alone say what is felt. */
static struct window tick_counts(const struct stats *delta, uint32_t n_series, uint64_t slow_ns)
{
    struct window w = { 0 };

    for (uint32_t p = delta->first_phase; p < delta->end_phase; p++) {
        for (uint32_t t = 0; t < n_series; t++) {
            const struct cell *cell = stats_peek(delta, p, t);
            if (!cell)
                continue;
            uint64_t below = hist_count_below(&cell->response, slow_ns);
            uint64_t above = cell->response.count - MIN(below, cell->response.count);
            uint64_t censored = cell->response.count - MIN(cell->n_ok, cell->response.count);
            w.ok += cell->n_ok;
            w.fail += cell->n_fail;
            w.slow += above > censored ? MIN(above - censored, cell->n_ok) : 0;
        }
    }
    return w;
}

/* Requests that misbehave take the place of honest ones, so that fewer of these come says nothing
 * of the target: what came is then what could be expected. */
static bool clients_misbehave(const struct campaign *c, uint64_t t_ns)
{
    for (size_t i = 0; i < c->n_slots; i++) {
        const struct slot *s = &c->slots[i];
        uint64_t reverted = s->seen.times.reverted;

        if (s->in_phase && strcmp(s->seen.kind->backend, "client") == 0 &&
            (!reverted || t_ns < since_start(c, reverted) + 2 * TICK_NS))
            return true;
    }
    return false;
}

void felt_tick(struct campaign *c, uint64_t t_ns, const struct stats *delta)
{
    struct baseline *b = &c->baseline;
    struct window tick = tick_counts(delta, c->load.n_honest, b->known ? b->slow_ns : UINT64_MAX);
    double units = units_at(c, t_ns) * ns_to_sec(TICK_NS);
    double expected =
        clients_misbehave(c, t_ns) ? (double)(tick.ok + tick.fail) : b->ok_per_unit_second * units;

    if (!b->known && phases_current(c)->kind == PHASE_BASELINE) {
        b->ok += tick.ok;
        b->fail += tick.fail;
        b->unit_seconds += units;
    }
    for (size_t i = 0; i < c->n_slots; i++) {
        struct felt *f = &c->felt[i];
        if (!f->active)
            continue;
        f->now.ok += tick.ok;
        f->now.fail += tick.fail;
        f->now.slow += tick.slow;
        f->now.expected += expected;
        f->lost += tick.fail;
        f->slow += tick.slow;
        f->good += tick.ok - tick.slow;
        f->expected += expected;
        if (t_ns >= f->now.start_ns + f->window_ns)
            end_window(c, i, t_ns);
    }
}

void felt_end(struct campaign *c, uint64_t t_ns)
{
    for (size_t i = 0; i < c->n_slots; i++)
        if (c->felt[i].window_ns)
            conclude(c, i, t_ns);
}
