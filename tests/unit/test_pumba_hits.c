/* The events of all recorded runs of a real Pumba are replayed: what it hit, when, and when that
 * was over must come out of them. Then what nobody recorded: other people's doings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "chaoslib/pumba/hits.h"
#include "tests/unit/golden_pumba.h"

/* Whose a side-car is, is in no event: the run asks the engine, the replay the log. */
static void feed_golden(struct pumba_hits *h, const struct json *run)
{
    const struct json *first = json_first(json_get(run, "log"));
    const char *name = json_str(first, "name", "/");
    struct docker_event e;

    for (const struct json *j = json_first(json_get(run, "events")); j; j = json_next(j)) {
        golden_event(j, &e);
        pumba_hits_feed(h, &e);
        if (e.pumba && strcmp(e.action, "create") == 0)
            pumba_hits_sidecar(h, e.id, json_str(first, "id", ""), name + 1, false);
    }
}

static const struct {
    const char *name;
    const char *deed; /* of all hits; NULL: none */
    size_t n, n_reverted;
    bool failed;
    const char *detail;
} goldens[] = {
    { "bad-signal", NULL, 0, 0, false, NULL },
    { "dry-run", NULL, 0, 0, false, NULL },
    { "exec", NULL, 0, 0, false, NULL },
    { "iptables-loss", "iptables", 1, 1, false,
      "-i eth0 -m statistic --mode random --probability 0.50 -j DROP" },
    { "iptables-loss-sigterm", "iptables", 1, 1, false, NULL },
    { "kill-interval-random", "kill", 2, 0, false, "signal 9" },
    { "kill-one", "kill", 1, 0, false, "signal 9" },
    { "kill-regex-limit", "kill", 1, 0, false, NULL },
    { "kill-sigterm", "stop", 1, 0, false, "signal 15" },
    { "label", "pause", 2, 2, false, "" },
    { "netem-delay-no-kernel", "netem", 1, 0, true, "delay 200ms 10ms 20.00" },
    { "no-match", NULL, 0, 0, false, NULL },
    { "pause", "pause", 2, 2, false, NULL },
    { "pause-interval", "pause", 3, 3, false, NULL },
    { "pause-sigkill", "pause", 1, 0, false, NULL },
    { "pause-sigterm", "pause", 1, 1, false, NULL },
    { "restart", "restart", 1, 1, false, NULL },
    { "rm", "rm", 1, 0, false, NULL },
    { "stop", "stop", 1, 0, false, NULL },
    { "stop-restart", "stop", 1, 1, false, NULL },
};

static void every_recorded_run_is_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        auto(json) struct json *run = golden_read(goldens[i].name);
        struct pumba_hits *h = pumba_hits_new(false, NULL, NULL);
        size_t n_reverted = 0;

        assert_non_null(run);
        feed_golden(h, run);
        if (pumba_hits_n(h) != goldens[i].n)
            fail_msg("%s: %zu hits, not %zu", goldens[i].name, pumba_hits_n(h), goldens[i].n);
        for (size_t k = 0; k < pumba_hits_n(h); k++) {
            const struct pumba_hit *hit = pumba_hits_at(h, k);

            if (strcmp(pumba_deed_name(hit->deed), goldens[i].deed) != 0)
                fail_msg("%s: a %s", goldens[i].name, pumba_deed_name(hit->deed));
            assert_false(hit->foreign);
            assert_int_equal(hit->failed, goldens[i].failed);
            assert_int_equal(hit->effective_ns == 0, goldens[i].failed);
            assert_true(!hit->reverted_ns || hit->reverted_ns > hit->effective_ns);
            if (goldens[i].detail)
                assert_string_equal(hit->detail, goldens[i].detail);
            assert_string_equal(json_str(json_get(run, "targets"), hit->name, ""), hit->id);
            n_reverted += hit->reverted_ns != 0;
        }
        assert_int_equal(n_reverted, goldens[i].n_reverted);
        pumba_hits_free(h);
    }
}

/* Every death the engine reports of a container that is no side-car is a hit, at that very instant.
 */
