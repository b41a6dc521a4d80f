/* The ChaosResult: what a run makes of it. There is no /status endpoint: all is written with POST
 * and PUT on the object, and again when someone else was quicker. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chaoslib/litmus/litmus.h"

#define NOT_LOOKED_AT "Either probe is not executed or not evaluated"

static const char *const verdict_names[] = { "Awaited", "Pass", "Fail", "Stopped", "Error" };
static const char *const probe_names[] = { "Awaited", "Passed", "Failed", "N/A" };

const char *litmus_verdict_name(enum litmus_verdict v)
{
    return verdict_names[v];
}

/* ---- the verdict ---- */

static unsigned share_passed(const struct litmus *l)
{
    size_t passed = 0;

    for (size_t i = 0; i < l->n_probes; i++)
        passed += l->probes[i].verdict == PROBE_PASSED;
    return l->n_probes ? (unsigned)(passed * 100 / l->n_probes) : 0;
}

/* A failed probe outranks an error: upstream's first rule. */
struct litmus_end litmus_judge(const struct litmus *l)
{
    bool failed = false, stops = false;

    for (size_t i = 0; i < l->n_probes; i++)
        if (l->probes[i].verdict == PROBE_FAILED) {
            failed = true;
            stops |= l->probes[i].stops;
        }
    if (stops)
        return (struct litmus_end){ "Stopped", LITMUS_STOPPED, share_passed(l) };
    if (failed)
        return (struct litmus_end){ "Completed_With_Probe_Failure", LITMUS_FAIL, share_passed(l) };
    switch (l->verdict) {
    case LITMUS_STOPPED: return (struct litmus_end){ "Stopped", LITMUS_STOPPED, share_passed(l) };
    case LITMUS_ERROR: return (struct litmus_end){ "Error", LITMUS_ERROR, 0 };
    case LITMUS_FAIL: return (struct litmus_end){ "Completed", LITMUS_FAIL, share_passed(l) };
    case LITMUS_AWAITED:
    case LITMUS_PASS: break;
    }
    return (struct litmus_end){ "Completed", LITMUS_PASS, 100 };
}

/* ---- history ---- */

static struct json *object_at(struct json *parent, const char *key)
{
    struct json *child = json_member_mutable(parent, key);

    if (child && json_is_object(child))
        return child;
    json_free(json_take(parent, key));
    return json_put(parent, key, json_object());
}

static void put_target(struct json *history, const char *name, const char *kind, const char *status)
{
    struct json *targets = json_member_mutable(history, "targets");
    struct json *kept = json_array(), *t;

    while ((t = json_take_first(targets)))
        if (strcmp(json_str(t, "name", ""), name) == 0)
            json_free(t);
        else
            json_put(kept, NULL, t);
    t = json_put(kept, NULL, json_object());
    json_put_str(t, "name", name);
    json_put_str(t, "kind", kind);
    json_put_str(t, "chaosStatus", status);
    json_free(json_take(history, "targets"));
    json_put(history, "targets", kept);
}

static const char *status_of(const char *value)
{
    static const char *const known[] = { "targeted", "injected", "reverted" };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcasecmp(value, known[i]) == 0)
            return known[i];
    return NULL;
}

/* pod/web-1: injected → history.targets. All others stay as they are. */
static void fold(struct json *object, struct json *history)
{
    struct json *meta = object_at(object, "metadata");
    struct json *old = json_take(meta, "annotations");
    struct json *kept = json_object();

    for (const struct json *a = json_first(old); a; a = json_next(a)) {
        const char *key = json_key(a), *value = json_str(a, "", ""), *slash = strchr(key, '/');
        const char *status = status_of(value);
        if (!status || !slash) {
            json_put_str(kept, key, value);
            continue;
        }
        auto_free char *kind = xstrndup(key, (size_t)(slash - key));
        put_target(history, slash + 1, kind, status);
    }
    json_free(old);
    if (json_len(kept))
        json_put(meta, "annotations", kept);
    else
        json_free(kept);
}

