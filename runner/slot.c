/* The functions a slot may name are rows of one table: name, number of arguments, how it is read,
 * how it is written. */
#include "runner/slot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"

struct span {
    const char *s;
    size_t len;
};

struct call { /* name(args) taken apart */
    struct span name, args;
    bool has_args;
};

typedef int slot_read_fn(struct arena *a, const struct call *c, struct slot *ret, struct err *err);
typedef void slot_write_fn(const struct slot *s, const struct render_ctx *ctx, struct buf *out);

const char *slot_open(const char *s, const char *end)
{
    while (s + 1 < end) {
        s = memchr(s, '{', (size_t)(end - s) - 1);
        if (!s || s[1] == '{')
            return s;
        s++;
    }
    return NULL;
}

const char *slot_close(const char *s, const char *end)
{
    bool quoted = false;

    for (; s + 1 < end; s++) {
        if (*s == '\'')
            quoted = !quoted;
        else if (!quoted && s[0] == '}' && s[1] == '}')
            return s;
    }
    return NULL;
}

static struct span trim(struct span v)
{
    while (v.len > 0 && (v.s[0] == ' ' || v.s[0] == '\t')) {
        v.s++;
        v.len--;
    }
    while (v.len > 0 && (v.s[v.len - 1] == ' ' || v.s[v.len - 1] == '\t'))
        v.len--;
    return v;
}

/* Cuts the next comma-separated argument off `rest`. */
static struct span next_arg(struct span *rest)
{
    const char *comma = memchr(rest->s, ',', rest->len);
    struct span arg = { rest->s, comma ? (size_t)(comma - rest->s) : rest->len };

    rest->s += arg.len + (comma ? 1 : 0);
    rest->len -= arg.len + (comma ? 1 : 0);
    return trim(arg);
}

static size_t count_args(const struct call *c)
{
    size_t n = trim(c->args).len > 0;

    for (size_t i = 0; i < c->args.len; i++)
        n += c->args.s[i] == ',';
    return n;
}

static int span_int(struct span v, int64_t lo, int64_t hi, int64_t *ret, struct err *err)
{
    char text[24];

    if (v.len >= sizeof(text))
        return err_set(err, ERR_USAGE, EINVAL, "'%.*s' is not a whole number", (int)MIN(v.len, 40),
                       v.s);
    memcpy(text, v.s, v.len);
    text[v.len] = '\0';
    return parse_i64(text, lo, hi, ret, err);
}

static int read_random_int(struct arena *a, const struct call *c, struct slot *ret, struct err *err)
{
    struct span rest = c->args;

    (void)a;
    if (count_args(c) != 2)
        return err_set(err, ERR_USAGE, EINVAL,
                       "random.int has two bounds: write {{random.int(1,1000)}}");
    if (span_int(next_arg(&rest), INT64_MIN, INT64_MAX, &ret->lo, err) < 0 ||
        span_int(next_arg(&rest), INT64_MIN, INT64_MAX, &ret->hi, err) < 0)
        return err_wrap(err, "random.int");
    if (ret->lo > ret->hi)
        return err_set(err, ERR_USAGE, EINVAL, "random.int: %" PRId64 " is above %" PRId64, ret->lo,
                       ret->hi);
    return 0;
}

static int read_random_string(struct arena *a, const struct call *c, struct slot *ret,
                              struct err *err)
{
    struct span rest = c->args;

    (void)a;
    if (count_args(c) != 1)
        return err_set(err, ERR_USAGE, EINVAL,
                       "random.string has one length: write {{random.string(8)}}");
    if (span_int(next_arg(&rest), 1, SLOT_STRING_MAX, &ret->hi, err) < 0)
        return err_wrap(err, "random.string");
    return 0;
}

static int read_random_choice(struct arena *a, const struct call *c, struct slot *ret,
                              struct err *err)
{
    struct span rest = c->args;
    size_t n = count_args(c);

    if (n == 0 || n > SLOT_CHOICES_MAX)
        return err_set(err, ERR_USAGE, EINVAL,
                       "random.choice has 1 to %d values: write {{random.choice(a,b,c)}}",
                       SLOT_CHOICES_MAX);
    ret->choices = arena_alloc(a, n * sizeof(*ret->choices));
    if (!ret->choices)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct span arg = next_arg(&rest);

        ret->choices[i] = arena_strndup(a, arg.s, arg.len);
        if (!ret->choices[i])
            return -ENOMEM;
    }
    ret->n_choices = n;
    return 0;
}

static int read_nothing(struct arena *a, const struct call *c, struct slot *ret, struct err *err)
{
    (void)a;
    (void)ret;
    if (c->has_args)
        return err_set(err, ERR_USAGE, EINVAL, "%.*s takes no arguments", (int)c->name.len,
                       c->name.s);
    return 0;
}

