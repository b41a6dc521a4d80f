/* Both engines before the same servers: the same answers, classes and stamps. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "raw_server.h"
#include "runner/client.h"

#define OK_BYTES "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define GET_BYTES "GET /x?y HTTP/1.1\r\nHost: h\r\nX-Mine: 1\r\nAccept: */*\r\n\r\n"
#define WATCHDOG_NS (20 * NS_PER_SEC)

static const char *const engines[] = { "native", "curl" };

struct fixture {
    struct raw_server *server;
    struct loop *loop;
    struct loop_timer *watchdog, *cutter;
    struct http_plan http;
    struct client *client;
    struct lane lane;
    struct exchange *exchange;
    unsigned answers;
    bool late;
    /* the last answer, copied */
    struct sample sample;
    bool reused, has_body;
    char why[300];
    struct buf head, body;
};

static void bite(void *arg)
{
    struct fixture *f = arg;

    f->late = true;
    loop_stop(f->loop);
}

static void begin(struct fixture *f, const char *engine)
{
    struct err err = { 0 };

    memset(f, 0, sizeof(*f));
    f->head = BUF_INIT(0);
    f->body = BUF_INIT(0);
    f->server = raw_server_new(NULL);
    f->loop = loop_new(&err);
    f->watchdog = loop_timer_new(f->loop, bite, f);
    f->http = (struct http_plan){ .timeout_ns = 10 * NS_PER_SEC,
                                  .connect_timeout_ns = 5 * NS_PER_SEC,
                                  .keep_alive = true,
                                  .engine = engine,
                                  .http_version = "1.1",
                                  .dns = DNS_TTL,
                                  .dns_ttl_ns = NS_PER_SEC,
                                  .tls = { .verify = true, .resume = true } };
}

static void start(struct fixture *f)
{
    struct err err = { 0 };

    f->client = client_new(
        &(struct client_opts){ .loop = f->loop, .http = &f->http, .target = "http://unused" },
        &err);
    assert_string_equal(err.msg, "");
}

static void end(struct fixture *f)
{
    if (f->client)
        lane_close(f->client, &f->lane);
    client_free(f->client);
    loop_timer_free(f->watchdog);
    loop_timer_free(f->cutter);
    loop_free(f->loop);
    raw_server_free(f->server);
    buf_done(&f->head);
    buf_done(&f->body);
}

static void done(void *arg, const struct answer *a)
{
    struct fixture *f = arg;

    f->answers++;
    f->sample = a->sample;
    f->reused = a->reused;
    f->has_body = a->body != NULL;
    buf_clear(&f->head);
    buf_clear(&f->body);
    buf_add(&f->head, a->head ? a->head : "", a->head_len);
    if (a->body)
        buf_add(&f->body, a->body, a->body_len);
    snprintf(f->why, sizeof(f->why), "%s", a->why ? a->why : "");
    loop_stop(f->loop);
}

static void wait_for_answer(struct fixture *f)
{
    struct err err = { 0 };

    loop_timer_at(f->watchdog, clock_now_ns() + WATCHDOG_NS);
    assert_int_equal(loop_run(f->loop, &err), 0);
    loop_timer_stop(f->watchdog);
    assert_false(f->late);
}

/* Sends to the server (or to `base`) and waits. */
static void exchange_on(struct fixture *f, struct lane *lane, const char *base, struct request r)
{
    auto_free char *url = xasprintf("http://127.0.0.1:%u", raw_server_port(f->server));
    struct err err = { 0 };

    if (!f->client)
        start(f);
    r.origin = client_origin(f->client, base ? base : url, &err);
    assert_string_equal(err.msg, "");
    if (!r.bytes)
        r.bytes = GET_BYTES;
    r.len = strlen(r.bytes);
    r.sched_ns = clock_now_ns();
    r.start_ns = r.sched_ns;
    f->exchange = client_send(f->client, lane, &r, done, f);
    assert_non_null(f->exchange);
    wait_for_answer(f);
}

static void exchange(struct fixture *f, const char *base, struct request r)
{
    exchange_on(f, &f->lane, base, r);
}

/* ---- answers and how they end ---- */

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define LONG_HEADER "X-Fill: 0123456789012345678901234567890123456789012345678901234567890\r\n"

