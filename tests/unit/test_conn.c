/* How connections come to be, or not: refusal, full backlogs, names, TLS and its certificates,
 * IPv6, unix sockets, our own addresses. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tests/unit/fetch.h"
#include "tests/unit/server.h"

#define OK_HI "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

extern char **environ;

static bool says_hi(const struct served *s)
{
    say(s->fd, OK_HI);
    return true;
}

/* Says the head that came as the body. */
static bool says_what_came(const struct served *s)
{
    auto_buf struct buf b = BUF_INIT(0);

    buf_addf(&b, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(s->text), s->text);
    return say_bytes(s->fd, b.data, b.len);
}

static bool says_who_came(const struct served *s)
{
    char text[128], who[INET_ADDRSTRLEN] = "";

    inet_ntop(AF_INET, &s->peer.sin_addr, who, sizeof(who));
    snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(who),
             who);
    say(s->fd, text);
    return true;
}

/* One request to `url` with the plan as it is in `f`. */
static void fetch_one(struct fetcher *f, const char *url, struct fetched *got)
{
    struct lane lane = { 0 };

    fetcher_start(f, url);
    fetch(f, &lane, GET, true, got);
    lane_close(f->client, &lane);
    fetcher_stop(f);
}

static void expect_fail(const struct fetched *got, enum fail_class fail)
{
    if (got->sample.fail != fail)
        fail_msg("'%s' (%s) instead of '%s'", fail_class_name(got->sample.fail), got->why,
                 fail_class_name(fail));
    assert_int_equal(got->sample.status, fail == FAIL_NONE ? 200 : 0);
    assert_int_equal(got->sample.send != 0, fail == FAIL_NONE);
    assert_true(got->sample.done >= got->sample.start);
}

/* ---- no connection ---- */

static void who_refuses_is_told(void **state)
{
    struct server s;
    struct fetcher f;
    struct fetched got;
    char url[64];

    (void)state;
    assert_true(server_start(&s, SERVER_V4, NULL, says_hi));
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", s.port);
    server_stop(&s); /* the port is free again */
    fetcher_plan(&f);
    fetch_one(&f, url, &got);
    expect_fail(&got, FAIL_REFUSED);
    fetcher_plan(&f);
    fetch_one(&f, "unix:/nonexistent/chaos.sock", &got);
    expect_fail(&got, FAIL_REFUSED);
}

/* A backlog of 0 holds one or two connections that nobody accepts; the kernel drops the rest. */
static int full_listener(uint16_t *ret_port, int fillers[8])
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 0), 0);
    getsockname(fd, (struct sockaddr *)&a, &len);
    for (unsigned i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(fillers[i], (struct sockaddr *)&a, sizeof(a)) == 0)
            continue;
    }
    usleep(20000);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static void black_holes_end_in_the_connect_timeout(void **state)
{
    struct fetcher f;
    struct fetched got;
    char url[64];
    uint16_t port;
    int fillers[8];
    int fd = full_listener(&port, fillers);

    (void)state;
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", port);
    fetcher_plan(&f);
    fetch_one(&f, url, &got);
    expect_fail(&got, FAIL_CONNECT_TIMEOUT);
    assert_in_range(got.sample.done - got.sample.sched, 300 * NS_PER_MS, 5 * NS_PER_SEC);
    for (unsigned i = 0; i < 8; i++)
        close(fillers[i]);
    close(fd);
}

static void names_that_are_none_fail_as_dns(void **state)
{
    struct fetcher f;
    struct fetched got;

    (void)state;
    fetcher_plan(&f);
    f.http.connect_timeout_ns = f.http.timeout_ns = 20 * NS_PER_SEC;
    fetch_one(&f, "http://no-such-host.invalid", &got);
    expect_fail(&got, FAIL_DNS);
    assert_true(got.sample.stage_ns[STAGE_DNS] > 0);
    assert_non_null(strstr(got.why, "no-such-host.invalid"));
}

/* ---- ways to connect ---- */

/* A bare chroot has no /etc/hosts. */
static bool has_localhost(void)
{
    struct addrinfo *found = NULL;
    int rc = getaddrinfo("localhost", NULL, NULL, &found);

    if (rc == 0)
        freeaddrinfo(found);
    else
        print_message("SKIP names: 'localhost' does not resolve on this machine\n");
    return rc == 0;
}

