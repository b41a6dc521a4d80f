/* A Pumba that we start from its container image, where its program is not installed: in a
 * container of its own, with the engine's socket mounted into it. Nothing is ever pulled.
 *
 * The container carries Pumba's own label, so that no Pumba hits it, and ours. It does not end with
 * us by itself, as a process would: the guardian ends it, or `chaos-load recover`, by its name,
 * which is in the journal before it is made. */
#ifndef CHAOSLIB_PUMBA_BOX_H
#define CHAOSLIB_PUMBA_BOX_H

#include "chaoslib/docker/events.h"
#include "chaoslib/pumba/args.h"

#define PUMBA_IMAGES "ghcr.io/alexei-led/pumba and gaiaadm/pumba"

/* An image that the engine has: `named`, or one of PUMBA_IMAGES when it is NULL; with a tag, the
 * caller frees. 1: there is none. */
int pumba_image(struct docker *d, const char *named, char **ret, struct err *err) MUST_CHECK;

struct pumba_box_opts {
    struct docker *docker;
    struct docker_events *events;
    const char *image, *name, *run_id;
    char *const *argv; /* after the program's name; for the engine at PUMBA_BOX_HOST */
};
#define PUMBA_BOX_HOST "unix:///var/run/docker.sock" /* as seen from inside */

struct pumba_box;

/* Refused for an engine that has no socket to mount. */
int pumba_box_check(const struct docker *d, struct err *err) MUST_CHECK;
struct pumba_box *pumba_box_start(const struct pumba_box_opts *opts, struct err *err);
/* Its exit status in *ret_status. Does not bother the engine: to be asked as often as one likes. */
bool pumba_box_is_over(struct pumba_box *b, int *ret_status);
/* What it wrote so far. */
void pumba_box_log(struct pumba_box *b, struct buf *out);
void pumba_box_signal(struct pumba_box *b, const char *signal);
void pumba_box_free(struct pumba_box *b); /* removes the container */

/* From another process, by its name: asks it to end, kills it when it does not, removes it. How
 * many there were, or negative. */
int pumba_box_end(struct docker *d, const char *name, uint64_t grace_ns,
                  struct err *err) MUST_CHECK;

#endif
