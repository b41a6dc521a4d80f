/* From the workers' deltas to seconds: every 100 ms the deltas are fetched, every second they are
 * added to the totals, the phases and the endpoints, and become a row. Sums agree because they are
 * the same numbers. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "campaign/state.h"

#define COLLECT_TIMEOUT_NS (50 * NS_PER_MS)

/* The series of this second; the caller frees. */
static struct row *rows_of_second(const struct campaign *c, size_t *ret_n)
{
    const struct stats *s = c->second;
    size_t max = (size_t)(s->end_phase - s->first_phase) * s->n_tasks;
    struct row *rows = xcalloc(max, sizeof(*rows));
    size_t n = 0;

    for (uint32_t p = s->first_phase; p < s->end_phase; p++) {
        for (uint32_t t = 0; t < s->n_tasks; t++) {
            const struct cell *cell = stats_peek(s, p, t);
            if (cell)
                rows[n++] = (struct row){
                    .t_ns = c->second_start_ns, .phase = p, .endpoint = t, .cell = cell
                };
        }
    }
    *ret_n = n;
    return rows;
}

static void add_to_result(struct campaign *c, uint32_t phase, uint32_t task,
                          const struct cell *cell)
{
    struct result *r = c->result;
    size_t p = MIN(phase, r->n_phases - 1);

    cell_merge(result_phase_cell(r, p, task), cell);
    cell_merge(&r->endpoints[task].cell, cell);
    if (!endpoint_is_honest(&r->endpoints[task]))
        return;
    cell_merge(&r->phases[p].cell, cell);
    cell_merge(&r->total, cell);
    cell_merge(c->second_cell, cell);
}

/* The workers know the clock, the result counts from its own beginning (0 means "none"). */
static void count_from_start(const struct campaign *c, struct cell *cell)
{
    if (!cell->first_fail_ns)
        return;
    cell->first_fail_ns = MAX(since_start(c, cell->first_fail_ns), 1);
    cell->last_fail_ns = MAX(since_start(c, cell->last_fail_ns), 1);
}

static void roll_up(struct campaign *c)
{
    struct stats *s = c->second;

    cell_clear(c->second_cell);
    for (uint32_t p = s->first_phase; p < s->end_phase; p++) {
        for (uint32_t t = 0; t < s->n_tasks; t++) {
            if (!stats_peek(s, p, t))
                continue;
            struct cell *cell = stats_cell(s, p, t);
            count_from_start(c, cell);
            add_to_result(c, p, t, cell);
        }
    }
    for (size_t i = 0; i < FAIL_CLASS_MAX; i++)
        if (s->example[i] && !c->result->examples[i])
            c->result->examples[i] = xstrdup(s->example[i]);
}

static void row_join(struct result_row *into, struct result_row *from)
{
    into->phase = from->phase;
    into->users = MAX(into->users, from->users);
    into->in_flight = MAX(into->in_flight, from->in_flight);
    into->ok += from->ok;
    into->fail += from->fail;
    into->dropped += from->dropped;
    for (size_t i = 0; i < FAIL_CLASS_MAX; i++)
        into->fails[i] += from->fails[i];
    hist_merge(&into->response, &from->response);
    hist_merge(&into->failed, &from->failed);
    hist_pack(&into->response);
    hist_pack(&into->failed);
    hist_done(&from->response);
    hist_done(&from->failed);
}

/* Long runs: two rows become one, so that the document and our memory stay bounded. */
static void bound_rows(struct campaign *c)
{
    struct result *r = c->result;
    size_t n = 0;

    if (c->row_fill && c->row_fill < c->row_span) { /* the last row is not full yet */
        row_join(&r->rows[r->n_rows - 2], &r->rows[r->n_rows - 1]);
        r->n_rows--;
        c->row_fill++;
        return;
    }
    c->row_fill = 1;
    if (r->n_rows < ROWS_MAX)
        return;
    for (size_t i = 0; i + 1 < r->n_rows; i += 2) {
        row_join(&r->rows[i], &r->rows[i + 1]);
        r->rows[n++] = r->rows[i];
    }
    r->n_rows = n;
    c->row_span *= 2;
    c->row_fill = c->row_span;
}

static void watch_generator(struct campaign *c)
{
    struct result *r = c->result;

    c->seconds++;
    if (c->status.cpu_share > 0.95)
        c->busy_seconds++;
    r->cpu_share_max = MAX(r->cpu_share_max, c->status.cpu_share);
    r->arrivals_due = c->status.arrivals_due;
    r->iterations = c->status.iterations;
}

static uint64_t quantile_or_none(const struct hist *h, double q)
{
    return h->count ? hist_quantile_ns(h, q) : T_NONE;
}

static void end_second(struct campaign *c, uint64_t t_ns)
{
    struct result_row second = { .t_ns = c->second_start_ns,
                                 .phase = (int)c->result->n_phases - 1,
                                 .users = c->status.users,
                                 .in_flight = c->status.in_flight };
    size_t n;

    roll_up(c);
    result_row_count(&second, c->second_cell);
    auto_free struct row *rows = rows_of_second(c, &n);
    c->last_second_requests = second.ok + second.fail;
    c->last_second_failures = second.fail;
    c->p50_ns = quantile_or_none(&second.response, 0.50);
    c->p95_ns = quantile_or_none(&second.response, 0.95);
    c->p99_ns = quantile_or_none(&second.response, 0.99);
    watch_generator(c);
    tell_second(c, &second, rows, n);
    evaluate_second(c, t_ns);
    result_add_second(c->result, &second, rows, n);
    bound_rows(c);
    hist_done(&second.response);
    hist_done(&second.failed);
    stats_clear(c->second);
}

static void fetch(struct campaign *c, uint64_t timeout_ns)
{
    if (runner_collect(c->runner, c->delta, &c->status, timeout_ns) > 0)
        log_debug("runner.late", "a worker did not answer within %.0f ms", ns_to_ms(timeout_ns));
    c->result->users_max = MAX(c->result->users_max, c->status.users_peak);
}

void measure_tick(struct campaign *c, uint64_t now_ns)
{
    uint64_t t = since_start(c, now_ns);

    fetch(c, COLLECT_TIMEOUT_NS);
    c->result->duration_ns = t;
    felt_tick(c, t, c->delta);
    stats_merge(c->second, c->delta);
    stats_clear(c->delta);
    if (t < c->second_start_ns + NS_PER_SEC)
        return;
    end_second(c, t);
    c->second_start_ns = t / NS_PER_SEC * NS_PER_SEC;
}

void measure_last(struct campaign *c)
{
    uint64_t t = since_start(c, clock_now_ns());

    fetch(c, NS_PER_SEC);
    felt_tick(c, t, c->delta);
    stats_merge(c->second, c->delta);
    stats_clear(c->delta);
    c->result->duration_ns = t;
    if (!stats_is_empty(c->second) || t > c->second_start_ns)
        end_second(c, t);
}
