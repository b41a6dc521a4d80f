/* See doc.h. Growth is by doubling at powers of two, so that a node needs no capacity field. */
#include "base/doc.h"

#include <string.h>

struct doc *doc_new(struct arena *a, enum doc_kind kind, const char *source)
{
    struct doc *d = arena_alloc(a, sizeof(*d));

    if (!d)
        return NULL;
    d->kind = kind;
    d->source = source;
    return d;
}

struct doc *doc_scalar(struct arena *a, const char *source, const char *text)
{
    struct doc *d = doc_new(a, DOC_SCALAR, source);

    if (!d)
        return NULL;
    d->text = arena_strdup(a, text);
    return d->text ? d : NULL;
}

static bool is_power_of_two(size_t n)
{
    return (n & (n - 1)) == 0;
}

static bool make_room(struct arena *a, struct doc *d)
{
    if (!is_power_of_two(d->n_items))
        return true;
    struct doc **items = arena_alloc(a, MAX(2 * d->n_items, 1) * sizeof(struct doc *));
    if (!items)
        return false;
    if (d->n_items)
        memcpy(items, d->items, d->n_items * sizeof(struct doc *));
    d->items = items;
    return true;
}

void doc_list_add(struct arena *a, struct doc *list, struct doc *value)
{
    if (!list || !value || !make_room(a, list))
        return;
    if (list->kind == DOC_LIST)
        value->key = NULL;
    value->parent = list;
    list->items[list->n_items++] = value;
}

static struct doc **find(const struct doc *map, const char *key)
{
    if (!map || map->kind != DOC_MAP)
        return NULL;
    for (size_t i = 0; i < map->n_items; i++)
        if (!strcmp(map->items[i]->key, key))
            return &map->items[i];
    return NULL;
}

void doc_map_put(struct arena *a, struct doc *map, const char *key, struct doc *value)
{
    if (!map || !value)
        return;
    value->key = arena_strdup(a, key);
    if (!value->key)
        return;
    struct doc **old = find(map, key);
    if (!old) {
        doc_list_add(a, map, value);
        return;
    }
    value->parent = map;
    *old = value;
}

struct doc *doc_get_mutable(struct doc *map, const char *key)
{
    struct doc **found = find(map, key);

    return found ? *found : NULL;
}

const struct doc *doc_get(const struct doc *map, const char *key)
{
    struct doc *const *found = find(map, key);

    return found ? *found : NULL;
}

static void add_step(const struct doc *d, bool first, struct buf *out)
{
    size_t i = 0;

    if (d->key) {
        buf_addf(out, "%s%s", first ? "" : ".", d->key);
        return;
    }
    while (i < d->parent->n_items && d->parent->items[i] != d)
        i++;
    buf_addf(out, "[%zu]", i);
}

void doc_path(const struct doc *d, struct buf *out)
{
    size_t depth = 0;

    for (const struct doc *p = d; p && p->parent; p = p->parent)
        depth++;
    for (size_t level = depth; level-- > 0;) {
        const struct doc *p = d;
        for (size_t up = 0; up < level; up++)
            p = p->parent;
        add_step(p, level + 1 == depth, out);
    }
}

const char *doc_kind_name(enum doc_kind kind)
{
    static const char *const names[] = {
        [DOC_NULL] = "nothing", [DOC_SCALAR] = "a value", [DOC_MAP] = "a map", [DOC_LIST] = "a list"
    };

    return names[kind];
}
