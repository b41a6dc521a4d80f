/* What a Pumba left behind, taken back by us: it undoes what it did on SIGTERM, and nothing when it
 * was killed. A container that it left paused or stopped, and in a container's network namespace
 * what is provably its own (residue.h). */
#ifndef CHAOSLIB_PUMBA_MEND_H
#define CHAOSLIB_PUMBA_MEND_H

#include "chaoslib/docker/select.h"
#include "chaoslib/pumba/args.h"

/* Before Pumba is started, for the journal: what it might leave, in whom, and what of that is there
 * already and so is somebody else's. */
struct json *pumba_mend_plan(struct docker *d, const struct pumba_line *l,
                             const struct docker_targets *t);
/* One container, by what was planned; from the journal too. 0 mended, 1 nothing of it is there, 2
 * it cannot be looked at. Errors say what is to be done by hand. */
int pumba_mend(struct docker *d, const struct json *plan, const char *id,
               struct err *err) MUST_CHECK;
/* All of them; *ret_n were mended. */
int pumba_mend_all(struct docker *d, const struct json *plan, size_t *ret_n,
                   struct err *err) MUST_CHECK;

#endif
