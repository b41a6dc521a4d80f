/* Forms: everything about a request that does not change from one sending to the next is settled
 * here, once, before the first byte of load goes out. */
#include "runner/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "runner/plan_internal.h"
#include "runner/request_parts.h"

#define FORMS_MEMORY_MAX ((size_t)1 << 30)
#define FORM_HEADERS_MAX 320 /* three maps of at most 100, and ours */

struct class_vars {
    struct var_names names;
    const struct template **initial; /* NULL where there is none */
};

struct request_forms {
    struct arena *arena;
    const struct load_plan *plan;
    struct request_form *forms;
    struct request_parts *parts;
    struct class_vars *classes;
    char *authorization; /* NULL: none */
};

static int out_of_memory(struct err *err)
{
    return err_set(err, ERR_LIMIT, ENOMEM, "the plan's requests together need more than %zu MiB",
                   FORMS_MEMORY_MAX >> 20);
}

static int compile(struct request_forms *fs, const struct task *t, const char *text, size_t len,
                   const struct template **ret, struct err *err)
{
    return template_compile(fs->arena, text, len, &fs->classes[t->user_class].names, ret, err);
}

/* ---- headers ---- */

static enum header_kind header_kind(const char *name)
{
    static const struct {
        const char *name;
        enum header_kind kind;
    } kinds[] = {
        { "Authorization", HEADER_SECRET },
        { "Proxy-Authorization", HEADER_SECRET },
        { "Host", HEADER_HOST },
        { "Cookie", HEADER_COOKIE },
    };

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcasecmp(name, kinds[i].name) == 0)
            return kinds[i].kind;
    return HEADER_PLAIN;
}

/* Adds, or replaces what a wider scope said. */
static void put_header(struct request_parts *p, const char *name, const char *text,
                       const struct template *value)
{
    size_t i = 0;

    while (i < p->n_headers && p->headers[i].name && strcasecmp(p->headers[i].name, name) != 0)
        i++;
    if (i == FORM_HEADERS_MAX)
        return;
    p->headers[i] = (struct header_part){ name, text, value, header_kind(name) };
    p->n_headers = MAX(p->n_headers, i + 1);
}

static int put_headers(struct request_forms *fs, const struct task *t, const struct pairs *from,
                       struct request_parts *p, struct err *err)
{
    for (size_t i = 0; i < from->n; i++) {
        const struct template *value = NULL;
        const char *text = from->values[i];

        if (strstr(text, "{{") && compile(fs, t, text, strlen(text), &value, err) < 0)
            return err_wrap(err, "header %s", from->keys[i]);
        put_header(p, from->keys[i], text, value);
    }
    return 0;
}

static int build_headers(struct request_forms *fs, const struct task *t, struct request_parts *p,
                         struct err *err)
{
    const struct http_plan *http = &fs->plan->http;
    struct header_part all[FORM_HEADERS_MAX] = { 0 };
    int rc;

    p->headers = all;
    put_header(p, "User-Agent", "chaos-load/" CHAOS_LOAD_VERSION, NULL);
    put_header(p, "Accept", "*/*", NULL);
    if (http->compressed)
        put_header(p, "Accept-Encoding", "gzip", NULL);
    if (!http->keep_alive)
        put_header(p, "Connection", "close", NULL);
    rc = put_headers(fs, t, &http->headers, p, err);
    if (rc == 0 && fs->authorization)
        put_header(p, "Authorization", fs->authorization, NULL);
    if (rc == 0)
        rc = put_headers(fs, t, &fs->plan->classes[t->user_class].headers, p, err);
    if (rc == 0)
        rc = put_headers(fs, t, &t->headers, p, err);
    p->headers = arena_alloc(fs->arena, MAX(p->n_headers, 1) * sizeof(*p->headers));
    if (rc < 0)
        return rc;
    if (!p->headers)
        return out_of_memory(err);
    memcpy(p->headers, all, p->n_headers * sizeof(*p->headers));
    for (size_t i = 0; i < p->n_headers; i++)
        p->has_cookie_header |= p->headers[i].kind == HEADER_COOKIE;
    return 0;
}

/* ---- where it goes ---- */

static int set_base(struct request_forms *fs, const struct url *url, struct request_parts *p,
                    struct err *err)
{
    char base[URL_BASE_MAX], header[URL_BASE_MAX], host[URL_HOST_MAX + 1];
    size_t prefix = url->rest_len;

