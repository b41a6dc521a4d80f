/* What an engine says: a line of its event stream, and its answer about a container. Then the same
 * bytes as a selection that a user wrote. Read, left out, or refused with a sentence. */
#include <string.h>

#include "chaoslib/docker/events.h"
#include "chaoslib/docker/internal.h"
#include "chaoslib/docker/select.h"
#include "edge/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_event(const char *text, size_t size)
{
    struct docker_event e;
    struct err err = { 0 };
    int rc = docker_event_parse(text, size, &e, &err);

    if (rc < 0 ? !err_is_set(&err) : (rc == 0 && (!e.action[0] || !e.id[0])))
        abort();
}

static void as_container(const char *text, size_t size)
{
    auto(json) struct json *j = NULL;
    struct docker_container c;
    struct err err = { 0 };
    char out[256];

    if (json_parse(text, size, &j, NULL) < 0)
        return;
    if (docker_container_parse(j, &c, &err) < 0) {
        if (!err_is_set(&err))
            abort();
        return;
    }
    docker_say_targets(&c, 1, out);
    if (!c.id[0] || c.pid < 0 || !strstr(out, "container "))
        abort();
}

static void as_selection(const char *text, size_t size)
{
    struct arena *arena = arena_new(0);
    struct doc *doc = NULL;
    struct diag diag;
    struct docker_select s;

    diag_init(&diag);
    if (yaml_load("fuzz.yaml", text, size, arena, &diag, &doc) == 0 && doc) {
        docker_select_load(&(struct param_ctx){ .arena = arena, .diag = &diag }, doc, &s);
        if (!diag.n && !s.names.n && !s.match && !s.labels.n && !s.compose && !s.image)
            abort(); /* it would be everything */
    }
    diag_done(&diag);
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto_free char *text = xstrndup((const char *)data, size);

    as_event((const char *)data, size);
    as_container((const char *)data, size);
    as_selection(text, strlen(text));
    return 0;
}
