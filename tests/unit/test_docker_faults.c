/* The faults in containers, each through the whole contract on a real engine: what is true while
 * they hold, what is true after, and that they undo what a dead run left. */
#include "chaoslib/docker/events.h"
#include "chaoslib/journal_file.h"
#include "tests/unit/docker_fixture.h"
#include "tests/unit/fault_fixture.h"

struct world {
    char *dir;
    struct docker *docker;
    struct docker_events *events;
    struct journal *journal;
    struct guardian *guardian;
    struct latch *abort, *hurry;
    struct chaos_env env;
    char name[32];
    char *id, *bystander;
    struct docker_container before;
};

static int world_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    struct err err = { 0 };

    w->dir = scratch_dir();
    w->docker = docker_fixture_open();
    w->events = docker_events_start(w->docker, &err);
    w->journal = journal_open(w->dir, "test-run", &err);
    w->guardian = w->journal ? guardian_start(journal_path(w->journal), &err) : NULL;
    if (!w->events || !w->guardian) {
        fprintf(stderr, "%s\n", err.msg);
        return -1;
    }
    w->abort = latch_new();
    w->hurry = latch_new();
    w->env = (struct chaos_env){ .run_id = "test-run",
                                 .docker = w->docker,
                                 .docker_events = w->events,
                                 .journal = w->journal,
                                 .guardian = w->guardian };
    snprintf(w->name, sizeof(w->name), "victim-%d", getpid());
    w->id = box_start(w->docker, &(struct box){ .name = w->name });
    w->bystander = box_start(w->docker, &(struct box){ 0 });
    w->before = box_look(w->docker, w->id);
    *state = w;
    return 0;
}

static int world_down(void **state)
{
    struct world *w = *state;

    box_remove(w->docker, w->id);
    box_remove(w->docker, w->bystander);
    journal_close(w->journal);
    guardian_stop(w->guardian);
    docker_events_stop(w->events);
    docker_fixture_close(w->docker);
    latch_free(w->abort);
    latch_free(w->hurry);
    assert_int_equal(scratch_count(w->dir, ".journal"), 0);
    scratch_remove(w->dir);
    free(w->id);
    free(w->bystander);
    free(w);
    return 0;
}

struct outcome {
    struct fault_run r;
    struct world *w;
    struct docker_container in_hold; /* what an inspect said meanwhile */
    const char *meanwhile;           /* a call to the engine that someone else makes in the hold */
    bool removed_in_hold;
    int rc;
};

static void on_step(void *arg, const struct fault_run *r)
{
    struct outcome *o = arg;
    struct err err = { 0 };

    if (r->step != FAULT_HOLD)
        return;
    o->removed_in_hold = docker_inspect(o->w->docker, o->w->id, &o->in_hold, &err) == 1;
    if (o->meanwhile && strcmp(o->meanwhile, "remove") == 0)
        box_remove(o->w->docker, o->w->id);
    else if (o->meanwhile)
        box_do(o->w->docker, o->w->id, o->meanwhile);
}

static void run_fault(struct outcome *o, struct world *w, const char *what, uint64_t hold_ns)
{
    auto_free char *text = xasprintf("%s", what);
    struct fixture_spec f;

    fixture_spec_read(&f, text);
    if (f.diag.n)
        fail_msg("%s", buf_str(&f.diag.text));
    o->w = w;
    o->r = (struct fault_run){ .kind = f.spec.kind,
                               .params = f.spec.params,
                               .env = &w->env,
                               .name = "test",
                               .hold_ns = hold_ns,
                               .abort = w->abort,
                               .hurry = w->hurry };
    rng_seed(&o->r.rng, 1, 1);
    o->r.times.planned = clock_now_ns() + 200 * NS_PER_MS;
    o->rc = fault_execute(&o->r, on_step, o, NULL);
    if (err_is_set(&o->r.err))
        print_message("err: %s\n", o->r.err.msg);
    if (err_is_set(&o->r.revert_err))
        print_message("revert: %s\n", o->r.revert_err.msg);
    fixture_spec_done(&f);
}

static void print_late(const struct outcome *o)
{
    const struct fault_times *t = &o->r.times;

    print_message("%s: planned to effective %.1f ms, acknowledged after %.1f ms\n", o->r.kind->name,
                  (double)(t->effective - t->planned) / 1e6,
                  (double)(t->acknowledged - t->planned) / 1e6);
}

