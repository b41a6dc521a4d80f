/* limits of a process, in real cgroups of whatever version is here: who is moved, what the kernel
 * then allows, and that all are back where they were and nothing is left. In a virtual machine with
 * v2 alone, too. */
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "chaoslib/machine/confine.h"
#include "tests/unit/fault_fixture.h"

#define V2 "/sys/fs/cgroup"

/* ---- the victim: does what its child and it are told by signals ---- */

static volatile sig_atomic_t wanted;

static void on_signal(int signo)
{
    wanted = signo;
}

static void take_memory(void)
{
    size_t n = (size_t)96 << 20;
    char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    for (size_t i = 0; p != MAP_FAILED && i < n; i += 4096)
        p[i] = 1;
    if (p != MAP_FAILED)
        munmap(p, n);
}

/* USR1: take memory. USR2: burn until the next one. HUP: start a child; says whether it could. */
static int victim_main(const char *report)
{
    bool is_new = true;

    signal(SIGUSR1, on_signal);
    signal(SIGUSR2, on_signal);
    signal(SIGHUP, on_signal);
    for (;;) {
        FILE *f = NULL;
        int signo = wanted;
        pid_t pid = 0;
        wanted = 0;
        if (signo == SIGUSR1)
            take_memory();
        while (signo == SIGUSR2 && !wanted)
            ;
        if (signo == SIGHUP && (pid = fork()) == 0) {
            signal(SIGHUP, SIG_DFL);
            pause();
            _exit(0);
        }
        if ((signo || is_new) && (f = fopen(report, "a"))) {
            fprintf(f, "%d %d\n", signo, (int)pid);
            fclose(f);
        }
        is_new = false;
        if (!wanted)
            usleep(2000);
    }
}

/* ---- the world: a victim, and a child of it ---- */

struct world {
    char *dir, *report;
    struct proc_id victim;
    pid_t child;
    struct process_plan row;
    struct processes *processes;
    struct chaos_env env;
    struct cgroups before;
};

static unsigned reports(const struct world *w, int *ret_pid)
{
    FILE *f = fopen(w->report, "r");
    unsigned n = 0;
    int signo, pid;

    while (f && fscanf(f, "%d %d", &signo, &pid) == 2) {
        n++;
        *ret_pid = pid;
    }
    if (f)
        fclose(f);
    return n;
}

/* What it said of it; with HUP a child's number, -1 when there is none. */
static int tell(const struct world *w, int signo)
{
    int pid = 0;
    unsigned before = reports(w, &pid);

    kill(w->victim.pid, signo);
    EVENTUALLY(reports(w, &pid) > before);
    return pid;
}

static int world_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));

    w->dir = scratch_dir();
    w->report = xasprintf("%s/report", w->dir);
    w->victim =
        victim_start((const char *const[]){ "/proc/self/exe", "victim", w->report, NULL }, NULL);
    int pid;
    EVENTUALLY(reports(w, &pid) == 1);
    w->child = tell(w, SIGHUP);
    assert_true(w->child > 1);
    w->row = (struct process_plan){ .name = "victim", .pid = w->victim.pid };
    w->processes = processes_new(&w->row, 1);
    w->env = (struct chaos_env){ .run_id = "test", .processes = w->processes };
    assert_int_equal(cgroups_of(w->victim.pid, &w->before, NULL), 0);
    *state = w;
    return 0;
}

static int world_down(void **state)
{
    struct world *w = *state;

    kill(w->child, SIGKILL);
    victim_end(&w->victim);
    processes_free(w->processes);
    scratch_remove(w->dir);
    free(w->report);
    free(w);
    return 0;
}

static bool is_where_it_was(const struct world *w, pid_t pid)
{
    struct cgroups now;

    return cgroups_of(pid, &now, NULL) == 0 && cgroups_equal(&now, &w->before);
}

/* ---- one fault, with something done in its hold ---- */

typedef void meanwhile_fn(struct world *w);
static meanwhile_fn eat;

struct outcome {
    struct world *w;
    struct fault_run r;
    meanwhile_fn *meanwhile;
    struct cgroups in_hold, child_in_hold;
};

static void on_step(void *arg, const struct fault_run *r)
{
    struct outcome *o = arg;

    if (r->step != FAULT_HOLD)
        return;
    err_ignore(cgroups_of(o->w->victim.pid, &o->in_hold, NULL), "it is compared");
    err_ignore(cgroups_of(o->w->child, &o->child_in_hold, NULL), "it is compared");
    if (o->meanwhile)
        o->meanwhile(o->w);
}

