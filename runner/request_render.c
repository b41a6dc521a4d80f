/* Forms to bytes, for the requests that are not the same each time, and the next hop of a redirect.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "runner/request_parts.h"

#define HEAD_BODY_GAP "\r\n\r\n"
#define LENGTH_WIDTH 10

/* A header's value from a variable must not become another header. */
static void blank_controls(struct buf *b, size_t from)
{
    for (size_t i = from; i < b->len; i++)
        if ((unsigned char)b->data[i] < ' ' || b->data[i] == 0x7f)
            b->data[i] = ' ';
}

static void write_headers(const struct request_parts *p, const struct destination *to,
                          const struct render_ctx *ctx, struct buf *out)
{
    bool has_host = false;

    for (size_t i = 0; i < p->n_headers; i++) {
        const struct header_part *h = &p->headers[i];
        size_t start;

        if (to->elsewhere && h->kind != HEADER_PLAIN)
            continue;
        if (to->drop_body && strcasecmp(h->name, "Content-Type") == 0)
            continue;
        has_host |= h->kind == HEADER_HOST;
        buf_adds(out, h->name);
        buf_adds(out, ": ");
        start = out->len;
        if (h->value)
            template_render(h->value, ctx, out);
        else
            buf_adds(out, h->text);
        blank_controls(out, start);
        buf_adds(out, "\r\n");
    }
    if (!has_host)
        buf_addf(out, "Host: %s\r\n", to->host_header);
}

static void write_cookies(const struct request_parts *p, const struct destination *to,
                          const struct render_ctx *ctx, struct buf *out)
{
    uint64_t wall = ctx->wall_ns;

    if (!ctx->cookies || cookies_is_empty(ctx->cookies) || (p->has_cookie_header && !to->elsewhere))
        return;
    if (!wall)
        wall = clock_wall_ns();
    cookies_header(ctx->cookies, to->host, to->path, to->secure, wall / NS_PER_SEC, out);
}

/* Content-Length is known after the body is written: its digits go into room left for them, and
 * what stays free of it is blanks before the number, which HTTP allows. */
static int write_body(const struct request_parts *p, const struct destination *to,
                      const struct render_ctx *ctx, struct buf *out, struct err *err)
{
    char digits[LENGTH_WIDTH + 1];
    size_t length_at, body_at;
    int n;

    if (to->drop_body || (!p->has_body && !to->body)) {
        buf_adds(out, "\r\n");
        return 0;
    }
    buf_adds(out, "Content-Length: ");
    length_at = out->len;
    if (!to->body && !p->body) {
        buf_addf(out, "%zu" HEAD_BODY_GAP, p->raw_len);
        buf_add(out, p->raw_body ? p->raw_body : "", p->raw_len);
        return 0;
    }
    buf_addf(out, "%*s" HEAD_BODY_GAP, LENGTH_WIDTH, "");
    body_at = out->len;
    if (to->body)
        buf_add(out, to->body, to->body_len);
    else
        template_render(p->body, ctx, out);
    n = snprintf(digits, sizeof(digits), "%*zu", LENGTH_WIDTH, out->len - body_at);
    if (n != LENGTH_WIDTH || out->len - body_at > TASK_BODY_MAX)
        return err_set(err, ERR_LIMIT, EMSGSIZE, "the body is larger than %zu MiB",
                       TASK_BODY_MAX >> 20);
    if (!buf_failed(out))
        memcpy(out->data + length_at, digits, LENGTH_WIDTH);
    return 0;
}

static void copy_text(char *out, size_t size, const char *text)
{
    size_t n = MIN(strlen(text), size - 1);

    memcpy(out, text, n);
    out[n] = '\0';
}

int request_write(const struct request_form *f, const struct destination *to,
                  const struct render_ctx *ctx, struct buf *out, struct request_text *ret,
                  struct err *err)
{
    const struct request_parts *p = f->parts;
    int rc;

    buf_clear(out);
    buf_adds(out, to->method);
    buf_addc(out, ' ');
    buf_adds(out, to->path);
    buf_adds(out, " HTTP/1.1\r\n");
    write_headers(p, to, ctx, out);
    write_cookies(p, to, ctx, out);
    rc = write_body(p, to, ctx, out, err);
    if (rc < 0)
        return rc;
    if (buf_failed(out))
        return err_set(err, ERR_LIMIT, EMSGSIZE, "the request is too large");
    ret->bytes = out->data;
    ret->len = out->len;
    ret->method = to->method;
    ret->secure = to->secure;
    copy_text(ret->host, sizeof(ret->host), to->host);
    copy_text(ret->path, sizeof(ret->path), to->path);
    copy_text(ret->base_text, sizeof(ret->base_text), to->base_url);
    ret->base_url = to->base_url == p->base_url ? p->base_url : ret->base_text;
    return 0;
}