static void names_resolve_by_each_policy(void **state)
{
    static const enum dns_policy policies[] = { DNS_PINNED, DNS_TTL, DNS_PER_CONNECTION };
    struct server s;

    (void)state;
    if (!has_localhost())
        return;
    assert_true(server_start(&s, SERVER_V4, NULL, says_hi));
    for (unsigned i = 0; i < ARRAY_LEN(policies); i++) {
        struct fetcher f;
        static struct fetched got[10];
        char url[64];

        snprintf(url, sizeof(url), "http://localhost:%u", s.port);
        fetcher_plan(&f);
        f.http.dns = policies[i];
        f.http.keep_alive = false;
        fetcher_start(&f, url);
        for (unsigned round = 0; round < 2; round++) {
            for (unsigned k = 0; k < 10; k++)
                fetch_begin(&f, NULL, GET, true, &got[k]);
            fetch_wait(&f);
            for (unsigned k = 0; k < 10; k++) {
                bool asked = round == 0 || policies[i] == DNS_PER_CONNECTION;
                expect_fail(&got[k],
                            FAIL_NONE); /* ::1 refuses, if it is there: the next is tried */
                assert_int_equal(got[k].sample.stage_ns[STAGE_DNS] != 0, asked);
            }
        }
        fetcher_stop(&f);
    }
    server_stop(&s);
}

static void leaving_while_a_name_resolves_is_safe(void **state)
{
    struct fetcher f;
    struct fetched cut, got;

    (void)state;
    fetcher_plan(&f);
    f.http.dns = DNS_PER_CONNECTION;
    fetcher_start(&f, "http://localhost:1");
    struct exchange *x = fetch_begin(&f, NULL, GET, false, &cut);
    client_cut(x, FAIL_INTERRUPTED);
    fetch_begin(&f, NULL, GET, false, &got);
    f.waiting = 0;
    fetcher_stop(&f);
    assert_int_equal(cut.times, 1);
    assert_int_equal(cut.sample.fail, FAIL_INTERRUPTED);
    assert_int_equal(got.times, 1);
    assert_int_equal(got.sample.fail, FAIL_INTERRUPTED);
}

static void ipv6_and_unix_sockets_are_spoken(void **state)
{
    struct server s;
    struct fetcher f;
    struct fetched got;
    char url[96], path[64];

    (void)state;
    snprintf(path, sizeof(path), "/tmp/chaos-test-%d.sock", (int)getpid());
    assert_true(server_start(&s, SERVER_UNIX, path, says_hi));
    snprintf(url, sizeof(url), "unix:%s", path);
    fetcher_plan(&f);
    fetch_one(&f, url, &got);
    expect_fail(&got, FAIL_NONE);
    server_stop(&s);

    if (!server_start(&s, SERVER_V6, NULL, says_hi))
        return; /* no IPv6 here */
    snprintf(url, sizeof(url), "http://[::1]:%u", s.port);
    fetcher_plan(&f);
    fetch_one(&f, url, &got);
    expect_fail(&got, FAIL_NONE);
    server_stop(&s);
}

static void our_own_addresses_take_turns(void **state)
{
    static const char *list[] = { "127.0.0.2", "127.0.0.3" };
    struct server s;
    struct fetcher f;
    struct fetched got;
    char url[64];

    (void)state;
    assert_true(server_start(&s, SERVER_V4, NULL, says_who_came));
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", s.port);
    fetcher_plan(&f);
    f.http.keep_alive = false;
    f.http.source_addresses = (struct strs){ list, ARRAY_LEN(list) };
    fetcher_start(&f, url);
    for (unsigned i = 0; i < 4; i++) {
        fetch(&f, NULL, GET, true, &got);
        assert_string_equal(got.body, list[i % 2]);
    }
    fetcher_stop(&f);
    server_stop(&s);

    list[1] = "localhost";
    struct err err = { 0 };
    struct loop *loop = loop_new(&err);
    assert_null(client_new(&(struct client_opts){ .loop = loop, .http = &f.http }, &err));
    assert_non_null(strstr(err.msg, "'localhost' is not an IP address"));
    loop_free(loop);
}

static void connect_to_moves_the_target_only(void **state)
{
    struct server s;
    struct fetcher f;
    struct fetched got;
    struct err err = { 0 };
    char to[32];

    (void)state;
    assert_true(server_start(&s, SERVER_V4, NULL, says_what_came));
    snprintf(to, sizeof(to), "127.0.0.1:%u", s.port);
    fetcher_plan(&f);
    fetcher_start_to(&f, "http://shop.invalid:81", to);
    assert_string_equal(origin_host_header(f.origin), "shop.invalid:81");
    fetch(&f, NULL, GET, true, &got);
    expect_fail(&got, FAIL_NONE);
    f.origin = client_origin(f.client, "http://127.0.0.1:1", &err);
    fetch(&f, NULL, GET, true, &got);
    expect_fail(&got, FAIL_REFUSED);
    fetcher_stop(&f);
    server_stop(&s);
}