static const struct {
    const char *name;
    struct raw_script script;
    bool is_head;
    enum fail_class want;
    unsigned status;
    const char *body;
} scripts[] = {
    { "length", { OK_BYTES, .end = RAW_KEEP }, false, FAIL_NONE, 200, "ok" },
    { "chunked",
      { CHUNKED "2\r\nok\r\n3;x=y\r\n-ok\r\n0\r\n\r\n", .end = RAW_KEEP },
      false,
      FAIL_NONE,
      200,
      "ok-ok" },
    { "trailers",
      { CHUNKED "2\r\nok\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", .end = RAW_KEEP },
      false,
      FAIL_NONE,
      200,
      "ok" },
    { "until close",
      { "HTTP/1.1 200 OK\r\n\r\nall", .end = RAW_CLOSE },
      false,
      FAIL_NONE,
      200,
      "all" },
    { "error status",
      { "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", .end = RAW_KEEP },
      false,
      FAIL_NONE,
      503,
      "" },
    { "no content", { "HTTP/1.1 204 No\r\n\r\n", .end = RAW_KEEP }, false, FAIL_NONE, 204, "" },
    { "not modified",
      { "HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", .end = RAW_KEEP },
      false,
      FAIL_NONE,
      304,
      "" },
    { "head",
      { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", .end = RAW_KEEP },
      true,
      FAIL_NONE,
      200,
      "" },
    { "interim",
      { "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" OK_BYTES, .end = RAW_KEEP },
      false,
      FAIL_NONE,
      200,
      "ok" },
    { "reset", { "", .end = RAW_RESET }, false, FAIL_RESET, 0, NULL },
    { "closed", { "", .end = RAW_CLOSE }, false, FAIL_CLOSED, 0, NULL },
    { "half a head",
      { "HTTP/1.1 200 OK\r\nConte", .end = RAW_CLOSE },
      false,
      FAIL_SHORT_BODY,
      0,
      NULL },
    { "short body",
      { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", .end = RAW_CLOSE },
      false,
      FAIL_SHORT_BODY,
      200,
      NULL },
    { "short chunks", { CHUNKED "5\r\nok", .end = RAW_CLOSE }, false, FAIL_SHORT_BODY, 200, NULL },
    { "hang", { "", .end = RAW_HANG }, false, FAIL_RESPONSE_TIMEOUT, 0, NULL },
    { "hang in body",
      { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", .end = RAW_HANG },
      false,
      FAIL_TRANSFER_TIMEOUT,
      200,
      NULL },
    { "garbage", { "SSH-2.0-x\r\n\r\n", .end = RAW_CLOSE }, false, FAIL_MALFORMED, 0, NULL },
    { "bad chunk", { CHUNKED "zz\r\nok\r\n", .end = RAW_CLOSE }, false, FAIL_MALFORMED, 200, NULL },
    { "endless head",
      { LONG_HEADER, .end = RAW_CLOSE, .repeat = 20000 },
      false,
      FAIL_CLASS_MAX,
      0,
      NULL },
};

static void each_script_has_its_class(void **state)
{
    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(engines); e++)
        for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
            struct fixture f;
            bool hangs = scripts[i].script.end == RAW_HANG;

            begin(&f, engines[e]);
            raw_server_script(f.server, &scripts[i].script);
            exchange(&f, NULL,
                     (struct request){
                         .is_head = scripts[i].is_head,
                         .bytes = scripts[i].is_head ? "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" : NULL,
                         .want_body = true,
                         .timeout_ns = hangs ? 200 * NS_PER_MS : 0 });
            if (scripts[i].want == FAIL_CLASS_MAX) /* refused in one of two right ways */
                assert_true(f.sample.fail == FAIL_TOO_LARGE || f.sample.fail == FAIL_MALFORMED);
            else if (f.sample.fail != scripts[i].want || f.sample.status != scripts[i].status)
                fail_msg("%s, %s: %s, status %u (%s)", engines[e], scripts[i].name,
                         fail_class_name(f.sample.fail), f.sample.status, f.why);
            if (scripts[i].body)
                assert_string_equal(buf_str(&f.body), scripts[i].body);
            assert_int_equal(f.answers, 1);
            assert_int_equal(*f.why != '\0', f.sample.fail != FAIL_NONE);
            end(&f);
        }
}

static void nobody_listens(void **state)
{
    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(engines); e++) {
        auto_free char *url = xasprintf("http://127.0.0.1:%u", raw_free_port());
        struct fixture f;

        begin(&f, engines[e]);
        exchange(&f, url, (struct request){ 0 });
        assert_int_equal(f.sample.fail, FAIL_REFUSED);
        assert_int_equal(f.sample.send, 0);
        assert_int_equal(f.sample.first, 0);
        assert_true(f.sample.done >= f.sample.sched);
        end(&f);
    }
}

