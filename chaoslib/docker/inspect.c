/* What an engine says of one container, in our few words. Fields that a version or Podman leaves
 * out are empty here, never an error: only an answer without an id is no container. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chaoslib/docker/internal.h"

static void copy(char *out, size_t size, const struct json *j, const char *path)
{
    snprintf(out, size, "%s", json_str(j, path, ""));
}

/* Docker says State.Health; Podman before 5 says State.Healthcheck, and "" without a check. */
static void copy_health(struct docker_container *c, const struct json *j)
{
    copy(c->health, sizeof(c->health), j, "State.Health.Status");
    if (!c->health[0])
        copy(c->health, sizeof(c->health), j, "State.Healthcheck.Status");
    if (strcmp(c->health, "none") == 0)
        c->health[0] = '\0';
}

int docker_container_parse(const struct json *j, struct docker_container *ret, struct err *err)
{
    struct docker_container c = { 0 };
    const char *name = json_str(j, "Name", "");

    copy(c.id, sizeof(c.id), j, "Id");
    if (!c.id[0] || !json_is_object(json_get(j, "State")))
        return err_set(err, ERR_PREPARE, EPROTO,
                       "the container engine answered without a container's Id and State");
    snprintf(c.name, sizeof(c.name), "%s", name + (name[0] == '/'));
    copy(c.image, sizeof(c.image), j, "Config.Image");
    copy(c.started_at, sizeof(c.started_at), j, "State.StartedAt");
    copy(c.status, sizeof(c.status), j, "State.Status");
    copy(c.network_mode, sizeof(c.network_mode), j, "HostConfig.NetworkMode");
    copy_health(&c, j);
    c.pid = (pid_t)MIN(json_u64(j, "State.Pid", 0), INT32_MAX);
    c.exit_code = (int)MIN(json_u64(j, "State.ExitCode", 0), INT32_MAX);
    c.running = json_bool(j, "State.Running", false);
    c.paused = json_bool(j, "State.Paused", false);
    /* Podman's paused ones do not run; here as with Docker they do. */
    c.running |= c.paused;
    *ret = c;
    return 0;
}

/* Nothing else can be a container's name or id, and an engine may take it for another path. */
static bool can_be_a_name(const char *text)
{
    static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t n = strspn(text, all);

    return *text && strchr(first, *text) && !text[n] && n < 256;
}

int docker_inspect_json(struct docker *d, const char *id_or_name, struct docker_container *ret,
                        struct json **ret_json, struct err *err)
{
    auto_buf struct buf path = BUF_INIT(4096);
    auto(json) struct json *answer = NULL;
    int rc;

    if (!can_be_a_name(id_or_name))
        return 1;
    buf_adds(&path, "/containers/");
    http_escape(&path, id_or_name);
    buf_adds(&path, "/json");
    rc = docker_do(d, &(struct docker_call){ .path = buf_str(&path) }, &answer, err);
    if (rc == 1)
        err_clear(err);
    if (rc != 0)
        return rc;
    if (docker_container_parse(answer, ret, err) < 0)
        return -EPROTO;
    /* Engines take the beginning of an id too; only what was meant counts. */
    if (strcmp(ret->id, id_or_name) != 0 && strcmp(ret->name, id_or_name) != 0)
        return 1;
    if (ret_json)
        *ret_json = TAKE(answer);
    return 0;
}

int docker_inspect(struct docker *d, const char *id_or_name, struct docker_container *ret,
                   struct err *err)
{
    return docker_inspect_json(d, id_or_name, ret, NULL, err);
}

bool docker_is_same(const struct docker_container *a, const struct docker_container *b)
{
    return strcmp(a->id, b->id) == 0 && strcmp(a->started_at, b->started_at) == 0;
}
