/* The upper half of report.html: the verdict, the key figures, the thresholds, and one card for
 * each fault that says what it did to the users. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "campaign/report_fmt.h"
#include "campaign/report_html.h"

static const struct {
    const char *sign, *css;
} looks[] = {
    [VERDICT_PASS] = { "✓", "pass" },    [VERDICT_FAIL] = { "✗", "fail" },
    [VERDICT_ERROR] = { "!", "fail" },   [VERDICT_STOPPED] = { "■", "warn" },
    [VERDICT_INVALID] = { "?", "warn" },
};

void html_banner(const struct result *r, struct buf *out)
{
    char started[CLOCK_ISO_LEN], text[FMT_LEN];

    clock_iso(r->started_wall_ns, started);
    buf_addf(out,
             "<header class=\"banner %s\"><div class=\"sign\" aria-hidden=\"true\">%s</div>"
             "<div class=\"what\"><p class=\"verdict\">%s</p><h1>",
             looks[r->verdict].css, looks[r->verdict].sign, verdict_name(r->verdict));
    html_run_title(r, out);
    buf_adds(out, "</h1>");
    if (r->reason) {
        buf_adds(out, "<p class=\"reason\">");
        text_html(out, r->reason);
        buf_adds(out, "</p>");
    }
    if (r->description) {
        buf_adds(out, "<p class=\"about\">");
        text_html(out, r->description);
        buf_adds(out, "</p>");
    }
    buf_adds(out, "<p class=\"meta\"><span>");
    text_html(out, r->target);
    buf_addf(out,
             "</span><span><time datetime=\"%s\">%.10s %.8s UTC</time></span><span>%s</span>"
             "<span>seed %llu</span></p></div></header>\n",
             started, started, started + 11, fmt_time(r->duration_ns, text),
             (unsigned long long)r->seed);
    if (!r->complete)
        buf_adds(out,
                 "<p class=\"notice\" role=\"note\">This run did not end by itself: the report "
                 "was rebuilt from what it had written, to its last whole second.</p>\n");
}

static void figure(struct buf *out, const char *name, const char *value, const char *more,
                   const char *css)
{
    buf_addf(out, "<div class=\"figure %s\"><dt>%s</dt><dd>%s<small>%s</small></dd></div>\n", css,
             name, value, more);
}

static void figure_faults(const struct result *r, struct buf *out)
{
    unsigned felt = 0, never = 0;
    uint64_t worst = 0;
    char value[FMT_LEN], text[FMT_LEN];

    for (size_t i = 0; i < r->n_faults; i++) {
        const struct result_fault *f = &r->faults[i];
        felt += f->felt;
        never += f->felt && f->time_to_recover_ns == T_NONE;
        if (f->felt && f->time_to_recover_ns != T_NONE)
            worst = MAX(worst, f->time_to_recover_ns);
    }
    if (r->n_faults == 0)
        return;
    snprintf(value, sizeof(value), "%u of %zu", felt, r->n_faults);
    figure(out, "Faults felt", value, "by the users", "");
    if (never) {
        snprintf(value, sizeof(value), "%u not", never);
        figure(out, "Recovered", value, "seen to recover", "bad");
    } else if (felt) {
        figure(out, "Slowest recovery", fmt_time(worst, text), "from the fault's begin", "");
    }
}

void html_figures(const struct result *r, struct buf *out)
{
    const struct cell *c = &r->total;
    const struct hist *h = judged_hist(r, c);
    static const struct {
        const char *name;
        double q;
    } quantiles[] = { { "p50", 0.5 }, { "p95", 0.95 }, { "p99", 0.99 } };
    char a[FMT_LEN], b[FMT_LEN], more[2 * FMT_LEN];

    buf_adds(out, "<dl class=\"figures\">\n");
    snprintf(more, sizeof(more), "%s on average",
             fmt_rate(rate_over(cell_requests(c), r->duration_ns), b));
    figure(out, "Requests", fmt_count(cell_requests(c), a), more, "");
    snprintf(more, sizeof(more), "%s of all", fmt_share(share_of(c->n_fail, cell_requests(c)), b));
    figure(out, "Failed", fmt_count(c->n_fail, a), more, c->n_fail ? "bad" : "good");
    if (c->fails[FAIL_DROPPED])
        figure(out, "Dropped", fmt_count(c->fails[FAIL_DROPPED], a), "arrivals without a user",
               "bad");
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++)
        figure(out, quantiles[i].name,
               fmt_time(h->count ? hist_quantile_ns(h, quantiles[i].q) : T_NONE, a), judged_name(r),
               "");
    snprintf(more, sizeof(more), "%s load", r->open_load ? "open" : "closed");
    figure(out, "Users at most", fmt_count(r->users_max, a), more, "");
    figure_faults(r, out);
    buf_adds(out, "</dl>\n");
}

static void threshold_row(const struct result *r, const struct result_threshold *t, struct buf *out)
{
    char text[FMT_LEN];
    const char *state = t->ok ? "holds" : t->has_value ? "broken" : "no value";

    buf_addf(out, "<tr class=\"%s\"><th scope=\"row\"><span class=\"tick\">%s</span> <code>",
             t->ok ? "ok" : "no", t->ok ? "✓" : "✗");
    text_html(out, t->expression);
    buf_addf(out, "</code></th><td>%s%s</td>", state, t->aborted ? ", ended the run" : "");
    if (t->has_value)
        html_cell(out, t->value, fmt_measured(t, text));
    else
        html_cell(out, -1, r->complete ? "no sample" : "not judged");
    html_cell(out, t->limit, fmt_value(t->limit, t->unit, text));
    bool when = !t->ok && t->first_broken_ns != T_NONE;
    html_cell(out, when ? (double)t->first_broken_ns : -1,
              when ? fmt_instant(t->first_broken_ns, text) : "");
    buf_adds(out, "</tr>\n");
}

void html_thresholds(const struct result *r, struct buf *out)
{
    static const char *const heads[] = { "Threshold", "State",        "Value",
                                         "Limit",     "First broken", NULL };

    if (r->n_thresholds == 0) {
        buf_adds(out, "<p class=\"none\">No threshold was set: the verdict only says that the run "
                      "was valid. Add one, for instance "
                      "<code>--threshold 'errors: rate &lt; 1%'</code>.</p>\n");
        return;
    }
    html_table_begin(out, "Thresholds with their values and limits", heads);
    for (size_t i = 0; i < r->n_thresholds; i++)
        threshold_row(r, &r->thresholds[i], out);
    html_table_end(out);
}

/* ---- faults ---- */

