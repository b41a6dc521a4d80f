/* Thresholds against a result whose numbers are known. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "campaign/state.h"

#define SEC NS_PER_SEC
#define MS NS_PER_MS

/* Baseline, 10 s: 100 requests to GET / at 10 ms, 100 to GET /slow at 100 ms.
 * Inject, 5 s: 50 to GET / at 50 ms, 50 refused.  Recovery, 5 s: 100 to GET / at 20 ms. */
static const struct {
    const char *text;
    bool has_value, ok;
    double value; /* in the result's unit */
} cases[] = {
    { "response_time: max < 60ms in inject", true, true, 50 },
    { "response_time: p(95) < 60ms in baseline", true, false, 100 },
    { "response_time{GET /}: p(95) < 60ms in baseline", true, true, 10 },
    { "response_time{GET /}: avg < 15ms in recovery", true, false, 20 },
    { "response_time: max < 1s", true, true, 100 },
    { "errors: rate < 1% in baseline", true, true, 0 },
    { "errors: rate < 1%", true, false, 0.125 },
    { "errors: rate <= 50% in inject", true, true, 0.5 },
    { "errors: count < 50", true, false, 50 },
    { "errors{class:refused}: count == 50", true, true, 50 },
    { "errors{class:reset}: count == 0", true, true, 0 },
    { "requests: rate > 19/s in baseline", true, true, 20 },
    { "requests: count == 400", true, true, 400 },
    { "response_time: max < 5ms in cool-down", false, false, 0 },
    { "response_time{GET /}: med < baseline + 150% in recovery", true, true, 20 },
    { "response_time{GET /}: med < baseline + 50% in recovery", true, false, 20 },
    { "response_time{GET /}: med < baseline + 11ms in recovery", true, true, 20 },
    { "errors: rate < 60% during kill shop", true, true, 0.5 },
    { "recovery_time: max < 5s", true, true, 2000 },
    { "recovery_time: max < 1s", true, false, 2000 },
    { "requests_lost: max <= 50", true, true, 50 },
    { "time_to_impact: max < 1s", true, true, 100 },
};

static void put(struct result *r, uint32_t phase, uint32_t endpoint, unsigned n, uint64_t ns,
                enum fail_class fail)
{
    const struct sample s = { .task = endpoint,
                              .fail = fail,
                              .sched = 1,
                              .start = 1,
                              .send = fail ? 0 : 1,
                              .first = fail ? 0 : 1 + ns,
                              .done = 1 + ns };
    struct result_phase *p = &r->phases[phase];

    if (!p->endpoints[endpoint])
        p->endpoints[endpoint] = cell_new();
    for (unsigned i = 0; i < n; i++) {
        cell_record(p->endpoints[endpoint], &s);
        cell_record(&p->cell, &s);
        cell_record(&r->endpoints[endpoint].cell, &s);
        cell_record(&r->total, &s);
    }
}

static struct result *known_result(void)
{
    static const struct {
        const char *name;
        enum phase_kind kind;
        uint64_t start, end;
        int fault;
    } phases[] = { { "baseline", PHASE_BASELINE, 0, 10 * SEC, -1 },
                   { "inject kill shop", PHASE_INJECT, 10 * SEC, 15 * SEC, 0 },
                   { "recovery after kill shop", PHASE_RECOVERY, 15 * SEC, 20 * SEC, 0 } };
    struct result *r = result_new();

    r->duration_ns = 20 * SEC;
    r->n_endpoints = 2;
    r->endpoints = xcalloc(2, sizeof(*r->endpoints));
    r->endpoints[0].name = xstrdup("GET /");
    r->endpoints[1].name = xstrdup("GET /slow");
    r->phases = xcalloc(ARRAY_LEN(phases), sizeof(*r->phases));
    r->n_phases = ARRAY_LEN(phases);
    for (size_t i = 0; i < ARRAY_LEN(phases); i++)
        r->phases[i] = (struct result_phase){ .name = xstrdup(phases[i].name),
                                              .kind = phases[i].kind,
                                              .start_ns = phases[i].start,
                                              .end_ns = phases[i].end,
                                              .fault = phases[i].fault,
                                              .endpoints = xcalloc(2, sizeof(struct cell *)) };
    put(r, 0, 0, 100, 10 * MS, FAIL_NONE);
    put(r, 0, 1, 100, 100 * MS, FAIL_NONE);
    put(r, 1, 0, 50, 50 * MS, FAIL_NONE);
    put(r, 1, 0, 50, MS, FAIL_REFUSED);
    put(r, 2, 0, 100, 20 * MS, FAIL_NONE);
    r->faults = xcalloc(1, sizeof(*r->faults));
    r->n_faults = 1;
    r->faults[0] = (struct result_fault){ .name = xstrdup("kill shop"),
                                          .felt = true,
                                          .time_to_impact_ns = 100 * MS,
                                          .time_to_recover_ns = 2 * SEC,
                                          .requests_lost = 50 };
    return r;
}

static void test_cases(void **state)
{
    struct arena *arena = arena_new(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct result *r = known_result();
        struct threshold t;
        struct err err = { 0 };
        struct fault_plan fault = { .name = "kill shop" };
        struct plan plan = { .thresholds = &t, .n_thresholds = 1, .faults = &fault, .n_faults = 1 };
        struct slot slot = { 0 };
        struct felt felt = { .window_ns = 100 * MS };
        struct campaign c = {
            .plan = &plan, .result = r, .slots = &slot, .n_slots = 1, .felt = &felt
        };

        if (threshold_parse(cases[i].text, arena, &t, &err) < 0)
            fail_msg("%s: %s", cases[i].text, err.msg);
        evaluate_init(&c);
        evaluate_end(&c);
        const struct result_threshold *got = &r->thresholds[0];
        if (got->has_value != cases[i].has_value || got->ok != cases[i].ok ||
            (got->has_value &&
             fabs(got->value - cases[i].value) > fabs(cases[i].value) * 0.002 + 1e-9))
            fail_msg("%s: has_value %d ok %d value %g", cases[i].text, got->has_value, got->ok,
                     got->value);
        evaluate_done(&c);
        result_free(r);
    }
    arena_free(arena);
}

static void test_not_recovered_is_a_lower_bound_and_never_ok(void **state)
{
    struct arena *arena = arena_new(0);
    struct result *r = known_result();
    struct threshold t;
    struct fault_plan fault = { .name = "kill shop" };
    struct plan plan = { .thresholds = &t, .n_thresholds = 1, .faults = &fault, .n_faults = 1 };
    struct slot slot = { 0 };
    struct felt felt = { .window_ns = 100 * MS, .effective_ns = 12 * SEC };
    struct campaign c = { .plan = &plan, .result = r, .slots = &slot, .n_slots = 1, .felt = &felt };

    (void)state;
    r->faults[0].time_to_recover_ns = T_NONE;
    assert_int_equal(threshold_parse("recovery_time: max < 60s", arena, &t, NULL), 0);
    evaluate_init(&c);
    evaluate_end(&c);
    assert_true(r->thresholds[0].at_least && r->thresholds[0].has_value && !r->thresholds[0].ok);
    assert_true(fabs(r->thresholds[0].value - 8000) < 1);
    evaluate_done(&c);
    result_free(r);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases),
                                        cmocka_unit_test(
                                            test_not_recovered_is_a_lower_bound_and_never_ok) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
