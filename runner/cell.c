/* One series: what became of the requests of one task in one phase. Which distribution a request
 * enters is decided here and nowhere else, so that a failure can never make latency look better. */
#include <string.h>

#include "runner/stats.h"

#define STATUS_SLOTS 600

struct cell *cell_new(void)
{
    return xcalloc(1, sizeof(struct cell));
}

/* All histograms of a cell, for what is done to each of them. */
#define CELL_HISTS (5 + STAGE_MAX)
_Static_assert(offsetof(struct cell, stages) - offsetof(struct cell, response) ==
                   5 * sizeof(struct hist),
               "the histograms of a cell lie side by side");

static struct hist *cell_hist(struct cell *c, size_t i)
{
    struct hist *const named[] = { &c->response, &c->service, &c->lag, &c->lateness, &c->failed };

    return i < ARRAY_LEN(named) ? named[i] : &c->stages[i - ARRAY_LEN(named)];
}

static const struct hist *cell_hist_const(const struct cell *c, size_t i)
{
    const struct hist *const named[] = { &c->response, &c->service, &c->lag, &c->lateness,
                                         &c->failed };

    return i < ARRAY_LEN(named) ? named[i] : &c->stages[i - ARRAY_LEN(named)];
}

void cell_free(struct cell *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < CELL_HISTS; i++)
        hist_done(cell_hist(c, i));
    free(c->statuses);
    free(c);
}

static void count_request(struct cell *c, const struct sample *s)
{
    bool failed = s->fail != FAIL_NONE;

    c->n_ok += !failed;
    c->n_fail += failed;
    c->fails[s->fail] += failed;
}

#ifdef CHAOS_NO_STATS
void cell_record(struct cell *c, const struct sample *s)
{
    count_request(c, s);
}
#else
static uint64_t span(uint64_t from, uint64_t to)
{
    return to > from ? to - from : 0;
}

static void count_status(struct cell *c, unsigned status)
{
    if (UNLIKELY(!c->statuses))
        c->statuses = xcalloc(STATUS_SLOTS, sizeof *c->statuses);
    c->statuses[status < STATUS_SLOTS ? status : 0]++;
}

static void note_failure(struct cell *c, uint64_t sched)
{
    c->first_fail_ns = c->first_fail_ns ? MIN(c->first_fail_ns, sched) : sched;
    c->last_fail_ns = MAX(c->last_fail_ns, sched);
}

/* Successes, and failures of which we know "at least so long". */
static void record_times(struct cell *c, const struct sample *s)
{
    hist_record(&c->response, span(s->sched, s->done));
    hist_record(&c->service, span(s->send ? s->send : s->start, s->done));
    for (unsigned i = 0; i < STAGE_MAX; i++) {
        if (s->stage_ns[i])
            hist_record(&c->stages[i], s->stage_ns[i]);
    }
}

void cell_record(struct cell *c, const struct sample *s)
{
    count_request(c, s);
    c->redirects += s->redirects;
    c->bytes_in += s->bytes_in;
    c->bytes_out += s->bytes_out;
    if (s->status)
        count_status(c, s->status);
    if (LIKELY(s->send != 0)) {
        c->reused += s->stage_ns[STAGE_CONNECT] == 0;
        hist_record(&c->lag, span(s->sched, s->send));
    }
    if (LIKELY(s->fail == FAIL_NONE)) {
        hist_record(&c->lateness, span(s->sched, s->start));
        record_times(c, s);
        return;
    }
    note_failure(c, s->sched);
    if (s->fail != FAIL_DROPPED) /* nobody ever took it */
        hist_record(&c->lateness, span(s->sched, s->start));
    if (fail_class_is_censored(s->fail))
        record_times(c, s);
    else
        hist_record(&c->failed, span(s->sched, s->done));
}
#endif

static void merge_statuses(struct cell *into, const struct cell *from)
{
    if (!from->statuses)
        return;
    if (!into->statuses)
        into->statuses = xcalloc(STATUS_SLOTS, sizeof *into->statuses);
    for (size_t i = 0; i < STATUS_SLOTS; i++)
        into->statuses[i] += from->statuses[i];
}

static void merge_failures(struct cell *into, const struct cell *from)
{
    for (unsigned i = 0; i < FAIL_CLASS_MAX; i++)
        into->fails[i] += from->fails[i];
    if (from->first_fail_ns)
        into->first_fail_ns = into->first_fail_ns ? MIN(into->first_fail_ns, from->first_fail_ns)
                                                  : from->first_fail_ns;
    into->last_fail_ns = MAX(into->last_fail_ns, from->last_fail_ns);
}

void cell_merge(struct cell *into, const struct cell *from)
{
    into->n_ok += from->n_ok;
    into->n_fail += from->n_fail;
    into->redirects += from->redirects;
    into->bytes_in += from->bytes_in;
    into->bytes_out += from->bytes_out;
    into->reused += from->reused;
    merge_failures(into, from);
    for (size_t i = 0; i < CELL_HISTS; i++)
        hist_merge(cell_hist(into, i), cell_hist_const(from, i));
    merge_statuses(into, from);
}

void cell_clear(struct cell *c)
{
    c->n_ok = c->n_fail = c->redirects = c->bytes_in = c->bytes_out = c->reused = 0;
    c->first_fail_ns = c->last_fail_ns = 0;
    memset(c->fails, 0, sizeof c->fails);
    for (size_t i = 0; i < CELL_HISTS; i++)
        hist_clear(cell_hist(c, i));
    if (c->statuses)
        memset(c->statuses, 0, STATUS_SLOTS * sizeof *c->statuses);
}
