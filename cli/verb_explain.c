/* `explain`: the plan as a story: who does what, how many, when what breaks, what must hold. Sends
 * nothing and starts nothing; the timeline is the very one that the run will use. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "campaign/campaign.h"
#include "cli/flags.h"
#include "cli/plan_source.h"
#include "cli/verbs.h"

#define ACTIVATIONS_SHOWN 40
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

/* ---- what breaks ---- */

static void print_activation(const struct plan *p, const struct activation *a)
{
    const struct fault_plan *f = &p->faults[a->fault];
    char at[DURATION_TEXT_MAX], end[DURATION_TEXT_MAX];

    if (a->planned_ns == UINT64_MAX) {
        printf("  after '%s'%s%s: %s", f->after, f->at_ns ? " + " : "",
               f->at_ns ? duration_text(f->at_ns, at) : "", f->name);
        if (f->duration_ns)
            printf(" for %s", duration_text(f->duration_ns, end));
    } else {
        printf("  %-12s %s", duration_text(a->planned_ns, at), f->name);
        if (f->duration_ns)
            printf(", until %s", duration_text(a->planned_ns + f->duration_ns, end));
    }
    if (f->every_ns)
        printf("  (#%u)", a->number + 1);
    printf("%s\n", f->serial ? "  not while another fault is active" : "");
}

static void print_faults(const struct plan *p)
{
    struct activation acts[ACTIVATIONS_MAX];
    size_t n = timeline_build(p, acts, ACTIVATIONS_MAX);

    if (!p->n_faults)
        return;
    printf("Faults\n");
    for (size_t i = 0; i < n && i < ACTIVATIONS_SHOWN; i++)
        print_activation(p, &acts[i]);
    if (n > ACTIVATIONS_SHOWN)
        printf("  ... and %zu more\n", n - ACTIVATIONS_SHOWN);
    for (size_t i = 0; i < p->n_faults; i++)
        if (p->faults[i].spec.kind->flags & FAULT_INTRUSIVE)
            printf("  note: '%s' cannot be undone by this program\n", p->faults[i].name);
    if (p->target_proxy)
        printf("  an embedded proxy '%s' stands before the target\n", p->target_proxy);
}

static void print_thresholds(const struct plan *p)
{
    char delay[DURATION_TEXT_MAX];

    printf("Thresholds\n");
    for (size_t i = 0; i < p->n_thresholds; i++) {
        const struct threshold *t = &p->thresholds[i];

        printf("  %s%s", t->expression, t->abort ? "  (aborts the run" : "");
        if (t->abort && t->delay_abort_ns)
            printf(", not before %s", duration_text(t->delay_abort_ns, delay));
        printf("%s\n", t->abort ? ")" : "");
    }
    if (!p->n_thresholds)
        printf("  none: the run passes when it can be done\n");
}

static int explain(const struct verb *v, const struct verb_args *args)
{
    struct plan p;
    char length[DURATION_TEXT_MAX];
    int rc = plan_from_args(args, &p);

    (void)v;
    if (rc == 0) {
        printf("%s\n", p.name);
        if (p.description)
            printf("%s\n", p.description);
        if (p.embedded)
            printf("Target: the demo server '%s', started by the run\n", p.embedded);
        else
            printf("Target: %s\n", p.load.target);
        printf("Length: %s; seed %llu\n\n",
               p.load.duration_ns ? duration_text(p.load.duration_ns, length) : "no fixed end",
               (unsigned long long)p.load.seed);
        for (size_t i = 0; i < p.n_processes; i++)
            printf("Process %s: %s\n", p.processes[i].name,
                   p.processes[i].run.n ? "started by the run" : "running already");
        print_classes(&p.load);
        print_load(&p.load);
        print_faults(&p);
        print_thresholds(&p);
    }
    plan_free(&p);
    return rc;
}

const struct verb verb_explain = {
    .name = "explain",
    .summary = "tell what a plan would do, without doing it",
    .usage = "explain [OPTIONS] [PLAN.yaml]",
    .description =
        "Prints who would do what, how much load there would be, when which fault would begin "
        "and end, and what would be judged. Takes the options of 'run'. Sends nothing and starts "
        "nothing. What is drawn at random is drawn with the seed, so give --seed to see what a "
        "run with that seed will do.",
    .examples = "chaos-load explain plan.yaml\nchaos-load explain plan.yaml -t 30s --seed 7",
    .opts = plan_options,
    .run = explain,
};
