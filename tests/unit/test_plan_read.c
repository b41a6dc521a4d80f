/* Plans from YAML: what they become, which parts are checked together, and that mistakes are found
 * wherever they are. The exact messages are held by tests/e2e/bad_input.txt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "campaign/plan.h"
#include "edge/yaml.h"

#define SEC NS_PER_SEC
#define HEAD "target: http://127.0.0.1:9\nusers: [{tasks: [{get: /}]}]\n"
#define LOAD "load: {users: 10, for: 1m}\n"

struct reading {
    struct plan plan;
    struct diag diag;
    int rc;
};

static void read_text(struct reading *r, const char *text)
{
    struct arena *arena = arena_new(0);
    struct doc *root = NULL;

    memset(r, 0, sizeof(*r));
    diag_init(&r->diag);
    r->rc = yaml_load("plan.yaml", text, strlen(text), arena, &r->diag, &root);
    if (r->rc == 0)
        r->rc = plan_read(arena, root, &r->diag, false, &r->plan);
    r->plan.arena = arena;
}

static void read_good(struct reading *r, const char *text)
{
    read_text(r, text);
    if (r->rc < 0)
        fail_msg("%s\n%s", text, buf_str(&r->diag.text));
    assert_int_equal(r->diag.n, 0);
}

static void reading_done(struct reading *r)
{
    plan_free(&r->plan);
    diag_done(&r->diag);
}

static void test_defaults(void **state)
{
    struct reading r;

    (void)state;
    read_good(&r, HEAD);
    assert_string_equal(r.plan.api_version, PLAN_API_VERSION);
    assert_string_equal(r.plan.name, "unnamed");
    assert_string_equal(r.plan.source, "plan.yaml");
    assert_int_equal(r.plan.recover_hold_ns, 5 * SEC);
    assert_int_equal(r.plan.slo_ns, 0);
    assert_int_equal(r.plan.n_faults, 0);
    assert_null(r.plan.target_proxy);
    assert_null(r.plan.embedded);
    assert_null(r.plan.out.out_dir);
    reading_done(&r);
}

static void test_whole(void **state)
{
    struct reading r;

    (void)state;
    read_good(
        &r, "name: n\ndescription: d\ntarget: {embedded: shop}\nusers: [{tasks: [{get: /}]}]\n" LOAD
            "slo: 250ms\nrecover_hold: 3s\nsettle: 9s\n"
            "processes: [{name: db, run: sleep 1}]\n"
            "proxies: [{name: front, upstream: '127.0.0.1:81'}]\n"
            "out: {dir: o, csv: p, csv_full_history: true}\n"
            "thresholds: 'errors: rate < 1%'\n");
    assert_string_equal(r.plan.name, "n");
    assert_string_equal(r.plan.embedded, "shop");
    assert_int_equal(r.plan.slo_ns, SEC / 4);
    assert_int_equal(r.plan.settle_ns, 9 * SEC);
    assert_string_equal(r.plan.processes[0].name, "db");
    assert_string_equal(r.plan.proxies[0].upstream, "127.0.0.1:81");
    assert_string_equal(r.plan.out.out_dir, "o");
    assert_true(r.plan.out.csv_full_history);
    assert_int_equal(r.plan.n_thresholds, 1);
    reading_done(&r);
}

/* ---- faults ---- */

