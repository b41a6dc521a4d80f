/* A load plan from YAML text, for tests: what it holds, or what is wrong with it. */
#ifndef TESTS_PLAN_TEXT_H
#define TESTS_PLAN_TEXT_H

#include "edge/yaml.h"
#include "runner/plan.h"

struct plan_text {
    struct arena *arena;
    struct diag diag;
    struct load_plan plan;
};

static inline void plan_text_read(struct plan_text *p, const char *source, const char *yaml,
                                  size_t len)
{
    struct doc *root = NULL;

    *p = (struct plan_text){ .arena = arena_new(0) };
    diag_init(&p->diag);
    if (yaml_load(source, yaml, len, p->arena, &p->diag, &root) == 0)
        load_plan_read(&(struct param_ctx){ .arena = p->arena, .diag = &p->diag }, root, &p->plan);
}

static inline void plan_text_done(struct plan_text *p)
{
    diag_done(&p->diag);
    arena_free(p->arena);
}

#endif
