/* See docker_fixture.h. By our own client, which is what is tested. */
#include "docker_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

#define TEST_LABEL "chaos-load.test"
#define WAIT_NS (30 * NS_PER_SEC)

static void must(int rc, const struct err *err)
{
    if (rc != 0)
        fail_msg("%s", err->msg);
}

struct docker *docker_fixture_open(void)
{
    const char *host = getenv("DOCKER_HOST"); // NOLINT(concurrency-mt-unsafe): nobody sets it
    struct err err = { 0 };

    if (!host || strncmp(host, "unix://", 7) != 0 || access(host + 7, F_OK) != 0) {
        printf("SKIP there is no private container engine (DOCKER_HOST; ctest starts one as root, "
               "with dockerd)\n");
        exit(77); // NOLINT(concurrency-mt-unsafe): no thread runs
    }
    struct docker *d = docker_open(NULL, &err);
    if (!d) {
        printf("the private engine cannot be opened: %s\n", err.msg);
        exit(1); // NOLINT(concurrency-mt-unsafe): no thread runs
    }
    return d;
}

void docker_fixture_close(struct docker *d)
{
    auto(json) struct json *list = NULL;
    auto_free char *path =
        xasprintf("/containers/json?all=1&filters=%%7B%%22label%%22%%3A%%5B%%22" TEST_LABEL
                  "%%3D%d%%22%%5D%%7D",
                  (int)getpid());
    struct err err = { 0 };

    if (docker_do(d, &(struct docker_call){ .path = path }, &list, &err) != 0)
        printf("containers may be left: %s\n", err.msg);
    for (const struct json *c = json_first(list); c; c = json_next(c))
        box_remove(d, json_str(c, "Id", ""));
    docker_free(d);
}

static void put_labels(struct json *body, const struct box *box)
{
    struct json *labels = json_put(body, "Labels", json_object());
    auto_free char *pid = xasprintf("%d", (int)getpid());

    json_put_str(labels, TEST_LABEL, pid);
    for (size_t i = 0; box->labels && box->labels[i]; i++) {
        auto_free char *key = xstrdup(box->labels[i]);
        char *value = key + strcspn(key, "=");

        if (*value)
            *value++ = '\0';
        json_put_str(labels, key, value);
    }
}

static struct json *create_body(const struct box *box)
{
    static const char *const forever[] = {
        "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done", NULL
    };
    struct json *body = json_object();
    struct json *host = json_put(body, "HostConfig", json_object());
    const char *const *cmd = box->cmd ? box->cmd : (box->image ? NULL : forever);

    json_put_str(body, "Image", box->image ? box->image : "bb:1");
    put_labels(body, box);
    if (cmd) {
        struct json *list = json_put(body, "Cmd", json_array());
        for (; *cmd; cmd++)
            json_put_str(list, NULL, *cmd);
    }
    if (box->port) {
        auto_free char *port = xasprintf("%u", box->port);
        struct json *ports =
            json_put(json_put(host, "PortBindings", json_object()), "8080/tcp", json_array());
        struct json *binding = json_put(ports, NULL, json_object());

        json_put(json_put(body, "ExposedPorts", json_object()), "8080/tcp", json_object());
        json_put_str(binding, "HostIp", "127.0.0.1");
        json_put_str(binding, "HostPort", port);
    }
    if (box->more)
        box->more(body);
    return body;
}

char *box_create(struct docker *d, const struct box *box)
{
    auto(json) struct json *body = create_body(box), *answer = NULL;
    auto_free char *path = box->name ? xasprintf("/containers/create?name=%s", box->name)
                                     : xstrdup("/containers/create");
    struct err err = { 0 };

    must(docker_do(d,
                   &(struct docker_call){
                       .method = "POST", .path = path, .body = body, .timeout_ns = WAIT_NS },
                   &answer, &err),
         &err);
    return xstrdup(json_str(answer, "Id", ""));
}

char *box_start(struct docker *d, const struct box *box)
{
    char *id = box_create(d, box);

    box_do(d, id, "start");
    return id;
}

void box_do(struct docker *d, const char *id, const char *verb)
{
    auto_free char *path = xasprintf("/containers/%s/%s", id, verb);
    struct err err = { 0 };

    must(docker_do(d,
                   &(struct docker_call){ .method = "POST", .path = path, .timeout_ns = WAIT_NS },
                   NULL, &err),
         &err);
}

void box_remove(struct docker *d, const char *id)
{
    auto_free char *path = xasprintf("/containers/%s?force=1&v=1", id);
    struct err err = { 0 };

    if (docker_do(d,
                  &(struct docker_call){ .method = "DELETE", .path = path, .timeout_ns = WAIT_NS },
                  NULL, &err) < 0)
        printf("cannot remove %s: %s\n", id, err.msg);
}

struct docker_container box_look(struct docker *d, const char *id)
{
    struct docker_container c = { 0 };
    struct err err = { 0 };
    int rc = docker_inspect(d, id, &c, &err);

    if (rc == 1)
        fail_msg("there is no container %s", id);
    must(rc, &err);
    return c;
}

void box_address(struct docker *d, const char *id, char out[64])
{
    auto(json) struct json *whole = NULL;
    struct docker_container c;
    struct err err = { 0 };

    must(docker_inspect_json(d, id, &c, &whole, &err), &err);
    snprintf(out, 64, "%s",
             json_str(json_first(json_get(whole, "NetworkSettings.Networks")), "IPAddress", ""));
}

void box_wait_status(struct docker *d, const char *id, const char *status)
{
    uint64_t end = clock_now_ns() + WAIT_NS;
    struct docker_container c = box_look(d, id);

    while (strcmp(c.status, status) != 0 && clock_now_ns() < end) {
        clock_sleep_until(clock_now_ns() + 20 * NS_PER_MS);
        c = box_look(d, id);
    }
    assert_string_equal(c.status, status);
}

bool box_exec(struct docker *d, const char *id, const char *const *argv)
{
    auto(json) struct json *body = json_object(), *made = NULL, *begin = json_object(),
                           *done = NULL;
    struct json *cmd = json_put(body, "Cmd", json_array());
    auto_free char *path = xasprintf("/containers/%s/exec", id);
    auto_buf struct buf output = BUF_INIT(0);
    struct err err = { 0 };
    unsigned status = 0;

    for (; *argv; argv++)
        json_put_str(cmd, NULL, *argv);
    json_put_bool(body, "AttachStdout", true);
    json_put_bool(body, "AttachStderr", true);
    must(docker_do(d, &(struct docker_call){ .method = "POST", .path = path, .body = body }, &made,
                   &err),
         &err);
    auto_free char *start = xasprintf("/exec/%s/start", json_str(made, "Id", ""));
    auto_free char *look = xasprintf("/exec/%s/json", json_str(made, "Id", ""));
    json_put_bool(begin, "Detach", false);
    must(
        docker_call_raw(d,
                        &(struct docker_call){
                            .method = "POST", .path = start, .body = begin, .timeout_ns = WAIT_NS },
                        &status, &output, &err),
        &err);
    must(docker_do(d, &(struct docker_call){ .path = look }, &done, &err), &err);
    return status == 200 && json_num(done, "ExitCode", -1) == 0;
}
