/* Where a proxy's life is less simple: answers before the answer, streams that stop being HTTP,
 * delays that end early, no descriptors left, and IPv6. The upstream is played by the test. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proxy_net.h"

#define PATIENCE_MS 10000

struct scene {
    int listener, client, server;
    char upstream[64], address[64];
    struct proxies *proxies;
};

static int listen_on(int family, char out[64])
{
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    bool is_six = family == AF_INET6;
    struct sockaddr *sa = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
    socklen_t len = is_six ? sizeof six : sizeof four;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, sa, len) < 0 || listen(fd, 64) < 0 || getsockname(fd, sa, &len) < 0)
        return -1;
    snprintf(out, 64, is_six ? "[::1]:%u" : "127.0.0.1:%u",
             ntohs(is_six ? six.sin6_port : four.sin_port));
    return fd;
}

static int accept_one(const struct scene *s)
{
    struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };

    setsockopt(s->listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static struct scene scene_begin(void)
{
    struct scene s = { .server = -1 };

    s.listener = listen_on(AF_INET, s.upstream);
    assert_true(s.listener >= 0);
    s.proxies = net_proxy(s.upstream, PROXY_AUTO, s.address);
    s.client = net_connect(s.address);
    s.server = accept_one(&s);
    return s;
}

static void scene_end(struct scene *s)
{
    close(s->client);
    close(s->server);
    close(s->listener);
    proxies_free(s->proxies);
}

/* `text` is sent at one end, and `wanted` arrives at the other. */
static void passes(int from, int to, const char *text, const char *wanted)
{
    char got[4096] = "";
    int end;

    net_send(from, text);
    size_t n = net_read(to, got, strlen(wanted), PATIENCE_MS, &end);
    got[MIN(n, sizeof got - 1)] = '\0';
    assert_string_equal(got, wanted);
}

static bool is_silent(int fd, unsigned ms)
{
    char c;
    int end;

    return net_read(fd, &c, 1, ms, &end) == 0 && end == 3;
}

static void same(int from, int to, const char *text)
{
    passes(from, to, text, text);
}

static struct toxic toxic(enum toxic_kind kind, enum proxy_stream stream)
{
    return (struct toxic){ .kind = kind, .stream = stream, .percent = 1, .status = 503, .seed = 3 };
}

/* ---- an answer before the answer ---- */

#define POST_HEAD "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"
#define OK_HEAD "HTTP/1.1 200 OK\r\n"

/* The client waits with its body for the 100, which is no answer: a toxic hits what comes after. */
static void test_100_continue(void **state)
{
    const char *keys[] = { "X-Fault" }, *values[] = { "yes" };
    struct scene s = scene_begin();
    struct toxic t = toxic(TOXIC_HTTP_HEADER, PROXY_RESPONSE);

    (void)state;
    t.headers = (struct pairs){ keys, values, 1 };
    net_toxic(s.proxies, &t);
    for (int i = 0; i < 2; i++) {
        same(s.client, s.server, POST_HEAD);
        same(s.server, s.client, CONTINUE);
        same(s.client, s.server, "body");
        passes(s.server, s.client, OK_HEAD "Content-Length: 2\r\n\r\nok",
               OK_HEAD "Content-Length: 2\r\nX-Fault: yes\r\n\r\nok");
    }
    scene_end(&s);
}

/* A server that says no at once: the body never comes, and the proxy waits for nothing. */
static void test_100_continue_refused(void **state)
{
    struct scene s = scene_begin();

    (void)state;
    same(s.client, s.server, POST_HEAD);
    same(s.server, s.client, "HTTP/1.1 417 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    scene_end(&s);
}

/* A request that is answered by the toxic, although its body was never sent. */
static void test_100_continue_hit(void **state)
{
    struct scene s = scene_begin();
    struct toxic t = toxic(TOXIC_HTTP_STATUS, PROXY_REQUEST);

    (void)state;
    t.body = "hit";
    net_toxic(s.proxies, &t);
    passes(s.client, s.client, POST_HEAD, "HTTP/1.1 503 ");
    char c;
    int end;
    assert_int_equal(net_read(s.server, &c, 1, 50, &end), 0);
    scene_end(&s);
}

/* ---- streams that stop being HTTP ---- */

static const struct {
    const char *request, *answer;
} tunnels[] = {
    { "GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" },
    { "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n", OK_HEAD "\r\n" },
};

/* What looks like HTTP inside a tunnel is none: neither touched nor counted. */
static void test_tunnels_are_left_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tunnels); i++) {
        struct scene s = scene_begin();
        same(s.client, s.server, tunnels[i].request);
        same(s.server, s.client, tunnels[i].answer);
        struct toxic status = toxic(TOXIC_HTTP_STATUS, PROXY_REQUEST);
        struct toxic body = toxic(TOXIC_HTTP_BODY, PROXY_RESPONSE);
        status.body = body.body = "changed";
        net_toxic(s.proxies, &status);
        net_toxic(s.proxies, &body);
        same(s.client, s.server, "\x81\x05hello GET / HTTP/1.1\r\n\r\n");
        same(s.server, s.client, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        same(s.client, s.server, "GET / HTTP/1.1\r\n\r\n");
        assert_int_equal(proxies_counts(s.proxies, "p").requests, 1);
        scene_end(&s);
    }
}

