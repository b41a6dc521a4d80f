/* The process kinds, each through the whole contract: what is true while they hold, and after. */
#include <pthread.h>

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

/* What happens when a fault is held. */
static bool abort_in_hold, kill_in_hold;

struct seen {
    pid_t pid;
    bool stopped_in_hold, alive_in_hold;
    unsigned steps[FAULT_STEP_MAX];
    unsigned told_effective;
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
    if (abort_in_hold)
        latch_set(r->abort);
    if (kill_in_hold)
        kill(s->pid, SIGKILL);
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
        assert_true(c && c != 'T' && c != 't' && c != 'Z');
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

static void each_kind_leaves_a_child_as_it_was(void **state)
{
    static const struct {
        const char *text;
        uint64_t hold_ns;
        bool alive_in_hold, comes_back;
    } kinds[] = {
        { "kill process=shop restart_after=20ms", 0, false, true },
        { "kill process=shop signal=TERM restart_after=20ms wait_ready=no", 0, false, true },
        { "stop process=shop grace=1s", 20 * NS_PER_MS, false, true },
        { "restart process=shop", 0, false, true },
        { "pause process=shop", 20 * NS_PER_MS, true, false },
        { "signal process=shop signal=STOP recover_signal=CONT recover_after=20ms", 0, true,
          false },
        { "signal process=shop signal=CONT", 0, true, false },
        { "exec process=shop command=kill,-STOP,{pid} revert=kill,-CONT,{pid} revert_after=20ms", 0,
          true, false },
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct outcome o = run_fault(w, kinds[i].text, kinds[i].hold_ns);
        struct proc_id now = { 0 };
        if (o.rc != 0 || !o.r.verified_in || !o.r.verified_out)
            fail_msg("%s: %s%s", kinds[i].text, o.r.err.msg, o.r.revert_err.msg);
        assert_int_equal(o.seen.alive_in_hold, kinds[i].alive_in_hold);
        assert_int_equal(o.r.ended_by, ENDED_BY_PLAN);
        assert_int_equal(processes_resolve(w->processes, "shop", &now, NULL), 0);
        assert_int_equal(now.pid != o.seen.pid, kinds[i].comes_back);
        EVENTUALLY(proc_state(now.pid) == 'S' || proc_state(now.pid) == 'R');
        assert_null(processes_unexpected_exit(w->processes));
    }
}

static void every_step_is_told_in_order(void **state)
{
    struct outcome o = run_fault(*state, "pause process=shop", 10 * NS_PER_MS);

    for (int step = FAULT_PREPARE; step <= FAULT_DONE; step++)
        if (step != FAULT_VERIFY_IN)
            assert_int_equal(o.seen.steps[step], 1);
    assert_int_equal(o.seen.steps[FAULT_VERIFY_IN], 2); /* and once when effective is known */
    const struct fault_times *t = &o.r.times;
    assert_true(t->planned <= t->requested && t->requested <= t->effective);
    assert_true(t->effective <= t->acknowledged && t->acknowledged <= t->revert_requested);
    assert_true(t->revert_requested <= t->reverted);
}

/* The bound is wide, for machines that are busy; what it says is that preparing does not count. */
static void it_is_in_effect_at_its_planned_instant(void **state)
{
    static const char *const texts[] = { "pause process=shop",
                                         "kill process=shop restart_after=1ms",
                                         "signal process=shop signal=CONT" };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct outcome o = run_fault(*state, texts[i], NS_PER_MS);
        assert_int_equal(o.rc, 0);
        uint64_t late = o.r.times.effective - o.r.times.planned;
        print_message("%s: %.3f ms after its planned instant\n", texts[i], ns_to_ms(late));
        assert_true(late < 200 * NS_PER_MS);
    }
}

static void a_plain_kill_is_for_good(void **state)
{
    struct world *w = *state;
    struct outcome o = run_fault(w, "kill process=shop", 0);
    struct proc_id now;

    assert_int_equal(o.rc, 0);
    assert_int_equal(o.r.times.reverted, 0);
    assert_true(processes_resolve(w->processes, "shop", &now, NULL) < 0);
    assert_null(processes_unexpected_exit(w->processes)); /* it was meant */
    o = run_fault(w, "kill process=shop", 0);
    assert_int_equal(o.r.err.kind, ERR_TARGET);
    assert_string_equal(o.r.err.msg, "process 'shop' is not running: it was ended by SIGKILL");
    assert_int_equal(o.r.ended_by, ENDED_BY_ERROR);
    assert_int_equal(o.seen.steps[FAULT_INJECT], 0);
}

