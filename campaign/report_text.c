/* The summary that a terminal shows when a run is over: the verdict first, then what it rests on.
 * Everything fits the width; colours never carry meaning alone. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "campaign/observer.h"
#include "campaign/report_fmt.h"
#include "campaign/text_table.h"

#define RED "\033[31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define BOLD "\033[1m"
#define DIM "\033[2m"
#define PLAIN "\033[0m"
#define WIDTH_MIN 40
#define WIDTH_MAX 120
#define ENDPOINTS_SHOWN 30

struct text_report {
    const struct result *r;
    struct buf *out;
    bool colour;
    unsigned width;
};

static const char *paint(const struct text_report *t, const char *colour)
{
    return t->colour ? colour : "";
}

static void heading(const struct text_report *t, const char *title)
{
    buf_addf(t->out, "\n  %s%s%s\n", paint(t, BOLD), title, paint(t, PLAIN));
}

/* Breaks a sentence at blanks; following lines are indented like the first. */
static void put_wrapped(const struct text_report *t, unsigned indent, const char *sentence)
{
    auto_buf struct buf safe = BUF_INIT((size_t)64 << 10);
    size_t room = t->width > indent + 10 ? t->width - indent : 10, used = 0;

    text_plain(&safe, sentence);
    for (const char *p = buf_str(&safe); *p;) {
        size_t bytes = strcspn(p, " ");
        auto_free char *whole = xstrndup(p, bytes);
        auto_buf struct buf word = BUF_INIT((size_t)64 << 10);
        text_fit(&word, whole, room);
        size_t columns = text_width(buf_str(&word));
        if (used && used + 1 + columns > room) {
            buf_addc(t->out, '\n');
            used = 0;
        }
        if (used)
            buf_addc(t->out, ' ');
        else
            buf_addf(t->out, "%*s", (int)indent, "");
        buf_adds(t->out, buf_str(&word));
        used += columns + (used ? 1 : 0);
        p += bytes + strspn(p + bytes, " ");
    }
    buf_addc(t->out, '\n');
}

static void put_verdict(const struct text_report *t)
{
    static const struct {
        const char *sign, *colour;
    } looks[] = {
        [VERDICT_PASS] = { "✓ PASS", GREEN },        [VERDICT_FAIL] = { "✗ FAIL", RED },
        [VERDICT_ERROR] = { "✗ ERROR", RED },        [VERDICT_STOPPED] = { "■ STOPPED", YELLOW },
        [VERDICT_INVALID] = { "⚠ INVALID", YELLOW },
    };
    auto_buf struct buf name = BUF_INIT((size_t)64 << 10);
    auto_buf struct buf fit = BUF_INIT((size_t)64 << 10);
    const char *sign = looks[t->r->verdict].sign;

    auto_buf struct buf title = BUF_INIT((size_t)64 << 10);
    run_title(t->r, &title);
    text_plain(&name, buf_str(&title));
    text_fit(&fit, buf_str(&name), t->width - 5 - text_width(sign));
    buf_addf(t->out, "\n  %s%s%s%s  %s%s%s\n", paint(t, BOLD),
             paint(t, looks[t->r->verdict].colour), sign, paint(t, PLAIN), paint(t, BOLD),
             buf_str(&fit), paint(t, PLAIN));
    if (t->r->reason)
        put_wrapped(t, 2, t->r->reason);
}

static void put_fact(const struct text_report *t, const char *name, const char *value)
{
    auto_buf struct buf safe = BUF_INIT((size_t)64 << 10);
    auto_buf struct buf fit = BUF_INIT((size_t)64 << 10);

    text_plain(&safe, value);
    text_fit(&fit, buf_str(&safe), t->width - 16);
    buf_addf(t->out, "  %s%-12s%s  %s\n", paint(t, DIM), name, paint(t, PLAIN), buf_str(&fit));
}

