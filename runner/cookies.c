/* A jar is a short list: a user has a handful of cookies, so a walk beats a hash. Rules are those
 * of RFC 6265 section 5, without the public suffix list, which a load test of one's own hosts does
 * not need. */
#include "runner/cookies.h"

#include <string.h>
#include <strings.h>

#include "runner/client.h"
#include "runner/cookie_date.h"

struct cookie {
    char *name, *value, *domain, *path;
    bool host_only, secure;
    uint64_t expires_s; /* 0: with the user */
};

struct cookie_list {
    size_t n, cap;
    struct cookie v[];
};

struct span {
    const char *s;
    size_t len;
};

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

static struct span cut(struct span *rest, char at)
{
    const char *end = memchr(rest->s, at, rest->len);
    struct span head = { rest->s, end ? (size_t)(end - rest->s) : rest->len };

    rest->s += head.len + (end ? 1 : 0);
    rest->len -= head.len + (end ? 1 : 0);
    return trim(head);
}

static bool span_is(struct span v, const char *name)
{
    return v.len == strlen(name) && strncasecmp(v.s, name, v.len) == 0;
}

/* What a Set-Cookie line said. */
struct line {
    struct span name, value, domain, path;
    bool secure, expired;
    bool has_max_age;
    uint64_t expires_s;
};

static void read_max_age(struct span v, uint64_t now_s, struct line *l)
{
    uint64_t age = 0;
    bool negative = v.len > 0 && v.s[0] == '-';

    for (size_t i = negative; i < v.len; i++) {
        if (v.s[i] < '0' || v.s[i] > '9')
            return;
        age = MIN(age * 10 + (uint64_t)(v.s[i] - '0'), UINT64_C(400) * 86400);
    }
    if (v.len <= (size_t)negative)
        return;
    l->has_max_age = true;
    l->expired = negative || age == 0;
    l->expires_s = now_s + age;
}

static void read_attribute(struct span name, struct span value, uint64_t now_s, struct line *l)
{
    uint64_t at;

    if (span_is(name, "Secure")) {
        l->secure = true;
    } else if (span_is(name, "Domain")) {
        if (value.len > 0 && value.s[0] == '.') {
            value.s++;
            value.len--;
        }
        l->domain = value;
    } else if (span_is(name, "Path")) {
        l->path = value.len > 0 && value.s[0] == '/' ? value : (struct span){ 0 };
    } else if (span_is(name, "Max-Age")) {
        read_max_age(value, now_s, l);
    } else if (span_is(name, "Expires") && !l->has_max_age &&
               cookie_date(value.s, value.len, &at)) {
        l->expires_s = MAX(at, 1);
        l->expired = at <= now_s;
    }
}

static bool has_control(struct span v)
{
    for (size_t i = 0; i < v.len; i++)
        if ((unsigned char)v.s[i] < ' ' || v.s[i] == 0x7f)
            return true;
    return false;
}

static bool read_line(const char *text, size_t len, uint64_t now_s, struct line *ret)
{
    struct span rest = { text, len };
    struct span pair = cut(&rest, ';');

    *ret = (struct line){ 0 };
    if (!memchr(pair.s, '=', pair.len))
        return false;
    ret->name = cut(&pair, '=');
    ret->value = trim(pair);
    if (ret->name.len == 0 || ret->name.len + ret->value.len > COOKIE_MAX ||
        has_control(ret->name) || has_control(ret->value))
        return false;
    while (rest.len > 0) {
        struct span value = cut(&rest, ';');
        struct span name = cut(&value, '=');

        read_attribute(name, trim(value), now_s, ret);
    }
    return true;
}

static bool is_address(const char *host)
{
    return strchr(host, ':') || strspn(host, "0123456789.") == strlen(host);
}

/* `host` is `domain`, or below it. */
static bool domain_matches(const char *host, struct span domain)
{
    size_t n = strlen(host);

    if (span_is(domain, host))
        return true;
    return n > domain.len && !is_address(host) && host[n - domain.len - 1] == '.' &&
           strncasecmp(host + n - domain.len, domain.s, domain.len) == 0;
}

static struct span path_only(const char *path)
{
    return (struct span){ path, strcspn(path, "?#") };
}

static bool path_matches(const char *request, const char *cookie)
{
    struct span p = path_only(request);
    size_t n = strlen(cookie);

    if (p.len < n || memcmp(p.s, cookie, n) != 0)
        return false;
    return p.len == n || cookie[n - 1] == '/' || p.s[n] == '/';
}

/* RFC 6265 5.1.4: the folder of the request's path. */
static struct span default_path(const char *path)
{
    struct span p = path_only(path);

    if (p.len == 0 || p.s[0] != '/')
        return (struct span){ "/", 1 };
    while (p.len > 1 && p.s[p.len - 1] != '/')
        p.len--;
    if (p.len > 1)
        p.len--;
    return p;
}

static void cookie_done(struct cookie *c)
{
    free(c->name);
    free(c->value);
    free(c->domain);
    free(c->path);
    *c = (struct cookie){ 0 };
}

