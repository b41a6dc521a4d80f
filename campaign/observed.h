/* What others break meanwhile, as activations that nobody planned (observed.c). On the campaign's
 * thread. */
#ifndef CAMPAIGN_OBSERVED_H
#define CAMPAIGN_OBSERVED_H

#include "campaign/plan.h"

/* What someone else did, as a watch told it. */
struct sighting {
    uint32_t fault; /* the watch, in plan.faults */
    struct fault_sight sight;
};

struct observed {
    struct observed_watch *watches;
    size_t n_watches;
    struct sighting *queue; /* under injector.lock */
    size_t n_queue, cap_queue;
};

struct campaign;
bool observed_is_wanted(const struct plan *p);
int observed_start(struct campaign *c, struct err *err) MUST_CHECK;
void observed_drain(struct campaign *c); /* handles what the watches said */
void observed_stop(struct campaign *c);  /* nothing more is said; not drained */
void observed_done(struct campaign *c);

#endif
