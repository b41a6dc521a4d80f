/* The ChaosResult, compared with what litmus-go's pod-delete wrote in eight real runs
 * (tests/golden/litmus): the first version, and the last one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chaoslib/litmus/litmus.h"

static struct json *golden(const char *name)
{
    auto_free char *path = xasprintf("%s/litmus/litmus-pod-delete%s.json", GOLDEN_DIR, name);
    auto_buf struct buf text = BUF_INIT(0);
    struct json *j = NULL;
    struct err err = { 0 };
    char piece[4096];
    size_t n;
    FILE *f = fopen(path, "re");

    assert_non_null(f);
    while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
        buf_add(&text, piece, n);
    fclose(f);
    assert_int_equal(json_parse(buf_str(&text), text.len, &j, &err), 0);
    return j;
}

/* Equal but for the order of keys; says where not. */
// NOLINTNEXTLINE(misc-no-recursion): as deep as a ChaosResult
static void same(const struct json *a, const struct json *b, const char *where)
{
    auto_free char *text_a = a ? json_print(a, false) : xstrdup("nothing");
    auto_free char *text_b = b ? json_print(b, false) : xstrdup("nothing");

    if (!a || !b || json_is_object(a) != json_is_object(b) || json_len(a) != json_len(b))
        fail_msg("%s: %s is not %s", where, text_a, text_b);
    if (json_is_object(a)) {
        for (const struct json *m = json_first(a); m; m = json_next(m)) {
            auto_free char *below = xasprintf("%s.%s", where, json_key(m));
            same(m, json_member(b, json_key(m)), below);
        }
    } else if (json_is_array(a)) {
        const struct json *y = json_first(b);
        for (const struct json *x = json_first(a); x; x = json_next(x), y = json_next(y))
            same(x, y, where);
    } else if (strcmp(text_a, text_b) != 0) {
        fail_msg("%s: %s is not %s", where, text_a, text_b);
    }
}

/* ---- what each run came to ---- */

struct told {
    const char *name, *type, *mode, *description;
    enum litmus_probe_verdict verdict;
    bool stops;
};

static const struct run {
    const char *file, *list; /* where the versions are */
    const char *engine;
    enum litmus_verdict verdict;
    const char *code, *target, *reason, *phase;
    bool has_target;
    struct told probes[3];
} runs[] = {
    { ".chaosresult", "versions", "golden", .has_target = true },
    { "-health", "result", "health", .has_target = true },
    { "-abort", "result", "abort", LITMUS_STOPPED, .has_target = true },
    { "-notfound", "result", "notfound", LITMUS_ERROR, "TARGET_SELECTION_ERROR",
      "[{namespace: default, kind: deployment, labels: [app=nothere]}]", "no target pods found",
      "ChaosInject", .has_target = false },
    { "-probes", "result", "probes", .has_target = true,
      .probes = { { "cmd-ok", "cmdProbe", "Edge", "Actual value: '3'. Expected value: '3'",
                    PROBE_PASSED, false },
                  { "http-cont", "httpProbe", "Continuous",
                    "The URL http://10.96.220.225/index.html did respond with correct status code. "
                    "Actual code: '200'. Expected code: '200'",
                    PROBE_PASSED, false },
                  { "k8s-present", "k8sProbe", "EOT",
                    "Probe successfully performed the 'present' operation on the specified "
                    "Kubernetes resource",
                    PROBE_PASSED, false } } },
    { "-probefail", "result", "probefail", .has_target = true,
      .probes = { { "cmd-bad", "cmdProbe", "EOT",
                    "Actual value: 2. Expected value: greater than or equal to 3", PROBE_FAILED,
                    false } } },
    { "-sotfail", "result", "sotfail", LITMUS_ERROR, "CMD_PROBE_ERROR", "{name: cmd-sot}",
      "unable to run command: ", "PreChaos",
      .probes = { { "cmd-sot", "cmdProbe", "SOT", NULL, PROBE_AWAITED, false } } },
    { "-stoponfail", "result", "stoponfail", LITMUS_STOPPED, .has_target = true,
      .probes = { { "cmd-soft", "cmdProbe", "Continuous",
                    "Actual value: 1. Expected value: greater than or equal to 3", PROBE_FAILED,
                    true } } },
};

static void begin(struct litmus *l, const struct run *run, const char *uid)
{
    memset(l, 0, sizeof(*l));
    l->env = (struct litmus_env){ .engine = run->engine,
                                  .experiment = "pod-delete",
                                  .ns = "default",
                                  .uid = uid,
                                  .pod = "",
                                  .instance = "" };
    l->phase = "PreChaos";
    for (size_t i = 0; i < ARRAY_LEN(run->probes) && run->probes[i].name; i++)
        litmus_probe_add(l, run->probes[i].name, run->probes[i].type, run->probes[i].mode);
}

