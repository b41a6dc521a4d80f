/* Whom a machine fault hits, one process each: a process by name, or the first process of each
 * chosen container. Inside chaoslib only. */
#ifndef CHAOSLIB_MACHINE_PLACE_H
#define CHAOSLIB_MACHINE_PLACE_H

#include "chaoslib/docker/select.h"
#include "chaoslib/process/target.h"

/* First in the params of every kind; the backend says which of them counts. */
struct place_at {
    const char *process, *host;
    struct docker_select docker;
    int placement;
};

struct places {
    struct target *v; /* their names are owned by `containers`, or by the plan */
    size_t n;
    struct docker_targets containers;
};

/* Resolves them, and fills r->target and r->hits. This machine is one target without a pidfd. */
int places_open(struct fault_run *r, const struct place_at *at, struct places *ret,
                struct err *err) MUST_CHECK;
void places_close(struct places *p);

#endif
