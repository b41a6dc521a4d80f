/* summary.md: what a reviewer reads in a pull request. One screen: verdict, thresholds, faults,
 * phases; the rest is in report.html. */
#include <stdio.h>

#include "campaign/observer.h"
#include "campaign/report_fmt.h"

static void put_head(const struct result *r, struct buf *out)
{
    static const char *const signs[] = { [VERDICT_PASS] = "✅",
                                         [VERDICT_FAIL] = "❌",
                                         [VERDICT_ERROR] = "❌",
                                         [VERDICT_STOPPED] = "⏹️",
                                         [VERDICT_INVALID] = "⚠️" };
    const struct cell *c = &r->total;
    const struct hist *h = judged_hist(r, c);
    char a[FMT_LEN], b[FMT_LEN], d[FMT_LEN], e[FMT_LEN], f[FMT_LEN];

    buf_addf(out, "## %s %s: ", signs[r->verdict], verdict_name(r->verdict));
    auto_buf struct buf name = BUF_INIT((size_t)64 << 10);
    run_title(r, &name);
    text_markdown(out, buf_str(&name));
    buf_adds(out, "\n\n");
    text_markdown(out, r->reason);
    buf_addf(out, "\n\n**%s** requests in **%s** (%s), **%s** failed (%s)",
             fmt_count(cell_requests(c), a), fmt_time(r->duration_ns, b),
             fmt_rate(rate_over(cell_requests(c), r->duration_ns), d), fmt_count(c->n_fail, e),
             fmt_share(share_of(c->n_fail, cell_requests(c)), f));
    buf_addf(out, "; %s p50 **%s**, p95 **%s**, p99 **%s**, max **%s**.\n", judged_name(r),
             fmt_time(hist_quantile_ns(h, 0.5), a), fmt_time(hist_quantile_ns(h, 0.95), b),
             fmt_time(hist_quantile_ns(h, 0.99), d), fmt_time(h->max_ns, e));
}

static void put_thresholds(const struct result *r, struct buf *out)
{
    if (r->n_thresholds == 0)
        return;
    buf_adds(out, "\n| | Threshold | Value | Limit |\n|---|---|---:|---:|\n");
    for (size_t i = 0; i < r->n_thresholds; i++) {
        const struct result_threshold *t = &r->thresholds[i];
        char value[FMT_LEN], limit[FMT_LEN];
        buf_addf(out, "| %s | ", t->ok ? "✅" : "❌");
        text_markdown(out, t->expression);
        buf_addf(out, " | %s | %s |\n", t->has_value ? fmt_measured(t, value) : "no sample",
                 fmt_value(t->limit, t->unit, limit));
    }
}

static void put_recovery(const struct result_fault *f, struct buf *out)
{
    char a[FMT_LEN], b[FMT_LEN];

    if (f->effective_ns == T_NONE)
        buf_adds(out, "did not happen");
    else if (!f->felt)
        buf_adds(out, "not felt");
    else if (f->time_to_recover_ns == T_NONE)
        buf_adds(out, "**not recovered**");
    else
        buf_addf(out, "%s ± %s", fmt_time(f->time_to_recover_ns, a), fmt_time(f->resolution_ns, b));
}

static void put_faults(const struct result *r, struct buf *out)
{
    if (r->n_faults == 0)
        return;
    buf_adds(out, "\n| Fault | Target | Effective | Recovered in | Lost | Worst second |\n"
                  "|---|---|---:|---:|---:|---:|\n");
    for (size_t i = 0; i < r->n_faults; i++) {
        const struct result_fault *f = &r->faults[i];
        auto_buf struct buf title = BUF_INIT((size_t)64 << 10);
        char a[FMT_LEN], b[FMT_LEN];
        fault_title(r, f, &title);
        buf_adds(out, "| ");
        text_markdown(out, buf_str(&title));
        buf_adds(out, " | ");
        text_markdown(out, f->error ? f->error : f->target);
        buf_addf(out, " | %s | ", fmt_instant(f->effective_ns, a));
        put_recovery(f, out);
        buf_addf(out, " | %s | %s |\n", fmt_count(f->requests_lost, a),
                 fmt_share(f->worst_window_error_rate, b));
    }
}

static const char *quantile_text(const struct hist *h, double q, char out[FMT_LEN])
{
    return fmt_time(h->count ? hist_quantile_ns(h, q) : T_NONE, out);
}

static void put_phases(const struct result *r, struct buf *out)
{
    buf_adds(out, "\n<details><summary>Phases</summary>\n\n"
                  "| Phase | Requests | Rate | Failed | p50 | p95 | p99 |\n"
                  "|---|---:|---:|---:|---:|---:|---:|\n");
    for (size_t i = 0; i < r->n_phases; i++) {
        const struct result_phase *p = &r->phases[i];
        const struct hist *h = judged_hist(r, &p->cell);
        uint64_t n = cell_requests(&p->cell);
        char a[FMT_LEN], b[FMT_LEN], c[FMT_LEN];
        buf_adds(out, "| ");
        text_markdown(out, p->name);
        buf_addf(out, " | %s | %s | %s", fmt_count(n, a),
                 fmt_rate(rate_over(n, result_phase_end_ns(r, p) - p->start_ns), b),
                 fmt_share(share_of(p->cell.n_fail, n), c));
        buf_addf(out, " | %s | %s | %s |\n", quantile_text(h, 0.5, a), quantile_text(h, 0.95, b),
                 quantile_text(h, 0.99, c));
    }
    buf_adds(out, "\n</details>\n");
}

void report_markdown(const struct result *r, struct buf *out)
{
    put_head(r, out);
    put_thresholds(r, out);
    put_faults(r, out);
    put_phases(r, out);
    buf_addf(out, "\n<sub>seed %llu · ", (unsigned long long)r->seed);
    text_markdown(out, r->target);
    buf_adds(out, " · chaos-load ");
    text_markdown(out, r->version);
    buf_adds(out, "</sub>\n");
}