    url_base(url, base);
    url_host_header(url, header);
    url_host(url, host);
    while (prefix > 0 && url->rest[prefix - 1] == '/')
        prefix--;
    p->base_url = arena_strdup(fs->arena, base);
    p->host_header = arena_strdup(fs->arena, header);
    p->host = arena_strdup(fs->arena, host);
    p->prefix = arena_strndup(fs->arena, url->rest ? url->rest : "", prefix);
    p->secure = url->scheme == URL_HTTPS;
    return p->base_url && p->host_header && p->host && p->prefix ? 0 : out_of_memory(err);
}

/* The length of "http://host:port" at the start of an absolute URL. */
static size_t origin_len(const char *url)
{
    const char *host = strstr(url, "://") + 3;

    return (size_t)(host - url) + strcspn(host, "/?#");
}

static int build_url(struct request_forms *fs, const struct task *t, struct request_parts *p,
                     struct err *err)
{
    const struct user_class *c = &fs->plan->classes[t->user_class];
    const char *target = c->host ? c->host : fs->plan->target;
    const char *path = t->url;
    struct url url;
    int rc;

    if (url_is_absolute(t->url, strlen(t->url))) {
        size_t n = origin_len(t->url);

        p->url_is_whole = memmem(t->url, n, "{{", 2);
        if (!p->url_is_whole) {
            target = arena_strndup(fs->arena, t->url, n);
            path = t->url + n;
        }
    } else {
        p->url_is_whole = t->url[0] == '{';
    }
    if (!target)
        return out_of_memory(err);
    rc = url_parse(target, strlen(target), &url, err);
    if (rc == 0)
        rc = set_base(fs, &url, p, err);
    if (rc == 0)
        rc = compile(fs, t, path, strlen(path), &p->url, err);
    return rc;
}

/* ---- forms ---- */

static int build_body(struct request_forms *fs, const struct task *t, struct request_parts *p,
                      struct err *err)
{
    static const char *const always[] = { "POST", "PUT", "PATCH" };

    p->raw_body = t->body;
    p->raw_len = t->body_len;
    p->has_body = t->body;
    for (size_t i = 0; i < ARRAY_LEN(always); i++)
        p->has_body |= strcmp(t->method, always[i]) == 0;
    if (t->body && !t->body_file && memmem(t->body, t->body_len, "{{", 2))
        return compile(fs, t, t->body, t->body_len, &p->body, err);
    return 0;
}

static bool parts_are_constant(const struct request_parts *p)
{
    if (p->url_is_whole || !template_is_constant(p->url) ||
        (p->body && !template_is_constant(p->body)))
        return false;
    for (size_t i = 0; i < p->n_headers; i++)
        if (p->headers[i].value && !template_is_constant(p->headers[i].value))
            return false;
    return true;
}

/* The bytes that everyone shares: what rendering gives when there is nothing to fill in. */
static int make_constant(struct request_forms *fs, struct request_form *f, struct request_parts *p,
                         struct err *err)
{
    struct render_ctx nobody = { 0 };
    struct buf out = BUF_INIT(0);
    char *copy;
    int rc = request_render(f, &nobody, &out, &p->constant, err);

    if (rc == 0) {
        copy = arena_alloc(fs->arena, out.len + 1);
        if (copy) {
            memcpy(copy, out.data, out.len);
            p->constant.bytes = copy;
            f->bytes = copy;
            f->len = out.len;
            f->is_constant = true;
        } else {
            rc = out_of_memory(err);
        }
    }
    if (out.data)
        mem_wipe(out.data, out.cap);
    buf_done(&out);
    return rc;
}

static int build_checks(struct request_forms *fs, const struct task *t, struct request_form *f,
                        struct err *err)
{
    struct expect_form *expect = NULL;
    struct extract_form *extract = NULL;
    int rc = expect_form_new(fs->arena, &t->expect, &expect, err);

    f->expect = expect;
    if (rc == 0 && t->extract.n > 0)
        rc = extract_form_new(fs->arena, &t->extract, &fs->classes[t->user_class].names, &extract,
                              err);
    f->extract = extract;
    if (rc == 0)
        f->want_body = expect_needs_body(expect) || (extract && extract_needs_body(extract));
    return rc;
}

