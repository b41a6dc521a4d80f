/* See yaml.h. Events of libyaml are built into documents on an explicit stack. An alias is a copy
 * of what it names, so that each node has one parent and a path of its own; copies count like other
 * nodes, which is what stops alias bombs. */
#include "edge/yaml.h"

#include <errno.h>
#include <string.h>
#include <yaml.h>

#include "base/parse.h"

struct anchor {
    const char *name;
    struct doc *node;
};

struct loader {
    const char *name;
    struct arena *arena;
    struct diag *diag;
    struct doc *open[YAML_DEPTH_MAX];  /* maps and lists begun and not ended */
    struct doc *merge[YAML_DEPTH_MAX]; /* the value of << in each of them */
    size_t depth;
    const char *key; /* waits for its value */
    uint32_t key_line, key_col;
    bool key_is_merge;
    struct doc *root;
    unsigned documents;
    size_t n_nodes;
    struct anchor anchors[YAML_ANCHORS_MAX];
    size_t n_anchors;
};

/* The answer of every step: 0 go on, negative stop (the mistake is in diag). */

static uint32_t line_of(yaml_mark_t mark)
{
    return (uint32_t)mark.line + 1;
}

static uint32_t col_of(yaml_mark_t mark)
{
    return (uint32_t)mark.column + 1;
}

#define REFUSE(l, mark, ...) \
    (diag_add_at((l)->diag, (l)->name, line_of(mark), col_of(mark), __VA_ARGS__), -EINVAL)

static int too_large(const struct loader *l, yaml_mark_t mark)
{
    return REFUSE(l, mark, "more than %d nodes, aliases counted each time", YAML_NODES_MAX);
}

static struct doc *new_node(struct loader *l, enum doc_kind kind)
{
    if (l->n_nodes >= YAML_NODES_MAX)
        return NULL;
    l->n_nodes++;
    return doc_new(l->arena, kind, l->name);
}

/* ---- anchors and aliases ---- */

static int remember_anchor(struct loader *l, const yaml_char_t *anchor, struct doc *node,
                           yaml_mark_t mark)
{
    if (!anchor)
        return 0;
    if (l->n_anchors >= YAML_ANCHORS_MAX)
        return REFUSE(l, mark, "more than %d anchors", YAML_ANCHORS_MAX);
    const char *name = arena_strdup(l->arena, (const char *)anchor);
    if (!name)
        return too_large(l, mark);
    l->anchors[l->n_anchors++] = (struct anchor){ name, node };
    return 0;
}

static const struct doc *find_anchor(const struct loader *l, const char *name)
{
    for (size_t i = l->n_anchors; i-- > 0;)
        if (!strcmp(l->anchors[i].name, name))
            return l->anchors[i].node;
    return NULL;
}

static bool is_open(const struct loader *l, const struct doc *node)
{
    for (size_t i = 0; i < l->depth; i++)
        if (l->open[i] == node)
            return true;
    return false;
}

/* A deep copy; NULL when it is too large or too deep. `depth` is where it will stand. */
// NOLINTNEXTLINE(misc-no-recursion)
static struct doc *copy_tree(struct loader *l, const struct doc *from, size_t depth)
{
    bool too_deep = from->n_items && depth > YAML_DEPTH_MAX;
    struct doc *d = too_deep ? NULL : new_node(l, from->kind);

    if (!d)
        return NULL;
    *d = *from;
    d->parent = NULL;
    d->items = NULL;
    d->n_items = 0;
    for (size_t i = 0; i < from->n_items; i++) {
        struct doc *child = copy_tree(l, from->items[i], depth + 1);
        if (!child)
            return NULL;
        doc_list_add(l->arena, d, child);
    }
    return d;
}

/* ---- putting a finished or begun node into its parent ---- */

static bool awaits_key(const struct loader *l)
{
    return l->depth > 0 && l->open[l->depth - 1]->kind == DOC_MAP && !l->key;
}

