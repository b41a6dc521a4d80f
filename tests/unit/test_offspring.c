/* What a plan starts through a wrapper (a shell, npm, a prefork master) is more than one process:
 * none of it may outlive the run, whoever is killed first, and a kill of it is a kill of all. */

#include "chaoslib/process/offspring.h"
#include "tests/unit/fault_fixture.h"

/* Two workers: one in the wrapper's group, one in a group of its own, as job control makes them. */
#define WRAPPER                                                                           \
    "sleep 1000 & echo $! >> %s; set -m; sleep 1000 & echo $! >> %s; set +m; : > %s.ok; " \
    "while :; do wait; sleep 0.05; done"

struct scene {
    char *dir, *pids, *script;
    const char *argv[4];
    struct process_plan row;
};

static void scene_begin(struct scene *s)
{
    s->dir = scratch_dir();
    s->pids = xasprintf("%s/pids", s->dir);
    s->script = xasprintf(WRAPPER, s->pids, s->pids, s->pids);
    s->argv[0] = "/bin/sh";
    s->argv[1] = "-c";
    s->argv[2] = s->script;
    s->row = (struct process_plan){ .name = "shop",
                                    .run = { .v = s->argv, .n = 3 },
                                    .ready_timeout_ns = 10 * NS_PER_SEC,
                                    .stop_grace_ns = 100 * NS_PER_MS };
}

static void scene_end(struct scene *s)
{
    free(s->pids);
    free(s->script);
    scratch_remove(s->dir);
}

static void wait_for_workers(const struct scene *s)
{
    auto_free char *ok = xasprintf("%s.ok", s->pids);

    EVENTUALLY(access(ok, F_OK) == 0);
}

/* How many of all workers that were ever started live. */
static unsigned workers(const struct scene *s, unsigned *ret_started)
{
    FILE *f = fopen(s->pids, "r");
    unsigned alive = 0, started = 0;

    for (int pid; f && fscanf(f, "%d", &pid) == 1; started++) {
        char c = proc_state(pid);
        alive += c && c != 'Z';
    }
    if (f)
        fclose(f);
    if (ret_started)
        *ret_started = started;
    return alive;
}

static void all_end_with_the_registry(void **state)
{
    struct scene s;
    struct err err = { 0 };

    (void)state;
    scene_begin(&s);
    struct processes *p = processes_new(&s.row, 1);
    assert_int_equal(processes_start(p, &err), 0);
    wait_for_workers(&s);
    assert_int_equal(workers(&s, NULL), 2);
    processes_stop(p);
    assert_int_equal(workers(&s, NULL), 0);
    processes_free(p);
    scene_end(&s);
}

/* ---- a kill of the wrapper is a kill of what it runs ---- */

static void look_in_hold(void *arg, const struct fault_run *r)
{
    if (r->step == FAULT_HOLD)
        assert_int_equal(workers(arg, NULL), 0);
}

static void a_kill_takes_the_workers_too(void **state)
{
    static const char *const texts[] = { "kill process=shop restart_after=20ms",
                                         "stop process=shop grace=200ms",
                                         "restart process=shop grace=200ms" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct scene s;
        struct fixture_spec f;
        struct err err = { 0 };
        unsigned started;
        scene_begin(&s);
        struct chaos_env env = { .run_id = "test", .processes = processes_new(&s.row, 1) };
        assert_int_equal(processes_start(env.processes, &err), 0);
        wait_for_workers(&s);
        fixture_spec_read(&f, texts[i]);
        struct fault_run r = { .kind = f.spec.kind,
                               .params = f.spec.params,
                               .env = &env,
                               .name = "test",
                               .hold_ns = 20 * NS_PER_MS,
                               .abort = latch_new(),
                               .hurry = latch_new() };
        assert_int_equal(fault_execute(&r, look_in_hold, &s, &err), 0);
        EVENTUALLY(workers(&s, &started) == 2 && started == 4);
        processes_free(env.processes);
        assert_int_equal(workers(&s, NULL), 0);
        latch_free(r.abort);
        latch_free(r.hurry);
        fixture_spec_done(&f);
        scene_end(&s);
    }
}

/* ---- whoever is killed ---- */

