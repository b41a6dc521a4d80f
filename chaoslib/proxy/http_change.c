/* Which HTTP toxics hit a message, and the message as they leave it. */
#include <string.h>
#include <strings.h>

#include "chaoslib/proxy/http.h"

/* ---- whom ---- */

static bool header_matches(const char *wanted, const struct http_head *req)
{
    const char *colon = strchr(wanted, ':');
    struct http_span name, value;

    for (size_t pos = 0; http_head_next(req, &pos, &name, &value);)
        if (name.n == (size_t)(colon - wanted) && strncasecmp(name.p, wanted, name.n) == 0 &&
            glob_match(colon + 1 + strspn(colon + 1, " \t"), value.p, value.n))
            return true;
    return false;
}

static bool matches(const struct toxic_match *m, const struct http_head *req)
{
    return (!m->method || http_span_is(req->method, m->method)) &&
           (!m->path || glob_match(m->path, req->target.p, req->target.n)) &&
           (!m->header || header_matches(m->header, req));
}

/* Answers and resets come from one place only; with `both` that is before the server is asked. */
static bool applies(const struct toxic *t, enum proxy_stream stream)
{
    bool once = t->kind == TOXIC_HTTP_STATUS || t->kind == TOXIC_HTTP_ABORT;

    if (once && t->stream == PROXY_BOTH)
        return stream == PROXY_REQUEST;
    return (t->stream & stream) != 0;
}

static void note(struct live_toxic *l, unsigned slot, struct verdict *v)
{
    const struct toxic *t = &l->toxic;

    if (t->kind == TOXIC_HTTP_ABORT)
        v->abort = true;
    if (t->kind == TOXIC_HTTP_DELAY)
        v->delay_ns += toxic_delay_draw(l);
    if (t->kind == TOXIC_HTTP_STATUS)
        v->status = t;
    if (t->kind == TOXIC_HTTP_BODY)
        v->body = t;
    if (t->kind == TOXIC_HTTP_HEADER)
        v->headers |= UINT64_C(1) << slot;
}

bool http_judge(struct proxy *p, const struct http_head *req, enum proxy_stream stream,
                struct verdict *ret)
{
    unsigned hits = 0;

    *ret = (struct verdict){ .proxy = p };
    for (unsigned i = 0; p->n_http > 0 && i < PROXY_TOXICS_MAX; i++) {
        struct live_toxic *l = p->toxics[i];
        if (!l || !toxic_is_http(l->toxic.kind) || !applies(&l->toxic, stream) ||
            !matches(&l->toxic.match, req) || !toxic_draw(l))
            continue;
        note(l, i, ret);
        l->requests++;
        p->counts.hit++;
        hits++;
    }
    return hits > 0;
}

/* ---- what becomes of it ---- */

/* Fields that speak of a body that is gone. */
static const char *const body_fields[] = {
    "content-length", "transfer-encoding", "content-encoding", "content-md5",
    "etag",           "trailer",           "digest",           "expect"
};

static size_t drop_list(const struct verdict *v, bool replaces_body, const char **list)
{
    size_t n = 0;

    for (size_t i = 0; replaces_body && i < ARRAY_LEN(body_fields); i++)
        list[n++] = body_fields[i];
    for (uint64_t rest = v->headers; rest; rest &= rest - 1) {
        const struct pairs *p = &v->proxy->toxics[__builtin_ctzll(rest)]->toxic.headers;
        for (size_t i = 0; i < p->n; i++)
            list[n++] = p->keys[i];
    }
    list[n] = NULL;
    return n;
}

static void add_lines(const struct verdict *v, struct buf *out)
{
    for (uint64_t rest = v->headers; rest; rest &= rest - 1) {
        const struct pairs *p = &v->proxy->toxics[__builtin_ctzll(rest)]->toxic.headers;
        for (size_t i = 0; i < p->n; i++)
            if (p->values[i][0])
                buf_addf(out, "%s: %s\r\n", p->keys[i], p->values[i]);
    }
}

/* A response that ends with the connection: whoever replaces it must say so, for it still will. */
static bool ends_with_connection(const struct http_head *h)
{
    return h->status > 0 && !h->has_length && !h->chunked;
}

bool http_change(const struct http_head *head, const struct verdict *v, bool may_have_body,
                 struct buf *out)
{
    bool replaces = v->body && may_have_body;
    const char *body = replaces && v->body->body ? v->body->body : "";
    size_t max =
        ARRAY_LEN(body_fields) + (size_t)__builtin_popcountll(v->headers) * TOXIC_HEADERS_MAX + 1;
    auto_free const char **drop = xcalloc(max, sizeof *drop);
    auto_buf struct buf lines = BUF_INIT(0);

    drop_list(v, replaces, drop);
    if (replaces)
        buf_addf(&lines, "Content-Length: %zu\r\n", strlen(body));
    if (replaces && ends_with_connection(head) && !head->close)
        buf_adds(&lines, "Connection: close\r\n");
    add_lines(v, &lines);
    http_head_copy(head, (struct http_span){ 0 }, drop, buf_str(&lines), out);
    buf_adds(out, body);
    return replaces;
}

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        { 200, "OK" },
        { 204, "No Content" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 408, "Request Timeout" },
        { 429, "Too Many Requests" },
        { 500, "Internal Server Error" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
    };

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Fault";
}

void http_answer(const struct toxic *t, const struct http_head *req, bool close, struct buf *out)
{
    const char *body = t->body ? t->body : "";

    buf_addf(out, "HTTP/1.1 %d %s\r\n", t->status, reason(t->status));
    if (t->status != 204 && t->status != 304) {
        buf_addf(out, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n",
                 strlen(body));
    }
    buf_adds(out, close ? "Connection: close\r\n\r\n" : "\r\n");
    if (t->status != 204 && t->status != 304 && !http_span_is(req->method, "HEAD"))
        buf_adds(out, body);
}
