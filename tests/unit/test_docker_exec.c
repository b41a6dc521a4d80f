/* Commands inside of containers: what is kept of their output, byte by byte; and on a real engine
 * how they end, in time and late, and what is undone by whom. */
#include "chaoslib/docker/events.h"
#include "chaoslib/docker/exec.h"
#include "tests/unit/docker_fixture.h"
#include "tests/unit/fault_fixture.h"

/* ---- what comes over the wire ---- */

struct piece {
    const char *data;
    size_t len;
};
#define PIECE(text)                             \
    {                                           \
        .data = (text), .len = sizeof(text) - 1 \
    }

static void said(const struct piece *p, size_t step, char out[EXEC_TAIL_MAX])
{
    struct exec_output o = { 0 };

    for (size_t at = 0; at < p->len; at += step)
        exec_output_add(&o, p->data + at, MIN(step, p->len - at));
    exec_output_said(&o, out);
}

static void output_is_read_whole_or_in_bytes(void **state)
{
    static const struct {
        struct piece wire;
        const char *said;
    } cases[] = {
        { PIECE(""), "" },
        { PIECE("\1\0\0\0\0\0\0\3one"), "one" },
        { PIECE("\1\0\0\0\0\0\0\4one\n"), "one" },
        { PIECE("\1\0\0\0\0\0\0\4one\n\2\0\0\0\0\0\0\4two\n"), "two" },
        { PIECE("\1\0\0\0\0\0\0\2tw\2\0\0\0\0\0\0\3o\n\n"), "two" },
        { PIECE("\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\1x"), "x" },
        { PIECE("\1\0\0\0\0\0\0\12a\033[1mb\tc\xff"), "a?[1mb?c?" },
        { PIECE("\1\0\0\0\0\0\0\4\xc3\xa4\r\n"), "\xc3\xa4" },
        { PIECE("\1\0\0\0\xff\xff\xff\xffshort"), "short" },
        { PIECE("\1\0\0"), "" },
        { PIECE("OCI runtime exec failed\r\n"), "OCI runtime exec failed" },
        { PIECE("\1\1plain"), "??plain" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t step = 1; step < 30; step++) {
            char out[EXEC_TAIL_MAX];
            said(&cases[i].wire, step, out);
            if (strcmp(out, cases[i].said) != 0)
                fail_msg("%zu in steps of %zu: '%s' instead of '%s'", i, step, out, cases[i].said);
        }
}

static void only_the_end_is_kept(void **state)
{
    struct exec_output o = { .plain = true };
    char out[EXEC_TAIL_MAX], line[3000];

    (void)state;
    memset(line, 'a', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    for (int i = 0; i < 1000; i++)
        exec_output_add(&o, line, sizeof(line));
    exec_output_said(&o, out);
    assert_int_equal(strspn(out, "a"), EXEC_TAIL_MAX - 1);
    exec_output_add(&o, "the end\n", 8);
    exec_output_said(&o, out);
    assert_string_equal(out, "the end");
    assert_int_equal(o.n_tail, EXEC_TAIL_MAX);
}

/* ---- on an engine ---- */

struct world {
    struct docker *docker;
    struct docker_events *events;
    struct chaos_env env;
    char name[40];
    char *id;
};

static int world_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    struct err err = { 0 };

    w->docker = docker_fixture_open();
    w->events = docker_events_start(w->docker, &err);
    if (!w->events) {
        fprintf(stderr, "%s\n", err.msg);
        return -1;
    }
    w->env =
        (struct chaos_env){ .run_id = "test-run", .docker = w->docker, .docker_events = w->events };
    snprintf(w->name, sizeof(w->name), "exec-%d", getpid());
    w->id = box_start(w->docker, &(struct box){ .name = w->name });
    *state = w;
    return 0;
}

static int world_down(void **state)
{
    struct world *w = *state;

    docker_events_stop(w->events);
    docker_fixture_close(w->docker);
    free(w->id);
    free(w);
    return 0;
}

static bool is_there(const struct world *w, const char *path)
{
    return box_exec(w->docker, w->id, (const char *const[]){ "test", "-e", path, NULL });
}

static bool runs_inside(const struct world *w, const char *what)
{
    auto_free char *line = xasprintf("ps -o args | grep -q '[%c]%s'", what[0], what + 1);

    return box_exec(w->docker, w->id, (const char *const[]){ "sh", "-c", line, NULL });
}

/* text is "key=value …", with words split at commas; a shell takes a tab for a blank. */
static int run_exec(struct world *w, const char *text, struct fault_run *r)
{
    auto_free char *whole = xasprintf("exec docker=%s %s", w->name, text);
    struct fixture_spec f;

    fixture_spec_read(&f, whole);
    if (f.diag.n)
        fail_msg("%s", buf_str(&f.diag.text));
    *r = (struct fault_run){ .kind = f.spec.kind,
                             .params = f.spec.params,
                             .env = &w->env,
                             .name = "test",
                             .abort = latch_new(),
                             .hurry = latch_new() };
    rng_seed(&r->rng, 1, 1);
    int rc = fault_execute(r, NULL, NULL, NULL);
    latch_free(r->abort);
    latch_free(r->hurry);
    free(r->hits);
    fixture_spec_done(&f);
    return rc;
}

static void it_breaks_and_mends(void **state)
{
    struct world *w = *state;
    struct fault_run r;

    assert_int_equal(run_exec(w, "command=touch,/tmp/here", &r), 0);
    assert_true(is_there(w, "/tmp/here"));
    assert_int_equal(
        run_exec(w, "command=test,-e,/tmp/here revert=rm,/tmp/here revert_after=100ms", &r), 0);
    assert_false(is_there(w, "/tmp/here"));
    assert_true(r.times.requested <= r.times.effective && r.times.effective < r.times.reverted);
    assert_true(r.times.effective <= r.times.acknowledged);
    assert_int_equal(r.ended_by, ENDED_BY_PLAN);
    assert_int_equal(
        run_exec(w, "command=sh,-c,id\t-u\t>/dev/null;\ttest\t$(id\t-u)\t=\t7 user=7", &r), 0);
}

static void how_it_failed_is_told(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        { "command=sh,-c,exec\t>&2;echo\tone;echo\ttwo;exit\t3", "'sh' ended with status 3: two" },
        { "command=no-such-program", "executable file not found" },
        { "command=false user=nobody-here", "nobody-here" },
        { "command=sleep,77 timeout=300ms",
          "'sleep': it did not end within 300ms, and was killed" },
        { "command=sh,-c,yes\t|head\t-c\t5000000;echo\tlast;exit\t5", "ended with status 5: last" },
        { "command=true revert=false revert_after=1ms",
          "run the revert command by hand, docker exec" },
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fault_run r;
        uint64_t began = clock_now_ns();
        const char *said_ = NULL;
        assert_true(run_exec(w, cases[i].text, &r) < 0);
        said_ = err_is_set(&r.err) ? r.err.msg : r.revert_err.msg;
        if (!strstr(said_, cases[i].says))
            fail_msg("%s: %s", cases[i].text, said_);
        assert_true(clock_now_ns() - began < 20 * NS_PER_SEC);
    }
    assert_false(runs_inside(w, "sleep 77"));
}