/* ---- TLS ---- */

static char dir[64];

static int run(const char *const *argv, pid_t *ret_pid)
{
    posix_spawn_file_actions_t quiet;
    pid_t pid;
    int status = 0;

    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0);
    int rc = posix_spawnp(&pid, argv[0], &quiet, NULL, (char **)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&quiet);
    if (rc != 0)
        return rc;
    if (ret_pid) {
        *ret_pid = pid;
        return 0;
    }
    waitpid(pid, &status, 0);
    return status;
}

static int make_certificates(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* as the program does */
    snprintf(dir, sizeof(dir), "/tmp/chaos-test-tls-XXXXXX");
    if (!mkdtemp(dir) || chdir(dir) < 0)
        return -1;
    return run((const char *const[]){ "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                                      "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem",
                                      "-out", "cert.pem", "-days", "2", "-subj", "/CN=shop.test",
                                      "-addext", "subjectAltName=DNS:shop.test,IP:127.0.0.1",
                                      NULL },
               NULL);
}

static int remove_certificates(void **state)
{
    (void)state;
    if (unlink("key.pem") < 0 || unlink("cert.pem") < 0 || chdir("/") < 0)
        return -1;
    return rmdir(dir);
}

static uint16_t free_port(void)
{
    struct server s;

    assert_true(server_start(&s, SERVER_V4, NULL, says_hi));
    server_stop(&s);
    return s.port;
}

static void wait_for_port(uint16_t port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(port) };

    for (unsigned i = 0; i < 500; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int rc = connect(fd, (struct sockaddr *)&a, sizeof(a));
        close(fd);
        if (rc == 0)
            return;
        usleep(10000);
    }
    fail_msg("openssl s_server did not start");
}

/* openssl's own test server: its page says of each connection whether it is new or resumed. */
static pid_t tls_server(uint16_t port, const char *option, const char *value)
{
    char accept_at[32];
    pid_t pid = 0;

    snprintf(accept_at, sizeof(accept_at), "127.0.0.1:%u", port);
    assert_int_equal(run((const char *const[]){ "openssl", "s_server", "-www", "-accept", accept_at,
                                                "-cert", "cert.pem", "-key", "key.pem", "-CAfile",
                                                "cert.pem", option, value, NULL },
                         &pid),
                     0);
    wait_for_port(port);
    return pid;
}

static void end_server(pid_t pid)
{
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

static const struct tls_case {
    const char *name, *server[2]; /* an option of openssl s_server and its value */
    struct tls_plan plan;
    const char *host;
    enum fail_class fail;
    const char *why;
} tls_cases[] = {
    { .name = "trusted", .plan = { .verify = true, .ca_file = "cert.pem" }, .host = "127.0.0.1" },
    { .name = "not verified", .plan = { .verify = false }, .host = "127.0.0.1" },
    { .name = "TLS 1.2",
      .server = { "-tls1_2" },
      .plan = { .verify = false },
      .host = "127.0.0.1" },
    { .name = "another name, sent as SNI",
      .plan = { .verify = true, .ca_file = "cert.pem", .sni = "shop.test" },
      .host = "127.0.0.1" },
    { .name = "client certificate",
      .server = { "-Verify", "1" },
      .plan = { .verify = false, .cert_file = "cert.pem", .key_file = "key.pem" },
      .host = "127.0.0.1" },
    { .name = "no client certificate",
      .server = { "-Verify", "1" },
      .plan = { .verify = false },
      .host = "127.0.0.1",
      .fail = FAIL_TLS,
      .why = "refused us" },
    { .name = "unknown authority",
      .plan = { .verify = true },
      .host = "127.0.0.1",
      .fail = FAIL_TLS,
      .why = "self-signed certificate" },
    { .name = "wrong name",
      .plan = { .verify = true, .ca_file = "cert.pem", .sni = "bank.test" },
      .host = "127.0.0.1",
      .fail = FAIL_TLS,
      .why = "mismatch" },
    { .name = "version too old",
      .server = { "-tls1_2" },
      .plan = { .verify = false, .min_version = "1.3" },
      .host = "127.0.0.1",
      .fail = FAIL_TLS,
      .why = "handshake" },
};

static void try_tls(const struct tls_case *t)
{
    struct fetcher f;
    struct fetched got;
    char url[64];
    uint16_t port = free_port();
    pid_t pid = tls_server(port, t->server[0], t->server[1]);

    snprintf(url, sizeof(url), "https://%s:%u", t->host, port);
    fetcher_plan(&f);
    f.http.timeout_ns = f.http.connect_timeout_ns = 10 * NS_PER_SEC;
    f.http.tls = t->plan;
    fetch_one(&f, url, &got);
    end_server(pid);
    if (got.sample.fail != t->fail)
        fail_msg("%s: '%s' (%s)", t->name, fail_class_name(got.sample.fail), got.why);
    if (t->why && !strstr(got.why, t->why))
        fail_msg("%s: %s", t->name, got.why);
    if (!t->fail)
        assert_true(got.sample.stage_ns[STAGE_TLS] > 0 && got.sample.status == 200);
}

static void certificates_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tls_cases); i++)
        try_tls(&tls_cases[i]);
}