static void write_text(const struct slot *s, const struct render_ctx *ctx, struct buf *out)
{
    (void)ctx;
    buf_add(out, s->text, s->len);
}

static void write_var(const struct slot *s, const struct render_ctx *ctx, struct buf *out)
{
    buf_adds(out, vars_get(ctx->vars, s->var));
}

static void write_random_int(const struct slot *s, const struct render_ctx *ctx, struct buf *out)
{
    buf_addf(out, "%" PRId64, rng_int(ctx->rng, s->lo, s->hi));
}

static void write_random_string(const struct slot *s, const struct render_ctx *ctx, struct buf *out)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

    for (int64_t i = 0; i < s->hi; i++)
        buf_addc(out, letters[rng_below(ctx->rng, sizeof(letters) - 1)]);
}

static void write_random_choice(const struct slot *s, const struct render_ctx *ctx, struct buf *out)
{
    buf_adds(out, s->choices[rng_below(ctx->rng, s->n_choices)]);
}

static void write_random_uuid(const struct slot *s, const struct render_ctx *ctx, struct buf *out)
{
    uint64_t hi = (rng_u64(ctx->rng) & ~UINT64_C(0xf000)) | 0x4000;
    uint64_t lo = (rng_u64(ctx->rng) & (UINT64_MAX >> 2)) | (UINT64_C(1) << 63);

    (void)s;
    buf_addf(out, "%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%012" PRIx64, hi >> 32,
             (hi >> 16) & 0xffff, hi & 0xffff, lo >> 48, lo & UINT64_C(0xffffffffffff));
}

static void write_user_id(const struct slot *s, const struct render_ctx *ctx, struct buf *out)
{
    (void)s;
    buf_addf(out, "%" PRIu64, ctx->user_id);
}

static void write_user_iteration(const struct slot *s, const struct render_ctx *ctx,
                                 struct buf *out)
{
    (void)s;
    buf_addf(out, "%" PRIu64, ctx->iteration);
}

static uint64_t wall_now(const struct render_ctx *ctx)
{
    return ctx->wall_ns ? ctx->wall_ns : clock_wall_ns();
}

static void write_time_unix(const struct slot *s, const struct render_ctx *ctx, struct buf *out)
{
    (void)s;
    buf_addf(out, "%" PRIu64, wall_now(ctx) / NS_PER_SEC);
}

static void write_time_unix_ms(const struct slot *s, const struct render_ctx *ctx, struct buf *out)
{
    (void)s;
    buf_addf(out, "%" PRIu64, wall_now(ctx) / NS_PER_MS);
}

static void write_time_iso(const struct slot *s, const struct render_ctx *ctx, struct buf *out)
{
    char text[CLOCK_ISO_LEN];

    (void)s;
    clock_iso(wall_now(ctx), text);
    buf_adds(out, text);
}

static const struct {
    const char *name; /* NULL: not written by name */
    slot_read_fn *read;
    slot_write_fn *write;
} kinds[SLOT_KIND_MAX] = {
    [SLOT_TEXT] = { NULL, NULL, write_text },
    [SLOT_VAR] = { NULL, NULL, write_var },
    [SLOT_RANDOM_INT] = { "random.int", read_random_int, write_random_int },
    [SLOT_RANDOM_STRING] = { "random.string", read_random_string, write_random_string },
    [SLOT_RANDOM_CHOICE] = { "random.choice", read_random_choice, write_random_choice },
    [SLOT_RANDOM_UUID] = { "random.uuid", read_nothing, write_random_uuid },
    [SLOT_USER_ID] = { "user.id", read_nothing, write_user_id },
    [SLOT_USER_ITERATION] = { "user.iteration", read_nothing, write_user_iteration },
    [SLOT_TIME_UNIX] = { "time.unix", read_nothing, write_time_unix },
    [SLOT_TIME_UNIX_MS] = { "time.unix_ms", read_nothing, write_time_unix_ms },
    [SLOT_TIME_ISO] = { "time.iso", read_nothing, write_time_iso },
};

static bool span_is(struct span v, const char *text)
{
    return strlen(text) == v.len && memcmp(v.s, text, v.len) == 0;
}

static int split_call(struct span v, struct call *ret, struct err *err)
{
    const char *open = memchr(v.s, '(', v.len);

    *ret = (struct call){ .name = v };
    if (!open)
        return 0;
    if (v.s[v.len - 1] != ')')
        return err_set(err, ERR_USAGE, EINVAL, "{{%.*s}}: the ) is missing", (int)MIN(v.len, 60),
                       v.s);
    ret->name = trim((struct span){ v.s, (size_t)(open - v.s) });
    ret->args = (struct span){ open + 1, (size_t)(v.s + v.len - open) - 2 };
    ret->has_args = true;
    return 0;
}