static void put_facts(const struct text_report *t)
{
    const struct result *r = t->r;
    char a[FMT_LEN], b[FMT_LEN], c[FMT_LEN], d[FMT_LEN];
    auto_free char *run = xasprintf("%s · up to %s users · %s engine, %u thread%s · seed %llu",
                                    fmt_time(r->duration_ns, a), fmt_count(r->users_max, b),
                                    r->engine ? r->engine : "?", r->threads,
                                    r->threads == 1 ? "" : "s", (unsigned long long)r->seed);
    auto_free char *requests =
        xasprintf("%s · %s", fmt_count(cell_requests(&r->total), a),
                  fmt_rate(rate_over(cell_requests(&r->total), r->duration_ns), b));
    auto_free char *failures =
        xasprintf("%s · %s%s%s", fmt_count(r->total.n_fail, a),
                  fmt_share(share_of(r->total.n_fail, cell_requests(&r->total)), b),
                  r->total.fails[FAIL_DROPPED] ? " · of these dropped arrivals: " : "",
                  r->total.fails[FAIL_DROPPED] ? fmt_count(r->total.fails[FAIL_DROPPED], c) : "");
    auto_free char *data =
        xasprintf("%s received, %s sent", fmt_bytes((double)r->total.bytes_in, c),
                  fmt_bytes((double)r->total.bytes_out, d));

    buf_addc(t->out, '\n');
    put_fact(t, "target", text_or_empty(r->target));
    put_fact(t, "run", run);
    put_fact(t, "requests", requests);
    put_fact(t, "failures", failures);
    put_fact(t, "data", data);
}

static void add_time(struct text_table *table, uint64_t ns)
{
    char text[FMT_LEN];

    text_table_add(table, fmt_time(ns, text), NULL);
}

static void add_hist(struct text_table *table, const struct hist *h)
{
    static const double quantiles[] = { 0.5, 0.9, 0.95, 0.99, 0.999 };

    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++)
        add_time(table, h->count ? hist_quantile_ns(h, quantiles[i]) : T_NONE);
    add_time(table, h->count ? h->max_ns : T_NONE);
}

static void put_times(const struct text_report *t)
{
    static const struct text_col cols[] = { { "", true, 0 },     { "p50", false, 0 },
                                            { "p90", false, 4 }, { "p95", false, 1 },
                                            { "p99", false, 0 }, { "p99.9", false, 3 },
                                            { "max", false, 2 } };
    const struct cell *c = &t->r->total;
    const struct {
        const char *name;
        const struct hist *h;
    } rows[] = { { "response time", &c->response },
                 { "service time", &c->service },
                 { "schedule lag", &c->lag },
                 { "failed after", &c->failed } };
    auto_table struct text_table table = { 0 };

    text_table_init(&table, cols, ARRAY_LEN(cols));
    buf_addc(t->out, '\n');
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool is_judged = strcmp(rows[i].name, judged_name(t->r)) == 0;
        auto_free char *name = xasprintf("%s%s", rows[i].name, is_judged ? " ◂" : "");
        text_table_add(&table, name, is_judged ? BOLD : NULL);
        add_hist(&table, rows[i].h);
    }
    text_table_print(&table, 2, t->width, t->colour, t->out);
    buf_addf(t->out, "  %s◂ what the run is judged by%s\n", paint(t, DIM), paint(t, PLAIN));
}

static const char *threshold_value(const struct result *r, const struct result_threshold *h,
                                   char out[FMT_LEN])
{
    if (h->has_value)
        return fmt_measured(h, out);
    return r->complete ? "no sample" : "not judged";
}

