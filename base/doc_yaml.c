/* See doc_yaml.h. A walk with a stack of its own: documents are nested by their authors. */
#include "base/doc_yaml.h"

#include <ctype.h>
#include <string.h>

struct level {
    const struct doc *node;
    size_t next;
    bool masked; /* below a key that names a secret */
};

struct walk {
    struct buf *out;
    struct level stack[DOC_YAML_DEPTH_MAX];
    unsigned depth;
    bool after_dash; /* the next line continues "- " */
};

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcasecmp(s + n - m, end) == 0;
}

bool key_names_a_secret(const char *key)
{
    static const char *const words[] = { "authorization", "cookie", "token",   "secret",
                                         "password",      "apikey", "api-key", "api_key" };

    if (!key || strcasecmp(key, "cookies") == 0 || ends_with(key, "_file") ||
        ends_with(key, "_env"))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcasestr(key, words[i]))
            return true;
    return false;
}

/* ---- scalars ---- */

static bool is_plain(const char *s)
{
    static const char safe[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_.%+()-";
    size_t len = strlen(s);

    if (!len || strchr("-%", s[0]) || len > 200)
        return false;
    return strspn(s, safe) == len;
}

static void put_double_quoted(struct buf *out, const char *s)
{
    buf_addc(out, '"');
    for (; *s; s++) {
        if (*s == '\n')
            buf_adds(out, "\\n");
        else if ((unsigned char)*s < 0x20 || *s == 0x7f)
            buf_addf(out, "\\x%02x", (unsigned char)*s);
        else if (*s == '"' || *s == '\\')
            buf_addf(out, "\\%c", *s);
        else
            buf_addc(out, *s);
    }
    buf_addc(out, '"');
}

static bool has_control(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return true;
    return false;
}

static void put_text(struct buf *out, const char *s, bool quoted)
{
    if (!quoted && is_plain(s)) {
        buf_adds(out, s);
        return;
    }
    if (has_control(s)) {
        put_double_quoted(out, s);
        return;
    }
    buf_addc(out, '\'');
    for (; *s; s++)
        buf_adds(out, *s == '\'' ? "''" : (const char[]){ *s, '\0' });
    buf_addc(out, '\'');
}

/* http://user:secret@host: the part between :// and @. */
static void put_url_masked(struct buf *out, const char *s, bool quoted)
{
    const char *user = strstr(s, "://");
    const char *at = user ? strchr(user + 3, '@') : NULL;
    auto_buf struct buf masked = BUF_INIT(0);

    if (!at || memchr(user + 3, '/', (size_t)(at - user - 3))) {
        put_text(out, s, quoted);
        return;
    }
    buf_add(&masked, s, (size_t)(user + 3 - s));
    buf_adds(&masked, "***");
    buf_adds(&masked, at);
    put_text(out, buf_str(&masked), quoted);
}

static void put_scalar(struct walk *w, const struct doc *d, bool masked)
{
    if (d->kind == DOC_NULL)
        buf_adds(w->out, "null");
    else if (masked && !strstr(d->text, "${"))
        buf_adds(w->out, DOC_YAML_MASK);
    else
        put_url_masked(w->out, d->text, d->quoted);
    buf_addc(w->out, '\n');
}

/* ---- the walk ---- */

static void indent(struct walk *w)
{
    if (w->after_dash) {
        w->after_dash = false;
        return;
    }
    for (unsigned i = 1; i < w->depth; i++)
        buf_adds(w->out, "  ");
}

static bool is_empty(const struct doc *d)
{
    return (d->kind == DOC_MAP || d->kind == DOC_LIST) && d->n_items == 0;
}

static void put_child(struct walk *w, const struct doc *parent, const struct doc *child,
                      bool masked)
{
    bool in_map = parent->kind == DOC_MAP;

    indent(w);
    if (in_map) {
        put_text(w->out, child->key, false);
        buf_addc(w->out, ':');
        masked = masked || key_names_a_secret(child->key);
    } else {
        buf_addc(w->out, '-');
    }
    bool nested = (child->kind == DOC_MAP || child->kind == DOC_LIST) && !is_empty(child);
    if (nested && w->depth < DOC_YAML_DEPTH_MAX) {
        buf_addc(w->out, in_map ? '\n' : ' ');
        w->after_dash = !in_map;
        w->stack[w->depth++] = (struct level){ .node = child, .masked = masked };
        return;
    }
    buf_addc(w->out, ' ');
    if (child->kind == DOC_MAP || child->kind == DOC_LIST)
        buf_adds(w->out, child->kind == DOC_MAP ? "{}\n" : "[]\n");
    else
        put_scalar(w, child, masked);
}

void doc_to_yaml(const struct doc *root, struct buf *out)
{
    struct walk w = { .out = out, .depth = 1, .stack = { { .node = root } } };

    if (root->kind != DOC_MAP && root->kind != DOC_LIST) {
        put_scalar(&w, root, false);
        return;
    }
    while (w.depth) {
        struct level *top = &w.stack[w.depth - 1];
        if (top->next == top->node->n_items)
            w.depth--;
        else
            put_child(&w, top->node, top->node->items[top->next++], top->masked);
    }
}
