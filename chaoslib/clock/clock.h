/* clock-skew: which process of the plan it names. */
#ifndef CHAOSLIB_CLOCK_CLOCK_H
#define CHAOSLIB_CLOCK_CLOCK_H

#include "chaoslib/chaos.h"

/* The process that must be started so that its clocks can be skewed; NULL: another kind of fault.
 */
const char *clock_skew_process(const struct fault_spec *s);

#endif
