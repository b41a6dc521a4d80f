/* The machine kinds on real containers: the hogs work in the container's cgroups and under its
 * limits, see its files, and leave with it. */
#include <sys/resource.h>

#include "chaoslib/machine/cgroup.h"
#include "tests/unit/docker_fixture.h"
#include "tests/unit/hogs_seen.h"

struct seen {
    struct found workers;
    char cgroup[CGROUP_PATH_MAX]; /* of the first worker */
    uint64_t resident, nofile;
    pid_t watched;
    struct docker *docker;
    const char *kill; /* the container to kill while it holds; NULL: none */
    uint64_t cpu_ns, held_ns;
};

static void on_step(void *arg, const struct fault_run *r)
{
    struct seen *s = arg;
    struct cgroups g = { 0 };
    struct rlimit limit = { 0 };

    if (r->step == FAULT_HOLD) {
        s->workers = workers_of(getpid());
        s->resident = resident(&s->workers);
        if (s->workers.n && cgroups_of(s->workers.v[0], &g, NULL) == 0 && cgroups_dir(&g, "cpu"))
            snprintf(s->cgroup, sizeof(s->cgroup), "%s", cgroups_dir(&g, "cpu"));
        if (s->watched && prlimit(s->watched, RLIMIT_NOFILE, NULL, &limit) == 0)
            s->nofile = limit.rlim_cur;
        if (s->kill)
            box_do(s->docker, s->kill, "kill");
    }
    if (r->step == FAULT_REVERT && s->workers.n) {
        s->cpu_ns = cpu_ns_of(s->workers.v[0]);
        s->held_ns = clock_now_ns() - r->times.effective;
    }
}

struct outcome {
    struct fault_run r;
    struct seen seen;
    struct fault_hit hits[2];
    int rc;
};

/* `o->seen` says what to do meanwhile. */
static void run_fault(struct docker *d, const char *text, uint64_t hold_ms, struct outcome *o)
{
    const struct chaos_env env = { .run_id = "test-run", .docker = d };
    struct latch *never = latch_new();
    struct fixture_spec f;

    fixture_spec_read(&f, text);
    if (f.diag.n)
        fail_msg("%s", buf_str(&f.diag.text));
    o->seen.docker = d;
    o->r = (struct fault_run){ .kind = f.spec.kind,
                               .params = f.spec.params,
                               .env = &env,
                               .name = "test",
                               .hold_ns = hold_ms * NS_PER_MS,
                               .abort = never,
                               .hurry = never };
    o->rc = fault_execute(&o->r, on_step, &o->seen, NULL);
    if (o->rc < 0)
        print_message("%s: %s%s\n", text, o->r.err.msg, o->r.revert_err.msg);
    memcpy(o->hits, o->r.hits, MIN(o->r.n_hits, 2) * sizeof(*o->hits));
    free(o->r.hits);
    o->r.hits = NULL;
    fixture_spec_done(&f);
    latch_free(never);
    assert_int_equal(children(getpid(), "chaos-helper").n, 0);
    assert_true(all_gone(&o->seen.workers));
}

static void small(struct json *body)
{
    struct json *host = json_put(body, "HostConfig", json_object());

    json_put_u64(host, "NanoCpus", 200000000); /* a fifth of a processor */
    json_put_u64(host, "Memory", 67108864);
    json_put_u64(host, "MemorySwap", 67108864);
}

static void its_limits_hold_the_hog(void **state)
{
    struct docker *d = *state;
    auto_free char *id = box_start(d, &(struct box){ .name = "chaos-machine-a", .more = small });
    struct outcome o = { 0 };

    run_fault(d, "cpu docker=chaos-machine-a workers=1", 1500, &o);
    assert_int_equal(o.rc, 0);
    assert_non_null(strstr(o.seen.cgroup, id));
    double got = (double)o.seen.cpu_ns / (double)o.seen.held_ns;
    print_message("at a quota of 0.2: %.3f of a processor\n", got);
    assert_true(got > 0 && got < 0.35);
    assert_string_equal(o.hits[0].name, "chaos-machine-a");
    assert_string_equal(o.hits[0].id, id);
    assert_true(o.hits[0].requested <= o.hits[0].effective &&
                o.hits[0].effective < o.hits[0].reverted);

    o = (struct outcome){ 0 };
    run_fault(d, "memory docker=chaos-machine-a percent=50%", 50, &o);
    assert_int_equal(o.rc, 0);
    assert_true(o.seen.resident >= (32 << 20));
    o = (struct outcome){ 0 };
    run_fault(d, "memory docker=chaos-machine-a size=100MiB ramp=200ms allow_oom=true", 20000, &o);
    assert_string_equal(o.r.err.msg,
                        "fault 'test' ended early: the hog was killed by the OOM killer");
    assert_true(box_look(d, id).running); /* the hog was first */
    box_remove(d, id);
}

