/* The files of Locust's --csv and --json, from our numbers: same columns, quoting, line ends and
 * rounding, so that what was made for Locust's files reads ours. Series of the same method and name
 * in several user classes are one row there, as Locust knows no classes in its statistics. */
#include "campaign/report_locust.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "campaign/observer.h"
#include "campaign/report_fmt.h"

static const double percentiles[] = { 0.50, 0.66, 0.75,  0.80,   0.90, 0.95,
                                      0.98, 0.99, 0.999, 0.9999, 1.0 };
#define PERCENTILE_COLUMNS "50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%"

void csv_text(struct buf *out, const char *s)
{
    auto_buf struct buf clean = BUF_INIT((size_t)1 << 20);

    text_utf8(&clean, s);
    if (!strpbrk(buf_str(&clean), ",\"\r\n")) {
        buf_adds(out, buf_str(&clean));
        return;
    }
    buf_addc(out, '"');
    for (const char *p = buf_str(&clean); *p; p++) {
        if (*p == '"')
            buf_addc(out, '"');
        buf_addc(out, *p);
    }
    buf_addc(out, '"');
}

void python_float(struct buf *out, double d)
{
    char text[40];
    int digits = 1;

    if (!isfinite(d))
        d = 0;
    do
        snprintf(text, sizeof(text), "%.*g", digits++, d);
    while (digits <= 17 && strtod(text, NULL) != d);
    if (strchr(text, 'e') && fabs(d) < 1e16 && fabs(d) >= 1)
        snprintf(text, sizeof(text), "%.0f", d); /* Python writes 200000.0, not 2e+05 */
    buf_adds(out, text);
    if (!strpbrk(text, ".en"))
        buf_adds(out, ".0");
}

uint64_t locust_bucket_ms(double ms)
{
    double step = ms < 100 ? 1 : ms < 1000 ? 10 : ms < 10000 ? 100 : 1000;

    return (uint64_t)(nearbyint(ms / step) * step);
}

static double slot_ms(const struct hist *h, unsigned slot)
{
    double low = (double)hist_slot_low_us(slot), width = (double)hist_slot_width_us(slot);
    double ms = (low + (width - 1) / 2) / 1000;

    return fmin(fmax(ms, ns_to_ms(h->min_ns)), ns_to_ms(h->max_ns));
}

uint64_t locust_percentile_ms(const struct hist *h, double q)
{
    uint64_t below = (uint64_t)((double)h->count * q), seen = 0;

    for (unsigned slot = HIST_SLOTS; slot-- > 0;) {
        uint32_t n = hist_slot_count(h, slot);
        seen += n;
        if (n > 0 && h->count - seen <= below)
            return locust_bucket_ms(slot_ms(h, slot));
    }
    return 0;
}

void locust_percentiles(struct buf *out, const struct hist *h)
{
    for (size_t i = 0; i < ARRAY_LEN(percentiles); i++) {
        if (h->count == 0)
            buf_adds(out, ",N/A");
        else
            buf_addf(out, ",%" PRIu64, locust_percentile_ms(h, percentiles[i]));
    }
}

/* ---- entries: one per (name, method), sorted ---- */

struct entry {
    const struct result_endpoint *e;
    const char *name;
};

const char *locust_name(const struct result_endpoint *e)
{
    const char *name = text_or_empty(e->name), *method = text_or_empty(e->method);
    size_t n = strlen(method);

    return n && strncmp(name, method, n) == 0 && name[n] == ' ' ? name + n + 1 : name;
}

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    return order ? order : strcmp(text_or_empty(x->e->method), text_or_empty(y->e->method));
}

static struct entry *sorted_entries(const struct result *r)
{
    struct entry *list = xcalloc(r->n_endpoints + 1, sizeof(*list));

    for (size_t i = 0; i < r->n_endpoints; i++)
        list[i] = (struct entry){ &r->endpoints[i], locust_name(&r->endpoints[i]) };
    if (r->n_endpoints)
        qsort(list, r->n_endpoints, sizeof(*list), by_name);
    return list;
}

/* How many entries from the first on are of the same name and method. */
static size_t same_entries(const struct entry *list, size_t n)
{
    size_t k = 1;

    while (k < n && by_name(&list[0], &list[k]) == 0)
        k++;
    return k;
}

static struct cell *merged(const struct entry *list, size_t n)
{
    struct cell *c = cell_new();

    for (size_t i = 0; i < n; i++)
        cell_merge(c, &list[i].e->cell);
    return c;
}

/* The times of all requests, as Locust counts them. */
static void all_times(struct hist *h, const struct cell *c)
{
    hist_merge(h, &c->response);
    hist_merge(h, &c->failed);
}

