/* Time. Inside the program: nanoseconds of CLOCK_MONOTONIC in uint64_t. At its edges: milliseconds,
 * wall clock. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/defs.h"

uint64_t clock_now_ns(void);  /* CLOCK_MONOTONIC */
uint64_t clock_wall_ns(void); /* CLOCK_REALTIME, since the epoch */
uint64_t clock_cpu_ns(void);  /* CPU time of the calling thread */
uint64_t clock_process_cpu_ns(void);
void clock_sleep_until(
    uint64_t mono_ns); /* returns at once when the instant has passed; EINTR is retried */

#define CLOCK_ISO_LEN 32
/* "2026-11-21T05:53:10.123Z" into out. */
void clock_iso(uint64_t wall_ns, char out[CLOCK_ISO_LEN]);

static inline double ns_to_ms(uint64_t ns)
{
    return (double)ns / (double)NS_PER_MS;
}
static inline double ns_to_sec(uint64_t ns)
{
    return (double)ns / (double)NS_PER_SEC;
}

#endif
