/* disconnect: a container is taken off its networks and put back, with the address it had where the
 * engine lets us say one. It stays off over a restart, so its id alone says whom to put back. */
#include <errno.h>
#include <string.h>

#include "chaoslib/docker/crew.h"
#include "chaoslib/inject.h"
#include "edge/http.h"

struct disconnect_params {
    struct docker_select docker;
    const char *network;
};

static int save_networks(const struct fault_run *r, const struct json *all, struct json *entry,
                         struct err *err)
{
    const struct disconnect_params *p = r->params;
    const struct json *networks = json_get(all, "NetworkSettings.Networks");
    struct json *list = json_put(entry, "networks", json_array());

    for (const struct json *n = json_first(networks); n; n = json_next(n)) {
        if (p->network && strcmp(p->network, json_key(n)) != 0)
            continue;
        if (strcmp(json_key(n), "host") == 0 || strcmp(json_key(n), "none") == 0)
            continue;
        struct json *one = json_put(list, NULL, json_object());
        json_put_str(one, "name", json_key(n));
        json_put_str(one, "id", json_str(n, "NetworkID", ""));
        json_put_str(one, "address", json_str(n, "IPAddress", ""));
        json_put_str(one, "address6", json_str(n, "GlobalIPv6Address", ""));
        struct json *aliases = json_put(one, "aliases", json_array());
        const struct json *names = json_get(n, "Aliases");
        for (const struct json *a = json_is_array(names) ? json_first(names) : NULL; a;
             a = json_next(a))
            json_put_str(aliases, NULL, json_str(a, "", ""));
    }
    if (json_len(list) > 0)
        return 0;
    return err_set(err, ERR_TARGET, ENOENT, "container '%s' is not on %s%s%s",
                   json_str(entry, "name", ""), p->network ? "network '" : "any network",
                   p->network ? p->network : "", p->network ? "'" : " it could be taken off");
}

static int send_disconnect(const struct fault_run *r, const struct crew_member *m, struct err *err)
{
    auto(json) struct json *body = json_object();

    json_put_str(body, "Container", m->was->id);
    for (const struct json *n = json_first(json_get(m->entry, "networks")); n; n = json_next(n)) {
        auto_free char *path = xasprintf("/networks/%s/disconnect", json_str(n, "id", ""));
        int rc = crew_send(r->env->docker, path, body, err);
        if (rc < 0 && err->kind != ERR_PREPARE) /* another network may be off already */
            err->kind = ERR_PREPARE;
        if (rc != 0)
            return rc;
    }
    return 0;
}

static struct json *connect_body(const char *id, const struct json *network, bool with_address)
{
    struct json *body = json_object();
    struct json *endpoint = json_put(body, "EndpointConfig", json_object());
    struct json *aliases = json_put(endpoint, "Aliases", json_array());
    const char *v4 = json_str(network, "address", ""), *v6 = json_str(network, "address6", "");

    json_put_str(body, "Container", id);
    for (const struct json *a = json_first(json_get(network, "aliases")); a; a = json_next(a))
        json_put_str(aliases, NULL, json_str(a, "", ""));
    if (!with_address)
        return body;
    struct json *ipam = json_put(endpoint, "IPAMConfig", json_object());
    if (*v4)
        json_put_str(ipam, "IPv4Address", v4);
    if (*v6)
        json_put_str(ipam, "IPv6Address", v6);
    return body;
}

/* With its address; the default bridge, and networks whose range the engine chose, refuse one.
 * 1: no such network, or no such container. */
static int connect_to(struct docker *d, const char *id, const char *network_id,
                      const struct json *network, struct err *err)
{
    auto_free char *path = xasprintf("/networks/%s/connect", network_id);
    int rc = -1;

    for (int with_address = 1; rc < 0 && with_address >= 0; with_address--) {
        auto(json) struct json *body = connect_body(id, network, with_address);
        rc = crew_send(d, path, body, err);
        if (rc < 0 && err->kind == ERR_PREPARE)
            break;
    }
    if (rc == 0)
        err_clear(err);
    return rc < 0 ? err_wrap(err, "docker network connect %s %.12s by hand",
                             json_str(network, "name", ""), id)
                  : rc;
}

static int look_for_network(struct docker *d, const char *id_or_name, struct err *err)
{
    auto_buf struct buf path = BUF_INIT(4096);

    buf_adds(&path, "/networks/");
    http_escape(&path, id_or_name);
    return docker_do(d, &(struct docker_call){ .path = buf_str(&path) }, NULL, err);
}

