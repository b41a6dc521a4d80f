/* Which containers a fault hits: `docker: shop-1`, `docker: [a, b]`, or a map
 *
 *     docker: {names: [a, b], match: '^shop', label: app=db, compose: lab/web, image: nginx,
 *              mode: percent, percent: 50, count: 2, allow_empty: true}
 *
 * All conditions must hold (AND); several labels too. mode: one | all | count | percent (rounded
 * up, at least 1), default all for names and one for everything else; chosen with the activation's
 * generator. Never chosen: what carries the label chaos-load.skip=true, com.gaiaadm.pumba=true or
 * com.gaiaadm.pumba.skip=true. Resolved once per activation; nobody is an ERR_TARGET error unless
 * allow_empty. A name that is not there is an error even when others are. */
#ifndef CHAOSLIB_DOCKER_SELECT_H
#define CHAOSLIB_DOCKER_SELECT_H

#include "base/param.h"
#include "base/rng.h"
#include "chaoslib/docker/engine.h"

#define DOCKER_TARGETS_MAX 1000

enum docker_mode { DOCKER_MODE_DEFAULT, DOCKER_ONE, DOCKER_ALL, DOCKER_COUNT, DOCKER_PERCENT };

struct docker_select {
    struct strs names;
    const char *match; /* POSIX extended, unanchored, on the name without slash */
    struct strs labels;
    const char *compose; /* project, or project/service */
    const char *image;
    int mode; /* enum docker_mode */
    int64_t count;
    double percent; /* 0..1 */
    bool allow_empty;
};

/* The row of a kind's table that names the target:  DOCKER_PARAM(struct kill_params, docker). */
extern const char docker_select_schema[];
void docker_select_load(const struct param_ctx *ctx, const struct doc *d, void *field);
#define DOCKER_PARAM(struct_, field_)                                                             \
    PARAM(CUSTOM, "docker", struct_, field_, .required = true, .load = docker_select_load,        \
          .schema_json = docker_select_schema, .type_text = "container or selection",             \
          .help = "a container's name, a list of names, or a map: names, match, label, compose, " \
                  "image, mode (one, all, count, percent), count, percent, allow_empty")

enum docker_state { DOCKER_RUNNING, DOCKER_ANY }; /* running, paused ones included; or all */

/* The chosen ones, inspected, by name. */
struct docker_targets {
    struct docker_container *v; /* for the caller to free */
    size_t n;                   /* may be 0 with allow_empty */
};
int docker_select(struct docker *d, const struct docker_select *s, enum docker_state state,
                  struct rng *rng, struct docker_targets *ret, struct err *err) MUST_CHECK;
/* "container shop-1 (3f2a1b…)", "3 containers: shop-1, shop-2, …" into r->target. */
void docker_say_targets(const struct docker_container *v, size_t n, char out[256]);

#endif
