/* What users felt of a fault, on traffic whose truth is known: 100 ms ticks are fed by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "campaign/state.h"

#define SEC NS_PER_SEC
#define MS NS_PER_MS

/* One stretch of traffic: from the end of the one before it until `until`. */
struct stretch {
    uint64_t until_ns;
    unsigned ok, fail; /* per tick */
    uint64_t latency_ns;
};

struct story {
    const char *what;
    double rate; /* wanted, per second */
    uint64_t effective_ns, reverted_ns;
    struct stretch traffic[6];
    bool felt;
    uint64_t impact_ns, recover_ns; /* T_NONE: never */
    uint64_t lost;
};

static const struct story stories[] = {
    { "an outage of two seconds",
      100,
      10 * SEC,
      12 * SEC,
      { { 10 * SEC, 10, 0, 5 * MS }, { 12 * SEC, 0, 10, MS }, { 30 * SEC, 10, 0, 5 * MS } },
      true,
      0,
      2 * SEC,
      200 },
    { "an outage that outlasts the removal",
      100,
      10 * SEC,
      11 * SEC,
      { { 10 * SEC, 10, 0, 5 * MS }, { 14 * SEC, 0, 10, MS }, { 30 * SEC, 10, 0, 5 * MS } },
      true,
      0,
      4 * SEC,
      400 },
    { "never well again",
      100,
      10 * SEC,
      11 * SEC,
      { { 10 * SEC, 10, 0, 5 * MS }, { 30 * SEC, 5, 5, 5 * MS } },
      true,
      0,
      T_NONE,
      1000 },
    { "not felt at all",
      100,
      10 * SEC,
      12 * SEC,
      { { 30 * SEC, 10, 0, 5 * MS } },
      false,
      T_NONE,
      0,
      0 },
    { "slow instead of broken",
      100,
      10 * SEC,
      13 * SEC,
      { { 10 * SEC, 10, 0, 5 * MS }, { 13 * SEC, 10, 0, 200 * MS }, { 30 * SEC, 10, 0, 5 * MS } },
      true,
      0,
      3 * SEC,
      0 },
    { "silence: no answer, no error",
      100,
      10 * SEC,
      13 * SEC,
      { { 10 * SEC, 10, 0, 5 * MS }, { 13 * SEC, 0, 0, 0 }, { 30 * SEC, 10, 0, 5 * MS } },
      true,
      0,
      3 * SEC,
      0 },
    { "felt only after a while",
      100,
      10 * SEC,
      13 * SEC,
      { { 12 * SEC, 10, 0, 5 * MS }, { 13 * SEC, 0, 10, MS }, { 30 * SEC, 10, 0, 5 * MS } },
      true,
      2 * SEC,
      3 * SEC,
      100 },
    { "one slow window is no relapse",
      100,
      10 * SEC,
      12 * SEC,
      { { 10 * SEC, 10, 0, 5 * MS },
        { 12 * SEC, 0, 10, MS },
        { 13 * SEC, 10, 0, 5 * MS },
        { 13 * SEC + 200 * MS, 10, 0, 200 * MS },
        { 40 * SEC, 10, 0, 5 * MS } },
      true,
      0,
      2 * SEC,
      200 },
    { "a slow second is one",
      100,
      10 * SEC,
      12 * SEC,
      { { 10 * SEC, 10, 0, 5 * MS },
        { 12 * SEC, 0, 10, MS },
        { 13 * SEC, 10, 0, 5 * MS },
        { 14 * SEC, 10, 0, 200 * MS },
        { 40 * SEC, 10, 0, 5 * MS } },
      true,
      0,
      4 * SEC,
      200 },
    { "slow from some time on",
      100,
      10 * SEC,
      14 * SEC,
      { { 11 * SEC, 10, 0, 5 * MS }, { 14 * SEC, 10, 0, 200 * MS }, { 30 * SEC, 10, 0, 5 * MS } },
      true,
      SEC,
      4 * SEC,
      0 },
    { "a second dip within the hold time starts the hold anew",
      100,
      10 * SEC,
      12 * SEC,
      { { 10 * SEC, 10, 0, 5 * MS },
        { 12 * SEC, 0, 10, MS },
        { 14 * SEC, 10, 0, 5 * MS },
        { 15 * SEC, 0, 10, MS },
        { 40 * SEC, 10, 0, 5 * MS } },
      true,
      0,
      5 * SEC,
      300 },
};

struct world {
    struct campaign_opts opts;
    struct plan plan;
    struct fault_plan fault;
    struct fault_kind kind;
    struct load_plan_part part;
    struct stage_plan stage;
    struct campaign c;
    struct slot slot;
    struct felt felt;
};

