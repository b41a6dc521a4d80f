/* Following the engine's events on a thread of its own, and asking the engine whose a side-car is
 * while that one lives. */
#ifndef CHAOSLIB_PUMBA_WATCH_H
#define CHAOSLIB_PUMBA_WATCH_H

#include "chaoslib/pumba/hits.h"

struct pumba_watch_opts {
    struct docker *docker;
    struct docker_events *events;
    bool any;          /* see hits.h */
    const char *match; /* POSIX extended, on the container's name; NULL: all */
    /* On the watch's thread, for each new hit and each change; the hit lives during the call. May
     * be NULL. */
    pumba_hit_fn *fn;
    void *arg;
};

struct pumba_watch;

/* Follows from now on. */
struct pumba_watch *pumba_watch_start(const struct pumba_watch_opts *opts, struct err *err);
/* The hits so far, at most `max`, by value; how many. From any thread. */
size_t pumba_watch_copy(struct pumba_watch *w, struct pumba_hit *ret, size_t max);
/* After what the engine has reported by now was taken in; frees. */
void pumba_watch_stop(struct pumba_watch *w);

/* The same as a fault of kind FAULT_WATCH tells it: what watch_start and watch_stop of struct
 * fault_kind do. */
void *pumba_sight_start(const struct chaos_env *env, bool any, const char *match,
                        fault_sight_fn *fn, void *arg, struct err *err);
void pumba_sight_stop(void *sight);

/* Whose side-car it is, by the engine's answer to inspect: a container's id, 64 hex digits. Pure.
 * false: nobody's. */
bool pumba_sidecar_target(const struct json *inspected, char ret[72], bool *ret_is_stress);

#endif
