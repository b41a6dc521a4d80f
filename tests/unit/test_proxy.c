/* The proxy with TCP toxics, as a plain client and a plain server see it. Bounds on time are
 * one-sided where the machine could be slow: at least as late as the toxic says, and otherwise
 * before the end of patience. */
#include <errno.h>
#include <pthread.h>
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
#define COUNT_REACHED 0
#define ENDED 1
#define RESET 2
#define SILENT 3

static struct toxic toxic(enum toxic_kind kind, enum proxy_stream stream)
{
    return (struct toxic){ .kind = kind, .stream = stream, .percent = 1, .seed = 7 };
}

/* Sends a text through an echo server; how long it took to come back. */
static uint64_t echo(int fd, const char *text)
{
    char back[256];
    size_t n = strlen(text);
    int end;
    uint64_t before = clock_now_ns();

    net_send(fd, text);
    assert_int_equal(net_read(fd, back, n, PATIENCE_MS, &end), n);
    assert_memory_equal(back, text, n);
    return clock_now_ns() - before;
}

static int ends_with(int fd, unsigned ms)
{
    char rest[65536];
    int end;

    do {
        net_read(fd, rest, sizeof rest, ms, &end);
    } while (end == COUNT_REACHED);
    return end;
}

struct scene {
    struct net_server *server;
    struct proxies *proxies;
    char address[64];
};

static struct scene scene_begin(enum net_mode mode, size_t bytes)
{
    struct scene s = { .server = net_server_new(mode, bytes, false) };

    s.proxies = net_proxy(net_server_address(s.server), PROXY_TCP, s.address);
    return s;
}

static void scene_end(struct scene *s)
{
    proxies_free(s->proxies);
    net_server_free(s->server);
}

/* ---- passing through ---- */

static void test_bytes_pass_both_ways(void **state)
{
    struct scene s = scene_begin(NET_ECHO, 0);
    int fd = net_connect(s.address);

    (void)state;
    for (int i = 0; i < 100; i++)
        echo(fd, "some bytes");
    shutdown(fd, SHUT_WR);
    assert_int_equal(ends_with(fd, PATIENCE_MS), ENDED);
    close(fd);
    struct proxy_counts n = proxies_counts(s.proxies, "p");
    assert_int_equal(n.connections, 1);
    assert_int_equal(n.bytes_up, 1000);
    assert_int_equal(n.bytes_down, 1000);
    scene_end(&s);
}

static void test_unix_upstream(void **state)
{
    char address[64];
    struct net_server *server = net_server_new(NET_ECHO, 0, true);
    struct proxies *p = net_proxy(net_server_address(server), PROXY_TCP, address);
    int fd = net_connect(address);

    (void)state;
    echo(fd, "over a path");
    close(fd);
    proxies_free(p);
    net_server_free(server);
}

/* A reader that does not read stops the writer, and loses nothing. */
static void test_back_pressure(void **state)
{
    size_t total = (size_t)32 << 20;
    struct scene s = scene_begin(NET_SOURCE, total);
    int fd = net_connect(s.address), end;
    char *all = xcalloc(1, total);

    (void)state;
    clock_sleep_until(clock_now_ns() + 100 * MS);
    assert_true(proxies_counts(s.proxies, "p").bytes_down < total);
    assert_int_equal(net_read(fd, all, total, PATIENCE_MS, &end), total);
    assert_int_equal(ends_with(fd, PATIENCE_MS), ENDED);
    free(all);
    close(fd);
    scene_end(&s);
}

static void test_half_close_keeps_the_other_half(void **state)
{
    struct scene s = scene_begin(NET_ECHO, 0);
    int fd = net_connect(s.address), end;
    char back[5];

    (void)state;
    net_send(fd, "12345");
    shutdown(fd, SHUT_WR);
    assert_int_equal(net_read(fd, back, 5, PATIENCE_MS, &end), 5);
    assert_int_equal(ends_with(fd, PATIENCE_MS), ENDED);
    assert_false(net_server_saw_reset(s.server));
    close(fd);
    scene_end(&s);
}

