/* What the charts of report.html need, as JSON: per-second series, the heatmap's cells, and the
 * percentile spectra. Long runs are joined into at most POINTS_MAX points by merging histograms, so
 * that percentiles stay exact for the longer seconds. */
#include <math.h>
#include <string.h>

#include "campaign/report_fmt.h"
#include "campaign/report_html.h"
#include "campaign/result_cell.h"

#define POINTS_MAX 1200
#define HEAT_PER_DECADE 10
#define HEAT_LOW_MS 0.01
#define HEAT_BINS 76 /* 0.01 ms … 4e5 ms and above: 1 h is in the last */
#define SPECTRUM_PER_DECADE 16
#define SPECTRUM_POINTS (6 * SPECTRUM_PER_DECADE + 1)
#define SPECTRUM_PHASES_MAX 40

/* Rows that are one point of the charts. */
struct point {
    struct result_row sum;
    uint64_t span_ns;
};

static uint64_t row_end_ns(const struct result *r, size_t i)
{
    uint64_t next = i + 1 < r->n_rows ? r->rows[i + 1].t_ns : r->duration_ns;

    return MAX(next, r->rows[i].t_ns);
}

static void point_add(struct point *p, const struct result *r, size_t i)
{
    const struct result_row *row = &r->rows[i];

    if (p->span_ns == 0)
        p->sum.t_ns = row->t_ns;
    p->span_ns += MAX(row_end_ns(r, i) - row->t_ns, UINT64_C(1));
    p->sum.phase = row->phase;
    p->sum.users = MAX(p->sum.users, row->users);
    p->sum.ok += row->ok;
    p->sum.fail += row->fail;
    for (int c = 0; c < FAIL_CLASS_MAX; c++)
        p->sum.fails[c] += row->fails[c];
    hist_merge(&p->sum.response, &row->response);
}

/* The last second of a run is rarely whole: as a point of its own its rate would be noise. */
static bool is_stub(const struct result *r, size_t i)
{
    return i > 0 && i + 1 == r->n_rows && row_end_ns(r, i) - r->rows[i].t_ns < NS_PER_SEC / 2;
}

static struct point *points_new(const struct result *r, size_t *ret_n)
{
    size_t step = r->n_rows / POINTS_MAX + 1, n = 0;
    struct point *points = xcalloc(r->n_rows / step + 2, sizeof(*points));

    for (size_t i = 0; i < r->n_rows; i++) {
        if (i % step == 0 && !is_stub(r, i))
            n++;
        point_add(&points[n - 1], r, i);
    }
    *ret_n = n;
    return points;
}

static void points_free(struct point *points, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hist_done(&points[i].sum.response);
    free(points);
}

static double rounded(double d)
{
    return round(d * 1000) / 1000;
}

static double per_second(const struct point *p, uint64_t n)
{
    return rounded(rate_over(n, p->span_ns));
}

static void put_quantile(struct json *list, const struct hist *h, double q)
{
    if (h->count == 0)
        json_put_null(list, NULL);
    else
        json_put_num(list, NULL, rounded((double)hist_quantile_ns(h, q) / 1e6));
}

static void put_series(struct json *j, const struct point *points, size_t n)
{
    static const struct {
        const char *key;
        double q;
    } quantiles[] = { { "p50", 0.5 }, { "p95", 0.95 }, { "p99", 0.99 }, { "max", 1 } };
    struct json *t = json_put(j, "t", json_array()), *span = json_put(j, "span", json_array());
    struct json *users = json_put(j, "users", json_array());
    struct json *ok = json_put(j, "ok", json_array()), *fail = json_put(j, "fail", json_array());

    for (size_t i = 0; i < n; i++) {
        json_put_num(t, NULL, rounded((double)points[i].sum.t_ns / 1e9));
        json_put_num(span, NULL, rounded((double)points[i].span_ns / 1e9));
        json_put_u64(users, NULL, points[i].sum.users);
        json_put_num(ok, NULL, per_second(&points[i], points[i].sum.ok));
        json_put_num(fail, NULL, per_second(&points[i], points[i].sum.fail));
    }
    for (size_t q = 0; q < ARRAY_LEN(quantiles); q++) {
        struct json *list = json_put(j, quantiles[q].key, json_array());
        for (size_t i = 0; i < n; i++)
            put_quantile(list, &points[i].sum.response, quantiles[q].q);
    }
}

static void put_classes(struct json *j, const struct result *r, const struct point *points,
                        size_t n)
{
    struct json *classes = json_put(j, "classes", json_array());

    for (int c = FAIL_NONE + 1; c < FAIL_CLASS_MAX; c++) {
        if (r->total.fails[c] == 0)
            continue;
        struct json *one = json_put(classes, NULL, json_object());
        json_put_str(one, "name", fail_class_name((enum fail_class)c));
        struct json *list = json_put(one, "v", json_array());
        for (size_t i = 0; i < n; i++)
            json_put_num(list, NULL, per_second(&points[i], points[i].sum.fails[c]));
    }
}

/* ---- heatmap ---- */