static void no_death_is_missed(void **state)
{
    size_t deaths = 0, found = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        auto(json) struct json *run = golden_read(goldens[i].name);
        struct pumba_hits *h = pumba_hits_new(false, NULL, NULL);
        struct docker_event e;

        feed_golden(h, run);
        for (const struct json *j = json_first(json_get(run, "events")); j; j = json_next(j)) {
            golden_event(j, &e);
            if (e.pumba || strcmp(e.action, "die") != 0)
                continue;
            deaths++;
            for (size_t k = 0; k < pumba_hits_n(h); k++)
                found += pumba_hits_at(h, k)->effective_ns == e.mono_ns &&
                         strcmp(pumba_hits_at(h, k)->id, e.id) == 0;
        }
        pumba_hits_free(h);
    }
    assert_int_equal(deaths, 9);
    assert_int_equal(found, deaths);
}

/* The side-car's exec that ended says when, not the log, and not its own beginning or end. */
static void a_sidecars_instants_are_those_of_its_tool(void **state)
{
    auto(json) struct json *run = golden_read("iptables-loss");
    struct pumba_hits *h = pumba_hits_new(false, NULL, NULL);
    const struct pumba_hit *hit;

    (void)state;
    feed_golden(h, run);
    hit = pumba_hits_at(h, 0);
    assert_int_equal(hit->effective_ns / NS_PER_MS, 1795245438513);
    assert_true(hit->requested_ns < hit->effective_ns);
    assert_in_range(hit->reverted_ns - hit->effective_ns, 2900 * NS_PER_MS, 3200 * NS_PER_MS);
    pumba_hits_free(h);
}

/* ---- made up ---- */

struct step {
    uint64_t at_ms;
    const char *action, *id, *detail;
    int exit_code;
    bool pumba;
};

static void feed_steps(struct pumba_hits *h, const struct step *steps, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct docker_event e = { .type = "container",
                                  .exit_code = steps[i].exit_code,
                                  .pumba = steps[i].pumba,
                                  .mono_ns = (1000 + steps[i].at_ms) * NS_PER_MS };
        const char *detail = steps[i].detail ? steps[i].detail : "";

        snprintf(e.action, sizeof(e.action), "%s", steps[i].action);
        snprintf(e.id, sizeof(e.id), "%s", steps[i].id);
        snprintf(e.name, sizeof(e.name), "name-%s", steps[i].id);
        if (strcmp(e.action, "kill") == 0)
            snprintf(e.signal, sizeof(e.signal), "%s", detail);
        else
            snprintf(e.detail, sizeof(e.detail), "%s", detail);
        pumba_hits_feed(h, &e);
        if (e.pumba && strcmp(e.action, "create") == 0)
            pumba_hits_sidecar(h, e.id, "a", "name-a", strcmp(detail, "stress") == 0);
    }
}

static void other_peoples_doings_are_told_apart(void **state)
{
    static const struct step steps[] = {
        { 0, "kill", "a", "15", 0, false },
        { 10, "die", "a", NULL, 143, false },
        { 12, "stop", "a", NULL, 0, false }, /* docker stop */
        { 5000, "start", "a", NULL, 0, false },
        { 6000, "die", "b", NULL, 1, false },                        /* a crash */
        { 7000, "exec_create", "c", "wget -q localhost", 0, false }, /* a health check */
        { 7010, "exec_die", "c", NULL, 0, false },
        { 8000, "kill", "d", "1", 0, false },   /* SIGHUP */
        { 100000, "die", "d", NULL, 0, false }, /* much later */
    };
    struct pumba_hits *h = pumba_hits_new(false, NULL, NULL);

    (void)state;
    feed_steps(h, steps, ARRAY_LEN(steps));
    assert_int_equal(pumba_hits_n(h), 1);
    assert_true(pumba_hits_at(h, 0)->foreign);
    assert_int_equal(pumba_hits_at(h, 0)->reverted_ns, 6000 * NS_PER_MS);
    pumba_hits_free(h);
    h = pumba_hits_new(true, NULL, NULL);
    feed_steps(h, steps, ARRAY_LEN(steps));
    assert_int_equal(pumba_hits_n(h), 3);
    assert_int_equal(pumba_hits_at(h, 1)->deed, PUMBA_DID_DIE);
    assert_string_equal(pumba_hits_at(h, 1)->detail, "exit code 1");
    pumba_hits_free(h);
}

