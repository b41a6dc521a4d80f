/* A cell as JSON and back. Figures (percentiles) are for people and other tools; what is read back
 * are the counts and the histograms' own exact text, so that nothing is lost between a run and a
 * report made of it a year later. */
#include "campaign/result_cell.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "campaign/report_fmt.h"

#define EXACT_MAX (UINT64_C(1) << 53)
#define MS_MAX 2.2e9 /* 25 days: up to here ns become ms and ns again without loss */
#define HIST_TEXT_MAX ((size_t)1 << 20)
#define STATUS_END 600

void json_put_ms(struct json *j, const char *key, uint64_t ns)
{
    if (ns == T_NONE)
        json_put_null(j, key);
    else
        json_put_num(j, key, ns_to_ms(ns));
}

uint64_t json_ms(const struct json *j, const char *key, uint64_t absent)
{
    double ms = json_num(j, key, -1);

    if (!(ms >= 0 && ms <= MS_MAX))
        return absent;
    return (uint64_t)llround(ms * (double)NS_PER_MS);
}

void json_put_text(struct json *j, const char *key, const char *s)
{
    auto_buf struct buf clean = BUF_INIT((size_t)64 << 20);

    if (!s) {
        json_put_null(j, key);
        return;
    }
    text_utf8(&clean, s);
    json_put_str(j, key, buf_str(&clean));
}

void json_put_exact(struct json *j, const char *key, uint64_t value)
{
    char text[24];

    if (value <= EXACT_MAX) {
        json_put_u64(j, key, value);
        return;
    }
    snprintf(text, sizeof(text), "%" PRIu64, value);
    json_put_str(j, key, text);
}

uint64_t json_exact(const struct json *j, const char *key, uint64_t absent)
{
    const char *text = json_str(j, key, NULL);
    uint64_t value;

    if (!text)
        return json_u64(j, key, absent);
    return parse_u64(text, 0, UINT64_MAX, &value, NULL) < 0 ? absent : value;
}

struct json *figures_json(const struct hist *h)
{
    static const struct {
        const char *key;
        double q;
    } quantiles[] = { { "p50_ms", 0.5 },
                      { "p90_ms", 0.9 },
                      { "p95_ms", 0.95 },
                      { "p99_ms", 0.99 },
                      { "p999_ms", 0.999 } };
    struct json *j = json_object();

    json_put_u64(j, "count", h->count);
    json_put_ms(j, "min_ms", h->min_ns);
    json_put_num(j, "mean_ms", hist_mean_ns(h) / (double)NS_PER_MS);
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++)
        json_put_ms(j, quantiles[i].key, hist_quantile_ns(h, quantiles[i].q));
    json_put_ms(j, "max_ms", h->max_ns);
    return j;
}

struct json *errors_json(const uint64_t fails[FAIL_CLASS_MAX])
{
    struct json *list = json_array();

    for (int i = FAIL_NONE + 1; i < FAIL_CLASS_MAX; i++) {
        if (fails[i] == 0)
            continue;
        struct json *e = json_put(list, NULL, json_object());
        json_put_str(e, "class", fail_class_name((enum fail_class)i));
        json_put_u64(e, "count", fails[i]);
    }
    return list;
}

struct json *totals_json(const struct cell *c)
{
    struct json *j = json_object();

    json_put_u64(j, "requests", c->n_ok + c->n_fail);
    json_put_u64(j, "successes", c->n_ok);
    json_put_u64(j, "failures", c->n_fail);
    json_put_u64(j, "dropped", c->fails[FAIL_DROPPED]);
    return j;
}

void hist_put_json(struct json *j, const char *key, const struct hist *h)
{
    auto_buf struct buf text = BUF_INIT(HIST_TEXT_MAX);

    if (h->count == 0)
        return;
    hist_encode(h, &text);
    json_put_str(j, key, buf_str(&text));
}

int hist_from_json(const struct json *j, const char *key, struct hist *h, struct err *err)
{
    const char *text = json_str(j, key, NULL);

    if (!text)
        return 0;
    if (hist_decode(text, h) < 0)
        return err_set(err, ERR_USAGE, EINVAL, "%s: not the text of a histogram", key);
    return 0;
}

/* The five distributions of a cell: in JSON under `name`, with figures under `figures`. */
static const struct {
    const char *name, *figures;
    size_t offset;
} parts[] = {
    { "response", "response_time", offsetof(struct cell, response) },
    { "service", "service_time", offsetof(struct cell, service) },
    { "lag", "schedule_lag", offsetof(struct cell, lag) },
    { "lateness", "lateness", offsetof(struct cell, lateness) },
    { "failed", "failed", offsetof(struct cell, failed) },
};