/* What a command left running holds its output open. */
static void what_it_started_may_go_on(void **state)
{
    struct world *w = *state;
    struct fault_run r;
    uint64_t began = clock_now_ns();

    assert_int_equal(run_exec(w, "command=sh,-c,sleep\t78\t&", &r), 0);
    assert_true(clock_now_ns() - began < 20 * NS_PER_SEC);
    assert_true(runs_inside(w, "sleep 78"));
}

static void a_failed_command_is_mended_too(void **state)
{
    struct world *w = *state;
    struct fault_run r;

    assert_true(run_exec(w,
                         "command=sh,-c,touch\t/tmp/half;exit\t1 revert=rm,/tmp/half "
                         "revert_after=10s",
                         &r) < 0);
    assert_false(is_there(w, "/tmp/half"));
}

static void it_may_end_its_container(void **state)
{
    struct world *w = *state;
    struct fault_run r;

    assert_int_equal(run_exec(w, "command=sh,-c,kill\t1;sleep\t5 revert=true revert_after=20s", &r),
                     0);
    assert_int_equal(r.ended_by, ENDED_TARGET_GONE);
}

/* The kernel may refuse to freeze what has just begun. */
static void pause_it(const struct world *w)
{
    auto_free char *path = xasprintf("/containers/%s/pause", w->id);
    const struct docker_call call = { .method = "POST", .path = path };

    EVENTUALLY(docker_do(w->docker, &call, NULL, NULL) == 0);
}

