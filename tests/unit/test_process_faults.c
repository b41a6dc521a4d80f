/* The process kinds, each through the whole contract: what is true while they hold, and after. */
#include "tests/unit/fault_fixture.h"

struct world {
    char *dir;
    struct journal *journal;
    struct guardian *guardian;
    struct processes *processes;
    struct process_plan rows[2];
    struct chaos_env env;
    struct latch *abort, *hurry;
};

static const char *const sleeper[] = { "/bin/sh", "-c", "while :; do sleep 0.05; done", NULL };

static int world_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    struct err err = { 0 };

    w->dir = scratch_dir();
    w->journal = journal_open(w->dir, "test-run", &err);
    w->guardian = w->journal ? guardian_start(journal_path(w->journal), &err) : NULL;
    w->rows[0] = (struct process_plan){ .name = "shop",
                                        .run = { .v = (const char **)(uintptr_t)sleeper, .n = 3 },
                                        .ready_timeout_ns = 10 * NS_PER_SEC,
                                        .stop_grace_ns = NS_PER_SEC };
    w->processes = processes_new(w->rows, 1);
    if (!w->guardian || processes_start(w->processes, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return -1;
    }
    w->abort = latch_new();
    w->hurry = latch_new();
    w->env = (struct chaos_env){ .run_id = "test-run",
                                 .processes = w->processes,
                                 .journal = w->journal,
                                 .guardian = w->guardian };
    *state = w;
    return 0;
}

static int world_down(void **state)
{
    struct world *w = *state;

    processes_free(w->processes);
    journal_close(w->journal);
    guardian_stop(w->guardian);
    latch_free(w->abort);
    latch_free(w->hurry);
    assert_int_equal(scratch_count(w->dir, ".journal"), 0);
    scratch_remove(w->dir);
    free(w);
    return 0;
}

struct seen {
    pid_t pid;
    bool stopped_in_hold, alive_in_hold;
    unsigned steps[FAULT_STEP_MAX];
    unsigned told_effective;
    struct latch *abort_in_hold;
};

static void on_step(void *arg, const struct fault_run *r)
{
    struct seen *s = arg;

    s->steps[r->step]++;
    if (r->step == FAULT_VERIFY_IN && r->times.effective)
        s->told_effective++;
    if (r->step != FAULT_HOLD)
        return;
    char c = proc_state(s->pid);
    s->stopped_in_hold = c == 'T' || c == 't';
    s->alive_in_hold = c && c != 'Z';
    if (s->abort_in_hold)
        latch_set(s->abort_in_hold);
}

struct outcome {
    struct fault_run r;
    struct seen seen;
    int rc;
};

static struct outcome run_fault(struct world *w, const char *text, uint64_t hold_ns)
{
    struct fixture_spec f;
    struct outcome o = { 0 };
    struct proc_id id = { 0 };

    fixture_spec_read(&f, text);
    if (f.diag.n)
        fail_msg("%s", buf_str(&f.diag.text));
    err_ignore(processes_resolve(w->processes, "shop", &id, NULL), "then nobody is watched");
    o.seen.pid = id.pid;
    o.r = (struct fault_run){ .kind = f.spec.kind,
                              .params = f.spec.params,
                              .env = &w->env,
                              .name = "test",
                              .hold_ns = hold_ns,
                              .abort = w->abort,
                              .hurry = w->hurry };
    o.r.times.planned = clock_now_ns() + 20 * NS_PER_MS;
    o.rc = fault_execute(&o.r, on_step, &o.seen, NULL);
    if (err_is_set(&o.r.err))
        print_message("err: %s\n", o.r.err.msg);
    if (err_is_set(&o.r.revert_err))
        print_message("revert: %s\n", o.r.revert_err.msg);
    fixture_spec_done(&f);
    return o;
}

static void pause_stops_and_lets_go(void **state)
{
    static const char *const hows[] = { "auto", "ptrace", "sigstop" };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(hows); i++) {
        auto_free char *text = xasprintf("pause process=shop how=%s", hows[i]);
        struct outcome o = run_fault(w, text, 100 * NS_PER_MS);
        assert_int_equal(o.rc, 0);
        assert_true(o.seen.stopped_in_hold);
        assert_int_equal(o.r.ended_by, ENDED_BY_PLAN);
        assert_true(o.r.verified_in && o.r.verified_out);
        assert_true(o.r.times.reverted >= o.r.times.effective + 100 * NS_PER_MS);
        char c = proc_state(o.seen.pid);
        assert_true(c == 'S' || c == 'R');
        assert_string_equal(strrchr(o.r.target, ' ') + 1, i == 2 ? "SIGSTOP" : "ptrace");
    }
}

static void kill_brings_back_a_child(void **state)
{
    struct world *w = *state;
    struct outcome o = run_fault(w, "kill process=shop restart_after=100ms", 0);
    struct proc_id now = { 0 };

    assert_int_equal(o.rc, 0);
    assert_false(o.seen.alive_in_hold);
    assert_int_equal(processes_resolve(w->processes, "shop", &now, NULL), 0);
    assert_int_not_equal(now.pid, o.seen.pid);
    assert_true(o.r.times.reverted >= o.r.times.effective + 100 * NS_PER_MS);
    assert_null(processes_unexpected_exit(w->processes));
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "guardian") == 0)
        return guardian_main(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pause_stops_and_lets_go, world_up, world_down),
        cmocka_unit_test_setup_teardown(kill_brings_back_a_child, world_up, world_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
