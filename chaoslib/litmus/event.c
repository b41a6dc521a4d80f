/* Events, created directly: upstream's names, so that its readers find them. An event tells, it
 * decides nothing: what goes wrong with one is logged, and the run goes on. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "chaoslib/litmus/litmus.h"

struct told {
    const char *kind, *name, *uid; /* of what it is about */
    const char *event;             /* its own name */
    const char *reason, *type, *message;
};

/* "2026-11-26T10:00:00Z": events know no fractions. */
static void stamp(char out[CLOCK_ISO_LEN])
{
    clock_iso(clock_wall_ns(), out);
    char *dot = strchr(out, '.');
    if (dot)
        snprintf(dot, 2, "Z");
}

static struct json *event_of(const struct litmus *l, const struct told *t)
{
    struct json *j = json_object(), *part;
    char now[CLOCK_ISO_LEN];

    stamp(now);
    json_put_str(j, "apiVersion", "v1");
    json_put_str(j, "kind", "Event");
    part = json_put(j, "metadata", json_object());
    json_put_str(part, "name", t->event);
    json_put_str(part, "namespace", l->env.ns);
    part = json_put(j, "involvedObject", json_object());
    json_put_str(part, "apiVersion", "litmuschaos.io/v1alpha1");
    json_put_str(part, "kind", t->kind);
    json_put_str(part, "name", t->name);
    json_put_str(part, "namespace", l->env.ns);
    json_put_str(part, "uid", t->uid);
    json_put_str(json_put(j, "source", json_object()), "component", l->env.pod);
    json_put_str(j, "reason", t->reason);
    json_put_str(j, "type", t->type);
    json_put_str(j, "message", t->message);
    json_put_u64(j, "count", 1);
    json_put_str(j, "firstTimestamp", now);
    json_put_str(j, "lastTimestamp", now);
    return j;
}

/* It happened before: counted once more. The type stays what it was, as upstream. */
static int again(void *arg, struct json *object, struct err *err)
{
    const struct told *t = arg;
    char now[CLOCK_ISO_LEN];
    uint64_t count = json_u64(object, "count", 0) + 1;

    (void)err;
    stamp(now);
    json_free(json_take(object, "count"));
    json_free(json_take(object, "lastTimestamp"));
    json_free(json_take(object, "message"));
    json_put_u64(object, "count", count);
    json_put_str(object, "lastTimestamp", now);
    json_put_str(object, "message", t->message);
    return 0;
}

static void tell(struct litmus *l, const struct told *t)
{
    auto(json) struct json *event = event_of(l, t);
    struct err err = { 0 };
    int rc = kube_create(l->kube, &kube_events, l->env.ns, event, NULL, &err);

    if (rc == KUBE_EXISTS)
        rc = kube_modify(l->kube, (struct kube_ref){ &kube_events, l->env.ns, t->event }, again,
                         (void *)(uintptr_t)t, &err);
    if (rc != KUBE_OK)
        log_warn("litmus.event", "reason=%s %s", t->reason, err.msg);
}

void litmus_event_result(struct litmus *l, const char *reason, const char *type,
                         const char *message)
{
    auto_free char *name = xasprintf("%s%s", reason, l->env.pod);

    tell(l, &(struct told){ .kind = "ChaosResult",
                            .name = l->result_name,
                            .uid = l->result_uid ? l->result_uid : "",
                            .event = name,
                            .reason = reason,
                            .type = type,
                            .message = message });
}

void litmus_event_engine(struct litmus *l, const char *reason, const char *type,
                         const char *message)
{
    auto_free char *name = xasprintf("%s%s%s", reason, l->env.experiment, l->env.uid);

    if (!*l->env.engine)
        return;
    tell(l, &(struct told){ .kind = "ChaosEngine",
                            .name = l->env.engine,
                            .uid = l->env.uid,
                            .event = name,
                            .reason = reason,
                            .type = type,
                            .message = message });
}