static int unknown(const struct call *c, const struct var_names *names, struct err *err)
{
    const char *known[SLOT_KIND_MAX + VARS_MAX + 1];
    const char *near;
    char word[64];
    size_t n = 0;
    int shown = (int)MIN(c->name.len, sizeof(word) - 1);

    for (size_t i = 0; i < SLOT_KIND_MAX; i++)
        if (kinds[i].name)
            known[n++] = kinds[i].name;
    for (size_t i = 0; names && i < MIN(names->n, VARS_MAX); i++)
        known[n++] = names->names[i];
    snprintf(word, sizeof(word), "%.*s", shown, c->name.s);
    near = nearest_name(word, known, n);
    if (near)
        return err_set(err, ERR_USAGE, EINVAL, "{{%s}} is unknown, did you mean {{%s}}?", word,
                       near);
    if (c->has_args)
        return err_set(err, ERR_USAGE, EINVAL,
                       "{{%s(...)}} is unknown; there are random.int, random.string, "
                       "random.choice, url and json",
                       word);
    return err_set(err, ERR_USAGE, EINVAL,
                   "{{%s}} is unknown: it is no function, no variable of the class, and no task "
                   "of the class extracts it",
                   word);
}

static int compile_named(struct arena *a, const struct call *c, const struct var_names *names,
                         struct slot *ret, struct err *err)
{
    int var = c->has_args ? -1 : var_index(names, c->name.s, c->name.len);

    if (var >= 0) {
        ret->kind = SLOT_VAR;
        ret->var = (size_t)var;
        return 0;
    }
    for (unsigned i = 0; i < SLOT_KIND_MAX; i++)
        if (kinds[i].name && span_is(c->name, kinds[i].name)) {
            ret->kind = (enum slot_kind)i;
            return kinds[i].read(a, c, ret, err);
        }
    return unknown(c, names, err);
}

static int compile_quoted(struct arena *a, struct span v, struct slot *ret, struct err *err)
{
    char *copy;

    if (v.len < 2 || v.s[v.len - 1] != '\'' || memchr(v.s + 1, '\'', v.len - 2))
        return err_set(err, ERR_USAGE, EINVAL, "{{%.*s}}: a quoted text ends with one more '",
                       (int)MIN(v.len, 60), v.s);
    copy = arena_strndup(a, v.s + 1, v.len - 2);
    if (!copy)
        return -ENOMEM;
    *ret = (struct slot){ .kind = SLOT_TEXT, .text = copy, .len = v.len - 2 };
    return 0;
}

int slot_compile(struct arena *a, const struct slot_source *src, struct slot *ret, struct err *err)
{
    struct span v = trim((struct span){ src->text, src->len });
    enum slot_encoding encoding = SLOT_PLAIN;
    struct call call = { 0 };
    int rc = v.len == 0
                 ? err_set(err, ERR_USAGE, EINVAL, "{{}} is empty; name a variable or a function")
                 : split_call(v, &call, err);

    if (rc < 0)
        return rc;
    if (v.s[0] != '\'' && call.has_args &&
        (span_is(call.name, "url") || span_is(call.name, "json"))) {
        encoding = span_is(call.name, "url") ? SLOT_URL : SLOT_JSON;
        v = trim(call.args);
        rc = v.len == 0 ? err_set(err, ERR_USAGE, EINVAL,
                                  "{{url()}} and {{json()}} need a slot: "
                                  "write {{url(name)}}")
                        : split_call(v, &call, err);
        if (rc < 0)
            return rc;
    }
    rc = v.s[0] == '\'' ? compile_quoted(a, v, ret, err)
                        : compile_named(a, &call, src->names, ret, err);
    ret->encoding = encoding;
    return rc;
}

void slot_add_url(struct buf *out, const char *s, size_t len)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     c == '-' || c == '.' || c == '_' || c == '~';

        if (plain) {
            buf_addc(out, (char)c);
        } else {
            buf_addc(out, '%');
            buf_addc(out, hex[c >> 4]);
            buf_addc(out, hex[c & 15]);
        }
    }
}

void slot_add_json(struct buf *out, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c < 0x20)
            buf_addf(out, "\\u%04x", (unsigned)c);
        else if (c == '"' || c == '\\')
            buf_addf(out, "\\%c", c);
        else
            buf_addc(out, (char)c);
    }
}

void slot_render(const struct slot *s, const struct render_ctx *ctx, struct buf *out)
{
    auto_buf struct buf value = BUF_INIT(VAR_VALUE_MAX + SLOT_STRING_MAX);

    if (s->encoding == SLOT_PLAIN) {
        kinds[s->kind].write(s, ctx, out);
        return;
    }
    kinds[s->kind].write(s, ctx, &value);
    (s->encoding == SLOT_URL ? slot_add_url : slot_add_json)(out, buf_str(&value), value.len);
}
