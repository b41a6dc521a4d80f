/* The machine kinds through the whole contract, with real hogs: what they take while they hold, in
 * whose cgroup, and that nothing of them is left, whoever was killed. Sizes are small. */
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "chaoslib/helper.h"
#include "chaoslib/machine/cgroup.h"
#include "tests/unit/fault_fixture.h"
#include "tests/unit/hogs_seen.h"

static uint64_t open_files(void)
{
    FILE *f = fopen("/proc/sys/fs/file-nr", "re");
    unsigned long long n = 0;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%llu", &n), 1);
    fclose(f);
    return n;
}

static uint64_t free_in(const char *path)
{
    struct statvfs v;

    return statvfs(path, &v) == 0 ? (uint64_t)v.f_bavail * v.f_frsize : 0;
}

/* ---- one activation ---- */

struct world {
    char *dir;
    struct journal *journal;
    struct guardian *guardian;
    struct processes *processes;
    struct process_plan row;
    struct chaos_env env;
    struct proc_id victim;
};

static int world_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    struct err err = { 0 };

    w->dir = scratch_dir();
    w->victim = victim_start((const char *const[]){ "sleep", "1000", NULL }, NULL);
    w->row = (struct process_plan){ .name = "shop", .pid = w->victim.pid };
    w->processes = processes_new(&w->row, 1);
    w->journal = journal_open(w->dir, "test-run", &err);
    w->guardian = w->journal ? guardian_start(journal_path(w->journal), &err) : NULL;
    if (!w->guardian)
        fail_msg("%s", err.msg);
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
    victim_end(&w->victim);
    assert_int_equal(scratch_count(w->dir, ".journal"), 0);
    scratch_remove(w->dir);
    free(w);
    return 0;
}

enum mischief { LEAVE_IT, KILL_HELPER, KILL_WORKER, KILL_VICTIM };

struct seen {
    const struct world *w;
    enum mischief mischief;
    const char *path; /* whose free space counts */
    struct found workers;
    uint64_t resident, files, space, nofile; /* while it held */
    uint64_t cpu_ns, held_ns;
};

static void look_in_hold(struct seen *s)
{
    struct rlimit limit = { 0 };

    s->workers = workers_of(getpid());
    s->resident = resident(&s->workers);
    s->files = open_files();
    s->space = s->path ? free_in(s->path) : 0;
    if (prlimit(s->w->victim.pid, RLIMIT_NOFILE, NULL, &limit) == 0)
        s->nofile = limit.rlim_cur;
    if (s->mischief == KILL_HELPER)
        kill(children(getpid(), "chaos-helper").v[0], SIGKILL);
    if (s->mischief == KILL_WORKER)
        kill(s->workers.v[0], SIGKILL);
    if (s->mischief == KILL_VICTIM)
        kill(s->w->victim.pid, SIGKILL);
}

static void on_step(void *arg, const struct fault_run *r)
{
    struct seen *s = arg;

    if (r->step == FAULT_HOLD)
        look_in_hold(s);
    if (r->step == FAULT_REVERT && s->workers.n) {
        s->cpu_ns = cpu_ns_of(s->workers.v[0]);
        s->held_ns = clock_now_ns() - r->times.effective;
    }
}

struct outcome {
    struct fault_run r;
    struct seen seen;
    int rc;
};

static struct outcome run_fault(struct world *w, const char *text, uint64_t hold_ms,
                                enum mischief mischief, const char *path)
{
    struct outcome o = { .seen = { .w = w, .mischief = mischief, .path = path } };
    struct latch *never = latch_new();
    struct fixture_spec f;

    fixture_spec_read(&f, text);
    if (f.diag.n)
        fail_msg("%s", buf_str(&f.diag.text));
    o.r = (struct fault_run){ .kind = f.spec.kind,
                              .params = f.spec.params,
                              .env = &w->env,
                              .name = "test",
                              .hold_ns = hold_ms * NS_PER_MS,
                              .abort = never,
                              .hurry = never };
    o.rc = fault_execute(&o.r, on_step, &o.seen, NULL);
    if (o.rc < 0)
        print_message("%s: %s%s\n", text, o.r.err.msg, o.r.revert_err.msg);
    free(o.r.hits);
    o.r.hits = NULL;
    fixture_spec_done(&f);
    latch_free(never);
    assert_int_equal(children(getpid(), "chaos-helper").n, 0);
    assert_true(all_gone(&o.seen.workers));
    return o;
}

