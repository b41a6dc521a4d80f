/* The proxy with HTTP toxics: what the client gets, what the server saw, and that framing holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proxy_net.h"

#define MS NS_PER_MS
#define PATIENCE_MS 10000

struct scene {
    struct net_server *server;
    struct proxies *proxies;
    char address[64];
    int fd;
};

static struct scene scene_begin(enum net_mode mode)
{
    struct scene s = { .server = net_server_new(mode, 0, false) };

    s.proxies = net_proxy(net_server_address(s.server), PROXY_AUTO, s.address);
    s.fd = net_connect(s.address);
    return s;
}

static void scene_end(struct scene *s)
{
    close(s->fd);
    proxies_free(s->proxies);
    net_server_free(s->server);
}

static struct toxic toxic(enum toxic_kind kind, enum proxy_stream stream)
{
    return (struct toxic){ .kind = kind, .stream = stream, .percent = 1, .status = 503, .seed = 3 };
}

#define GET(target_) "GET " target_ " HTTP/1.1\r\nHost: a\r\n\r\n"

/* One request: status and body. */
static void ask(struct scene *s, const char *request, int status, const char *body)
{
    char got[1000] = "";

    assert_int_equal(net_http(s->fd, request, got, sizeof got, NULL, 0), status);
    assert_string_equal(got, body);
}

static void test_requests_pass_and_are_counted(void **state)
{
    struct scene s = scene_begin(NET_HTTP);

    (void)state;
    ask(&s, GET("/a"), 200, "0 /a ");
    ask(&s, "POST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 200, "1 /b abc");
    struct proxy_counts n = proxies_counts(s.proxies, "p");
    assert_int_equal(n.requests, 2);
    assert_int_equal(n.not_http, 0);
    scene_end(&s);
}

/* Answered before the server is asked, or after; the connection goes on either way. */
static void test_status(void **state)
{
    struct scene s = scene_begin(NET_HTTP);
    struct toxic t = toxic(TOXIC_HTTP_STATUS, PROXY_REQUEST);

    (void)state;
    t.body = "down";
    ask(&s, GET("/a"), 200, "0 /a ");
    uint64_t handle = net_toxic(s.proxies, &t);
    ask(&s, "POST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 503, "down");
    assert_int_equal(net_server_requests(s.server), 1);
    assert_int_equal(proxies_toxic_hits(s.proxies, "p", handle).requests, 1);
    net_untoxic(s.proxies, handle);
    ask(&s, GET("/c"), 200, "1 /c ");

    t.stream = PROXY_RESPONSE;
    handle = net_toxic(s.proxies, &t);
    ask(&s, GET("/d"), 503, "down");
    assert_int_equal(net_server_requests(s.server), 3);
    net_untoxic(s.proxies, handle);
    ask(&s, GET("/e"), 200, "3 /e ");
    scene_end(&s);
}

static void test_match(void **state)
{
    static const struct {
        struct toxic_match match;
        const char *request;
        bool hit;
    } rows[] = {
        { { "POST", NULL, NULL }, GET("/a"), false },
        { { "GET", NULL, NULL }, GET("/a"), true },
        { { NULL, "/items/*", NULL }, GET("/a"), false },
        { { NULL, "/items/*", NULL }, GET("/items/7"), true },
        { { "GET", "/items/*", NULL },
          "HEAD /items/7 HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
          false },
        { { NULL, NULL, "X-Who: bob*" }, GET("/a"), false },
        { { NULL, NULL, "X-Who: bob*" }, "GET / HTTP/1.1\r\nx-who: bobby\r\n\r\n", true },
        { { NULL, NULL, "X-Who: bob" }, "GET / HTTP/1.1\r\nx-who: bobby\r\n\r\n", false },
    };
    struct scene s = scene_begin(NET_HTTP);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct toxic t = toxic(TOXIC_HTTP_STATUS, PROXY_REQUEST);
        t.match = rows[i].match;
        uint64_t handle = net_toxic(s.proxies, &t);
        if (strncmp(rows[i].request, "HEAD", 4) != 0) {
            char body[1000];
            int status = net_http(s.fd, rows[i].request, body, sizeof body, NULL, 0);
            assert_int_equal(status, rows[i].hit ? 503 : 200);
        }
        net_untoxic(s.proxies, handle);
    }
    scene_end(&s);
}

static void test_percent_is_of_requests(void **state)
{
    unsigned hits[2] = { 0 };

    (void)state;
    for (int round = 0; round < 2; round++) {
        struct scene s = scene_begin(NET_HTTP);
        struct toxic t = toxic(TOXIC_HTTP_STATUS, PROXY_REQUEST);
        char body[1000];

        t.percent = 0.3;
        net_toxic(s.proxies, &t);
        for (int i = 0; i < 200; i++)
            hits[round] += net_http(s.fd, GET("/"), body, sizeof body, NULL, 0) == 503;
        assert_int_equal(proxies_counts(s.proxies, "p").hit, hits[round]);
        scene_end(&s);
    }
    assert_true(hits[0] > 30 && hits[0] < 90);
    assert_int_equal(hits[0], hits[1]); /* the same seed */
}

static void test_abort_resets(void **state)
{
    static const enum proxy_stream streams[] = { PROXY_REQUEST, PROXY_RESPONSE };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        struct scene s = scene_begin(NET_HTTP);
        struct toxic t = toxic(TOXIC_HTTP_ABORT, streams[i]);
        char byte;
        int end;

        ask(&s, GET("/"), 200, "0 / ");
        net_toxic(s.proxies, &t);
        net_send(s.fd, GET("/x"));
        assert_int_equal(net_read(s.fd, &byte, 1, PATIENCE_MS, &end), 0);
        assert_int_equal(end, 2);
        assert_int_equal(net_server_requests(s.server), streams[i] == PROXY_REQUEST ? 1 : 2);
        scene_end(&s);
    }
}

