/* See param.h. One reader per type, in a table; the walk over rows and keys is here once, so a
 * plan, a flag and an environment variable are refused with the same sentences. */
#include "base/param.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"

#define CHOICES_MAX 64
#define NAMES_SHOWN_MAX 12

/* Reads one scalar; on failure the sentence is in err. */
typedef int read_fn(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                    void *field, struct err *err);

static bool is_from_flag(const struct param_ctx *ctx, const struct doc *d)
{
    return ctx->from_flags || (d->source && d->source[0] == '-' && d->source[1] != '\0');
}

static unsigned unit_flags(const struct param_ctx *ctx, const struct doc *d)
{
    return is_from_flag(ctx, d) ? PARSE_BARE_SECONDS : PARSE_UNIT;
}

static bool is_bounded(const struct param *row)
{
    return row->hi > row->lo;
}

static int out_of_bounds(const struct param *row, const char *text, struct err *err)
{
    char lo[DURATION_TEXT_MAX], hi[DURATION_TEXT_MAX];

    if (row->type == PARAM_DURATION)
        return err_set(err, ERR_USAGE, ERANGE, "'%.60s' is not in %s..%s", text,
                       duration_text((uint64_t)(row->lo * (double)NS_PER_SEC), lo),
                       duration_text((uint64_t)(row->hi * (double)NS_PER_SEC), hi));
    if (row->type == PARAM_PERCENT)
        return err_set(err, ERR_USAGE, ERANGE, "'%.60s' is not in %g%%..%g%%", text, row->lo * 100,
                       row->hi * 100);
    return err_set(err, ERR_USAGE, ERANGE, "'%.60s' is not in %.15g..%.15g", text, row->lo,
                   row->hi);
}

static int check_bounds(const struct param *row, double value, const char *text, struct err *err)
{
    if (!is_bounded(row) || (value >= row->lo && value <= row->hi))
        return 0;
    return out_of_bounds(row, text, err);
}

/* ---- one scalar, by type ---- */

static void list_names(const char *const *names, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n && i < NAMES_SHOWN_MAX; i++)
        buf_addf(out, "%s%s", i ? ", " : "", names[i]);
    if (n > NAMES_SHOWN_MAX)
        buf_adds(out, ", ...");
}

static size_t count_names(const char *const *names)
{
    size_t n = 0;

    while (names[n])
        n++;
    return n;
}

static int find_choice(const struct param *row, const char *text, int *ret, struct err *err)
{
    auto_buf struct buf known = BUF_INIT(ERR_MSG_MAX / 2);
    size_t n = count_names(row->choices);

    for (size_t i = 0; i < n; i++) {
        if (strcmp(text, row->choices[i]) != 0)
            continue;
        *ret = (int)i;
        return 0;
    }
    const char *near = nearest_name(text, row->choices, n);
    if (near)
        return err_set(err, ERR_USAGE, EINVAL, "unknown value '%.60s', did you mean '%s'?", text,
                       near);
    list_names(row->choices, n, &known);
    return err_set(err, ERR_USAGE, EINVAL, "unknown value '%.60s', use one of %s", text,
                   buf_str(&known));
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_LIMIT, ENOMEM, "the plan is too large");
}

static int read_str(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                    void *field, struct err *err)
{
    int unused;

    if (row->choices && find_choice(row, d->text, &unused, err) < 0)
        return -EINVAL;
    const char *copy = arena_strdup(ctx->arena, d->text);
    if (!copy)
        return no_memory(err);
    *(const char **)field = copy;
    return 0;
}

static int read_bool(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                     void *field, struct err *err)
{
    (void)ctx;
    (void)row;
    return parse_bool(d->text, field, err);
}

static int read_int(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                    void *field, struct err *err)
{
    int64_t lo = is_bounded(row) ? (int64_t)row->lo : INT64_MIN;
    int64_t hi = is_bounded(row) && row->hi < (double)INT64_MAX ? (int64_t)row->hi : INT64_MAX;

    (void)ctx;
    return parse_i64(d->text, lo, hi, field, err);
}

