/* `docker:` of a fault, as people write it, to what it means. */
#include <regex.h>
#include <string.h>

#include "base/parse.h"
#include "chaoslib/docker/select.h"

static const char *const modes[] = { "", "one", "all", "count", "percent", NULL };

/* `50`, or `50%`: both are percents here, since nothing else could be meant. */
static void percent_load(const struct param_ctx *ctx, const struct doc *d, void *field)
{
    struct err err = { 0 };
    double number;

    if (d->kind != DOC_SCALAR)
        diag_add(ctx->diag, d, "must be a percentage, not %s", doc_kind_name(d->kind));
    else if (parse_double(d->text, 0, 100, &number, NULL) == 0)
        *(double *)field = number / 100;
    else if (parse_percent(d->text, field, &err) < 0)
        diag_add(ctx->diag, d, "%s", err.msg);
}

static void mode_load(const struct param_ctx *ctx, const struct doc *d, void *field)
{
    const struct param row = { .name = "mode", .type = PARAM_ENUM, .choices = modes + 1 };
    int chosen = 0;
    unsigned before = ctx->diag->n;

    param_load_one(ctx, &row, d, &chosen);
    if (ctx->diag->n == before)
        *(int *)field = chosen + 1;
}

static const struct param rows[] = {
    PARAM(STRS, "names", struct docker_select, names, .aliases = "name",
          .help = "each of them must be there"),
    PARAM(STR, "match", struct docker_select, match,
          .help = "regular expression (POSIX extended, anywhere in the name)"),
    PARAM(STRS, "label", struct docker_select, labels, .aliases = "labels",
          .help = "key, or key=value; a list: all of them"),
    PARAM(STR, "compose", struct docker_select, compose, .type_text = "project, or project/service",
          .help = "containers of a Compose project, or of one of its services"),
    PARAM(STR, "image", struct docker_select, image,
          .help = "image, with or without registry and tag"),
    PARAM(CUSTOM, "mode", struct docker_select, mode, .load = mode_load,
          .type_text = "one, all, count or percent",
          .schema_json = "{\"enum\":[\"one\",\"all\",\"count\",\"percent\"]}",
          .help = "how many of them; default: all for names alone, else one"),
    PARAM(INT, "count", struct docker_select, count, .lo = 1, .hi = DOCKER_TARGETS_MAX,
          .help = "so many, or as many as there are"),
    PARAM(CUSTOM, "percent", struct docker_select, percent, .load = percent_load,
          .type_text = "percent", .schema_json = "{\"type\":[\"number\",\"string\"]}",
          .help = "share of them, rounded up, at least one"),
    PARAM(BOOL, "allow_empty", struct docker_select, allow_empty, .def = "false",
          .help = "nobody there is no mistake"),
};

static bool has_condition(const struct docker_select *s)
{
    return s->names.n || s->match || s->labels.n || s->compose || s->image;
}

/* A number is there with its mode, and only with it. */
static void check_number(const struct param_ctx *ctx, const struct doc *d, int mode, int of)
{
    const struct doc *number = doc_get(d, modes[of]);

    if (mode == of && !number)
        diag_add(ctx->diag, d, "mode %s needs %s: N", modes[of], modes[of]);
    else if (mode != of && number)
        diag_add_key(ctx->diag, number, "has no meaning with mode %s", modes[mode]);
}

static void check_mode(const struct param_ctx *ctx, const struct doc *d, struct docker_select *s)
{
    const struct doc *count = doc_get(d, "count"), *percent = doc_get(d, "percent");

    if (count && percent) {
        diag_add_key(ctx->diag, percent, "keep either count or percent");
        return;
    }
    if (s->mode == DOCKER_MODE_DEFAULT && (count || percent))
        s->mode = count ? DOCKER_COUNT : DOCKER_PERCENT;
    check_number(ctx, d, s->mode, DOCKER_COUNT);
    check_number(ctx, d, s->mode, DOCKER_PERCENT);
    if (percent && s->mode == DOCKER_PERCENT && s->percent <= 0)
        diag_add(ctx->diag, percent, "must be above 0");
}

