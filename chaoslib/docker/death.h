/* The instant at which a container's first process ended, by its pidfd. An engine on this machine
 * tells `die` only when it has dealt with the exit, tens of milliseconds later; users feel it from
 * here on. Inside chaoslib/docker only. */
#ifndef CHAOSLIB_DOCKER_DEATH_H
#define CHAOSLIB_DOCKER_DEATH_H

#include "base/err.h"

struct death;

/* Begins to watch, on a thread of its own. NULL when that process cannot be watched from here. */
struct death *death_watch(pid_t pid);
/* CLOCK_MONOTONIC ns; 0: it lives. Ends the watch; NULL is nothing. */
uint64_t death_instant(struct death *d);

#endif