static void tls_with_one_who_speaks_none(void **state)
{
    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(engines); e++) {
        struct fixture f;
        auto_free char *url = NULL;

        /* A ClientHello holds no blank line, so the server reads it and waits: the timeout. */
        begin(&f, engines[e]);
        f.http.connect_timeout_ns = 300 * NS_PER_MS;
        f.http.tls.verify = false; /* a machine without CA certificates would fail before it */
        url = xasprintf("https://127.0.0.1:%u", raw_server_port(f.server));
        exchange(&f, url, (struct request){ 0 });
        assert_int_equal(f.sample.fail, FAIL_TLS_TIMEOUT);
        assert_int_equal(f.sample.send, 0);
        end(&f);
    }
}

/* A listener whose queue is full drops each SYN: to a client that is a black hole. */
static void a_black_hole_is_a_connect_timeout(void **state)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(in);
    auto_close int hole = socket(AF_INET, SOCK_STREAM, 0);
    int fill[8];

    (void)state;
    assert_int_equal(bind(hole, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(hole, 0), 0);
    assert_int_equal(getsockname(hole, (struct sockaddr *)&in, &len), 0);
    for (size_t i = 0; i < ARRAY_LEN(fill); i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        err_ignore(connect(fill[i], (struct sockaddr *)&in, sizeof(in)), "some stay in progress");
    }
    for (size_t e = 0; e < ARRAY_LEN(engines); e++) {
        auto_free char *url = xasprintf("http%s://127.0.0.1:%u", e ? "s" : "", ntohs(in.sin_port));
        struct fixture f;

        begin(&f, engines[e]);
        f.http.connect_timeout_ns = 250 * NS_PER_MS;
        exchange(&f, url, (struct request){ 0 });
        assert_int_equal(f.sample.fail, FAIL_CONNECT_TIMEOUT);
        assert_int_equal(f.sample.send, 0);
        assert_true(f.sample.done - f.sample.sched >= 240 * NS_PER_MS);
        end(&f);
    }
    for (size_t i = 0; i < ARRAY_LEN(fill); i++)
        close(fill[i]);
}

/* ---- stamps ---- */

static void stamps_are_in_order_and_parts_add_up(void **state)
{
    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(engines); e++) {
        struct fixture f;
        const struct sample *s = &f.sample;

        begin(&f, engines[e]);
        raw_server_script(f.server, &(struct raw_script){ .bytes = OK_BYTES, .delay_ms = 60 });
        exchange(&f, NULL, (struct request){ 0 });
        assert_int_equal(s->fail, FAIL_NONE);
        assert_true(s->sched <= s->start && s->start <= s->send);
        assert_true(s->send < s->first && s->first <= s->done);
        assert_true(s->stage_ns[STAGE_CONNECT] > 0);
        assert_int_equal(s->stage_ns[STAGE_TLS], 0);
        assert_true(s->stage_ns[STAGE_WAIT] >= 55 * NS_PER_MS);
        assert_true(s->stage_ns[STAGE_WAIT] < 5 * NS_PER_SEC);
        assert_true(s->bytes_in >= sizeof(OK_BYTES) - 1);
        assert_true(s->bytes_out >= 40);
        assert_false(f.has_body); /* not asked for */
        exchange(&f, NULL, (struct request){ 0 });
        assert_true(f.reused);
        assert_int_equal(s->stage_ns[STAGE_DNS] + s->stage_ns[STAGE_CONNECT], 0);
        end(&f);
    }
}

/* ---- connections ---- */

