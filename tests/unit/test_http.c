/* The blocking client: what it sends, what it gives back, and that it ends when it must. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "edge/http.h"
#include "raw_server.h"

static char *url_of(const struct raw_server *s, const char *path)
{
    return xasprintf("http://127.0.0.1:%u%s", raw_server_port(s), path);
}

static void an_answer_is_an_answer_whatever_its_status(void **state)
{
    static const struct {
        const char *bytes;
        unsigned status;
        const char *body;
    } rows[] = {
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nok", 200, "ok" },
        { "HTTP/1.1 500 No\r\nContent-Length: 3\r\nX: y\r\n\r\nbad", 500, "bad" },
        { "HTTP/1.1 302 Go\r\nLocation: /x\r\nContent-Length: 0\r\nX: y\r\n\r\n", 302, "" },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200,
          "ok" },
    };
    struct raw_server *s = raw_server_new(NULL);
    auto_free char *url = url_of(s, "/");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_resp resp = { 0 };
        struct err err = { 0 };

        raw_server_script(s, &(struct raw_script){ .bytes = rows[i].bytes });
        assert_int_equal(http_fetch(&(struct http_req){ .url = url }, &resp, &err), 0);
        assert_int_equal(resp.status, rows[i].status);
        assert_string_equal(buf_str(&resp.body), rows[i].body);
        assert_non_null(strstr(buf_str(&resp.head), "\r\nX: y\r\n"));
        http_resp_done(&resp);
    }
    raw_server_free(s);
}

static void method_headers_and_body_arrive(void **state)
{
    static const char *const headers[] = { "Authorization: Bearer x", "Content-Type: a/b", NULL };
    struct raw_server *s = raw_server_new(NULL);
    auto_free char *url = url_of(s, "/v1/x?y=z");
    struct http_resp resp = { 0 };

    (void)state;
    assert_int_equal(
        http_fetch(
            &(struct http_req){
                .method = "PUT", .url = url, .headers = headers, .body = "{}", .body_len = 2 },
            &resp, NULL),
        0);
    auto_free char *got = raw_server_request(s);
    assert_memory_equal(got, "PUT /v1/x?y=z HTTP/1.1\r\n", 24);
    assert_non_null(strstr(got, "\r\nAuthorization: Bearer x\r\n"));
    assert_non_null(strstr(got, "\r\nContent-Type: a/b\r\n"));
    assert_non_null(strstr(got, "\r\nContent-Length: 2\r\n"));
    assert_string_equal(got + strlen(got) - 2, "{}");
    assert_null(strstr(got, "Expect"));
    http_resp_done(&resp);
    raw_server_free(s);
}

static void a_unix_socket_is_reached(void **state)
{
    char dir[] = "/tmp/chaos-http-XXXXXX";
    auto_free char *path = NULL;
    struct raw_server *s;
    struct http_resp resp = { 0 };

    (void)state;
    assert_non_null(mkdtemp(dir));
    path = xasprintf("%s/docker.sock", dir);
    s = raw_server_new(path);
    assert_int_equal(
        http_fetch(&(struct http_req){ .url = "http://docker/_ping", .unix_socket = path }, &resp,
                   NULL),
        0);
    auto_free char *got = raw_server_request(s);
    assert_memory_equal(got, "GET /_ping HTTP/1.1\r\nHost: docker\r\n", 35);
    http_resp_done(&resp);
    raw_server_free(s);
    rmdir(dir);
}

static void each_failure_has_its_code(void **state)
{
    static const struct {
        struct raw_script script;
        int code;
        enum err_kind kind;
    } rows[] = {
        { { "", .end = RAW_RESET }, ECONNRESET, ERR_GENERIC },
        { { "", .end = RAW_CLOSE }, EIO, ERR_GENERIC },
        { { "", .end = RAW_HANG }, ETIMEDOUT, ERR_TIMEOUT },
        { { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", .end = RAW_HANG },
          ETIMEDOUT,
          ERR_TIMEOUT },
        { { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", .end = RAW_CLOSE },
          EIO,
          ERR_GENERIC },
        { { "HTTP/1.1 200 OK\r\n\r\n0123456789", .end = RAW_CLOSE, .repeat = 0 }, 0, ERR_NONE },
        { { "HTTP/1.1 200 OK\r\n\r\n0123456789x", .end = RAW_CLOSE, .repeat = 0 },
          EMSGSIZE,
          ERR_LIMIT },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct raw_server *s = raw_server_new(NULL);
        auto_free char *url = url_of(s, "/");
        struct http_resp resp = { 0 };
        struct err err = { 0 };
        uint64_t began = clock_now_ns();

        raw_server_script(s, &rows[i].script);
        assert_int_equal(
            http_fetch(&(struct http_req){ .url = url, .timeout_ms = 300, .body_max = 10 }, &resp,
                       &err),
            -rows[i].code);
        assert_int_equal(err.kind, rows[i].kind);
        assert_true(clock_now_ns() - began < 10 * NS_PER_SEC);
        if (rows[i].code)
            assert_memory_equal(err.msg, url, strlen(url)); /* says which */
        http_resp_done(&resp);
        raw_server_free(s);
    }
}