static void put_median(struct buf *out, const struct hist *h)
{
    double median = (double)locust_percentile_ms(h, 0.5);

    /* Rounded as it is, the median must not leave what was really seen. */
    if (median < ns_to_ms(h->min_ns))
        python_float(out, ns_to_ms(h->min_ns));
    else if (median > ns_to_ms(h->max_ns))
        python_float(out, ns_to_ms(h->max_ns));
    else
        buf_addf(out, "%.0f", median);
}

/* ",median,average,min,max,average size" */
static void put_times(struct buf *out, const struct hist *h, uint64_t bytes, uint64_t requests)
{
    if (h->count == 0) {
        buf_adds(out, ",0,0.0,0,0,");
    } else {
        buf_addc(out, ',');
        put_median(out, h);
        buf_addc(out, ',');
        python_float(out, hist_mean_ns(h) / (double)NS_PER_MS);
        buf_addc(out, ',');
        python_float(out, ns_to_ms(h->min_ns));
        buf_addc(out, ',');
        python_float(out, ns_to_ms(h->max_ns));
        buf_addc(out, ',');
    }
    if (requests)
        python_float(out, (double)bytes / (double)requests);
    else
        buf_addc(out, '0');
}

static void put_stats_row(struct buf *out, const char *method, const char *name,
                          const struct cell *c, uint64_t duration_ns)
{
    struct hist h = { 0 };

    all_times(&h, c);
    csv_text(out, method);
    buf_addc(out, ',');
    csv_text(out, name);
    buf_addf(out, ",%" PRIu64 ",%" PRIu64, cell_requests(c), c->n_fail);
    put_times(out, &h, c->bytes_in, cell_requests(c));
    buf_addc(out, ',');
    python_float(out, rate_over(cell_requests(c), duration_ns));
    buf_addc(out, ',');
    python_float(out, rate_over(c->n_fail, duration_ns));
    locust_percentiles(out, &h);
    buf_adds(out, "\r\n");
    hist_done(&h);
}

void report_locust_stats_csv(const struct result *r, struct buf *out)
{
    auto_free struct entry *list = sorted_entries(r);

    buf_adds(out, "Type,Name,Request Count,Failure Count,Median Response Time,Average Response "
                  "Time,Min Response Time,Max Response Time,Average Content "
                  "Size,Requests/s,Failures/s," PERCENTILE_COLUMNS "\r\n");
    for (size_t i = 0, k; i < r->n_endpoints; i += k) {
        k = same_entries(&list[i], r->n_endpoints - i);
        struct cell *c = merged(&list[i], k);
        put_stats_row(out, text_or_empty(list[i].e->method), list[i].name, c, r->duration_ns);
        cell_free(c);
    }
    put_stats_row(out, "", "Aggregated", &r->total, r->duration_ns);
}

static void put_second(struct buf *out, uint64_t wall_ns)
{
    char iso[CLOCK_ISO_LEN];

    clock_iso(wall_ns, iso);
    buf_addf(out, ",%.19sZ", iso);
}

/* When the failures of some entries began and ended: by the stamps of their cell, which are
 * instants of the run; a stamp that is none (older results have the clock of the machine) gives way
 * to the seconds in which failures were counted. */
static void failure_span(const struct result *r, const struct entry *list, size_t n,
                         const struct cell *c, uint64_t span[2])
{
    uint64_t first = UINT64_MAX, last = 0;

    span[0] = c->first_fail_ns;
    span[1] = c->last_fail_ns;
    if (span[1] <= r->duration_ns)
        return;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < list[i].e->n_seconds; k++) {
            const struct result_second *s = &list[i].e->seconds[k];
            if (s->fail == 0)
                continue;
            first = MIN(first, s->at_s);
            last = MAX(last, s->at_s);
        }
    }
    span[0] = first == UINT64_MAX ? 0 : first * NS_PER_SEC;
    span[1] = first == UINT64_MAX ? r->duration_ns : last * NS_PER_SEC;
}

static void put_failures(struct buf *out, const struct result *r, const struct entry *e, size_t n,
                         const struct cell *c)
{
    uint64_t span[2];

    failure_span(r, e, n, c, span);
    for (int i = FAIL_NONE + 1; i < FAIL_CLASS_MAX; i++) {
        if (c->fails[i] == 0)
            continue;
        auto_free char *error = xasprintf("%s: %s", fail_class_name((enum fail_class)i),
                                          fail_class_help((enum fail_class)i));
        csv_text(out, text_or_empty(e->e->method));
        buf_addc(out, ',');
        csv_text(out, e->name);
        buf_addc(out, ',');
        csv_text(out, error);
        buf_addf(out, ",%" PRIu64, c->fails[i]);
        put_second(out, r->started_wall_ns + span[0]);
        put_second(out, r->started_wall_ns + span[1]);
        buf_adds(out, "\r\n");
    }
}