static void each_kind_is_in_and_out_again(void **state)
{
    static const struct {
        const char *text, *status; /* in the hold */
        uint64_t hold_ns;
        bool same; /* not started again */
    } kinds[] = {
        { "kill restart_after=300ms", "exited", 0, false },
        { "kill signal=TERM restart_after=300ms", "exited", 0, false },
        { "stop grace=1s", "exited", 300 * NS_PER_MS, false },
        { "pause", "paused", 300 * NS_PER_MS, true },
        { "restart grace=1s", "running", 0, false },
        { "limits cpu=0.2 memory=32MiB pids=20", "running", 300 * NS_PER_MS, true },
        { "disconnect", "running", 300 * NS_PER_MS, true },
        { "exec command=touch,/tmp/x revert=rm,/tmp/x revert_after=200ms", "running", 0, true },
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct outcome o = { 0 };
        char text[200];
        w->before = box_look(w->docker, w->id);
        struct docker_container other = box_look(w->docker, w->bystander);
        snprintf(text, sizeof(text), "%s docker=%s", kinds[i].text, w->name);
        run_fault(&o, w, text, kinds[i].hold_ns);
        if (o.rc != 0 || !o.r.verified_in || !o.r.verified_out)
            fail_msg("%s: %s%s", text, o.r.err.msg, o.r.revert_err.msg);
        print_late(&o);
        assert_string_equal(o.in_hold.status, kinds[i].status);
        assert_int_equal(o.r.ended_by, ENDED_BY_PLAN);
        struct docker_container now = box_look(w->docker, w->id);
        assert_string_equal(now.status, "running");
        assert_int_equal(docker_is_same(&now, &w->before), kinds[i].same);
        assert_int_equal(o.r.n_hits, 1);
        const struct fault_hit *h = &o.r.hits[0];
        assert_string_equal(h->name, w->name);
        assert_string_equal(h->id, w->id);
        assert_true(h->requested <= h->effective && h->effective < h->reverted);
        assert_true(o.r.times.effective == h->effective && o.r.times.reverted == h->reverted);
        assert_true(h->reverted >= h->effective + MAX(o.r.hold_ns, 1));
        struct docker_container still = box_look(w->docker, w->bystander);
        assert_true(docker_is_same(&other, &still));
        free(o.r.hits);
    }
}

static void a_plain_kill_and_a_remove_stay(void **state)
{
    struct world *w = *state;
    struct outcome o = { 0 }, gone = { 0 };
    char text[200];

    snprintf(text, sizeof(text), "kill docker=%s", w->name);
    run_fault(&o, w, text, 0);
    assert_int_equal(o.rc, 0);
    assert_true(o.r.hits[0].reverted == 0);
    struct docker_container now = box_look(w->docker, w->id);
    assert_string_equal(now.status, "exited");
    assert_int_equal(now.exit_code, 137);
    snprintf(text, sizeof(text), "remove docker=%s allow=true", w->name);
    run_fault(&gone, w, text, 0);
    assert_int_equal(gone.rc, 0);
    assert_true(gone.removed_in_hold);
    free(o.r.hits);
    free(gone.r.hits);
}

static void always(struct json *body)
{
    struct json *host = (struct json *)(uintptr_t)json_get(body, "HostConfig");

    json_put_str(json_put(host, "RestartPolicy", json_object()), "Name", "always");
}

/* The engine takes it for a crash, as it does not with a kill. */
static void a_crash_is_left_to_the_restart_policy(void **state)
{
    struct world *w = *state;
    struct outcome o = { 0 }, dead = { 0 }, deaf = { 0 };
    auto_free char *name = xasprintf("reborn-%d", getpid());
    auto_free char *id = box_start(w->docker, &(struct box){ .name = name, .more = always });
    auto_free char *text = xasprintf("crash docker=%s", name);
    auto_free char *alone = xasprintf("crash docker=%s", w->name);
    auto_free char *segv = xasprintf("crash docker=%s signal=SEGV timeout=200ms", name);
    struct docker_container before = box_look(w->docker, id);

    run_fault(&o, w, text, 0);
    assert_int_equal(o.rc, 0);
    print_late(&o);
    struct docker_container after = box_look(w->docker, id);
    assert_string_equal(after.status, "running");
    assert_false(docker_is_same(&before, &after));
    assert_true(o.r.hits[0].effective < o.r.hits[0].reverted);
    assert_int_equal(o.r.times.reverted, o.r.hits[0].reverted);
    assert_non_null(strstr(o.r.mechanism, "restart policy: always"));
    run_fault(&deaf, w, segv, 0);
    assert_true(deaf.rc < 0);
    assert_non_null(strstr(deaf.r.err.msg, "gets only signals that it handles"));
    run_fault(&dead, w, alone, 0);
    assert_int_equal(dead.rc, 0);
    assert_int_equal(dead.r.hits[0].reverted, 0);
    struct docker_container now = box_look(w->docker, w->id);
    assert_string_equal(now.status, "exited");
    assert_int_equal(now.exit_code, 137);
    box_remove(w->docker, id);
    free(o.r.hits);
    free(deaf.r.hits);
    free(dead.r.hits);
}

