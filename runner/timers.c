/* Many instants behind one loop timer: a 4-ary heap whose keys lie side by side, so that a sift
 * touches two or three cache lines, and whose order is exact (a wheel would round think times to
 * its tick, and the schedule lag is measured). */
#include "runner/timers.h"
#include "base/clock.h"
#include "base/mem.h"

enum { WIDTH = 4, FIRST = 1 }; /* place 0 means "off" */

struct entry {
    uint64_t at_ns;
    struct timer *timer;
};

struct timers {
    struct loop_timer *clock;
    struct loop *loop;
    struct entry *heap; /* [FIRST, FIRST + n) */
    uint32_t n, cap;
    uint64_t armed_ns; /* when `clock` fires next; 0: it will not */
    bool firing;
};

static uint32_t parent_of(uint32_t i)
{
    return (i - FIRST - 1) / WIDTH + FIRST;
}

static uint32_t child_of(uint32_t i)
{
    return (i - FIRST) * WIDTH + 1 + FIRST;
}

static void put(struct timers *ts, struct entry e, uint32_t i)
{
    ts->heap[i] = e;
    e.timer->place = i;
}

static void sift_up(struct timers *ts, struct entry e, uint32_t i)
{
    while (i > FIRST && e.at_ns < ts->heap[parent_of(i)].at_ns) {
        put(ts, ts->heap[parent_of(i)], i);
        i = parent_of(i);
    }
    put(ts, e, i);
}

static void sift_down(struct timers *ts, struct entry e, uint32_t i)
{
    const uint32_t end = FIRST + ts->n;

    for (uint32_t child; (child = child_of(i)) < end;) {
        uint32_t least = child;
        for (uint32_t k = child + 1; k < end && k < child + WIDTH; k++) {
            if (ts->heap[k].at_ns < ts->heap[least].at_ns)
                least = k;
        }
        if (ts->heap[least].at_ns >= e.at_ns)
            break;
        put(ts, ts->heap[least], i);
        i = least;
    }
    put(ts, e, i);
}

static void sift(struct timers *ts, struct entry e, uint32_t i)
{
    if (i > FIRST && e.at_ns < ts->heap[parent_of(i)].at_ns)
        sift_up(ts, e, i);
    else
        sift_down(ts, e, i);
}

/* Only ever brought forward: firing too early once costs less than a system call per change. */
static void arm(struct timers *ts)
{
    if (ts->firing || !ts->n || (ts->armed_ns && ts->armed_ns <= ts->heap[FIRST].at_ns))
        return;
    ts->armed_ns = ts->heap[FIRST].at_ns;
    loop_timer_at(ts->clock, ts->armed_ns);
}

void timer_stop(struct timers *ts, struct timer *t)
{
    uint32_t i = t->place;

    if (!i)
        return;
    t->place = 0;
    struct entry last = ts->heap[FIRST + --ts->n];
    if (last.timer != t)
        sift(ts, last, i);
}

void timer_set(struct timers *ts, struct timer *t, uint64_t mono_ns, timer_fn *fn)
{
    t->fn = fn;
    t->at_ns = MAX(mono_ns, (uint64_t)1);
    if (t->place) {
        sift(ts, (struct entry){ t->at_ns, t }, t->place);
    } else {
        if (FIRST + ts->n == ts->cap) {
            ts->cap *= 2;
            ts->heap = xrealloc(ts->heap, ts->cap, sizeof(*ts->heap));
        }
        sift_up(ts, (struct entry){ t->at_ns, t }, FIRST + ts->n++);
    }
    arm(ts);
}

/* One that sets itself again to an instant that has passed waits for the next round: `batch` bounds
 * this one, and the sockets have their turn. */
static void on_clock(void *arg)
{
    struct timers *ts = arg;
    const uint64_t now = MAX(loop_now_ns(ts->loop), ts->armed_ns);

    ts->armed_ns = 0;
    ts->firing = true;
    for (uint32_t batch = ts->n; batch && ts->n && ts->heap[FIRST].at_ns <= now; batch--) {
        struct timer *t = ts->heap[FIRST].timer;
        timer_stop(ts, t);
        t->fn(t);
    }
    ts->firing = false;
    arm(ts);
}

struct timers *timers_new(struct loop *l)
{
    struct timers *ts = xcalloc(1, sizeof(*ts));

    ts->loop = l;
    ts->cap = 64;
    ts->heap = xcalloc(ts->cap, sizeof(*ts->heap));
    ts->clock = loop_timer_new(l, on_clock, ts);
    return ts;
}

void timers_free(struct timers *ts)
{
    if (!ts)
        return;
    for (uint32_t i = FIRST; i < FIRST + ts->n; i++)
        ts->heap[i].timer->place = 0;
    loop_timer_free(ts->clock);
    free(ts->heap);
    free(ts);
}

size_t timers_count(const struct timers *ts)
{
    return ts->n;
}
