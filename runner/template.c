/* Templates: compiled into a list of pieces, so that rendering is one walk without parsing. A slot
 * is  name  or  name(arg,arg)  or  'text';  url(slot) and json(slot) write the inner slot's value
 * safe for a form field or a JSON string. */
#include "runner/template.h"

#include <errno.h>
#include <string.h>

#include "runner/slot.h"

int var_index(const struct var_names *v, const char *name, size_t len)
{
    for (size_t i = 0; v && i < v->n; i++)
        if (strlen(v->names[i]) == len && memcmp(v->names[i], name, len) == 0)
            return (int)i;
    return -1;
}

void vars_set(struct vars *v, size_t n_names, size_t i, const char *value, size_t len)
{
    if (!v->values) {
        v->values = xcalloc(n_names, sizeof(*v->values));
        v->n = (uint32_t)n_names;
    }
    if (i >= v->n)
        return;
    free(v->values[i]);
    v->values[i] = xstrndup(value, MIN(len, VAR_VALUE_MAX));
}

const char *vars_get(const struct vars *v, size_t i)
{
    return v && i < v->n && v->values[i] ? v->values[i] : "";
}

void vars_done(struct vars *v)
{
    for (size_t i = 0; i < v->n; i++)
        free(v->values[i]);
    free(v->values);
    *v = (struct vars){ 0 };
}

struct piece {
    struct slot slot; /* SLOT_TEXT for what stands between slots */
};

struct template
{
    struct piece *pieces;
    size_t n;
};

static size_t count_pieces(const char *text, size_t len)
{
    size_t n = 1;

    for (const char *s = text; (s = slot_open(s, text + len)); s += 2)
        n += 2;
    return n;
}

static int add_text(struct arena *a, struct template *t, const char *text, size_t len)
{
    char *copy;

    if (len == 0)
        return 0;
    copy = arena_alloc(a, len + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, text, len);
    t->pieces[t->n++].slot = (struct slot){ .kind = SLOT_TEXT, .text = copy, .len = len };
    return 0;
}

static int compile_slot(struct arena *a, struct template *t, const struct slot_source *src,
                        struct err *err)
{
    struct slot slot = { 0 };
    int rc = slot_compile(a, src, &slot, err);

    if (rc == 0)
        t->pieces[t->n++].slot = slot;
    return rc;
}

static int compile_pieces(struct arena *a, const char *text, size_t len,
                          const struct var_names *names, struct template *t, struct err *err)
{
    const char *end = text + len;
    const char *at = text;
    const char *open;

    while ((open = slot_open(at, end))) {
        const char *close = slot_close(open + 2, end);
        struct slot_source src = { .text = open + 2, .names = names };
        int rc;

        if (!close)
            return err_set(
                err, ERR_USAGE, EINVAL,
                "'%.*s': this {{ has no }}; write {{'{{'}} for the characters themselves",
                (int)MIN(end - open, 40), open);
        if (t->n > 2 * TEMPLATE_SLOTS_MAX)
            return err_set(err, ERR_LIMIT, E2BIG, "more than %d slots in one text",
                           TEMPLATE_SLOTS_MAX);
        src.len = (size_t)(close - src.text);
        rc = add_text(a, t, at, (size_t)(open - at));
        if (rc == 0)
            rc = compile_slot(a, t, &src, err);
        if (rc < 0)
            return rc;
        at = close + 2;
    }
    return add_text(a, t, at, (size_t)(end - at));
}

int template_compile(struct arena *a, const char *text, size_t len, const struct var_names *names,
                     const struct template **ret, struct err *err)
{
    struct template *t = arena_alloc(a, sizeof(*t));
    int rc = -ENOMEM;

    if (t)
        t->pieces = arena_alloc(a, count_pieces(text, len) * sizeof(*t->pieces));
    if (t && t->pieces)
        rc = compile_pieces(a, text, len, names, t, err);
    if (rc == -ENOMEM)
        return err_set(err, ERR_LIMIT, ENOMEM, "the plan's texts together are too large");
    if (rc == 0)
        *ret = t;
    return rc;
}

bool template_is_constant(const struct template *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->pieces[i].slot.kind != SLOT_TEXT)
            return false;
    return true;
}

void template_render(const struct template *t, const struct render_ctx *ctx, struct buf *out)
{
    for (size_t i = 0; i < t->n; i++)
        slot_render(&t->pieces[i].slot, ctx, out);
}
