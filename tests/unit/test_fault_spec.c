/* Reading `kill: {process: shop}`: every mistake has its sentence, with its place. */
#include "edge/yaml.h"
#include "tests/unit/fault_fixture.h"

static const struct {
    const char *kind, *yaml, *message;
} broken[] = {
    { "kil", "{process: shop}", "unknown fault, did you mean 'kill'?" },
    { "explode", "{process: shop}", "unknown fault; known are " },
    { "kill", "shop", "expected a map, such as  kill: {process: NAME}" },
    { "kill", "[shop]", "expected a map, such as  kill: {process: NAME}" },
    { "kill", "{}", "kill: no target: give it docker: NAME or process: NAME" },
    { "kill", "{signal: TERM}", "kill: no target: give it docker: NAME or process: NAME" },
    { "kill", "{process: shop, signal: TREM}",
      "'TREM' is not a signal: write SIGKILL, TERM, 9, ..." },
    { "kill", "{process: shop, signal: 99}", "'99' is not a signal: write SIGKILL, TERM, 9, ..." },
    { "kill", "{process: shop, restart_after: 2}", "2" },
    { "kill", "{process: shop, restart_aftre: 2s}", "did you mean 'restart_after'?" },
    { "kill", "{process: shop, wait_ready: perhaps}", "perhaps" },
    { "pause", "{process: shop, how: magic}", "magic" },
    { "pause", "{process: shop, signal: TERM}", "signal: unknown key" },
    { "stop", "{process: shop, grace: -1s}", "-1s" },
    { "stop", "{process: shop, grace: 2h}", "2h" },
    { "restart", "{process: shop, restart_after: 1s}", "restart_after: unknown key" },
    { "signal", "{process: shop}", "signal: 'signal' is missing" },
    { "signal", "{process: shop, signal: FOO}",
      "'FOO' is not a signal: write SIGUSR1, HUP, 10, ..." },
    { "signal", "{process: shop, signal: USR1, recover_signal: USR2}",
      "recover_signal needs recover_after" },
    { "signal", "{process: shop, signal: USR1, recover_after: 1s}",
      "recover_after needs recover_signal" },
    { "signal", "{process: shop, signal: STOP}", "SIGSTOP alone would leave the process stopped" },
    { "exec", "{}", "exec: 'command' is missing" },
    { "exec", "{docker: a, process: b, command: [c]}",
      "more than one target: keep one of docker: NAME or process: NAME" },
    { "exec", "{command: [a], user: root}",
      "no target: 'user' is for docker: NAME, which is missing" },
    { "exec", "{proxy: p, command: [a]}", "exec cannot hit a proxy: give it docker: NAME or " },
    { "exec", "{docker: a}", "exec: 'command' is missing" },
    { "exec", "{docker: a, command: []}", "an empty command" },
    { "exec", "{docker: a, command: [b], revert: [c]}", "revert needs revert_after" },
    { "exec", "{docker: a, command: [b], revert_after: 1s}", "revert_after needs revert" },
    { "exec", "{docker: a, command: [b], timeout: 2h}", "2h" },
    { "crash", "{}", "no target: give it docker: NAME or process: NAME" },
    { "crash", "{docker: a, signal: FOO}", "'FOO' is not a signal: write SIGKILL, SEGV, 11, ..." },
    { "crash", "{process: a, signal: FOO}", "'FOO' is not a signal: write SIGKILL, SEGV, 11, ..." },
    { "crash", "{process: a, restart_after: 1s}", "restart_after: unknown key" },
    { "crash", "{docker: a, wait_healthy: perhaps}", "'perhaps' is none of true, false, " },
    { "limits", "{process: a}", "no limit: give it cpu:, memory: or pids:" },
    { "limits", "{process: a, memory: 4KiB}", "a limit below 1MiB ends any process" },
    { "limits", "{process: a, cpu: 0}", "cpu" },
    { "limits", "{cpu: 1}", "no target: give it docker: NAME or process: NAME" },
    { "exec", "{command: []}", "command" },
    { "exec", "{command: [a], revert: [b]}", "revert needs revert_after" },
    { "exec", "{command: [a], revert_after: 1s}", "revert_after needs revert" },
    { "latency", "{process: shop, delay: 1s, mechanism: proxy}", "latency: 'port' is missing" },
    { "latency", "{host: any, delay: 1s, port: 80, mechanism: proxy}", "proxy" },
    { "rate", "{process: shop, rate: 1mbit, mechanism: proxy, port: 80, burst: 1KiB}",
      "burst: unknown key" },
    { "tcp-reset", "{docker: shop, after: 1s, port: 80-90}", "'80-90'" },
    { "tcp-reset", "{docker: shop, after: 1s, port: 80, mechanism: nftables}",
      "after: unknown key" },
    { "tcp-refuse", "{process: shop}", "tcp-refuse: 'port' is missing" },
};