static bool comes_true(bool (*is)(struct net_server *), struct net_server *s)
{
    for (int i = 0; i < 500 && !is(s); i++)
        clock_sleep_until(clock_now_ns() + 10 * MS);
    return is(s);
}

static void test_rst_passes_as_rst(void **state)
{
    struct scene s = scene_begin(NET_ECHO, 0);
    struct linger at_once = { .l_onoff = 1 };
    int fd = net_connect(s.address);

    (void)state;
    echo(fd, "x");
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
    assert_true(comes_true(net_server_saw_reset, s.server));
    scene_end(&s);
}

static void test_upstream_down_resets(void **state)
{
    struct net_server *server = net_server_new(NET_ECHO, 0, false);
    char address[64], gone[128];

    (void)state;
    snprintf(gone, sizeof gone, "%s", net_server_address(server));
    net_server_free(server);
    struct proxies *p = net_proxy(gone, PROXY_TCP, address);
    int fd = net_connect(address);
    if (fd >= 0)
        assert_int_equal(ends_with(fd, PATIENCE_MS), RESET);
    if (fd >= 0)
        close(fd);
    assert_int_equal(proxies_counts(p, "p").open, 0);
    proxies_free(p);
}

static void test_many_connections(void **state)
{
    struct scene s = scene_begin(NET_ECHO, 0);
    int fds[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = net_connect(s.address);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        echo(fds[i], "one of many");
    assert_int_equal(proxies_counts(s.proxies, "p").open, ARRAY_LEN(fds));
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    for (int i = 0; i < 500 && proxies_counts(s.proxies, "p").open > 0; i++)
        clock_sleep_until(clock_now_ns() + 10 * MS);
    assert_int_equal(proxies_counts(s.proxies, "p").open, 0);
    scene_end(&s);
}

/* ---- toxics ---- */

static void test_latency_per_direction(void **state)
{
    static const struct {
        enum proxy_stream stream;
        uint64_t at_least;
    } rows[] = { { PROXY_REQUEST, 60 * MS },
                 { PROXY_RESPONSE, 60 * MS },
                 { PROXY_BOTH, 120 * MS } };
    struct scene s = scene_begin(NET_ECHO, 0);
    int fd = net_connect(s.address);

    (void)state;
    echo(fd, "before");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct toxic t = toxic(TOXIC_LATENCY, rows[i].stream);
        t.delay_ns = 60 * MS;
        uint64_t handle = net_toxic(s.proxies, &t);
        uint64_t took = echo(fd, "under it");
        assert_true(took >= rows[i].at_least);
        assert_true(took < rows[i].at_least + 5 * NS_PER_SEC);
        assert_int_equal(proxies_toxic_hits(s.proxies, "p", handle).connections, 1);
        net_untoxic(s.proxies, handle);
    }
    scene_end(&s);
    close(fd);
}

/* What is on its way when latency goes, arrives at once, whole and in order. */
static void test_latency_removed_in_flight(void **state)
{
    struct scene s = scene_begin(NET_ECHO, 0);
    struct toxic t = toxic(TOXIC_LATENCY, PROXY_RESPONSE);
    int fd = net_connect(s.address), end;
    char back[20];

    (void)state;
    t.delay_ns = 60 * NS_PER_SEC;
    t.jitter_ns = 5 * NS_PER_SEC;
    uint64_t handle = net_toxic(s.proxies, &t);
    for (int i = 0; i < 10; i++) {
        net_send(fd, "ab");
        clock_sleep_until(clock_now_ns() + 5 * MS);
    }
    assert_int_equal(net_read(fd, back, 1, 50, &end), 0);
    assert_int_equal(end, SILENT);
    net_untoxic(s.proxies, handle);
    assert_int_equal(net_read(fd, back, 20, PATIENCE_MS, &end), 20);
    assert_memory_equal(back, "abababababababababab", 20);
    echo(fd, "as before");
    close(fd);
    scene_end(&s);
}

