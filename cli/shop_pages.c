/* What the demo shop answers: a table of routes over a small store. */
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "chaoslib/proxy/toxic.h"
#include "cli/shop.h"
#include "edge/json.h"

#define ITEMS_AT_START 100
#define ITEM_NAME_MAX 200
#define ITEMS_SHOWN 20

struct shop_store {
    char *name;
    char *items[SHOP_ITEMS_MAX]; /* item i has number i + 1, modulo the size; NULL: "item N" */
    uint64_t n_items;
    uint64_t n_sessions;
};

struct shop_store *shop_store_new(const char *name)
{
    struct shop_store *s = xcalloc(1, sizeof *s);

    s->name = xstrdup(name);
    s->n_items = ITEMS_AT_START;
    return s;
}

void shop_store_free(struct shop_store *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < SHOP_ITEMS_MAX; i++)
        free(s->items[i]);
    free(s->name);
    free(s);
}

void shop_answer_done(struct shop_answer *a)
{
    buf_done(&a->extra);
    buf_done(&a->body);
}

/* ---- helpers ---- */

static void plain(struct shop_answer *a, int status, const char *text)
{
    a->status = status;
    a->type = "text/plain; charset=utf-8";
    buf_clear(&a->body);
    buf_addf(&a->body, "%s\n", text);
}

static void mistake(struct shop_answer *a, int status, const char *text)
{
    a->status = status;
    a->type = "application/json";
    buf_clear(&a->body);
    buf_addf(&a->body, "{\"error\":\"%s\"}\n", text);
}

/* The number at the end of the path, as in /items/7. */
static bool path_number(const struct shop_request *req, uint64_t max, uint64_t *ret)
{
    const char *slash = memrchr(req->path.p, '/', req->path.n);
    size_t n = (size_t)(req->path.p + req->path.n - slash) - 1;
    auto_free char *text = xstrndup(slash + 1, n);

    return parse_u64(text, 0, max, ret, NULL) == 0;
}

static bool query_number(const struct shop_request *req, const char *key, uint64_t max,
                         uint64_t *ret)
{
    struct http_span rest = req->query;
    size_t key_len = strlen(key);

    while (rest.n > 0) {
        const char *amp = memchr(rest.p, '&', rest.n);
        size_t n = amp ? (size_t)(amp - rest.p) : rest.n;
        if (n > key_len && rest.p[key_len] == '=' && memcmp(rest.p, key, key_len) == 0) {
            auto_free char *text = xstrndup(rest.p + key_len + 1, n - key_len - 1);
            return parse_u64(text, 0, max, ret, NULL) == 0;
        }
        n += amp ? 1 : 0;
        rest.p += n;
        rest.n -= n;
    }
    return false;
}

/* Item `id` as JSON; false when there is none. */
static bool add_item(const struct shop_store *s, uint64_t id, struct buf *out)
{
    char name[32];

    if (id == 0 || id > s->n_items || id + SHOP_ITEMS_MAX <= s->n_items)
        return false;
    const char *given = s->items[(id - 1) % SHOP_ITEMS_MAX];
    snprintf(name, sizeof name, "item %llu", (unsigned long long)id);
    buf_addf(out, "{\"id\":%llu,\"name\":", (unsigned long long)id);
    json_quote(out, given ? given : name);
    buf_addf(out, ",\"price\":%llu.%02llu}", (unsigned long long)(id * 37 % 90 + 5),
             (unsigned long long)(id * 53 % 100));
    return true;
}

/* ---- pages ---- */

typedef void page_fn(struct shop_store *s, const struct shop_request *req, struct shop_answer *a);

static void page_home(struct shop_store *s, const struct shop_request *req, struct shop_answer *a)
{
    (void)req;
    a->type = "text/html; charset=utf-8";
    buf_addf(&a->body,
             "<!doctype html><html lang=\"en\"><title>%s</title><h1>%s</h1>"
             "<p>%llu items. <a href=\"/items\">All of them</a>.</p></html>\n",
             s->name, s->name, (unsigned long long)s->n_items);
}

static void page_health(struct shop_store *s, const struct shop_request *req, struct shop_answer *a)
{
    (void)req;
    a->type = "application/json";
    a->never_fails = true;
    buf_adds(&a->body, "{\"status\":\"ok\",\"name\":");
    json_quote(&a->body, s->name);
    buf_adds(&a->body, "}\n");
}

static void page_items(struct shop_store *s, const struct shop_request *req, struct shop_answer *a)
{
    uint64_t first = 1;

    a->type = "application/json";
    if (query_number(req, "from", UINT64_MAX, &first) && first == 0)
        first = 1;
    buf_addf(&a->body, "{\"total\":%llu,\"items\":[", (unsigned long long)s->n_items);
    for (uint64_t i = 0; i < ITEMS_SHOWN && first + i <= s->n_items; i++) {
        auto_buf struct buf item = BUF_INIT(1024);
        if (!add_item(s, first + i, &item))
            continue;
        buf_addf(&a->body, "%s%s", a->body.data[a->body.len - 1] == '[' ? "" : ",", buf_str(&item));
    }
    buf_adds(&a->body, "]}\n");
}

static void page_create(struct shop_store *s, const struct shop_request *req, struct shop_answer *a)
{
    auto(json) struct json *body = NULL;
    const char *name = NULL;

    if (json_parse(req->body.p, req->body.n, &body, NULL) == 0)
        name = json_str(body, "name", NULL);
    if (!name || !name[0] || strlen(name) > ITEM_NAME_MAX) {
        mistake(a, 400, "send a JSON object with a name of 1 to 200 bytes");
        return;
    }
    uint64_t id = ++s->n_items;
    char **place = &s->items[(id - 1) % SHOP_ITEMS_MAX];
    free(*place);
    *place = xstrdup(name);
    a->status = 201;
    a->type = "application/json";
    buf_addf(&a->extra, "Location: /items/%llu\r\n", (unsigned long long)id);
    add_item(s, id, &a->body);
    buf_addc(&a->body, '\n');
}

