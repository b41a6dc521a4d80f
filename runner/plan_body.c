/* What a task sends: a YAML value as JSON, a map as a form, or a file. JSON and forms are turned
 * into templates whose slots escape their values, because an extracted token with a quote or an
 * ampersand must not change the shape of the body. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "runner/plan_internal.h"
#include "runner/slot.h"

typedef void escape_fn(struct buf *out, const char *s, size_t len);

/* Text with slots: what is between them escaped now, the slots wrapped in `wrap`. */
static void add_escaped(struct buf *out, const char *text, escape_fn *escape, const char *wrap)
{
    const char *end = text + strlen(text);
    const char *open;

    while ((open = slot_open(text, end))) {
        const char *close = slot_close(open + 2, end);

        if (!close)
            break;
        escape(out, text, (size_t)(open - text));
        if (strncmp(open + 2, "json(", 5) == 0 || strncmp(open + 2, "url(", 4) == 0)
            buf_add(out, open, (size_t)(close + 2 - open));
        else
            buf_addf(out, "{{%s(%.*s)}}", wrap, (int)(close - open) - 2, open + 2);
        text = close + 2;
    }
    escape(out, text, (size_t)(end - text));
}

static const char *skip_digits(const char *s)
{
    return s + strspn(s, "0123456789");
}

static bool is_json_number(const char *s)
{
    const char *digits;

    s += *s == '-';
    digits = s;
    s = skip_digits(s);
    if (s == digits || (*digits == '0' && s != digits + 1))
        return false;
    if (*s == '.') {
        digits = ++s;
        s = skip_digits(s);
        if (s == digits)
            return false;
    }
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '+' || *s == '-';
        digits = s;
        s = skip_digits(s);
        if (s == digits)
            return false;
    }
    return *s == '\0';
}

static void add_scalar(struct buf *out, const struct doc *d)
{
    static const char *const words[] = { "true", "false", "null" };
    const char *word = d->quoted || is_json_number(d->text) ? NULL : d->text;

    if (!d->quoted && is_json_number(d->text)) {
        buf_adds(out, d->text);
        return;
    }
    for (size_t i = 0; word && i < ARRAY_LEN(words); i++)
        if (strcmp(word, words[i]) == 0) {
            buf_adds(out, word);
            return;
        }
    buf_addc(out, '"');
    add_escaped(out, d->text, slot_add_json, "json");
    buf_addc(out, '"');
}

/* Depth is bounded by the YAML reader (YAML_DEPTH_MAX). */
static void add_json(struct buf *out, const struct doc *d) /* NOLINT(misc-no-recursion) */
{
    if (d->kind == DOC_NULL) {
        buf_adds(out, "null");
        return;
    }
    if (d->kind == DOC_SCALAR) {
        add_scalar(out, d);
        return;
    }
    buf_addc(out, d->kind == DOC_MAP ? '{' : '[');
    for (size_t i = 0; i < d->n_items; i++) {
        if (i > 0)
            buf_addc(out, ',');
        if (d->kind == DOC_MAP) {
            buf_addc(out, '"');
            add_escaped(out, d->items[i]->key, slot_add_json, "json");
            buf_adds(out, "\":");
        }
        add_json(out, d->items[i]);
    }
    buf_addc(out, d->kind == DOC_MAP ? '}' : ']');
}

static const char *keep(const struct param_ctx *ctx, const struct doc *d, const struct buf *b)
{
    char *text = buf_failed(b) ? NULL : arena_strndup(ctx->arena, buf_str(b), b->len);

    if (!text)
        diag_add(ctx->diag, d, "the body is larger than %zu MiB", TASK_BODY_MAX >> 20);
    return text;
}

void json_text_load(const struct param_ctx *ctx, const struct doc *d, void *field)
{
    auto_buf struct buf text = BUF_INIT(TASK_BODY_MAX);

    add_json(&text, d);
    *(const char **)field = keep(ctx, d, &text);
}

const char *form_text(const struct param_ctx *ctx, const struct doc *d, const struct pairs *form)
{
    auto_buf struct buf text = BUF_INIT(TASK_BODY_MAX);

    for (size_t i = 0; i < form->n; i++) {
        if (i > 0)
            buf_addc(&text, '&');
        add_escaped(&text, form->keys[i], slot_add_url, "url");
        buf_addc(&text, '=');
        add_escaped(&text, form->values[i], slot_add_url, "url");
    }
    return keep(ctx, d, &text);
}

/* A path in a plan file is meant from that file's folder. */
static char *path_from_plan(const struct doc *d, const char *path)
{
    const char *slash = d && d->source && !doc_is_flag(d) ? strrchr(d->source, '/') : NULL;

    if (path[0] == '/' || !slash)
        return xstrdup(path);
    return xasprintf("%.*s/%s", (int)(slash - d->source), d->source, path);
}

static int read_whole(int fd, char *into, size_t len)
{
    size_t got = 0;

    while (got < len) {
        ssize_t n = read(fd, into + got, len - got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        got += (size_t)n;
    }
    return 0;
}

static void say_errno(const struct param_ctx *ctx, const struct doc *d, const char *path, int code)
{
    struct err err = { 0 };

    err_ignore(err_sys(&err, ERR_USAGE, code, "'%s'", path), "only its sentence is wanted");
    diag_add(ctx->diag, d, "%s", err.msg);
}

void body_file_load(const struct param_ctx *ctx, const struct doc *d, struct task *task)
{
    auto_free char *path = path_from_plan(d, task->body_file);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    char *body;
    int rc;

    if (fd < 0 || fstat(fd, &st) < 0) {
        say_errno(ctx, d, path, errno);
        return;
    }
    if (!S_ISREG(st.st_mode)) {
        diag_add(ctx->diag, d, "'%s' is not a regular file", path);
        return;
    }
    if ((uint64_t)st.st_size > TASK_BODY_MAX) {
        diag_add(ctx->diag, d, "'%s' is larger than %zu MiB", path, TASK_BODY_MAX >> 20);
        return;
    }
    body = arena_alloc(ctx->arena, (size_t)st.st_size + 1);
    rc = body ? read_whole(fd, body, (size_t)st.st_size) : -ENOMEM;
    if (rc < 0) {
        say_errno(ctx, d, path, -rc);
        return;
    }
    task->body = body;
    task->body_len = (size_t)st.st_size;
}

const char *pairs_find(const struct pairs *p, const char *key)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcasecmp(p->keys[i], key) == 0)
            return p->values[i];
    return NULL;
}

void pairs_add(const struct param_ctx *ctx, struct pairs *p, const char *key, const char *value)
{
    const char **keys = arena_alloc(ctx->arena, (p->n + 1) * sizeof(*keys));
    const char **values = arena_alloc(ctx->arena, (p->n + 1) * sizeof(*values));

    if (!keys || !values) {
        diag_add(ctx->diag, NULL, "the plan is too large");
        return;
    }
    for (size_t i = 0; i < p->n; i++) {
        keys[i] = p->keys[i];
        values[i] = p->values[i];
    }
    keys[p->n] = key;
    values[p->n] = value;
    *p = (struct pairs){ keys, values, p->n + 1 };
}