static int drive(const char *dir, const char *script)
{
    const char *argv[] = { "/bin/sh", "-c", script, NULL };
    struct process_plan row = { .name = "shop", .run = { .v = argv, .n = 3 } };
    struct err err = { 0 };
    struct journal *journal = journal_open(dir, "run", &err);
    struct guardian *guardian = journal ? guardian_start(journal_path(journal), &err) : NULL;
    struct chaos_env env = { .run_id = "run", .journal = journal, .guardian = guardian };
    struct processes *p = processes_new(&row, 1);

    processes_guard(p, &env);
    if (!guardian || processes_start(p, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    for (;;)
        pause();
}

static pid_t start_driver(const struct scene *s)
{
    pid_t pid = fork();

    if (pid == 0) {
        execl("/proc/self/exe", "test_offspring", "drive", s->dir, s->script, NULL);
        _exit(127);
    }
    return pid;
}

static void last_line(void *arg, const char *line)
{
    snprintf(arg, 256, "%.255s", line);
}

static void none_outlives_a_killed_run(void **state)
{
    (void)state;
    for (int with_guardian = 0; with_guardian < 2; with_guardian++) {
        struct scene s;
        char said[256] = "";
        scene_begin(&s);
        pid_t driver = start_driver(&s);
        wait_for_workers(&s);
        assert_int_equal(workers(&s, NULL), 2);
        pid_t guardian = guardian_of(driver);
        assert_int_not_equal(guardian, 0);
        if (with_guardian)
            kill(guardian, SIGKILL);
        kill(driver, SIGKILL);
        waitpid(driver, NULL, 0);
        if (with_guardian) {
            assert_int_equal(journal_recover_all(s.dir, last_line, said), RECOVER_REVERTED);
            assert_non_null(strstr(said, "run of process shop"));
        }
        EVENTUALLY(workers(&s, NULL) == 0);
        EVENTUALLY(scratch_count(s.dir, ".journal") == 0);
        assert_int_equal(journal_recover_all(s.dir, NULL, NULL), RECOVER_CLEAN);
        scene_end(&s);
    }
}

static void it_is_in_the_journal_while_it_runs(void **state)
{
    struct scene s;
    struct err err = { 0 };
    struct journal_scan scan;

    (void)state;
    scene_begin(&s);
    struct chaos_env env = { .run_id = "test", .journal = journal_open(s.dir, "test", &err) };
    struct processes *p = processes_new(&s.row, 1);
    processes_guard(p, &env);
    assert_int_equal(processes_start(p, &err), 0);
    assert_int_equal(journal_scan(journal_path(env.journal), &scan, &err), 0);
    assert_int_equal(json_len(scan.open), 1);
    assert_string_equal(json_str(json_first(scan.open), "kind", ""), "run");
    journal_scan_done(&scan);
    processes_stop(p);
    assert_int_equal(journal_scan(journal_path(env.journal), &scan, &err), 0);
    assert_int_equal(json_len(scan.open), 0);
    journal_scan_done(&scan);
    processes_free(p);
    journal_close(env.journal);
    assert_int_equal(scratch_count(s.dir, ".journal"), 0);
    scene_end(&s);
}

/* Killed before the child's number was written: what carries the mark is found without it. */
static void one_that_has_no_number_yet_is_found_by_its_mark(void **state)
{
    char *dir = scratch_dir(), said[256] = "";
    struct err err = { 0 };
    struct offspring o = { .journal = journal_open(dir, "run", &err), .run_id = "run" };
    uint64_t seq;

    (void)state;
    assert_int_equal(offspring_expect(&o, "shop", OFFSPRING_MARK "=shop.1.a", &seq, &err), 0);
    setenv(OFFSPRING_MARK, "shop.1.a", 1);
    struct proc_id marked = victim_start((const char *const[]){ "sleep", "1000", NULL }, NULL);
    setenv(OFFSPRING_MARK, "shop.1.ab", 1);
    struct proc_id other = victim_start((const char *const[]){ "sleep", "1000", NULL }, NULL);
    unsetenv(OFFSPRING_MARK);
    journal_close(o.journal);
    assert_int_equal(journal_recover_all(dir, last_line, said), RECOVER_REVERTED);
    assert_false(proc_is_alive(&marked));
    assert_true(proc_is_alive(&other));
    victim_end(&marked);
    victim_end(&other);
    assert_int_equal(scratch_count(dir, ".journal"), 0);
    scratch_remove(dir);
}

/* The number of a dead leader that someone else was given: nobody of his is touched. */
static void a_number_that_was_given_again_is_left_alone(void **state)
{
    struct proc_id id = victim_start((const char *const[]){ "/bin/sleep", "1000", NULL }, NULL);
    struct proc_id old = { .pid = id.pid, .start_ticks = id.start_ticks - 1 };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(offspring_end(&old, &err), 0);
    assert_true(proc_is_alive(&id));
    assert_true(offspring_end(&(struct proc_id){ .pid = 1 }, &err) < 0);
    victim_end(&id);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "guardian") == 0)
        return guardian_main(argv[2]);
    if (argc == 4 && strcmp(argv[1], "drive") == 0)
        return drive(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_end_with_the_registry),
        cmocka_unit_test(a_kill_takes_the_workers_too),
        cmocka_unit_test(none_outlives_a_killed_run),
        cmocka_unit_test(it_is_in_the_journal_while_it_runs),
        cmocka_unit_test(one_that_has_no_number_yet_is_found_by_its_mark),
        cmocka_unit_test(a_number_that_was_given_again_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
