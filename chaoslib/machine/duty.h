/* How much a hog does when: pure arithmetic. Inside chaoslib only. */
#ifndef CHAOSLIB_MACHINE_DUTY_H
#define CHAOSLIB_MACHINE_DUTY_H

#include "base/defs.h"

#define DUTY_PERIOD_NS (20 * NS_PER_MS)
#define DUTY_DEBT_MAX_NS (200 * NS_PER_MS)

/* The share of the end value that is reached after `since_ns`: a straight line, then 1. */
double ramp_share(uint64_t since_ns, uint64_t ramp_ns);

struct duty {
    double load; /* 0..1 of one processor */
    uint64_t ramp_ns;
    uint64_t forgiven_ns;
};

/* CPU time that is to be used until `since_ns` after the start. */
uint64_t duty_target_ns(const struct duty *d, uint64_t since_ns);
/* What is still to be used in the period that ends at `end_ns` after the start, when `used_ns` were
 * so far. What a busy machine kept from us is made up for, but not more than DUTY_DEBT_MAX_NS:
 * the rest is forgiven, else a long wait would be followed by a long burst. */
uint64_t duty_due_ns(struct duty *d, uint64_t end_ns, uint64_t used_ns);

#endif
