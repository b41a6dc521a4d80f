/* Where an engine is looked for, and what is said of one that is not there, not an engine, hangs,
 * or wants another version. The servers here say exactly what a row tells them to. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/proc.h"
#include "chaoslib/docker/internal.h"

#define PING(version)                          \
    "HTTP/1.1 200 OK\r\nApi-Version: " version \
    "\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"

static const char version_answer[] =
    "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"Version\":\"29.0.1\",\"ApiVersion\":\"1.52\"}";
static const char info_answer[] =
    "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"KernelVersion\":\"none\",\"SecurityOptions\":"
    "[\"name=seccomp\",\"name=rootless\"]}";

/* ---- an engine that says what its rules say ---- */

struct rule {
    const char *request; /* how the request line begins */
    const char *answer;  /* NULL: hangs */
};

struct fake {
    char dir[32], path[64];
    const struct rule *rules;
    int listener;
    _Atomic bool stop;
    pthread_t thread;
    char last[256]; /* request line; read after the calls */
};

static const char *answer_for(const struct fake *f, const char *request)
{
    for (const struct rule *r = f->rules; r->request; r++)
        if (strncmp(request, r->request, strlen(r->request)) == 0)
            return r->answer;
    return "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n{\"message\":\"page not found\"}";
}

static void serve(struct fake *f, int fd)
{
    char request[4096] = "";
    ssize_t n = recv(fd, request, sizeof(request) - 1, 0);
    const char *answer = n > 0 ? answer_for(f, request) : "";

    if (n > 0)
        snprintf(f->last, sizeof(f->last), "%.*s", (int)strcspn(request, "\r"), request);
    if (answer)
        (void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
    else
        (void)!recv(fd, request, sizeof(request), 0); /* until the client gives up */
    close(fd);
}

static void *fake_run(void *arg)
{
    struct fake *f = arg;
    int fd;

    while ((fd = accept(f->listener, NULL, NULL)) >= 0 && !f->stop)
        serve(f, fd);
    if (fd >= 0)
        close(fd);
    return NULL;
}

static void fake_start(struct fake *f, const struct rule *rules)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };

    *f = (struct fake){ .dir = "/tmp/chaos-fake-XXXXXX", .rules = rules };
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", f->path);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(f->listener, 16), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, fake_run, f), 0);
}

static void fake_stop(struct fake *f)
{
    f->stop = true;
    shutdown(f->listener, SHUT_RDWR);
    pthread_join(f->thread, NULL);
    close(f->listener);
    unlink(f->path);
    rmdir(f->dir);
}

static struct docker *open_fake(const struct fake *f, struct err *err)
{
    auto_free char *host = xasprintf("unix://%s", f->path);

    return docker_open(&(struct docker_plan){ .host = host, .timeout_ns = 300 * NS_PER_MS }, err);
}

