/* One line of an engine's event stream. Old and new shapes: since API 1.52 the fields status, id
 * and from are gone; Podman names a few things in its own way. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "chaoslib/docker/events.h"
#include "chaoslib/docker/internal.h"

static const struct {
    const char *podman, *docker;
} renamed[] = {
    { "died", "die" },
    { "remove", "destroy" },
    { "exec_died", "exec_die" },
    { "exec", "exec_start" },
};

/* Attributes hold labels too, whose keys have dots: not by a path. */
static const char *attribute(const struct json *attributes, const char *key)
{
    for (const struct json *a = json_first(attributes); a; a = json_next(a))
        if (json_key(a) && strcmp(json_key(a), key) == 0)
            return json_str(a, "", "");
    return "";
}

static int exit_code(const struct json *attributes)
{
    static const char *const keys[] = { "exitCode", "containerExitCode" };
    int64_t code;

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (parse_i64(attribute(attributes, keys[i]), INT_MIN, INT_MAX, &code, NULL) == 0)
            return (int)code;
    return -1;
}

/* "exec_create: tc qdisc …" is exec_create, and the rest its detail. */
static void split_action(struct docker_event *e, const char *action)
{
    const char *colon = strchr(action, ':');
    size_t n = colon ? (size_t)(colon - action) : strlen(action);

    snprintf(e->action, sizeof(e->action), "%.*s", (int)MIN(n, sizeof(e->action) - 1), action);
    if (colon)
        snprintf(e->detail, sizeof(e->detail), "%s", colon + 1 + (colon[1] == ' '));
    for (size_t i = 0; i < ARRAY_LEN(renamed); i++)
        if (strcmp(e->action, renamed[i].podman) == 0)
            snprintf(e->action, sizeof(e->action), "%s", renamed[i].docker);
}

static uint64_t digits(const char *at, const char *end)
{
    uint64_t n = 0;

    while (at < end && *at == ' ')
        at++;
    for (; at < end && *at >= '0' && *at <= '9' && n < UINT64_MAX / 10 - 1; at++)
        n = n * 10 + (uint64_t)(*at - '0');
    return n;
}

/* From the text, since a double would lose the last 8 bits; the last one, since a label may have
 * the same name. */
static uint64_t time_of(const char *line, size_t len, const struct json *j)
{
    static const char key[] = "\"timeNano\":";
    const char *end = line + len;
    uint64_t seconds = json_u64(j, "time", 0), nano = 0;

    for (const char *at = line; (at = memmem(at, (size_t)(end - at), key, sizeof(key) - 1));) {
        at += sizeof(key) - 1;
        uint64_t n = digits(at, end);
        nano = n ? n : nano;
    }
    return nano ? nano : MIN(seconds, UINT64_MAX / NS_PER_SEC) * NS_PER_SEC;
}

static void fill_detail(struct docker_event *e, const struct json *attributes)
{
    static const char *const keys[] = { "execID", "container" };

    for (size_t i = 0; i < ARRAY_LEN(keys) && !e->detail[0]; i++)
        snprintf(e->detail, sizeof(e->detail), "%s", attribute(attributes, keys[i]));
}

static int read_event(const struct json *j, struct docker_event *e)
{
    const struct json *attributes = json_get(j, "Actor.Attributes");
    const char *action = json_str(j, "Action", json_str(j, "status", NULL));
    const char *id = json_str(j, "Actor.ID", json_str(j, "id", NULL));

    if (!action || !*action || !id || !*id)
        return 1;
    snprintf(e->type, sizeof(e->type), "%s", json_str(j, "Type", "container"));
    snprintf(e->id, sizeof(e->id), "%s", id);
    snprintf(e->name, sizeof(e->name), "%s", attribute(attributes, "name"));
    snprintf(e->image, sizeof(e->image), "%s", attribute(attributes, "image"));
    snprintf(e->signal, sizeof(e->signal), "%s", attribute(attributes, "signal"));
    split_action(e, action);
    fill_detail(e, attributes);
    e->exit_code = exit_code(attributes);
    e->pumba = strcmp(attribute(attributes, "com.gaiaadm.pumba"), "true") == 0 ||
               strcmp(attribute(attributes, "com.gaiaadm.pumba.skip"), "true") == 0;
    return 0;
}

int docker_event_parse(const char *line, size_t len, struct docker_event *ret, struct err *err)
{
    auto(json) struct json *j = NULL;
    struct docker_event e = { 0 };

    /* json-seq begins each record with a record separator. */
    while (len && (*line == '\x1e' || *line == ' ' || *line == '\r')) {
        line++;
        len--;
    }
    if (len == 0)
        return 1;
    if (len > DOCKER_EVENT_MAX)
        return err_set(err, ERR_LIMIT, EMSGSIZE, "an event of more than %zu bytes",
                       DOCKER_EVENT_MAX);
    if (json_parse(line, len, &j, err) < 0)
        return err_wrap(err, "an event of the container engine");
    if (!json_is_object(j) || read_event(j, &e) != 0)
        return 1;
    e.time_nano = time_of(line, len, j);
    *ret = e;
    return 0;
}
