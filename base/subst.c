/* See subst.h. Replacement happens on the finished tree, so that a value can never change the shape
 * of the plan. */
#include "base/subst.h"

#include <ctype.h>
#include <string.h>

#include "base/parse.h"

#define NAME_MAX_LEN 128
#define USED_MAX 1000
/* A shorter value is too common a word to be replaced outside quotes. */
#define HIDE_MIN 6
/* Messages cut what they quote; a beginning of this length gives a value away too. */
#define HIDE_PREFIX ((size_t)24)

struct filling {
    struct subst *s;
    struct arena *arena;
    struct diag *diag;
    const struct doc *d;
};

static size_t name_length(const char *p)
{
    size_t n = 0;

    while (isalpha((unsigned char)p[n]) || p[n] == '_' || (n > 0 && isdigit((unsigned char)p[n])))
        n++;
    return n;
}

static void remember(const struct filling *f, const char *name, const char *value)
{
    struct subst *s = f->s;

    for (size_t i = 0; i < s->n_used; i++)
        if (strcmp(s->used[i].name, name) == 0)
            return;
    if (!s->used)
        s->used = arena_alloc(f->arena, USED_MAX * sizeof(*s->used));
    if (!s->used || s->n_used == USED_MAX) {
        diag_add(f->diag, f->d, "more than %d variables", USED_MAX);
        return;
    }
    s->used[s->n_used].name = arena_strdup(f->arena, name);
    s->used[s->n_used].value = arena_strdup(f->arena, value);
    if (s->used[s->n_used].name && s->used[s->n_used].value)
        s->n_used++;
}

/* One "${...}" whose inside is p[0..len). False when it was a mistake. */
static bool fill_one(const struct filling *f, const char *p, size_t len, struct buf *out)
{
    size_t n = name_length(p);
    char name[NAME_MAX_LEN + 1];

    if (n == 0 || n > NAME_MAX_LEN || n > len ||
        (n < len && (len < n + 2 || p[n] != ':' || p[n + 1] != '-'))) {
        diag_add(f->diag, f->d,
                 "'${%.*s}' is not understood: write ${NAME} or ${NAME:-default}, and $${ for a ${ "
                 "that stays",
                 (int)MIN(len, 60), p);
        return false;
    }
    memcpy(name, p, n);
    name[n] = '\0';
    const char *value = f->s->lookup(name);
    if (value && (*value || n == len)) {
        if (strlen(value) > SUBST_VALUE_MAX) {
            diag_add(f->diag, f->d, "the variable %s holds more than %zu KiB", name,
                     SUBST_VALUE_MAX >> 10);
            return false;
        }
        remember(f, name, value);
        buf_adds(out, value);
        return true;
    }
    if (n == len) {
        diag_add(f->diag, f->d,
                 "the environment variable %s is not set; set it, or write ${%s:-default}", name,
                 name);
        return false;
    }
    buf_add(out, p + n + 2, len - n - 2);
    return true;
}

static void fill(const struct filling *f, struct doc *d)
{
    auto_buf struct buf out = BUF_INIT(SUBST_TEXT_MAX);
    const char *p = d->text, *open;

    while ((open = strstr(p, "${"))) {
        const char *close = strchr(open, '}');

        if (open > d->text && open[-1] == '$' && open > p) {
            buf_add(&out, p, (size_t)(open - p) - 1);
            buf_adds(&out, "${");
            p = open + 2;
            continue;
        }
        buf_add(&out, p, (size_t)(open - p));
        if (!close) {
            diag_add(f->diag, d, "a '${' is not closed; write ${NAME}, or $${ for a ${ that stays");
            return;
        }
        if (!fill_one(f, open + 2, (size_t)(close - open) - 2, &out))
            return;
        p = close + 1;
    }
    buf_adds(&out, p);
    if (!utf8_is_valid(buf_str(&out), out.len)) {
        diag_add(f->diag, d, "a variable in it holds bytes that are not UTF-8");
        return;
    }
    const char *text = buf_failed(&out) ? NULL : arena_strdup(f->arena, buf_str(&out));
    if (!text)
        diag_add(f->diag, d, "too long after its variables were filled in");
    else
        d->text = text;
}

/* Depth is bounded by the YAML reader. */
static void walk(struct filling *f, struct doc *d) /* NOLINT(misc-no-recursion) */
{
    if (d->kind == DOC_SCALAR && strstr(d->text, "${")) {
        f->d = d;
        fill(f, d);
    }
    for (size_t i = 0; i < d->n_items; i++)
        walk(f, d->items[i]);
}

void subst_doc(struct subst *s, struct arena *arena, struct doc *root, struct diag *diag)
{
    struct filling f = { s, arena, diag, NULL };

    if (root)
        walk(&f, root);
}

/* ---- hiding ---- */

/* Each place that begins like `what` does in its first `least` bytes, as far as it goes on so. */
static void replace(struct buf *text, const char *what, size_t least, const char *with)
{
    auto_buf struct buf out = BUF_INIT(text->max);
    auto_free char *begin = xstrndup(what, least);
    const char *p = buf_str(text), *found;

    if (!strstr(p, begin))
        return;
    while ((found = strstr(p, begin))) {
        size_t n = least;

        while (what[n] && found[n] == what[n])
            n++;
        buf_add(&out, p, (size_t)(found - p));
        buf_adds(&out, with);
        p = found + n;
    }
    buf_adds(&out, p);
    buf_clear(text);
    buf_add(text, buf_str(&out), out.len);
}

void subst_hide(const struct subst *s, struct buf *text)
{
    for (size_t i = 0; i < s->n_used; i++) {
        const char *value = s->used[i].value;
        auto_free char *shown = xasprintf("${%s}", s->used[i].name);
        auto_free char *quoted = xasprintf("'%s'", value);
        auto_free char *quoted_shown = xasprintf("'%s'", shown);

        if (!*value)
            continue;
        replace(text, quoted, strlen(quoted), quoted_shown);
        if (strlen(value) >= HIDE_MIN)
            replace(text, value, MIN(strlen(value), HIDE_PREFIX), shown);
    }
}
