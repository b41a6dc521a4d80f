/* Checks of one answer, cheapest first: status, headers, time, size, then the body. The sentence it
 * gives goes into error tables, so it names what was wanted and only the start of what came. */
#include "runner/expect.h"

#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define STATUS_MAX 599
#define NEEDLE_MAX 60 /* characters of a wanted text shown in a sentence */

struct expect_form {
    const struct expect *plan;
    uint64_t status_bits[10];
    bool has_regex;
    regex_t regex;
};

static void set_range(uint64_t bits[10], unsigned lo, unsigned hi)
{
    for (unsigned code = lo; code <= hi && code <= STATUS_MAX; code++)
        bits[code / 64] |= UINT64_C(1) << (code % 64);
}

static bool read_code(const char *s, unsigned *ret)
{
    unsigned code = 0;

    for (size_t i = 0; i < 3; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        code = code * 10 + (unsigned)(s[i] - '0');
    }
    *ret = code;
    return code >= 100 && code <= STATUS_MAX;
}

static bool add_status(const char *s, uint64_t bits[10])
{
    unsigned lo, hi;

    if (strlen(s) == 3 && s[0] >= '1' && s[0] <= '5' && strcmp(s + 1, "xx") == 0) {
        lo = (unsigned)(s[0] - '0') * 100;
        set_range(bits, lo, lo + 99);
        return true;
    }
    if (strlen(s) == 3 && read_code(s, &lo)) {
        set_range(bits, lo, lo);
        return true;
    }
    if (strlen(s) == 7 && s[3] == '-' && read_code(s, &lo) && read_code(s + 4, &hi) && lo <= hi) {
        set_range(bits, lo, hi);
        return true;
    }
    return false;
}

int expect_status_bits(const struct strs *status, uint64_t bits[10], struct err *err)
{
    memset(bits, 0, 10 * sizeof(*bits));
    for (size_t i = 0; i < status->n; i++)
        if (!add_status(status->v[i], bits))
            return err_set(err, ERR_USAGE, EINVAL,
                           "'%s' is not a status; write 200, 2xx or 200-204", status->v[i]);
    if (status->n == 0)
        set_range(bits, 100, 399);
    return 0;
}

int expect_form_new(struct arena *a, const struct expect *e, struct expect_form **ret,
                    struct err *err)
{
    struct expect_form *f = arena_alloc(a, sizeof(*f));
    int rc;

    if (!f)
        return err_set(err, ERR_LIMIT, ENOMEM, "the plan is too large");
    f->plan = e;
    rc = expect_status_bits(&e->status, f->status_bits, err);
    if (rc < 0)
        return rc;
    if (e->body_regex) {
        int bad = regcomp(&f->regex, e->body_regex, REG_EXTENDED | REG_NOSUB);

        if (bad) {
            char text[128];

            regerror(bad, &f->regex, text, sizeof(text));
            return err_set(err, ERR_USAGE, EINVAL, "'%s' is not a regular expression: %s",
                           e->body_regex, text);
        }
        f->has_regex = true;
    }
    *ret = f;
    return 0;
}

void expect_form_done(struct expect_form *f)
{
    if (f && f->has_regex)
        regfree(&f->regex);
    if (f)
        f->has_regex = false;
}

bool expect_needs_body(const struct expect_form *f)
{
    return f->has_regex || f->plan->body_contains.n > 0 || f->plan->body_not_contains.n > 0;
}

static bool body_has(const struct answer *a, const char *needle)
{
    return memmem(a->body ? a->body : "", a->body ? a->body_len : 0, needle, strlen(needle));
}

static enum fail_class check_headers(const struct expect *e, const struct answer *a, char *why)
{
    for (size_t i = 0; i < e->headers.n; i++) {
        const char *want = e->headers.values[i];
        bool seen = false;
        const char *value;
        size_t len;

        for (unsigned nth = 0;
             !seen && (value = head_find(a->head, a->head_len, e->headers.keys[i], nth, &len));
             nth++)
            seen = memmem(value, len, want, strlen(want));
        if (!seen) {
            snprintf(why, WHY_MAX, "header %.60s does not hold '%.*s'", e->headers.keys[i],
                     NEEDLE_MAX, want);
            return FAIL_EXPECTATION;
        }
    }
    return FAIL_NONE;
}

static enum fail_class check_body(const struct expect_form *f, const struct answer *a, char *why)
{
    const struct expect *e = f->plan;

    for (size_t i = 0; i < e->body_contains.n; i++)
        if (!body_has(a, e->body_contains.v[i])) {
            snprintf(why, WHY_MAX, "body does not hold '%.*s'", NEEDLE_MAX, e->body_contains.v[i]);
            return FAIL_EXPECTATION;
        }
    for (size_t i = 0; i < e->body_not_contains.n; i++)
        if (body_has(a, e->body_not_contains.v[i])) {
            snprintf(why, WHY_MAX, "body holds '%.*s'", NEEDLE_MAX, e->body_not_contains.v[i]);
            return FAIL_EXPECTATION;
        }
    if (f->has_regex) {
        regmatch_t whole = { .rm_so = 0, .rm_eo = a->body ? (regoff_t)a->body_len : 0 };

        if (regexec(&f->regex, a->body ? a->body : "", 1, &whole, REG_STARTEND) != 0) {
            snprintf(why, WHY_MAX, "body does not match '%.*s'", NEEDLE_MAX, e->body_regex);
            return FAIL_EXPECTATION;
        }
    }
    return FAIL_NONE;
}

/* What was not kept is counted on the wire, so chunk sizes count a little too. */
static uint64_t body_size(const struct answer *a)
{
    if (a->body)
        return a->body_len;
    return a->sample.bytes_in > a->head_len ? a->sample.bytes_in - a->head_len : 0;
}

enum fail_class expect_check(const struct expect_form *f, const struct answer *a, uint64_t time_ns,
                             char why[WHY_MAX])
{
    const struct expect *e = f->plan;
    unsigned status = a->sample.status;
    enum fail_class fail;

    if (status > STATUS_MAX || !(f->status_bits[status / 64] >> (status % 64) & 1)) {
        snprintf(why, WHY_MAX, "status %u", status);
        return FAIL_STATUS;
    }
    fail = check_headers(e, a, why);
    if (fail != FAIL_NONE)
        return fail;
    if (e->max_time_ns > 0 && time_ns > e->max_time_ns) {
        char limit[DURATION_TEXT_MAX];

        snprintf(why, WHY_MAX, "slower than %s", duration_text(e->max_time_ns, limit));
        return FAIL_EXPECTATION;
    }
    if (e->max_body > 0 && body_size(a) > e->max_body) {
        snprintf(why, WHY_MAX, "body larger than %llu bytes", (unsigned long long)e->max_body);
        return FAIL_EXPECTATION;
    }
    return expect_needs_body(f) ? check_body(f, a, why) : FAIL_NONE;
}
