/* Fault kinds of the backend `proxy`: each puts one toxic into a proxy and takes it out again. They
 * end with our process by construction, so there is nothing for the journal or the guardian. */
#include <errno.h>
#include <stdio.h>

#include "chaoslib/inject.h"
#include "chaoslib/proxy/internal.h"

struct proxy_fault {
    struct toxic toxic;
    uint64_t handle; /* 0: not in */
    char address[64];
};

static const char *proxy_name(const struct fault_run *r)
{
    const struct toxic_params *p = r->params;

    return p->proxy;
}

static int prepare(struct fault_run *r, struct err *err)
{
    const char *name = proxy_name(r);
    struct proxy_fault *f;
    enum toxic_kind kind;

    if (!r->env->proxies)
        return err_set(err, ERR_PREPARE, ENOENT,
                       "there is no proxy '%s': declare it in proxies:", name);
    if (!toxic_kind_find(r->kind->name, &kind))
        return err_set(err, ERR_PREPARE, EINVAL, "'%s' is no toxic", r->kind->name);
    f = xcalloc(1, sizeof *f);
    r->state = f;
    f->toxic = toxic_from_params(kind, r->params, rng_u64(&r->rng));
    if (proxies_address(r->env->proxies, name, f->address, err) < 0)
        return err_wrap(err, "declare it in proxies:");
    snprintf(r->target, sizeof r->target, "proxy %s (%s)", name, f->address);
    return 0;
}

static int inject(struct fault_run *r, struct err *err)
{
    struct proxy_fault *f = r->state;

    return proxies_toxic_add(r->env->proxies, proxy_name(r), &f->toxic, &f->handle,
                             &r->times.effective, err);
}

static bool is_in(const struct fault_run *r)
{
    const struct proxy_fault *f = r->state;

    return f->handle && proxies_toxic_is_in(r->env->proxies, proxy_name(r), f->handle);
}

/* What the toxic says of itself is checked from outside where that costs no traffic. */
static int refuses(const struct fault_run *r, bool wanted, struct err *err)
{
    const struct proxy_fault *f = r->state;

    if (f->toxic.kind != TOXIC_REFUSE)
        return 0;
    int rc = proxy_addr_probe(f->address, err);
    if (rc < 0)
        return rc;
    if ((rc == 1) == wanted)
        return 0;
    return err_set(err, ERR_PROBE, EPROTO, "%s %s connections", r->target,
                   wanted ? "still accepts" : "still refuses");
}

static int verify_in(struct fault_run *r, struct err *err)
{
    if (!is_in(r))
        return err_set(err, ERR_INJECT, ENOENT, "%s: the toxic is not in effect", r->target);
    return refuses(r, true, err);
}

static int revert(struct fault_run *r, struct err *err)
{
    struct proxy_fault *f = r->state;

    if (!f || !f->handle)
        return 0;
    if (is_in(r)) {
        struct toxic_hits hits = proxies_toxic_hits(r->env->proxies, proxy_name(r), f->handle);
        r->connections_hit = hits.connections;
        r->requests_hit = hits.requests;
    }
    return proxies_toxic_remove(r->env->proxies, proxy_name(r), f->handle, &r->times.reverted, err);
}

/* Another activation may still refuse: then only our own toxic has to be gone. */
static int verify_out(struct fault_run *r, struct err *err)
{
    if (is_in(r))
        return err_set(err, ERR_REVERT, EBUSY, "%s: the toxic is still in effect", r->target);
    if (proxies_refusals(r->env->proxies, proxy_name(r)) > 0)
        return 0;
    return refuses(r, false, err);
}

static void release(struct fault_run *r)
{
    free(r->state);
    r->state = NULL;
}

#define PROXY_FAULT(id_, toxic_, name_, summary_)                                             \
    const struct fault_kind fault_proxy_##id_ = { .name = (name_),                            \
                                                  .backend = "proxy",                         \
                                                  .summary = (summary_),                      \
                                                  .flags = FAULT_FREE,                        \
                                                  .params = &toxic_tables[toxic_],            \
                                                  .params_size = sizeof(struct toxic_params), \
                                                  .prepare = prepare,                         \
                                                  .inject = inject,                           \
                                                  .verify_in = verify_in,                     \
                                                  .revert = revert,                           \
                                                  .verify_out = verify_out,                   \
                                                  .release = release }

PROXY_FAULT(latency, TOXIC_LATENCY, "latency", "data takes longer on its way");
PROXY_FAULT(bandwidth, TOXIC_BANDWIDTH, "bandwidth", "connections get a narrow band");
PROXY_FAULT(rate, TOXIC_BANDWIDTH, "rate", "the same as bandwidth");
PROXY_FAULT(loss, TOXIC_LOSS, "loss", "data stalls as if packets were lost and sent again");
PROXY_FAULT(reset, TOXIC_RESET, "tcp-reset", "connections are reset, open ones too");
PROXY_FAULT(refuse, TOXIC_REFUSE, "tcp-refuse", "connections are refused, open ones are reset");
PROXY_FAULT(blackhole, TOXIC_BLACKHOLE, "blackhole", "data is swallowed and never answered");
PROXY_FAULT(slow_close, TOXIC_SLOW_CLOSE, "slow-close", "the end of a stream comes later");
PROXY_FAULT(slicer, TOXIC_SLICER, "slicer", "data arrives in small slices");
PROXY_FAULT(limit_data, TOXIC_LIMIT_DATA, "limit-data",
            "connections are closed after so many bytes");
PROXY_FAULT(http_status, TOXIC_HTTP_STATUS, "http-status", "requests are answered with a status");
PROXY_FAULT(http_abort, TOXIC_HTTP_ABORT, "http-abort", "requests end in a reset connection");
PROXY_FAULT(http_delay, TOXIC_HTTP_DELAY, "http-delay", "requests or responses come later");
PROXY_FAULT(http_body, TOXIC_HTTP_BODY, "http-body", "bodies are replaced");
PROXY_FAULT(http_header, TOXIC_HTTP_HEADER, "http-header", "header fields are set or removed");
PROXY_FAULT(grpc_status, TOXIC_GRPC_STATUS, "grpc-status", "calls of gRPC end with a status");
