/* A delta of measurements: a sparse grid of cells, phase by task. Clearing puts the cells aside for
 * the next delta, whatever phase that is in: a run of hundreds of phases uses the memory of one. */
#include "runner/stats.h"

struct stats *stats_new(uint32_t n_tasks)
{
    struct stats *s = xcalloc(1, sizeof *s);

    s->n_tasks = n_tasks;
    s->cells = xcalloc((size_t)STATS_PHASES_MAX * MAX(n_tasks, 1), sizeof(struct cell *));
    return s;
}

static size_t cell_index(const struct stats *s, uint32_t phase, uint32_t task)
{
    return (size_t)phase * s->n_tasks + task;
}

void stats_free(struct stats *s)
{
    if (!s)
        return;
    for (size_t i = cell_index(s, s->first_phase, 0); i < cell_index(s, s->end_phase, 0); i++)
        cell_free(s->cells[i]);
    for (size_t i = 0; i < s->n_spare; i++)
        cell_free(s->spare[i]);
    for (size_t i = 0; i < FAIL_CLASS_MAX; i++)
        free(s->example[i]);
    free(s->spare);
    free(s->cells);
    free(s);
}

static struct cell *make_cell(struct stats *s, uint32_t phase, uint32_t task)
{
    struct cell *c = s->n_spare ? s->spare[--s->n_spare] : cell_new();

    if (s->first_phase == s->end_phase) {
        s->first_phase = phase;
        s->end_phase = phase + 1;
    }
    s->first_phase = MIN(s->first_phase, phase);
    s->end_phase = MAX(s->end_phase, phase + 1);
    s->cells[cell_index(s, phase, task)] = c;
    return c;
}

struct cell *stats_cell(struct stats *s, uint32_t phase, uint32_t task)
{
    phase = MIN(phase, STATS_PHASES_MAX - 1);

    struct cell *c = s->cells[cell_index(s, phase, task)];

    return LIKELY(c != NULL) ? c : make_cell(s, phase, task);
}

const struct cell *stats_peek(const struct stats *s, uint32_t phase, uint32_t task)
{
    if (phase >= STATS_PHASES_MAX || task >= s->n_tasks)
        return NULL;

    const struct cell *c = s->cells[cell_index(s, phase, task)];

    return c && c->n_ok + c->n_fail > 0 ? c : NULL;
}

void stats_record(struct stats *s, uint32_t phase, const struct sample *sample)
{
    if (LIKELY(sample->task < s->n_tasks))
        cell_record(stats_cell(s, phase, sample->task), sample);
}

void stats_note_example(struct stats *s, enum fail_class fail, const char *task, const char *why)
{
    if (fail < FAIL_CLASS_MAX && !s->example[fail])
        s->example[fail] = xasprintf("%s: %s", task, why);
}

void stats_merge(struct stats *into, const struct stats *from)
{
    for (size_t i = 0; i < FAIL_CLASS_MAX; i++) {
        if (from->example[i] && !into->example[i])
            into->example[i] = xstrdup(from->example[i]);
    }
    for (uint32_t phase = from->first_phase; phase < from->end_phase; phase++) {
        for (uint32_t task = 0; task < MIN(from->n_tasks, into->n_tasks); task++) {
            const struct cell *c = stats_peek(from, phase, task);

            if (c)
                cell_merge(stats_cell(into, phase, task), c);
        }
    }
}

static void put_aside(struct stats *s, struct cell *c)
{
    if (s->n_spare == s->cap_spare) {
        s->cap_spare = MAX(16, s->cap_spare * 2);
        s->spare = xrealloc(s->spare, s->cap_spare, sizeof(struct cell *));
    }
    cell_clear(c);
    s->spare[s->n_spare++] = c;
}

void stats_clear(struct stats *s)
{
    /* Backwards, so that tasks get the cells, and so the pages, that they had before. */
    for (size_t i = cell_index(s, s->end_phase, 0); i > cell_index(s, s->first_phase, 0); i--) {
        if (!s->cells[i - 1])
            continue;
        put_aside(s, s->cells[i - 1]);
        s->cells[i - 1] = NULL;
    }
    s->first_phase = s->end_phase = 0;
}

bool stats_is_empty(const struct stats *s)
{
    for (uint32_t phase = s->first_phase; phase < s->end_phase; phase++) {
        for (uint32_t task = 0; task < s->n_tasks; task++) {
            if (stats_peek(s, phase, task))
                return false;
        }
    }
    return true;
}
