/* The verdict: one word, one sentence, one exit code. The worst reason wins: could not do our job,
 * interrupted, the generator was the limit, a threshold said no. */
#include <stdio.h>

#include "base/clock.h"
#include "campaign/state.h"

static void decide(struct result *r, enum verdict v, int exit_code, char *reason)
{
    free(r->reason);
    r->verdict = v;
    r->exit_code = exit_code;
    r->reason = reason;
}

/* The first fault that could not do its work, as a sentence; NULL when all could. */
static char *broken_fault(const struct campaign *c)
{
    for (size_t i = 0; i < c->n_slots; i++) {
        const struct slot *s = &c->slots[i];
        const char *name = c->plan->faults[s->act.fault].name;
        if (!s->launched)
            continue;
        if (err_is_set(&s->seen.revert_err))
            return xasprintf("fault '%s' could not be undone: %s (run 'chaos-load recover')", name,
                             s->seen.revert_err.msg);
        if (err_is_set(&s->seen.err) && s->seen.err.kind != ERR_ABORTED)
            return xasprintf("fault '%s' could not be injected: %s", name, s->seen.err.msg);
    }
    return NULL;
}

/* Why the generator, and not the target, was the limit; NULL when it was not. */
static char *generator_limit(const struct campaign *c)
{
    const struct result *r = c->result;
    bool paced = r->open_load;

    for (size_t i = 0; i < c->load.n_classes; i++)
        paced = paced || c->load.classes[i].think.kind != THINK_NONE;
    if (r->total.fails[FAIL_INTERNAL] > 0)
        return xasprintf("the generator was the limit: it ran out of files, local ports or memory "
                         "for %llu requests",
                         (unsigned long long)r->total.fails[FAIL_INTERNAL]);
    if (r->lag_p99_ns > c->load.max_lag_ns)
        return xasprintf(
            "the generator was the limit: it was late by %.1f ms at p99 (limit %.1f ms)",
            ns_to_ms(r->lag_p99_ns), ns_to_ms(c->load.max_lag_ns));
    /* A closed load without think time asks for all the generator can do; a paced one must not need
     * it. */
    if (paced && c->seconds >= 3 && c->busy_seconds * 2 > c->seconds)
        return xasprintf("the generator was the limit: a worker used more than 95 %% of its CPU in "
                         "%u of %u seconds",
                         c->busy_seconds, c->seconds);
    return NULL;
}

static char *broken_thresholds(const struct result *r)
{
    const struct result_threshold *first = NULL;
    unsigned n = 0;

    for (size_t i = 0; i < r->n_thresholds; i++) {
        if (r->thresholds[i].ok)
            continue;
        if (!first || (r->thresholds[i].aborted && !first->aborted))
            first = &r->thresholds[i];
        n++;
    }
    if (!first)
        return NULL;
    char more[48] = "";
    if (n > 1)
        snprintf(more, sizeof(more), " (and %u more)", n - 1);
    if (!first->has_value)
        return xasprintf("'%s' measured nothing%s", first->expression, more);
    const char *what = first->aborted ? "stopped by" : "broken";
    double scale = first->unit[0] == 'r' ? 100 : 1;
    const char *unit = first->unit[0] == 'r' ? "%" : first->unit;
    return xasprintf("%s: '%s', it was %s%.4g%s%s%s", what, first->expression,
                     first->at_least ? "at least " : "", first->value * scale, unit[0] ? " " : "",
                     unit, more);
}

void verdict_decide(struct campaign *c)
{
    struct result *r = c->result;
    char *why;

    r->lag_p99_ns = hist_quantile_ns(&r->total.lateness, 0.99);
    if (err_is_set(&c->failed))
        decide(r, VERDICT_ERROR, EXIT_COULD_NOT_RUN, xstrdup(c->failed.msg));
    else if ((why = broken_fault(c)))
        decide(r, VERDICT_ERROR, EXIT_COULD_NOT_RUN, why);
    else if (c->signals)
        decide(r, VERDICT_STOPPED, EXIT_INTERRUPTED, xstrdup("interrupted; everything was undone"));
    else if ((why = generator_limit(c)))
        decide(r, VERDICT_INVALID, EXIT_INVALID, why);
    else if ((why = broken_thresholds(r)))
        decide(r, VERDICT_FAIL, EXIT_FAILED, why);
    else if (r->n_thresholds)
        decide(r, VERDICT_PASS, EXIT_PASS,
               r->n_thresholds == 1 ? xstrdup("the threshold holds")
                                    : xasprintf("all %zu thresholds hold", r->n_thresholds));
    else
        decide(r, VERDICT_PASS, EXIT_PASS, xstrdup("no thresholds were set: nothing was judged"));
}