static void sessions_are_resumed(void **state)
{
    uint16_t port = free_port();
    pid_t pid = tls_server(port, NULL, NULL);

    (void)state;
    for (unsigned resume = 0; resume < 2; resume++) {
        struct fetcher f;
        struct fetched got;
        char url[64];

        snprintf(url, sizeof(url), "https://127.0.0.1:%u", port);
        fetcher_plan(&f);
        f.http.timeout_ns = f.http.connect_timeout_ns = 10 * NS_PER_SEC;
        f.http.tls = (struct tls_plan){ .resume = resume };
        fetcher_start(&f, url);
        for (unsigned i = 0; i < 3; i++) {
            fetch(&f, NULL, GET, true, &got);
            expect_fail(&got, FAIL_NONE);
            bool resumed = strstr(got.body, "Reused, TLS") != NULL;
            assert_int_equal(resumed, resume && i > 0);
        }
        fetcher_stop(&f);
    }
    end_server(pid);
}

static bool says_nothing(const struct served *s)
{
    (void)s;
    return true;
}

/* Accepts, and never says a word, or the wrong one: the handshake's own failures. */
static void broken_handshakes_are_told_apart(void **state)
{
    struct server s;
    struct fetcher f;
    struct fetched got;
    char url[64];

    (void)state;
    /* The server waits for a head's empty line that a ClientHello does not have. */
    assert_true(server_start(&s, SERVER_V4, NULL, says_nothing));
    snprintf(url, sizeof(url), "https://127.0.0.1:%u", s.port);
    fetcher_plan(&f);
    fetch_one(&f, url, &got);
    expect_fail(&got, FAIL_TLS_TIMEOUT);
    assert_true(got.sample.stage_ns[STAGE_CONNECT] > 0);
    assert_in_range(got.sample.done - got.sample.sched, 300 * NS_PER_MS, 5 * NS_PER_SEC);
    server_stop(&s);
}

static void bad_tls_files_are_named(void **state)
{
    static const struct tls_plan plans[] = {
        { .verify = true, .ca_file = "nothing.pem" },
        { .cert_file = "nothing.pem" },
        { .cert_file = "cert.pem", .key_file = "nothing.pem" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        struct err err = { 0 };
        struct fetcher f;

        fetcher_plan(&f);
        f.http.tls = plans[i];
        fetcher_start(&f, "http://127.0.0.1:1");
        assert_null(client_origin(f.client, "https://127.0.0.1:1", &err));
        assert_non_null(strstr(err.msg, "'nothing.pem'"));
        fetcher_stop(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_refuses_is_told),
        cmocka_unit_test(black_holes_end_in_the_connect_timeout),
        cmocka_unit_test(names_that_are_none_fail_as_dns),
        cmocka_unit_test(names_resolve_by_each_policy),
        cmocka_unit_test(leaving_while_a_name_resolves_is_safe),
        cmocka_unit_test(ipv6_and_unix_sockets_are_spoken),
        cmocka_unit_test(our_own_addresses_take_turns),
        cmocka_unit_test(connect_to_moves_the_target_only),
        cmocka_unit_test(certificates_count),
        cmocka_unit_test(sessions_are_resumed),
        cmocka_unit_test(broken_handshakes_are_told_apart),
        cmocka_unit_test(bad_tls_files_are_named),
    };

    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
