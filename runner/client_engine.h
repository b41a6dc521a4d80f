/* What stands behind client.h: an engine is one table of functions. client.c picks it, keeps the
 * origins, and forwards. Included by client.c and the engines (client_native.c, client_curl.c)
 * only.
 *
 * An engine's own client begins with a struct client, its exchanges with a struct exchange. */
#ifndef RUNNER_CLIENT_ENGINE_H
#define RUNNER_CLIENT_ENGINE_H

#include "runner/client.h"
#include "runner/url.h"

struct origin {
    LIST_ENTRY(origin) link;
    struct client *client;
    enum url_scheme scheme;
    bool is_ipv6;
    uint16_t port;
    const char *connect_to;  /* NULL, or "ip:port": where its connections really go */
    char base[URL_BASE_MAX]; /* "http://host:port": equal for equal origins */
    char host_header[URL_BASE_MAX];
    char host[URL_HOST_MAX + 1]; /* without brackets; the socket's path for unix */
    void *engine;                /* the engine's own: pool, addresses */
};

struct client {
    const struct client_ops *ops;
    struct client_opts opts; /* texts copied */
    LIST_HEAD(, origin) origins;
    size_t n_origins;
    struct client_counters counters;
};

struct exchange {
    struct client *client;
};

/* Contracts are those of client.h's functions of the same name. */
struct client_ops {
    const char *name; /* "native", "curl" */
    /* NULL and err on failure. client.c fills `opts` and `origins` afterwards. */
    struct client *(*create)(const struct client_opts *opts, struct err *err);
    /* client_free calls cut_all (each request in flight gets its callback, at once), origin_done
     * for each origin, then destroy, which frees `c` itself. */
    void (*cut_all)(struct client *c);
    void (*destroy)(struct client *c);
    int (*origin_init)(struct origin *o, struct err *err); /* sets o->engine; may be NULL */
    void (*origin_done)(struct origin *o);                 /* may be NULL */
    struct exchange *(*send)(struct client *c, struct lane *lane, const struct request *r,
                             client_done_fn *done, void *arg);
    void (*cut)(struct exchange *x, enum fail_class why_class);
    void (*lane_close)(struct client *c, struct lane *lane);
    uint64_t (*connections)(const struct client *c);
    /* NULL: this engine cannot. */
    struct exchange *(*misbehave)(struct client *c, const struct request *r,
                                  const struct misdeed_rule *rule, client_done_fn *done, void *arg);
    void (*misbehave_end)(struct client *c, const struct misdeed_rule *rule);
};

extern const struct client_ops client_native_ops, client_curl_ops;

#endif