static void come_to(struct litmus *l, const struct run *run)
{
    for (size_t i = 0; i < l->n_probes; i++) {
        const struct told *t = &run->probes[i];
        l->probes[i].verdict = t->verdict;
        l->probes[i].stops = t->stops;
        l->probes[i].description = t->description ? xstrdup(t->description) : NULL;
    }
    if (run->has_target)
        litmus_target_add(l, "web", "deployment", "targeted");
    if (run->phase)
        l->phase = run->phase;
    if (run->verdict == LITMUS_ERROR)
        litmus_fail(l, run->code, run->target, run->reason);
    else
        l->verdict = run->verdict;
}

/* The error's reason is a JSON text: compared as JSON, too. */
static void same_error(const struct json *ours, const struct json *theirs)
{
    static const char path[] = "status.experimentStatus.errorOutput.reason";
    const char *a = json_str(ours, path, NULL), *b = json_str(theirs, path, NULL);
    auto(json) struct json *x = NULL, *y = NULL;

    assert_int_equal(!a, !b);
    if (!a)
        return;
    assert_int_equal(json_parse(a, strlen(a), &x, NULL), 0);
    assert_int_equal(json_parse(b, strlen(b), &y, NULL), 0);
    same(x, y, "reason");
}

static void drop_reason(struct json *object)
{
    struct json *s = json_member_mutable(json_member_mutable(object, "status"), "experimentStatus");
    struct json *output = json_member_mutable(s, "errorOutput");

    if (output)
        json_free(json_take(output, "reason"));
}

static void try_run(const struct run *run)
{
    auto(json) struct json *file = golden(run->file);
    const struct json *versions = json_get(file, run->list);
    size_t before = json_len(versions) == 3; /* that of an earlier run of an engine of that name */
    const struct json *first = json_get(json_at(versions, before), "object");
    auto(json) struct json *ours =
        before ? json_copy(json_get(json_at(versions, 0), "object")) : json_object();
    auto(json) struct json *last =
        json_copy(json_get(json_at(versions, json_len(versions) - 1), "object"));
    const struct json *labels = json_get(first, "metadata.labels");
    struct litmus l;

    begin(&l, run, json_str(labels, "chaosUID", ""));
    litmus_put_start(&l, labels, ours);
    same(json_get(ours, "metadata.labels"), labels, "labels");
    same(json_get(ours, "spec"), json_get(first, "spec"), "spec");
    same(json_get(ours, "status"), json_get(first, "status"), "status");
    come_to(&l, run);
    litmus_put_end(&l, ours);
    same_error(ours, last);
    drop_reason(ours);
    drop_reason(last);
    same(json_get(ours, "spec"), json_get(last, "spec"), "spec");
    same(json_get(ours, "status"), json_get(last, "status"), "status");
    litmus_done(&l);
}

static void results_are_those_of_upstream(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(runs); i++)
        try_run(&runs[i]);
}

/* ---- what the goldens do not show ---- */

static struct json *object_of(const char *text)
{
    struct json *j = NULL;

    assert_int_equal(json_parse(text, strlen(text), &j, NULL), 0);
    return j;
}

static void annotations_are_folded_and_others_kept(void **state)
{
    auto(json) struct json *object = object_of(
        "{\"metadata\":{\"annotations\":{\"pod/a\":\"injected\",\"pod/b\":\"Reverted\","
        "\"note\":\"mine\",\"bare\":\"injected\"}},\"status\":{\"history\":{\"passedRuns\":3,"
        "\"targets\":[{\"name\":\"a\",\"kind\":\"pod\",\"chaosStatus\":\"targeted\"}]}}}");
    auto(json) struct json *wanted = object_of(
        "{\"passedRuns\":4,\"failedRuns\":0,\"stoppedRuns\":0,\"targets\":[{\"name\":\"a\","
        "\"kind\":"
        "\"pod\",\"chaosStatus\":\"injected\"},{\"name\":\"b\",\"kind\":\"pod\",\"chaosStatus\":"
        "\"reverted\"}]}");
    struct litmus l = { .env = { .instance = "" }, .phase = "PostChaos" };

    (void)state;
    l.annotations = object_of("{\"chaos-load/verdict\":\"Pass\"}");
    litmus_put_end(&l, object);
    same(json_get(object, "status.history"), wanted, "history");
    assert_int_equal(json_len(json_get(object, "metadata.annotations")), 3);
    json_free(l.annotations);
}