static void test_delay(void **state)
{
    static const enum proxy_stream streams[] = { PROXY_REQUEST, PROXY_RESPONSE };
    struct scene s = scene_begin(NET_HTTP);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        struct toxic t = toxic(TOXIC_HTTP_DELAY, streams[i]);
        char body[1000];

        t.delay_ns = 60 * MS;
        t.match.path = "/slow";
        uint64_t handle = net_toxic(s.proxies, &t), before = clock_now_ns();
        assert_int_equal(net_http(s.fd, GET("/slow"), body, sizeof body, NULL, 0), 200);
        assert_true(clock_now_ns() - before >= 60 * MS);
        net_untoxic(s.proxies, handle);
    }
    scene_end(&s);
}

static void test_body(void **state)
{
    struct scene s = scene_begin(NET_HTTP);
    struct toxic t = toxic(TOXIC_HTTP_BODY, PROXY_RESPONSE);
    char body[1000], head[1000];

    (void)state;
    t.body = "something else altogether";
    uint64_t handle = net_toxic(s.proxies, &t);
    assert_int_equal(net_http(s.fd, GET("/"), body, sizeof body, head, sizeof head), 200);
    assert_string_equal(body, t.body);
    assert_null(strcasestr(head, "etag"));
    net_untoxic(s.proxies, handle);

    t.stream = PROXY_REQUEST;
    t.body = "changed";
    handle = net_toxic(s.proxies, &t);
    ask(&s,
        "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        200, "1 /x changed");
    net_untoxic(s.proxies, handle);
    ask(&s, GET("/y"), 200, "2 /y ");
    scene_end(&s);
}

static void test_header(void **state)
{
    struct scene s = scene_begin(NET_HTTP);
    struct toxic t = toxic(TOXIC_HTTP_HEADER, PROXY_RESPONSE);
    const char *keys[] = { "X-Fault", "etag" }, *values[] = { "yes", "" };
    char body[1000], head[1000];

    (void)state;
    t.headers = (struct pairs){ keys, values, 2 };
    uint64_t handle = net_toxic(s.proxies, &t);
    assert_int_equal(net_http(s.fd, GET("/"), body, sizeof body, head, sizeof head), 200);
    assert_non_null(strstr(head, "X-Fault: yes\r\n"));
    assert_null(strcasestr(head, "etag"));
    assert_string_equal(body, "0 / ");
    net_untoxic(s.proxies, handle);
    assert_int_equal(net_http(s.fd, GET("/"), body, sizeof body, head, sizeof head), 200);
    assert_non_null(strstr(head, "ETag"));
    scene_end(&s);
}

/* Answers come in the order of the requests, ours among the server's. */
static void test_pipelined(void **state)
{
    struct scene s = scene_begin(NET_HTTP);
    struct toxic t = toxic(TOXIC_HTTP_STATUS, PROXY_REQUEST);

    (void)state;
    t.match.path = "/hit*";
    t.body = "hit";
    net_toxic(s.proxies, &t);
    net_send(s.fd, GET("/1") GET("/hit1") GET("/2") GET("/hit2") GET("/hit3"));
    ask(&s, "", 200, "0 /1 ");
    ask(&s, "", 503, "hit");
    ask(&s, "", 200, "1 /2 ");
    ask(&s, "", 503, "hit");
    ask(&s, "", 503, "hit");
    ask(&s, GET("/3"), 200, "2 /3 ");
    scene_end(&s);
}

/* The same, byte by byte. */
static void test_dribbled(void **state)
{
    static const char text[] =
        "POST /hit HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0"
        "\r\n\r\n" GET("/next");
    struct scene s = scene_begin(NET_HTTP);
    struct toxic t = toxic(TOXIC_HTTP_STATUS, PROXY_REQUEST);

    (void)state;
    t.match.path = "/hit";
    t.body = "hit";
    net_toxic(s.proxies, &t);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char one[2] = { text[i], '\0' };
        net_send(s.fd, one);
        if (i % 7 == 0)
            clock_sleep_until(clock_now_ns() + MS);
    }
    ask(&s, "", 503, "hit");
    ask(&s, "", 200, "0 /next ");
    scene_end(&s);
}

