/* The engine's event stream, followed by a thread of its own from before the first injection to
 * after the last revert; reconnected with `since` when it breaks. It is the only clock for when a
 * fault in a container really began: our own call returning says much less.
 *
 * Instants: the engine stamps with its wall clock. For an engine on this machine that is our
 * CLOCK_MONOTONIC plus an offset, taken anew for each event; for a remote one the event's arrival
 * is used instead. docker_event_within keeps it between request and reply. */
#ifndef CHAOSLIB_DOCKER_EVENTS_H
#define CHAOSLIB_DOCKER_EVENTS_H

#include "chaoslib/chaos.h"
#include "chaoslib/docker/engine.h"

#define DOCKER_EVENT_MAX ((size_t)256 << 10) /* bytes of one; longer ones are left out */

struct docker_event {
    char type[24];   /* "container", "network" */
    char action[64]; /* "die", "exec_create: tc qdisc …" is cut to "exec_create"; see detail */
    char id[72];
    char name[128];
    char image[128];
    char signal[16];  /* of kill */
    int exit_code;    /* of die and exec_die; -1: none */
    char detail[256]; /* what follows "exec_create: ", or an attribute's text (execID, container) */
    bool pumba;       /* its label com.gaiaadm.pumba[.skip] is set: a Pumba's own side-car */
    uint64_t time_nano; /* the engine's wall clock */
    uint64_t mono_ns;   /* ours */
    uint64_t seq;       /* 1, 2, 3 … in the order of arrival */
};

struct docker_events;

/* Returns when the stream is open. Podman's names are mapped to Docker's (died, remove). */
struct docker_events *docker_events_start(struct docker *d, struct err *err);
void docker_events_stop(struct docker_events *ev);

/* How often the stream was opened again: what happened while the engine was away it may not tell.
 */
uint64_t docker_events_breaks(struct docker_events *ev);
/* The number of the last event so far: a mark to take before a call. */
uint64_t docker_events_mark(struct docker_events *ev);
/* What to wait for: the first event after `mark` of that container with one of the actions
 * ("die|oom"). The last 4095 are kept. */
struct docker_event_query {
    uint64_t mark;
    const char *id;
    const char *actions;
    const char *detail;        /* NULL: any */
    const struct latch *latch; /* ends the wait; NULL: none */
    uint64_t until_ns;         /* so does this instant */
};
/* 0 found, 1 the latch was set or the instant came first. */
int docker_events_wait(struct docker_events *ev, const struct docker_event_query *q,
                       struct docker_event *ret) MUST_CHECK;
/* The first event after `mark`, of whatever container, for who follows all of them at its own pace.
 * 0 found, 1 the latch (NULL: none) was set or the instant came first. */
int docker_events_next(struct docker_events *ev, uint64_t mark, const struct latch *l,
                       uint64_t until_ns, struct docker_event *ret) MUST_CHECK;
/* Its instant, kept inside [request sent, reply received]: the engine did it in between. */
static inline uint64_t docker_event_within(const struct docker_event *e, uint64_t sent_ns,
                                           uint64_t received_ns)
{
    return MAX(sent_ns, MIN(e->mono_ns, received_ns));
}

/* For each event, in order, on the stream's thread; the event lives during the call. At most 8
 * listeners; a listener may not be removed but by docker_events_stop. */
typedef void docker_event_fn(void *arg, const struct docker_event *e);
int docker_events_listen(struct docker_events *ev, docker_event_fn *fn, void *arg,
                         struct err *err) MUST_CHECK;

/* The pure part: one line of JSON. 1: not an event we know how to read. */
int docker_event_parse(const char *line, size_t len, struct docker_event *ret,
                       struct err *err) MUST_CHECK;

#endif