static const struct hist *part(const struct cell *c, size_t i)
{
    return (const struct hist *)(const void *)((const char *)c + parts[i].offset);
}

static void put_figures(struct json *j, const struct cell *c)
{
    json_put(j, "totals", totals_json(c));
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        json_put(j, parts[i].figures, figures_json(part(c, i)));
    struct json *stages = json_put(j, "stages", json_object());
    for (int i = 0; i < STAGE_MAX; i++)
        json_put(stages, stage_name((enum stage)i), figures_json(&c->stages[i]));
}

static void put_histograms(struct json *j, const struct cell *c)
{
    struct json *all = json_put(j, "histograms", json_object());

    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        hist_put_json(all, parts[i].name, part(c, i));
    for (int i = 0; i < STAGE_MAX; i++)
        hist_put_json(all, stage_name((enum stage)i), &c->stages[i]);
}

static void put_statuses(struct json *j, const struct cell *c)
{
    if (!c->statuses)
        return;
    struct json *all = json_put(j, "statuses", json_object());
    for (unsigned code = 0; code < STATUS_END; code++) {
        char key[8];
        if (c->statuses[code] == 0)
            continue;
        snprintf(key, sizeof(key), "%u", code);
        json_put_u64(all, key, c->statuses[code]);
    }
}

/* 0 is "none" inside and null outside. */
static uint64_t none_when_zero(uint64_t ns)
{
    return ns == 0 ? T_NONE : ns;
}

void cell_put_json(struct json *j, const struct cell *c, bool with_figures)
{
    if (with_figures)
        put_figures(j, c);
    else
        json_put(j, "totals", totals_json(c));
    json_put(j, "errors", errors_json(c->fails));
    json_put_u64(j, "redirects", c->redirects);
    json_put_u64(j, "bytes_in", c->bytes_in);
    json_put_u64(j, "bytes_out", c->bytes_out);
    json_put_u64(j, "reused", c->reused);
    json_put_ms(j, "first_failure_ms", none_when_zero(c->first_fail_ns));
    json_put_ms(j, "last_failure_ms", none_when_zero(c->last_fail_ns));
    put_statuses(j, c);
    put_histograms(j, c);
}

int errors_from_json(const struct json *j, uint64_t fails[FAIL_CLASS_MAX], struct err *err)
{
    for (const struct json *e = json_first(j); e; e = json_next(e)) {
        const char *name = json_str(e, "class", "");
        enum fail_class c = fail_class_by_name(name);
        if (c == FAIL_NONE || c >= FAIL_CLASS_MAX)
            return err_set(err, ERR_USAGE, EINVAL, "errors: '%.40s' is no class of failure", name);
        fails[c] = json_u64(e, "count", 0);
    }
    return 0;
}

static int statuses_from_json(const struct json *j, struct cell *c, struct err *err)
{
    if (!json_is_object(j))
        return 0;
    c->statuses = xcalloc(STATUS_END, sizeof(*c->statuses));
    for (const struct json *s = json_first(j); s; s = json_next(s)) {
        uint64_t code;
        if (parse_u64(json_key(s), 0, STATUS_END - 1, &code, NULL) < 0)
            return err_set(err, ERR_USAGE, EINVAL, "statuses: '%.20s' is no status", json_key(s));
        c->statuses[code] = (uint32_t)MIN(json_u64(s, "", 0), UINT32_MAX);
    }
    return 0;
}

static int histograms_from_json(const struct json *j, struct cell *c, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        struct hist *h = (struct hist *)(void *)((char *)c + parts[i].offset);
        if (hist_from_json(j, parts[i].name, h, err) < 0)
            return err_wrap(err, "histograms");
    }
    for (int i = 0; i < STAGE_MAX; i++)
        if (hist_from_json(j, stage_name((enum stage)i), &c->stages[i], err) < 0)
            return err_wrap(err, "histograms");
    return 0;
}

int cell_from_json(const struct json *j, struct cell *c, struct err *err)
{
    c->n_ok = json_u64(j, "totals.successes", 0);
    c->n_fail = json_u64(j, "totals.failures", 0);
    c->redirects = json_u64(j, "redirects", 0);
    c->bytes_in = json_u64(j, "bytes_in", 0);
    c->bytes_out = json_u64(j, "bytes_out", 0);
    c->reused = json_u64(j, "reused", 0);
    c->first_fail_ns = json_ms(j, "first_failure_ms", 0);
    c->last_fail_ns = json_ms(j, "last_failure_ms", 0);
    if (errors_from_json(json_get(j, "errors"), c->fails, err) < 0)
        return -EINVAL;
    if (statuses_from_json(json_get(j, "statuses"), c, err) < 0)
        return -EINVAL;
    return histograms_from_json(json_get(j, "histograms"), c, err);
}