static void expect_good(const struct outcome *o)
{
    assert_int_equal(o->rc, 0);
    assert_true(o->r.verified_in && o->r.verified_out);
    assert_int_equal(o->r.ended_by, ENDED_BY_PLAN);
}

/* ---- what they take ---- */

/* The part of what it asks for that a process gets, when others want more than there is. */
static double fair_part(void)
{
    double waiting;

    if (getloadavg(&waiting, 1) != 1)
        return 1;
    return MIN(1, (double)sysconf(_SC_NPROCESSORS_ONLN) / (waiting + 1));
}

/* Wide bounds: the machine has more to do. What is held is a share of the time that went by. */
static void cpu_time_is_what_was_asked(void **state)
{
    static const struct {
        const char *text;
        double share;
        size_t workers;
    } rows[] = {
        { "cpu host=any load=40% workers=1", 0.4, 1 },
        { "cpu host=any load=10% workers=3", 0.1, 3 },
        { "cpu process=shop load=60% workers=1 ramp=1s", 0.3, 1 },
        { "cpu host=any load=50% workers=1 nice=5", 0.5, 1 },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outcome o = run_fault(*state, rows[i].text, 1000, LEAVE_IT, NULL);
        expect_good(&o);
        assert_int_equal(o.seen.workers.n, rows[i].workers);
        double got = (double)o.seen.cpu_ns / (double)o.seen.held_ns;
        print_message("%s: %.3f of a processor\n", rows[i].text, got);
        assert_true(got > 0.4 * rows[i].share * fair_part());
        assert_true(got < 1.15 * rows[i].share + 0.03);
    }
}

static void without_a_number_every_processor_has_a_worker(void **state)
{
    struct outcome o = run_fault(*state, "cpu host=any load=5%", 50, LEAVE_IT, NULL);

    expect_good(&o);
    assert_true(o.seen.workers.n >= 1);
    assert_true((long)o.seen.workers.n <= MIN(sysconf(_SC_NPROCESSORS_ONLN), WORKERS_MAX));
}

static void memory_is_really_taken(void **state)
{
    struct outcome o =
        run_fault(*state, "memory host=any size=64MiB workers=2", 50, LEAVE_IT, NULL);

    expect_good(&o);
    assert_int_equal(o.seen.workers.n, 2);
    assert_true(o.seen.resident >= (64 << 20));
    o = run_fault(*state, "memory process=shop size=64MiB ramp=10s", 50, LEAVE_IT, NULL);
    expect_good(&o);
    assert_true(o.seen.resident < (48 << 20)); /* it has only begun */
}

static void more_than_there_is_is_refused(void **state)
{
    struct outcome o = run_fault(*state, "memory host=any size=900TiB", 50, LEAVE_IT, NULL);

    assert_int_equal(o.r.err.kind, ERR_PREPARE);
    assert_non_null(strstr(o.r.err.msg, "or allow_oom: true"));
    o = run_fault(*state, "disk-fill host=any path=/tmp size=900TiB", 50, LEAVE_IT, NULL);
    assert_int_equal(o.r.err.kind, ERR_PREPARE);
    assert_non_null(strstr(o.r.err.msg, "or keep_free: 0B"));
    o = run_fault(*state, "fd-exhaustion host=any count=999999999", 50, LEAVE_IT, NULL);
    assert_int_equal(o.r.err.kind, ERR_PREPARE);
    o = run_fault(*state, "io host=any path=/no/such/folder", 50, LEAVE_IT, NULL);
    assert_string_equal(o.r.err.msg, "path: '/no/such/folder' is not a folder there: No such file "
                                     "or directory");
}

static void files_are_opened(void **state)
{
    uint64_t before = open_files();
    struct outcome o = run_fault(*state, "fd-exhaustion host=any count=5000", 50, LEAVE_IT, NULL);

    expect_good(&o);
    assert_true(o.seen.files >= before + 3000);
    EVENTUALLY(open_files() < before + 2500);
}

