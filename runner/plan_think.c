/* Think times: between(1s, 5s), constant(1s), pacing(10s), throughput(0.5/s), exponential(2s),
 * none. The words are Locust's; the units are ours, because Locust's between(1, 5) is read as
 * milliseconds by half of those who see it. */
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "runner/plan_internal.h"

#define THINK_ARG_MAX 40

struct think_args {
    char v[2][THINK_ARG_MAX];
    size_t n;
};

static const struct {
    const char *name;
    size_t n_args;
    enum think_kind kind;
    bool is_rate;
    const char *example;
} forms[] = {
    { "none", 0, THINK_NONE, false, "none" },
    { "constant", 1, THINK_CONSTANT, false, "constant(1s)" },
    { "between", 2, THINK_BETWEEN, false, "between(1s, 5s)" },
    { "pacing", 1, THINK_PACING, false, "pacing(10s)" },
    { "throughput", 1, THINK_PACING, true, "throughput(0.5/s)" },
    { "exponential", 1, THINK_EXPONENTIAL, false, "exponential(2s)" },
};

const char think_schema[] =
    "{\"type\":\"string\",\"pattern\":"
    "\"^(none|(constant|between|pacing|throughput|exponential)\\\\(.+\\\\))$\"}";

bool doc_is_flag(const struct doc *d)
{
    return d && d->source && strncmp(d->source, "--", 2) == 0;
}

static bool is_bare_number(const char *s)
{
    return *s && strspn(s, "0123456789.") == strlen(s) && strcmp(s, "0") != 0;
}

/* Splits "a, b" into at most two trimmed arguments; more are counted. */
static bool split_args(const char *s, size_t len, struct think_args *ret)
{
    const char *end = s + len;

    *ret = (struct think_args){ 0 };
    while (s < end || ret->n > 0) {
        const char *stop = s;

        while (stop < end && *stop != ',')
            stop++;
        bool more = stop < end;
        while (s < stop && *s == ' ')
            s++;
        const char *last = stop;
        while (last > s && last[-1] == ' ')
            last--;
        if (ret->n == 2 || last == s || last - s >= THINK_ARG_MAX)
            return false;
        memcpy(ret->v[ret->n], s, (size_t)(last - s));
        ret->n++;
        if (!more)
            break;
        s = stop + 1;
    }
    return true;
}

/* "between(1s, 5s)" with the unit put after each bare number. */
static void say_unit(const struct param_ctx *ctx, const struct doc *d, size_t form,
                     const struct think_args *args)
{
    const char *unit = forms[form].is_rate ? "/s" : "s";
    char text[2][THINK_ARG_MAX + 4];

    for (size_t i = 0; i < args->n; i++)
        snprintf(text[i], sizeof(text[i]), "%s%s", args->v[i],
                 is_bare_number(args->v[i]) ? unit : "");
    if (args->n == 2)
        diag_add(ctx->diag, d, "'%s' needs units: write %s(%s, %s)", d->text, forms[form].name,
                 text[0], text[1]);
    else
        diag_add(ctx->diag, d, "'%s' needs a unit: write %s(%s)", d->text, forms[form].name,
                 text[0]);
}

static int read_values(const struct param_ctx *ctx, const struct doc *d, size_t form,
                       const struct think_args *args, struct think *ret)
{
    unsigned flags = ctx->from_flags || doc_is_flag(d) ? PARSE_BARE_SECONDS : PARSE_UNIT;
    uint64_t value[2] = { 0 };
    struct err err = { 0 };
    double rate = 0;

    for (size_t i = 0; i < args->n; i++) {
        int rc = 0;

        if (flags == PARSE_UNIT && is_bare_number(args->v[i])) {
            say_unit(ctx, d, form, args);
            return -1;
        }
        if (forms[form].is_rate)
            rc = parse_rate(args->v[i], flags, &rate, &err);
        else
            rc = parse_duration(args->v[i], flags, &value[i], &err);
        if (rc < 0) {
            diag_add(ctx->diag, d, "%s", err.msg);
            return -1;
        }
    }
    if (forms[form].is_rate && rate < 1e-6) {
        diag_add(ctx->diag, d, "throughput must be above 0");
        return -1;
    }
    if (forms[form].is_rate)
        value[0] = (uint64_t)((double)NS_PER_SEC / rate);
    *ret = (struct think){ forms[form].kind, value[0], value[1] };
    return 0;
}

void think_load(const struct param_ctx *ctx, const struct doc *d, void *field)
{
    const char *open;
    size_t name_len, form;
    struct think_args args = { 0 };
    struct think *think = field;

    if (d->kind != DOC_SCALAR) {
        diag_add(ctx->diag, d, "expected a think time such as between(1s, 5s), not %s",
                 doc_kind_name(d->kind));
        return;
    }
    open = strchr(d->text, '(');
    name_len = open ? (size_t)(open - d->text) : strlen(d->text);
    for (form = 0; form < ARRAY_LEN(forms); form++)
        if (strlen(forms[form].name) == name_len &&
            strncmp(forms[form].name, d->text, name_len) == 0)
            break;
    if (form == ARRAY_LEN(forms)) {
        diag_add(ctx->diag, d,
                 "'%s' is no think time; there are between(1s, 5s), constant(1s), pacing(10s), "
                 "throughput(0.5/s), exponential(2s) and none",
                 d->text);
        return;
    }
    if (open &&
        (d->text[strlen(d->text) - 1] != ')' || !split_args(open + 1, strlen(open) - 2, &args)))
        args.n = SIZE_MAX;
    if (args.n != forms[form].n_args) {
        diag_add(ctx->diag, d, "'%s' is not complete: write %s", d->text, forms[form].example);
        return;
    }
    if (read_values(ctx, d, form, &args, think) < 0)
        return;
    if (think->kind == THINK_BETWEEN && think->a_ns > think->b_ns)
        diag_add(ctx->diag, d, "'%s': the first must not be above the second", d->text);
}