/* ---- the URL ---- */

/* Path and query as they may stand in a request line: other bytes are percent-encoded. */
static int add_path(struct buf *out, const char *text, size_t len, struct err *err)
{
    for (size_t i = 0; i < len && text[i] != '#'; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c <= ' ' || c >= 0x7f)
            buf_addf(out, "%%%02X", (unsigned)c);
        else
            buf_addc(out, (char)c);
    }
    if (out->len >= URL_MAX)
        return err_set(err, ERR_LIMIT, EMSGSIZE, "the URL is longer than %d characters", URL_MAX);
    return 0;
}

/* Texts of a destination that are not the form's. */
struct place {
    char base[URL_BASE_MAX], host_header[URL_BASE_MAX], host[URL_HOST_MAX + 1];
};

static void go_to(const struct request_parts *p, const struct url *url, struct place *place,
                  struct destination *to)
{
    url_base(url, place->base);
    url_host_header(url, place->host_header);
    url_host(url, place->host);
    to->secure = url->scheme == URL_HTTPS;
    if (strcmp(place->base, p->base_url) == 0) {
        to->base_url = p->base_url;
        to->host = p->host;
        to->host_header = p->host_header;
        to->elsewhere = false;
        return;
    }
    to->base_url = place->base;
    to->host = place->host;
    to->host_header = place->host_header;
    to->elsewhere = true;
}

/* A URL whose origin was not known before: absolute, or a path of the target. */
static int resolve_whole(const struct request_parts *p, const struct buf *text, struct place *place,
                         struct destination *to, struct buf *path, struct err *err)
{
    const char *s = buf_str(text);
    struct url url;
    int rc;

    if (s[0] == '/') {
        rc = add_path(path, p->prefix, strlen(p->prefix), err);
        return rc < 0 ? rc : add_path(path, s, text->len, err);
    }
    if (!url_is_absolute(s, text->len))
        return err_set(err, ERR_GENERIC, EINVAL,
                       "the rendered URL '%.80s' is neither a path nor a URL", s);
    rc = url_parse(s, text->len, &url, err);
    if (rc < 0)
        return rc;
    go_to(p, &url, place, to);
    to->elsewhere = false; /* the plan itself asked for this host */
    if (url.rest_len == 0 || url.rest[0] != '/')
        buf_addc(path, '/');
    return add_path(path, url.rest, url.rest_len, err);
}

int request_render(const struct request_form *f, const struct render_ctx *ctx, struct buf *out,
                   struct request_text *ret, struct err *err)
{
    const struct request_parts *p = f->parts;
    auto_buf struct buf url = BUF_INIT(4 * URL_MAX);
    auto_buf struct buf path = BUF_INIT(4 * URL_MAX);
    struct place place;
    struct destination to = { .base_url = p->base_url,
                              .host = p->host,
                              .host_header = p->host_header,
                              .secure = p->secure,
                              .method = f->method };
    int rc;

    template_render(p->url, ctx, &url);
    if (buf_failed(&url) || url.len >= URL_MAX)
        return err_set(err, ERR_LIMIT, EMSGSIZE, "the URL is longer than %d characters", URL_MAX);
    if (p->url_is_whole) {
        rc = resolve_whole(p, &url, &place, &to, &path, err);
    } else {
        rc = add_path(&path, p->prefix, strlen(p->prefix), err);
        if (url.len == 0 || url.data[0] != '/')
            buf_addc(&path, '/');
        if (rc == 0)
            rc = add_path(&path, buf_str(&url), url.len, err);
    }
    if (rc < 0)
        return rc;
    to.path = buf_str(&path);
    return request_write(f, &to, ctx, out, ret, err);
}

/* ---- redirects ---- */