static const struct {
    const char *what, *yaml;
    struct fault_plan want; /* of the last fault; its name is the expected one */
} faults[] = {
    { "once",
      "{kill: {process: shop}, at: 5s}",
      { .name = "kill shop",
        .at_ns = 5 * SEC,
        .at_max_ns = 5 * SEC,
        .count = 1,
        .after_index = -1 } },
    { "at once",
      "{kill: {process: shop}, at: 0s}",
      { .name = "kill shop", .count = 1, .after_index = -1 } },
    { "again and again until the end",
      "{kill: {process: shop}, at: 5s, every: 10s}",
      { .name = "kill shop",
        .at_ns = 5 * SEC,
        .at_max_ns = 5 * SEC,
        .every_ns = 10 * SEC,
        .after_index = -1 } },
    { "so often",
      "{kill: {process: shop}, at: 5s, every: 10s, count: 3, name: k}",
      { .name = "k",
        .at_ns = 5 * SEC,
        .at_max_ns = 5 * SEC,
        .every_ns = 10 * SEC,
        .count = 3,
        .after_index = -1 } },
    { "held",
      "{pause: {process: shop}, at: 5s, duration: 1500ms, serial: true}",
      { .name = "pause shop",
        .at_ns = 5 * SEC,
        .at_max_ns = 5 * SEC,
        .duration_ns = 3 * SEC / 2,
        .count = 1,
        .serial = true,
        .after_index = -1 } },
    { "at random",
      "{kill: {process: shop}, at: 'between(5s, 7s)'}",
      { .name = "kill shop",
        .at_ns = 5 * SEC,
        .at_max_ns = 7 * SEC,
        .count = 1,
        .after_index = -1 } },
    { "after another",
      "{kill: {process: a}, at: 1s, name: x}, {kill: {process: shop}, after: x}",
      { .name = "kill shop", .count = 1, .after = "x", .after_index = 0 } },
    { "after another, later",
      "{kill: {process: a}, at: 1s}, {kill: {process: shop}, after: kill a, at: 2s}",
      { .name = "kill shop",
        .at_ns = 2 * SEC,
        .at_max_ns = 2 * SEC,
        .count = 1,
        .after = "kill a",
        .after_index = 0 } },
    { "a second of the same",
      "{kill: {process: shop}, at: 1s}, {kill: {process: shop}, at: 2s}",
      { .name = "kill shop 2",
        .at_ns = 2 * SEC,
        .at_max_ns = 2 * SEC,
        .count = 1,
        .after_index = -1 } },
    { "a default name that is taken",
      "{kill: {process: a}, at: 1s, name: kill shop}, {kill: {process: shop}, at: 2s}",
      { .name = "kill shop 2",
        .at_ns = 2 * SEC,
        .at_max_ns = 2 * SEC,
        .count = 1,
        .after_index = -1 } },
};

static void test_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        const struct fault_plan *want = &faults[i].want;
        auto_free char *text = xasprintf(HEAD LOAD "faults: [%s]\n", faults[i].yaml);
        struct reading r;

        print_message("%s\n", faults[i].what);
        read_good(&r, text);
        const struct fault_plan *f = &r.plan.faults[r.plan.n_faults - 1];
        assert_string_equal(f->name, want->name);
        assert_int_equal(f->at_ns, want->at_ns);
        assert_int_equal(f->at_max_ns, want->at_max_ns);
        assert_int_equal(f->every_ns, want->every_ns);
        assert_int_equal(f->count, want->count);
        assert_int_equal(f->duration_ns, want->duration_ns);
        assert_int_equal(f->serial, want->serial);
        assert_int_equal(f->after_index, want->after_index);
        assert_non_null(f->spec.kind);
        assert_non_null(f->doc);
        reading_done(&r);
    }
}

static void test_undeclared_proxy_stands_before_the_target(void **state)
{
    struct reading r;

    (void)state;
    read_good(&r, HEAD LOAD "faults: [{latency: {proxy: net, delay: 1s}, at: 5s, duration: 1s}]\n");
    assert_string_equal(r.plan.target_proxy, "net");
    reading_done(&r);
    read_good(&r, HEAD LOAD "proxies: [{name: net, upstream: '127.0.0.1:1'}]\n"
                            "faults: [{latency: {proxy: net, delay: 1s}, at: 5s, duration: 1s}]\n");
    assert_null(r.plan.target_proxy);
    reading_done(&r);
}

/* ---- thresholds ---- */

static const struct {
    const char *what, *yaml;
    size_t n;
    bool abort;
    uint64_t delay_ns;
} thresholds[] = {
    { "a text", "'errors: rate < 1%'", 1, false, 0 },
    { "a list", "['errors: rate < 1%', 'p(95) < 1s']", 2, false, 0 },
    { "a map in a list", "[{on: errors, is: rate < 1%, abort: true, delay: 5s}]", 1, true,
      5 * SEC },
    { "a map without on", "[{is: 'errors: rate < 1%', abort: true}]", 1, true, 0 },
    { "one map", "{on: errors, is: rate < 1%}", 1, false, 0 },
    { "k6's names in a map", "[{is: 'errors: rate < 1%', abortOnFail: true, delayAbortEval: 10s}]",
      1, true, 10 * SEC },
    { "k6's shape", "{http_req_failed: rate < 1%, http_req_duration: [p(95) < 1s, 'p(99) < 2s']}",
      3, false, 0 },
    { "nothing", "[]", 0, false, 0 },
};