static void io_goes_through(void **state)
{
    struct world *w = *state;
    auto_free char *text = xasprintf("io host=any path=%s bytes=256KiB workers=2", w->dir);
    struct outcome o = run_fault(w, text, 100, LEAVE_IT, NULL);

    expect_good(&o);
    assert_int_equal(o.seen.workers.n, 2);
}

/* ---- a disk of our own ---- */

static bool mount_small(const char *dir)
{
    if (mount("chaos-test", dir, "tmpfs", 0, "size=32m") == 0)
        return true;
    print_message("SKIP a small file system cannot be mounted here: %s\n", strerror(errno));
    return false;
}

static void a_disk_is_filled_and_is_free_again(void **state)
{
    static const struct {
        const char *params;
        uint64_t lo, hi; /* free while it holds, MiB */
    } rows[] = {
        { "size=20MiB keep_free=1MiB", 11, 12 },
        { "percent=75% keep_free=1MiB", 7, 8 },
        { "keep_free=4MiB", 3, 4 },
        { "percent=100% keep_free=0B", 0, 0 },
    };
    char *dir = scratch_dir();

    if (mount_small(dir)) {
        uint64_t before = free_in(dir);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            auto_free char *text = xasprintf("disk-fill host=any path=%s %s", dir, rows[i].params);
            struct outcome o = run_fault(*state, text, 50, LEAVE_IT, dir);
            expect_good(&o);
            assert_in_range(o.seen.space >> 20, rows[i].lo, rows[i].hi);
            assert_int_equal(free_in(dir), before);
        }
        struct outcome o =
            run_fault(*state, "disk-fill host=any path=/ percent=1%", 50, LEAVE_IT, dir);
        assert_string_equal(o.r.err.msg, "'/' is that full already");
        umount(dir);
    }
    scratch_remove(dir);
}

/* A link in the target's files means what it means for the target; for us it cannot lead out. */
static void links_stay_inside(void **state)
{
    struct world *w = *state;
    auto_free char *link = xasprintf("%s/link", w->dir);
    auto_free char *text = xasprintf("io process=shop path=%s bytes=64KiB", link);

    assert_int_equal(symlink("../../../../../../../../tmp", link), 0);
    struct outcome o = run_fault(w, text, 20, LEAVE_IT, NULL);
    expect_good(&o);
    unlink(link);
    assert_int_equal(symlink("/proc/self/root", link), 0);
    o = run_fault(w, text, 20, LEAVE_IT, NULL);
    assert_int_equal(o.r.err.kind, ERR_PREPARE);
    unlink(link);
}

/* ---- in a cgroup of its own ---- */

struct box {
    char cpu[128], memory[128];
};

static bool write_to(const char *dir, const char *name, const char *value)
{
    auto_free char *path = xasprintf("%s/%s", dir, name);
    auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t len = strlen(value);

    return fd >= 0 && write(fd, value, len) == (ssize_t)len;
}

/* The victim in cgroups with a fifth of a processor and 64 MiB, as a container would be. */
static bool box_make(const struct world *w, struct box *b)
{
    struct cgroups g;
    struct err err = { 0 };
    auto_free char *pid = xasprintf("%d", w->victim.pid);

    assert_int_equal(cgroups_of(getpid(), &g, &err), 0);
    const char *cpu = cgroups_dir(&g, "cpu"), *memory = cgroups_dir(&g, "memory");
    if (!cpu || !memory)
        return false;
    snprintf(b->cpu, sizeof(b->cpu), "%.80s/chaos-test-%d", cpu, getpid());
    snprintf(b->memory, sizeof(b->memory), "%.80s/chaos-test-%d", memory, getpid());
    if ((mkdir(b->cpu, 0755) < 0 && errno != EEXIST) ||
        (mkdir(b->memory, 0755) < 0 && errno != EEXIST))
        return false;
    bool limited = write_to(b->cpu, "cpu.cfs_quota_us", "20000") ||
                   write_to(b->cpu, "cpu.max", "20000 100000");
    limited &= write_to(b->memory, "memory.limit_in_bytes", "67108864") ||
               write_to(b->memory, "memory.max", "67108864");
    return limited && write_to(b->cpu, "cgroup.procs", pid) &&
           write_to(b->memory, "cgroup.procs", pid);
}