static void each_hostile_engine_has_its_sentence(void **state)
{
    static const struct {
        struct rule rules[4];
        const char *message;
    } rows[] = {
        { { { "GET /_ping", NULL } },
          "within 300ms: does it hang? restart it, or give it longer with docker: {timeout: 30s}" },
        { { { "GET /_ping", "220 smtp ready\r\n" } }, " cannot be asked: " },
        { { { "GET /_ping", "" } }, " cannot be asked: Empty reply from server" },
        { { { "GET /_ping", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nOK" } },
          " is not a container engine (status 200 to /_ping); say where it is with docker: {host: "
          "unix:///path} or DOCKER_HOST" },
        { { { "GET /_ping", "HTTP/1.1 404 No\r\nConnection: close\r\n\r\nno" } },
          " is not a container engine (status 404 to /_ping)" },
        { { { "GET /_ping", "HTTP/1.1 403 No\r\nConnection: close\r\n\r\nno" } },
          " refuses us (status 403): what stands before it must allow the whole Engine API" },
        { { { "GET /_ping", "HTTP/1.0 400 Bad\r\nConnection: close\r\n\r\nClient sent an HTTP "
                            "request to an HTTPS server.\n" } },
          " wants TLS: give docker: {cert_path: …} or DOCKER_CERT_PATH" },
        { { { "GET /_ping", PING("1.12") } },
          " speaks API 1.12, and 1.24 is the least: update it" },
        { { { "GET /_ping", PING("1.41") }, { "GET /v1.41/version", NULL } },
          "within 300ms: does it hang?" },
        { { { "GET /_ping", PING("1.41") },
            { "GET /v1.41/version", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"Version\":" } },
          "answered /version with what is not JSON" },
        { { { "GET /_ping", PING("1.41") },
            { "GET /v1.41/version", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[]" } },
          "it answered /version with no object" },
        { { { "GET /_ping", PING("1.41") } }, "refused GET /version: page not found (status 404)" },
        { { { "GET /_ping", PING("1.41") }, { "GET /v1.41/version", version_answer } },
          "GET /info" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fake f;
        struct err err = { 0 };
        uint64_t began = clock_now_ns();

        fake_start(&f, rows[i].rules);
        struct docker *d = open_fake(&f, &err);
        fake_stop(&f);
        if (d || err.kind == ERR_NONE || !strstr(err.msg, rows[i].message))
            fail_msg("row %zu: expected '%s', got '%s'", i, rows[i].message, err.msg);
        if (!strstr(err.msg, f.path))
            fail_msg("row %zu does not say where: '%s'", i, err.msg);
        assert_true(clock_now_ns() - began < 20 * NS_PER_SEC);
    }
}

static void the_version_is_agreed_on(void **state)
{
    static const char minimum[] =
        "HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n{\"message\":\"client version "
        "1.41 is too old. Minimum supported API version is 1.44, please "
        "upgrade your client\"}";
    static const char maximum[] =
        "HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n{\"message\":\"client version "
        "1.50 is too new. Maximum supported API version is 1.41\"}";
    static const struct {
        struct rule rules[6];
        const char *last;
    } rows[] = {
        /* the smaller of the two */
        { { { "GET /_ping", PING("1.41") },
            { "GET /v1.41/version", version_answer },
            { "GET /v1.41/info", info_answer } },
          "GET /v1.41/info HTTP/1.1" },
        { { { "GET /_ping", PING("1.99") },
            { "GET /v1.52/version", version_answer },
            { "GET /v1.52/info", info_answer } },
          "GET /v1.52/info HTTP/1.1" },
        /* what it wants after all */
        { { { "GET /_ping", PING("1.41") },
            { "GET /v1.41/", minimum },
            { "GET /v1.44/version", version_answer },
            { "GET /v1.44/info", info_answer } },
          "GET /v1.44/info HTTP/1.1" },
        { { { "GET /_ping", PING("1.50") },
            { "GET /v1.50/", maximum },
            { "GET /v1.41/version", version_answer },
            { "GET /v1.41/info", info_answer } },
          "GET /v1.41/info HTTP/1.1" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fake f;
        struct err err = { 0 };

        fake_start(&f, rows[i].rules);
        struct docker *d = open_fake(&f, &err);
        if (!d)
            fail_msg("row %zu: %s", i, err.msg);
        assert_non_null(strstr(docker_describe(d), "Docker 29.0.1 (API 1."));
        assert_false(docker_is_local(d)); /* another kernel */
        assert_true(docker_is_rootless(d));
        docker_free(d);
        fake_stop(&f);
        assert_string_equal(f.last, rows[i].last);
    }
}

static void a_fixed_version_is_kept(void **state)
{
    static const struct rule rules[] = {
        { "GET /_ping", PING("1.41") },
        { "GET /v1.43/version",
          "HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n{\"message\":\"client version "
          "1.43 is too new. Maximum supported API version is 1.41\"}" },
        { NULL, NULL },
    };
    struct fake f;
    struct err err = { 0 };

    (void)state;
    fake_start(&f, rules);
    setenv("DOCKER_API_VERSION", "1.43", 1);
    assert_null(open_fake(&f, &err));
    assert_non_null(strstr(err.msg, "with DOCKER_API_VERSION=1.43: "));
    setenv("DOCKER_API_VERSION", "banana", 1);
    assert_null(open_fake(&f, &err));
    assert_string_equal(err.msg, "DOCKER_API_VERSION: 'banana' is not in 1.24..1.52; unset it to "
                                 "let the engine decide");
    unsetenv("DOCKER_API_VERSION");
    fake_stop(&f);
}

/* ---- where ---- */

static void each_address_has_its_sentence(void **state)
{
    static const struct {
        const char *host, *message;
    } rows[] = {
        { "unix:///nowhere/at/all.sock",
          "no container engine: there is no socket /nowhere/at/all.sock; start Docker or Podman, "
          "or say where it is with docker: {host: unix:///path} or DOCKER_HOST" },
        { "unix:///etc/passwd", "/etc/passwd is a file, not an engine's socket" },
        { "unix:///tmp", "/tmp is a folder, not an engine's socket" },
        { "unix://relative", "docker.host: 'unix://relative' needs an absolute path" },
        { "/var/run/docker.sock", "docker.host: '/var/run/docker.sock' is not an engine's address: "
                                  "write unix:///var/run/docker.sock or tcp://10.0.0.5:2376" },
        { "ssh://me@there", "docker.host: 'ssh://me@there' is not spoken here: forward the socket "
                            "with ssh -L, and give its path as unix:///path" },
        { "npipe:////./pipe/docker_engine", "is a pipe of Windows" },
        { "fd://", "docker.host: 'fd://' is for the engine itself" },
        { "http://127.0.0.1:2375", "is written tcp://host:port here" },
        { "tcp://", "'tcp://' is not host and port: write tcp://10.0.0.5:2376" },
        { "tcp://a:b", "is not host and port" },
        { "tcp://a b:1", "is not host and port" },
        { "tcp://127.0.0.1:1/path", "is not host and port" },
        { "tcp://127.0.0.1:1", "the container engine at tcp://127.0.0.1:1 cannot be asked: " },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = { 0 };

        assert_null(docker_open(
            &(struct docker_plan){ .host = rows[i].host, .timeout_ns = NS_PER_SEC }, &err));
        assert_int_equal(err.kind, ERR_PREPARE);
        if (!strstr(err.msg, rows[i].message))
            fail_msg("%s: expected '%s', got '%s'", rows[i].host, rows[i].message, err.msg);
    }
}

static void a_dead_socket_is_told(void **state)
{
    static const struct rule none[] = { { NULL, NULL } };
    struct fake f;
    struct err err = { 0 };

    (void)state;
    fake_start(&f, none);
    shutdown(f.listener, SHUT_RDWR);
    pthread_join(f.thread, NULL);
    close(f.listener);
    assert_null(open_fake(&f, &err));
    assert_non_null(strstr(err.msg, "nobody listens on /tmp/chaos-fake-"));
    unlink(f.path);
    rmdir(f.dir);
}

/* Root may everything, so another user asks. */
static void a_closed_door_is_told(void **state)
{
    static const struct rule none[] = { { NULL, NULL } };
    struct fake f;
    int status = 0;

    (void)state;
    if (getuid() != 0)
        skip();
    fake_start(&f, none);
    assert_int_equal(chmod(f.dir, 0755), 0);
    assert_int_equal(chmod(f.path, 0600), 0);
    pid_t pid = fork();
    if (pid == 0) {
        const struct docker_host h = { .socket = f.path };
        struct err err = { 0 };

        if (setgid(65534) < 0 || setuid(65534) < 0)
            _exit(2);
        _exit(docker_host_reach(&h, &err) < 0 && err.code == EACCES &&
                      strstr(err.msg, "permission denied for the engine's socket /tmp/chaos-fake-")
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    fake_stop(&f);
}

/* ---- contexts ---- */

static void write_file(const char *dir, const char *path, const char *text)
{
    auto_free char *whole = xasprintf("%s/%s", dir, path);

    for (char *slash = strchr(whole + strlen(dir) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(whole, 0700);
        *slash = '/';
    }
    FILE *file = fopen(whole, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static char *found(const struct docker_plan *plan)
{
    struct docker_host h = { 0 };
    struct err err = { 0 };

    if (docker_host_find(plan, &h, &err) < 0)
        return xstrdup(err.msg);
    char *text = xasprintf("%s|%s|%s%s%s%s", h.from, h.address, h.base, h.tls ? "|tls" : "",
                           h.verify ? "|verify" : "", h.key ? "|key" : "");
    docker_host_done(&h);
    return text;
}

static void expect_found(const struct docker_plan *plan, const char *text)
{
    auto_free char *got = found(plan);

    if (!strstr(got, text))
        fail_msg("expected '%s', got '%s'", text, got);
}

static void the_place_is_the_docker_clis(void **state)
{
    static const struct docker_plan none;
    char dir[] = "/tmp/chaos-config-XXXXXX";

    (void)state;
    assert_non_null(mkdtemp(dir));
    setenv("DOCKER_CONFIG", dir, 1);
    unsetenv("DOCKER_HOST");
    unsetenv("DOCKER_CONTEXT");
    expect_found(&none, "docker|unix://");
    write_file(dir, "config.json", "{\"currentContext\":\"lab\"}");
    expect_found(&none, "context 'lab' of the docker CLI: there is no such context in ");
    write_file(dir, "contexts/meta/aa/meta.json",
               "{\"Name\":\"other\",\"Endpoints\":{\"docker\":{\"Host\":\"unix:///other\"}}}");
    write_file(dir, "contexts/meta/bb/meta.json",
               "{\"Name\":\"lab\",\"Endpoints\":{\"docker\":{\"Host\":\"tcp://10.1.2.3:2376\","
               "\"SkipTLSVerify\":false}}}");
    expect_found(&none, "context 'lab' of the docker CLI|tcp://10.1.2.3:2376|http://10.1.2.3:2376");
    write_file(dir, "contexts/tls/bb/docker/ca.pem", "");
    expect_found(&none, "needs ca.pem, cert.pem and key.pem in ");
    write_file(dir, "contexts/tls/bb/docker/cert.pem", "");
    write_file(dir, "contexts/tls/bb/docker/key.pem", "");
    expect_found(&none, "|https://10.1.2.3:2376|tls|verify|key");
    setenv("DOCKER_CONTEXT", "other", 1);
    expect_found(&none, "context 'other' of the docker CLI|unix:///other|http://docker");
    setenv("DOCKER_CONTEXT", "default", 1);
    expect_found(&none, "docker|unix://");
    setenv("DOCKER_CONTEXT", "other", 1);
    setenv("DOCKER_HOST", "tcp://[::1]", 1);
    expect_found(&none, "DOCKER_HOST|tcp://[::1]|http://[::1]:2375");
    expect_found(&(struct docker_plan){ .host = "unix:///mine" }, "docker.host|unix:///mine|");
    auto_free char *certs = xasprintf("%s/contexts/tls/bb/docker", dir);
    expect_found(&(struct docker_plan){ .cert_path = certs, .tls_verify = true },
                 "|https://[::1]:2376|tls|verify|key");
    expect_found(&(struct docker_plan){ .cert_path = certs }, "|https://[::1]:2376|tls|key");
    expect_found(&(struct docker_plan){ .cert_path = dir },
                 "(cert_path or DOCKER_CERT_PATH): ca.pem: No such file or directory");
    unsetenv("DOCKER_HOST");
    write_file(dir, "contexts/meta/aa/meta.json", "{\"Name\":");
    expect_found(&none, "contexts/meta/aa/meta.json: ");
    unsetenv("DOCKER_CONTEXT");
    write_file(dir, "config.json", "not json");
    expect_found(&none, "the docker CLI's settings: ");
    unsetenv("DOCKER_CONFIG");
    auto_free char *command = xstrdup(dir);
    struct buf out = BUF_INIT(4096);
    assert_int_equal(
        proc_run((const char *const[]){ "rm", "-rf", command, NULL }, 10000, &out, NULL), 0);
    buf_done(&out);
}

/* ---- shapes ---- */

static void each_shape_of_a_container_is_read(void **state)
{
    static const struct {
        const char *json, *status, *health;
        bool running, paused;
        int exit_code;
        pid_t pid;
    } rows[] = {
        /* Docker 20.10 */
        { "{\"Id\":\"ab\",\"Name\":\"/shop\",\"State\":{\"Status\":\"paused\",\"Running\":true,"
          "\"Paused\":true,\"Pid\":12,\"ExitCode\":0,\"StartedAt\":\"t\",\"Health\":{\"Status\":"
          "\"healthy\"}},\"Config\":{\"Image\":\"i\"},\"HostConfig\":{\"NetworkMode\":\"default\"},"
          "\"NetworkSettings\":{\"IPAddress\":\"10.0.0.2\"}}",
          "paused", "healthy", true, true, 0, 12 },
        /* API 1.52: fewer network fields */
        { "{\"Id\":\"ab\",\"Name\":\"/shop\",\"State\":{\"Status\":\"exited\",\"Running\":false,"
          "\"Pid\":0,\"ExitCode\":137},\"NetworkSettings\":{\"Networks\":{}}}",
          "exited", "", false, false, 137, 0 },
        /* Podman: no slash, a paused one does not run, Healthcheck */
        { "{\"Id\":\"ab\",\"Name\":\"shop\",\"State\":{\"Status\":\"paused\",\"Running\":false,"
          "\"Paused\":true,\"Pid\":7,\"Healthcheck\":{\"Status\":\"starting\"}}}",
          "paused", "starting", true, true, 0, 7 },
        { "{\"Id\":\"ab\",\"Name\":\"shop\",\"State\":{\"Status\":\"running\",\"Running\":true,"
          "\"Pid\":99999999999,\"Health\":{\"Status\":\"none\"}}}",
          "running", "", true, false, 0, INT32_MAX },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto(json) struct json *j = NULL;
        struct docker_container c;
        struct err err = { 0 };

        assert_int_equal(json_parse(rows[i].json, strlen(rows[i].json), &j, &err), 0);
        assert_int_equal(docker_container_parse(j, &c, &err), 0);
        assert_string_equal(c.name, "shop");
        assert_string_equal(c.status, rows[i].status);
        assert_string_equal(c.health, rows[i].health);
        assert_true(c.running == rows[i].running && c.paused == rows[i].paused);
        assert_int_equal(c.exit_code, rows[i].exit_code);
        assert_int_equal(c.pid, rows[i].pid);
    }
    auto(json) struct json *empty = json_object();
    struct docker_container c;
    assert_true(docker_container_parse(empty, &c, NULL) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_hostile_engine_has_its_sentence),
        cmocka_unit_test(the_version_is_agreed_on),
        cmocka_unit_test(a_fixed_version_is_kept),
        cmocka_unit_test(each_address_has_its_sentence),
        cmocka_unit_test(a_dead_socket_is_told),
        cmocka_unit_test(a_closed_door_is_told),
        cmocka_unit_test(the_place_is_the_docker_clis),
        cmocka_unit_test(each_shape_of_a_container_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