static int read_num(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                    void *field, struct err *err)
{
    double lo = is_bounded(row) ? row->lo : -1e300, hi = is_bounded(row) ? row->hi : 1e300;

    (void)ctx;
    return parse_double(d->text, lo, hi, field, err);
}

static int read_duration(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                         void *field, struct err *err)
{
    uint64_t ns;

    if (parse_duration(d->text, unit_flags(ctx, d), &ns, err) < 0 ||
        check_bounds(row, (double)ns / (double)NS_PER_SEC, d->text, err) < 0)
        return -EINVAL;
    *(uint64_t *)field = ns;
    return 0;
}

static int read_rate(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                     void *field, struct err *err)
{
    double per_sec;

    if (parse_rate(d->text, unit_flags(ctx, d), &per_sec, err) < 0 ||
        check_bounds(row, per_sec, d->text, err) < 0)
        return -EINVAL;
    *(double *)field = per_sec;
    return 0;
}

static int read_size(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                     void *field, struct err *err)
{
    uint64_t bytes;

    (void)ctx;
    if (parse_size(d->text, &bytes, err) < 0 || check_bounds(row, (double)bytes, d->text, err) < 0)
        return -EINVAL;
    *(uint64_t *)field = bytes;
    return 0;
}

static int read_percent(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                        void *field, struct err *err)
{
    double fraction;

    (void)ctx;
    if (parse_percent(d->text, &fraction, err) < 0 || check_bounds(row, fraction, d->text, err) < 0)
        return -EINVAL;
    *(double *)field = fraction;
    return 0;
}

static int read_bandwidth(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                          void *field, struct err *err)
{
    uint64_t bits;

    (void)ctx;
    if (parse_bandwidth(d->text, &bits, err) < 0 ||
        check_bounds(row, (double)bits, d->text, err) < 0)
        return -EINVAL;
    *(uint64_t *)field = bits;
    return 0;
}

static int read_enum(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                     void *field, struct err *err)
{
    (void)ctx;
    return find_choice(row, d->text, field, err);
}

static const struct {
    const char *name;
    const char *article;
    size_t size;
    read_fn *read; /* NULL: not a scalar */
} types[] = {
    [PARAM_STR] = { "text", "a text", sizeof(char *), read_str },
    [PARAM_BOOL] = { "boolean", "true or false", sizeof(bool), read_bool },
    [PARAM_INT] = { "integer", "a whole number", sizeof(int64_t), read_int },
    [PARAM_NUM] = { "number", "a number", sizeof(double), read_num },
    [PARAM_DURATION] = { "duration", "a duration", sizeof(uint64_t), read_duration },
    [PARAM_RATE] = { "rate", "a rate", sizeof(double), read_rate },
    [PARAM_SIZE] = { "size", "a size", sizeof(uint64_t), read_size },
    [PARAM_PERCENT] = { "percent", "a percentage", sizeof(double), read_percent },
    [PARAM_BANDWIDTH] = { "bandwidth", "a bandwidth", sizeof(uint64_t), read_bandwidth },
    [PARAM_ENUM] = { "choice", "one word", sizeof(int), read_enum },
    [PARAM_STRS] = { "list of texts", "a list of texts", sizeof(struct strs), NULL },
    [PARAM_PAIRS] = { "map of texts", "a map of texts", sizeof(struct pairs), NULL },
    [PARAM_TABLE] = { "map", "a map", 0, NULL },
    [PARAM_LIST] = { "list", "a list", sizeof(struct items), NULL },
    [PARAM_CUSTOM] = { "value", "a value", 0, NULL },
};
_Static_assert(ARRAY_LEN(types) == PARAM_TYPE_MAX, "every type has a reader");

const char *param_type_name(enum param_type type)
{
    return types[type].name;
}

static void wrong_kind(const struct param_ctx *ctx, const struct param *row, const struct doc *d)
{
    if (d->kind == DOC_NULL)
        diag_add_key(ctx->diag, d, "has no value: give it %s, or remove the key",
                     types[row->type].article);
    else
        diag_add(ctx->diag, d, "must be %s, not %s", types[row->type].article,
                 doc_kind_name(d->kind));
}