static int attach(struct loader *l, struct doc *node, yaml_mark_t mark)
{
    if (l->depth == 0) {
        l->root = node;
        return 0;
    }
    struct doc *parent = l->open[l->depth - 1];
    node->key = NULL;
    if (parent->kind == DOC_MAP) {
        node->key = l->key;
        node->key_line = l->key_line;
        node->key_col = l->key_col;
        l->key = NULL;
    }
    if (parent->kind == DOC_MAP && l->key_is_merge) {
        l->key_is_merge = false;
        if (l->merge[l->depth - 1])
            return REFUSE(l, mark, "'<<' is given twice; merge several maps with a list");
        l->merge[l->depth - 1] = node;
        node->parent = parent;
        return 0;
    }
    size_t before = parent->n_items;
    doc_list_add(l->arena, parent, node);
    return parent->n_items > before ? 0 : too_large(l, mark);
}

/* ---- what one event does ---- */

static bool is_core_tag(const char *tag)
{
    static const char prefix[] = "tag:yaml.org,2002:";
    static const char *const core[] = {
        "str", "int", "float", "bool", "null", "map", "seq", "merge"
    };

    if (!strcmp(tag, "!"))
        return true;
    if (strncmp(tag, prefix, sizeof(prefix) - 1) != 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(core); i++)
        if (!strcmp(tag + sizeof(prefix) - 1, core[i]))
            return true;
    return false;
}

static int check_tag(const struct loader *l, const yaml_char_t *tag, yaml_mark_t mark)
{
    if (!tag || is_core_tag((const char *)tag))
        return 0;
    return REFUSE(l, mark, "the tag '%.80s' is not supported; remove it", (const char *)tag);
}

static bool is_null_text(const char *text)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };

    for (size_t i = 0; i < ARRAY_LEN(nulls); i++)
        if (!strcmp(text, nulls[i]))
            return true;
    return false;
}

static int take_key(struct loader *l, const char *text, bool plain, yaml_mark_t mark)
{
    if (!*text)
        return REFUSE(l, mark, "a key is empty");
    l->key = arena_strdup(l->arena, text);
    if (!l->key)
        return too_large(l, mark);
    l->key_line = line_of(mark);
    l->key_col = col_of(mark);
    l->key_is_merge = plain && !strcmp(text, "<<");
    return 0;
}

/* The node of a scalar event; NULL when it is too large. */
static struct doc *scalar_node(struct loader *l, const yaml_event_t *e)
{
    const char *text = (const char *)e->data.scalar.value;
    const char *tag = (const char *)e->data.scalar.tag;
    bool quoted =
        e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || (tag && !strcmp(tag, YAML_STR_TAG));
    bool is_null = !quoted && is_null_text(text);
    struct doc *d = new_node(l, is_null ? DOC_NULL : DOC_SCALAR);

    if (!d)
        return NULL;
    d->quoted = quoted;
    d->line = line_of(e->start_mark);
    d->col = col_of(e->start_mark);
    d->text = is_null ? NULL : arena_strdup(l->arena, text);
    return is_null || d->text ? d : NULL;
}

static int on_scalar(struct loader *l, const yaml_event_t *e)
{
    const char *text = (const char *)e->data.scalar.value;
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    bool as_key = awaits_key(l);
    yaml_mark_t mark = e->start_mark;

    if (strlen(text) != e->data.scalar.length)
        return REFUSE(l, mark, "a text may not contain a NUL character");
    if (check_tag(l, e->data.scalar.tag, mark) < 0)
        return -EINVAL;
    if (as_key && take_key(l, text, plain, mark) < 0)
        return -EINVAL;
    if (as_key && !e->data.scalar.anchor)
        return 0;
    struct doc *d = scalar_node(l, e);
    if (!d)
        return too_large(l, mark);
    if (remember_anchor(l, e->data.scalar.anchor, d, mark) < 0)
        return -EINVAL;
    return as_key ? 0 : attach(l, d, mark);
}

static int on_alias(struct loader *l, const yaml_event_t *e)
{
    const char *name = (const char *)e->data.alias.anchor;
    const struct doc *from = find_anchor(l, name);
    yaml_mark_t mark = e->start_mark;

    if (!from)
        return REFUSE(l, mark, "unknown anchor '%.80s'", name);
    if (is_open(l, from))
        return REFUSE(l, mark, "the anchor '%.80s' is used inside itself", name);
    if (awaits_key(l))
        return from->kind == DOC_SCALAR ? take_key(l, from->text, false, mark)
                                        : REFUSE(l, mark, "a key must be a plain text");
    struct doc *copy = copy_tree(l, from, l->depth + 1);
    if (!copy)
        return REFUSE(l, mark, "this alias makes the document too large (%d nodes, %d levels)",
                      YAML_NODES_MAX, YAML_DEPTH_MAX);
    return attach(l, copy, mark);
}