static int build_form(struct request_forms *fs, const struct task *t, struct err *err)
{
    struct request_form *f = &fs->forms[t->form];
    struct request_parts *p = &fs->parts[t->form];
    int rc;

    f->task = t;
    f->method = t->method;
    f->is_head = strcmp(t->method, "HEAD") == 0;
    f->timeout_ns = t->timeout_ns;
    f->parts = p;
    p->close = !fs->plan->http.keep_alive;
    rc = build_url(fs, t, p, err);
    if (rc == 0)
        rc = build_headers(fs, t, p, err);
    if (rc == 0)
        rc = build_body(fs, t, p, err);
    if (rc == 0)
        rc = build_checks(fs, t, f, err);
    f->base_url = p->base_url;
    if (rc == 0 && parts_are_constant(p))
        rc = make_constant(fs, f, p, err);
    return rc < 0 ? err_wrap(err, "task '%s'", t->name) : 0;
}

static int build_class(struct request_forms *fs, size_t i, struct err *err)
{
    struct class_vars *c = &fs->classes[i];
    int rc = class_var_names(fs->arena, &fs->plan->classes[i], &c->names);

    c->initial = arena_alloc(fs->arena, (c->names.n + 1) * sizeof(const struct template *));
    if (rc < 0 || !c->initial)
        return out_of_memory(err);
    for (size_t k = 0; k < c->names.n && rc == 0; k++)
        if (*c->names.initial[k])
            rc = template_compile(fs->arena, c->names.initial[k], strlen(c->names.initial[k]), NULL,
                                  &c->initial[k], err);
    return rc;
}

static int read_authorization(struct request_forms *fs, struct err *err)
{
    struct buf value = BUF_INIT(0);
    int rc = request_authorization(&fs->plan->http, &value, err);

    if (rc == 0 && value.len > 0) {
        fs->authorization = arena_strndup(fs->arena, value.data, value.len);
        if (!fs->authorization)
            rc = out_of_memory(err);
    }
    if (value.data)
        mem_wipe(value.data, value.cap);
    buf_done(&value);
    return rc;
}

struct request_forms *request_forms_new(const struct load_plan *plan, struct err *err)
{
    struct request_forms *fs = xcalloc(1, sizeof(*fs));
    int rc;

    fs->plan = plan;
    fs->arena = arena_new(FORMS_MEMORY_MAX);
    fs->forms = xcalloc(MAX(plan->n_forms, 1), sizeof(*fs->forms));
    fs->parts = xcalloc(MAX(plan->n_forms, 1), sizeof(*fs->parts));
    fs->classes = xcalloc(MAX(plan->n_classes, 1), sizeof(*fs->classes));
    rc = read_authorization(fs, err);
    for (size_t i = 0; i < plan->n_classes && rc == 0; i++)
        rc = build_class(fs, i, err);
    for (size_t i = 0; i < plan->n_forms && rc == 0; i++)
        rc = build_form(fs, plan->forms[i], err);
    if (rc < 0) {
        request_forms_free(fs);
        return NULL;
    }
    return fs;
}

void request_forms_free(struct request_forms *fs)
{
    if (!fs)
        return;
    for (size_t i = 0; i < fs->plan->n_forms; i++) {
        struct request_form *f = &fs->forms[i];

        expect_form_done((struct expect_form *)(uintptr_t)f->expect);
        extract_form_done((struct extract_form *)(uintptr_t)f->extract);
        if (f->bytes && fs->authorization)
            mem_wipe((char *)(uintptr_t)f->bytes, f->len);
    }
    if (fs->authorization)
        mem_wipe(fs->authorization, strlen(fs->authorization));
    arena_free(fs->arena);
    free(fs->forms);
    free(fs->parts);
    free(fs->classes);
    free(fs);
}

const struct request_form *request_form_of(const struct request_forms *fs, const struct task *t)
{
    return &fs->forms[t->form];
}

const struct request_text *request_constant_text(const struct request_form *f)
{
    return &f->parts->constant;
}

const struct var_names *request_var_names(const struct request_forms *fs, uint32_t user_class)
{
    return &fs->classes[user_class].names;
}

void request_vars_init(const struct request_forms *fs, uint32_t user_class,
                       const struct render_ctx *ctx, struct vars *vars)
{
    const struct class_vars *c = &fs->classes[user_class];
    auto_buf struct buf value = BUF_INIT(VAR_VALUE_MAX);

    for (size_t i = 0; i < c->names.n; i++) {
        if (!c->initial[i])
            continue;
        buf_clear(&value);
        template_render(c->initial[i], ctx, &value);
        vars_set(vars, c->names.n, i, buf_str(&value), value.len);
    }
}