#define CARD_HITS_MAX 30

static void fact(struct buf *out, const char *name, const char *value, const char *help)
{
    buf_addf(out, "<div%s%s%s><dt>%s</dt><dd>%s</dd></div>", *help ? " title=\"" : "", help,
             *help ? "\"" : "", name, value);
}

static const char *off_plan(const struct result_fault *f, char out[2 * FMT_LEN])
{
    char text[FMT_LEN];

    if (f->effective_ns == T_NONE || f->planned_ns == T_NONE)
        return "";
    bool late = f->effective_ns >= f->planned_ns;
    uint64_t off = late ? f->effective_ns - f->planned_ns : f->planned_ns - f->effective_ns;
    snprintf(out, 2 * FMT_LEN, " <small>%s%s</small>", late ? "+" : "−", fmt_time(off, text));
    return out;
}

static const char *with_error_bar(uint64_t ns, const struct result_fault *f, const char *none,
                                  char out[2 * FMT_LEN])
{
    char a[FMT_LEN], b[FMT_LEN];

    if (ns == T_NONE)
        return none;
    if (ns < f->resolution_ns) {
        snprintf(out, 2 * FMT_LEN, "&lt; %s", fmt_time(f->resolution_ns, a));
        return out;
    }
    snprintf(out, 2 * FMT_LEN, "%s <small>± %s</small>", fmt_time(ns, a),
             fmt_time(f->resolution_ns, b));
    return out;
}

static void fault_instants(const struct result_fault *f, struct buf *out)
{
    char a[FMT_LEN], b[2 * FMT_LEN];
    auto_free char *effective = xasprintf("%s%s", fmt_instant(f->effective_ns, a), off_plan(f, b));

    fact(out, "planned", fmt_instant(f->planned_ns, a), "");
    fact(out, "in effect", effective,
         "the instant at which it was really in, and how far off plan");
    fact(out, "reverted",
         f->one_shot && f->reverted_ns == T_NONE ? "one shot" : fmt_instant(f->reverted_ns, a), "");
    fact(out, "verified", f->verified_in ? f->verified_out ? "in and out" : "in" : "no",
         "whether it was checked that the fault was in, and that it was out again");
}

