/* The recorded runs of a real Pumba (tests/golden/pumba): its command line, its log, and what the
 * engine reported meanwhile. */
#ifndef TESTS_UNIT_GOLDEN_PUMBA_H
#define TESTS_UNIT_GOLDEN_PUMBA_H

#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "chaoslib/docker/events.h"
#include "edge/json.h"

#ifndef GOLDEN_DIR
#define GOLDEN_DIR "tests/golden"
#endif

static inline struct json *golden_read(const char *name)
{
    auto_buf struct buf text = BUF_INIT(0);
    auto_free char *path = xasprintf("%s/pumba/%s.json", GOLDEN_DIR, name);
    FILE *f = fopen(path, "re");
    struct json *j = NULL;
    char part[4096];
    size_t n;

    if (!f)
        return NULL;
    while ((n = fread(part, 1, sizeof(part), f)) > 0)
        buf_add(&text, part, n);
    fclose(f);
    return json_parse(buf_str(&text), text.len, &j, NULL) == 0 ? j : NULL;
}

/* The engine's clock stands for ours; it is exact enough as a number of 53 bits: about 200 ns. */
static inline void golden_event(const struct json *j, struct docker_event *e)
{
    const struct json *attributes = json_get(j, "Actor.Attributes");
    const char *action = json_str(j, "Action", "");
    const char *colon = strstr(action, ": ");

    *e = (struct docker_event){ .exit_code = -1 };
    snprintf(e->type, sizeof(e->type), "%s", json_str(j, "Type", ""));
    snprintf(e->action, sizeof(e->action), "%.*s", (int)(colon ? colon - action : 63), action);
    if (colon)
        snprintf(e->detail, sizeof(e->detail), "%s", colon + 2);
    snprintf(e->id, sizeof(e->id), "%s", json_str(j, "Actor.ID", ""));
    snprintf(e->name, sizeof(e->name), "%s", json_str(attributes, "name", ""));
    snprintf(e->signal, sizeof(e->signal), "%s", json_str(attributes, "signal", ""));
    const char *code = json_str(attributes, "exitCode", "");
    int64_t value;
    if (*code && parse_i64(code, -1, 255, &value, NULL) == 0)
        e->exit_code = (int)value;
    for (const struct json *a = json_first(attributes); a; a = json_next(a))
        e->pumba |= strcmp(json_key(a), "com.gaiaadm.pumba.skip") == 0;
    e->time_nano = e->mono_ns = (uint64_t)json_num(j, "timeNano", 0);
}

#endif