static void podman_does_not_tell_the_signal(void **state)
{
    static const struct step steps[] = {
        { 0, "kill", "a", NULL, 0, false },    { 30, "die", "a", NULL, 137, false },
        { 900, "start", "a", NULL, 0, false }, { 5000, "kill", "b", NULL, 0, false },
        { 5030, "die", "b", NULL, 0, false },
    };
    struct pumba_hits *h = pumba_hits_new(false, NULL, NULL);

    (void)state;
    feed_steps(h, steps, ARRAY_LEN(steps));
    assert_int_equal(pumba_hits_n(h), 2);
    assert_int_equal(pumba_hits_at(h, 0)->deed, PUMBA_DID_KILL);
    assert_string_equal(pumba_hits_at(h, 0)->detail, "signal SIGKILL");
    assert_int_equal(pumba_hits_at(h, 1)->deed, PUMBA_DID_STOP);
    assert_string_equal(pumba_hits_at(h, 1)->detail, "signal unknown");
    pumba_hits_free(h);
}

static void a_scoped_netem_counts_from_its_last_filter_to_its_first_delete(void **state)
{
    static const struct step steps[] = {
        { 0, "create", "s", NULL, 0, true },
        { 50, "start", "s", NULL, 0, true },
        { 60, "exec_start", "s", "tc qdisc add dev eth0 root handle 1: prio", 0, true },
        { 70, "exec_die", "s", NULL, 0, true },
        { 80, "exec_start", "s", "tc qdisc add dev eth0 parent 1:3 handle 30: netem loss 5.00", 0,
          true },
        { 90, "exec_die", "s", NULL, 0, true },
        { 100, "exec_start", "s", "tc filter add dev eth0 protocol ip parent 1:0 prio 1 u32", 0,
          true },
        { 110, "exec_die", "s", NULL, 0, true },
        { 120, "kill", "s", "9", 0, true },
        { 130, "die", "s", NULL, 137, true },
        { 140, "destroy", "s", NULL, 0, true },
        { 3000, "create", "t", NULL, 0, true },
        { 3060, "exec_start", "t", "tc qdisc del dev eth0 parent 1:1 handle 10:", 0, true },
        { 3070, "exec_die", "t", NULL, 0, true },
        { 3080, "exec_start", "t", "tc qdisc del dev eth0 root handle 1: prio", 0, true },
        { 3090, "exec_die", "t", NULL, 0, true },
    };
    struct pumba_hits *h = pumba_hits_new(false, NULL, NULL);
    const struct pumba_hit *hit;

    (void)state;
    feed_steps(h, steps, ARRAY_LEN(steps));
    assert_int_equal(pumba_hits_n(h), 1);
    hit = pumba_hits_at(h, 0);
    assert_string_equal(hit->name, "name-a");
    assert_string_equal(hit->detail, "loss 5.00");
    assert_int_equal(hit->requested_ns, 1000 * NS_PER_MS);
    assert_int_equal(hit->effective_ns, 1110 * NS_PER_MS);
    assert_int_equal(hit->reverted_ns, 4070 * NS_PER_MS);
    pumba_hits_free(h);
}

static void without_a_sidecar_the_target_says_it_itself(void **state)
{
    static const struct step steps[] = {
        { 0, "exec_create", "a", "tc qdisc add dev eth0 root netem delay 100ms", 0, false },
        { 5, "exec_start", "a", "tc qdisc add dev eth0 root netem delay 100ms", 0, false },
        { 9, "exec_die", "a", NULL, 0, false },
        { 1000, "exec_start", "a", "tc qdisc del dev eth0 root netem", 0, false },
        { 1009, "exec_die", "a", NULL, 2, false },
        { 2000, "exec_start", "a", "tc qdisc del dev eth0 root netem", 0, false },
        { 2009, "exec_die", "a", NULL, 0, false },
    };
    struct pumba_hits *h = pumba_hits_new(false, NULL, NULL);

    (void)state;
    feed_steps(h, steps, 5);
    assert_int_equal(pumba_hits_n(h), 1);
    assert_true(pumba_hits_at(h, 0)->revert_failed && !pumba_hits_at(h, 0)->reverted_ns);
    feed_steps(h, steps + 5, 2);
    assert_false(pumba_hits_at(h, 0)->revert_failed);
    assert_int_equal(pumba_hits_at(h, 0)->effective_ns, 1009 * NS_PER_MS);
    assert_int_equal(pumba_hits_at(h, 0)->reverted_ns, 3009 * NS_PER_MS);
    pumba_hits_free(h);
}

