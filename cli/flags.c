/* See flags.h. Here are the flags that are one value at one place of the plan; those with a shape
 * of their own are in flags_load.c and flags_words.c. */
#include "cli/flags.h"

#include <string.h>

#include "base/parse.h"

static const struct {
    const char *opt, *path;
    const char *text; /* a switch puts this */
} places[] = {
    { "host", "target", NULL },
    { "seed", "seed", NULL },
    { "name", "name", NULL },
    { "description", "description", NULL },
    { "warmup", "warmup", NULL },
    { "threads", "threads", NULL },
    { "max-lag", "max_lag", NULL },
    { "stop-timeout", "graceful_stop", NULL },
    { "slo", "slo", NULL },
    { "recover-hold", "recover_hold", NULL },
    { "settle", "settle", NULL },
    { "timeout", "http.timeout", NULL },
    { "connect-timeout", "http.connect_timeout", NULL },
    { "connect", "http.connections", NULL },
    { "engine", "http.engine", NULL },
    { "http2", "http.http_version", "2" },
    { "no-redirects", "http.follow_redirects", "false" },
    { "no-keep-alive", "http.keep_alive", "false" },
    { "compressed", "http.compressed", "true" },
    { "insecure", "http.tls.verify", "false" },
    { "ca", "http.tls.ca", NULL },
    { "cert", "http.tls.cert", NULL },
    { "key", "http.tls.key", NULL },
    { "bearer-env", "http.bearer.env", NULL },
    { "bearer-file", "http.bearer.file", NULL },
    { "basic-user", "http.basic_auth.user", NULL },
    { "password-env", "http.basic_auth.password_env", NULL },
    { "password-file", "http.basic_auth.password_file", NULL },
    { "docker-host", "docker.host", NULL },
    { "out", "out.dir", NULL },
    { "result", "out.result", NULL },
    { "html", "out.html", NULL },
    { "markdown", "out.markdown", NULL },
    { "junit", "out.junit", NULL },
    { "rows", "out.rows", NULL },
    { "csv", "out.csv", NULL },
    { "csv-full-history", "out.csv_full_history", "true" },
};

static struct doc *map_at(const struct flags *f, struct doc *map, const char *source,
                          const char *key)
{
    struct doc *child = doc_get_mutable(map, key);

    if (child && child->kind == DOC_MAP)
        return child;
    child = doc_new(f->arena, DOC_MAP, source);
    doc_map_put(f->arena, map, key, child);
    return child;
}

void flags_put_path(const struct flags *f, struct doc *map, const char *source, const char *path,
                    struct doc *value)
{
    const char *dot;

    while (map && (dot = strchr(path, '.'))) {
        const char *key = arena_strndup(f->arena, path, (size_t)(dot - path));

        map = key ? map_at(f, map, source, key) : NULL;
        path = dot + 1;
    }
    if (!map || !value)
        diag_add(f->diag, NULL, "the command line is too large");
    else
        doc_map_put(f->arena, map, path, value);
}

void flags_put_text(const struct flags *f, struct doc *map, const char *source, const char *path,
                    const char *text)
{
    flags_put_path(f, map, source, path, doc_scalar(f->arena, source, text));
}

/* k6's map: a metric with one condition or several. */
static void keep_conditions(const struct flags *f, struct doc *list, const struct doc *of_metric)
{
    size_t n = of_metric->kind == DOC_LIST ? of_metric->n_items : 1;

    for (size_t i = 0; i < n; i++) {
        const struct doc *d = of_metric->kind == DOC_LIST ? of_metric->items[i] : of_metric;
        const char *text = d->kind == DOC_SCALAR
                               ? arena_printf(f->arena, "%s: %s", of_metric->key, d->text)
                               : NULL;
        struct doc *copy = text ? doc_scalar(f->arena, d->source, text) : NULL;
        if (!copy)
            continue;
        copy->line = d->line;
        copy->col = d->col;
        doc_list_add(f->arena, list, copy);
    }
}

/* What the plan says without a list: one text, one {on:, is:}, or k6's map. */
static void keep_thresholds(const struct flags *f, struct doc *list, struct doc *old)
{
    if (old->kind == DOC_SCALAR || (old->kind == DOC_MAP && doc_get(old, "is"))) {
        doc_list_add(f->arena, list, old);
        return;
    }
    for (size_t i = 0; old->kind == DOC_MAP && i < old->n_items; i++)
        keep_conditions(f, list, old->items[i]);
}

struct doc *flags_list(const struct flags *f, const char *source, const char *key)
{
    struct doc *list = doc_get_mutable(f->root, key);

    if (list && list->kind == DOC_LIST)
        return list;
    struct doc *old = list;
    list = doc_new(f->arena, DOC_LIST, source);
    doc_map_put(f->arena, f->root, key, list);
    if (old)
        keep_thresholds(f, list, old);
    return list;
}

/* Locust adds ".json" always, and so does everyone's habit. */
static void put_json_file(const struct flags *f)
{
    const char *name = opt_value(f->args, "json-file");
    size_t len = name ? strlen(name) : 0;

    if (!name)
        return;
    bool has = len > 5 && strcmp(name + len - 5, ".json") == 0;
    const char *path = arena_printf(f->arena, "%s%s", name, has ? "" : ".json");
    flags_put_text(f, f->root, "--json-file", "out.json", path ? path : name);
}

static void check_utf8(const struct flags *f)
{
    for (const struct opt_values *o = f->args->opts; o->opt->name; o++)
        for (size_t i = 0; i < o->n; i++)
            if (!utf8_is_valid(o->values[i], strlen(o->values[i])))
                diag_add(f->diag, NULL, "--%s: the value is not UTF-8", o->opt->name);
}

void flags_apply(const struct flags *f)
{
    unsigned before = f->diag->n;

    check_utf8(f);
    if (f->diag->n != before)
        return;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        const char *value = opt_value(f->args, places[i].opt);
        const char *source = arena_printf(f->arena, "--%s", places[i].opt);

        if (value && source)
            flags_put_text(f, f->root, source, places[i].path,
                           places[i].text ? places[i].text : value);
    }
    put_json_file(f);
    flags_load(f);
    flags_words(f);
}
