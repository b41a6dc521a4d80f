/* `kill: {process: shop}` to a kind and its parameters: which backend is meant follows from the key
 * that names the target. */
#include <string.h>

#include "base/parse.h"
#include "chaoslib/chaos.h"

#define NAMES_MAX 128

static bool is_kind(const struct fault_kind *k, const char *name)
{
    return strcmp(k->name, name) == 0;
}

static bool is_among(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void unknown_kind(const struct param_ctx *ctx, const char *name, const struct doc *d)
{
    const char *names[NAMES_MAX];
    auto_buf struct buf list = BUF_INIT(4096);
    size_t n = 0;

    for (const struct fault_kind *const *k = fault_catalog; *k && n < NAMES_MAX; k++) {
        if (is_among((*k)->name, names, n)) /* with another target */
            continue;
        names[n++] = (*k)->name;
        buf_addf(&list, "%s%s", n > 1 ? ", " : "", (*k)->name);
    }
    const char *near = nearest_name(name, names, n);
    if (near)
        diag_add_key(ctx->diag, d, "unknown fault, did you mean '%s'?", near);
    else
        diag_add_key(ctx->diag, d, "unknown fault; known are %s", buf_str(&list));
}

/* "process: or proxy:" of the kinds with that name. */
static void list_backends(const char *name, struct buf *out)
{
    for (const struct fault_kind *const *k = fault_catalog; *k; k++)
        if (is_kind(*k, name))
            buf_addf(out, "%s%s: %s", out->len ? " or " : "", (*k)->backend,
                     strcmp((*k)->backend, "host") == 0 ? "any" : "NAME");
}

/* All kinds of that name whose target key is there; the last one, and how many. */
static const struct fault_kind *by_target(const char *name, const struct doc *d, unsigned *ret_n)
{
    const struct fault_kind *found = NULL;

    *ret_n = 0;
    for (const struct fault_kind *const *k = fault_catalog; *k; k++) {
        if (!is_kind(*k, name) || !doc_get(d, (*k)->backend))
            continue;
        found = *k;
        ++*ret_n;
    }
    return found;
}

/* The only backend there is needs no key to be told apart; its own table says what is missing. */
static const struct fault_kind *only_backend(const char *name)
{
    const struct fault_kind *found = NULL;

    for (const struct fault_kind *const *k = fault_catalog; *k; k++) {
        if (!is_kind(*k, name))
            continue;
        if (found)
            return NULL;
        found = *k;
    }
    return found;
}

static const struct param *row_of(const struct fault_kind *k, const char *key)
{
    for (size_t i = 0; key && i < k->params->n; i++)
        if (strcmp(k->params->rows[i].name, key) == 0)
            return &k->params->rows[i];
    return NULL;
}

/* `exec: {command: …}`: the one kind of that name that can do without a target; NULL: none. */
static const struct fault_kind *without_target(const char *name)
{
    for (const struct fault_kind *const *k = fault_catalog; *k; k++) {
        const struct param *row = is_kind(*k, name) ? row_of(*k, (*k)->backend) : NULL;
        if (row && !row->required)
            return *k;
    }
    return NULL;
}

/* A key that says which target was meant, and forgotten; NULL: none. */
static const char *key_of_other(const struct fault_kind *kind, const struct doc *d,
                                const char **ret_backend)
{
    for (size_t i = 0; i < d->n_items; i++)
        for (const struct fault_kind *const *k = fault_catalog; *k; k++)
            if (is_kind(*k, kind->name) && !row_of(kind, d->items[i]->key) &&
                row_of(*k, d->items[i]->key)) {
                *ret_backend = (*k)->backend;
                return d->items[i]->key;
            }
    return NULL;
}

static bool exists(const char *name)
{
    for (const struct fault_kind *const *k = fault_catalog; *k; k++)
        if (is_kind(*k, name))
            return true;
    return false;
}

/* `latency: {process: shop}`: a backend, but not one of this kind. */
static const char *foreign_backend(const char *name, const struct doc *d)
{
    for (const struct fault_kind *const *k = fault_catalog; *k; k++)
        if (doc_get(d, (*k)->backend) && !fault_kind_find(name, (*k)->backend))
            return (*k)->backend;
    return NULL;
}

static const struct fault_kind *pick(const struct param_ctx *ctx, const char *name,
                                     const struct doc *d)
{
    auto_buf struct buf backends = BUF_INIT(1024);
    unsigned n;
    const struct fault_kind *kind = by_target(name, d, &n);

    list_backends(name, &backends);
    if (n == 1)
        return kind;
    if (n > 1) {
        diag_add(ctx->diag, d, "more than one target: keep one of %s", buf_str(&backends));
        return NULL;
    }
    const char *wrong = foreign_backend(name, d);
    if (wrong) {
        diag_add_key(ctx->diag, doc_get(d, wrong), "%s cannot hit a %s: give it %s", name, wrong,
                     buf_str(&backends));
        return NULL;
    }
    kind = only_backend(name);
    if (!kind)
        kind = without_target(name);
    const char *backend = NULL, *key = kind ? key_of_other(kind, d, &backend) : NULL;
    if (key)
        diag_add(ctx->diag, d, "no target: '%s' is for %s: NAME, which is missing", key, backend);
    else if (!kind)
        diag_add(ctx->diag, d, "no target: give it %s", buf_str(&backends));
    return key ? NULL : kind;
}

static const struct fault_kind *kind_of(const struct param_ctx *ctx, const char *name,
                                        const struct doc *d)
{
    if (!exists(name)) {
        unknown_kind(ctx, name, d);
        return NULL;
    }
    if (d->kind != DOC_MAP) {
        diag_add(ctx->diag, d, "expected a map, such as  %s: {%s: NAME}", name,
                 only_backend(name) ? only_backend(name)->backend : "process");
        return NULL;
    }
    return pick(ctx, name, d);
}

unsigned fault_spec_flags(const struct fault_spec *s)
{
    if (!s->kind) /* it could not be read */
        return 0;
    unsigned of_backend = strcmp(s->kind->backend, "docker") == 0 ? FAULT_NEEDS_DOCKER : 0;

    return of_backend | s->kind->flags | (s->kind->flags_of ? s->kind->flags_of(s->params) : 0);
}

static bool knows(const struct param_table *t, const char *key)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->rows[i].name, key) == 0)
            return true;
    return false;
}

