/* No fault outlives its injector: a driver program runs one fault on a victim that is not its own,
 * and is SIGKILLed at each step of the contract, and at random instants; alone, so that its
 * guardian mends, or together with its guardian, so that `recover` has to. Then the victim must be
 * well.
 *
 * Most of that is waiting, so each fault has a process of its own, and they run side by side.
 *
 * One binary in five roles: the test, the test of one fault, the driver, the driver's guardian, the
 * victim. */
#include <fcntl.h>
#include <sys/prctl.h>

#include "tests/unit/fault_fixture.h"

#define HOLD_NS (30 * NS_PER_MS)

/* ---- the victim: says who it is and how it was started, then lives on ---- */

static int victim_main(const char *path)
{
    auto_free char *hidden = xasprintf("%s.%d", path, getpid());
    const char *colour = getenv("VICTIM_COLOUR");
    FILE *f = fopen(hidden, "w");

    if (!f)
        return 1;
    fprintf(f, "%d %s\n", getpid(), colour ? colour : "none");
    fclose(f);
    if (rename(hidden, path) < 0)
        return 1;
    for (;;)
        sleep(1000);
}

/* ---- the driver: one activation, and death at a step of it ---- */

struct doom {
    int step; /* enum fault_step; -1: someone else kills us */
    bool with_guardian;
};

static void die_together(pid_t driver, bool with_guardian)
{
    pid_t guardian = with_guardian ? guardian_of(driver) : 0;

    if (guardian)
        kill(guardian, SIGKILL);
    kill(driver, SIGKILL);
}

static void die_at_step(void *arg, const struct fault_run *r)
{
    const struct doom *d = arg;

    if (d->step == (int)r->step)
        die_together(getpid(), d->with_guardian);
}

static int drive(const char *dir, pid_t victim, struct doom *doom, const char *text)
{
    struct process_plan row = { .name = "victim", .pid = victim };
    struct err err = { 0 };
    struct fixture_spec f;

    fixture_spec_read(&f, text);
    struct journal *journal = journal_open(dir, "crash", &err);
    struct guardian *guardian = journal ? guardian_start(journal_path(journal), &err) : NULL;
    if (!guardian || f.diag.n) {
        fprintf(stderr, "driver: %s%s\n", err.msg, buf_str(&f.diag.text));
        return 2;
    }
    struct chaos_env env = { .run_id = "crash",
                             .processes = processes_new(&row, 1),
                             .journal = journal,
                             .guardian = guardian };
    struct fault_run r = { .kind = f.spec.kind,
                           .params = f.spec.params,
                           .env = &env,
                           .name = "crash",
                           .hold_ns = HOLD_NS,
                           .abort = latch_new(),
                           .hurry = latch_new() };
    if (write(1, "g", 1) != 1)
        return 2;
    int rc = fault_execute(&r, die_at_step, doom, &err);
    if (rc < 0)
        fprintf(stderr, "driver: %s: %s\n", text, err.msg);
    processes_free(env.processes);
    journal_close(journal);
    guardian_stop(guardian);
    latch_free(r.abort);
    latch_free(r.hurry);
    fixture_spec_done(&f);
    return rc < 0;
}

/* ---- the test's side ---- */

struct scene {
    char *dir, *report, *broken;
    struct proc_id victim;
};

static void scene_begin(struct scene *s)
{
    s->dir = scratch_dir();
    s->report = xasprintf("%s/report", s->dir);
    s->broken = xasprintf("%s/broken", s->dir);
    setenv("VICTIM_COLOUR", "blue", 1);
    s->victim =
        victim_start((const char *const[]){ "/proc/self/exe", "victim", s->report, NULL }, NULL);
    unsetenv("VICTIM_COLOUR");
    EVENTUALLY(access(s->report, R_OK) == 0);
}

