/* Bringing a foreign process back: what is remembered, what goes to disk and what does not, what is
 * refused, and that it is never started twice. */
#include "chaoslib/process/revival.h"
#include "tests/unit/fault_fixture.h"

struct stage {
    char *dir, *out;
    struct proc_id id;
};

static int stage_up(void **state)
{
    struct stage *s = xcalloc(1, sizeof(*s));

    s->dir = scratch_dir();
    s->out = xasprintf("%s/out", s->dir);
    struct err err = { 0 };
    struct proc_spawn_opts opts = {
        .argv =
            (const char *const[]){ "sh", "-c", "echo $PWD $SECRET; while :; do sleep 0.05; done",
                                   s->dir, NULL },
        .env = (const char *const[]){ "PATH=/usr/bin:/bin", "SECRET=hunter2", "EMPTY=", NULL },
        .cwd = s->dir,
        .log_path = s->out,
        .new_session = true,
    };
    if (proc_spawn(&opts, &s->id, &err) < 0)
        fail_msg("%s", err.msg);
    *state = s;
    return 0;
}

static int stage_down(void **state)
{
    struct stage *s = *state;

    victim_end(&s->id);
    free(s->out);
    scratch_remove(s->dir);
    free(s);
    return 0;
}

static struct revival read_or_fail(const struct proc_id *id)
{
    struct revival v = { 0 };
    struct err err = { 0 };

    if (revival_read(id, &v, &err) < 0)
        fail_msg("%s", err.msg);
    return v;
}

static unsigned lines_with(const char *path, const char *want)
{
    FILE *f = fopen(path, "r");
    char line[512];
    unsigned n = 0;

    while (f && fgets(line, sizeof(line), f))
        n += strcmp(line, want) == 0;
    if (f)
        fclose(f);
    return n;
}

static void all_that_matters_is_read(void **state)
{
    const struct stage *s = *state;
    struct revival v = read_or_fail(&s->id);

    assert_string_equal(v.argv[0], "sh");
    assert_string_equal(v.argv[3], s->dir);
    assert_null(v.argv[4]);
    assert_string_equal(v.cwd, s->dir);
    assert_string_equal(v.log, s->out);
    assert_non_null(v.program); /* a bare name: where it was found */
    assert_int_equal(v.program[0], '/');
    assert_int_equal(v.env_len, sizeof("PATH=/usr/bin:/bin\0SECRET=hunter2\0EMPTY="));
    revival_done(&v);
    revival_done(&v); /* harmless */
}

static void secrets_do_not_reach_the_journal(void **state)
{
    const struct stage *s = *state;
    struct revival v = read_or_fail(&s->id), again = { 0 };
    auto(json) struct json *record = json_object();

    revival_write(&v, record);
    auto_free char *text = json_print(record, false);
    assert_null(strstr(text, "hunter2"));
    assert_null(strstr(text, "SECRET="));
    assert_int_equal(revival_from(record, &again, NULL), 0);
    assert_string_equal(again.argv[2], v.argv[2]);
    assert_string_equal(again.cwd, v.cwd);
    assert_string_equal(again.log, v.log);
    assert_string_equal(again.program, v.program);
    assert_int_equal(again.since_ticks, v.since_ticks);
    assert_null(again.env);
    revival_done(&v);
    revival_done(&again);
}

static void what_the_guardian_kept_comes_back(void **state)
{
    const struct stage *s = *state;
    struct revival v = read_or_fail(&s->id), again = { 0 };
    auto(json) struct json *record = json_object();

    revival_write(&v, record);
    struct json *kept = json_put(record, "kept", json_object());
    json_put_str(kept, "env", "413d3100423d32"); /* A=1 NUL B=2 */
    assert_int_equal(revival_from(record, &again, NULL), 0);
    assert_int_equal(again.env_len, 7);
    assert_memory_equal(again.env, "A=1\0B=2", 8);
    revival_done(&v);
    revival_done(&again);
}

