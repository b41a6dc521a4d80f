/* The lower half of report.html: phases, endpoints, their matrix, failures, the generator's own
 * health, and how to repeat the run. */
#include <stdio.h>
#include <string.h>

#include "campaign/report_fmt.h"
#include "campaign/report_html.h"

#define MATRIX_PHASES_MAX 24

static void series_cells(struct buf *out, const struct result *r, const struct cell *c,
                         uint64_t span_ns)
{
    static const double quantiles[] = { 0.5, 0.9, 0.95, 0.99, 1 };
    const struct hist *h = judged_hist(r, c);
    double share = share_of(c->n_fail, cell_requests(c));
    char text[FMT_LEN];

    html_cell(out, (double)cell_requests(c), fmt_count(cell_requests(c), text));
    html_cell(out, rate_over(cell_requests(c), span_ns),
              fmt_rate(rate_over(cell_requests(c), span_ns), text));
    buf_addf(out, "<td class=\"n%s\" data-v=\"%.9g\">%s</td>", c->n_fail ? " bad" : "", share,
             fmt_share(share, text));
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++)
        html_time_cell(out, h, quantiles[i]);
}

void html_phases(const struct result *r, struct buf *out)
{
    static const char *const heads[] = { "Phase", "Begin", "Length", "Requests", "Rate", "Failed",
                                         "p50",   "p90",   "p95",    "p99",      "max",  NULL };

    html_table_begin(out, "Figures of each phase", heads);
    for (size_t i = 0; i < r->n_phases; i++) {
        const struct result_phase *p = &r->phases[i];
        uint64_t span = result_phase_end_ns(r, p) - p->start_ns;
        char text[FMT_LEN];
        buf_addf(out, "<tr><th scope=\"row\"><span class=\"dot %s\"></span>",
                 phase_kind_name(p->kind));
        text_html(out, p->name);
        buf_adds(out, "</th>");
        html_cell(out, (double)p->start_ns, fmt_instant(p->start_ns, text));
        html_cell(out, (double)span, fmt_time(span, text));
        series_cells(out, r, &p->cell, span);
        buf_adds(out, "</tr>\n");
    }
    html_table_end(out);
}

void html_endpoints(const struct result *r, struct buf *out)
{
    static const char *const heads[] = { "Endpoint", "Users", "Requests",  "Rate",
                                         "Failed",   "p50",   "p90",       "p95",
                                         "p99",      "max",   "Mean size", NULL };

    html_table_begin(out, "Figures of each endpoint", heads);
    for (size_t i = 0; i < r->n_endpoints; i++) {
        const struct result_endpoint *e = &r->endpoints[i];
        double size = e->cell.n_ok ? (double)e->cell.bytes_in / (double)e->cell.n_ok : 0;
        char text[FMT_LEN];
        buf_adds(out, "<tr>");
        html_row_head(out, e->name);
        buf_adds(out, "<td>");
        text_html(out, e->user_class);
        buf_adds(out, "</td>");
        series_cells(out, r, &e->cell, r->duration_ns);
        html_cell(out, size, fmt_bytes(size, text));
        buf_adds(out, "</tr>\n");
    }
    html_table_end(out);
}

static void matrix_cell(const struct result *r, const struct cell *c, struct buf *out)
{
    const struct hist *h = c ? judged_hist(r, c) : NULL;
    char p95[FMT_LEN], share[FMT_LEN];

    if (!c || cell_requests(c) == 0) {
        buf_adds(out, "<td class=\"n\" data-v=\"-1\">–</td>");
        return;
    }
    buf_addf(out, "<td class=\"n\" data-v=\"%.9g\">%s",
             h->count ? (double)hist_quantile_ns(h, 0.95) : -1.0,
             fmt_time(h->count ? hist_quantile_ns(h, 0.95) : T_NONE, p95));
    if (c->n_fail)
        buf_addf(out, "<small class=\"bad\">%s</small>",
                 fmt_share(share_of(c->n_fail, cell_requests(c)), share));
    buf_adds(out, "</td>");
}