static void fault_impact(const struct result_fault *f, struct buf *out)
{
    char a[2 * FMT_LEN];

    fact(out, "time to impact", with_error_bar(f->time_to_impact_ns, f, "–", a),
         "from in effect to the first second that users felt");
    fact(out, "time to recover",
         with_error_bar(f->time_to_recover_ns, f, f->felt ? "<b>not seen</b>" : "–", a),
         "from in effect to the first second of a well hold");
    fact(out, "after removal", with_error_bar(f->time_to_recover_after_removal_ns, f, "–", a),
         "from reverted to the first second of a well hold");
    fact(out, "well for", fmt_time(f->recover_hold_ns, a), "how long it had to be well to count");
    fact(out, "requests lost", fmt_count(f->requests_lost, a), "failures until users recovered");
    fact(out, "requests slow", fmt_count(f->requests_slow, a),
         "successes beyond the objective or the baseline's p99, until users recovered");
    fact(out, "good meanwhile", fmt_share(f->good_share, a),
         "good requests, of those that the baseline's rate would have had");
}

static void fault_worst(const struct result_fault *f, struct buf *out)
{
    char when[FMT_LEN], share[FMT_LEN], p95[FMT_LEN];

    if (f->worst_window_ns == T_NONE)
        return;
    auto_free char *text = xasprintf(
        "%s failed%s%s <small>at %s</small>", fmt_share(f->worst_window_error_rate, share),
        f->worst_window_p95_ns ? ", p95 " : "",
        f->worst_window_p95_ns ? fmt_time(f->worst_window_p95_ns, p95) : "",
        fmt_instant(f->worst_window_ns, when));
    fact(out, "worst second", text, "");
}

/* Each thing that was hit, where there are several: the card's own line names only the first few.
 */
static void fault_targets(const struct result_fault *f, struct buf *out)
{
    char from[FMT_LEN], to[FMT_LEN];

    if (f->n_hits < 2)
        return;
    buf_adds(out, "<p class=\"target\">");
    for (size_t i = 0; i < MIN(f->n_hits, CARD_HITS_MAX); i++) {
        const struct result_hit *h = &f->hits[i];
        buf_adds(out, i ? " · " : "");
        text_html(out, h->name);
        if (h->effective_ns == T_NONE)
            buf_adds(out, " <small>not hit</small>");
        else
            buf_addf(out, " <small>%s–%s</small>", fmt_instant(h->effective_ns, from),
                     h->reverted_ns == T_NONE ? "" : fmt_instant(h->reverted_ns, to));
    }
    if (f->n_hits > CARD_HITS_MAX)
        buf_addf(out, " · %zu more", f->n_hits - CARD_HITS_MAX);
    buf_adds(out, "</p>");
}

static void fault_card(const struct result *r, const struct result_fault *f, struct buf *out)
{
    auto_buf struct buf name = BUF_INIT((size_t)64 << 10);
    bool was_in = f->effective_ns != T_NONE;
    bool recovered = f->felt && f->time_to_recover_ns != T_NONE;
    const char *css = f->error || !was_in ? "failed"
                      : !f->felt          ? "unfelt"
                      : recovered         ? "well"
                                          : "ill";
    const char *chip = !was_in     ? "did not happen"
                       : !f->felt  ? "not felt"
                       : recovered ? "felt, recovered"
                                   : "felt, not recovered";

    fault_title(r, f, &name);
    buf_addf(out, "<article class=\"card fault %s\"><h3>", css);
    text_html(out, buf_str(&name));
    buf_addf(out, "<span class=\"chip\">%s</span></h3><p class=\"target\">", chip);
    text_html(out, f->kind);
    buf_adds(out, " → ");
    text_html(out, f->target);
    if (f->mechanism && *f->mechanism) {
        buf_adds(out, " <small>by ");
        text_html(out, f->mechanism);
        buf_adds(out, "</small>");
    }
    buf_adds(out, "</p>");
    fault_targets(f, out);
    if (f->error) {
        buf_adds(out, "<p class=\"error\">");
        text_html(out, f->error);
        buf_adds(out, "</p>");
    }
    buf_adds(out, "<dl>");
    fault_instants(f, out);
    if (was_in) {
        fault_impact(f, out);
        fault_worst(f, out);
    }
    buf_adds(out, "</dl></article>\n");
}

void html_faults(const struct result *r, struct buf *out)
{
    if (r->n_faults == 0)
        buf_adds(out, "<p class=\"none\">No fault was planned.</p>\n");
    for (size_t i = 0; i < r->n_faults; i++)
        fault_card(r, &r->faults[i], out);
}