static void an_abort_ends_the_hold(void **state)
{
    static const char *const texts[] = { "pause process=shop how=sigstop", "stop process=shop",
                                         "kill process=shop restart_after=1h" };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct latch *abort = latch_new();
        latch_free(w->abort);
        w->abort = abort;
        abort_in_hold = true;
        struct outcome o = run_fault(w, texts[i], 3600 * NS_PER_SEC);
        abort_in_hold = false;
        assert_int_equal(o.rc, 0);
        assert_int_equal(o.r.ended_by, ENDED_BY_ABORT);
        assert_true(o.r.verified_out);
        struct proc_id now;
        assert_int_equal(processes_resolve(w->processes, "shop", &now, NULL), 0);
    }
}

static void an_abort_before_leaves_all_untouched(void **state)
{
    struct world *w = *state;

    latch_set(w->abort);
    struct outcome o = run_fault(w, "kill process=shop", 0);
    assert_true(o.rc < 0);
    assert_int_equal(o.r.err.kind, ERR_ABORTED);
    assert_int_equal(o.r.ended_by, ENDED_BY_ABORT);
    assert_int_equal(o.r.times.requested, 0);
    assert_int_equal(o.seen.steps[FAULT_INJECT], 0);
    struct proc_id now;
    assert_int_equal(processes_resolve(w->processes, "shop", &now, NULL), 0);
    assert_int_equal(now.pid, o.seen.pid);
}

static void a_target_that_leaves_takes_the_fault_with_it(void **state)
{
    static const char *const hows[] = { "ptrace", "sigstop" };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(hows); i++) {
        auto_free char *text = xasprintf("pause process=shop how=%s", hows[i]);
        struct proc_id now;
        kill_in_hold = true;
        struct outcome o = run_fault(w, text, 3600 * NS_PER_SEC);
        kill_in_hold = false;
        assert_int_equal(o.rc, 0);
        assert_int_equal(o.r.ended_by, ENDED_TARGET_GONE);
        assert_true(o.r.verified_out);
        const char *why = NULL;
        EVENTUALLY((why = processes_unexpected_exit(w->processes)) != NULL);
        assert_string_equal(why, "process 'shop' was ended by SIGKILL, which no fault asked for");
        assert_int_equal(processes_respawn(w->processes, "shop", &now, NULL), 0);
    }
}

static void a_dry_run_changes_nothing(void **state)
{
    struct world *w = *state;

    w->env.dry_run = true;
    struct outcome o = run_fault(w, "kill process=shop", 0);
    w->env.dry_run = false;
    auto_free char *target = xasprintf("process shop (pid %d)", o.seen.pid);
    assert_int_equal(o.rc, 0);
    assert_string_equal(o.r.target, target);
    assert_int_equal(o.seen.steps[FAULT_JOURNAL], 0);
    assert_int_equal(o.r.step, FAULT_DONE);
    assert_int_equal(proc_state(o.seen.pid) != 0, 1);
}

/* ---- foreign processes ---- */

struct stray {
    struct proc_id id;
    char *log;
};

/* Not a child of the registry: `command` finds it by the log's name in its arguments. */
static struct stray stray_start(struct world *w)
{
    struct stray s = { .log = xasprintf("%s/stray.log", w->dir) };
    auto_free char *script =
        xasprintf("echo $STRAY_COLOUR; while :; do sleep 0.05; done; # %s", s.log);

    setenv("STRAY_COLOUR", "green", 1);
    s.id = victim_start((const char *const[]){ "sh", "-c", script, NULL }, s.log);
    unsetenv("STRAY_COLOUR");
    processes_free(w->processes);
    w->rows[0] = (struct process_plan){ .name = "stray", .pid = s.id.pid };
    w->processes = processes_new(w->rows, 1);
    w->env.processes = w->processes;
    return s;
}