static void list_remove(struct cookie_list *list, size_t i)
{
    cookie_done(&list->v[i]);
    memmove(&list->v[i], &list->v[i + 1], (list->n - i - 1) * sizeof(list->v[0]));
    list->n--;
}

static size_t list_find(const struct cookie_list *list, const struct cookie *like)
{
    size_t i;

    for (i = 0; i < list->n; i++)
        if (strcmp(list->v[i].name, like->name) == 0 &&
            strcasecmp(list->v[i].domain, like->domain) == 0 &&
            strcmp(list->v[i].path, like->path) == 0)
            break;
    return i;
}

static void list_drop_expired(struct cookie_list *list, uint64_t now_s)
{
    for (size_t i = list->n; i > 0; i--)
        if (list->v[i - 1].expires_s > 0 && list->v[i - 1].expires_s <= now_s)
            list_remove(list, i - 1);
}

static void list_grow(struct cookies *c)
{
    size_t n = c->list ? c->list->n : 0;
    size_t cap = c->list ? MIN(c->list->cap * 2, COOKIES_MAX) : 4;

    if (c->list && n < c->list->cap)
        return;
    c->list = xrealloc(c->list, 1, sizeof(*c->list) + cap * sizeof(c->list->v[0]));
    c->list->n = n;
    c->list->cap = cap;
}

void cookies_store(struct cookies *c, const char *host, const char *path, const char *set_cookie,
                   size_t len, uint64_t now_s)
{
    struct line l;
    struct cookie cookie;
    struct span p;
    size_t i;

    if (!read_line(set_cookie, len, now_s, &l))
        return;
    if (l.domain.len > 0 && (!domain_matches(host, l.domain) ||
                             (!memchr(l.domain.s, '.', l.domain.len) && !span_is(l.domain, host))))
        return;
    if (!c->list && l.expired)
        return;
    p = l.path.len > 0 ? l.path : default_path(path);
    cookie = (struct cookie){
        .name = xstrndup(l.name.s, l.name.len),
        .value = xstrndup(l.value.s, l.value.len),
        .domain = l.domain.len > 0 ? xstrndup(l.domain.s, l.domain.len) : xstrdup(host),
        .path = xstrndup(p.s, MIN(p.len, COOKIE_MAX)),
        .host_only = l.domain.len == 0,
        .secure = l.secure,
        .expires_s = l.expires_s,
    };
    list_grow(c);
    list_drop_expired(c->list, now_s);
    i = list_find(c->list, &cookie);
    if (i < c->list->n && l.expired) {
        list_remove(c->list, i);
    } else if (i < c->list->n) {
        cookie_done(&c->list->v[i]);
        c->list->v[i] = cookie;
        return;
    }
    if (l.expired) {
        cookie_done(&cookie);
        return;
    }
    if (c->list->n == COOKIES_MAX)
        list_remove(c->list, 0);
    c->list->v[c->list->n++] = cookie;
}

void cookies_store_head(struct cookies *c, const char *host, const char *path, const char *head,
                        size_t head_len, uint64_t now_s)
{
    const char *value;
    size_t len;

    for (unsigned nth = 0; head && (value = head_find(head, head_len, "Set-Cookie", nth, &len));
         nth++)
        cookies_store(c, host, path, value, len, now_s);
}

static bool goes_with(const struct cookie *k, const char *host, const char *path, bool secure,
                      uint64_t now_s)
{
    struct span domain = { k->domain, strlen(k->domain) };

    if ((k->expires_s > 0 && k->expires_s <= now_s) || (k->secure && !secure))
        return false;
    if (k->host_only ? !span_is(domain, host) : !domain_matches(host, domain))
        return false;
    return path_matches(path, k->path);
}

unsigned cookies_header(const struct cookies *c, const char *host, const char *path, bool secure,
                        uint64_t now_s, struct buf *out)
{
    const struct cookie *match[COOKIES_MAX];
    unsigned n = 0;
    size_t total = 0;

    for (size_t i = 0; c->list && i < c->list->n; i++) {
        const struct cookie *k = &c->list->v[i];
        unsigned at = n;

        if (!goes_with(k, host, path, secure, now_s))
            continue;
        total += strlen(k->name) + strlen(k->value) + 3;
        if (total > COOKIE_HEADER_MAX)
            break;
        /* Longer paths first, then older ones (5.4). */
        while (at > 0 && strlen(match[at - 1]->path) < strlen(k->path)) {
            match[at] = match[at - 1];
            at--;
        }
        match[at] = k;
        n++;
    }
    for (unsigned i = 0; i < n; i++)
        buf_addf(out, "%s%s=%s", i == 0 ? "Cookie: " : "; ", match[i]->name, match[i]->value);
    if (n > 0)
        buf_adds(out, "\r\n");
    return n;
}

void cookies_done(struct cookies *c)
{
    for (size_t i = 0; c->list && i < c->list->n; i++)
        cookie_done(&c->list->v[i]);
    free(c->list);
    c->list = NULL;
}