static int on_begin(struct loader *l, enum doc_kind kind, const yaml_char_t *anchor,
                    const yaml_char_t *tag, yaml_mark_t mark)
{
    if (awaits_key(l))
        return REFUSE(l, mark, "a key must be a plain text");
    if (l->depth >= YAML_DEPTH_MAX)
        return REFUSE(l, mark, "nested deeper than %d levels", YAML_DEPTH_MAX);
    if (check_tag(l, tag, mark) < 0)
        return -EINVAL;
    struct doc *d = new_node(l, kind);
    if (!d)
        return too_large(l, mark);
    d->line = line_of(mark);
    d->col = col_of(mark);
    if (remember_anchor(l, anchor, d, mark) < 0 || attach(l, d, mark) < 0)
        return -EINVAL;
    l->merge[l->depth] = NULL;
    l->open[l->depth++] = d;
    return 0;
}

/* ---- the end of a map: merge keys, then duplicates, both by one sort ---- */

struct entry {
    struct doc *node;
    size_t rank; /* order of precedence: own keys first, then merged ones */
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = strcmp(x->node->key, y->node->key);

    return order ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

static int compare_ranks(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return (x->rank > y->rank) - (x->rank < y->rank);
}

static size_t count_merged(const struct doc *merge)
{
    size_t n = 0;

    if (!merge)
        return 0;
    if (merge->kind == DOC_MAP)
        return merge->n_items;
    for (size_t i = 0; i < merge->n_items; i++)
        n += merge->items[i]->n_items;
    return n;
}

static size_t add_entries(const struct doc *map, struct entry *to, size_t n)
{
    for (size_t i = 0; i < map->n_items; i++, n++)
        to[n] = (struct entry){ map->items[i], n };
    return n;
}

static size_t add_merged(const struct doc *merge, struct entry *to, size_t n)
{
    if (!merge || merge->kind == DOC_MAP)
        return merge ? add_entries(merge, to, n) : n;
    for (size_t i = 0; i < merge->n_items; i++)
        n = add_entries(merge->items[i], to, n);
    return n;
}

static bool is_mergeable(const struct doc *merge)
{
    if (merge->kind == DOC_MAP)
        return true;
    for (size_t i = 0; i < merge->n_items; i++)
        if (merge->items[i]->kind != DOC_MAP)
            return false;
    return merge->kind == DOC_LIST;
}

/* Keeps the first of each key. Two own keys that are equal are a mistake; a merged one gives way.
 */
static size_t drop_equal(const struct loader *l, struct entry *entries, size_t n, size_t n_own)
{
    size_t kept = 0;

    qsort(entries, n, sizeof(*entries), compare_entries);
    for (size_t i = 0; i < n; i++) {
        const struct doc *first = kept ? entries[kept - 1].node : NULL;
        if (!first || strcmp(first->key, entries[i].node->key) != 0) {
            entries[kept++] = entries[i];
            continue;
        }
        if (entries[i].rank < n_own)
            diag_add_key(l->diag, entries[i].node, "duplicate key, first given in line %u",
                         first->key_line);
    }
    qsort(entries, kept, sizeof(*entries), compare_ranks);
    return kept;
}

static int finish_map(struct loader *l, struct doc *map, const struct doc *merge)
{
    size_t n_own = map->n_items, n = n_own + count_merged(merge);

    if (merge && !is_mergeable(merge)) {
        diag_add_key(l->diag, merge, "must be a map or a list of maps, not %s",
                     merge->kind == DOC_LIST ? "a list of other things"
                                             : doc_kind_name(merge->kind));
        return -EINVAL;
    }
    if (n < 2 && !merge)
        return 0;
    auto_free struct entry *entries = xcalloc(n, sizeof(*entries));
    size_t filled = add_entries(map, entries, 0);
    filled = add_merged(merge, entries, filled);
    size_t kept = drop_equal(l, entries, filled, n_own);
    map->items = NULL;
    map->n_items = 0;
    for (size_t i = 0; i < kept; i++)
        doc_list_add(l->arena, map, entries[i].node);
    if (map->n_items == kept)
        return 0;
    diag_add(l->diag, map, "more than %d nodes, aliases counted each time", YAML_NODES_MAX);
    return -EINVAL;
}

static int on_end(struct loader *l)
{
    struct doc *d = l->open[--l->depth];

    return d->kind == DOC_MAP ? finish_map(l, d, l->merge[l->depth]) : 0;
}

static int on_event(struct loader *l, const yaml_event_t *e)
{
    yaml_mark_t mark = e->start_mark;

    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        return l->documents++ ? REFUSE(l, mark, "a second document begins; one file is one plan")
                              : 0;
    case YAML_SCALAR_EVENT: return on_scalar(l, e);
    case YAML_ALIAS_EVENT: return on_alias(l, e);
    case YAML_MAPPING_START_EVENT:
        return on_begin(l, DOC_MAP, e->data.mapping_start.anchor, e->data.mapping_start.tag, mark);
    case YAML_SEQUENCE_START_EVENT:
        return on_begin(l, DOC_LIST, e->data.sequence_start.anchor, e->data.sequence_start.tag,
                        mark);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT: return on_end(l);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT: return 0;
    }
    return 0;
}