static int run_limits(struct world *w, const char *text, meanwhile_fn *meanwhile, struct outcome *o)
{
    auto_free char *whole = xasprintf("limits process=victim %s", text);
    struct fixture_spec f;

    fixture_spec_read(&f, whole);
    if (f.diag.n)
        fail_msg("%s", buf_str(&f.diag.text));
    *o = (struct outcome){ .w = w, .meanwhile = meanwhile };
    o->r = (struct fault_run){ .kind = f.spec.kind,
                               .params = f.spec.params,
                               .env = &w->env,
                               .name = "test",
                               .hold_ns = (meanwhile == eat ? 20000 : 100) * NS_PER_MS,
                               .abort = latch_new(),
                               .hurry = latch_new() };
    int rc = fault_execute(&o->r, on_step, o, NULL);
    if (rc < 0)
        print_message("%s: %s%s\n", text, o->r.err.msg, o->r.revert_err.msg);
    latch_free(o->r.abort);
    latch_free(o->r.hurry);
    fixture_spec_done(&f);
    return rc;
}

static void all_go_in_and_come_back(void **state)
{
    struct world *w = *state;
    struct outcome o;

    assert_int_equal(run_limits(w, "cpu=0.5 memory=64MiB pids=50", NULL, &o), 0);
    print_message("by %s\n", o.r.mechanism);
    assert_true(o.r.verified_in && o.r.verified_out);
    assert_false(cgroups_equal(&o.in_hold, &w->before));
    assert_true(cgroups_equal(&o.in_hold, &o.child_in_hold));
    assert_non_null(strstr(cgroups_dir(&o.in_hold, "cpu"), CONFINE_PREFIX));
    for (size_t i = 0; i < o.in_hold.n; i++)
        if (strstr(o.in_hold.v[i].dir, CONFINE_PREFIX))
            assert_int_equal(access(o.in_hold.v[i].dir, F_OK), -1);
    assert_true(is_where_it_was(w, w->victim.pid) && is_where_it_was(w, w->child));
    assert_true(o.r.times.effective < o.r.times.reverted);
}

static uint64_t cpu_ticks(pid_t pid)
{
    return process_stat_field(pid, 14) + process_stat_field(pid, 15);
}

static double burned; /* processors */

static void burn(struct world *w)
{
    uint64_t began = clock_now_ns(), ticks = cpu_ticks(w->victim.pid);

    kill(w->victim.pid, SIGUSR2);
    clock_sleep_until(began + 1500 * NS_PER_MS);
    burned = (double)(cpu_ticks(w->victim.pid) - ticks) / (double)sysconf(_SC_CLK_TCK) /
             ((double)(clock_now_ns() - began) / 1e9);
    tell(w, SIGUSR2);
}

static void it_gets_less_cpu(void **state)
{
    struct outcome o;

    assert_int_equal(run_limits(*state, "cpu=0.1", burn, &o), 0);
    print_message("%.3f processors were burned\n", burned);
    assert_true(burned > 0.02 && burned < 0.15);
}

static int born;

static void give_birth(struct world *w)
{
    for (int i = 0; i < 3; i++) {
        born = tell(w, SIGHUP);
        if (born > 0)
            kill(born, SIGKILL); /* a zombie is still counted */
    }
}

static void it_gets_no_more_processes(void **state)
{
    struct outcome o;

    assert_int_equal(run_limits(*state, "pids=3", give_birth, &o), 0);
    assert_int_equal(born, -1);
    born = tell(*state, SIGHUP);
    assert_true(born > 0);
    kill(born, SIGKILL);
}

static void eat(struct world *w)
{
    kill(w->victim.pid, SIGUSR1);
    EVENTUALLY(!proc_is_alive(&w->victim));
}

/* The kernel ends it, and the fault with it; what it had started comes back. */
static void past_its_memory_it_is_killed(void **state)
{
    struct world *w = *state;
    struct outcome o;

    tell(w, SIGUSR1); /* as much as it likes before */
    assert_int_equal(run_limits(w, "memory=32MiB", eat, &o), 0);
    assert_int_equal(o.r.ended_by, ENDED_TARGET_GONE);
    assert_true(is_where_it_was(w, w->child));
}

static void what_cannot_be_is_told(void **state)
{
    struct world *w = *state;
    struct outcome o;

    if (getppid() <= 1) {
        print_message("our parent is init: left out\n");
        return;
    }
    w->row.pid = getppid();
    assert_true(run_limits(w, "cpu=0.5", NULL, &o) < 0);
    assert_non_null(strstr(o.r.err.msg, "is above chaos-load itself"));
}

