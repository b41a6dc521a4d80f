/* The client against a real engine: it agrees on a version, asks, and reads what containers are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "docker_fixture.h"

static int open_engine(void **state)
{
    *state = docker_fixture_open();
    return 0;
}

static int close_engine(void **state)
{
    docker_fixture_close(*state);
    return 0;
}

static void an_engine_tells_what_it_is(void **state)
{
    struct docker *d = *state;
    const char *text = docker_describe(d);
    const char *host = getenv("DOCKER_HOST"); // NOLINT(concurrency-mt-unsafe): nobody sets it

    assert_memory_equal(text, "Docker ", 7);
    assert_non_null(strstr(text, " (API 1."));
    assert_non_null(strstr(text, host ? host : "?"));
    assert_false(docker_is_podman(d));
    assert_true(docker_is_local(d));
    assert_false(docker_is_rootless(d));
}

static void a_container_is_seen_as_it_is(void **state)
{
    static const char *const labels[] = { "app=db", NULL };
    struct docker *d = *state;
    auto_free char *name = xasprintf("seen-%d", (int)getpid());
    auto_free char *id = box_start(d, &(struct box){ .name = name, .labels = labels });
    struct docker_container c = box_look(d, id), again;

    assert_string_equal(c.id, id);
    assert_string_equal(c.name, name);
    assert_string_equal(c.image, "bb:1");
    assert_string_equal(c.status, "running");
    assert_string_equal(c.health, "");
    assert_true(c.running && !c.paused && c.pid > 0);
    box_do(d, id, "pause");
    again = box_look(d, name);
    assert_true(again.running && again.paused && docker_is_same(&c, &again));
    assert_string_equal(again.status, "paused");
    box_do(d, id, "unpause");
    box_do(d, id, "kill");
    box_wait_status(d, id, "exited");
    again = box_look(d, id);
    assert_true(!again.running && again.pid == 0 && again.exit_code == 137);
    box_do(d, id, "start");
    again = box_look(d, id);
    assert_false(docker_is_same(&c, &again));
}

static void health_is_told(struct json *body)
{
    struct json *check = json_put(body, "Healthcheck", json_object());
    struct json *test = json_put(check, "Test", json_array());

    json_put_str(test, NULL, "CMD");
    json_put_str(test, NULL, "true");
    json_put_num(check, "Interval", 100e6);
}

static void a_health_check_is_seen(void **state)
{
    struct docker *d = *state;
    auto_free char *id = box_start(d, &(struct box){ .more = health_is_told });
    struct docker_container c = box_look(d, id);

    for (int i = 0; i < 300 && strcmp(c.health, "healthy") != 0; i++) {
        usleep(100000);
        c = box_look(d, id);
    }
    assert_string_equal(c.health, "healthy");
}

static void what_is_not_there_is_no_error(void **state)
{
    static const char *const names[] = { "no-such-container", "a/b", "", "../info", "x?y=z#" };
    struct docker_container c;
    struct err err = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(docker_inspect(*state, names[i], &c, &err), 1);
    assert_false(err_is_set(&err));
}

/* The beginning of an id is enough for an engine, and too little for us. */
static void a_part_of_an_id_is_not_it(void **state)
{
    auto_free char *id = box_start(*state, &(struct box){ 0 });
    struct docker_container c;

    id[12] = '\0';
    assert_int_equal(docker_inspect(*state, id, &c, NULL), 1);
}

static void what_the_engine_refuses_is_told(void **state)
{
    struct docker *d = *state;
    auto_free char *id = box_create(d, &(struct box){ 0 });
    auto_free char *path = xasprintf("/containers/%s/kill", id);
    auto(json) struct json *answer = NULL;
    struct err err = { 0 };
    unsigned status = 0;

    assert_true(docker_do(d, &(struct docker_call){ .method = "POST", .path = path }, NULL, &err) <
                0);
    assert_non_null(strstr(err.msg, "is not running"));
    assert_non_null(strstr(err.msg, "(status 409)"));
    assert_int_equal(
        docker_do(d, &(struct docker_call){ .path = "/containers/nobody/json" }, NULL, &err), 1);
    assert_int_equal(
        docker_call(d, &(struct docker_call){ .path = "/no/such/page" }, &status, &answer, &err),
        0);
    assert_int_equal(status, 404);
    assert_string_equal(json_str(answer, "message", ""), "page not found");
}

/* Started twice: 304. */
static void already_so_is_success(void **state)
{
    auto_free char *id = box_start(*state, &(struct box){ 0 });

    box_do(*state, id, "start");
}

static void a_command_runs_inside(void **state)
{
    auto_free char *id = box_start(*state, &(struct box){ 0 });

    assert_true(box_exec(*state, id, (const char *const[]){ "true", NULL }));
    assert_false(box_exec(*state, id, (const char *const[]){ "false", NULL }));
}

static void it_is_found_again_from_the_journal(void **state)
{
    auto(json) struct json *record = json_object();
    struct err err = { 0 };

    docker_write(*state, record);
    struct docker *again = docker_read(record, &err);
    assert_non_null(again);
    assert_string_equal(docker_describe(again), docker_describe(*state));
    docker_free(again);
    auto(json) struct json *empty = json_object();
    assert_null(docker_read(empty, &err));
    assert_string_equal(err.msg, "the journal does not name a container engine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_engine_tells_what_it_is),
        cmocka_unit_test(a_container_is_seen_as_it_is),
        cmocka_unit_test(a_health_check_is_seen),
        cmocka_unit_test(what_is_not_there_is_no_error),
        cmocka_unit_test(a_part_of_an_id_is_not_it),
        cmocka_unit_test(what_the_engine_refuses_is_told),
        cmocka_unit_test(already_so_is_success),
        cmocka_unit_test(a_command_runs_inside),
        cmocka_unit_test(it_is_found_again_from_the_journal),
    };

    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