static void it_comes_back_once(void **state)
{
    struct stage *s = *state;
    struct revival v = read_or_fail(&s->id);
    auto_free char *line = xasprintf("%s hunter2\n", s->dir);
    struct proc_id first = { 0 }, second = { 0 };
    struct err err = { 0 };

    EVENTUALLY(lines_with(s->out, line) == 1);
    victim_end(&s->id);
    assert_int_equal(revival_start(&v, &first, &err), 0);
    EVENTUALLY(lines_with(s->out, line) == 2);
    assert_int_equal(revival_start(&v, &second, &err), 1); /* it is there already */
    assert_true(second.pid >= first.pid);
    struct revival next = read_or_fail(&first); /* and can be brought back again */
    assert_string_equal(next.cwd, v.cwd);
    assert_int_equal(next.env_len, v.env_len);
    revival_done(&next);
    revival_done(&v);
    s->id = first;
}

/* Older processes with the same command are its siblings, not its replacement. */
static void a_sibling_is_not_a_replacement(void **state)
{
    struct stage *s = *state;
    struct proc_id sibling = s->id, mine = { 0 }, back = { 0 };
    struct err err = { 0 };
    struct revival v = read_or_fail(&sibling);

    assert_int_equal(revival_start(&v, &mine, &err), 0);
    revival_done(&v);
    v = read_or_fail(&mine);
    victim_end(&mine);
    assert_int_equal(revival_start(&v, &back, &err), 0);
    assert_int_not_equal(back.pid, sibling.pid);
    assert_int_not_equal(back.pid, mine.pid);
    revival_done(&v);
    victim_end(&back);
}

static void what_cannot_be_repeated_is_refused(void **state)
{
    struct stage *s = *state;
    auto_free char *copy = xasprintf("%s/prog", s->dir);
    struct revival v = { 0 };
    struct err err = { 0 };

    assert_int_equal(symlink("/bin/sleep", copy), 0);
    struct proc_id id = victim_start((const char *const[]){ copy, "1000", NULL }, NULL);
    struct revival ok = read_or_fail(&id); /* a link to the program it runs */
    assert_null(ok.program);
    revival_done(&ok);
    unlink(copy);
    assert_int_equal(symlink("/bin/true", copy), 0); /* now it is another */
    assert_true(revival_read(&id, &v, &err) < 0);
    assert_int_equal(err.kind, ERR_PREPARE);
    assert_non_null(strstr(err.msg, "its command line does not name the program it runs"));
    assert_non_null(strstr(err.msg, "let the plan start it with run:"));
    victim_end(&id);
    assert_true(revival_read(&id, &v, &err) < 0);
    assert_non_null(strstr(err.msg, "cannot be read"));
    assert_null(v.argv);
}

static const char *const records[] = {
    "{}",
    "{\"argv\":[]}",
    "{\"argv\":[\"\"],\"cwd\":\"/\"}",
    "{\"argv\":[\"sleep\"]}",
    "{\"argv\":\"sleep\",\"cwd\":\"/\"}",
    "{\"argv\":[7],\"cwd\":\"/\"}",
    "{\"argv\":{},\"cwd\":\"/\"}",
    "[]",
    "null",
};

static void broken_records_start_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        struct revival v = { 0 };
        struct err err = { 0 };
        struct json *j = NULL;
        assert_int_equal(json_parse(records[i], strlen(records[i]), &j, NULL), 0);
        if (revival_from(j, &v, &err) == 0)
            fail_msg("%s was taken", records[i]);
        assert_string_equal(err.msg, "the journal does not say how to start the process again");
        json_free(j);
    }
}

#define STAGE(f) cmocka_unit_test_setup_teardown(f, stage_up, stage_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE(all_that_matters_is_read),
        STAGE(secrets_do_not_reach_the_journal),
        STAGE(what_the_guardian_kept_comes_back),
        STAGE(it_comes_back_once),
        STAGE(a_sibling_is_not_a_replacement),
        STAGE(what_cannot_be_repeated_is_refused),
        cmocka_unit_test(broken_records_start_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