static bool is_redirect(unsigned status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Removes the last segment of a path, keeping its slash. */
static void drop_segment(struct buf *path)
{
    while (path->len > 0 && path->data[path->len - 1] != '/')
        path->len--;
}

/* "a/../b" after the folder of `from`, without its dots (RFC 3986, 5.2). */
static void add_relative(struct buf *path, const char *from, const char *rel, size_t len)
{
    size_t query = 0;

    while (query < len && rel[query] != '?' && rel[query] != '#')
        query++;
    buf_add(path, from, strcspn(from, "?"));
    if (query > 0)
        drop_segment(path);
    for (size_t i = 0; i < query;) {
        size_t n = 0;
        bool slash;

        while (i + n < query && rel[i + n] != '/')
            n++;
        slash = i + n < query;
        if (n == 2 && memcmp(rel + i, "..", 2) == 0) {
            if (path->len > 1)
                path->len--;
            drop_segment(path);
        } else if (!(n == 1 && rel[i] == '.')) {
            buf_add(path, rel + i, n + slash);
        }
        i += n + slash;
    }
    buf_add(path, rel + query, len - query);
}

/* "mailto:x": a colon before anything that belongs to a path. */
static bool has_scheme(const char *url, size_t len)
{
    size_t i = 0;

    while (i < len && url[i] != '/' && url[i] != '?' && url[i] != '#' && url[i] != ':')
        i++;
    return i > 0 && i < len && url[i] == ':';
}

/* One hop: from where, what the answer said, and what comes of it. */
struct hop {
    const struct request_form *form;
    const struct request_text *from;
    const char *location;
    size_t len;
    struct place place;
    struct destination to;
    struct buf path;
};

static int go_absolute(struct hop *h, const char *text, size_t len)
{
    struct url url;
    int rc = url_parse(text, len, &url, NULL);

    if (rc < 0)
        return rc;
    go_to(h->form->parts, &url, &h->place, &h->to);
    if (url.rest_len == 0 || url.rest[0] != '/')
        buf_addc(&h->path, '/');
    return add_path(&h->path, url.rest, url.rest_len, NULL);
}

/* A path, seen from the request that got it. */
static int go_relative(struct hop *h)
{
    auto_buf struct buf text = BUF_INIT(4 * URL_MAX);
    struct url url;
    int rc = url_parse(h->from->base_url, strlen(h->from->base_url), &url, NULL);

    if (rc < 0)
        return rc;
    go_to(h->form->parts, &url, &h->place, &h->to);
    if (h->location[0] == '/')
        buf_add(&text, h->location, h->len);
    else
        add_relative(&text, h->from->path, h->location, h->len);
    return add_path(&h->path, buf_str(&text), text.len, NULL);
}

static int follow(struct hop *h)
{
    auto_buf struct buf text = BUF_INIT(2 * URL_MAX);

    if (h->len == 0 || h->len > URL_MAX)
        return -EINVAL;
    if (url_is_absolute(h->location, h->len))
        return go_absolute(h, h->location, h->len);
    if (has_scheme(h->location, h->len))
        return -EINVAL;
    if (h->len < 2 || h->location[0] != '/' || h->location[1] != '/')
        return go_relative(h);
    buf_adds(&text, h->from->secure ? "https:" : "http:");
    buf_add(&text, h->location, h->len);
    return go_absolute(h, buf_str(&text), text.len);
}

static void choose_method(const struct request_text *from, unsigned status, struct destination *to)
{
    bool keeps = status == 307 || status == 308 || strcmp(from->method, "HEAD") == 0;
    const char *gap = memmem(from->bytes, from->len, HEAD_BODY_GAP, 4);

    to->method = keeps ? from->method : "GET";
    to->drop_body = !keeps || !gap || gap + 4 == from->bytes + from->len;
    if (!to->drop_body) {
        to->body = gap + 4;
        to->body_len = (size_t)(from->bytes + from->len - to->body);
    }
}

int request_redirect(const struct request_form *f, const struct request_text *from,
                     const struct answer *a, const struct render_ctx *ctx, struct buf *out,
                     struct request_text *ret)
{
    struct hop h = { .form = f, .from = from, .path = BUF_INIT(4 * URL_MAX) };
    struct buf fresh = BUF_INIT(out->max);
    int rc;

    if (is_redirect(a->sample.status) && a->head)
        h.location = head_find(a->head, a->head_len, "Location", 0, &h.len);
    if (!h.location)
        return 1;
    rc = follow(&h);
    if (rc == 0) {
        choose_method(from, a->sample.status, &h.to);
        h.to.path = buf_str(&h.path);
        rc = request_write(f, &h.to, ctx, &fresh, ret, NULL);
    }
    buf_done(&h.path);
    if (rc < 0) {
        buf_done(&fresh);
        return rc;
    }
    buf_done(out);
    *out = fresh;
    return 0;
}