static void test_close_is_kept(void **state)
{
    struct scene s = scene_begin(NET_HTTP);
    struct toxic t = toxic(TOXIC_HTTP_STATUS, PROXY_REQUEST);
    char body[1000], head[1000];
    int end;

    (void)state;
    net_toxic(s.proxies, &t);
    assert_int_equal(net_http(s.fd, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", body,
                              sizeof body, head, sizeof head),
                     503);
    assert_non_null(strstr(head, "Connection: close"));
    assert_int_equal(net_read(s.fd, body, 1, PATIENCE_MS, &end), 0);
    assert_int_equal(end, 1);
    scene_end(&s);
}

/* What is not HTTP goes through as it is, also with HTTP toxics in. */
static void test_other_protocols_pass(void **state)
{
    static const char *const texts[] = { "*1\r\n$4\r\nPING\r\n", "EHLO there\r\n", "\x16\x03\x01",
                                         "GET / HTTP/1.1\nbare: feeds\n\n" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct scene s = scene_begin(NET_ECHO);
        struct toxic t = toxic(TOXIC_HTTP_STATUS, PROXY_REQUEST);
        char back[100];
        int end;

        net_toxic(s.proxies, &t);
        net_send(s.fd, texts[i]);
        size_t n = strlen(texts[i]);
        assert_int_equal(net_read(s.fd, back, n, PATIENCE_MS, &end), n);
        assert_memory_equal(back, texts[i], n);
        assert_int_equal(proxies_counts(s.proxies, "p").not_http, 1);
        scene_end(&s);
    }
}

/* A server that answers what nobody asked: passed on, and no longer followed. */
static void test_echoed_request_is_no_response(void **state)
{
    struct scene s = scene_begin(NET_ECHO);
    char back[100];
    int end;
    const char *text = GET("/");

    (void)state;
    net_send(s.fd, text);
    assert_int_equal(net_read(s.fd, back, strlen(text), PATIENCE_MS, &end), strlen(text));
    assert_memory_equal(back, text, strlen(text));
    assert_int_equal(proxies_counts(s.proxies, "p").not_http, 1);
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_pass_and_are_counted),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_percent_is_of_requests),
        cmocka_unit_test(test_abort_resets),
        cmocka_unit_test(test_delay),
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_dribbled),
        cmocka_unit_test(test_close_is_kept),
        cmocka_unit_test(test_other_protocols_pass),
        cmocka_unit_test(test_echoed_request_is_no_response),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