/* by_proxy is another way to make a kind on the same backend, with parameters of its own. The plan
 * means it when it says `mechanism: proxy`, or gives a key that only it has. */
static bool means_proxy(const struct fault_kind *k, const struct doc *d)
{
    const struct doc *mechanism = doc_get(d, "mechanism");

    if (!k->by_proxy)
        return false;
    if (mechanism)
        return mechanism->kind == DOC_SCALAR && strcmp(mechanism->text, "proxy") == 0;
    for (size_t i = 0; i < k->by_proxy->params->n; i++) {
        const char *key = k->by_proxy->params->rows[i].name;
        if (doc_get(d, key) && !knows(k->params, key))
            return true;
    }
    return false;
}

void fault_spec_read(const struct param_ctx *ctx, const char *kind_name, const struct doc *d,
                     struct fault_spec *ret)
{
    const struct fault_kind *kind = kind_of(ctx, kind_name, d);

    if (kind && means_proxy(kind, d))
        kind = kind->by_proxy;
    void *params = kind ? arena_alloc(ctx->arena, kind->params_size) : NULL;

    if (!kind)
        return;
    if (!params)
        diag_add(ctx->diag, d, "the plan is too large");
    else if (param_load(ctx, kind->params, d, params, NULL) == 0)
        *ret = (struct fault_spec){ .kind = kind, .params = params };
}
