/* Proxy faults on a process that nobody put behind a proxy (holder.c). */
#include <errno.h>
#include <string.h>

#include "chaoslib/held.h"
#include "chaoslib/inject.h"
#include "chaoslib/redirect/redirect.h"

static int plan(struct fault_run *r, struct json *spec, struct err *err)
{
    const struct redirect_params *p = r->params;
    enum toxic_kind kind;

    if (!toxic_kind_find(r->kind->name, &kind))
        return err_set(err, ERR_PREPARE, EINVAL, "'%s' is no toxic", r->kind->name);
    struct toxic t = toxic_from_params(kind, &p->toxic, rng_u64(&r->rng));
    toxic_write(&t, json_put(spec, "toxic", json_object()));
    json_put_u64(spec, "port", (uint64_t)p->port);
    json_put_bool(spec, "reset_open", p->reset_open);
    return 0;
}

static int prepare(struct fault_run *r, struct err *err)
{
    const struct redirect_params *p = r->params;

    return held_prepare(r,
                        &(struct held_kind){ .role = "redirect",
                                             .mechanism = "proxy, nftables owner table",
                                             .process = p->process,
                                             .docker = p->process ? NULL : &p->docker,
                                             .plan = plan },
                        err);
}

/* On a process, and on containers. */
#define REDIRECT_FAULT(id_, toxic_, name_, summary_)                                            \
    const struct fault_kind fault_redirect_##id_ = HELD_KIND(                                   \
        name_, "process", summary_, &redirect_tables[toxic_], struct redirect_params, prepare); \
    const struct fault_kind fault_redirect_docker_##id_ =                                       \
        HELD_KIND(name_, "docker", summary_, &redirect_docker_tables[toxic_],                   \
                  struct redirect_params, prepare)

/* Also made of packets (net/inject.c), which is what a plan means that does not say otherwise. */
REDIRECT_FAULT(latency, TOXIC_LATENCY, "latency", "data at a port takes longer on its way");
REDIRECT_FAULT(rate, TOXIC_BANDWIDTH, "rate", "connections to a port get a narrow band");
REDIRECT_FAULT(tcp_reset, TOXIC_RESET, "tcp-reset",
               "connections to a port are reset after a time or so many bytes");

REDIRECT_FAULT(tcp_refuse, TOXIC_REFUSE, "tcp-refuse",
               "connections to a port are refused, open ones are reset");
REDIRECT_FAULT(http_status, TOXIC_HTTP_STATUS, "http-status",
               "requests to a port are answered with a status");
REDIRECT_FAULT(http_abort, TOXIC_HTTP_ABORT, "http-abort",
               "requests to a port end in a reset connection");
REDIRECT_FAULT(http_delay, TOXIC_HTTP_DELAY, "http-delay",
               "requests to a port or their responses come later");
REDIRECT_FAULT(http_body, TOXIC_HTTP_BODY, "http-body", "bodies at a port are replaced");
REDIRECT_FAULT(http_header, TOXIC_HTTP_HEADER, "http-header",
               "header fields at a port are set or removed");
REDIRECT_FAULT(grpc_status, TOXIC_GRPC_STATUS, "grpc-status",
               "calls of gRPC to a port end with a status");
REDIRECT_FAULT(blackhole, TOXIC_BLACKHOLE, "blackhole",
               "data to a port is swallowed and never answered");
REDIRECT_FAULT(slow_close, TOXIC_SLOW_CLOSE, "slow-close",
               "the end of a stream at a port comes later");
REDIRECT_FAULT(slicer, TOXIC_SLICER, "slicer", "data at a port arrives in small slices");
REDIRECT_FAULT(limit_data, TOXIC_LIMIT_DATA, "limit-data",
               "connections to a port are closed after so many bytes");