void html_matrix(const struct result *r, struct buf *out)
{
    size_t n = MIN(r->n_phases, (size_t)MATRIX_PHASES_MAX);

    if (n < 2)
        return;
    buf_adds(out,
             "<details><summary>p95 and failures of each endpoint in each phase</summary>"
             "<div class=\"scroll\" tabindex=\"0\"><table class=\"sortable matrix\"><caption>p95 "
             "and share of failures, endpoint by phase</caption><thead><tr>"
             "<th scope=\"col\">Endpoint</th>");
    for (size_t p = 0; p < n; p++) {
        buf_adds(out, "<th scope=\"col\">");
        text_html(out, r->phases[p].name);
        buf_adds(out, "</th>");
    }
    buf_adds(out, "</tr></thead><tbody>\n");
    for (size_t e = 0; e < r->n_endpoints; e++) {
        buf_adds(out, "<tr>");
        html_row_head(out, r->endpoints[e].name);
        for (size_t p = 0; p < n; p++)
            matrix_cell(r, r->phases[p].endpoints ? r->phases[p].endpoints[e] : NULL, out);
        buf_adds(out, "</tr>\n");
    }
    html_table_end(out);
    if (n < r->n_phases)
        buf_addf(out, "<p>The first %zu of %zu phases; all are in result.json.</p>", n,
                 r->n_phases);
    buf_adds(out, "</details>\n");
}

static void statuses(const struct cell *c, struct buf *out)
{
    if (!c->statuses)
        return;
    buf_adds(out, "<p class=\"statuses\">Answers by status: ");
    for (unsigned code = 0; code < 600; code++) {
        char text[FMT_LEN];
        if (c->statuses[code])
            buf_addf(out, "<span class=\"chip\">%u × %s</span> ", code,
                     fmt_count(c->statuses[code], text));
    }
    buf_adds(out, "</p>\n");
}

void html_errors(const struct result *r, struct buf *out)
{
    static const char *const heads[] = { "Class", "What it means", "Count", "Of all requests",
                                         NULL };
    const struct cell *c = &r->total;
    char text[FMT_LEN];

    if (c->n_fail == 0)
        buf_adds(out, "<p class=\"none\">No request failed.</p>\n");
    else
        html_table_begin(out, "Failures by class", heads);
    for (int i = FAIL_NONE + 1; i < FAIL_CLASS_MAX; i++) {
        enum fail_class fail = (enum fail_class)i;
        if (c->fails[i] == 0)
            continue;
        buf_adds(out, "<tr>");
        html_row_head(out, fail_class_name(fail));
        buf_adds(out, "<td class=\"help\">");
        text_html(out, fail_class_help(fail));
        buf_adds(out,
                 fail_class_is_censored(fail) ? " (counts as “at least” in the percentiles)" : "");
        if (r->examples[i]) {
            buf_adds(out, "<div class=\"example\">first: ");
            text_html(out, r->examples[i]);
            buf_adds(out, "</div>");
        }
        buf_adds(out, "</td>");
        html_cell(out, (double)c->fails[i], fmt_count(c->fails[i], text));
        double share = share_of(c->fails[i], cell_requests(c));
        html_cell(out, share, fmt_share(share, text));
        buf_adds(out, "</tr>\n");
    }
    if (c->n_fail)
        html_table_end(out);
    statuses(c, out);
}

static void distribution_row(struct buf *out, const char *name, const char *help,
                             const struct hist *h)
{
    static const double quantiles[] = { 0.5, 0.9, 0.95, 0.99, 0.999, 1 };
    char text[FMT_LEN];

    buf_addf(out, "<tr><th scope=\"row\">%s</th><td class=\"help\">%s</td>", name, help);
    html_cell(out, (double)h->count, fmt_count(h->count, text));
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++)
        html_time_cell(out, h, quantiles[i]);
    buf_adds(out, "</tr>\n");
}