static void test_bandwidth(void **state)
{
    size_t total = 50000;
    struct scene s = scene_begin(NET_SOURCE, total);
    struct toxic t = toxic(TOXIC_BANDWIDTH, PROXY_RESPONSE);
    char *all = xcalloc(1, total);
    int end;

    (void)state;
    t.bits_per_sec = 1000000; /* 50000 bytes are 0.4 s */
    uint64_t handle = net_toxic(s.proxies, &t), before = clock_now_ns();
    int fd = net_connect(s.address);
    assert_int_equal(net_read(fd, all, total, PATIENCE_MS, &end), total);
    assert_true(clock_now_ns() - before >= 360 * MS);
    close(fd);
    net_untoxic(s.proxies, handle);

    t.bits_per_sec = 8000;
    handle = net_toxic(s.proxies, &t);
    fd = net_connect(s.address);
    assert_true(net_read(fd, all, total, 100, &end) < 5000);
    net_untoxic(s.proxies, handle); /* the rest comes at once: it would have been 50 s */
    assert_true(net_read(fd, all, total, PATIENCE_MS, &end) > 40000);
    assert_int_equal(end, ENDED);
    close(fd);
    free(all);
    scene_end(&s);
}

static void test_loss_stalls(void **state)
{
    struct scene s = scene_begin(NET_ECHO, 0);
    struct toxic t = toxic(TOXIC_LOSS, PROXY_RESPONSE);
    int fd = net_connect(s.address);
    unsigned stalled = 0;

    (void)state;
    t.percent = 0.5;
    t.delay_ns = 40 * MS;
    uint64_t handle = net_toxic(s.proxies, &t);
    for (int i = 0; i < 20; i++)
        stalled += echo(fd, "x") >= 40 * MS;
    assert_true(stalled >= 3 && stalled <= 20);
    net_untoxic(s.proxies, handle);
    close(fd);
    scene_end(&s);
}

static void test_reset(void **state)
{
    struct scene s = scene_begin(NET_ECHO, 0);
    struct toxic t = toxic(TOXIC_RESET, PROXY_BOTH);
    int old = net_connect(s.address);

    (void)state;
    echo(old, "open before");
    uint64_t handle = net_toxic(s.proxies, &t);
    assert_int_equal(ends_with(old, PATIENCE_MS), RESET);
    int fd = net_connect(s.address);
    if (fd >= 0) {
        assert_int_equal(ends_with(fd, PATIENCE_MS), RESET);
        close(fd);
    }
    net_untoxic(s.proxies, handle);
    fd = net_connect(s.address);
    echo(fd, "after");

    t.after_ns = 80 * MS;
    uint64_t before = clock_now_ns();
    handle = net_toxic(s.proxies, &t);
    assert_int_equal(ends_with(fd, PATIENCE_MS), RESET);
    assert_true(clock_now_ns() - before >= 80 * MS);
    net_untoxic(s.proxies, handle);
    close(fd);
    close(old);
    scene_end(&s);
}

/* Bytes are counted from when the toxic met the connection. */
static void test_reset_and_limit_after_bytes(void **state)
{
    static const struct {
        enum toxic_kind kind;
        int end;
    } rows[] = { { TOXIC_RESET, RESET }, { TOXIC_LIMIT_DATA, ENDED } };
    struct scene s = scene_begin(NET_ECHO, 0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct toxic t = toxic(rows[i].kind, PROXY_RESPONSE);
        int fd = net_connect(s.address), end;
        char back[100];

        echo(fd, "0123456789");
        t.bytes = 15;
        uint64_t handle = net_toxic(s.proxies, &t);
        echo(fd, "0123456789");
        net_send(fd, "0123456789");
        size_t got = net_read(fd, back, sizeof back, PATIENCE_MS, &end);
        assert_int_equal(end, rows[i].end);
        if (rows[i].kind == TOXIC_LIMIT_DATA)
            assert_int_equal(got, 5);
        net_untoxic(s.proxies, handle);
        close(fd);
    }
    scene_end(&s);
}

