/* The target is an integral from the start, not a share of each period: so that what one period
 * did too much or too little is corrected by the next, and the long run is exact. */
#include "chaoslib/machine/duty.h"

double ramp_share(uint64_t since_ns, uint64_t ramp_ns)
{
    return since_ns >= ramp_ns ? 1 : (double)since_ns / (double)ramp_ns;
}

uint64_t duty_target_ns(const struct duty *d, uint64_t since_ns)
{
    double rising = (double)MIN(since_ns, d->ramp_ns);
    double area = rising * ramp_share(since_ns, d->ramp_ns) / 2;

    return (uint64_t)(d->load * (area + ((double)since_ns - rising)));
}

uint64_t duty_due_ns(struct duty *d, uint64_t end_ns, uint64_t used_ns)
{
    uint64_t target = duty_target_ns(d, end_ns), done = used_ns + d->forgiven_ns;

    if (done >= target)
        return 0;
    if (target - done > DUTY_DEBT_MAX_NS)
        d->forgiven_ns += target - done - DUTY_DEBT_MAX_NS;
    return MIN(target - done, DUTY_DEBT_MAX_NS);
}
