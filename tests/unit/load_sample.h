/* Small load plans for tests of the runner, made by hand instead of parsed: a test then says
 * exactly what it depends on. */
#ifndef TESTS_UNIT_LOAD_SAMPLE_H
#define TESTS_UNIT_LOAD_SAMPLE_H

#include <stdio.h>

#include "runner/plan.h"

#define SAMPLE_CLASSES 3
#define SAMPLE_TASKS 4
#define SAMPLE_PARTS 2
#define SAMPLE_STAGES 4

struct load_sample {
    struct load_plan plan;
    struct user_class classes[SAMPLE_CLASSES];
    struct task tasks[SAMPLE_CLASSES][SAMPLE_TASKS];
    struct load_plan_part parts[SAMPLE_PARTS];
    struct stage_plan stages[SAMPLE_PARTS][SAMPLE_STAGES];
    const struct task *forms[SAMPLE_CLASSES * SAMPLE_TASKS];
    const struct task *series[SAMPLE_CLASSES * SAMPLE_TASKS];
    char target[64];
};

/* One class "website" with the one task GET /, no think time, no load yet. */
static inline void sample_init(struct load_sample *s)
{
    *s = (struct load_sample){ 0 };
    snprintf(s->target, sizeof s->target, "http://127.0.0.1:1");
    s->plan = (struct load_plan){ .target = s->target,
                                  .classes = s->classes,
                                  .parts = s->parts,
                                  .series = s->series,
                                  .forms = s->forms,
                                  .graceful_stop_ns = 5 * NS_PER_SEC,
                                  .max_lag_ns = 100 * NS_PER_MS,
                                  .seed = 7 };
    s->plan.http = (struct http_plan){ .timeout_ns = 10 * NS_PER_SEC,
                                       .connect_timeout_ns = 2 * NS_PER_SEC,
                                       .follow_redirects = true,
                                       .max_redirects = 5,
                                       .keep_alive = true,
                                       .cookies = true,
                                       .dns = DNS_TTL,
                                       .dns_ttl_ns = 30 * NS_PER_SEC,
                                       .engine = "auto",
                                       .http_version = "1.1",
                                       .tls = { .verify = true, .resume = true } };
}

static inline struct user_class *sample_class(struct load_sample *s, const char *name,
                                              double weight)
{
    struct user_class *k = &s->classes[s->plan.n_classes];

    *k =
        (struct user_class){ .name = name, .weight = weight, .tasks = s->tasks[s->plan.n_classes] };
    s->plan.n_classes++;
    return k;
}

static inline struct task *sample_task(struct load_sample *s, struct user_class *k,
                                       const char *name, const char *url, double weight)
{
    struct task *t = &k->tasks[k->n_tasks++];

    *t = (struct task){ .name = name,
                        .method = "GET",
                        .url = url,
                        .weight = weight,
                        .index = s->plan.n_series,
                        .form = s->plan.n_forms,
                        .user_class = (uint32_t)(k - s->classes) };
    s->series[s->plan.n_series++] = t;
    s->forms[s->plan.n_forms++] = t;
    return t;
}

static inline struct load_plan_part *sample_part(struct load_sample *s, enum load_kind kind)
{
    struct load_plan_part *p = &s->parts[s->plan.n_parts];

    *p = (struct load_plan_part){
        .name = "load", .kind = kind, .stages = s->stages[s->plan.n_parts], .max_users = 100
    };
    s->plan.n_parts++;
    return p;
}

static inline void sample_stage(struct load_plan_part *p, uint64_t duration_ns, double target,
                                double spawn_rate)
{
    p->stages[p->n_stages++] = (struct stage_plan){ .duration_ns = duration_ns,
                                                    .target = target,
                                                    .spawn_rate = spawn_rate };
    p->duration_ns += duration_ns;
}

#endif