/* An upgrade that the server does not want: HTTP goes on, and toxics with it. */
static void test_an_upgrade_that_is_declined(void **state)
{
    struct scene s = scene_begin();
    struct toxic t = toxic(TOXIC_HTTP_STATUS, PROXY_REQUEST);

    (void)state;
    same(s.client, s.server, tunnels[0].request);
    same(s.server, s.client, OK_HEAD "Content-Length: 2\r\n\r\nno");
    t.body = "hit";
    net_toxic(s.proxies, &t);
    passes(s.client, s.client, "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 503 ");
    scene_end(&s);
}

/* ---- a delay that is removed while it holds something ---- */

static void test_delay_removed_in_flight(void **state)
{
    static const enum proxy_stream streams[] = { PROXY_REQUEST, PROXY_RESPONSE };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        struct scene s = scene_begin();
        struct toxic t = toxic(TOXIC_HTTP_DELAY, streams[i]);
        bool request = streams[i] == PROXY_REQUEST;
        t.delay_ns = 3600 * NS_PER_SEC;
        uint64_t handle = net_toxic(s.proxies, &t);
        net_send(s.client, "GET / HTTP/1.1\r\n\r\n");
        if (!request) {
            passes(s.client, s.server, "", "GET / HTTP/1.1\r\n\r\n");
            net_send(s.server, OK_HEAD "Content-Length: 2\r\n\r\nok");
        }
        assert_true(is_silent(request ? s.server : s.client, 50));
        net_untoxic(s.proxies, handle);
        if (request) {
            passes(s.client, s.server, "", "GET / HTTP/1.1\r\n\r\n");
            net_send(s.server, OK_HEAD "Content-Length: 2\r\n\r\nok");
        }
        passes(s.server, s.client, "", OK_HEAD "Content-Length: 2\r\n\r\nok");
        scene_end(&s);
    }
}

/* ---- nothing left to accept with ---- */

static void test_no_descriptors_left(void **state)
{
    struct scene s = scene_begin();
    struct rlimit was, none;
    int waiting = net_connect(s.address); /* the number it has is closed again, for nobody */
    int highest = dup(waiting);

    (void)state;
    close(accept_one(&s));
    close(waiting);
    clock_sleep_until(clock_now_ns() + 50 * NS_PER_MS);
    waiting = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = was;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    to.sin_port = htons((uint16_t)strtoul(strrchr(s.address, ':') + 1, NULL, 10));
    assert_int_equal(connect(waiting, (struct sockaddr *)&to, sizeof to), 0);
    same(s.client, s.server, "those that are there go on");
    assert_true(is_silent(waiting, 50));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    int server = accept_one(&s);
    same(waiting, server, "and it was not forgotten");
    close(server);
    close(waiting);
    close(highest);
    scene_end(&s);
}

/* ---- IPv6 ---- */

static int connect_six(const char *address)
{
    struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin6_port = htons((uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10));
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    int code = errno;
    close(fd);
    errno = code;
    return -1;
}

static void test_ipv6_on_both_sides(void **state)
{
    struct scene s = { .server = -1 };
    struct err err = { 0 };

    (void)state;
    s.listener = listen_on(AF_INET6, s.upstream);
    if (s.listener < 0)
        skip(); /* no IPv6 on this machine */
    s.proxies = proxies_new(&err);
    const struct proxy_plan row = { "p", "[::1]:0", s.upstream, PROXY_AUTO, 0 };
    assert_int_equal(proxies_add(s.proxies, &row, &err), 0);
    assert_int_equal(proxies_address(s.proxies, "p", s.address, &err), 0);
    assert_non_null(strstr(s.address, "[::1]:"));
    s.client = connect_six(s.address);
    assert_true(s.client >= 0);
    s.server = accept_one(&s);
    same(s.client, s.server, "there");
    same(s.server, s.client, "and back");
    struct toxic refuse = toxic(TOXIC_REFUSE, PROXY_BOTH);
    uint64_t handle = net_toxic(s.proxies, &refuse);
    assert_int_equal(connect_six(s.address), -1);
    assert_int_equal(errno, ECONNREFUSED);
    net_untoxic(s.proxies, handle);
    int again = connect_six(s.address);
    assert_true(again >= 0);
    close(again);
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_100_continue),
        cmocka_unit_test(test_100_continue_refused),
        cmocka_unit_test(test_100_continue_hit),
        cmocka_unit_test(test_tunnels_are_left_alone),
        cmocka_unit_test(test_an_upgrade_that_is_declined),
        cmocka_unit_test(test_delay_removed_in_flight),
        cmocka_unit_test(test_no_descriptors_left),
        cmocka_unit_test(test_ipv6_on_both_sides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