struct text {
    struct arena *arena;
    struct diag diag;
    struct fault_spec spec;
};

static void read_text(struct text *t, const char *kind, const char *yaml)
{
    auto_free char *plan = xasprintf("%s: %s\n", kind, yaml);
    struct doc *root = NULL;

    *t = (struct text){ .arena = arena_new(0) };
    diag_init(&t->diag);
    if (yaml_load("plan.yaml", plan, strlen(plan), t->arena, &t->diag, &root) < 0)
        fail_msg("%s", buf_str(&t->diag.text));
    const struct param_ctx ctx = { .arena = t->arena, .diag = &t->diag };
    fault_spec_read(&ctx, kind, doc_get(root, kind), &t->spec);
}

static void text_done(struct text *t)
{
    diag_done(&t->diag);
    arena_free(t->arena);
}

static void mistakes_have_sentences(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        struct text t;
        read_text(&t, broken[i].kind, broken[i].yaml);
        if (t.diag.n == 0 || t.spec.kind || !strstr(buf_str(&t.diag.text), broken[i].message) ||
            strncmp(buf_str(&t.diag.text), "plan.yaml:1:", 12) != 0) {
            print_error("%s: %s: it said: %s", broken[i].kind, broken[i].yaml,
                        buf_str(&t.diag.text));
            wrong++;
        }
        text_done(&t);
    }
    assert_int_equal(wrong, 0);
}

static const struct {
    const char *kind, *yaml;
    unsigned flags;
} good[] = {
    { "kill", "{process: shop}", FAULT_ONE_SHOT },
    { "kill", "{process: shop, signal: sigterm, restart_after: 2s}", FAULT_ONE_SHOT },
    { "kill", "{process: shop, signal: 15}", FAULT_ONE_SHOT },
    { "pause", "{process: shop}", 0 },
    { "stop", "{process: shop, grace: 0s}", 0 },
    { "restart", "{process: shop}", FAULT_ONE_SHOT },
    { "signal", "{process: shop, signal: HUP}", FAULT_ONE_SHOT | FAULT_INTRUSIVE },
    { "signal", "{process: shop, signal: STOP, recover_signal: CONT, recover_after: 1s}",
      FAULT_ONE_SHOT },
    { "exec", "{command: [touch, /tmp/x]}",
      FAULT_ONE_SHOT | FAULT_SURVIVES_BOOT | FAULT_INTRUSIVE },
    { "exec", "{command: [touch, x], revert: [rm, x], revert_after: 1s}",
      FAULT_ONE_SHOT | FAULT_SURVIVES_BOOT },
    { "exec", "{docker: shop, command: [a]}",
      FAULT_ONE_SHOT | FAULT_SURVIVES_BOOT | FAULT_INTRUSIVE | FAULT_NEEDS_DOCKER },
    { "exec", "{docker: shop, command: [a], revert: [b], revert_after: 1s, user: 'a:b'}",
      FAULT_ONE_SHOT | FAULT_SURVIVES_BOOT | FAULT_NEEDS_DOCKER },
    { "crash", "{process: shop, returns_within: 10s}", FAULT_ONE_SHOT | FAULT_INTRUSIVE },
    { "crash", "{docker: shop, signal: TERM}",
      FAULT_ONE_SHOT | FAULT_INTRUSIVE | FAULT_NEEDS_DOCKER },
    { "limits", "{process: shop, cpu: 0.5, memory: 64MiB, pids: 20}", 0 },
    { "exec", "{process: shop, command: [renice, '19', '{pid}']}",
      FAULT_ONE_SHOT | FAULT_SURVIVES_BOOT | FAULT_INTRUSIVE },
};