/* ---- the text as a whole ---- */

static yaml_mark_t mark_at(const char *text, size_t at)
{
    yaml_mark_t mark = { .index = at };

    for (size_t i = 0; i < at; i++) {
        mark.column += ((unsigned char)text[i] & 0xc0) != 0x80;
        if (text[i] != '\n')
            continue;
        mark.line++;
        mark.column = 0;
    }
    return mark;
}

/* Where the first byte stands that is not UTF-8: the longest valid beginning, by halving. */
static size_t first_bad_byte(const char *text, size_t len)
{
    size_t at = 0;

    while (at < len) {
        size_t n = 1;
        while (n < 4 && at + n <= len && !utf8_is_valid(text + at, n))
            n++;
        if (at + n > len || !utf8_is_valid(text + at, n))
            break;
        at += n;
    }
    return at;
}

static int syntax_error(const struct loader *l, const yaml_parser_t *p, const char *text,
                        size_t len)
{
    yaml_mark_t mark = p->problem_mark;

    if (p->error == YAML_MEMORY_ERROR)
        return REFUSE(l, mark, "out of memory");
    if (p->error == YAML_READER_ERROR) {
        mark = mark_at(text, MIN(p->problem_offset, len));
        return REFUSE(l, mark, "%s", p->problem);
    }
    if (mark.index < len && text[mark.index] == '\t')
        return REFUSE(l, mark, "a tab cannot indent or begin a value: use spaces");
    if (p->context)
        return REFUSE(l, mark, "%s (%s that begins in line %u)", p->problem, p->context,
                      line_of(p->context_mark));
    return REFUSE(l, mark, "%s", p->problem ? p->problem : "not YAML");
}

static int parse_all(struct loader *l, const char *text, size_t len)
{
    yaml_parser_t parser;
    bool more = true;
    int rc = 0;

    if (!yaml_parser_initialize(&parser))
        abort();
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    while (rc == 0 && more) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            rc = syntax_error(l, &parser, text, len);
            break;
        }
        rc = on_event(l, &event);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return rc;
}

static struct doc *empty_document(struct loader *l)
{
    struct doc *d = doc_new(l->arena, DOC_NULL, l->name);

    if (d)
        d->line = d->col = 1;
    return d;
}

int yaml_load(const char *name, const char *text, size_t len, struct arena *arena,
              struct diag *diag, struct doc **ret)
{
    auto_free struct loader *l = xcalloc(1, sizeof(*l));
    unsigned before = diag->n;

    *l = (struct loader){ .arena = arena, .diag = diag, .name = arena_strdup(arena, name) };
    if (len > YAML_SIZE_MAX)
        return REFUSE(l, (yaml_mark_t){ 0 }, "larger than %zu KiB", YAML_SIZE_MAX >> 10);
    if (!utf8_is_valid(text, len))
        return REFUSE(l, mark_at(text, first_bad_byte(text, len)), "not valid UTF-8");
    if (parse_all(l, text, len) < 0 || diag->n > before)
        return -EINVAL;
    struct doc *root = l->root ? l->root : empty_document(l);
    if (!root)
        return too_large(l, (yaml_mark_t){ 0 });
    *ret = root;
    return 0;
}