static unsigned heat_bin(unsigned slot)
{
    double us = (double)hist_slot_low_us(slot) + ((double)hist_slot_width_us(slot) - 1) / 2;
    double bin = floor(log10(fmax(us, 1) / 1000 / HEAT_LOW_MS) * HEAT_PER_DECADE + 1e-9);

    return bin < 0 ? 0 : bin >= HEAT_BINS ? HEAT_BINS - 1 : (unsigned)bin;
}

/* [bin, count, bin, count, …] of the bins that have any. */
static void put_column(struct json *columns, const struct hist *h)
{
    uint64_t bins[HEAT_BINS] = { 0 };
    struct json *column = json_put(columns, NULL, json_array());

    if (h->count == 0)
        return;
    for (unsigned slot = 0; slot < HIST_SLOTS; slot++) {
        uint32_t n = hist_slot_count(h, slot);
        if (n)
            bins[heat_bin(slot)] += n;
    }
    for (unsigned b = 0; b < HEAT_BINS; b++) {
        if (bins[b] == 0)
            continue;
        json_put_u64(column, NULL, b);
        json_put_u64(column, NULL, bins[b]);
    }
}

static void put_heat(struct json *j, const struct point *points, size_t n)
{
    struct json *heat = json_put(j, "heat", json_object());

    json_put_num(heat, "low_ms", HEAT_LOW_MS);
    json_put_u64(heat, "per_decade", HEAT_PER_DECADE);
    struct json *columns = json_put(heat, "columns", json_array());
    for (size_t i = 0; i < n; i++)
        put_column(columns, &points[i].sum.response);
}

/* ---- percentile spectra: value at x = 1/(1-p), on a common grid of x ---- */

static double spectrum_x(unsigned i)
{
    return pow(10, (double)i / SPECTRUM_PER_DECADE);
}

static void put_spectrum(struct json *list, const char *name, const char *kind,
                         const struct hist *h)
{
    if (h->count == 0)
        return;
    struct json *one = json_put(list, NULL, json_object());
    json_put_text(one, "name", name);
    json_put_str(one, "kind", kind);
    struct json *values = json_put(one, "v", json_array());
    for (unsigned i = 0; i < SPECTRUM_POINTS; i++) {
        double x = spectrum_x(i);
        if (i > 0 && spectrum_x(i - 1) > (double)h->count)
            break; /* beyond the last sample there is nothing to say */
        put_quantile(values, h, x > (double)h->count ? 1 : 1 - 1 / x);
    }
}

static void put_spectra(struct json *j, const struct result *r)
{
    struct json *spectrum = json_put(j, "spectrum", json_object());

    json_put_u64(spectrum, "per_decade", SPECTRUM_PER_DECADE);
    struct json *list = json_put(spectrum, "series", json_array());
    put_spectrum(list, "whole run", "run", judged_hist(r, &r->total));
    for (size_t i = 0; i < r->n_phases && i < SPECTRUM_PHASES_MAX; i++)
        put_spectrum(list, text_or_empty(r->phases[i].name), phase_kind_name(r->phases[i].kind),
                     judged_hist(r, &r->phases[i].cell));
}

/* ---- what lies on the time axis ---- */

static void put_sec(struct json *j, const char *key, uint64_t ns)
{
    if (ns == T_NONE)
        json_put_null(j, key);
    else
        json_put_num(j, key, (double)ns / 1e9);
}

static void put_marks(struct json *j, const struct result *r)
{
    struct json *phases = json_put(j, "phases", json_array());
    struct json *faults = json_put(j, "faults", json_array());

    for (size_t i = 0; i < r->n_phases; i++) {
        struct json *p = json_put(phases, NULL, json_object());
        json_put_text(p, "name", text_or_empty(r->phases[i].name));
        json_put_str(p, "kind", phase_kind_name(r->phases[i].kind));
        put_sec(p, "start", r->phases[i].start_ns);
        put_sec(p, "end", result_phase_end_ns(r, &r->phases[i]));
    }
    for (size_t i = 0; i < r->n_faults; i++) {
        const struct result_fault *f = &r->faults[i];
        bool recovered = f->effective_ns != T_NONE && f->felt && f->time_to_recover_ns != T_NONE;
        auto_buf struct buf title = BUF_INIT((size_t)64 << 10);
        struct json *one = json_put(faults, NULL, json_object());
        fault_title(r, f, &title);
        json_put_text(one, "title", buf_str(&title));
        json_put_text(one, "name", text_or_empty(f->name));
        json_put_bool(one, "one_shot", f->one_shot);
        json_put_bool(one, "felt", f->felt);
        put_sec(one, "planned", f->planned_ns);
        put_sec(one, "effective", f->effective_ns);
        put_sec(one, "reverted", f->reverted_ns);
        put_sec(one, "recovered", recovered ? f->effective_ns + f->time_to_recover_ns : T_NONE);
    }
}

void report_data_json(const struct result *r, struct buf *out)
{
    auto(json) struct json *j = json_object();
    size_t n;
    struct point *points = points_new(r, &n);

    put_sec(j, "duration", r->duration_ns);
    json_put_str(j, "judged", judged_name(r));
    put_series(j, points, n);
    put_classes(j, r, points, n);
    put_heat(j, points, n);
    put_spectra(j, r);
    put_marks(j, r);
    points_free(points, n);
    auto_free char *text = json_print(j, false);
    json_for_script(out, text);
}