/* What others do to the container while the fault holds. */
static void what_others_do_meanwhile_ends_it(void **state)
{
    static const struct {
        const char *text, *meanwhile, *status;
        uint64_t hold_ns;
    } cases[] = {
        { "pause", "unpause", "running", 20 * NS_PER_SEC },
        { "pause", "restart?t=0", "running", 20 * NS_PER_SEC },
        { "kill restart_after=20s", "start", "running", 0 },
        { "stop grace=1s", "start", "running", 20 * NS_PER_SEC },
        { "pause", "remove", NULL, 20 * NS_PER_SEC },
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct outcome o = { .meanwhile = cases[i].meanwhile };
        struct docker_container now;
        char text[200];
        snprintf(text, sizeof(text), "%s docker=%s", cases[i].text, w->name);
        run_fault(&o, w, text, cases[i].hold_ns);
        assert_int_equal(o.rc, 0);
        assert_int_equal(o.r.ended_by, ENDED_TARGET_GONE);
        if (cases[i].status)
            assert_string_equal(box_look(w->docker, w->id).status, cases[i].status);
        else
            assert_int_equal(docker_inspect(w->docker, w->id, &now, NULL), 1);
        free(o.r.hits);
    }
}

static void a_foreign_pause_is_left_alone(void **state)
{
    struct world *w = *state;
    struct outcome o = { 0 };
    char text[200];

    box_do(w->docker, w->id, "pause");
    snprintf(text, sizeof(text), "pause docker=%s", w->name);
    run_fault(&o, w, text, NS_PER_SEC);
    assert_true(o.rc < 0);
    assert_non_null(strstr(o.r.err.msg, "is paused already, by someone else"));
    assert_string_equal(box_look(w->docker, w->id).status, "paused");
    box_do(w->docker, w->id, "unpause");
    free(o.r.hits);
}

/* A run that died: its journal alone brings everything back, once. */
static void the_journal_alone_undoes_it(void **state)
{
    static const struct {
        const char *text;
        const char *deed;  /* what the dead run had done; NULL: nothing yet */
        const char *since; /* what someone did after; NULL: nothing */
        int rc;
        const char *status;
    } cases[] = {
        { "kill restart_after=9s", "kill", NULL, 0, "running" },
        { "kill restart_after=9s", NULL, NULL, 1, "running" },
        { "kill restart_after=9s", "kill", "start", 1, "running" },
        { "stop grace=1s", "stop?t=0", NULL, 0, "running" },
        { "pause", "pause", NULL, 0, "running" },
        { "pause", NULL, NULL, 1, "running" },
        { "pause", "pause", "restart?t=0", 1, "running" },
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture_spec f;
        struct err err = { 0 };
        char text[200];
        auto(json) struct json *record = json_object();
        snprintf(text, sizeof(text), "%s docker=%s", cases[i].text, w->name);
        fixture_spec_read(&f, text);
        struct fault_run r = { .kind = f.spec.kind, .params = f.spec.params, .env = &w->env };
        assert_int_equal(r.kind->prepare(&r, &err), 0);
        r.kind->journal(&r, record);
        r.kind->release(&r);
        if (cases[i].deed)
            box_do(w->docker, w->id, cases[i].deed);
        if (cases[i].since)
            box_do(w->docker, w->id, cases[i].since);
        assert_int_equal(json_len(json_get(record, "exclusive")), 1);
        int rc = r.kind->undo(record, &err);
        if (rc != cases[i].rc)
            fail_msg("%zu %s: %d %s", i, text, rc, err.msg);
        assert_string_equal(box_look(w->docker, w->id).status, cases[i].status);
        assert_int_equal(r.kind->undo(record, &err), 1);
        free(r.hits);
        fixture_spec_done(&f);
    }
}

static void several_are_hit_at_once(void **state)
{
    struct world *w = *state;
    struct outcome o = { 0 };
    char text[200];

    snprintf(text, sizeof(text), "pause docker=%s,%s", w->name,
             box_look(w->docker, w->bystander).name);
    run_fault(&o, w, text, 200 * NS_PER_MS);
    assert_int_equal(o.rc, 0);
    assert_int_equal(o.r.n_hits, 2);
    for (size_t i = 0; i < 2; i++)
        assert_true(o.r.hits[i].effective && o.r.hits[i].reverted > o.r.hits[i].effective);
    assert_string_equal(box_look(w->docker, w->bystander).status, "running");
    free(o.r.hits);
}

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_up, world_down)

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "guardian") == 0)
        return guardian_main(argv[2]);
    const struct CMUnitTest tests[] = {
        WORLD_TEST(each_kind_is_in_and_out_again),
        WORLD_TEST(a_plain_kill_and_a_remove_stay),
        WORLD_TEST(what_others_do_meanwhile_ends_it),
        WORLD_TEST(a_foreign_pause_is_left_alone),
        WORLD_TEST(the_journal_alone_undoes_it),
        WORLD_TEST(several_are_hit_at_once),
        WORLD_TEST(a_crash_is_left_to_the_restart_policy),
    };

    docker_fixture_close(docker_fixture_open()); /* skips here, where it can */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
