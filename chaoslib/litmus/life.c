/* An experiment from start to verdict, in upstream's order. Whatever happens on the way, the end is
 * the same: one ChaosResult, its event, a Summary on the engine. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "chaoslib/chaos.h"
#include "chaoslib/litmus/litmus.h"

/* ---- state ---- */

struct litmus_probe *litmus_probe_add(struct litmus *l, const char *name, const char *type,
                                      const char *mode)
{
    l->probes = xrealloc(l->probes, l->n_probes + 1, sizeof(*l->probes));
    struct litmus_probe *p = &l->probes[l->n_probes++];
    *p = (struct litmus_probe){ .name = xstrdup(name),
                                .type = xstrdup(type),
                                .mode = xstrdup(mode) };
    return p;
}

void litmus_target_add(struct litmus *l, const char *name, const char *kind, const char *status)
{
    l->targets = xrealloc(l->targets, l->n_targets + 1, sizeof(*l->targets));
    l->targets[l->n_targets++] =
        (struct litmus_target){ .name = xstrdup(name), .kind = xstrdup(kind), .status = status };
}

void litmus_fail(struct litmus *l, const char *code, const char *target, const char *reason)
{
    auto(json) struct json *j = json_object();

    if (l->verdict == LITMUS_ERROR || l->verdict == LITMUS_STOPPED)
        return;
    l->verdict = LITMUS_ERROR;
    if (*l->env.pod)
        json_put_str(j, "source", l->env.pod);
    json_put_str(j, "errorCode", code);
    json_put_str(j, "phase", l->phase);
    json_put_str(j, "reason", reason);
    if (target && *target)
        json_put_str(j, "target", target);
    l->error_code = xstrdup(code);
    l->error_reason = json_print(j, false);
    log_error("litmus.error", "%s", l->error_reason);
}

int litmus_open(struct litmus *l, const char *name, const char *kubeconfig, struct arena *arena,
                struct err *err)
{
    struct diag diag;

    memset(l, 0, sizeof(*l));
    l->phase = "PreChaos";
    diag_init(&diag);
    unsigned wrong = litmus_env_read(&litmus_env_table, arena, &diag, &l->env);
    if (wrong)
        err_set(err, ERR_USAGE, EINVAL, "%.380s", buf_str(&diag.text));
    diag_done(&diag);
    if (wrong)
        return -EINVAL;
    l->abort = latch_new();
    l->kube = kube_open(&(struct kube_opts){ .kubeconfig = kubeconfig, .abort = NULL }, err);
    if (!l->kube) {
        litmus_done(l);
        return -EIO;
    }
    if (!*l->env.experiment)
        l->env.experiment = arena_strdup(arena, name);
    if (!*l->env.ns)
        l->env.ns = arena_strdup(arena, kube_namespace(l->kube));
    l->result_name = xasprintf("%s%s%s%s%s", l->env.engine, *l->env.engine ? "-" : "",
                               l->env.experiment, *l->env.instance ? "-" : "", l->env.instance);
    return 0;
}

void litmus_done(struct litmus *l)
{
    for (size_t i = 0; i < l->n_probes; i++) {
        free(l->probes[i].name);
        free(l->probes[i].type);
        free(l->probes[i].mode);
        free(l->probes[i].description);
    }
    for (size_t i = 0; i < l->n_targets; i++) {
        free(l->targets[i].name);
        free(l->targets[i].kind);
    }
    free(l->probes);
    free(l->targets);
    free(l->result_name);
    free(l->result_uid);
    free(l->engine_uid);
    free(l->error_code);
    free(l->error_reason);
    json_free(l->annotations);
    kube_free(l->kube);
    latch_free(l->abort);
    memset(l, 0, sizeof(*l));
}

/* ---- the way ---- */

/* Of our experiment in it. */
static size_t probes_of(const struct json *engine, const char *experiment)
{
    const struct json *all = json_get(engine, "spec.experiments");
    size_t n = 0;

    for (const struct json *x = json_first(all); x; x = json_next(x))
        if (strcmp(json_str(x, "name", ""), experiment) == 0)
            n += json_len(json_get(x, "spec.probe"));
    return n;
}

/* The engine must be there, and must not ask for what we cannot do: a probe that nobody judges
 * would be a Pass that means nothing. */
