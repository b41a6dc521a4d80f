/* What a Pumba wrote, and whose its side-cars are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "chaoslib/pumba/log.h"
#include "chaoslib/pumba/session.h"
#include "chaoslib/pumba/watch.h"
#include "tests/unit/golden_pumba.h"

/* A recorded log as the lines it was. */
static void read_golden(const char *name, struct pumba_log *ret)
{
    auto(json) struct json *run = golden_read(name);
    auto_buf struct buf text = BUF_INIT(0);

    assert_non_null(run);
    for (const struct json *j = json_first(json_get(run, "log")); j; j = json_next(j)) {
        auto_free char *line = json_print(j, false);
        buf_addf(&text, "%s\n", line);
    }
    pumba_log_read(buf_str(&text), text.len, ret);
    assert_int_equal(ret->n_lines, json_len(json_get(run, "log")));
    assert_int_equal(ret->n_broken, 0);
}

static void recorded_logs_are_understood(void **state)
{
    struct pumba_log log;

    (void)state;
    read_golden("no-match", &log);
    assert_int_equal(log.n_found_nothing, 1);
    assert_string_equal(log.fatal, "");
    read_golden("kill-interval-random", &log);
    assert_int_equal(log.n_found_nothing, 1);
    read_golden("bad-signal", &log);
    assert_non_null(strstr(log.fatal, "undefined Linux signal: SIGFOO"));
    read_golden("netem-delay-no-kernel", &log);
    assert_non_null(strstr(log.fatal, "failed to delay packets for one or more containers"));
    read_golden("kill-one", &log);
    assert_int_equal(log.n_found_nothing + log.n_skipped, 0);
}

static void broken_lines_are_counted(void **state)
{
    static const char text[] =
        "panic: no JSON\n\n{\"level\":\"warning\",\"msg\":\"m\",\"error\":\"e\"}\n"
        "{\"msg\":\"skipping error\"}\n[1]\n{\"level\":\"fatal\",\"msg\":\"end\"}";
    struct pumba_log log;

    (void)state;
    pumba_log_read(text, strlen(text), &log);
    assert_int_equal(log.n_lines, 5);
    assert_int_equal(log.n_broken, 2);
    assert_int_equal(log.n_skipped, 1);
    assert_string_equal(log.warning, "m: e");
    assert_string_equal(log.fatal, "end");
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void a_sidecar_names_its_target(void **state)
{
    static const struct {
        const char *text;
        bool found, stress;
    } rows[] = {
        { "{\"HostConfig\":{\"NetworkMode\":\"container:" ID "\"}}", true, false },
        { "{\"HostConfig\":{\"NetworkMode\":\"default\",\"CgroupParent\":\"/docker/" ID "\"}}",
          true, true },
        { "{\"HostConfig\":{\"CgroupParent\":\"\"},\"Config\":{\"Cmd\":[\"--target-id\",\"" ID
          "\",\"--\"]}}",
          true, true },
        { "{\"Config\":{\"Cmd\":[\"--cgroup-path\",\"/docker/" ID "\"]}}", true, true },
        { "{\"HostConfig\":{\"CgroupParent\":\"system.slice\"}}", false, true },
        { "{\"HostConfig\":{\"NetworkMode\":\"container:0123\"}}", false, true },
        { "{}", false, true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto(json) struct json *j = NULL;
        bool stress;
        char id[72];

        assert_int_equal(json_parse(rows[i].text, strlen(rows[i].text), &j, NULL), 0);
        assert_int_equal(pumba_sidecar_target(j, id, &stress), rows[i].found);
        assert_int_equal(stress, rows[i].stress);
        if (rows[i].found)
            assert_string_equal(id, ID);
    }
}

static void our_flags_come_before_the_command(void **state)
{
    static const char *const want[] = { "/p",     "--host",    "tcp://theirs", "--random",
                                        "--host", "unix:///e", "--json",       "--log-level",
                                        "debug",  "kill",      "re2:^a b$",    NULL };
    struct arena *arena = arena_new(0);
    struct pumba_line l;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(pumba_read("--host tcp://theirs --random kill 're2:^a b$'", arena, &l, &err),
                     0);
    char **argv = pumba_argv("/p", &l, "unix:///e");
    for (size_t i = 0; want[i]; i++)
        assert_string_equal(argv[i], want[i]);
    assert_null(argv[ARRAY_LEN(want) - 1]);
    pumba_argv_free(argv);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_logs_are_understood),
        cmocka_unit_test(broken_lines_are_counted),
        cmocka_unit_test(a_sidecar_names_its_target),
        cmocka_unit_test(our_flags_come_before_the_command),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
