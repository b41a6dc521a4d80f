/* See explain_load.h. How many requests there would be is said only where the plan says it: without
 * pauses, closed load sends as many as the target answers. */
#include "cli/explain_load.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define STEPS_PER_PART 1000

static const char *instant(uint64_t ns, char out[DURATION_TEXT_MAX])
{
    return ns ? duration_text(ns, out) : "0s";
}

/* ---- who ---- */

static double mean_think_s(const struct think *t)
{
    double a = (double)t->a_ns / (double)NS_PER_SEC, b = (double)t->b_ns / (double)NS_PER_SEC;

    return t->kind == THINK_NONE ? 0 : t->kind == THINK_BETWEEN ? (a + b) / 2 : a;
}

static void print_think(const struct think *t)
{
    static const char *const names[] = { [THINK_NONE] = "no pause",
                                         [THINK_CONSTANT] = "pause of %s after each",
                                         [THINK_BETWEEN] = "pause of %s to ",
                                         [THINK_PACING] = "one iteration each %s",
                                         [THINK_EXPONENTIAL] =
                                             "pause of %s on average, exponential" };
    char a[DURATION_TEXT_MAX], b[DURATION_TEXT_MAX];
    const char *text = names[t->kind];
    const char *slot = strstr(text, "%s");

    if (!slot) {
        printf("%s", text);
        return;
    }
    printf("%.*s%s%s", (int)(slot - text), text, duration_text(t->a_ns, a), slot + 2);
    if (t->kind == THINK_BETWEEN)
        printf("%s after each", duration_text(t->b_ns, b));
}

static double weight_sum(const struct user_class *c)
{
    double sum = 0;

    for (size_t i = 0; i < c->n_tasks; i++)
        sum += c->tasks[i].weight;
    return sum;
}

static void print_task(const struct task *t, double share, bool sequential)
{
    if (sequential)
        printf("      in turn  ");
    else
        printf("      %5.1f %%  ", share * 100);
    printf("%s", t->name);
    for (size_t i = 0; i < t->n_steps; i++)
        printf("%s%s", i ? ", then " : ": ", t->steps[i].name);
    printf("\n");
}

static void print_classes(const struct load_plan *load)
{
    printf("Users\n");
    for (size_t i = 0; i < load->n_classes; i++) {
        const struct user_class *c = &load->classes[i];

        printf("  %s", c->name);
        if (c->fixed_count)
            printf(" (%lld)", (long long)c->fixed_count);
        else if (load->n_classes > 1)
            printf(" (weight %g)", c->weight);
        printf(": ");
        print_think(&c->think);
        printf("%s%s\n", c->host ? ", on " : "", c->host ? c->host : "");
        for (size_t k = 0; k < c->n_tasks; k++)
            print_task(&c->tasks[k], c->tasks[k].weight / weight_sum(c), c->sequential);
    }
}

/* ---- how much ---- */

static double integral(const struct load_plan_part *p,
                       double unit(double, const struct load_plan *), const struct load_plan *load)
{
    double step = (double)p->duration_ns / STEPS_PER_PART, sum = 0;

    for (int i = 0; i < STEPS_PER_PART; i++)
        sum += unit(load_part_value_at(p, (uint64_t)((i + 0.5) * step)), load);
    return sum * step / (double)NS_PER_SEC;
}

static double requests_per_iteration(const struct user_class *c)
{
    double sum = 0, weights = weight_sum(c);

    for (size_t i = 0; i < c->n_tasks; i++)
        sum += (double)MAX(c->tasks[i].n_steps, 1) *
               (weights > 0 ? c->tasks[i].weight / weights : 1.0 / (double)c->n_tasks);
    return sum;
}

/* Requests per second of so many users when answers take no time; INFINITY without pauses. */
static double users_rate(double users, const struct load_plan *load)
{
    double weights = 0, rate = 0;

    for (size_t i = 0; i < load->n_classes; i++)
        weights += load->classes[i].weight;
    for (size_t i = 0; i < load->n_classes; i++) {
        const struct user_class *c = &load->classes[i];
        double mean = mean_think_s(&c->think);
        double own = weights > 0 ? users * c->weight / weights : users;

        if (own > 0 && mean <= 0)
            return (double)INFINITY;
        rate += own > 0 ? own / mean * requests_per_iteration(c) : 0;
    }
    return rate;
}

static double arrivals_rate(double per_second, const struct load_plan *load)
{
    double weights = 0, requests = 0;

    for (size_t i = 0; i < load->n_classes; i++) {
        weights += load->classes[i].weight;
        requests += load->classes[i].weight * requests_per_iteration(&load->classes[i]);
    }
    return per_second * (weights > 0 ? requests / weights : 1);
}

static void print_stages(const struct load_plan_part *p)
{
    const char *unit = p->kind == LOAD_OPEN ? "/s" : " users";
    char at[DURATION_TEXT_MAX];
    uint64_t t = 0;

    printf("      %-10s %.6g%s\n", instant(p->start_ns, at), load_part_value_at(p, 0), unit);
    for (size_t i = 0; i < p->n_stages; i++) {
        const struct stage_plan *s = &p->stages[i];

        if (s->spawn_rate > 0 && s->duration_ns > 0) {
            double ramp_s = fabs(s->target - load_part_value_at(p, t)) / s->spawn_rate;
            uint64_t full = t + (uint64_t)(ramp_s * (double)NS_PER_SEC);

            if (full > t && full < t + s->duration_ns)
                printf("      %-10s %.6g%s\n", duration_text(p->start_ns + full, at), s->target,
                       unit);
        }
        t += s->duration_ns;
        if (s->duration_ns)
            printf("      %-10s %.6g%s%s%s\n", duration_text(p->start_ns + t, at),
                   load_part_value_at(p, t - 1), unit, s->name ? "  " : "", s->name ? s->name : "");
    }
}

static void print_amount(const struct load_plan_part *p, const struct load_plan *load)
{
    if (p->iterations)
        printf("      ends after %llu iterations\n", (unsigned long long)p->iterations);
    if (!p->duration_ns) {
        if (!p->iterations)
            printf("      until Ctrl-C\n");
        return;
    }
    double n = integral(p, p->kind == LOAD_OPEN ? arrivals_rate : users_rate, load);
    if (isinf(n))
        printf("      as many requests as the target answers: there are no pauses\n");
    else
        printf("      %s %.0f requests\n", p->kind == LOAD_OPEN ? "about" : "at most about", n);
}

static void print_load(const struct load_plan *load)
{
    printf("Load\n");
    for (size_t i = 0; i < load->n_parts; i++) {
        const struct load_plan_part *p = &load->parts[i];

        printf("  %s: %s%s%s\n", p->name,
               p->kind == LOAD_CLOSED          ? "closed, users that wait for their answers"
               : p->process == ARRIVAL_POISSON ? "open, arrivals at random (Poisson)"
                                               : "open, arrivals evenly spaced",
               p->only_class ? ", only " : "", p->only_class ? p->only_class : "");
        print_stages(p);
        print_amount(p, load);
    }
}

void explain_load(const struct load_plan *load)
{
    print_classes(load);
    print_load(load);
}