static void a_lane_keeps_its_own_connection(void **state)
{
    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(engines); e++) {
        struct fixture f;
        struct lane other = { 0 };

        begin(&f, engines[e]);
        exchange(&f, NULL, (struct request){ 0 });
        assert_false(f.reused);
        exchange(&f, NULL, (struct request){ 0 });
        assert_true(f.reused);
        exchange_on(&f, &other, NULL, (struct request){ 0 });
        assert_false(f.reused);
        assert_int_equal(raw_server_connections(f.server), 2);
        assert_int_equal(client_connections(f.client), 2);
        lane_close(f.client, &other);
        assert_int_equal(client_connections(f.client), 1);
        exchange(&f, NULL, (struct request){ .close = true });
        exchange(&f, NULL, (struct request){ 0 });
        assert_false(f.reused);
        end(&f);
    }
}

static void pooled_connections_are_shared(void **state)
{
    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(engines); e++) {
        struct fixture f;

        begin(&f, engines[e]);
        f.http.conn = CONN_POOLED;
        for (int i = 0; i < 3; i++)
            exchange_on(&f, NULL, NULL, (struct request){ 0 });
        assert_true(f.reused);
        assert_int_equal(raw_server_connections(f.server), 1);
        end(&f);
    }
}

static void a_unix_socket_is_a_target(void **state)
{
    char dir[] = "/tmp/chaos-sock-XXXXXX";

    (void)state;
    assert_non_null(mkdtemp(dir));
    for (size_t e = 0; e < ARRAY_LEN(engines); e++) {
        auto_free char *path = xasprintf("%s/s", dir);
        auto_free char *url = xasprintf("unix:%s", path);
        struct raw_server *server = raw_server_new(path);
        struct fixture f;

        begin(&f, engines[e]);
        exchange(&f, url, (struct request){ .want_body = true });
        assert_int_equal(f.sample.fail, FAIL_NONE);
        assert_string_equal(buf_str(&f.body), "ok");
        end(&f);
        raw_server_free(server);
    }
    rmdir(dir);
}

/* ---- what is sent ---- */

static void the_request_arrives_as_written(void **state)
{
    static const struct {
        const char *bytes;
        const char *parts[5];
    } rows[] = {
        { GET_BYTES, { "GET /x?y HTTP/1.1\r\n", "\r\nHost: h\r\n", "\r\nX-Mine: 1\r\n" } },
        { "PATCH /a/../b HTTP/1.1\r\nHost: h\r\nX-Empty: \r\nContent-Length: 3\r\n\r\nabc",
          { "PATCH /a/../b HTTP/1.1\r\n", "\r\nX-Empty:", "\r\nContent-Length: 3\r\n",
            "\r\n\r\nabc" } },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
          { "POST / HTTP/1.1\r\n", "\r\nContent-Length: 0\r\n" } },
        { "DELETE /d HTTP/1.1\r\nHost: h\r\nCookie: a=1; b=2\r\n\r\n",
          { "DELETE /d HTTP/1.1\r\n", "\r\nCookie: a=1; b=2\r\n" } },
    };
    static const char *const unasked[] = { "User-Agent", "Expect", "Content-Type", "Proxy" };

    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(engines); e++)
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            struct fixture f;

            begin(&f, engines[e]);
            exchange(&f, NULL, (struct request){ .bytes = rows[i].bytes });
            assert_int_equal(f.sample.fail, FAIL_NONE);
            auto_free char *got = raw_server_request(f.server);
            for (size_t k = 0; k < ARRAY_LEN(rows[i].parts) && rows[i].parts[k]; k++)
                if (!strstr(got, rows[i].parts[k]))
                    fail_msg("%s: no '%s' in '%s'", engines[e], rows[i].parts[k], got);
            for (size_t k = 0; k < ARRAY_LEN(unasked); k++)
                assert_null(strstr(got, unasked[k]));
            end(&f);
        }
}

static void a_proxy_sees_the_whole_url(void **state)
{
    struct fixture f;
    auto_free char *proxy = NULL;

    (void)state;
    begin(&f, "auto");
    proxy = xasprintf("http://127.0.0.1:%u", raw_server_port(f.server));
    f.http.proxy = proxy;
    exchange(&f, "http://shop.test:81", (struct request){ 0 });
    assert_int_equal(f.sample.fail, FAIL_NONE);
    auto_free char *got = raw_server_request(f.server);
    assert_memory_equal(got, "GET http://shop.test:81/x?y HTTP/1.1\r\n", 38);
    end(&f);
}