static void nobody_there_and_no_url(void **state)
{
    auto_free char *url = xasprintf("http://127.0.0.1:%u/", raw_free_port());
    struct http_resp resp = { 0 };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(http_fetch(&(struct http_req){ .url = url }, &resp, &err), -ECONNREFUSED);
    assert_true(http_fetch(&(struct http_req){ .url = "file:///etc/passwd" }, &resp, &err) < 0);
    assert_true(http_fetch(&(struct http_req){ .url = "" }, &resp, &err) < 0);
    assert_int_equal(resp.status, 0);
}

static void nothing_comes_from_the_environment(void **state)
{
    struct raw_server *s = raw_server_new(NULL);
    auto_free char *url = url_of(s, "/");
    auto_free char *nowhere = xasprintf("http://127.0.0.1:%u", raw_free_port());
    struct http_resp resp = { 0 };

    (void)state;
    setenv("http_proxy", nowhere, 1);
    setenv("all_proxy", nowhere, 1);
    assert_int_equal(http_fetch(&(struct http_req){ .url = url }, &resp, NULL), 0);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    http_resp_done(&resp);
    raw_server_free(s);
}

static void redirects_are_followed_when_asked(void **state)
{
    struct raw_server *s = raw_server_new(NULL);
    auto_free char *url = url_of(s, "/");
    struct http_resp resp = { 0 };

    (void)state;
    raw_server_script(s, &(struct raw_script){ .bytes = "HTTP/1.1 302 Go\r\nLocation: /again\r\n"
                                                        "Content-Length: 0\r\n\r\n" });
    assert_true(http_fetch(&(struct http_req){ .url = url, .max_redirects = 2 }, &resp, NULL) < 0);
    auto_free char *got = raw_server_request(s);
    assert_memory_equal(got, "GET /again ", 11);
    raw_server_free(s);
}

/* ---- an answer without end ---- */

struct followed {
    unsigned status;
    struct buf got;
    size_t enough; /* ends it after so many bytes; 0: never */
    int stop;      /* written to when the first bytes came; -1: not */
};

static bool on_head(void *arg, unsigned status)
{
    struct followed *f = arg;

    f->status = status;
    return status == 200;
}

static bool on_data(void *arg, const char *data, size_t len)
{
    struct followed *f = arg;

    buf_add(&f->got, data, len);
    if (f->stop >= 0)
        assert_int_equal(write(f->stop, "x", 1), 1);
    return f->enough == 0 || f->got.len < f->enough;
}

#define HEAD "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static void an_answer_without_end_is_followed(void **state)
{
    static const struct {
        struct raw_script script;
        size_t enough;
        bool stop;
        int rc;
        unsigned status;
        const char *got;
    } rows[] = {
        /* the server ends it, in order and not */
        { { HEAD "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", .end = RAW_KEEP }, 0, false, 0, 200, "abc" },
        { { HEAD "2\r\nab\r\n", .end = RAW_CLOSE }, 0, false, -EIO, 200, "ab" },
        { { HEAD "2\r\nab\r\n", .end = RAW_RESET }, 0, false, -ECONNRESET, 200, NULL },
        /* we do: by what came, by the descriptor, by the status */
        { { HEAD "2\r\nab\r\n", .end = RAW_HANG }, 2, false, 1, 200, "ab" },
        { { HEAD "2\r\nab\r\n", .end = RAW_HANG }, 0, true, 1, 200, "ab" },
        { { "HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\nno", .end = RAW_KEEP },
          0,
          false,
          1,
          400,
          "" },
        /* no head in time */
        { { "HTTP/1.1 200 OK\r\n", .end = RAW_HANG }, 0, false, -ETIMEDOUT, 0, "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct raw_server *s = raw_server_new(NULL);
        auto_free char *url = url_of(s, "/events");
        int stop[2];
        struct followed f = { .got = BUF_INIT(1000), .enough = rows[i].enough };
        struct err err = { 0 };

        assert_int_equal(pipe(stop), 0);
        f.stop = rows[i].stop ? stop[1] : -1;
        raw_server_script(s, &rows[i].script);
        assert_int_equal(
            http_stream(&(struct http_req){ .url = url, .timeout_ms = 500 },
                        &(struct http_follower){
                            .on_head = on_head, .on_data = on_data, .arg = &f, .stop_fd = stop[0] },
                        &err),
            rows[i].rc);
        assert_int_equal(err_is_set(&err), rows[i].rc < 0);
        assert_int_equal(f.status, rows[i].status);
        if (rows[i].got)
            assert_string_equal(buf_str(&f.got), rows[i].got);
        buf_done(&f.got);
        close(stop[0]);
        close(stop[1]);
        raw_server_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_an_answer_whatever_its_status),
        cmocka_unit_test(method_headers_and_body_arrive),
        cmocka_unit_test(a_unix_socket_is_reached),
        cmocka_unit_test(each_failure_has_its_code),
        cmocka_unit_test(nobody_there_and_no_url),
        cmocka_unit_test(nothing_comes_from_the_environment),
        cmocka_unit_test(redirects_are_followed_when_asked),
        cmocka_unit_test(an_answer_without_end_is_followed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