static void a_stress_lasts_as_long_as_its_sidecar(void **state)
{
    static const struct step steps[] = {
        { 0, "create", "s", "stress", 0, true },
        { 50, "start", "s", NULL, 0, true },
        { 4000, "die", "s", NULL, 0, true },
        { 4010, "destroy", "s", NULL, 0, true },
    };
    struct pumba_hits *h = pumba_hits_new(false, NULL, NULL);

    (void)state;
    feed_steps(h, steps, ARRAY_LEN(steps));
    assert_int_equal(pumba_hits_n(h), 1);
    assert_int_equal(pumba_hits_at(h, 0)->deed, PUMBA_DID_STRESS);
    assert_int_equal(pumba_hits_at(h, 0)->effective_ns, 1050 * NS_PER_MS);
    assert_int_equal(pumba_hits_at(h, 0)->reverted_ns, 5000 * NS_PER_MS);
    pumba_hits_free(h);
}

static void a_death_ends_what_lived_in_the_container(void **state)
{
    static const struct step steps[] = {
        { 0, "exec_start", "a", "tc qdisc add dev eth0 root netem delay 100ms", 0, false },
        { 9, "exec_die", "a", NULL, 0, false },
        { 100, "pause", "a", NULL, 0, false },
        { 200, "kill", "a", "9", 0, false },
        { 210, "die", "a", NULL, 137, false },
    };
    struct pumba_hits *h = pumba_hits_new(false, NULL, NULL);

    (void)state;
    feed_steps(h, steps, ARRAY_LEN(steps));
    assert_int_equal(pumba_hits_n(h), 3);
    assert_int_equal(pumba_hits_at(h, 0)->reverted_ns, 1210 * NS_PER_MS);
    assert_int_equal(pumba_hits_at(h, 1)->reverted_ns, 1210 * NS_PER_MS);
    assert_int_equal(pumba_hits_at(h, 2)->reverted_ns, 0);
    pumba_hits_free(h);
}

static void count(void *arg, size_t i, const struct pumba_hit *hit)
{
    size_t *n = arg;

    assert_true(i < PUMBA_HITS_MAX);
    assert_non_null(hit);
    ++*n;
}

static void memory_stays_bounded(void **state)
{
    struct pumba_hits *h;
    size_t told = 0;

    (void)state;
    h = pumba_hits_new(false, count, &told);
    for (int i = 0; i < 6000; i++) {
        char id[16];
        struct step steps[] = { { (uint64_t)i, "kill", id, "9", 0, false },
                                { (uint64_t)i, "die", id, NULL, 137, false } };
        snprintf(id, sizeof(id), "c%d", i);
        feed_steps(h, steps, ARRAY_LEN(steps));
    }
    assert_int_equal(pumba_hits_n(h), PUMBA_HITS_MAX);
    assert_int_equal(told, 2 * PUMBA_HITS_MAX);
    pumba_hits_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_run_is_understood),
        cmocka_unit_test(no_death_is_missed),
        cmocka_unit_test(a_sidecars_instants_are_those_of_its_tool),
        cmocka_unit_test(other_peoples_doings_are_told_apart),
        cmocka_unit_test(podman_does_not_tell_the_signal),
        cmocka_unit_test(a_scoped_netem_counts_from_its_last_filter_to_its_first_delete),
        cmocka_unit_test(without_a_sidecar_the_target_says_it_itself),
        cmocka_unit_test(a_stress_lasts_as_long_as_its_sidecar),
        cmocka_unit_test(a_death_ends_what_lived_in_the_container),
        cmocka_unit_test(memory_stays_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