static void reap_all(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

/* Who reported last; its colour. */
static pid_t reported(const struct scene *s, char colour[16])
{
    FILE *f = fopen(s->report, "r");
    int pid = 0;

    colour[0] = '\0';
    if (f && fscanf(f, "%d %15s", &pid, colour) != 2)
        pid = 0;
    if (f)
        fclose(f);
    return pid;
}

/* Processes with our report file in their arguments, which is one unless it was started twice. */
static unsigned victims(const struct scene *s, bool end_them)
{
    DIR *proc = opendir("/proc");
    unsigned n = 0;

    for (struct dirent *e = proc ? readdir(proc) : NULL; e; e = readdir(proc)) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        auto_free char **argv = pid > 1 ? proc_argv(pid) : NULL;
        if (!argv || !argv[1] || !argv[2] || strcmp(argv[1], "victim") != 0 ||
            strcmp(argv[2], s->report) != 0)
            continue;
        n++;
        if (end_them)
            kill(pid, SIGKILL);
    }
    if (proc)
        closedir(proc);
    return n;
}

static bool is_well(const struct scene *s)
{
    char colour[16];
    pid_t pid = reported(s, colour);
    char state = pid ? proc_state(pid) : '\0';

    reap_all();
    return (state == 'S' || state == 'R') && victims(s, false) == 1 && access(s->broken, F_OK) < 0;
}

static void scene_end(struct scene *s)
{
    victims(s, true);
    EVENTUALLY(victims(s, false) == 0);
    reap_all();
    free(s->report);
    free(s->broken);
    scratch_remove(s->dir);
}

static pid_t driver_start(const struct scene *s, const struct doom *doom, const char *text,
                          int *ret_out)
{
    char victim[16], step[16];
    int ends[2];

    snprintf(victim, sizeof(victim), "%d", s->victim.pid);
    snprintf(step, sizeof(step), "%d", doom->step);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], 1);
        execl("/proc/self/exe", "test_fault_crash", "drive", s->dir, victim, step,
              doom->with_guardian ? "both" : "alone", text, NULL);
        _exit(127);
    }
    close(ends[1]);
    *ret_out = ends[0];
    return pid;
}

/* The guardian mends by itself; without it, recover does, and is done after one call. */
static void assert_mended(const struct scene *s, bool with_guardian, const char *what)
{
    uint64_t until = clock_now_ns() + 20 * NS_PER_SEC;

    if (with_guardian) {
        enum recover_result first;
        do { /* a command that was forked just now, and has not come to its exec, is the run still
              */
            first = journal_recover_all(s->dir, NULL, NULL);
            if (first == RECOVER_STUCK)
                fail_msg("%s: stuck", what);
        } while (first == RECOVER_CLEAN && scratch_count(s->dir, ".journal") &&
                 clock_now_ns() < until);
        assert_int_equal(journal_recover_all(s->dir, NULL, NULL), RECOVER_CLEAN);
    }
    while ((!is_well(s) || scratch_count(s->dir, ".journal")) && clock_now_ns() < until)
        clock_sleep_until(clock_now_ns() + 2 * NS_PER_MS);
    char colour[16];
    pid_t pid = reported(s, colour);
    if (!is_well(s))
        fail_msg("%s: the victim is not well: reported %d, state '%c', %u of them, broken %d", what,
                 pid, proc_state(pid) ? proc_state(pid) : '-', victims(s, false),
                 access(s->broken, F_OK) == 0);
    if (scratch_count(s->dir, ".journal"))
        fail_msg("%s: its journal is left", what);
    if (!with_guardian) /* its own environment, which was never on disk */
        assert_string_equal(colour, "blue");
}

static const char *const faults[] = {
    "pause process=victim how=ptrace",
    "pause process=victim how=sigstop",
    "kill process=victim restart_after=30ms",
    "kill process=victim signal=TERM timeout=1s restart_after=30ms",
    "stop process=victim grace=1s",
    "restart process=victim grace=1s",
    "signal process=victim signal=STOP recover_signal=CONT recover_after=30ms",
    "exec process=victim command=touch,%s revert=rm,-f,%s revert_after=30ms",
};

static char *fault_text(const struct scene *s, const char *fault)
{
    auto_buf struct buf text = BUF_INIT(4096);

    for (const char *at = strstr(fault, "%s"); at; at = strstr(fault, "%s")) {
        buf_add(&text, fault, (size_t)(at - fault));
        buf_adds(&text, s->broken);
        fault = at + 2;
    }
    buf_adds(&text, fault);
    return buf_take(&text);
}