static void set_num(struct json *j, const char *key, uint64_t value)
{
    json_free(json_take(j, key));
    json_put_u64(j, key, value);
}

static void set_str(struct json *j, const char *key, const char *value)
{
    json_free(json_take(j, key));
    json_put_str(j, key, value);
}

static struct json *history_of(struct json *status)
{
    static const char *const counts[] = { "passedRuns", "failedRuns", "stoppedRuns" };
    struct json *history = object_at(status, "history");

    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        set_num(history, counts[i], json_u64(history, counts[i], 0));
    return history;
}

/* ---- probes ---- */

/* `final`: what was never judged is N/A, unless all is well. */
static void put_probes(const struct litmus *l, struct json *status, bool final)
{
    json_free(json_take(status, "probeStatuses"));
    if (!l->n_probes)
        return;
    struct json *all = json_put(status, "probeStatuses", json_array());
    for (size_t i = 0; i < l->n_probes; i++) {
        const struct litmus_probe *p = &l->probes[i];
        bool open = final && p->verdict == PROBE_AWAITED;
        struct json *j = json_put(all, NULL, json_object());

        json_put_str(j, "name", p->name);
        json_put_str(j, "type", p->type);
        json_put_str(j, "mode", p->mode);
        struct json *s = json_put(j, "status", json_object());
        json_put_str(s, "verdict", probe_names[open ? PROBE_NA : p->verdict]);
        if (p->description || open)
            json_put_str(s, "description", p->description ? p->description : NOT_LOOKED_AT);
    }
}

/* ---- start and end ---- */

static void put_labels(const struct litmus *l, const struct json *pod_labels, struct json *meta)
{
    struct json *labels = json_object();

    for (const struct json *label = json_first(pod_labels); label; label = json_next(label))
        if (strcmp(json_key(label), "chaosUID") != 0)
            json_put_str(labels, json_key(label), json_str(label, "", ""));
    if (*l->env.uid)
        json_put_str(labels, "chaosUID", l->env.uid);
    json_free(json_take(meta, "labels"));
    json_put(meta, "labels", labels);
}

void litmus_put_start(const struct litmus *l, const struct json *pod_labels, struct json *object)
{
    struct json *meta = object_at(object, "metadata");
    struct json *spec = object_at(object, "spec"), *status = object_at(object, "status");

    put_labels(l, pod_labels, meta);
    set_str(spec, "engine", l->env.engine);
    set_str(spec, "experiment", l->env.experiment);
    if (*l->env.instance)
        set_str(spec, "instance", l->env.instance);
    struct json *history = history_of(status);
    json_free(json_take(history, "targets"));
    fold(object, history);
    json_free(json_take(history, "targets")); /* of a run that is over */
    json_free(json_take(status, "experimentStatus"));
    struct json *e = json_put(status, "experimentStatus", json_object());
    json_put_str(e, "phase", "Running");
    json_put_str(e, "verdict", "Awaited");
    json_put_str(e, "probeSuccessPercentage", "Awaited");
    put_probes(l, status, false);
}

static void count_run(struct json *history, enum litmus_verdict v)
{
    static const char *const counts[] = {
        [LITMUS_PASS] = "passedRuns", [LITMUS_FAIL] = "failedRuns", [LITMUS_STOPPED] = "stoppedRuns"
    };

    if (v < ARRAY_LEN(counts) && counts[v])
        set_num(history, counts[v], json_u64(history, counts[v], 0) + 1);
}