static void check_match(const struct param_ctx *ctx, const struct doc *d, const char *match)
{
    char why[128];
    regex_t re;
    int rc = regcomp(&re, match, REG_EXTENDED | REG_NOSUB);

    if (rc == 0) {
        regfree(&re);
        return;
    }
    regerror(rc, &re, why, sizeof(why));
    diag_add(ctx->diag, doc_get(d, "match"), "'%.100s' is not a regular expression: %s", match,
             why);
}

static void check_names(const struct param_ctx *ctx, const struct doc *d, const struct strs *names)
{
    for (size_t i = 0; i < names->n; i++) {
        const char *name = names->v[i];

        if (strncmp(name, "re2:", 4) == 0)
            diag_add(ctx->diag, d, "'%.100s' is written docker: {match: '%.100s'} here", name,
                     name + 4);
        else if (!*name)
            diag_add(ctx->diag, d, "a container's name is empty");
        else if (name[strspn(name + (*name == '/'), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqr"
                                                    "stuvwxyz0123456789_.-") +
                      (*name == '/')])
            diag_add(ctx->diag, d,
                     "'%.100s' cannot be a container's name (letters, digits, _ . -); to choose by "
                     "a regular expression write docker: {match: …}",
                     name);
        for (size_t k = 0; k < i; k++)
            if (strcmp(names->v[k], name) == 0)
                diag_add(ctx->diag, d, "'%.100s' is there twice", name);
    }
}

static void check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    struct docker_select *s = base;

    if (!has_condition(s)) {
        diag_add(ctx->diag, d,
                 "selects every container there is: give it names, match, label, compose or "
                 "image; all of them is match: '.'");
        return;
    }
    check_mode(ctx, d, s);
    check_names(ctx, d, &s->names);
    if (s->match)
        check_match(ctx, d, s->match);
    if (s->compose && (s->compose[0] == '/' || !s->compose[0] ||
                       (strchr(s->compose, '/') && !strchr(s->compose, '/')[1])))
        diag_add(ctx->diag, doc_get(d, "compose"),
                 "'%.100s' is not complete: write project, or project/service", s->compose);
    for (size_t i = 0; i < s->labels.n; i++)
        if (!*s->labels.v[i] || *s->labels.v[i] == '=')
            diag_add(ctx->diag, d, "label '%.100s' has no key: write key, or key=value",
                     s->labels.v[i]);
}

static const struct param_table table = { "docker", rows, ARRAY_LEN(rows), check };

const char docker_select_schema[] =
    "{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
    "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
    "\"names\":{\"type\":[\"string\",\"array\"]},\"name\":{\"type\":[\"string\",\"array\"]},"
    "\"match\":{\"type\":\"string\"},"
    "\"label\":{\"type\":[\"string\",\"array\"]},\"labels\":{\"type\":[\"string\",\"array\"]},"
    "\"compose\":{\"type\":\"string\"},\"image\":{\"type\":\"string\"},"
    "\"mode\":{\"enum\":[\"one\",\"all\",\"count\",\"percent\"]},"
    "\"count\":{\"type\":[\"integer\",\"string\"]},\"percent\":{\"type\":[\"number\",\"string\"]},"
    "\"allow_empty\":{\"type\":[\"boolean\",\"string\"]}}}]}";

void docker_select_load(const struct param_ctx *ctx, const struct doc *d, void *field)
{
    static const struct param names_row = { .name = "names", .type = PARAM_STRS };
    struct docker_select *s = field;

    *s = (struct docker_select){ 0 };
    if (d->kind == DOC_MAP) {
        param_load(ctx, &table, d, s, NULL);
        return;
    }
    if (d->kind == DOC_NULL) {
        diag_add_key(ctx->diag, d, "has no value: give it a container's name");
        return;
    }
    param_load_one(ctx, &names_row, d, &s->names);
    if (d->kind == DOC_LIST && s->names.n == 0 && d->n_items == 0)
        diag_add(ctx->diag, d, "is an empty list: give it containers' names");
    check_names(ctx, d, &s->names);
}
