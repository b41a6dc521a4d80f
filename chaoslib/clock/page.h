/* What says how the clocks of a process are skewed: a page of memory that we hold and that the
 * object preloaded into the process reads at each look at a clock. It expires by itself. */
#ifndef CHAOSLIB_CLOCK_PAGE_H
#define CHAOSLIB_CLOCK_PAGE_H

#include <stdatomic.h>
#include <stdint.h>

/* Names the page's file in the environment of who has the object preloaded. */
#define CLOCK_PAGE_ENV "CHAOS_LOAD_CLOCK"

enum clock_set { CLOCKS_REALTIME = 1, CLOCKS_MONOTONIC = 2 };

/* until_ns is written last and taken away first. */
struct clock_page {
    _Atomic uint64_t until_ns; /* CLOCK_MONOTONIC as the kernel tells it; 0: not skewed */
    _Atomic int64_t offset_ns;
    _Atomic unsigned clocks; /* enum clock_set */
};

#endif