static void files_and_limits_are_its_own(void **state)
{
    struct docker *d = *state;
    auto_free char *id = box_start(d, &(struct box){ .name = "chaos-machine-b" });
    struct outcome o = { .seen = { .watched = box_look(d, id).pid } };
    struct rlimit before, after;

    run_fault(d, "io docker=chaos-machine-b path=/tmp bytes=128KiB", 50, &o);
    assert_int_equal(o.rc, 0);
    o = (struct outcome){ 0 };
    run_fault(d, "io docker=chaos-machine-b path=/only/here", 50, &o);
    assert_int_equal(o.r.err.kind, ERR_PREPARE);
    o = (struct outcome){ 0 };
    run_fault(d, "disk-fill docker=chaos-machine-b path=/tmp size=32MiB", 50, &o);
    assert_int_equal(o.rc, 0);
    o = (struct outcome){ .seen = { .watched = box_look(d, id).pid } };
    assert_int_equal(prlimit(o.seen.watched, RLIMIT_NOFILE, NULL, &before), 0);
    run_fault(d, "fd-exhaustion docker=chaos-machine-b", 50, &o);
    assert_int_equal(o.rc, 0);
    assert_true(o.seen.nofile < 20 && o.seen.nofile < before.rlim_cur);
    assert_int_equal(prlimit(o.seen.watched, RLIMIT_NOFILE, NULL, &after), 0);
    assert_int_equal(after.rlim_cur, before.rlim_cur);
    box_remove(d, id);
}

static void several_at_once(void **state)
{
    struct docker *d = *state;
    auto_free char *a = box_start(d, &(struct box){ .name = "chaos-machine-1" });
    auto_free char *b = box_start(d, &(struct box){ .name = "chaos-machine-2" });
    struct outcome o = { 0 };

    run_fault(d, "cpu docker=chaos-machine-1,chaos-machine-2 load=5% workers=1", 50, &o);
    assert_int_equal(o.rc, 0);
    assert_string_equal(o.hits[0].id, a);
    assert_string_equal(o.hits[1].id, b);
    box_remove(d, a);
    box_remove(d, b);
}

/* A hog that stayed would keep the container's cgroup from being removed. */
static void it_leaves_with_the_container(void **state)
{
    struct docker *d = *state;
    auto_free char *id = box_start(d, &(struct box){ .name = "chaos-machine-c" });
    struct outcome o = { .seen = { .kill = id } };

    run_fault(d, "cpu docker=chaos-machine-c load=5% workers=1", 20000, &o);
    assert_int_equal(o.rc, 0);
    assert_int_equal(o.r.ended_by, ENDED_TARGET_GONE);
    box_wait_status(d, id, "exited");
    box_do(d, id, "start");
    assert_true(box_look(d, id).running);
    EVENTUALLY(access(o.seen.cgroup, F_OK) == 0); /* made anew by the same name */
    box_remove(d, id);
    EVENTUALLY(access(o.seen.cgroup, F_OK) < 0);
}

/* A hog in a paused container still can be ended: it is not in the freezer. */
static void a_paused_one_lets_it_go(void **state)
{
    struct docker *d = *state;
    auto_free char *id = box_start(d, &(struct box){ .name = "chaos-machine-d" });
    struct outcome o = { 0 };

    box_do(d, id, "pause");
    run_fault(d, "cpu docker=chaos-machine-d load=5% workers=1", 50, &o);
    box_do(d, id, "unpause");
    assert_true(o.rc == 0 || o.r.step == FAULT_DONE);
    assert_true(all_gone(&o.seen.workers));
    box_remove(d, id);
}

static int engine_up(void **state)
{
    *state = docker_fixture_open();
    return 0;
}

static int engine_down(void **state)
{
    docker_fixture_close(*state);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "helper") == 0)
        return helper_main(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_limits_hold_the_hog), cmocka_unit_test(files_and_limits_are_its_own),
        cmocka_unit_test(several_at_once),         cmocka_unit_test(it_leaves_with_the_container),
        cmocka_unit_test(a_paused_one_lets_it_go),
    };
    return cmocka_run_group_tests(tests, engine_up, engine_down);
}