static void world_init(struct world *w, const struct story *s, struct result *r)
{
    *w = (struct world){ .kind = { .name = "kill", .backend = "process" } };
    w->fault = (struct fault_plan){ .name = "kill shop", .spec.kind = &w->kind };
    w->plan = (struct plan){ .faults = &w->fault, .n_faults = 1, .recover_hold_ns = 5 * SEC };
    w->stage = (struct stage_plan){ .duration_ns = 60 * SEC, .target = s->rate };
    w->part = (struct load_plan_part){ .kind = LOAD_OPEN,
                                       .stages = &w->stage,
                                       .n_stages = 1,
                                       .start_value = s->rate,
                                       .duration_ns = 60 * SEC };
    w->c = (struct campaign){ .opts = &w->opts,
                              .plan = &w->plan,
                              .load = { .parts = &w->part, .n_parts = 1, .n_honest = 1 },
                              .result = r,
                              .slots = &w->slot,
                              .n_slots = 1,
                              .felt = &w->felt,
                              .start_ns = 1,
                              .load_end_ns = 60 * SEC };
    w->slot = (struct slot){ .campaign = &w->c, .launched = true };
    r->faults = xcalloc(1, sizeof(*r->faults));
    r->n_faults = 1;
    r->phases = xcalloc(1, sizeof(*r->phases));
    r->phases[0] = (struct result_phase){
        .name = xstrdup("baseline"), .kind = PHASE_BASELINE, .fault = -1, .end_ns = T_NONE
    };
    r->n_phases = 1;
}

static void record(struct stats *delta, struct campaign *c, unsigned n, enum fail_class fail,
                   uint64_t latency)
{
    const struct sample sample = { .fail = fail,
                                   .status = fail ? 0 : 200,
                                   .sched = 1,
                                   .start = 1,
                                   .send = fail ? 0 : 1,
                                   .first = fail ? 0 : 1 + latency,
                                   .done = 1 + latency };

    for (unsigned i = 0; i < n; i++) {
        stats_record(delta, 0, &sample);
        if (!c->baseline.known)
            cell_record(&c->result->phases[0].cell, &sample);
    }
}

static void play(struct campaign *c, const struct story *s)
{
    struct stats *delta = stats_new(1);
    const struct stretch *now = s->traffic;
    uint64_t t;

    for (t = TICK_NS; now->until_ns; t += TICK_NS) {
        record(delta, c, now->ok, FAIL_NONE, now->latency_ns);
        record(delta, c, now->fail, FAIL_REFUSED, now->latency_ns);
        felt_tick(c, t, delta);
        stats_clear(delta);
        if (t == s->effective_ns) {
            felt_freeze_baseline(c);
            felt_begin(c, 0, t);
        }
        if (t == s->reverted_ns)
            felt_reverted(c, 0, t);
        if (t >= now->until_ns)
            now++;
    }
    felt_end(c, t);
    stats_free(delta);
}

static void near(const char *what, const char *figure, uint64_t got, uint64_t want,
                 uint64_t tolerance)
{
    if (want == T_NONE || got == T_NONE ? got != want
                                        : got > want + tolerance || got + tolerance < want)
        fail_msg("%s: %s is %lld ms, not %lld ms", what, figure, (long long)(got / MS),
                 (long long)(want / MS));
}

static void test_stories(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(stories); i++) {
        const struct story *s = &stories[i];
        struct result *r = result_new();
        struct world w;

        world_init(&w, s, r);
        play(&w.c, s);
        const struct result_fault *f = &r->faults[0];
        if (f->felt != s->felt)
            fail_msg("%s: felt is %d", s->what, f->felt);
        near(s->what, "time to impact", f->time_to_impact_ns, s->impact_ns, f->resolution_ns);
        near(s->what, "time to recover", f->time_to_recover_ns, s->recover_ns, f->resolution_ns);
        /* what is lost is exact to one window of traffic */
        uint64_t slack = (uint64_t)s->rate * f->resolution_ns / SEC + 10;
        if (s->recover_ns != T_NONE &&
            (f->requests_lost > s->lost + slack || f->requests_lost + slack < s->lost))
            fail_msg("%s: lost %llu, not %llu", s->what, (unsigned long long)f->requests_lost,
                     (unsigned long long)s->lost);
        result_free(r);
    }
}

static void test_few_requests_need_longer_windows(void **state)
{
    const struct story slow = { "two a second", 2, 10 * SEC, 12 * SEC, { { 30 * SEC, 0, 0, MS } },
                                false,          0, 0,        0 };
    struct result *r = result_new();
    struct world w;

    (void)state;
    world_init(&w, &slow, r);
    w.c.baseline = (struct baseline){ .known = true, .ok_per_unit_second = 1, .slow_ns = SEC };
    felt_begin(&w.c, 0, 10 * SEC);
    assert_true(w.felt.window_ns == 5 * SEC);
    w.stage.target = w.part.start_value = 1000;
    w.felt.active = false;
    felt_begin(&w.c, 0, 10 * SEC);
    assert_true(w.felt.window_ns == 100 * MS);
    result_free(r);
}

static void test_hold_fits_before_the_next_event(void **state)
{
    struct result *r = result_new();
    struct world w;

    (void)state;
    world_init(&w, &stories[0], r);
    w.c.baseline = (struct baseline){ .known = true, .ok_per_unit_second = 1, .slow_ns = SEC };
    w.c.load_end_ns = 16 * SEC;
    felt_begin(&w.c, 0, 10 * SEC);
    felt_reverted(&w.c, 0, 12 * SEC);
    assert_true(w.felt.hold_ns == 2 * SEC);
    result_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_stories),
                                        cmocka_unit_test(test_few_requests_need_longer_windows),
                                        cmocka_unit_test(test_hold_fits_before_the_next_event) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
