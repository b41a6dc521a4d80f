/* The environment of an experiment, read by the same tables as plans: a row is an env name. */
#include <stdlib.h>

#include "chaoslib/litmus/litmus.h"

static const struct param env_rows[] = {
    PARAM(STR, "CHAOSENGINE", struct litmus_env, engine, .def = "",
          .help = "name of the ChaosEngine; none: run without one"),
    PARAM(STR, "EXPERIMENT_NAME", struct litmus_env, experiment, .def = "",
          .help = "name of the fault; default: the one that was asked for with -name"),
    PARAM(STR, "CHAOS_NAMESPACE", struct litmus_env, ns, .def = "",
          .help = "namespace of engine, result and helpers; default: our own"),
    PARAM(STR, "CHAOS_UID", struct litmus_env, uid, .def = "",
          .help = "uid of the engine, on everything we make"),
    PARAM(STR, "POD_NAME", struct litmus_env, pod, .def = "", .help = "our own pod"),
    PARAM(STR, "INSTANCE_ID", struct litmus_env, instance, .def = "",
          .help = "suffix of the result's name"),
    PARAM(STR, "TARGETS", struct litmus_env, targets, .def = "",
          .help = "kind:namespace:[names or labels];…"),
    PARAM(INT, "TOTAL_CHAOS_DURATION", struct litmus_env, duration_s, .def = "30", .lo = 0,
          .hi = 864000, .help = "seconds"),
    PARAM(INT, "RAMP_TIME", struct litmus_env, ramp_s, .def = "0", .lo = 0, .hi = 864000,
          .help = "seconds before the injection, and after"),
    PARAM(INT, "STATUS_CHECK_DELAY", struct litmus_env, status_delay_s, .def = "2", .lo = 0,
          .hi = 3600, .help = "seconds between two looks at a status"),
    PARAM(INT, "STATUS_CHECK_TIMEOUT", struct litmus_env, status_timeout_s, .def = "180", .lo = 0,
          .hi = 86400, .help = "seconds until a status must be as it should"),
    PARAM(BOOL, "DEFAULT_HEALTH_CHECK", struct litmus_env, default_health_check, .def = "true",
          .help = "whether the targets must be healthy before and after"),
    PARAM(STR, "JOB_CLEANUP_POLICY", struct litmus_env, cleanup, .def = "retain",
          .help = "delete: helpers go after the run"),
    PARAM(STR, "LIB_IMAGE_PULL_POLICY", struct litmus_env, pull_policy, .def = "Always",
          .help = "of helper pods"),
    PARAM(STR, "CHAOS_SERVICE_ACCOUNT", struct litmus_env, service_account, .def = "",
          .help = "of helper pods"),
    PARAM(STR, "SEQUENCE", struct litmus_env, sequence, .def = "parallel",
          .help = "parallel, serial or random"),
    PARAM(INT, "TERMINATION_GRACE_PERIOD_SECONDS", struct litmus_env, grace_s, .def = "0", .lo = 0,
          .hi = 86400, .help = "of helper pods"),
};
const struct param_table litmus_env_table = { .title = "common env",
                                              .rows = env_rows,
                                              .n = ARRAY_LEN(env_rows) };

unsigned litmus_env_read(const struct param_table *t, struct arena *arena, struct diag *diag,
                         void *base)
{
    const struct param_ctx ctx = { .arena = arena, .diag = diag, .from_flags = true };
    struct doc *map = doc_new(arena, DOC_MAP, "env");

    for (size_t i = 0; i < t->n; i++) {
        const char *value =
            getenv(t->rows[i].name); // NOLINT(concurrency-mt-unsafe): nobody sets any
        if (value && *value)
            doc_map_put(arena, map, t->rows[i].name, doc_scalar(arena, "env", value));
    }
    return param_load(&ctx, t, map, base, NULL);
}