static unsigned log_lines(const struct stray *s, const char *want)
{
    FILE *f = fopen(s->log, "r");
    char line[64];
    unsigned n = 0;

    while (f && fgets(line, sizeof(line), f))
        n += strncmp(line, want, strlen(want)) == 0;
    if (f)
        fclose(f);
    return n;
}

static void a_foreign_process_comes_back_as_it_was(void **state)
{
    struct world *w = *state;
    struct stray s = stray_start(w);
    struct proc_id now = { 0 };

    EVENTUALLY(log_lines(&s, "green") == 1);
    waitpid(s.id.pid, NULL, WNOHANG);
    for (unsigned i = 1; i <= 3; i++) { /* again and again: it is found under its new number */
        struct outcome o = run_fault(w, "kill process=stray restart_after=20ms", 0);
        if (o.rc < 0)
            fail_msg("%s%s", o.r.err.msg, o.r.revert_err.msg);
        assert_int_equal(processes_resolve(w->processes, "stray", &now, NULL), 0);
        assert_true(proc_is_alive(&now));
        assert_int_not_equal(now.pid, s.id.pid);
        EVENTUALLY(log_lines(&s, "green") == 1 + i); /* its environment and its output */
    }
    victim_end(&now);
    waitpid(s.id.pid, NULL, 0);
    free(s.log);
}

static void what_cannot_be_repeated_is_refused_before(void **state)
{
    struct world *w = *state;
    auto_free char *link = xasprintf("%s/prog", w->dir);
    struct proc_id id, still;

    /* argv[0] is gone: nobody could start it again. */
    assert_int_equal(symlink("/bin/sleep", link), 0);
    id = victim_start((const char *const[]){ link, "1000", NULL }, NULL);
    unlink(link);
    processes_free(w->processes);
    w->rows[0] = (struct process_plan){ .name = "stray", .pid = id.pid };
    w->env.processes = w->processes = processes_new(w->rows, 1);
    struct outcome o = run_fault(w, "kill process=stray restart_after=20ms", 0);
    assert_true(o.rc < 0);
    assert_int_equal(o.r.err.kind, ERR_PREPARE);
    assert_non_null(strstr(o.r.err.msg, "cannot be started again as it was"));
    assert_int_equal(processes_resolve(w->processes, "stray", &still, NULL), 0);
    assert_true(proc_is_alive(&id));
    victim_end(&id);
}

static void a_stopped_process_is_not_paused_again(void **state)
{
    struct world *w = *state;
    struct stray s = stray_start(w);

    kill(s.id.pid, SIGSTOP);
    EVENTUALLY(proc_state(s.id.pid) == 'T');
    struct outcome o = run_fault(w, "pause process=stray", NS_PER_MS);
    assert_int_equal(o.r.err.kind, ERR_TARGET);
    assert_non_null(strstr(o.r.err.msg, "is stopped already"));
    assert_int_equal(proc_state(s.id.pid), 'T');
    victim_end(&s.id);
    free(s.log);
}

/* ---- the guardian ---- */

static void without_a_guardian_nothing_is_broken(void **state)
{
    struct world *w = *state;
    struct stray s = stray_start(w);

    struct outcome first = run_fault(w, "pause process=stray how=sigstop", NS_PER_MS);
    assert_int_equal(first.rc, 0);
    kill(guardian_of(getpid()), SIGKILL);
    EVENTUALLY(!guardian_is_alive(w->guardian));
    struct outcome o = run_fault(w, "pause process=stray how=sigstop", NS_PER_MS);
    assert_true(o.rc < 0);
    assert_non_null(strstr(o.r.err.msg, "is not injected, since nobody would undo it if we died"));
    assert_int_equal(o.seen.steps[FAULT_INJECT], 0);
    victim_end(&s.id);
    free(s.log);
}

static void it_keeps_nothing_open_and_ignores_the_terminal(void **state)
{
    struct world *w = *state;
    pid_t pid = guardian_of(getpid());

    assert_true(pid > 1);
    assert_int_equal(getsid(pid), pid);
    kill(pid, SIGINT);
    kill(pid, SIGTERM);
    kill(pid, SIGHUP);
    auto_free char *fds = xasprintf("/proc/%d/fd", pid);
    DIR *dir = opendir(fds);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        auto_free char *path = xasprintf("%s/%s", fds, e->d_name);
        char to[256] = "";
        if (e->d_name[0] == '.' || readlink(path, to, sizeof(to) - 1) < 0)
            continue;
        if (strcmp(e->d_name, "3") != 0 && strcmp(to, "/dev/null") != 0)
            fail_msg("descriptor %s is %s", e->d_name, to);
    }
    closedir(dir);
    clock_sleep_until(clock_now_ns() + 50 * NS_PER_MS);
    assert_true(guardian_is_alive(w->guardian));
}