void litmus_put_end(const struct litmus *l, struct json *object)
{
    struct litmus_end end = litmus_judge(l);
    struct json *status = object_at(object, "status"), *meta = object_at(object, "metadata");
    struct json *history = history_of(status);
    auto_free char *percentage = xasprintf("%u", end.percentage);

    fold(object, history);
    for (size_t i = 0; i < l->n_targets; i++)
        put_target(history, l->targets[i].name, l->targets[i].kind, l->targets[i].status);
    count_run(history, end.verdict);
    json_free(json_take(status, "experimentStatus"));
    struct json *e = json_put(status, "experimentStatus", json_object());
    json_put_str(e, "phase", end.phase);
    json_put_str(e, "verdict", verdict_names[end.verdict]);
    json_put_str(e, "probeSuccessPercentage", percentage);
    if (end.verdict == LITMUS_ERROR && l->error_code) {
        struct json *output = json_put(e, "errorOutput", json_object());
        json_put_str(output, "errorCode", l->error_code);
        json_put_str(output, "reason", l->error_reason);
    }
    put_probes(l, status, end.verdict != LITMUS_PASS);
    for (const struct json *a = json_first(l->annotations); a; a = json_next(a))
        set_str(object_at(meta, "annotations"), json_key(a), json_str(a, "", ""));
}

/* ---- on the API server ---- */

static int own_labels(struct litmus *l, struct json **ret, struct err *err)
{
    auto(json) struct json *pod = NULL;

    *ret = NULL;
    if (!*l->env.pod)
        return 0;
    int rc = kube_get(l->kube, &kube_pods, l->env.ns, l->env.pod, &pod, err);
    if (rc < 0)
        return rc;
    const struct json *labels = json_get(pod, "metadata.labels");
    *ret = labels ? json_copy(labels) : NULL;
    return 0;
}

static struct kube_ref result_of(const struct litmus *l)
{
    return (struct kube_ref){ &kube_chaosresults, l->env.ns, l->result_name };
}

struct start {
    const struct litmus *l;
    const struct json *labels;
};

static int change_start(void *arg, struct json *object, struct err *err)
{
    const struct start *s = arg;

    (void)err;
    litmus_put_start(s->l, s->labels, object);
    return 0;
}

static int create(struct litmus *l, const struct json *labels, struct err *err)
{
    auto(json) struct json *object = json_object();

    json_put_str(object, "apiVersion", "litmuschaos.io/v1alpha1");
    json_put_str(object, "kind", "ChaosResult");
    json_put_str(object_at(object, "metadata"), "name", l->result_name);
    json_put_str(object_at(object, "metadata"), "namespace", l->env.ns);
    litmus_put_start(l, labels, object);
    return kube_create(l->kube, &kube_chaosresults, l->env.ns, object, NULL, err);
}

/* Somebody may make or remove it between two looks. */
#define START_TRIES 5

int litmus_result_start(struct litmus *l, struct err *err)
{
    auto(json) struct json *labels = NULL;
    auto(json) struct json *object = NULL;
    int rc = own_labels(l, &labels, err);
    struct start s = { .l = l, .labels = labels };

    for (unsigned i = 0; rc == 0 && i < START_TRIES; i++) {
        int done = kube_modify(l->kube, result_of(l), change_start, &s, err);
        if (done == KUBE_NOT_FOUND)
            done = create(l, labels, err);
        if (done == KUBE_OK)
            break;
        if (done < 0)
            rc = done;
    }
    if (rc == 0)
        rc = kube_get(l->kube, &kube_chaosresults, l->env.ns, l->result_name, &object, err);
    if (rc != 0)
        return rc < 0 ? err_wrap(err, "the ChaosResult %.100s", l->result_name)
                      : err_set(err, ERR_GENERIC, ENOENT, "the ChaosResult %.100s vanishes",
                                l->result_name);
    free(l->result_uid);
    l->result_uid = xstrdup(json_str(object, "metadata.uid", ""));
    return 0;
}

static int change_end(void *arg, struct json *object, struct err *err)
{
    (void)err;
    litmus_put_end(arg, object);
    return 0;
}

int litmus_result_end(struct litmus *l, struct err *err)
{
    int rc = kube_modify(l->kube, result_of(l), change_end, l, err);

    if (rc > 0)
        return err_set(err, ERR_GENERIC, ENOENT, "the ChaosResult %.100s is gone", l->result_name);
    return rc < 0 ? err_wrap(err, "the ChaosResult %.100s", l->result_name) : 0;
}
