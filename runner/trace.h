/* --trace: what the plan and the seed made of the run. One line for each iteration (user, task,
 * think time) or arrival (instant, task). It holds nothing that depends on the target's speed or
 * the number of threads, so two runs of an iterations-limited plan with one seed give equal files.
 *
 * Each worker writes records to an unnamed temporary file; the end merges and sorts them. */
#ifndef RUNNER_TRACE_H
#define RUNNER_TRACE_H

#include "runner/plan.h"

#define TRACE_MAX UINT64_C(10000000) /* lines in all; the file says when there were more */

struct trace_line {
    const struct task *task;
    uint64_t number;    /* user or arrival, within the part */
    uint64_t iteration; /* of the user, from 1; 0 for an arrival */
    uint64_t at_ns;     /* arrival: from the start of the part */
    uint64_t think_ns;
    uint32_t part, life;
};

struct trace; /* of one thread */
struct trace *trace_new(struct err *err);
void trace_add(struct trace *t, const struct trace_line *line);
void trace_free(struct trace *t);

/* All threads' records into the file `path`. */
int trace_write(struct trace *const *traces, size_t n, const struct load_plan *plan,
                const char *path, struct err *err) MUST_CHECK;

#endif