static void test_thresholds(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(thresholds); i++) {
        auto_free char *text = xasprintf(HEAD LOAD "thresholds: %s\n", thresholds[i].yaml);
        struct reading r;

        print_message("%s\n", thresholds[i].what);
        read_good(&r, text);
        assert_int_equal(r.plan.n_thresholds, thresholds[i].n);
        for (size_t k = 0; k < r.plan.n_thresholds; k++) {
            assert_int_equal(r.plan.thresholds[k].abort, thresholds[i].abort);
            assert_int_equal(r.plan.thresholds[k].delay_abort_ns, thresholds[i].delay_ns);
        }
        reading_done(&r);
    }
}

/* ---- what fits together ---- */

static const struct {
    const char *what, *yaml;
    const char *why; /* NULL: it is fine */
} together[] = {
    { "cool-down with a stage to 0",
      HEAD "load: {stages: [{for: 9s, users: 5}, {for: 1s, users: 0}]}\nthresholds: ['errors: rate "
           "< 1% in cool-down']\n",
      NULL },
    { "cool-down without", HEAD LOAD "thresholds: ['errors: rate < 1% in cool-down']\n",
      "does not end with a stage" },
    { "warm-up with warmup", HEAD LOAD "warmup: 5s\nthresholds: ['errors: rate < 1% in warm-up']\n",
      NULL },
    { "baseline without faults", HEAD LOAD "thresholds: ['errors: rate < 1% in baseline']\n",
      NULL },
    { "warmup until the first fault",
      HEAD LOAD "warmup: 5s\nfaults: [{kill: {process: a}, at: 5s}]\nthresholds: ['errors: rate < "
                "1% in baseline']\n",
      "before there could be a baseline" },
    { "a phase by its name",
      HEAD LOAD "faults: [{kill: {process: a}, at: 5s}]\nthresholds: ['errors: rate < 1% in "
                "\"recovery after kill a\"']\n",
      NULL },
    { "a phase of another fault",
      HEAD LOAD "faults: [{kill: {process: a}, at: 5s}]\nthresholds: ['errors: rate < 1% in "
                "\"recovery after kill b\"']\n",
      "no phase" },
    { "dropped with arrivals",
      HEAD "load: {arrivals: {rate: 5/s, for: 9s}}\nthresholds: ['dropped: count == 0']\n", NULL },
    { "a fault at the last instant", HEAD LOAD "faults: [{kill: {process: a}, at: 60s}]\n",
      "the load ends at 1m" },
    { "a chain that ends too late",
      HEAD LOAD "faults: [{pause: {process: a}, at: 40s, duration: 15s, name: x}, {kill: {process: "
                "a}, after: x, at: 6s}]\n",
      "would begin at 1m1s" },
    { "a chain that just fits",
      HEAD LOAD "faults: [{pause: {process: a}, at: 40s, duration: 15s, name: x}, {kill: {process: "
                "a}, after: x, at: 4s}]\n",
      NULL },
    { "endless load, a fault so often",
      HEAD "load: {users: 1}\nfaults: [{kill: {process: a}, at: 5s, every: 5s, count: 3}]\n",
      NULL },
    { "400 activations",
      HEAD "load: {users: 1}\nfaults: [{kill: {process: a}, at: 5s, every: 5s, count: 400}]\n",
      NULL },
    { "401 in two faults",
      HEAD "load: {users: 1}\nfaults: [{kill: {process: a}, at: 5s, every: 5s, count: 400}, {kill: "
           "{process: b}, at: 5s}]\n",
      "401 times" },
    { "a list of more than 256 thresholds", NULL, "more than 256 thresholds" },
};

static char *many_thresholds(void)
{
    auto_buf struct buf b = BUF_INIT(0);

    buf_adds(&b, HEAD LOAD "thresholds:\n");
    for (int i = 0; i < 257; i++)
        buf_adds(&b, "  - 'errors: rate < 1%'\n");
    return buf_take(&b);
}

static void test_together(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(together); i++) {
        auto_free char *made = many_thresholds();
        struct reading r;

        read_text(&r, together[i].yaml ? together[i].yaml : made);
        if (!together[i].why && r.rc < 0)
            fail_msg("%s: %s", together[i].what, buf_str(&r.diag.text));
        if (together[i].why && !strstr(buf_str(&r.diag.text), together[i].why))
            fail_msg("%s: '%s' without '%s'", together[i].what, buf_str(&r.diag.text),
                     together[i].why);
        assert_int_equal(r.rc < 0, together[i].why != NULL);
        reading_done(&r);
    }
}

static void test_nothing_is_nothing(void **state)
{
    struct plan p = { 0 };

    (void)state;
    plan_free(NULL);
    plan_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_undeclared_proxy_stands_before_the_target),
        cmocka_unit_test(test_thresholds),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_nothing_is_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