void report_locust_failures_csv(const struct result *r, struct buf *out)
{
    auto_free struct entry *list = sorted_entries(r);

    buf_adds(out, "Method,Name,Error,Occurrences,First Seen,Last Seen\r\n");
    for (size_t i = 0, k; i < r->n_endpoints; i += k) {
        k = same_entries(&list[i], r->n_endpoints - i);
        struct cell *c = merged(&list[i], k);
        put_failures(out, r, &list[i], k, c);
        cell_free(c);
    }
}

void report_locust_exceptions_csv(const struct result *r, struct buf *out)
{
    (void)r;
    buf_adds(out, "Count,Message,Traceback,Nodes\r\n");
}

/* ---- --json ---- */

static void put_response_times(struct buf *out, const struct hist *h)
{
    uint64_t bucket = 0, n = 0;
    bool is_first = true;

    buf_adds(out, "        \"response_times\": {");
    for (unsigned slot = 0; slot <= HIST_SLOTS; slot++) {
        uint32_t count = slot < HIST_SLOTS ? hist_slot_count(h, slot) : 0;
        uint64_t now = count ? locust_bucket_ms(slot_ms(h, slot)) : bucket;
        if (n > 0 && (now != bucket || slot == HIST_SLOTS)) {
            buf_addf(out, "%s            \"%" PRIu64 "\": %" PRIu64, is_first ? "\n" : ",\n",
                     bucket, n);
            is_first = false;
            n = 0;
        }
        bucket = now;
        n += count;
    }
    buf_adds(out, is_first ? "},\n" : "\n        },\n");
}

static int by_second(const void *a, const void *b)
{
    const struct result_second *x = a, *y = b;

    return (x->at_s > y->at_s) - (x->at_s < y->at_s);
}

/* The seconds of several series, joined and in order. */
static struct result_second *merged_seconds(const struct entry *list, size_t n, size_t *ret_n)
{
    size_t all = 0, used = 0;

    for (size_t i = 0; i < n; i++)
        all += list[i].e->n_seconds;
    struct result_second *s = xcalloc(all + 1, sizeof(*s));
    for (size_t i = 0, at = 0; i < n; i++)
        for (size_t k = 0; k < list[i].e->n_seconds; k++)
            s[at++] = list[i].e->seconds[k];
    if (all)
        qsort(s, all, sizeof(*s), by_second);
    for (size_t i = 0; i < all; i++) {
        if (used && s[used - 1].at_s == s[i].at_s) {
            s[used - 1].ok += s[i].ok;
            s[used - 1].fail += s[i].fail;
        } else {
            s[used++] = s[i];
        }
    }
    *ret_n = used;
    return s;
}

static void put_per_second(struct buf *out, const char *key, const struct result_second *s,
                           size_t n, uint64_t start_s, bool only_fails)
{
    bool is_first = true;

    buf_addf(out, "        \"%s\": {", key);
    for (size_t i = 0; i < n; i++) {
        uint64_t count = only_fails ? s[i].fail : (uint64_t)s[i].ok + s[i].fail;
        if (count == 0)
            continue;
        buf_addf(out, "%s            \"%" PRIu64 "\": %" PRIu64, is_first ? "\n" : ",\n",
                 start_s + s[i].at_s, count);
        is_first = false;
    }
    buf_adds(out, is_first ? "}" : "\n        }");
}

static void put_number(struct buf *out, const char *key, double value)
{
    buf_addf(out, "        \"%s\": ", key);
    python_float(out, value);
    buf_adds(out, ",\n");
}

static void put_json_text(struct buf *out, const char *s)
{
    auto_buf struct buf clean = BUF_INIT((size_t)1 << 20);

    text_utf8(&clean, s);
    json_quote(out, buf_str(&clean));
}

static void put_entry(struct buf *out, const struct result *r, const struct entry *list, size_t n)
{
    struct cell *c = merged(list, n);
    struct hist h = { 0 };
    size_t n_seconds;
    auto_free struct result_second *seconds = merged_seconds(list, n, &n_seconds);
    double start = ns_to_sec(r->started_wall_ns);
    double last =
        n_seconds ? start + seconds[n_seconds - 1].at_s : start + ns_to_sec(r->duration_ns);

    all_times(&h, c);
    buf_adds(out, "    {\n        \"name\": ");
    put_json_text(out, list->name);
    buf_adds(out, ",\n        \"method\": ");
    put_json_text(out, text_or_empty(list->e->method));
    buf_adds(out, ",\n");
    put_number(out, "last_request_timestamp", last);
    put_number(out, "start_time", start);
    buf_addf(out,
             "        \"num_requests\": %" PRIu64 ",\n        \"num_none_requests\": 0,\n"
             "        \"num_failures\": %" PRIu64 ",\n",
             cell_requests(c), c->n_fail);
    put_number(out, "total_response_time", (double)h.sum_us / 1000);
    put_number(out, "max_response_time", ns_to_ms(h.max_ns));
    put_number(out, "min_response_time", ns_to_ms(h.min_ns));
    buf_addf(out, "        \"total_content_length\": %" PRIu64 ",\n", c->bytes_in);
    put_response_times(out, &h);
    put_per_second(out, "num_reqs_per_sec", seconds, n_seconds, (uint64_t)start, false);
    buf_adds(out, ",\n");
    put_per_second(out, "num_fail_per_sec", seconds, n_seconds, (uint64_t)start, true);
    buf_adds(out, "\n    }");
    hist_done(&h);
    cell_free(c);
}

