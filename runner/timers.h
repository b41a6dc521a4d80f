/* Instants for many things in one thread (timeouts of connections, think times of users): embedded
 * timers in one heap behind one loop timer. Exact to the loop's precision; setting costs O(log n)
 * and no allocation, no system call unless it is the new first one.
 *
 * For a timeout that moves with each request, set the timer once and look at the real deadline when
 * it fires (timer_by): a request then costs a comparison. */
#ifndef RUNNER_TIMERS_H
#define RUNNER_TIMERS_H

#include "edge/loop.h"

struct timers;
struct timer;

/* On the loop's thread. The timer is off again; it may be set, and freed, from here. */
typedef void timer_fn(struct timer *t);

struct timer { /* zeroed: off */
    timer_fn *fn;
    uint64_t at_ns;
    uint32_t place; /* private; 0: off */
};

struct timers *timers_new(struct loop *l);
void timers_free(struct timers *ts); /* what is still set never fires; the timers must still live */

/* (Re)sets it. An instant that has passed fires at once, but not from inside the call. Timers of
 * one instant fire in no given order. */
void timer_set(struct timers *ts, struct timer *t, uint64_t mono_ns, timer_fn *fn);
void timer_stop(struct timers *ts, struct timer *t);
static inline bool timer_is_set(const struct timer *t)
{
    return t->place != 0;
}
/* Makes sure that it fires at `mono_ns` or before. */
static inline void timer_by(struct timers *ts, struct timer *t, uint64_t mono_ns, timer_fn *fn)
{
    if (!timer_is_set(t) || t->at_ns > mono_ns)
        timer_set(ts, t, mono_ns, fn);
}
size_t timers_count(const struct timers *ts);

#endif