static void put_thresholds(const struct text_report *t)
{
    static const struct text_col cols[] = {
        { "", true, 0 }, { "value", false, 0 }, { "limit", false, 1 }, { "broken at", false, 2 }
    };
    auto_table struct text_table table = { 0 };

    if (t->r->n_thresholds == 0)
        return;
    heading(t, "Thresholds");
    text_table_init(&table, cols, ARRAY_LEN(cols));
    for (size_t i = 0; i < t->r->n_thresholds; i++) {
        const struct result_threshold *h = &t->r->thresholds[i];
        const char *colour = h->ok ? GREEN : RED;
        char text[FMT_LEN];
        auto_free char *name = xasprintf("%s %s%s", h->ok ? "✓" : "✗", text_or_empty(h->expression),
                                         h->aborted ? " (ended the run)" : "");
        text_table_add(&table, name, colour);
        text_table_add(&table, threshold_value(t->r, h, text), colour);
        text_table_add(&table, fmt_value(h->limit, h->unit, text), NULL);
        text_table_add(&table, h->ok ? "" : fmt_instant(h->first_broken_ns, text), NULL);
    }
    text_table_print(&table, 2, t->width, t->colour, t->out);
}

static const char *recovered(const struct result_fault *f, char out[FMT_LEN])
{
    if (f->effective_ns == T_NONE)
        return "did not happen";
    if (!f->felt)
        return "not felt";
    if (f->time_to_recover_ns == T_NONE)
        return "not seen";
    return fmt_found(f->time_to_recover_ns, f->resolution_ns, out);
}

static void put_faults(const struct text_report *t)
{
    static const struct text_col cols[] = {
        { "", true, 0 },          { "effective", false, 1 },    { "off plan", false, 5 },
        { "reverted", false, 3 }, { "impact", false, 4 },       { "recovered in", false, 0 },
        { "lost", false, 0 },     { "worst second", false, 2 },
    };
    auto_table struct text_table table = { 0 };

    if (t->r->n_faults == 0)
        return;
    heading(t, "Faults");
    text_table_init(&table, cols, ARRAY_LEN(cols));
    for (size_t i = 0; i < t->r->n_faults; i++) {
        const struct result_fault *f = &t->r->faults[i];
        auto_buf struct buf title = BUF_INIT((size_t)64 << 10);
        char text[FMT_LEN];
        bool is_in = f->effective_ns != T_NONE;
        fault_title(t->r, f, &title);
        text_table_add(&table, buf_str(&title), f->error ? RED : NULL);
        text_table_add(&table, fmt_instant(f->effective_ns, text), NULL);
        add_time(&table, is_in && f->effective_ns >= f->planned_ns ? f->effective_ns - f->planned_ns
                                                                   : T_NONE);
        text_table_add(&table,
                       f->one_shot && f->reverted_ns == T_NONE ? "one shot"
                                                               : fmt_instant(f->reverted_ns, text),
                       NULL);
        text_table_add(&table,
                       fmt_found(f->felt ? f->time_to_impact_ns : T_NONE, f->resolution_ns, text),
                       NULL);
        text_table_add(&table, recovered(f, text),
                       f->felt && f->time_to_recover_ns == T_NONE ? RED : NULL);
        text_table_add(&table, fmt_count(f->requests_lost, text), NULL);
        text_table_add(&table, is_in ? fmt_share(f->worst_window_error_rate, text) : "–", NULL);
    }
    text_table_print(&table, 2, t->width, t->colour, t->out);
    for (size_t i = 0; i < t->r->n_faults; i++) {
        const struct result_fault *f = &t->r->faults[i];
        if (!f->error)
            continue;
        auto_free char *line = xasprintf("✗ %s: %s", text_or_empty(f->name), f->error);
        put_wrapped(t, 2, line);
    }
}

static const struct text_col series_cols[] = {
    { "", true, 0 },     { "requests", false, 3 }, { "rate", false, 1 }, { "failed", false, 0 },
    { "p50", false, 4 }, { "p95", false, 0 },      { "p99", false, 2 },  { "max", false, 5 },
};

static void add_series(struct text_table *table, const struct result *r, const struct cell *c,
                       uint64_t span_ns)
{
    const struct hist *h = judged_hist(r, c);
    char text[FMT_LEN];

    text_table_add(table, fmt_count(cell_requests(c), text), NULL);
    text_table_add(table, fmt_rate(rate_over(cell_requests(c), span_ns), text), NULL);
    text_table_add(table, fmt_share(share_of(c->n_fail, cell_requests(c)), text),
                   c->n_fail ? YELLOW : NULL);
    add_time(table, h->count ? hist_quantile_ns(h, 0.5) : T_NONE);
    add_time(table, h->count ? hist_quantile_ns(h, 0.95) : T_NONE);
    add_time(table, h->count ? hist_quantile_ns(h, 0.99) : T_NONE);
    add_time(table, h->count ? h->max_ns : T_NONE);
}