static void distributions(const struct result *r, struct buf *out)
{
    static const char *const heads[] = { "Time", "From, to", "Count", "p50", "p90",
                                         "p95",  "p99",      "p99.9", "max", NULL };
    static const char *const stage_help[] = {
        [STAGE_DNS] = "looking up the target's name",
        [STAGE_CONNECT] = "opening the connection",
        [STAGE_TLS] = "the TLS handshake",
        [STAGE_WAIT] = "request sent, until the first byte of the answer",
        [STAGE_TRANSFER] = "first to last byte of the answer",
    };
    const struct cell *c = &r->total;

    html_table_begin(out, "All distributions of the run", heads);
    distribution_row(out, "response time", "scheduled, until done: what a user feels",
                     &c->response);
    distribution_row(out, "service time", "sent, until done: what the target took", &c->service);
    distribution_row(out, "schedule lag", "scheduled, until sent", &c->lag);
    distribution_row(out, "lateness", "scheduled, until a user took it: our own part of the lag",
                     &c->lateness);
    distribution_row(out, "failed after", "scheduled, until failed; kept apart", &c->failed);
    for (int i = 0; i < STAGE_MAX; i++)
        if (c->stages[i].count)
            distribution_row(out, stage_name((enum stage)i), stage_help[i], &c->stages[i]);
    html_table_end(out);
}

static void health_fact(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, "<div><dt>%s</dt><dd>", name);
    text_html(out, value);
    buf_adds(out, "</dd></div>");
}

void html_health(const struct result *r, struct buf *out)
{
    const struct cell *c = &r->total;
    char a[FMT_LEN], b[FMT_LEN];
    auto_free char *engine = xasprintf("%s, %u thread%s", text_or_empty(r->engine), r->threads,
                                       r->threads == 1 ? "" : "s");
    auto_free char *traffic = xasprintf("%s in, %s out", fmt_bytes((double)c->bytes_in, a),
                                        fmt_bytes((double)c->bytes_out, b));

    buf_addf(out, "<p>The run is judged by its <b>%s</b>: load was %s.</p><dl class=\"facts\">",
             judged_name(r),
             r->open_load ? "open, requests were due whether or not the target kept up"
                          : "closed, each user waited for its answer");
    health_fact(out, "engine", engine);
    health_fact(out, "busiest thread, worst second", fmt_share(r->cpu_share_max, a));
    health_fact(out, "schedule lag p99", fmt_time(r->lag_p99_ns, a));
    if (r->arrivals_due)
        health_fact(out, "arrivals due", fmt_count(r->arrivals_due, a));
    health_fact(out, "iterations", fmt_count(r->iterations, a));
    health_fact(out, "over a kept-alive connection",
                fmt_share(share_of(c->reused, cell_requests(c)), a));
    health_fact(out, "redirects followed", fmt_count(c->redirects, a));
    health_fact(out, "traffic", traffic);
    buf_adds(out, "</dl>\n");
    distributions(r, out);
    if (r->n_notes)
        buf_adds(out, "<ul class=\"notes\">");
    for (size_t i = 0; i < r->n_notes; i++) {
        buf_adds(out, "<li>");
        text_html(out, r->notes[i]);
        buf_adds(out, "</li>");
    }
    if (r->n_notes)
        buf_adds(out, "</ul>\n");
}

void html_repeat(const struct result *r, struct buf *out)
{
    buf_addf(out,
             "<p>The same plan with the same seed gives the same users, tasks, think times, "
             "arrivals and fault instants:</p><pre><code>chaos-load run PLAN.yaml --seed "
             "%llu</code></pre>\n<p class=\"meta\"><span>chaos-load ",
             (unsigned long long)r->seed);
    text_html(out, r->version);
    buf_adds(out, "</span><span>run ");
    text_html(out, r->run_id);
    buf_adds(out, "</span></p>\n");
    if (!r->plan_text)
        return;
    buf_adds(out, "<details><summary>The plan, without its secrets</summary><pre><code>");
    text_html(out, r->plan_text);
    buf_adds(out, "</code></pre></details>\n");
}