static void box_remove(const struct world *w, const struct box *b)
{
    victim_end(&w->victim);
    EVENTUALLY(rmdir(b->cpu) == 0 || errno == ENOENT);
    EVENTUALLY(rmdir(b->memory) == 0 || errno == ENOENT);
}

static void the_targets_limits_hold_the_hog(void **state)
{
    struct world *w = *state;
    struct box b = { 0 };

    if (!box_make(w, &b)) {
        print_message(
            "SKIP no cgroups can be made here (root, and writable cgroups, are needed)\n");
        box_remove(w, &b);
        return;
    }
    struct outcome o = run_fault(w, "cpu process=shop workers=1", 1000, LEAVE_IT, NULL);
    expect_good(&o);
    assert_string_equal(o.r.mechanism, "1 worker in the target's cgroup");
    double got = (double)o.seen.cpu_ns / (double)o.seen.held_ns;
    print_message("at a quota of 0.2: %.3f of a processor\n", got);
    assert_true(got > 0.05 * fair_part() && got < 0.35);
    o = run_fault(w, "cpu process=shop", 50, LEAVE_IT, NULL);
    assert_int_equal(o.seen.workers.n, 1); /* what the quota has room for */
    o = run_fault(w, "cpu process=shop load=90% workers=1 placement=own", 500, LEAVE_IT, NULL);
    expect_good(&o);
    assert_string_equal(o.r.mechanism, "1 worker in our own cgroup");
    o = run_fault(w, "memory process=shop percent=50%", 50, LEAVE_IT, NULL);
    expect_good(&o);
    assert_in_range(o.seen.resident >> 20, 32, 60);
    o = run_fault(w, "memory process=shop size=100MiB", 50, LEAVE_IT, NULL);
    assert_int_equal(o.r.err.kind, ERR_PREPARE);
    o = run_fault(w, "memory process=shop size=100MiB ramp=200ms allow_oom=true", 20000, LEAVE_IT,
                  NULL);
    assert_true(o.rc < 0);
    assert_string_equal(o.r.err.msg,
                        "fault 'test' ended early: the hog was killed by the OOM killer");
    assert_int_equal(o.r.ended_by, ENDED_BY_ERROR);
    assert_true(o.r.verified_in && o.r.verified_out);
    assert_true(proc_is_alive(&w->victim)); /* the hog was first */
    box_remove(w, &b);
}

/* ---- who is killed ---- */

static const char *const every_hog[] = {
    "cpu host=any load=5% workers=2",    "memory host=any size=8MiB workers=2",
    "io host=any path=/tmp bytes=64KiB", "disk-fill host=any path=/tmp size=8MiB",
    "fd-exhaustion host=any count=200",
};

static void a_dead_hog_is_an_early_end(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(every_hog); i++) {
        struct outcome o = run_fault(*state, every_hog[i], 20000, KILL_WORKER, NULL);
        assert_string_equal(o.r.err.msg, "fault 'test' ended early: the hog was ended by signal 9");
        assert_true(o.rc < 0 && o.r.verified_out);
        o = run_fault(*state, every_hog[i], 20000, KILL_HELPER, NULL);
        assert_string_equal(o.r.err.msg,
                            "fault 'test' ended early: the helper that held the hog was killed");
        assert_true(o.rc < 0 && o.r.verified_out);
    }
}

static void a_target_that_leaves_ends_it(void **state)
{
    struct world *w = *state;
    struct outcome o = run_fault(w, "cpu process=shop load=5%", 20000, KILL_VICTIM, NULL);

    assert_int_equal(o.rc, 0);
    assert_int_equal(o.r.ended_by, ENDED_TARGET_GONE);
    waitpid(w->victim.pid, NULL, 0);
}

/* In a process of its own, which is killed while the fault holds. */
static pid_t start_run(struct world *w, const char *text)
{
    pid_t pid = fork();

    if (pid == 0) {
        w->env.journal = NULL;
        w->env.guardian = NULL;
        run_fault(w, text, 60000, LEAVE_IT, NULL);
        _exit(1);
    }
    return pid;
}