/* An engine that was started again has given its default bridge another id. And to a container that
 * does not run it writes down whatever it is told, which must then be a name: with an id, or with
 * what is not there, the container could not be started any more. 1: the network has gone. */
static int connect_again(struct docker *d, const struct docker_container *c,
                         const struct json *network, struct err *err)
{
    const char *id = json_str(network, "id", ""), *name = json_str(network, "name", "");
    int rc = look_for_network(d, id, err);

    if (rc == 0 && c->running)
        return connect_to(d, c->id, id, network, err);
    if (rc == 1)
        rc = look_for_network(d, name, err);
    if (rc == 1)
        err_clear(err);
    return rc == 0 ? connect_to(d, c->id, name, network, err) : rc;
}

/* By its name too: one that does not run has no ids of what it was put on meanwhile. */
static bool is_on(const struct json *all, const struct json *network)
{
    const char *id = json_str(network, "id", ""), *name = json_str(network, "name", "");
    const struct json *networks = json_get(all, "NetworkSettings.Networks");

    for (const struct json *n = json_first(networks); n; n = json_next(n))
        if (strcmp(json_str(n, "NetworkID", ""), id) == 0 || strcmp(json_key(n), name) == 0)
            return true;
    return false;
}

static int undo_disconnect(struct docker *d, const struct json *work, const struct json *entry,
                           struct err *err)
{
    const struct json *list = json_get(entry, "networks");
    const char *id = json_str(entry, "id", "");
    struct docker_container now;
    auto(json) struct json *all = NULL;
    int undone = 1;

    (void)work;
    int rc = docker_inspect_json(d, id, &now, &all, err);
    for (const struct json *n = rc == 0 ? json_first(list) : NULL; n; n = json_next(n)) {
        if (is_on(all, n))
            continue;
        int one = connect_again(d, &now, n, err);
        if (one < 0)
            return one;
        undone = MIN(undone, one);
    }
    return rc != 0 ? rc : undone;
}

static const struct crew_kind disconnect_crew = {
    .in_events = "",
    .out_events = "",
    .gone_events = "destroy",
    .save = save_networks,
    .put_in = send_disconnect,
    .undo = undo_disconnect,
};

static int disconnect_prepare(struct fault_run *r, struct err *err)
{
    const struct disconnect_params *p = r->params;

    return crew_prepare(r, &disconnect_crew, &p->docker, err);
}

/* All of its networks have it again, or none has it any more. */
static int look(const struct fault_run *r, bool on, enum err_kind kind, struct err *err)
{
    const struct crew *c = r->state;

    for (size_t i = 0; i < c->targets.n; i++) {
        auto(json) struct json *all = NULL;
        struct docker_container now;
        int rc = docker_inspect_json(r->env->docker, c->targets.v[i].id, &now, &all, err);
        if (rc < 0)
            return rc;
        const struct json *list = json_get(c->members[i].entry, "networks");
        for (const struct json *n = rc == 0 && !c->members[i].gone ? json_first(list) : NULL; n;
             n = json_next(n))
            if (is_on(all, n) != on)
                return err_set(err, kind, EAGAIN, "container '%s' is %s network '%s'", now.name,
                               on ? "not on" : "still on", json_str(n, "name", ""));
    }
    return 0;
}

static int disconnect_verify_in(struct fault_run *r, struct err *err)
{
    return look(r, false, ERR_INJECT, err);
}

static int disconnect_verify_out(struct fault_run *r, struct err *err)
{
    return look(r, true, ERR_REVERT, err);
}

static int disconnect_undo(const struct json *record, struct err *err)
{
    return crew_undo(&disconnect_crew, record, err);
}

static const struct param disconnect_rows[] = {
    DOCKER_PARAM(struct disconnect_params, docker),
    PARAM(STR, "network", struct disconnect_params, network,
          .help = "the network it is taken off; all of them when absent"),
};
static const struct param_table disconnect_table = { .title = "faults[].disconnect",
                                                     .rows = disconnect_rows,
                                                     .n = ARRAY_LEN(disconnect_rows) };

const struct fault_kind fault_docker_disconnect = {
    .name = "disconnect",
    .backend = "docker",
    .summary = "take a container off its networks",
    .flags = FAULT_SURVIVES_BOOT,
    .params = &disconnect_table,
    .params_size = sizeof(struct disconnect_params),
    .prepare = disconnect_prepare,
    .journal = crew_journal,
    .inject = crew_inject,
    .verify_in = disconnect_verify_in,
    .revert = crew_revert,
    .verify_out = disconnect_verify_out,
    .target_gone = crew_target_gone,
    .release = crew_release,
    .undo = disconnect_undo,
};