static void load_scalar(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                        void *field)
{
    struct err err = { 0 };

    if (d->kind != DOC_SCALAR) {
        wrong_kind(ctx, row, d);
        return;
    }
    if (types[row->type].read(ctx, row, d, field, &err) >= 0)
        return;
    if (row->secret)
        diag_add(ctx->diag, d, "is not %s that can be used here (a secret: its value is not shown)",
                 types[row->type].article);
    else
        diag_add(ctx->diag, d, "%s", err.msg);
}

/* ---- lists and maps of texts ---- */

static const char *text_of(const struct param_ctx *ctx, const struct doc *d)
{
    if (d->kind == DOC_SCALAR)
        return arena_strdup(ctx->arena, d->text);
    diag_add(ctx->diag, d, "must be a text, not %s", doc_kind_name(d->kind));
    return NULL;
}

static void load_strs(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                      struct strs *out)
{
    size_t n = d->kind == DOC_LIST ? d->n_items : 1;

    if (d->kind != DOC_LIST && d->kind != DOC_SCALAR) {
        wrong_kind(ctx, row, d);
        return;
    }
    const char **v = arena_alloc(ctx->arena, MAX(n, 1) * sizeof(*v));
    if (!v) {
        diag_add(ctx->diag, d, "the plan is too large");
        return;
    }
    *out = (struct strs){ .v = v };
    for (size_t i = 0; i < n; i++) {
        const char *text = text_of(ctx, d->kind == DOC_LIST ? d->items[i] : d);
        if (text)
            v[out->n++] = text;
    }
}

static void load_pairs(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                       struct pairs *out)
{
    if (d->kind != DOC_MAP) {
        wrong_kind(ctx, row, d);
        return;
    }
    size_t n = MAX(d->n_items, 1);
    const char **keys = arena_alloc(ctx->arena, n * sizeof(*keys));
    const char **values = arena_alloc(ctx->arena, n * sizeof(*values));
    if (!keys || !values) {
        diag_add(ctx->diag, d, "the plan is too large");
        return;
    }
    *out = (struct pairs){ .keys = keys, .values = values };
    for (size_t i = 0; i < d->n_items; i++) {
        const struct doc *item = d->items[i];
        const char *value = item->kind == DOC_NULL ? "" : text_of(ctx, item);
        if (!value)
            continue;
        keys[out->n] = item->key;
        values[out->n++] = value;
    }
}

/* ---- tables ---- */

/* Depth is that of the const tables, not of the input. */
// NOLINTNEXTLINE(misc-no-recursion)
static void load_list(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                      struct items *out)
{
    if (d->kind != DOC_LIST) {
        wrong_kind(ctx, row, d);
        return;
    }
    char *v = arena_alloc(ctx->arena, MAX(d->n_items, 1) * row->item_size);
    if (!v) {
        diag_add(ctx->diag, d, "the plan is too large");
        return;
    }
    *out = (struct items){ .v = v, .n = d->n_items };
    for (size_t i = 0; i < d->n_items; i++)
        param_load(ctx, row->table, d->items[i], v + i * row->item_size, NULL);
}

// NOLINTNEXTLINE(misc-no-recursion)
void param_load_one(const struct param_ctx *ctx, const struct param *row, const struct doc *d,
                    void *field)
{
    switch (row->type) {
    case PARAM_STRS: load_strs(ctx, row, d, field); break;
    case PARAM_PAIRS: load_pairs(ctx, row, d, field); break;
    case PARAM_TABLE: param_load(ctx, row->table, d, field, NULL); break;
    case PARAM_LIST: load_list(ctx, row, d, field); break;
    case PARAM_CUSTOM: row->load(ctx, d, field); break;
    case PARAM_STR:
    case PARAM_BOOL:
    case PARAM_INT:
    case PARAM_NUM:
    case PARAM_DURATION:
    case PARAM_RATE:
    case PARAM_SIZE:
    case PARAM_PERCENT:
    case PARAM_BANDWIDTH:
    case PARAM_ENUM:
    case PARAM_TYPE_MAX: load_scalar(ctx, row, d, field); break;
    }
}