static void page_item(struct shop_store *s, const struct shop_request *req, struct shop_answer *a)
{
    uint64_t id;

    a->type = "application/json";
    if (!path_number(req, UINT64_MAX / 100, &id) || !add_item(s, id, &a->body))
        mistake(a, 404, "no such item");
    else
        buf_addc(&a->body, '\n');
}

static void page_slow(struct shop_store *s, const struct shop_request *req, struct shop_answer *a)
{
    uint64_t ms = 1000;

    (void)s;
    if (req->query.n > 0 && !query_number(req, "ms", SHOP_SLOW_MAX_MS, &ms)) {
        mistake(a, 400, "write it as /slow?ms=N with N in 0..60000");
        return;
    }
    a->slow_ns = ms * NS_PER_MS;
    plain(a, 200, "slow");
}

static void page_status(struct shop_store *s, const struct shop_request *req, struct shop_answer *a)
{
    uint64_t code;

    (void)s;
    if (!path_number(req, 599, &code) || code < 200)
        mistake(a, 400, "a status is 200..599");
    else
        plain(a, (int)code, "as you wish");
}

static void page_bytes(struct shop_store *s, const struct shop_request *req, struct shop_answer *a)
{
    uint64_t n;

    (void)s;
    if (!path_number(req, SHOP_BYTES_MAX, &n)) {
        mistake(a, 400, "at most 16777216 bytes");
        return;
    }
    a->type = "application/octet-stream";
    char *at = n > 0 ? buf_reserve(&a->body, n) : NULL;
    if (!at)
        return;
    memset(at, 'x', n);
    a->body.len += n;
}

static void page_echo(struct shop_store *s, const struct shop_request *req, struct shop_answer *a)
{
    (void)s;
    a->type = "application/octet-stream";
    buf_addf(&a->extra, "X-Method: %.*s\r\n", (int)MIN(req->head.method.n, 32), req->head.method.p);
    buf_add(&a->body, req->body.p, req->body.n);
}

static void page_redirect(struct shop_store *s, const struct shop_request *req,
                          struct shop_answer *a)
{
    (void)s;
    (void)req;
    plain(a, 302, "over there");
    buf_adds(&a->extra, "Location: /\r\n");
}

static void page_login(struct shop_store *s, const struct shop_request *req, struct shop_answer *a)
{
    (void)req;
    plain(a, 200, "welcome");
    buf_addf(&a->extra, "Set-Cookie: session=s%llu; Path=/; HttpOnly\r\n",
             (unsigned long long)++s->n_sessions);
}

static void page_me(struct shop_store *s, const struct shop_request *req, struct shop_answer *a)
{
    struct http_span cookie;

    (void)s;
    if (http_head_find(&req->head, "cookie", &cookie) && memmem(cookie.p, cookie.n, "session=s", 9))
        plain(a, 200, "it is you");
    else
        mistake(a, 401, "log in first: /login");
}

static const struct {
    const char *method; /* NULL: any */
    const char *path;   /* a glob */
    page_fn *page;
} routes[] = {
    { "GET", "/", page_home },          { "GET", "/health", page_health },
    { "GET", "/items", page_items },    { "POST", "/items", page_create },
    { "GET", "/items/*", page_item },   { "GET", "/slow", page_slow },
    { NULL, "/status/*", page_status }, { "GET", "/bytes/*", page_bytes },
    { NULL, "/echo", page_echo },       { "GET", "/redirect", page_redirect },
    { NULL, "/login", page_login },     { "GET", "/me", page_me },
};

/* HEAD is GET whose body stays here. */
static bool method_fits(const char *wanted, struct http_span method)
{
    return !wanted || http_span_is(method, wanted) ||
           (strcmp(wanted, "GET") == 0 && http_span_is(method, "HEAD"));
}

void shop_answer(struct shop_store *s, const struct shop_request *req, struct shop_answer *ret)
{
    bool path_known = false;

    *ret = (struct shop_answer){ .status = 200,
                                 .extra = BUF_INIT(4096),
                                 .body = BUF_INIT(SHOP_BYTES_MAX) };
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!glob_match(routes[i].path, req->path.p, req->path.n))
            continue;
        path_known = true;
        if (!method_fits(routes[i].method, req->head.method))
            continue;
        routes[i].page(s, req, ret);
        return;
    }
    mistake(ret, path_known ? 405 : 404, path_known ? "not with this method" : "no such page");
}

static const char *reason(int status)
{
    static const char *const classes[] = {
        "", "", "OK", "Redirect", "Client Error", "Server Error"
    };

    return status == 201 ? "Created" : classes[status / 100];
}

void shop_answer_write(const struct shop_answer *a, const struct http_head *head, bool persists,
                       struct buf *out)
{
    bool has_body = a->status != 204 && a->status != 304;

    buf_addf(out, "HTTP/1.1 %d %s\r\nServer: chaos-load-shop\r\n", a->status, reason(a->status));
    if (has_body)
        buf_addf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n", a->type, a->body.len);
    buf_add(out, buf_str(&a->extra), a->extra.len);
    if (!persists)
        buf_adds(out, "Connection: close\r\n");
    else if (head->minor == 0)
        buf_adds(out, "Connection: keep-alive\r\n");
    buf_adds(out, "\r\n");
    if (has_body && !http_span_is(head->method, "HEAD"))
        buf_add(out, buf_str(&a->body), a->body.len);
}
