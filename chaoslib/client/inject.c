/* Fault kinds of the backend `client`: the load is asked to misbehave, and to stop it. They end
 * with our process by construction, so there is nothing for the journal or the guardian. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chaoslib/client/params.h"
#include "chaoslib/inject.h"

static int prepare(struct fault_run *r, struct err *err)
{
    const struct client_params *p = r->params;

    if (!r->env->client && !r->env->dry_run)
        return err_set(err, ERR_PREPARE, ENOTSUP, "%s needs a load that could do it",
                       r->kind->name);
    if (strcmp(p->client, CLIENT_ANY) == 0)
        snprintf(r->target, sizeof(r->target), "the load's users");
    else
        snprintf(r->target, sizeof(r->target), "the load's users %.200s", p->client);
    return 0;
}

static struct client_counts counts(const struct fault_run *r)
{
    const struct client_port *port = r->env->client;

    return r->state ? port->counts(port->arg, r->state) : (struct client_counts){ 0 };
}

static int inject(struct fault_run *r, struct err *err)
{
    const struct client_port *port = r->env->client;
    const struct client_fault f = { .kind = r->kind->name,
                                    .params = r->params,
                                    .seed = rng_u64(&r->rng) };

    r->state = port->begin(port->arg, &f, err);
    return r->state ? 0 : -EIO;
}

static int verify_in(struct fault_run *r, struct err *err)
{
    return counts(r).threads ? 0
                             : err_set(err, ERR_INJECT, ENOENT, "no thread of the load does it");
}

static int revert(struct fault_run *r, struct err *err)
{
    const struct client_port *port = r->env->client;

    if (!r->state)
        return 0;
    int rc = port->end(port->arg, r->state, err);
    r->requests_hit = counts(r).requests;
    return rc;
}

static int verify_out(struct fault_run *r, struct err *err)
{
    struct client_counts c = counts(r);

    if (c.threads == 0 && c.in_flight == 0)
        return 0;
    return err_set(err, ERR_REVERT, EBUSY, "%llu threads of the load do it still",
                   (unsigned long long)c.threads);
}

/* The state is the load's. */
static void release(struct fault_run *r)
{
    r->state = NULL;
}

#define CLIENT_FAULT(id_, name_, summary_)                                                      \
    const struct fault_kind fault_client_##id_ = { .name = (name_),                             \
                                                   .backend = "client",                         \
                                                   .summary = (summary_),                       \
                                                   .flags = FAULT_FREE,                         \
                                                   .params = &client_##id_##_table,             \
                                                   .params_size = sizeof(struct client_params), \
                                                   .prepare = prepare,                          \
                                                   .inject = inject,                            \
                                                   .verify_in = verify_in,                      \
                                                   .revert = revert,                            \
                                                   .verify_out = verify_out,                    \
                                                   .release = release }

CLIENT_FAULT(slow_read, "slow-read", "users take answers slowly from small buffers");
CLIENT_FAULT(slow_send, "slow-send", "users send their requests byte by byte");
CLIENT_FAULT(half_open, "half-open", "users connect and keep silent");
CLIENT_FAULT(abort, "abort", "users reset their connections");
CLIENT_FAULT(tls_stall, "tls-stall", "users stop in the middle of the TLS handshake");
CLIENT_FAULT(big_headers, "big-headers", "users send oversized headers");
CLIENT_FAULT(retry_storm, "retry-storm", "users repeat what failed at once");
