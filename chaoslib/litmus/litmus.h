/* The life of a Litmus experiment: what chaos-operator and chaos-runner start, and what everyone
 * who looks at a ChaosResult reads. Source of all names, orders and texts: litmus-go 3.31 and
 * chaos-runner, as written down in docs/LITMUS.md.
 *
 * One thread. The verdict is computed here and nowhere else: a failed probe is Fail, whatever else
 * happened; a SIGTERM is Stopped; what could not be done is Error; the rest is Pass. */
#ifndef CHAOSLIB_LITMUS_LITMUS_H
#define CHAOSLIB_LITMUS_LITMUS_H

#include "base/param.h"
#include "chaoslib/kube/kube.h"

/* ---- env ---- */

/* What every experiment is given. An empty value counts as none, as upstream. */
struct litmus_env {
    const char *engine, *experiment, *ns, *uid, *pod, *instance, *targets;
    const char *cleanup, *pull_policy, *service_account, *sequence;
    int64_t duration_s, ramp_s, status_delay_s, status_timeout_s, grace_s;
    bool default_health_check;
};
extern const struct param_table litmus_env_table;
/* Reads the rows of `t` from the environment by their names. What is wrong is said in `diag`, a
 * line for each; returns how many. Texts live in `arena`. */
unsigned litmus_env_read(const struct param_table *t, struct arena *arena, struct diag *diag,
                         void *base);

/* ---- state ---- */

enum litmus_verdict { LITMUS_AWAITED, LITMUS_PASS, LITMUS_FAIL, LITMUS_STOPPED, LITMUS_ERROR };
enum litmus_probe_verdict { PROBE_AWAITED, PROBE_PASSED, PROBE_FAILED, PROBE_NA };

struct litmus_probe {
    char *name, *type, *mode;
    enum litmus_probe_verdict verdict;
    char *description; /* NULL: none */
    bool stops;        /* failed with stopOnFailure: the whole is Stopped, not Fail */
};

struct litmus_target {
    char *name, *kind;
    const char *status; /* "targeted", "injected", "reverted" */
};

struct litmus {
    struct kube *kube;
    struct litmus_env env;
    struct latch *abort; /* set by SIGTERM and SIGINT */
    char *result_name;
    char *result_uid, *engine_uid;
    struct litmus_probe *probes;
    size_t n_probes;
    struct litmus_target *targets;
    size_t n_targets;
    struct json *annotations; /* more of our own, for the ChaosResult; an object of texts; NULL */
    enum litmus_verdict verdict;
    const char *phase; /* "PreChaos", "ChaosInject", "PostChaos": where an error is said to be */
    char *error_code, *error_reason; /* of an Error; NULL: none */
};

/* Any of them; takes nothing, copies. A mode as in litmus ("EOT"). */
struct litmus_probe *litmus_probe_add(struct litmus *l, const char *name, const char *type,
                                      const char *mode);
void litmus_target_add(struct litmus *l, const char *name, const char *kind, const char *status);
/* The first one counts: what follows a failure is its consequence. `code`: "GENERIC_ERROR" …;
 * the reason's JSON text is made here. */
void litmus_fail(struct litmus *l, const char *code, const char *target, const char *reason);

/* ---- the ChaosResult (result.c) ---- */

/* Pure: what the state says, into the object's spec and status; folds annotations
 * `kind/name: injected|reverted|targeted` into the history. */
struct litmus_end {
    const char *phase; /* "Completed", "Completed_With_Probe_Failure", "Stopped", "Error" */
    enum litmus_verdict verdict;
    unsigned percentage;
};
struct litmus_end litmus_judge(const struct litmus *l);
void litmus_put_start(const struct litmus *l, const struct json *pod_labels, struct json *object);
void litmus_put_end(const struct litmus *l, struct json *object);

int litmus_result_start(struct litmus *l, struct err *err) MUST_CHECK;
int litmus_result_end(struct litmus *l, struct err *err) MUST_CHECK;
const char *litmus_verdict_name(enum litmus_verdict v); /* "Pass" */

/* ---- events (event.c): failures are ignored upstream, and logged here ---- */

void litmus_event_result(struct litmus *l, const char *reason, const char *type,
                         const char *message);
void litmus_event_engine(struct litmus *l, const char *reason, const char *type,
                         const char *message);

/* ---- the whole life (life.c) ---- */

struct litmus_experiment {
    const char *name;
    /* Between the checks: inject, wait, revert, judge by probes. Says what went wrong by
     * litmus_fail; says ChaosInject itself, at the instant it is true. */
    void (*drive)(struct litmus *l, void *arg);
    void *arg;
};
/* 0 once it ran, whatever the verdict: anything else makes the Job run it again. Also when the
 * verdict could not be written: err is set then, and the pod's log is all that is left. 1 after a
 * SIGTERM, as upstream; a negative code when it could not begin, err says why. */
int litmus_live(struct litmus *l, const struct litmus_experiment *x, struct err *err);
/* Opens the API and reads the common env. On failure nothing is left to free. */
int litmus_open(struct litmus *l, const char *name, const char *kubeconfig, struct arena *arena,
                struct err *err) MUST_CHECK;
void litmus_done(struct litmus *l);

#endif
