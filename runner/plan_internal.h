/* The rows that plan_*.c read before they become the structs of plan.h. Nobody else includes this.
 */
#ifndef RUNNER_PLAN_INTERNAL_H
#define RUNNER_PLAN_INTERNAL_H

#include "runner/plan.h"
#include "runner/template.h"

/* A task or step as written: one of the methods' keys, or `request`, or `steps`. */
struct task_row {
    struct task task;                                                /* first: rows point into it */
    const char *get, *post, *put, *patch, *delete_, *head, *options; /* URL */
    const char *request;                                             /* "GET /x" */
    const char *json;                                                /* its text */
    struct pairs form;
    struct strs tags;
    struct items steps; /* struct task_row */
};

struct user_class_row {
    struct user_class cls;
    struct items tasks; /* struct task_row */
};

struct parts {
    struct load_plan_part *v;
    size_t n;
};

/* What load_root_table fills. */
struct load_root {
    const char *target;
    struct items users; /* struct user_class_row */
    struct parts load;
    struct http_plan http;
    uint64_t graceful_stop_ns, warmup_ns, max_lag_ns;
    int64_t threads, seed;
};

/* Bodies: a YAML value as JSON text, a map as a form, a file's bytes. Values of slots inside become
 * {{json(slot)}} and {{url(slot)}}, so that they cannot break out of their place. */
void json_text_load(const struct param_ctx *ctx, const struct doc *d, void *field);
const char *form_text(const struct param_ctx *ctx, const struct doc *d, const struct pairs *form);
void body_file_load(const struct param_ctx *ctx, const struct doc *d, struct task *task);
/* Adds to the front-most place that is free; replaces nothing. */
void pairs_add(const struct param_ctx *ctx, struct pairs *p, const char *key, const char *value);
const char *pairs_find(const struct pairs *p, const char *key); /* header names: no case */

void think_load(const struct param_ctx *ctx, const struct doc *d, void *field);
void parts_load(const struct param_ctx *ctx, const struct doc *d, void *field);
extern const char parts_schema[], think_schema[];

/* From flags: bare seconds are right there. */
bool doc_is_flag(const struct doc *d);
void target_check(const struct param_ctx *ctx, const struct doc *d, const char *text);
/* Header names are tokens, values have no control characters. */
void headers_check(const struct param_ctx *ctx, const struct doc *d, const struct pairs *headers);
/* Names of a class's variables and of all that its tasks extract. */
int class_var_names(struct arena *a, const struct user_class *c, struct var_names *ret);
/* All texts with slots of a class: unknown names and wrong arguments, each at its place. */
void templates_check(const struct param_ctx *ctx, const struct doc *users,
                     const struct user_class *c, size_t index);

#endif