// NOLINTNEXTLINE(misc-no-recursion)
static void set_default(const struct param_ctx *ctx, const struct param *row, void *field)
{
    struct doc written = {
        .kind = DOC_SCALAR, .text = row->def, .source = "default", .key = row->name
    };

    memset(field, 0, types[row->type].size);
    if (row->type == PARAM_TABLE)
        param_load(ctx, row->table, NULL, field, NULL);
    else if (row->def)
        param_load_one(ctx, row, &written, field);
}

/* Whether `word` is one of the comma separated `words`. */
static bool is_among(const char *words, const char *word)
{
    size_t len = strlen(word);

    for (const char *p = words; p && *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == len && !memcmp(p, word, len))
            return true;
    return false;
}

static const struct param *find_row(const struct param_table *t, const char *key)
{
    for (size_t i = 0; i < t->n; i++)
        if (!strcmp(t->rows[i].name, key) || is_among(t->rows[i].aliases, key))
            return &t->rows[i];
    return NULL;
}

static bool is_ignored(const char *const *ignore, const char *key)
{
    for (; ignore && *ignore; ignore++)
        if (!strcmp(*ignore, key))
            return true;
    return false;
}

static void unknown_key(const struct param_ctx *ctx, const struct param_table *t,
                        const struct doc *item, const char *const *ignore)
{
    auto_buf struct buf known = BUF_INIT(ERR_MSG_MAX);
    const char *names[CHOICES_MAX];
    size_t n = 0;

    for (size_t i = 0; i < t->n && n < CHOICES_MAX; i++)
        names[n++] = t->rows[i].name;
    for (; ignore && *ignore && n < CHOICES_MAX; ignore++)
        names[n++] = *ignore;
    const char *near = nearest_name(item->key, names, n);
    if (near) {
        diag_add_key(ctx->diag, item, "unknown key, did you mean '%s'?", near);
        return;
    }
    list_names(names, n, &known);
    diag_add_key(ctx->diag, item, "unknown key%s%s", n ? ", use one of " : "", buf_str(&known));
}

/* Reads each key of the map into its row; `seen` tells which rows were met. */
// NOLINTNEXTLINE(misc-no-recursion)
static void read_keys(const struct param_ctx *ctx, const struct param_table *t,
                      const struct doc *map, void *base, const char *const *ignore, bool *seen)
{
    for (size_t i = 0; i < map->n_items; i++) {
        const struct doc *item = map->items[i];
        const struct param *row = find_row(t, item->key);
        if (!row) {
            if (!is_ignored(ignore, item->key))
                unknown_key(ctx, t, item, ignore);
            continue;
        }
        if (seen[row - t->rows]) {
            diag_add_key(ctx->diag, item, "is another name of '%s', which is given too", row->name);
            continue;
        }
        seen[row - t->rows] = true;
        param_load_one(ctx, row, item, (char *)base + row->offset);
    }
}

static void report_missing(const struct param_ctx *ctx, const struct param_table *t,
                           const struct doc *map, const bool *seen)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct param *row = &t->rows[i];
        if (!row->required || seen[i])
            continue;
        diag_add(ctx->diag, map, "'%s' is missing: %s%s%s", row->name,
                 row->type_text ? row->type_text : types[row->type].article, row->help ? ", " : "",
                 row->help ? row->help : "");
    }
}

// NOLINTNEXTLINE(misc-no-recursion)
unsigned param_load(const struct param_ctx *ctx, const struct param_table *t, const struct doc *map,
                    void *base, const char *const *ignore)
{
    unsigned before = ctx->diag->n;

    for (size_t i = 0; i < t->n; i++)
        set_default(ctx, &t->rows[i], (char *)base + t->rows[i].offset);
    if (!map)
        return ctx->diag->n - before;
    if (map->kind != DOC_MAP && map->kind != DOC_NULL) {
        diag_add(ctx->diag, map, "must be a map of keys, not %s", doc_kind_name(map->kind));
        return 1;
    }
    auto_free bool *seen = xcalloc(t->n, sizeof(*seen));
    read_keys(ctx, t, map, base, ignore, seen);
    report_missing(ctx, t, map, seen);
    if (t->check && ctx->diag->n == before)
        t->check(ctx, map, base);
    return ctx->diag->n - before;
}
