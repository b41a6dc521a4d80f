/* crash of a process: it ends, and nothing of ours brings it back; who supervises it is watched. */
#include "tests/unit/fault_fixture.h"

struct world {
    char *dir, *pidfile;
    struct process_plan rows[2];
    struct processes *processes;
    struct chaos_env env;
    struct proc_id supervisor;
};

static const char *const idle[] = { "/bin/sh", "-c", "while :; do sleep 0.05; done", NULL };

/* Starts a sleep, writes its number, and does so again `after` its end. */
static void supervise(struct world *w, const char *after)
{
    auto_free char *line = xasprintf("while :; do sleep 1000 & echo $! >%s.new; mv %s.new %s; "
                                     "wait $!; %s; done",
                                     w->pidfile, w->pidfile, w->pidfile, after);

    w->supervisor = victim_start((const char *const[]){ "/bin/sh", "-c", line, NULL }, NULL);
    EVENTUALLY(access(w->pidfile, R_OK) == 0);
}

static int world_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    struct err err = { 0 };

    w->dir = scratch_dir();
    w->pidfile = xasprintf("%s/pid", w->dir);
    w->rows[0] = (struct process_plan){ .name = "child",
                                        .run = { .v = (const char **)(uintptr_t)idle, .n = 3 },
                                        .stop_grace_ns = NS_PER_SEC };
    w->rows[1] = (struct process_plan){ .name = "foreign", .pidfile = w->pidfile };
    supervise(w, "sleep 0.3");
    w->processes = processes_new(w->rows, 2);
    w->env = (struct chaos_env){ .run_id = "test", .processes = w->processes };
    *state = w;
    if (processes_start(w->processes, &err) == 0)
        return 0;
    fprintf(stderr, "%s\n", err.msg);
    return -1;
}

static int world_down(void **state)
{
    struct world *w = *state;
    struct proc_id id;

    victim_end(&w->supervisor);
    if (processes_resolve(w->processes, "foreign", &id, NULL) == 0)
        kill(id.pid, SIGKILL);
    processes_free(w->processes);
    scratch_remove(w->dir);
    free(w->pidfile);
    free(w);
    return 0;
}

static int run_crash(struct world *w, const char *text, struct fault_run *r)
{
    struct fixture_spec f;

    fixture_spec_read(&f, text);
    if (f.diag.n)
        fail_msg("%s", buf_str(&f.diag.text));
    *r = (struct fault_run){ .kind = f.spec.kind,
                             .params = f.spec.params,
                             .env = &w->env,
                             .name = "test",
                             .abort = latch_new(),
                             .hurry = latch_new() };
    int rc = fault_execute(r, NULL, NULL, NULL);
    latch_free(r->abort);
    latch_free(r->hurry);
    fixture_spec_done(&f);
    return rc;
}

static void a_child_stays_down(void **state)
{
    struct world *w = *state;
    struct fault_run r;
    struct proc_id id;

    assert_int_equal(run_crash(w, "crash process=child signal=SEGV", &r), 0);
    assert_true(r.verified_in && r.times.effective && !r.times.reverted);
    assert_true(processes_resolve(w->processes, "child", &id, NULL) < 0);
    assert_null(processes_unexpected_exit(w->processes)); /* a fault asked for it */
}

static void nobody_would_bring_a_child_back(void **state)
{
    struct world *w = *state;
    struct fault_run r;
    struct proc_id id;

    assert_true(run_crash(w, "crash process=child returns_within=1s", &r) < 0);
    assert_non_null(strstr(r.err.msg, "use kill with restart_after"));
    assert_int_equal(processes_resolve(w->processes, "child", &id, NULL), 0);
}

static void its_supervisor_is_watched(void **state)
{
    struct world *w = *state;
    struct proc_id before, after;
    struct fault_run r;

    assert_int_equal(processes_resolve(w->processes, "foreign", &before, NULL), 0);
    assert_int_equal(run_crash(w, "crash process=foreign returns_within=20s", &r), 0);
    assert_int_equal(processes_resolve(w->processes, "foreign", &after, NULL), 0);
    assert_int_not_equal(before.pid, after.pid);
    assert_true(r.times.reverted >= r.times.effective + 300 * NS_PER_MS);
    assert_true(r.verified_in && r.verified_out);
}

static void one_that_stays_away_is_told(void **state)
{
    struct world *w = *state;
    struct fault_run r;

    victim_end(&w->supervisor);
    w->supervisor = (struct proc_id){ 0 };
    assert_true(run_crash(w, "crash process=foreign returns_within=300ms", &r) < 0);
    assert_non_null(
        strstr(r.revert_err.msg, "nobody started process 'foreign' again within 300ms"));
    assert_true(r.times.effective > 0);
}

static void one_that_is_deaf_is_told(void **state)
{
    struct world *w = *state;
    struct fault_run r;
    struct proc_id id;

    assert_true(run_crash(w, "crash process=foreign signal=CHLD timeout=100ms", &r) < 0);
    assert_non_null(strstr(r.err.msg, "did not end after CHLD"));
    assert_int_equal(processes_resolve(w->processes, "foreign", &id, NULL), 0);
}

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_up, world_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_child_stays_down),        WORLD_TEST(nobody_would_bring_a_child_back),
        WORLD_TEST(its_supervisor_is_watched), WORLD_TEST(one_that_stays_away_is_told),
        WORLD_TEST(one_that_is_deaf_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