static void a_proxy_that_makes_no_tunnel_is_no_way(void **state)
{
    struct fixture f;
    auto_free char *proxy = NULL;

    (void)state;
    begin(&f, "auto");
    proxy = xasprintf("http://127.0.0.1:%u", raw_server_port(f.server));
    f.http.proxy = proxy;
    raw_server_script(
        f.server, &(struct raw_script){ .bytes = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n" });
    exchange(&f, "https://shop.test", (struct request){ 0 });
    assert_int_equal(f.sample.fail, FAIL_UNREACHABLE);
    assert_non_null(strstr(f.why, "403"));
    end(&f);
}

/* ---- the end of a user ---- */

static void done_and_close(void *arg, const struct answer *a)
{
    struct fixture *f = arg;

    lane_close(f->client, &f->lane);
    done(f, a);
}

static void a_lane_may_be_closed_in_its_callback(void **state)
{
    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(engines); e++) {
        struct request r = { .bytes = GET_BYTES, .len = sizeof(GET_BYTES) - 1 };
        auto_free char *url = NULL;
        struct fixture f;

        begin(&f, engines[e]);
        start(&f);
        url = xasprintf("http://127.0.0.1:%u", raw_server_port(f.server));
        r.origin = client_origin(f.client, url, NULL);
        client_send(f.client, &f.lane, &r, done_and_close, &f);
        wait_for_answer(&f);
        assert_int_equal(f.sample.fail, FAIL_NONE);
        assert_int_equal(client_connections(f.client), 0);
        end(&f);
    }
}

/* ---- cutting ---- */

static void cut_now(void *arg)
{
    struct fixture *f = arg;

    client_cut(f->exchange, FAIL_INTERRUPTED);
    assert_int_equal(f->answers, 0); /* the callback comes from the loop */
}

static void a_cut_request_gets_its_callback(void **state)
{
    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(engines); e++) {
        struct fixture f;

        begin(&f, engines[e]);
        raw_server_script(f.server, &(struct raw_script){ .bytes = "", .end = RAW_HANG });
        f.cutter = loop_timer_new(f.loop, cut_now, &f);
        loop_timer_at(f.cutter, clock_now_ns() + 50 * NS_PER_MS);
        exchange(&f, NULL, (struct request){ 0 });
        assert_int_equal(f.sample.fail, FAIL_INTERRUPTED);
        assert_int_equal(f.answers, 1);
        raw_server_script(f.server, &(struct raw_script){ .bytes = OK_BYTES });
        exchange(&f, NULL, (struct request){ 0 }); /* the lane is as good as new */
        assert_int_equal(f.sample.fail, FAIL_NONE);
        end(&f);
    }
}

static void freeing_a_client_cuts_what_is_in_flight(void **state)
{
    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(engines); e++) {
        auto_free char *url = NULL;
        struct fixture f;
        struct request r = { .bytes = GET_BYTES, .len = sizeof(GET_BYTES) - 1 };

        begin(&f, engines[e]);
        f.http.conn = CONN_POOLED;
        start(&f);
        url = xasprintf("http://127.0.0.1:%u", raw_server_port(f.server));
        r.origin = client_origin(f.client, url, NULL);
        client_send(f.client, NULL, &r, done, &f);
        client_send(f.client, NULL, &r, done, &f);
        assert_int_equal(f.answers, 0);
        client_free(TAKE(f.client));
        assert_int_equal(f.answers, 2);
        assert_int_equal(f.sample.fail, FAIL_INTERRUPTED);
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_script_has_its_class),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(tls_with_one_who_speaks_none),
        cmocka_unit_test(a_black_hole_is_a_connect_timeout),
        cmocka_unit_test(stamps_are_in_order_and_parts_add_up),
        cmocka_unit_test(a_lane_keeps_its_own_connection),
        cmocka_unit_test(pooled_connections_are_shared),
        cmocka_unit_test(a_unix_socket_is_a_target),
        cmocka_unit_test(the_request_arrives_as_written),
        cmocka_unit_test(a_proxy_sees_the_whole_url),
        cmocka_unit_test(a_proxy_that_makes_no_tunnel_is_no_way),
        cmocka_unit_test(a_lane_may_be_closed_in_its_callback),
        cmocka_unit_test(a_cut_request_gets_its_callback),
        cmocka_unit_test(freeing_a_client_cuts_what_is_in_flight),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
