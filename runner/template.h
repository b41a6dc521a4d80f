/* Text with slots, compiled once and rendered for a user:  {"name":"item-{{random.int(1,1000)}}"}
 *
 *     {{random.int(1,1000)}}   a whole number in 1..1000, both ends included
 *     {{random.string(8)}}     8 letters and digits
 *     {{random.choice(a,b,c)}} one of them
 *     {{random.uuid}}          version 4
 *     {{user.id}}              1, 2, 3, ... over all users
 *     {{user.iteration}}       1, 2, 3, ... within the user
 *     {{time.unix}} {{time.unix_ms}} {{time.iso}}
 *     {{name}}                 a variable of the class, or a value extracted from an answer
 *     {{'{{'}}                 the two characters {{ themselves; any text in single quotes is
 * itself
 *
 * A lone { or } and }} outside a slot are plain text. All randomness comes from the user's stream,
 * so that a seed repeats the run. */
#ifndef RUNNER_TEMPLATE_H
#define RUNNER_TEMPLATE_H

#include "base/mem.h"
#include "base/param.h"
#include "base/rng.h"

#define TEMPLATE_SLOTS_MAX 1000
#define VARS_MAX 100                  /* variables and extracted values of one class */
#define VAR_VALUE_MAX ((size_t)65536) /* longer extracted values are cut */

/* The variables of a user class: names in a fixed order; slots refer to them by number. */
struct var_names {
    const char **names;
    const char **initial; /* templates; "" for values that only an extract fills */
    size_t n;
};
int var_index(const struct var_names *v, const char *name, size_t len); /* -1: unknown */

/* One user's values; zeroed means none set (each is ""). Takes memory with the first vars_set. */
struct vars {
    char **values; /* NULL, or [n]; NULL values are "" */
    uint32_t n;
};
void vars_set(struct vars *v, size_t n_names, size_t i, const char *value, size_t len);
const char *vars_get(const struct vars *v, size_t i); /* never NULL */
void vars_done(struct vars *v);

/* What a user is while it renders. Of one thread. */
struct cookies;
struct render_ctx {
    struct rng *rng;
    const struct vars *vars;       /* NULL: all are "" */
    const struct cookies *cookies; /* NULL: none */
    uint64_t user_id, iteration;
    uint64_t wall_ns; /* 0: the clock is asked when a slot or a cookie needs it */
};

struct template;

/* Compiles into the arena. -EINVAL and a sentence that names the slot when one is unknown or has
 * wrong arguments. `names` may be NULL. */
int template_compile(struct arena *a, const char *text, size_t len, const struct var_names *names,
                     const struct template **ret, struct err *err) MUST_CHECK;
bool template_is_constant(const struct template *t);
void template_render(const struct template *t, const struct render_ctx *ctx, struct buf *out);

#endif
