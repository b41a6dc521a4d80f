/* gRPC through the proxy: which calls a toxic hits. The rest of HTTP/2 is h2.c's. */
#include <string.h>

#include "chaoslib/proxy/http.h"

/* One of the names with commas between; none: all. */
static bool is_among(const char *list, const char *name, size_t len)
{
    char one[GRPC_NAME_MAX + 1];

    if (!list || !*list)
        return true;
    for (const char *s = list; *s;) {
        size_t n = strcspn(s, ",");
        if (n < sizeof(one)) {
            memcpy(one, s, n);
            one[n] = '\0';
            if (glob_match(one, name, len))
                return true;
        }
        s += n + (s[n] == ',');
    }
    return false;
}

/* "/pkg.Service/Method" */
static bool matches(const struct toxic_calls *m, const struct h2_request *req)
{
    const char *slash = req->path_len ? memrchr(req->path, '/', req->path_len) : NULL;

    if (!slash || req->path[0] != '/' || slash == req->path)
        return false;
    const char *method = slash + 1, *end = req->path + req->path_len;
    return is_among(m->services, req->path + 1, (size_t)(slash - req->path - 1)) &&
           is_among(m->methods, method, (size_t)(end - method));
}

/* Each toxic draws for itself; the first that hits answers. */
static bool judge(void *arg, const struct h2_request *req, struct h2_answer *ret)
{
    struct conn *c = arg;
    struct proxy *p = c->proxy;
    const struct toxic *by = NULL;

    p->counts.requests++;
    for (unsigned i = 0; i < PROXY_TOXICS_MAX; i++) {
        struct live_toxic *l = p->toxics[i];
        if (!l || l->toxic.kind != TOXIC_GRPC_STATUS || !matches(&l->toxic.calls, req) ||
            !toxic_draw(l) || by)
            continue;
        by = &l->toxic;
        l->requests++;
        p->counts.hit++;
    }
    if (by)
        *ret = (struct h2_answer){ .status = by->status, .message = by->body };
    return by != NULL;
}

struct h2 *grpc_follow(struct conn *c)
{
    c->proxy->counts.not_http++;
    return h2_new(judge, c);
}

void grpc_feed(struct pipe *p, const char *data, size_t len)
{
    auto_buf struct buf up = BUF_INIT(0), down = BUF_INIT(0);
    struct conn *c = p->conn;
    struct h2 *h2 = c->http->h2;
    int rc;

    if (p->stream == PROXY_REQUEST) {
        rc = h2_from_client(h2, data, len, &up, &down);
    } else {
        rc = h2_from_server(h2, data, len, &down);
        if (h2_is_raw(h2))
            h2_client_ends(h2, &up);
    }
    pipe_emit(&c->up, up.data, up.len);
    pipe_emit(&c->down, down.data, down.len);
    if (rc < 0 && !c->closed && !c->draining)
        conn_reset(c);
}

void grpc_eof(struct pipe *p)
{
    auto_buf struct buf up = BUF_INIT(0);

    if (p->stream != PROXY_REQUEST)
        return;
    h2_client_ends(p->conn->http->h2, &up);
    pipe_emit(p, up.data, up.len);
}
