/* What the connections of one thread share, and where they go: the receive buffer, the timers, the
 * names, our own addresses, TLS. The TLS context is made with the first endpoint that needs one. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "runner/conn_internal.h"
#include "runner/limits.h"

static int add_sources(struct conn_env *e, const struct strs *list, struct err *err)
{
    if (list->n > SOURCES_MAX)
        return err_set(err, ERR_LIMIT, EINVAL, "http.source_addresses: more than %d", SOURCES_MAX);
    e->sources = list->n ? xcalloc(list->n, sizeof(*e->sources)) : NULL;
    for (size_t i = 0; i < list->n; i++) {
        if (!address_parse(list->v[i], 0, &e->sources[i]))
            return err_set(err, ERR_USAGE, EINVAL,
                           "http.source_addresses: '%s' is not an IP address", list->v[i]);
    }
    e->n_sources = list->n;
    return 0;
}

struct conn_env *conn_env_new(struct loop *l, const struct http_plan *http, struct err *err)
{
    struct conn_env *e = xcalloc(1, sizeof(*e));

    e->loop = l;
    e->http = http;
    e->fd_end = limits_socket_end();
    e->timers = timers_new(l);
    e->resolver = resolver_new(l, (enum dns_policy)http->dns, http->dns_ttl_ns);
    e->rx = xcalloc(1, CONN_RX_SIZE);
    if (add_sources(e, &http->source_addresses, err) == 0)
        return e;
    conn_env_free(e);
    return NULL;
}

void conn_env_free(struct conn_env *e)
{
    if (!e)
        return;
    timers_free(e->timers);
    resolver_free(e->resolver);
    tls_ctx_free(e->tls);
    free(e->sources);
    free(e->rx);
    free(e);
}

uint64_t conn_env_open(const struct conn_env *e)
{
    return e->n_open;
}

struct timers *conn_env_timers(const struct conn_env *e)
{
    return e->timers;
}

static int need_tls(struct conn_env *e, struct err *err)
{
    const struct tls_plan *plan = &e->http->tls;

    if (!e->tls)
        e->tls = tls_ctx_new(&(struct tls_opts){ .verify = plan->verify,
                                                 .ca_file = plan->ca_file,
                                                 .cert_file = plan->cert_file,
                                                 .key_file = plan->key_file,
                                                 .min_version = plan->min_version },
                             err);
    return e->tls ? 0 : -EINVAL;
}

struct endpoint *endpoint_new(struct conn_env *e, const struct endpoint_opts *opts, struct err *err)
{
    size_t path_len = opts->unix_path ? strlen(opts->unix_path) : 0;

    if (opts->tls_name && need_tls(e, err) < 0)
        return NULL;
    struct endpoint *ep = xcalloc(1, sizeof(*ep));
    if (path_len >= sizeof(ep->path.sun_path)) {
        err_set(err, ERR_USAGE, ENAMETOOLONG, "'%s' is longer than a socket's path may be",
                opts->unix_path);
        free(ep);
        return NULL;
    }
    ep->env = e;
    ep->path.sun_family = AF_UNIX;
    if (path_len)
        memcpy(ep->path.sun_path, opts->unix_path, path_len);
    else
        ep->name = name_new(e->resolver, opts->host, opts->port);
    if (opts->tls_name) {
        ep->tls_name = xstrdup(opts->tls_name);
        ep->session = tls_session_new();
    }
    return ep;
}

char *endpoint_hello(struct endpoint *ep, size_t *ret_len, struct err *err)
{
    return tls_hello(ep->env->tls,
                     &(struct tls_peer){ .name = ep->tls_name, .sni = ep->env->http->tls.sni },
                     ret_len, err);
}

void endpoint_free(struct endpoint *ep)
{
    if (!ep)
        return;
    name_free(ep->name);
    tls_session_free(ep->session);
    free(ep->tls_name);
    free(ep);
}