static void test_refuse(void **state)
{
    struct scene s = scene_begin(NET_ECHO, 0);
    struct toxic t = toxic(TOXIC_REFUSE, PROXY_BOTH);
    int old = net_connect(s.address);

    (void)state;
    echo(old, "open before");
    for (int round = 0; round < 3; round++) {
        uint64_t one = net_toxic(s.proxies, &t), two = net_toxic(s.proxies, &t);
        if (round == 0)
            assert_int_equal(ends_with(old, PATIENCE_MS), RESET);
        errno = 0;
        assert_int_equal(net_connect(s.address), -1);
        assert_int_equal(errno, ECONNREFUSED);
        net_untoxic(s.proxies, one);
        assert_int_equal(net_connect(s.address), -1); /* the other still refuses */
        net_untoxic(s.proxies, two);
        int fd = net_connect(s.address);
        assert_true(fd >= 0);
        echo(fd, "on the same port");
        close(fd);
    }
    close(old);
    scene_end(&s);
}

static void test_blackhole(void **state)
{
    struct scene s = scene_begin(NET_ECHO, 0);
    struct toxic t = toxic(TOXIC_BLACKHOLE, PROXY_BOTH);
    int quiet = net_connect(s.address), talking = net_connect(s.address), end;
    char back[10];

    (void)state;
    echo(quiet, "x");
    echo(talking, "x");
    uint64_t handle = net_toxic(s.proxies, &t);
    int fresh = net_connect(s.address);
    assert_true(fresh >= 0);
    net_send(talking, "hello?");
    net_send(fresh, "hello?");
    assert_int_equal(net_read(talking, back, 1, 50, &end), 0);
    assert_int_equal(end, SILENT);
    assert_int_equal(net_read(fresh, back, 1, 50, &end), 0);
    assert_int_equal(end, SILENT);
    assert_int_equal(net_server_received(s.server), 2);
    net_untoxic(s.proxies, handle);
    assert_int_equal(ends_with(talking, PATIENCE_MS), ENDED);
    assert_int_equal(ends_with(fresh, PATIENCE_MS), ENDED);
    echo(quiet, "lost nothing, so it lives");

    t.after_ns = 60 * MS;
    handle = net_toxic(s.proxies, &t);
    assert_int_equal(ends_with(quiet, PATIENCE_MS), ENDED);
    net_untoxic(s.proxies, handle);
    close(quiet);
    close(talking);
    close(fresh);
    scene_end(&s);
}

static void test_slow_close(void **state)
{
    struct scene s = scene_begin(NET_SOURCE, 10);
    struct toxic t = toxic(TOXIC_SLOW_CLOSE, PROXY_RESPONSE);
    char back[10];
    int end;

    (void)state;
    t.delay_ns = 80 * MS;
    uint64_t handle = net_toxic(s.proxies, &t);
    int fd = net_connect(s.address);
    uint64_t before = clock_now_ns();
    assert_int_equal(net_read(fd, back, 10, PATIENCE_MS, &end), 10);
    assert_int_equal(ends_with(fd, PATIENCE_MS), ENDED);
    assert_true(clock_now_ns() - before >= 70 * MS);
    net_untoxic(s.proxies, handle);
    close(fd);
    scene_end(&s);
}

static void test_slicer(void **state)
{
    struct scene s = scene_begin(NET_ECHO, 0);
    struct toxic t = toxic(TOXIC_SLICER, PROXY_RESPONSE);
    int fd = net_connect(s.address);

    (void)state;
    t.bytes = 2;
    t.delay_ns = 10 * MS;
    uint64_t handle = net_toxic(s.proxies, &t);
    assert_true(echo(fd, "0123456789") >= 40 * MS); /* five slices, four pauses */
    net_untoxic(s.proxies, handle);
    close(fd);
    scene_end(&s);
}

/* Who is hit follows from the seed and the order of connections, and nothing else. */
static void test_percent_is_of_connections(void **state)
{
    struct scene s = scene_begin(NET_ECHO, 0);
    struct toxic t = toxic(TOXIC_RESET, PROXY_BOTH);
    int fds[60];
    unsigned hit = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = net_connect(s.address);
        echo(fds[i], "x");
    }
    t.percent = 0.5;
    uint64_t handle = net_toxic(s.proxies, &t);
    hit = (unsigned)proxies_toxic_hits(s.proxies, "p", handle).connections;
    assert_true(hit > 10 && hit < 50);
    assert_int_equal(proxies_counts(s.proxies, "p").open, ARRAY_LEN(fds) - hit);
    assert_int_equal(net_toxic(s.proxies, &t) != handle, true);
    /* The same lottery again hits nobody new. */
    assert_int_equal(proxies_counts(s.proxies, "p").open, ARRAY_LEN(fds) - hit);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    scene_end(&s);
}