static bool is_closed(const struct journal *j)
{
    struct journal_scan scan = { 0 };
    bool closed = journal_scan(journal_path(j), &scan, NULL) == 0 && json_len(scan.open) == 0;

    journal_scan_done(&scan);
    return closed;
}

static void a_record_past_its_deadline_is_reverted_while_we_live(void **state)
{
    struct world *w = *state;
    struct stray s = stray_start(w);
    auto(json) struct json *intent = json_object();
    struct err err = { 0 };

    kill(s.id.pid, SIGSTOP);
    EVENTUALLY(proc_state(s.id.pid) == 'T');
    uint64_t seq = journal_next_seq(w->journal);
    json_put_str(intent, "type", "intent");
    json_put_u64(intent, "seq", seq);
    json_put_str(intent, "kind", "pause");
    json_put_str(intent, "backend", "process");
    struct json *undo = json_put(intent, "undo", json_object());
    json_put_u64(undo, "pid", (uint64_t)s.id.pid);
    json_put_u64(undo, "start_ticks", s.id.start_ticks);
    assert_int_equal(journal_write(w->journal, intent, &err), 0);
    assert_int_equal(guardian_arm(w->guardian, seq, clock_now_ns() + 50 * NS_PER_MS, &err), 0);
    EVENTUALLY(proc_state(s.id.pid) == 'S');
    EVENTUALLY(is_closed(w->journal));
    victim_end(&s.id);
    free(s.log);
}

static void a_secret_is_kept_up_to_a_limit(void **state)
{
    struct world *w = *state;
    auto_free char *big = xcalloc(5 << 20, 1);
    struct err err = { 0 };

    assert_int_equal(guardian_keep(w->guardian, 7, "env", "A=1\0B=2", 8, &err), 0);
    assert_int_equal(guardian_keep(w->guardian, 8, "env", big, 1 << 20, &err), 0);
    assert_true(guardian_keep(w->guardian, 9, "env", big, 5 << 20, &err) < 0);
    assert_int_equal(err.kind, ERR_LIMIT);
    guardian_disarm(w->guardian, 7);
    assert_true(guardian_is_alive(w->guardian));
}

/* ---- many at once ---- */

static void *run_one(void *arg)
{
    struct outcome o = run_fault(arg, "signal process=shop signal=CONT", 0);

    return o.rc < 0 ? arg : NULL;
}

static void threads_share_journal_guardian_and_registry(void **state)
{
    pthread_t threads[8];

    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_one, *state), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

#define WORLD(f) cmocka_unit_test_setup_teardown(f, world_up, world_down)

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "guardian") == 0)
        return guardian_main(argv[2]);
    const struct CMUnitTest tests[] = {
        WORLD(pause_stops_and_lets_go),
        WORLD(kill_brings_back_a_child),
        WORLD(each_kind_leaves_a_child_as_it_was),
        WORLD(every_step_is_told_in_order),
        WORLD(it_is_in_effect_at_its_planned_instant),
        WORLD(a_plain_kill_is_for_good),
        WORLD(an_abort_ends_the_hold),
        WORLD(an_abort_before_leaves_all_untouched),
        WORLD(a_target_that_leaves_takes_the_fault_with_it),
        WORLD(a_dry_run_changes_nothing),
        WORLD(a_foreign_process_comes_back_as_it_was),
        WORLD(what_cannot_be_repeated_is_refused_before),
        WORLD(a_stopped_process_is_not_paused_again),
        WORLD(without_a_guardian_nothing_is_broken),
        WORLD(it_keeps_nothing_open_and_ignores_the_terminal),
        WORLD(a_record_past_its_deadline_is_reverted_while_we_live),
        WORLD(a_secret_is_kept_up_to_a_limit),
        WORLD(threads_share_journal_guardian_and_registry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