void report_locust_json(const struct result *r, struct buf *out)
{
    auto_free struct entry *list = sorted_entries(r);

    buf_addc(out, '[');
    for (size_t i = 0, k; i < r->n_endpoints; i += k) {
        k = same_entries(&list[i], r->n_endpoints - i);
        buf_adds(out, i ? ",\n" : "\n");
        put_entry(out, r, &list[i], k);
    }
    buf_adds(out, r->n_endpoints ? "\n]\n" : "]\n");
}

/* ---- history ---- */

void locust_history_header(struct buf *out)
{
    buf_adds(out, "Timestamp,User Count,Type,Name,Requests/s,Failures/s," PERCENTILE_COLUMNS
                  ",Total Request Count,Total Failure Count,Total Median Response Time,Total "
                  "Average Response Time,Total Min Response Time,Total Max Response Time,Total "
                  "Average Content Size\r\n");
}

void locust_track_add(struct locust_track *t, const struct locust_second *s)
{
    struct locust_second *slot = &t->window[t->n_seconds % LOCUST_WINDOW];

    hist_clear(&slot->times);
    hist_merge(&slot->times, &s->times);
    hist_merge(&t->all, &s->times);
    slot->requests = s->requests;
    slot->failures = s->failures;
    t->requests += s->requests;
    t->failures += s->failures;
    t->bytes += s->bytes;
    t->n_seconds++;
}

void locust_track_row(const struct locust_track *t, const struct locust_row *row, struct buf *out)
{
    size_t span = MIN(t->n_seconds, (size_t)LOCUST_WINDOW);
    uint64_t requests = 0, failures = 0;
    struct hist recent = { 0 };

    for (size_t i = 0; i < span; i++) {
        requests += t->window[i].requests;
        failures += t->window[i].failures;
        if (row->recent)
            hist_merge(&recent, &t->window[i].times);
    }
    buf_addf(out, "%" PRIu64 ",%" PRIu64 ",", row->wall_s, row->users);
    csv_text(out, row->method);
    buf_addc(out, ',');
    csv_text(out, row->name);
    buf_addf(out, ",%.6f,%.6f", span ? (double)requests / (double)span : 0,
             span ? (double)failures / (double)span : 0);
    locust_percentiles(out, row->recent ? &recent : &t->all);
    buf_addf(out, ",%" PRIu64 ",%" PRIu64, t->requests, t->failures);
    put_times(out, &t->all, t->bytes, t->requests);
    buf_adds(out, "\r\n");
    hist_done(&recent);
}

void locust_track_done(struct locust_track *t)
{
    hist_done(&t->all);
    for (size_t i = 0; i < LOCUST_WINDOW; i++)
        hist_done(&t->window[i].times);
}

void report_locust_history_csv(const struct result *r, struct buf *out)
{
    struct locust_track track = { 0 };
    struct locust_row row = { .wall_s = r->started_wall_ns / NS_PER_SEC,
                              .method = "",
                              .name = "Aggregated" };
    uint64_t requests = cell_requests(&r->total);
    /* Rows do not keep bytes: each second is given the run's mean size. */
    double size = requests ? (double)r->total.bytes_in / (double)requests : 0;

    locust_history_header(out);
    locust_track_row(&track, &row, out);
    for (size_t i = 0; i < r->n_rows; i++) {
        const struct result_row *from = &r->rows[i];
        struct locust_second s = { .requests = from->ok + from->fail, .failures = from->fail };
        s.bytes = (uint64_t)((double)s.requests * size);
        hist_merge(&s.times, &from->response);
        hist_merge(&s.times, &from->failed);
        locust_track_add(&track, &s);
        hist_done(&s.times);
        row.wall_s = (r->started_wall_ns + from->t_ns) / NS_PER_SEC + 1;
        row.users = from->users;
        locust_track_row(&track, &row, out);
    }
    locust_track_done(&track);
}