/* ---- changing under load ---- */

struct load {
    const char *address;
    unsigned done;
};

static void *load_main(void *arg)
{
    struct load *l = arg;

    for (int c = 0; c < 10; c++) {
        int fd = net_connect(l->address);
        for (int i = 0; i < 20; i++)
            echo(fd, "a line under load");
        l->done += 20;
        close(fd);
    }
    return NULL;
}

static void test_toxics_change_under_load(void **state)
{
    static const enum toxic_kind kinds[] = { TOXIC_LATENCY, TOXIC_SLICER, TOXIC_BANDWIDTH,
                                             TOXIC_SLOW_CLOSE };
    struct scene s = scene_begin(NET_ECHO, 0);
    struct load loads[3];
    pthread_t threads[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        loads[i] = (struct load){ s.address, 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, load_main, &loads[i]), 0);
    }
    for (int i = 0; i < 40; i++) {
        struct toxic t = toxic(kinds[i % 4], PROXY_BOTH);
        t.delay_ns = MS;
        t.jitter_ns = MS;
        t.bytes = 3;
        t.bits_per_sec = 1000000;
        uint64_t handle = net_toxic(s.proxies, &t);
        clock_sleep_until(clock_now_ns() + 2 * MS);
        net_untoxic(s.proxies, handle);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(loads[i].done, 200);
    }
    scene_end(&s);
}

static void test_mistakes_are_said(void **state)
{
    static const struct {
        struct proxy_plan row;
        const char *says;
    } rows[] = {
        { { "p", "127.0.0.1:0", "127.0.0.1:1", PROXY_TCP, 0 }, "two proxies" },
        { { "q", "nowhere", "127.0.0.1:1", PROXY_TCP, 0 }, "write it as" },
        { { "q", "127.0.0.1:0", "nowhere", PROXY_TCP, 0 }, "write it as" },
        { { "q", "unix:/tmp/x", "127.0.0.1:1", PROXY_TCP, 0 }, "TCP port" },
        { { "q", "127.0.0.1:0", "unix:", PROXY_TCP, 0 }, "empty" },
    };
    struct scene s = scene_begin(NET_ECHO, 0);
    struct toxic t = toxic(TOXIC_HTTP_STATUS, PROXY_REQUEST);
    struct err err = { 0 };
    uint64_t handle;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(proxies_add(s.proxies, &rows[i].row, &err) < 0);
        assert_non_null(strstr(err.msg, rows[i].says));
    }
    t.status = 503;
    assert_true(proxies_toxic_add(s.proxies, "p", &t, &handle, NULL, &err) < 0);
    assert_non_null(strstr(err.msg, "protocol"));
    assert_true(proxies_toxic_add(s.proxies, "x", &t, &handle, NULL, &err) < 0);
    assert_int_equal(err.kind, ERR_TARGET);
    assert_false(proxies_has(s.proxies, "x"));
    assert_true(proxies_has(s.proxies, "p"));
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_pass_both_ways),
        cmocka_unit_test(test_unix_upstream),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_half_close_keeps_the_other_half),
        cmocka_unit_test(test_rst_passes_as_rst),
        cmocka_unit_test(test_upstream_down_resets),
        cmocka_unit_test(test_many_connections),
        cmocka_unit_test(test_latency_per_direction),
        cmocka_unit_test(test_latency_removed_in_flight),
        cmocka_unit_test(test_bandwidth),
        cmocka_unit_test(test_loss_stalls),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_reset_and_limit_after_bytes),
        cmocka_unit_test(test_refuse),
        cmocka_unit_test(test_blackhole),
        cmocka_unit_test(test_slow_close),
        cmocka_unit_test(test_slicer),
        cmocka_unit_test(test_percent_is_of_connections),
        cmocka_unit_test(test_toxics_change_under_load),
        cmocka_unit_test(test_mistakes_are_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