static void a_paused_one_is_refused(void **state)
{
    struct world *w = *state;
    struct fault_run r;

    pause_it(w);
    assert_true(run_exec(w, "command=true", &r) < 0);
    assert_non_null(strstr(r.err.msg, "paused"));
    assert_int_equal(r.err.kind, ERR_TARGET);
    box_do(w->docker, w->id, "unpause");
}

/* ---- from the journal alone ---- */

struct dead_run {
    struct fixture_spec f;
    struct fault_run r;
    struct json *record;
    char command[EXEC_ID_MAX];
};

static void die_after_journal(struct world *w, struct dead_run *d, const char *text)
{
    auto_free char *whole = xasprintf("exec docker=%s %s", w->name, text);
    struct err err = { 0 };

    *d = (struct dead_run){ .record = json_object() };
    fixture_spec_read(&d->f, whole);
    d->r = (struct fault_run){ .kind = d->f.spec.kind, .params = d->f.spec.params, .env = &w->env };
    if (d->r.kind->prepare(&d->r, &err) < 0)
        fail_msg("%s", err.msg);
    d->r.kind->journal(&d->r, d->record);
    snprintf(d->command, sizeof(d->command), "%s", json_str(d->record, "containers.0.event", ""));
    d->r.kind->release(&d->r);
}

static int recover(struct dead_run *d, struct err *err)
{
    int rc = d->r.kind->undo(d->record, err);

    free(d->r.hits);
    json_free(d->record);
    fixture_spec_done(&d->f);
    return rc;
}

static void start_detached(struct world *w, const char *id)
{
    auto_free char *path = xasprintf("/exec/%s/start", id);
    auto(json) struct json *body = json_object();
    unsigned status;

    json_put_bool(body, "Detach", true);
    assert_int_equal(
        docker_call(w->docker,
                    &(struct docker_call){ .method = "POST", .path = path, .body = body }, &status,
                    NULL, NULL),
        0);
    assert_int_equal(status, 200);
}

#define SLOWLY "command=sh,-c,sleep\t1;touch\t/tmp/late revert=rm,-f,/tmp/late revert_after=9s"

static void a_command_that_never_ran_needs_nothing(void **state)
{
    struct dead_run d;

    die_after_journal(*state, &d, "command=true revert=touch,/tmp/ran revert_after=9s");
    assert_int_equal(recover(&d, NULL), 1);
    assert_false(is_there(*state, "/tmp/ran"));
}

static void one_that_still_runs_is_waited_for(void **state)
{
    struct dead_run d;

    die_after_journal(*state, &d, SLOWLY);
    start_detached(*state, d.command);
    assert_int_equal(recover(&d, NULL), 0);
    clock_sleep_until(clock_now_ns() + 1200 * NS_PER_MS);
    assert_false(is_there(*state, "/tmp/late"));
}

static void nothing_runs_in_one_that_was_started_again(void **state)
{
    struct world *w = *state;
    struct dead_run d;
    struct err err = { 0 };

    die_after_journal(w, &d, "command=true revert=touch,/tmp/ran revert_after=9s");
    start_detached(w, d.command);
    box_do(w->docker, w->id, "restart?t=0");
    assert_int_equal(recover(&d, &err), 1);
    assert_non_null(strstr(err.msg, "ended since, so its revert command was not run"));
    assert_int_equal(err.kind, ERR_NONE);
    assert_false(is_there(w, "/tmp/ran"));
}

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_up, world_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest text[] = {
        cmocka_unit_test(output_is_read_whole_or_in_bytes),
        cmocka_unit_test(only_the_end_is_kept),
    };
    const struct CMUnitTest tests[] = {
        WORLD_TEST(it_breaks_and_mends),
        WORLD_TEST(how_it_failed_is_told),
        WORLD_TEST(what_it_started_may_go_on),
        WORLD_TEST(a_failed_command_is_mended_too),
        WORLD_TEST(it_may_end_its_container),
        WORLD_TEST(a_paused_one_is_refused),
        WORLD_TEST(a_command_that_never_ran_needs_nothing),
        WORLD_TEST(one_that_still_runs_is_waited_for),
        WORLD_TEST(nothing_runs_in_one_that_was_started_again),
    };

    if (argc == 2 && strcmp(argv[1], "text") == 0)
        return cmocka_run_group_tests(text, NULL, NULL);
    docker_fixture_close(docker_fixture_open()); /* skips here, where it can */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
