/* Thresholds from text: a small hand-written scanner, because each mistake shall be pointed at with
 * its column and come with the way to write it. What needs the whole plan (is there such an
 * endpoint, fault, phase?) is checked in plan_check.c. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "campaign/threshold.h"
#include "campaign/threshold_names.h"

#define TEXT_MAX 1000

struct scan {
    const char *text, *p;
    struct arena *arena;
    struct threshold *t;
    struct err *err;
    size_t bad;           /* offset of the mistake */
    const char *op_text;  /* as normalised */
    const char *agg_text; /* as written, for remedies: "p(95)" */
};

static PRINTF_LIKE(3, 4) int fail(struct scan *s, const char *at, const char *fmt, ...)
{
    char msg[ERR_MSG_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    s->bad = (size_t)(at - s->text);
    return err_set(s->err, ERR_USAGE, EINVAL, "%s", msg);
}

static void skip_blanks(struct scan *s)
{
    s->p += strspn(s->p, " \t\n");
}

static size_t word_len(const char *p)
{
    size_t n = 0;

    while (isalnum((unsigned char)p[n]) || p[n] == '_' || p[n] == '-')
        n++;
    return n;
}

static bool word_is(const char *p, const char *word)
{
    return word_len(p) == strlen(word) && strncmp(p, word, strlen(word)) == 0;
}

static int copy_of(struct scan *s, const char *p, size_t len, const char **ret)
{
    *ret = arena_strndup(s->arena, p, len);
    return *ret ? 0 : err_set(s->err, ERR_LIMIT, ENOMEM, "the plan is too large");
}

/* ---- metric{selector}: ---- */

static int unknown_metric(struct scan *s, const char *word, size_t len)
{
    char name[64];
    const char *names[METRIC_NAMES_MAX];
    size_t n = metric_names_list(names, METRIC_NAMES_MAX);

    snprintf(name, sizeof(name), "%.*s", (int)MIN(len, sizeof(name) - 1), word);
    const char *hint = metric_hint(name);
    if (hint)
        return fail(s, word, "'%s' is not measured here: %s", name, hint);
    const char *near = nearest_name(name, names, n);
    if (near)
        return fail(s, word, "unknown metric '%s', did you mean '%s'?", name, near);
    return fail(s, word,
                "unknown metric '%s'; there are response_time, service_time, schedule_lag, dns, "
                "connect, tls, wait, transfer, errors, requests, dropped, recovery_time, "
                "time_to_impact and requests_lost",
                name);
}

static int select_class(struct scan *s, const char *p, size_t len)
{
    const char *names[FAIL_CLASS_MAX];
    char name[64];
    size_t n = 0;

    snprintf(name, sizeof(name), "%.*s", (int)MIN(len, sizeof(name) - 1), p);
    if (s->t->metric != METRIC_ERRORS)
        return fail(s, p, "only errors have a class: write errors{class:%s}: rate < 1%%", name);
    s->t->fail = fail_class_by_name(name);
    if (s->t->fail != FAIL_CLASS_MAX && s->t->fail != FAIL_NONE)
        return 0;
    for (enum fail_class c = FAIL_NONE + 1; c < FAIL_CLASS_MAX; c++)
        names[n++] = fail_class_name(c);
    const char *near = nearest_name(name, names, n);
    if (near)
        return fail(s, p, "unknown error class '%s', did you mean '%s'?", name, near);
    return fail(s, p,
                "unknown error class '%s'; there are refused, reset, status, "
                "response-timeout and others, see chaos-load-plan(5)",
                name);
}

/* The text between the braces. */
static int read_selector(struct scan *s, const char *p, size_t len)
{
    while (len && *p == ' ') {
        p++;
        len--;
    }
    while (len && p[len - 1] == ' ')
        len--;
    if (!len)
        return fail(s, p, "nothing between the braces: write response_time{GET /}: p(95) < 500ms");
    if (s->t->metric >= METRIC_RECOVERY_TIME)
        return fail(s, p,
                    "%s belongs to faults, not to an endpoint: write 'during <fault>' instead",
                    metric_name(s->t->metric));
    if (strncmp(p, "class:", 6) == 0 && len > 6)
        return select_class(s, p + 6, len - 6);
    if (len == 22 && strncmp(p, "expected_response:true", 22) == 0)
        return 0; /* k6's way to say: successes. Ours are never mixed. */
    if (strncmp(p, "name:", 5) == 0 && len > 5)
        return copy_of(s, p + 5, len - 5, &s->t->endpoint);
    return copy_of(s, p, len, &s->t->endpoint);
}

static int read_braces(struct scan *s)
{
    const char *open = s->p;
    int depth = 0;

    for (; *s->p; s->p++) {
        depth += *s->p == '{';
        depth -= *s->p == '}';
        if (depth == 0)
            break;
    }
    if (!*s->p)
        return fail(s, open, "this brace is not closed");
    s->p++;
    return read_selector(s, open + 1, (size_t)(s->p - open) - 2);
}

static int read_metric(struct scan *s, bool *ret_given)
{
    const char *word = s->p;
    size_t len = word_len(word);
    const char *next = word + len + strspn(word + len, " \t\n");

    *ret_given = len > 0 && (*next == '{' || *next == ':');
    if (!*ret_given)
        return 0;
    if (!metric_by_name(word, len, &s->t->metric))
        return unknown_metric(s, word, len);
    s->p = next;
    if (*s->p == '{' && read_braces(s) < 0)
        return -EINVAL;
    skip_blanks(s);
    if (*s->p != ':')
        return fail(s, s->p, "expected ':' after the metric, as in %s: %s",
                    metric_name(s->t->metric), metric_example(s->t->metric));
    s->p++;
    return 0;
}

/* ---- aggregate ---- */

static int read_percentile(struct scan *s, const char *word)
{
    const char *close = strchr(s->p, ')');
    char number[24];
    double q;

    if (!close)
        return fail(s, word, "this parenthesis is not closed: write p(95)");
    snprintf(number, sizeof(number), "%.*s",
             (int)MIN((size_t)(close - s->p) - 1, sizeof(number) - 1), s->p + 1);
    if (parse_double(number, 0, 100, &q, NULL) < 0)
        return fail(s, word, "'p(%s)' is no percentile: N in p(N) is 0..100, as in p(99.9)",
                    number);
    s->t->agg = AGG_P;
    s->t->q = q / 100;
    s->p = close + 1;
    return 0;
}

static int unknown_aggregate(struct scan *s, const char *word, size_t len)
{
    static const char *const names[] = { "avg", "min", "max", "med", "count", "rate" };
    char name[64];

    snprintf(name, sizeof(name), "%.*s", (int)MIN(len, sizeof(name) - 1), word);
    if (name[0] == 'p' && name[1] && strspn(name + 1, "0123456789") == strlen(name) - 1)
        return fail(s, word, "write p(%s) instead of %s", name + 1, name);
    if (!len)
        return fail(s, word, "expected p(N), avg, min, max, med, count or rate");
    enum metric metric;
    if (metric_by_name(word, len, &metric))
        return fail(s, word + len, "what about it? write %s: %s", name, metric_example(metric));
    const char *near = nearest_name(name, names, ARRAY_LEN(names));
    if (near)
        return fail(s, word, "unknown aggregate '%s', did you mean '%s'?", name, near);
    return fail(s, word,
                "unknown aggregate '%s'; there are p(N), avg, min, max, med, count and rate", name);
}

static int read_aggregate(struct scan *s)
{
    static const struct {
        const char *name;
        enum aggregate agg;
    } words[] = { { "avg", AGG_AVG },     { "mean", AGG_AVG }, { "min", AGG_MIN },
                  { "max", AGG_MAX },     { "med", AGG_MED },  { "median", AGG_MED },
                  { "count", AGG_COUNT }, { "rate", AGG_RATE } };
    const char *word;
    size_t len;

    skip_blanks(s);
    word = s->p;
    len = word_len(word);
    s->p += len;
    s->agg_text = word;
    if (len == 1 && *word == 'p' && *s->p == '(')
        return read_percentile(s, word);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (word_is(word, words[i].name)) {
            s->t->agg = words[i].agg;
            return 0;
        }
    return unknown_aggregate(s, word, len);
}

static int check_aggregate(struct scan *s, bool metric_given)
{
    struct threshold *t = s->t;

    if (!metric_given)
        t->metric =
            t->agg == AGG_RATE || t->agg == AGG_COUNT ? METRIC_ERRORS : METRIC_RESPONSE_TIME;
    if (metric_allows(t->metric, t->agg))
        return 0;
    return fail(s, s->agg_text, "%s has no %.*s; it has %s", metric_name(t->metric),
                (int)(s->p - s->agg_text), s->agg_text, metric_aggregates(t->metric));
}

/* ---- operator ---- */

static int read_operator(struct scan *s)
{
    static const struct {
        const char *text;
        enum compare_op op;
        const char *normal;
    } ops[] = { { "<=", OP_LE, "<=" }, { ">=", OP_GE, ">=" },  { "===", OP_EQ, "==" },
                { "==", OP_EQ, "==" }, { "!==", OP_NE, "!=" }, { "!=", OP_NE, "!=" },
                { "<", OP_LT, "<" },   { ">", OP_GT, ">" } };

    skip_blanks(s);
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (strncmp(s->p, ops[i].text, strlen(ops[i].text)) == 0) {
            s->t->op = ops[i].op;
            s->op_text = ops[i].normal;
            s->p += strlen(ops[i].text);
            return 0;
        }
    if (!*s->p)
        return fail(s, s->p, "the condition is missing: write %s: %s", metric_name(s->t->metric),
                    metric_example(s->t->metric));
    return fail(s, s->p, "expected an operator (< <= > >= == !=), not '%.20s'", s->p);
}

/* ---- value ---- */

static bool is_number(const char *s)
{
    return *s && s[strspn(s, "0123456789.")] == '\0' && strspn(s, ".") != strlen(s);
}

static int bare_value(struct scan *s, const char *at, const char *value)
{
    int agg_len = (int)strcspn(s->agg_text, "<>=! \t\n");
    double number = 0;

    if (metric_is_time(s->t->metric))
        return fail(s, at, "a time needs a unit: write %.*s %s %sms", agg_len, s->agg_text,
                    s->op_text, value);
    if (s->t->metric == METRIC_REQUESTS)
        return fail(s, at, "a rate needs a unit: write rate %s %s/s", s->op_text, value);
    err_ignore(parse_double(value, 0, 1e9, &number, NULL), "only for the hint");
    return fail(s, at, "a share is written in percent: write rate %s %.10g%%", s->op_text,
                number < 1 ? number * 100 : number);
}

static int parse_value(struct scan *s, const char *value, double *ret)
{
    const struct threshold *t = s->t;
    uint64_t u = 0;
    int rc;

    if (t->agg == AGG_COUNT || t->metric == METRIC_REQUESTS_LOST)
        return parse_double(value, 0, 1e15, ret, s->err);
    if (metric_is_time(t->metric)) {
        rc = parse_duration(value, PARSE_UNIT, &u, s->err);
        *ret = (double)u;
        return rc;
    }
    if (t->metric == METRIC_REQUESTS)
        return parse_rate(value, PARSE_UNIT, ret, s->err);
    return parse_percent(value, ret, s->err);
}

static int read_value(struct scan *s, double *ret)
{
    char value[40];
    const char *at;
    size_t len;

    skip_blanks(s);
    at = s->p;
    len = strcspn(at, " \t\n");
    if (!len)
        return fail(s, at, "the value is missing: write %s", metric_example(s->t->metric));
    snprintf(value, sizeof(value), "%.*s", (int)MIN(len, sizeof(value) - 1), at);
    bool unit_matters = s->t->agg != AGG_COUNT && s->t->metric != METRIC_REQUESTS_LOST;
    if (unit_matters && is_number(value) && strcmp(value, "0") != 0)
        return bare_value(s, at, value);
    if (strcmp(value, "0") == 0) {
        *ret = 0;
    } else if (parse_value(s, value, ret) < 0) {
        s->bad = (size_t)(at - s->text);
        return -EINVAL;
    }
    s->p += len;
    return 0;
}

/* After the word `baseline`: nothing, + 20%, - 5%, + 50ms, * 2. */
static int read_relative(struct scan *s)
{
    struct threshold *t = s->t;
    const char *at;
    char sign, value[40];
    size_t len;

    t->is_relative = true;
    skip_blanks(s);
    sign = *s->p;
    if (sign != '+' && sign != '-' && sign != '*')
        return 0;
    s->p++;
    skip_blanks(s);
    at = s->p;
    len = strcspn(at, " \t\n");
    snprintf(value, sizeof(value), "%.*s", (int)MIN(len, sizeof(value) - 1), at);
    if (sign == '*') {
        if (parse_double(value, 0, 1e6, &t->value, NULL) < 0)
            return fail(s, at, "'%s' is no factor: write baseline * 2", value);
        t->value -= 1;
    } else if (len && value[strlen(value) - 1] == '%') {
        t->relative_absolute = t->metric == METRIC_ERRORS || t->metric == METRIC_DROPPED;
        value[strlen(value) - 1] = '\0';
        if (parse_double(value, 0, 1e6, &t->value, NULL) < 0)
            return fail(s, at, "'%s%%' is no percentage: write baseline + 20%%", value);
        t->value /= sign == '-' ? -100 : 100;
    } else {
        if (is_number(value))
            return fail(s, at, "'%s' needs a unit: write baseline %c %s%%", value, sign, value);
        if (parse_value(s, value, &t->value) < 0) {
            s->bad = (size_t)(at - s->text);
            return -EINVAL;
        }
        t->relative_absolute = true;
        t->value *= sign == '-' ? -1 : 1;
    }
    s->p = at + len;
    return 0;
}

static int read_limit(struct scan *s)
{
    skip_blanks(s);
    if (!word_is(s->p, "baseline"))
        return read_value(s, &s->t->value);
    if (s->t->metric >= METRIC_RECOVERY_TIME)
        return fail(s, s->p, "%s has no baseline: nothing is broken then",
                    metric_name(s->t->metric));
    if (s->t->agg == AGG_COUNT)
        return fail(s, s->p,
                    "a count depends on how long a phase lasts; compare a rate with the "
                    "baseline");
    s->p += strlen("baseline");
    return read_relative(s);
}

/* ---- in, during, over ---- */

/* A quoted text, or up to the next keyword. */
static int read_name(struct scan *s, const char *what, const char **ret)
{
    const char *at = s->p, *end;

    if (*at == '"' || *at == '\'') {
        end = strchr(at + 1, *at);
        if (!end)
            return fail(s, at, "this quote is not closed");
        if (end == at + 1)
            return fail(s, at, "which %s?", what);
        s->p = end + 1;
        return copy_of(s, at + 1, (size_t)(end - at) - 1, ret);
    }
    for (end = at; *end; end++)
        if (*end == ' ' &&
            (word_is(end + 1, "over") || word_is(end + 1, "in") || word_is(end + 1, "during")))
            break;
    s->p = end;
    while (end > at && end[-1] == ' ')
        end--;
    if (end == at)
        return fail(s, at, "which %s?", what);
    if (memchr(at, '"', (size_t)(end - at)))
        return fail(s, at, "put the name of the %s in single quotes", what);
    return copy_of(s, at, (size_t)(end - at), ret);
}

static int read_window(struct scan *s, const char *word)
{
    const char *at = s->p;
    char value[40];
    size_t len = strcspn(at, " \t\n");

    if (s->t->metric >= METRIC_RECOVERY_TIME)
        return fail(s, word, "%s is one figure per fault and has no window",
                    metric_name(s->t->metric));
    snprintf(value, sizeof(value), "%.*s", (int)MIN(len, sizeof(value) - 1), at);
    if (parse_duration(value, PARSE_UNIT, &s->t->window_ns, s->err) < 0) {
        s->bad = (size_t)(at - s->text);
        return -EINVAL;
    }
    if (s->t->window_ns < NS_PER_SEC || s->t->window_ns > 600 * NS_PER_SEC ||
        s->t->window_ns % NS_PER_SEC)
        return fail(s, at, "a window is 1s to 10m, in whole seconds");
    s->p += len;
    return 0;
}

static int read_clause(struct scan *s)
{
    static const char *const words[] = { "in", "during", "over" };
    const char *word = s->p;
    size_t len = word_len(word);

    s->p += len;
    skip_blanks(s);
    if (word_is(word, "in")) {
        if (s->t->phase || s->t->during)
            return fail(s, word, "'in' or 'during', once");
        if (s->t->metric >= METRIC_RECOVERY_TIME)
            return fail(s, word, "%s belongs to faults: write 'during <fault>' instead of 'in'",
                        metric_name(s->t->metric));
        return read_name(s, "phase", &s->t->phase);
    }
    if (word_is(word, "during")) {
        if (s->t->phase || s->t->during)
            return fail(s, word, "'in' or 'during', once");
        return read_name(s, "fault", &s->t->during);
    }
    if (word_is(word, "over")) {
        if (s->t->window_ns)
            return fail(s, word, "'over' is there twice");
        return read_window(s, word);
    }
    char name[40];
    snprintf(name, sizeof(name), "%.*s", (int)MIN(len ? len : 20, sizeof(name) - 1), word);
    const char *near = nearest_name(name, words, ARRAY_LEN(words));
    if (near)
        return fail(s, word, "unexpected '%s', did you mean '%s'?", name, near);
    return fail(s, word,
                "unexpected '%s'; here may come: in <phase>, during <fault>, over <window>", name);
}

static int read_clauses(struct scan *s)
{
    for (skip_blanks(s); *s->p; skip_blanks(s))
        if (read_clause(s) < 0)
            return -EINVAL;
    return 0;
}

/* ---- the whole ---- */

static void add_name(struct buf *out, const char *word, const char *name)
{
    bool plain = name[word_len(name)] == '\0';

    char quote = strchr(name, '"') ? '\'' : '"'; /* a name never holds both, see read_name */

    if (plain)
        buf_addf(out, " %s %s", word, name);
    else
        buf_addf(out, " %s %c%s%c", word, quote, name, quote);
}

/* An endpoint whose name would be read as something else. */
static bool is_reserved(const char *endpoint)
{
    return strncmp(endpoint, "class:", 6) == 0 || strncmp(endpoint, "name:", 5) == 0 ||
           strncmp(endpoint, "expected_response:", 18) == 0;
}

/* The way it is shown in reports: one blank between words. `limit` is the text from operator to the
 * clauses. */
static int normalise(struct scan *s, const char *agg_end, const char *limit, const char *limit_end)
{
    auto_buf struct buf out = BUF_INIT(TEXT_MAX * 2);
    const struct threshold *t = s->t;
    char window[DURATION_TEXT_MAX];

    buf_adds(&out, metric_name(t->metric));
    if (t->fail != FAIL_NONE)
        buf_addf(&out, "{class:%s}", fail_class_name(t->fail));
    else if (t->endpoint)
        buf_addf(&out, "{%s%s}", is_reserved(t->endpoint) ? "name:" : "", t->endpoint);
    buf_addf(&out, ": %.*s %s", (int)(agg_end - s->agg_text), s->agg_text, s->op_text);
    for (limit += strspn(limit, " \t\n"); limit < limit_end; limit += strspn(limit, " \t\n")) {
        size_t n = MIN(strcspn(limit, " \t\n"), (size_t)(limit_end - limit));
        buf_addf(&out, " %.*s", (int)n, limit);
        limit += n;
    }
    if (t->phase)
        add_name(&out, "in", t->phase);
    if (t->during)
        add_name(&out, "during", t->during);
    if (t->window_ns)
        buf_addf(&out, " over %s", duration_text(t->window_ns, window));
    return copy_of(s, buf_str(&out), out.len, &s->t->expression);
}

static int parse(struct scan *s)
{
    bool metric_given = false;

    if (strlen(s->text) > TEXT_MAX)
        return fail(s, s->text, "longer than %d characters", TEXT_MAX);
    skip_blanks(s);
    if (!*s->p)
        return fail(s, s->p, "empty: write for example response_time: p(95) < 500ms");
    if (read_metric(s, &metric_given) < 0 || read_aggregate(s) < 0)
        return -EINVAL;
    const char *agg_end = s->p;
    if (check_aggregate(s, metric_given) < 0 || read_operator(s) < 0)
        return -EINVAL;
    const char *limit = s->p;
    if (read_limit(s) < 0)
        return -EINVAL;
    const char *limit_end = s->p;
    if (read_clauses(s) < 0)
        return -EINVAL;
    return normalise(s, agg_end, limit, limit_end);
}

int threshold_parse_at(const char *text, struct arena *arena, struct threshold *ret,
                       size_t *ret_bad, struct err *err)
{
    struct threshold t = { .fail = FAIL_NONE };
    struct scan s = { .text = text, .p = text, .arena = arena, .t = &t, .err = err };
    int rc = parse(&s);

    *ret_bad = s.bad;
    if (rc == 0)
        *ret = t;
    return rc < 0 ? -EINVAL : 0;
}

int threshold_parse(const char *text, struct arena *arena, struct threshold *ret, struct err *err)
{
    size_t bad;

    return threshold_parse_at(text, arena, ret, &bad, err);
}
