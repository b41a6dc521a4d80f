/* The client's front: which engine, which origins. Everything per request is the engine's. */
#include "runner/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "runner/client_engine.h"

struct client *client_new(const struct client_opts *opts, struct err *err)
{
    const struct load_plan plan = { .http = *opts->http };
    const struct client_ops *ops = client_needs_curl(&plan) ? &client_curl_ops : &client_native_ops;
    struct client *c = ops->create(opts, err);

    if (!c)
        return NULL;
    c->ops = ops;
    c->opts = *opts;
    c->opts.connect_to = opts->connect_to ? xstrdup(opts->connect_to) : NULL;
    c->opts.target = opts->target ? xstrdup(opts->target) : NULL;
    LIST_INIT(&c->origins);
    return c;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    c->ops->cut_all(c);
    for (struct origin *o; (o = LIST_FIRST(&c->origins));) {
        LIST_REMOVE(o, link);
        if (c->ops->origin_done)
            c->ops->origin_done(o);
        free(o);
    }
    free((char *)(uintptr_t)c->opts.connect_to);
    free((char *)(uintptr_t)c->opts.target);
    c->ops->destroy(c);
}

/* ---- origins ---- */

static bool is_target(const struct client *c, const struct origin *o)
{
    struct err ignored = { 0 };
    char base[URL_BASE_MAX];
    struct url u;

    if (!c->opts.target || url_parse(c->opts.target, strlen(c->opts.target), &u, &ignored) < 0)
        return false;
    url_base(&u, base);
    return strcmp(base, o->base) == 0;
}

static struct origin *add_origin(struct client *c, const struct url *u, struct err *err)
{
    struct origin *o = xcalloc(1, sizeof(*o));

    o->client = c;
    o->scheme = u->scheme;
    o->is_ipv6 = u->is_ipv6;
    o->port = u->port;
    url_base(u, o->base);
    url_host_header(u, o->host_header);
    if (u->scheme == URL_UNIX)
        snprintf(o->host, sizeof(o->host), "%.*s", (int)u->host_len, u->host);
    else
        url_host(u, o->host);
    if (is_target(c, o))
        o->connect_to = c->opts.connect_to;
    if (c->ops->origin_init && c->ops->origin_init(o, err) < 0) {
        free(o);
        return NULL;
    }
    LIST_INSERT_HEAD(&c->origins, o, link);
    c->n_origins++;
    return o;
}

const struct origin *client_origin(struct client *c, const char *base_url, struct err *err)
{
    char base[URL_BASE_MAX];
    struct origin *o;
    struct url u;

    if (url_parse(base_url, strlen(base_url), &u, err) < 0)
        return NULL;
    url_base(&u, base);
    LIST_FOREACH (o, &c->origins, link) {
        if (strcmp(o->base, base) == 0)
            return o;
    }
    if (c->n_origins == ORIGINS_MAX) {
        err_ignore(err_set(err, ERR_LIMIT, E2BIG, "more than %d hosts in one run", ORIGINS_MAX),
                   "told by NULL");
        return NULL;
    }
    return add_origin(c, &u, err);
}

const char *origin_host_header(const struct origin *o)
{
    return o->host_header;
}

/* ---- to the engine ---- */

struct exchange *client_send(struct client *c, struct lane *lane, const struct request *r,
                             client_done_fn *done, void *arg)
{
    return c->ops->send(c, lane, r, done, arg);
}

struct exchange *client_misbehave(struct client *c, const struct request *r,
                                  const struct misdeed_rule *rule, client_done_fn *done, void *arg)
{
    return c->ops->misbehave(c, r, rule, done, arg);
}

void client_misbehave_end(struct client *c, const struct misdeed_rule *rule)
{
    if (c->ops->misbehave_end)
        c->ops->misbehave_end(c, rule);
}

bool client_can_misbehave(const struct client *c)
{
    return c->ops->misbehave != NULL;
}

bool origin_has_tls(const struct origin *o)
{
    return o->scheme == URL_HTTPS;
}

void client_cut(struct exchange *x, enum fail_class why_class)
{
    x->client->ops->cut(x, why_class);
}

void lane_close(struct client *c, struct lane *lane)
{
    if (lane->conn)
        c->ops->lane_close(c, lane);
    *lane = (struct lane){ 0 };
}

uint64_t client_connections(const struct client *c)
{
    return c->ops->connections(c);
}

struct client_counters client_counters(const struct client *c)
{
    return c->counters;
}

/* ---- heads ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static const char *trimmed(const char *s, const char *end, size_t *ret_len)
{
    while (s < end && is_blank(*s))
        s++;
    while (end > s && is_blank(end[-1]))
        end--;
    *ret_len = (size_t)(end - s);
    return s;
}

const char *head_find(const char *head, size_t head_len, const char *name, unsigned nth,
                      size_t *ret_len)
{
    const size_t name_len = strlen(name);
    const char *end = head + head_len;

    for (const char *line = head, *next; line && line < end; line = next) {
        const char *lf = memchr(line, '\n', (size_t)(end - line));
        const char *line_end = lf ? lf : end;

        next = lf ? lf + 1 : NULL;
        if ((size_t)(line_end - line) <= name_len || line[name_len] != ':' ||
            strncasecmp(line, name, name_len) != 0)
            continue;
        if (nth-- == 0)
            return trimmed(line + name_len + 1, line_end, ret_len);
    }
    return NULL;
}