static int look_at_engine(struct litmus *l, bool *ret_probes, struct err *err)
{
    auto(json) struct json *engine = NULL;

    if (!*l->env.engine)
        return 0;
    int rc = kube_get(l->kube, &kube_chaosengines, l->env.ns, l->env.engine, &engine, err);
    if (rc == KUBE_NOT_FOUND)
        return err_set(err, ERR_TARGET, ENOENT, "there is no ChaosEngine '%.100s' in '%.100s'",
                       l->env.engine, l->env.ns);
    if (rc < 0)
        return rc;
    l->engine_uid = xstrdup(json_str(engine, "metadata.uid", ""));
    *ret_probes = probes_of(engine, l->env.experiment) > 0;
    return 0;
}

static void check(struct litmus *l, const char *reason)
{
    char message[200];
    const char *aut = l->env.default_health_check ? "AUT: Running" : "";
    bool both = *aut && l->n_probes;

    if (!*aut && !l->n_probes)
        snprintf(message, sizeof(message), "Skipped the default checks");
    else
        snprintf(message, sizeof(message), "%s%s%s", aut, both ? ", " : "",
                 l->n_probes ? "Probes: Successful" : "");
    litmus_event_engine(l, reason, "Normal", message);
}

static bool goes_on(const struct litmus *l)
{
    return l->verdict == LITMUS_AWAITED && !latch_is_set(l->abort);
}

static void ramp(struct litmus *l)
{
    if (l->env.ramp_s > 0)
        latch_wait_until(l->abort, clock_now_ns() + (uint64_t)l->env.ramp_s * NS_PER_SEC);
}

static void go(struct litmus *l, const struct litmus_experiment *x)
{
    check(l, "PreChaosCheck");
    l->phase = "ChaosInject";
    ramp(l);
    if (goes_on(l))
        x->drive(l, x->arg);
    if (goes_on(l))
        ramp(l);
    if (!goes_on(l))
        return;
    l->phase = "PostChaos";
    check(l, "PostChaosCheck");
}

static void summary(struct litmus *l, const struct litmus_end *end)
{
    const char *verdict = litmus_verdict_name(end->verdict), *exp = l->env.experiment;
    bool is_pass = end->verdict == LITMUS_PASS;
    auto_free char *result = xasprintf("experiment: %s, Result: %s", exp, verdict);
    auto_free char *aborted = xasprintf("%s experiment has been aborted", exp);
    auto_free char *done = xasprintf("%s experiment has been %sed", exp, verdict);

    if (l->verdict == LITMUS_STOPPED) {
        litmus_event_engine(l, "Summary", "Warning", aborted);
        litmus_event_result(l, "Abort", "Warning", aborted);
        return;
    }
    litmus_event_result(l, verdict, is_pass ? "Normal" : "Warning", result);
    if (end->verdict == LITMUS_ERROR)
        litmus_event_engine(l, "Summary", "Warning", result);
    else
        litmus_event_engine(l, "Summary", "Normal", done);
}

int litmus_live(struct litmus *l, const struct litmus_experiment *x, struct err *err)
{
    auto_free char *awaited = xasprintf("experiment: %s, Result: Awaited", l->env.experiment);

    bool wants_probes = false;

    if (look_at_engine(l, &wants_probes, err) < 0 || litmus_result_start(l, err) < 0)
        return -EIO;
    litmus_event_result(l, "Awaited", "Normal", awaited);
    if (wants_probes)
        litmus_fail(l, "GENERIC_ERROR", NULL,
                    "probes of the ChaosEngine are not supported yet: take them out, thresholds of "
                    "the load are judged without");
    if (l->env.default_health_check && *l->env.targets)
        litmus_fail(l, "STATUS_CHECKS_ERROR", l->env.targets,
                    "health checks of targets are not supported yet: set DEFAULT_HEALTH_CHECK to "
                    "false");
    if (goes_on(l))
        go(l, x);
    if (latch_is_set(l->abort))
        l->verdict = LITMUS_STOPPED;
    struct litmus_end end = litmus_judge(l);
    if (litmus_result_end(l, err) == 0)
        summary(l, &end);
    return end.verdict == LITMUS_STOPPED && latch_is_set(l->abort) ? 1 : 0;
}