static void put_phases(const struct text_report *t)
{
    auto_table struct text_table table = { 0 };

    if (t->r->n_phases < 2)
        return;
    heading(t, "Phases");
    text_table_init(&table, series_cols, ARRAY_LEN(series_cols));
    for (size_t i = 0; i < t->r->n_phases; i++) {
        const struct result_phase *p = &t->r->phases[i];
        text_table_add(&table, text_or_empty(p->name), NULL);
        add_series(&table, t->r, &p->cell, result_phase_end_ns(t->r, p) - p->start_ns);
    }
    text_table_print(&table, 2, t->width, t->colour, t->out);
}

static void put_endpoints(const struct text_report *t)
{
    auto_table struct text_table table = { 0 };
    size_t n = MIN(t->r->n_endpoints, (size_t)ENDPOINTS_SHOWN);

    if (n == 0)
        return;
    heading(t, "Endpoints");
    text_table_init(&table, series_cols, ARRAY_LEN(series_cols));
    for (size_t i = 0; i < n; i++) {
        text_table_add(&table, text_or_empty(t->r->endpoints[i].name), NULL);
        add_series(&table, t->r, &t->r->endpoints[i].cell, t->r->duration_ns);
    }
    text_table_print(&table, 2, t->width, t->colour, t->out);
    if (n < t->r->n_endpoints)
        buf_addf(t->out, "  … and %zu more in the report\n", t->r->n_endpoints - n);
}

static void put_example(const struct text_report *t, const char *example)
{
    auto_free char *line = xasprintf("first: %s", example);

    put_wrapped(t, 6, line);
}

static void put_errors(const struct text_report *t)
{
    const struct cell *c = &t->r->total;

    if (c->n_fail == 0)
        return;
    heading(t, "Failures");
    for (int i = FAIL_NONE + 1; i < FAIL_CLASS_MAX; i++) {
        char count[FMT_LEN];
        auto_buf struct buf fit = BUF_INIT((size_t)64 << 10);
        if (c->fails[i] == 0)
            continue;
        text_fit(&fit, fail_class_help((enum fail_class)i), t->width > 34 ? t->width - 34 : 0);
        buf_addf(t->out, "  %s%-17s%s  %9s  %s%s%s\n", paint(t, YELLOW),
                 fail_class_name((enum fail_class)i), paint(t, PLAIN),
                 fmt_count(c->fails[i], count), paint(t, DIM), buf_str(&fit), paint(t, PLAIN));
        if (t->r->examples[i])
            put_example(t, t->r->examples[i]);
    }
}

static void put_notes(const struct text_report *t)
{
    if (t->r->n_notes == 0)
        return;
    heading(t, "Notes");
    for (size_t i = 0; i < t->r->n_notes; i++) {
        auto_free char *line = xasprintf("· %s", t->r->notes[i]);
        put_wrapped(t, 2, line);
    }
}

/* What could not begin has no figures: the verdict says why, and where the report is. */
static bool has_begun(const struct result *r)
{
    return r->duration_ns > 0 || r->verdict != VERDICT_ERROR;
}

void report_text(const struct result *r, bool colour, unsigned width, struct buf *out)
{
    struct text_report t = { .r = r,
                             .out = out,
                             .colour = colour,
                             .width = MAX(WIDTH_MIN, MIN(width ? width : 80, WIDTH_MAX)) };

    put_verdict(&t);
    if (has_begun(r)) {
        put_facts(&t);
        put_times(&t);
        put_thresholds(&t);
        put_faults(&t);
        put_phases(&t);
        put_endpoints(&t);
        put_errors(&t);
        put_notes(&t);
    }
    buf_addc(out, '\n');
}
