/* The timeline: every activation of every fault with its planned instant. Pure, and the same for
 * the same seed, so that `explain`, --dry-run and the run itself agree. */
#include <stdlib.h>

#include "base/rng.h"
#include "campaign/plan.h"

/* Streams of the seed that faults draw from; users and arrivals have theirs. */
#define TIMELINE_STREAM UINT64_C(0x7400000000)

static uint64_t first_instant(const struct plan *p, uint32_t fault)
{
    const struct fault_plan *f = &p->faults[fault];
    struct rng rng;

    if (f->at_max_ns <= f->at_ns)
        return f->at_ns;
    rng_seed(&rng, p->load.seed, TIMELINE_STREAM + fault);
    return f->at_ns + rng_below(&rng, f->at_max_ns - f->at_ns + 1);
}

/* How often it happens: count, or until the load ends. */
static uint64_t activations_of(const struct plan *p, const struct fault_plan *f, uint64_t first)
{
    if (f->every_ns == 0)
        return 1;
    if (f->count > 0)
        return (uint64_t)f->count;
    if (p->load.duration_ns == 0)
        return ACTIVATIONS_MAX;
    if (p->load.duration_ns <= first)
        return 0;
    return (p->load.duration_ns - first - 1) / f->every_ns + 1;
}

static int by_instant(const void *va, const void *vb)
{
    const struct activation *a = va;
    const struct activation *b = vb;

    if (a->planned_ns != b->planned_ns)
        return a->planned_ns < b->planned_ns ? -1 : 1;
    if (a->fault != b->fault)
        return a->fault < b->fault ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static size_t add_fault(const struct plan *p, uint32_t fault, struct activation *out, size_t max)
{
    const struct fault_plan *f = &p->faults[fault];
    uint64_t first = first_instant(p, fault);
    uint64_t n = activations_of(p, f, first);
    size_t added = 0;

    for (uint64_t i = 0; i < n && added < max; i++) {
        uint64_t at = first + i * f->every_ns;
        if (!f->after && p->load.duration_ns && at >= p->load.duration_ns)
            break;
        out[added++] = (struct activation){ .fault = fault,
                                            .number = (uint32_t)i,
                                            .planned_ns = f->after ? UINT64_MAX : at };
    }
    return added;
}

size_t timeline_build(const struct plan *p, struct activation *out, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n_faults; i++) /* what a watch will see nobody knows */
        if (!(fault_spec_flags(&p->faults[i].spec) & FAULT_WATCH))
            n += add_fault(p, (uint32_t)i, out + n, max - n);
    qsort(out, n, sizeof(*out), by_instant);
    return n;
}