static void a_second_run_keeps_the_counts_alone(void **state)
{
    auto(json) struct json *object = object_of(
        "{\"metadata\":{\"labels\":{\"old\":\"x\"}},\"spec\":{\"engine\":\"e\"},\"status\":{"
        "\"experimentStatus\":{\"phase\":\"Error\",\"errorOutput\":{\"errorCode\":\"X\"}},"
        "\"history\":{\"passedRuns\":3,\"failedRuns\":1,\"stoppedRuns\":2,\"targets\":[{\"name\":"
        "\"a\"}]},"
        "\"probeStatuses\":[{\"name\":\"p\"}]}}");
    auto(json) struct json *wanted = object_of(
        "{\"experimentStatus\":{\"phase\":\"Running\",\"verdict\":\"Awaited\","
        "\"probeSuccessPercentage\":\"Awaited\"},\"history\":{\"passedRuns\":3,\"failedRuns\":1,"
        "\"stoppedRuns\":2}}");
    struct litmus l = { .env = { .engine = "e", .experiment = "x", .instance = "i1", .uid = "u" } };

    (void)state;
    litmus_put_start(&l, NULL, object);
    same(json_get(object, "status"), wanted, "status");
    assert_string_equal(json_str(object, "spec.instance", ""), "i1");
    assert_int_equal(json_len(json_get(object, "metadata.labels")), 1);
}

static const struct {
    enum litmus_verdict said;
    enum litmus_probe_verdict a, b;
    bool stops;
    struct litmus_end end;
} judged[] = {
    { LITMUS_AWAITED, PROBE_PASSED, PROBE_PASSED, false, { "Completed", LITMUS_PASS, 100 } },
    { LITMUS_AWAITED,
      PROBE_PASSED,
      PROBE_FAILED,
      false,
      { "Completed_With_Probe_Failure", LITMUS_FAIL, 50 } },
    { LITMUS_ERROR,
      PROBE_PASSED,
      PROBE_FAILED,
      false,
      { "Completed_With_Probe_Failure", LITMUS_FAIL, 50 } },
    { LITMUS_ERROR, PROBE_PASSED, PROBE_AWAITED, false, { "Error", LITMUS_ERROR, 0 } },
    { LITMUS_STOPPED, PROBE_PASSED, PROBE_AWAITED, false, { "Stopped", LITMUS_STOPPED, 50 } },
    { LITMUS_STOPPED,
      PROBE_FAILED,
      PROBE_AWAITED,
      false,
      { "Completed_With_Probe_Failure", LITMUS_FAIL, 0 } },
    { LITMUS_AWAITED, PROBE_FAILED, PROBE_PASSED, true, { "Stopped", LITMUS_STOPPED, 50 } },
};

static void verdicts_are_ranked(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(judged); i++) {
        struct litmus_probe p[2] = { { .verdict = judged[i].a, .stops = judged[i].stops },
                                     { .verdict = judged[i].b } };
        struct litmus l = { .probes = p, .n_probes = 2, .verdict = judged[i].said };
        struct litmus_end end = litmus_judge(&l);

        if (strcmp(end.phase, judged[i].end.phase) != 0 || end.verdict != judged[i].end.verdict ||
            end.percentage != judged[i].end.percentage)
            fail_msg("row %zu: %s %d %u", i, end.phase, (int)end.verdict, end.percentage);
    }
}

static void set(const char *name, const char *value)
{
    setenv(name, value, 1); // NOLINT(concurrency-mt-unsafe): there is one thread
}

static void the_environment_is_read_by_its_names(void **state)
{
    auto(arena) struct arena *arena = arena_new(0);
    struct litmus_env env;
    struct diag diag;

    (void)state;
    set("CHAOSENGINE", "e1");
    set("RAMP_TIME", ""); /* empty: as if it were not there */
    set("TOTAL_CHAOS_DURATION", "45");
    set("DEFAULT_HEALTH_CHECK", "false");
    diag_init(&diag);
    assert_int_equal(litmus_env_read(&litmus_env_table, arena, &diag, &env), 0);
    assert_string_equal(env.engine, "e1");
    assert_int_equal(env.duration_s, 45);
    assert_int_equal(env.ramp_s, 0);
    assert_false(env.default_health_check);
    set("TOTAL_CHAOS_DURATION", "soon");
    set("DEFAULT_HEALTH_CHECK", "maybe");
    assert_int_equal(litmus_env_read(&litmus_env_table, arena, &diag, &env), 2);
    assert_non_null(strstr(buf_str(&diag.text), "TOTAL_CHAOS_DURATION"));
    assert_non_null(strstr(buf_str(&diag.text), "DEFAULT_HEALTH_CHECK"));
    diag_done(&diag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_those_of_upstream),
        cmocka_unit_test(annotations_are_folded_and_others_kept),
        cmocka_unit_test(a_second_run_keeps_the_counts_alone),
        cmocka_unit_test(verdicts_are_ranked),
        cmocka_unit_test(the_environment_is_read_by_its_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