static void good_ones_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct text t;
        read_text(&t, good[i].kind, good[i].yaml);
        if (t.diag.n || !t.spec.kind) {
            fail_msg("%s: %s: %s", good[i].kind, good[i].yaml, buf_str(&t.diag.text));
            return;
        }
        assert_string_equal(t.spec.kind->name, good[i].kind);
        assert_int_equal(fault_spec_flags(&t.spec), good[i].flags);
        text_done(&t);
    }
}

/* Packets, unless the plan says a proxy, or what only a proxy can do. */
static void a_proxy_is_taken_when_it_is_meant(void **state)
{
    static const struct {
        const char *kind, *yaml;
        bool by_proxy;
    } cases[] = {
        { "latency", "{process: shop, port: 80, delay: 1s}", false },
        { "latency", "{process: shop, port: 80, delay: 1s, mechanism: auto}", false },
        { "latency", "{process: shop, port: 80, delay: 1s, mechanism: proxy}", true },
        { "rate", "{docker: shop, port: 80, rate: 1mbit, mechanism: proxy}", true },
        { "rate", "{docker: shop, port: 80, rate: 1mbit, reset_open: false}", true },
        { "tcp-reset", "{docker: shop, port: 80, percent: 20%}", false },
        { "tcp-reset", "{docker: shop, port: 80, percent: 20%, after: 1s}", true },
        { "tcp-reset", "{process: shop, port: 80, after_bytes: 1KiB}", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct text t;
        read_text(&t, cases[i].kind, cases[i].yaml);
        if (t.diag.n || !t.spec.kind) {
            fail_msg("%s: %s: %s", cases[i].kind, cases[i].yaml, buf_str(&t.diag.text));
            return;
        }
        const struct fault_kind *plain = fault_kind_find(cases[i].kind, t.spec.kind->backend);
        assert_ptr_equal(t.spec.kind, cases[i].by_proxy ? plain->by_proxy : plain);
        text_done(&t);
    }
}

/* What the contract needs of every kind, also of those yet to be written. */
static void is_complete(const struct fault_kind *kind)
{
    assert_true(kind->name && kind->backend && kind->summary && kind->params);
    assert_true(kind->params_size > 0);
    assert_non_null(kind->inject);
    assert_non_null(kind->revert);
    if (kind->flags & FAULT_FREE)
        assert_null(kind->journal);
    else /* what is journaled can be undone from the journal */
        assert_true(kind->journal && kind->undo);
    bool has_key = strcmp(kind->name, kind->backend) == 0; /* pumba: {run: …} */
    for (size_t i = 0; i < kind->params->n; i++) {
        has_key |= strcmp(kind->params->rows[i].name, kind->backend) == 0;
        assert_non_null(kind->params->rows[i].help);
    }
    assert_true(has_key);
}

static void every_kind_is_complete(void **state)
{
    (void)state;
    for (const struct fault_kind *const *k = fault_catalog; *k; k++) {
        const struct fault_kind *other = (*k)->by_proxy;
        is_complete(*k);
        assert_ptr_equal(fault_kind_find((*k)->name, (*k)->backend), *k);
        if (!other)
            continue;
        is_complete(other);
        assert_string_equal(other->name, (*k)->name);
        assert_string_equal(other->backend, (*k)->backend);
        assert_true(other->flags & FAULT_FREE); /* a journal would name the first */
    }
    assert_null(fault_kind_find("kill", "moon"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_have_sentences),
        cmocka_unit_test(good_ones_are_read),
        cmocka_unit_test(a_proxy_is_taken_when_it_is_meant),
        cmocka_unit_test(every_kind_is_complete),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