static void die_once(const char *fault, int step, bool with_guardian)
{
    struct scene s;
    struct doom doom = { .step = step, .with_guardian = with_guardian };
    int out, status;

    scene_begin(&s);
    auto_free char *text = fault_text(&s, fault);
    pid_t driver = driver_start(&s, &doom, text, &out);
    assert_int_equal(waitpid(driver, &status, 0), driver);
    close(out);
    auto_free char *what =
        xasprintf("%s, killed at %s%s", text, fault_step_name((enum fault_step)step),
                  with_guardian ? " with its guardian" : "");
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("%s: the driver was not killed there", what);
    assert_mended(&s, with_guardian, what);
    scene_end(&s);
}

static void killed_at_each_step(void **state)
{
    const char *fault = *state;

    for (int step = FAULT_PREPARE; step <= FAULT_DONE; step++)
        for (int both = 0; both < 2; both++)
            die_once(fault, step, both);
}

static void die_some_time(const char *fault, uint64_t after_ns, bool with_guardian)
{
    struct scene s;
    struct doom doom = { .step = -1, .with_guardian = with_guardian };
    int out;
    char c;

    scene_begin(&s);
    auto_free char *text = fault_text(&s, fault);
    pid_t driver = driver_start(&s, &doom, text, &out);
    assert_int_equal(read(out, &c, 1), 1); /* its guardian is there */
    clock_sleep_until(clock_now_ns() + after_ns);
    die_together(driver, with_guardian);
    waitpid(driver, NULL, 0);
    close(out);
    auto_free char *what =
        xasprintf("%s, killed after %llu us%s", text, (unsigned long long)(after_ns / NS_PER_US),
                  with_guardian ? " with its guardian" : "");
    assert_mended(&s, with_guardian, what);
    scene_end(&s);
}

static void killed_at_random_instants(void **state)
{
    const char *fault = *state;
    struct rng rng;

    rng_seed(&rng, rng_entropy(), 0); /* the instant is in the message when it fails */
    for (int round = 0; round < 4; round++)
        die_some_time(fault, rng_below(&rng, 60 * NS_PER_MS), round & 1);
}

static void left_alone_it_ends_well(void **state)
{
    const char *fault = *state;
    struct scene s;
    struct doom doom = { .step = -1 };
    int out, status;

    scene_begin(&s);
    auto_free char *text = fault_text(&s, fault);
    pid_t driver = driver_start(&s, &doom, text, &out);
    assert_int_equal(waitpid(driver, &status, 0), driver);
    close(out);
    assert_int_equal(status, 0);
    assert_mended(&s, false, text);
    scene_end(&s);
}

/* ---- one fault, and all of them ---- */

static int test_one(const char *fault)
{
    void *state = (void *)(uintptr_t)fault;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(left_alone_it_ends_well, state),
        cmocka_unit_test_prestate(killed_at_each_step, state),
        cmocka_unit_test_prestate(killed_at_random_instants, state),
    };

    prctl(PR_SET_CHILD_SUBREAPER, 1); /* what a dead driver leaves comes to us, and is buried */
    return cmocka_run_group_tests_name(fault, tests, NULL, NULL);
}

static void no_fault_outlives_its_injector(void **state)
{
    pid_t pids[ARRAY_LEN(faults)];
    unsigned failed = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            execl("/proc/self/exe", "test_fault_crash", "fault", faults[i], NULL);
            _exit(127);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        int status = -1;
        if (waitpid(pids[i], &status, 0) != pids[i] || status != 0) {
            fprintf(stderr, "failed: %s\n", faults[i]);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "guardian") == 0)
        return guardian_main(argv[2]);
    if (argc == 3 && strcmp(argv[1], "victim") == 0)
        return victim_main(argv[2]);
    if (argc == 7 && strcmp(argv[1], "drive") == 0) {
        struct doom doom = { .step = (int)strtol(argv[4], NULL, 10),
                             .with_guardian = strcmp(argv[5], "both") == 0 };
        return drive(argv[2], (pid_t)strtol(argv[3], NULL, 10), &doom, argv[6]);
    }
    if (argc == 3 && strcmp(argv[1], "fault") == 0)
        return test_one(argv[2]);
    const struct CMUnitTest tests[] = { cmocka_unit_test(no_fault_outlives_its_injector) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