static void no_hog_outlives_a_killed_run(void **state)
{
    for (size_t i = 0; i < 3 * ARRAY_LEN(every_hog); i++) {
        pid_t run = start_run(*state, every_hog[i % ARRAY_LEN(every_hog)]);
        EVENTUALLY(workers_of(run).n > 0);
        struct found helpers = children(run, "chaos-helper"), workers = workers_of(run);
        kill(run, SIGKILL);
        waitpid(run, NULL, 0);
        EVENTUALLY(all_gone(&workers) && all_gone(&helpers));
    }
}

/* ---- the limit of a process ---- */

static uint64_t nofile_of(const struct world *w)
{
    struct rlimit limit = { 0 };

    assert_int_equal(prlimit(w->victim.pid, RLIMIT_NOFILE, NULL, &limit), 0);
    return limit.rlim_cur;
}

static void a_process_opens_no_more(void **state)
{
    struct world *w = *state;
    uint64_t before = nofile_of(w);
    struct outcome o = run_fault(w, "fd-exhaustion process=shop", 50, LEAVE_IT, NULL);

    expect_good(&o);
    assert_int_equal(o.seen.nofile, 3); /* sleep has 0, 1 and 2 */
    assert_int_equal(nofile_of(w), before);
    o = run_fault(w, "fd-exhaustion process=shop leave=7", 50, LEAVE_IT, NULL);
    expect_good(&o);
    assert_int_equal(o.seen.nofile, 10);
    assert_int_equal(nofile_of(w), before);
}

static int undo(const struct world *w, uint64_t old, uint64_t ours)
{
    auto(json) struct json *record = json_object();
    struct json *list = json_put(record, "limits", json_array());
    struct json *j = json_put(list, NULL, json_object());
    struct err err = { 0 };

    json_put_u64(j, "pid", (uint64_t)w->victim.pid);
    json_put_u64(j, "start_ticks", w->victim.start_ticks);
    json_put_u64(j, "old", old);
    json_put_u64(j, "ours", ours);
    return fault_kind_find("fd-exhaustion", "process")->undo(record, &err);
}

static void only_our_limit_is_given_back(void **state)
{
    struct world *w = *state;
    struct rlimit limit;

    assert_int_equal(prlimit(w->victim.pid, RLIMIT_NOFILE, NULL, &limit), 0);
    uint64_t old = limit.rlim_cur;
    limit.rlim_cur = 5;
    assert_int_equal(prlimit(w->victim.pid, RLIMIT_NOFILE, &limit, NULL), 0);
    assert_int_equal(undo(w, old, 7), 1); /* somebody else's */
    assert_int_equal(nofile_of(w), 5);
    assert_int_equal(undo(w, old, 5), 0);
    assert_int_equal(nofile_of(w), old);
    assert_int_equal(undo(w, old, 5), 1);
    w->victim.start_ticks++; /* another process by the same number */
    assert_int_equal(undo(w, old, old), 1);
    w->victim.start_ticks--;
}

#define WORLD(f) cmocka_unit_test_setup_teardown(f, world_up, world_down)

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "guardian") == 0)
        return guardian_main(argv[2]);
    if (argc == 3 && strcmp(argv[1], "helper") == 0)
        return helper_main(argv[2]);
    const struct CMUnitTest tests[] = {
        WORLD(cpu_time_is_what_was_asked),
        WORLD(without_a_number_every_processor_has_a_worker),
        WORLD(memory_is_really_taken),
        WORLD(more_than_there_is_is_refused),
        WORLD(files_are_opened),
        WORLD(io_goes_through),
        WORLD(a_disk_is_filled_and_is_free_again),
        WORLD(links_stay_inside),
        WORLD(the_targets_limits_hold_the_hog),
        WORLD(a_dead_hog_is_an_early_end),
        WORLD(a_target_that_leaves_ends_it),
        WORLD(no_hog_outlives_a_killed_run),
        WORLD(a_process_opens_no_more),
        WORLD(only_our_limit_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