/* A run that died anywhere on the way: the journal alone is enough. */
static void the_journal_alone_undoes_it(void **state)
{
    static const struct confine_limits limits = { .cpu = 0.5, .pids = 40 };
    struct world *w = *state;
    auto(json) struct json *plan = json_object(), *other = json_object();
    const struct fault_kind *kind = fault_kind_find("limits", "process");
    struct err err = { 0 };

    assert_int_equal(confine_plan(w->victim.pid, &limits, "t1", plan, &err), 0);
    assert_int_equal(kind->undo(plan, &err), 1);
    if (confine_enter(plan, w->victim.pid, false, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(confine_look(plan, w->child, &err), 0);
    assert_true(confine_plan(w->victim.pid, &limits, "t2", other, &err) < 0);
    assert_non_null(strstr(err.msg, "with limits of another fault"));
    assert_int_equal(kind->undo(plan, &err), 0);
    assert_true(confine_is_left(plan) && is_where_it_was(w, w->child));
    assert_int_equal(kind->undo(plan, &err), 1);
    /* made, and nobody in it yet */
    const char *first = json_str(plan, "groups.0.dir", "");
    assert_int_equal(mkdir(first, 0755), 0);
    assert_int_equal(kind->undo(plan, &err), 0);
    assert_int_equal(access(first, F_OK), -1);
}

static void only_what_is_ours_is_removed(void **state)
{
    auto(json) struct json *plan = json_object();
    struct json *g = json_put(json_put(plan, "groups", json_array()), NULL, json_object());
    struct err err = { 0 };

    (void)state;
    json_put_str(g, "dir", "/sys/fs/cgroup/system.slice");
    json_put_str(g, "back", "/sys/fs/cgroup");
    assert_true(confine_leave(plan, &err) < 0);
    assert_non_null(strstr(err.msg, "is not a cgroup of ours"));
}

/* ---- v2: a cgroup with processes has no children with limits, so ours is made beside it ---- */

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        fail_msg("%s: %s", path, strerror(errno));
}

static void beside_a_cgroup_its_limits_are_kept(void **state)
{
    struct world *w = *state;
    auto(json) struct json *plan = json_object(), *tighter = json_object();
    struct err err = { 0 };
    char pid[16];

    if (access(V2 "/cgroup.controllers", R_OK) < 0) {
        print_message("there is no v2 alone: left out\n");
        return;
    }
    write_text(V2 "/cgroup.subtree_control", "+cpu +memory +pids");
    mkdir(V2 "/test", 0755);
    write_text(V2 "/test/cgroup.subtree_control", "+memory +pids");
    mkdir(V2 "/test/leaf", 0755);
    write_text(V2 "/test/leaf/memory.max", "67108864");
    snprintf(pid, sizeof(pid), "%d", w->victim.pid);
    write_text(V2 "/test/leaf/cgroup.procs", pid);
    assert_true(confine_plan(w->victim.pid, &(struct confine_limits){ .memory = 100 << 20 }, "t3",
                             tighter, &err) < 0);
    assert_non_null(strstr(err.msg, "has a tighter limit already"));
    if (confine_plan(w->victim.pid, &(struct confine_limits){ .cpu = 0.5 }, "t3", plan, &err) < 0 ||
        confine_enter(plan, w->victim.pid, false, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(confine_look(plan, w->victim.pid, &err), 0);
    FILE *f = fopen(V2 "/test/" CONFINE_PREFIX "t3/memory.max", "r");
    long kept = 0;
    assert_true(f && fscanf(f, "%ld", &kept) == 1);
    fclose(f);
    assert_int_equal(kept, 67108864);
    assert_int_equal(confine_leave(plan, &err), 0);
    char text[100] = "";
    f = fopen(V2 "/test/cgroup.subtree_control", "r");
    assert_true(f && fgets(text, sizeof(text), f));
    fclose(f);
    assert_null(strstr(text, "cpu")); /* switched on by us, and off again */
    write_text(V2 "/cgroup.procs", pid);
    rmdir(V2 "/test/leaf");
    assert_int_equal(rmdir(V2 "/test"), 0);
}

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_up, world_down)

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "victim") == 0)
        return victim_main(argv[2]);
    const struct CMUnitTest tests[] = {
        WORLD_TEST(all_go_in_and_come_back),      WORLD_TEST(it_gets_less_cpu),
        WORLD_TEST(it_gets_no_more_processes),    WORLD_TEST(past_its_memory_it_is_killed),
        WORLD_TEST(what_cannot_be_is_told),       WORLD_TEST(the_journal_alone_undoes_it),
        WORLD_TEST(only_what_is_ours_is_removed), WORLD_TEST(beside_a_cgroup_its_limits_are_kept),
    };
    struct cgroups own;
    struct err err = { 0 };
    auto(json) struct json *plan = json_object();

    if (geteuid() != 0 || cgroups_of(getpid(), &own, &err) < 0 ||
        confine_plan(getpid(), &(struct confine_limits){ 0.5, 64 << 20, 10 }, "x", plan, &err) <
            0 ||
        access(cgroups_dir(&own, "cpu"), W_OK) < 0) {
        printf("SKIP limits need root and cgroups that can be written: %s\n", err.msg);
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
