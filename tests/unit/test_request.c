/* Tasks as bytes: constant forms, slots, headers of three scopes, secrets, redirects. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#undef expect_check /* cmocka's macro; ours is a function */

#include "plan_text.h"
#include "runner/request.h"
#include "runner/url.h"

#define UA "User-Agent: chaos-load/" CHAOS_LOAD_VERSION "\r\nAccept: */*\r\n"
#define TARGET "target: http://shop.test:8080\n"
#define TASK(text) TARGET "users: [{tasks: [{" text "}]}]\n"

struct fixture {
    struct plan_text text;
    struct request_forms *forms;
    struct rng rng;
    struct vars vars;
    struct cookies cookies;
    struct render_ctx ctx;
    struct buf out;
    struct request_text sent;
};

static void begin(struct fixture *f, const char *yaml)
{
    struct err err = { 0 };

    memset(f, 0, sizeof(*f));
    plan_text_read(&f->text, "plan.yaml", yaml, strlen(yaml));
    assert_string_equal(buf_str(&f->text.diag.text), "");
    f->forms = request_forms_new(&f->text.plan, &err);
    assert_string_equal(err.msg, "");
    rng_seed(&f->rng, 1, 1);
    f->ctx = (struct render_ctx){ .rng = &f->rng,
                                  .vars = &f->vars,
                                  .cookies = &f->cookies,
                                  .user_id = 7,
                                  .iteration = 2,
                                  .wall_ns = UINT64_C(1800000000) * NS_PER_SEC };
    f->out = BUF_INIT(0);
    request_vars_init(f->forms, 0, &f->ctx, &f->vars);
}

static const struct request_form *form(struct fixture *f, size_t i)
{
    return request_form_of(f->forms, f->text.plan.forms[i]);
}

static int render(struct fixture *f, struct err *err)
{
    return request_render(form(f, 0), &f->ctx, &f->out, &f->sent, err);
}

static void end(struct fixture *f)
{
    buf_done(&f->out);
    cookies_done(&f->cookies);
    vars_done(&f->vars);
    request_forms_free(f->forms);
    plan_text_done(&f->text);
}

static void the_bytes_of_each_task(void **state)
{
    static const struct {
        const char *yaml, *want;
        bool constant;
    } rows[] = {
        { TASK("get: /"), "GET / HTTP/1.1\r\n" UA "Host: shop.test:8080\r\n\r\n", true },
        { "target: http://shop.test\nusers: [{tasks: [{head: /x}]}]\n",
          "HEAD /x HTTP/1.1\r\n" UA "Host: shop.test\r\n\r\n", true },
        { "target: https://shop.test/\nusers: [{tasks: [{options: /x}]}]\n",
          "OPTIONS /x HTTP/1.1\r\n" UA "Host: shop.test\r\n\r\n", true },
        { "target: 'http://[::1]:81/api/v1/'\nusers: [{tasks: [{get: /x?y=z}]}]\n",
          "GET /api/v1/x?y=z HTTP/1.1\r\n" UA "Host: [::1]:81\r\n\r\n", true },
        { "target: unix:/run/x.sock\nusers: [{tasks: [{get: /_ping}]}]\n",
          "GET /_ping HTTP/1.1\r\n" UA "Host: localhost\r\n\r\n", true },
        { TASK("get: 'http://other.test/a b#frag'"),
          "GET /a%20b HTTP/1.1\r\n" UA "Host: other.test\r\n\r\n", true },
        { TASK("get: 'http://other.test?q'"), "GET /?q HTTP/1.1\r\n" UA "Host: other.test\r\n\r\n",
          true },
        { TASK("post: /x"),
          "POST /x HTTP/1.1\r\n" UA "Host: shop.test:8080\r\n"
          "Content-Length: 0\r\n\r\n",
          true },
        { TASK("delete: /x"), "DELETE /x HTTP/1.1\r\n" UA "Host: shop.test:8080\r\n\r\n", true },
        { TASK("post: /x, body: abc"),
          "POST /x HTTP/1.1\r\n" UA "Host: shop.test:8080\r\nContent-Length: 3\r\n\r\nabc", true },
        { TASK("put: /x, json: {n: 1}"),
          "PUT /x HTTP/1.1\r\n" UA "Content-Type: application/json\r\n"
          "Host: shop.test:8080\r\nContent-Length: 7\r\n\r\n{\"n\":1}",
          true },
        { TASK("request: PROPFIND /x, headers: {Host: me, user-agent: u, Accept: ''}"),
          "PROPFIND /x HTTP/1.1\r\nuser-agent: u\r\nAccept: \r\nHost: me\r\n\r\n", true },
        { TASK("get: '/{{user.id}}/{{user.iteration}}'"),
          "GET /7/2 HTTP/1.1\r\n" UA "Host: shop.test:8080\r\n\r\n", false },
        { TASK("get: /, headers: {X-User: 'u{{user.id}}'}"),
          "GET / HTTP/1.1\r\n" UA "X-User: u7\r\nHost: shop.test:8080\r\n\r\n", false },
        { TASK("post: /, body: 'n={{user.id}}'"),
          "POST / HTTP/1.1\r\n" UA "Host: shop.test:8080\r\n"
          "Content-Length:          3\r\n\r\nn=7",
          false },
        { TASK("get: 'http://h{{user.id}}:81/x'"), "GET /x HTTP/1.1\r\n" UA "Host: h7:81\r\n\r\n",
          false },
        { TARGET
          "http: {compressed: true, keep_alive: false, headers: {A: plan, B: plan}}\n"
          "users: [{headers: {B: class, C: class}, tasks: [{get: /, headers: {c: task}}]}]\n",
          "GET / HTTP/1.1\r\n" UA "Accept-Encoding: gzip\r\nConnection: close\r\nA: plan\r\n"
          "B: class\r\nc: task\r\nHost: shop.test:8080\r\n\r\n",
          true },
        { TARGET "users: [{host: 'https://b.test:444', tasks: [{get: /}]}]\n",
          "GET / HTTP/1.1\r\n" UA "Host: b.test:444\r\n\r\n", true },
        { TARGET "users: [{variables: {v: 'é {{user.id}}'}, tasks: [{get: '/{{v}}'}]}]\n",
          "GET /%C3%A9%207 HTTP/1.1\r\n" UA "Host: shop.test:8080\r\n\r\n", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        struct err err = { 0 };

        begin(&f, rows[i].yaml);
        assert_int_equal(form(&f, 0)->is_constant, rows[i].constant);
        assert_int_equal(request_is_ready(form(&f, 0), &f.ctx), rows[i].constant);
        assert_int_equal(render(&f, &err), 0);
        assert_string_equal(f.sent.bytes, rows[i].want);
        assert_int_equal(f.sent.len, strlen(rows[i].want));
        if (rows[i].constant) {
            assert_int_equal(form(&f, 0)->len, f.sent.len);
            assert_memory_equal(form(&f, 0)->bytes, f.sent.bytes, f.sent.len);
            assert_string_equal(request_constant_text(form(&f, 0))->path, f.sent.path);
        }
        end(&f);
    }
}

static void cookies_make_a_constant_form_vary(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, TASK("get: /"));
    cookies_store(&f.cookies, "shop.test", "/", "sid=1", 5, 1800000000);
    assert_false(request_is_ready(form(&f, 0), &f.ctx));
    assert_int_equal(render(&f, NULL), 0);
    assert_string_equal(f.sent.bytes, "GET / HTTP/1.1\r\n" UA "Host: shop.test:8080\r\n"
                                      "Cookie: sid=1\r\n\r\n");
    end(&f);
    begin(&f, TASK("get: /, headers: {Cookie: mine=1}"));
    cookies_store(&f.cookies, "shop.test", "/", "sid=1", 5, 1800000000);
    assert_int_equal(render(&f, NULL), 0);
    assert_null(strstr(f.sent.bytes, "sid=1"));
    end(&f);
}

static void a_variable_cannot_break_out(void **state)
{
    struct fixture f;
    const char *evil = "x\r\nEvil: 1\r\n\r\nGET /2";

    (void)state;
    begin(&f, TARGET "users: [{tasks: [{post: '/{{v}}', headers: {X: '{{v}}'}, form: {k: '{{v}}'},"
                     " extract: {v: status}}]}]\n");
    vars_set(&f.vars, 1, 0, evil, strlen(evil));
    assert_int_equal(render(&f, NULL), 0);
    assert_non_null(strstr(f.sent.bytes, "POST /x%0D%0AEvil:%201"));
    assert_non_null(strstr(f.sent.bytes, "X: x  Evil: 1    GET /2\r\n"));
    assert_non_null(strstr(f.sent.bytes, "\r\n\r\nk=x%0D%0AEvil%3A%201"));
    assert_null(strstr(f.sent.bytes, "\nEvil"));
    end(&f);
}

static void a_rendered_url_may_be_whole(void **state)
{
    static const struct {
        const char *value, *base, *path, *why;
    } rows[] = {
        { "/next", "http://shop.test:8080", "/next", NULL },
        { "http://shop.test:8080/y", "http://shop.test:8080", "/y", NULL },
        { "https://Other.test/z?a", "https://other.test:443", "/z?a", NULL },
        { "http://[::1]:9", "http://[::1]:9", "/", NULL },
        { "", NULL, NULL, "the rendered URL '' is neither a path nor a URL" },
        { "next", NULL, NULL, "the rendered URL 'next' is neither a path nor a URL" },
        { "http://a b/", NULL, NULL, "'a b' is not a host name or address" },
        { "http://h/a b", "http://h:80", "/a%20b", NULL },
        { "http://:80/", NULL, NULL, "':80' is not a host name or address" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        struct err err = { 0 };

        begin(&f, TASK("get: '{{v}}', extract: {v: status}"));
        vars_set(&f.vars, 1, 0, rows[i].value, strlen(rows[i].value));
        assert_int_equal(render(&f, &err) < 0, rows[i].why != NULL);
        assert_string_equal(err.msg, rows[i].why ? rows[i].why : "");
        if (!rows[i].why) {
            assert_string_equal(f.sent.base_url, rows[i].base);
            assert_string_equal(f.sent.path, rows[i].path);
        }
        end(&f);
    }
}

static void too_long_is_refused(void **state)
{
    auto_free char *longer = xcalloc(URL_MAX + 10, 1);
    struct fixture f;

    (void)state;
    memset(longer, 'a', URL_MAX + 5);
    begin(&f, TASK("get: '/{{v}}', extract: {v: status}"));
    vars_set(&f.vars, 1, 0, longer, strlen(longer));
    assert_int_equal(render(&f, NULL), -EMSGSIZE);
    longer[URL_MAX - 10] = '\0';
    vars_set(&f.vars, 1, 0, longer, strlen(longer));
    assert_int_equal(render(&f, NULL), 0);
    assert_int_equal(strlen(f.sent.path), URL_MAX - 9);
    end(&f);
}

/* ---- secrets ---- */

static char *secret_file(const char *text)
{
    char *path = xstrdup("/tmp/chaos-secret-XXXXXX");
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    return path;
}

static void secrets_come_from_file_and_environment(void **state)
{
    auto_free char *path = secret_file("open sesame\n");
    auto_free char *basic =
        xasprintf(TARGET "http: {basic_auth: {user: Aladdin, password_file: %s}}\n"
                         "users: [{tasks: [{get: /}]}]\n",
                  path);
    struct fixture f;

    (void)state;
    begin(&f, basic);
    assert_int_equal(render(&f, NULL), 0);
    assert_non_null(strstr(f.sent.bytes, "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
    end(&f);
    unlink(path);
    setenv("CHAOS_TEST_TOKEN", "t0ken", 1);
    begin(&f, TARGET "http: {bearer: {env: CHAOS_TEST_TOKEN}}\nusers: [{tasks: [{get: /}]}]\n");
    assert_int_equal(render(&f, NULL), 0);
    assert_non_null(strstr(f.sent.bytes, "Authorization: Bearer t0ken\r\n"));
    end(&f);
}

static void bad_secrets_are_refused_without_showing_them(void **state)
{
    static const struct {
        const char *value, *want;
    } rows[] = {
        { NULL, "http.bearer: the environment has no 'CHAOS_TEST_TOKEN'" },
        { "", "http.bearer: the secret in 'CHAOS_TEST_TOKEN' is empty" },
        { "hush\nhush", "http.bearer: the secret in 'CHAOS_TEST_TOKEN' holds a control character" },
    };
    static const char yaml[] =
        TARGET "http: {bearer: {env: CHAOS_TEST_TOKEN}}\nusers: [{tasks: [{get: /}]}]\n";
    struct plan_text p;

    (void)state;
    plan_text_read(&p, "plan.yaml", yaml, strlen(yaml));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = { 0 };

        unsetenv("CHAOS_TEST_TOKEN");
        if (rows[i].value)
            setenv("CHAOS_TEST_TOKEN", rows[i].value, 1);
        assert_null(request_forms_new(&p.plan, &err));
        assert_string_equal(err.msg, rows[i].want);
    }
    plan_text_done(&p);
}

/* ---- redirects ---- */

static int hop(struct fixture *f, unsigned status, const char *location)
{
    auto_free char *head =
        location ? xasprintf("HTTP/1.1 %u X\r\nLocation: %s\r\n\r\n", status, location)
                 : xasprintf("HTTP/1.1 %u X\r\n\r\n", status);
    struct answer a = { .sample = { .status = (uint16_t)status },
                        .head = head,
                        .head_len = strlen(head) };

    return request_redirect(form(f, 0), &f->sent, &a, &f->ctx, &f->out, &f->sent);
}

static void locations_lead_where_they_say(void **state)
{
    static const struct {
        const char *location, *base, *path;
    } rows[] = {
        { "/x", "http://shop.test:8080", "/x" },
        { "x", "http://shop.test:8080", "/a/b/x" },
        { "x/?q=../", "http://shop.test:8080", "/a/b/x/?q=../" },
        { "../x", "http://shop.test:8080", "/a/x" },
        { "../../../x", "http://shop.test:8080", "/x" },
        { "./x/./y", "http://shop.test:8080", "/a/b/x/y" },
        { "?q=2", "http://shop.test:8080", "/a/b/c?q=2" },
        { "http://shop.test:8080/z", "http://shop.test:8080", "/z" },
        { "HTTP://SHOP.test:8080", "http://shop.test:8080", "/" },
        { "//other.test/z", "http://other.test:80", "/z" },
        { "https://other.test/z#top", "https://other.test:443", "/z" },
        { "/a b", "http://shop.test:8080", "/a%20b" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;

        begin(&f, TASK("get: /a/b/c?q=1"));
        assert_int_equal(render(&f, NULL), 0);
        assert_int_equal(hop(&f, 302, rows[i].location), 0);
        assert_string_equal(f.sent.base_url, rows[i].base);
        assert_string_equal(f.sent.path, rows[i].path);
        end(&f);
    }
}

static void some_locations_lead_nowhere(void **state)
{
    static const char *const bad[] = { "",        "ftp://h/",    "mailto:a@b",
                                       "http://", "http://h:0/", "http://a b/" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct fixture f;

        begin(&f, TASK("get: /"));
        assert_int_equal(render(&f, NULL), 0);
        assert_int_equal(hop(&f, 302, bad[i]), -EINVAL);
        end(&f);
    }
}

static void methods_and_bodies_of_the_next_hop(void **state)
{
    static const struct {
        const char *task;
        unsigned status;
        int rc;
        const char *line, *body;
    } rows[] = {
        { "get: /", 200, 1, NULL, NULL },
        { "get: /", 304, 1, NULL, NULL },
        { "get: /", 301, 0, "GET /n ", NULL },
        { "head: /", 302, 0, "HEAD /n ", NULL },
        { "post: /, body: abc", 301, 0, "GET /n ", NULL },
        { "post: /, json: {a: 1}", 303, 0, "GET /n ", NULL },
        { "post: /, body: abc", 307, 0, "POST /n ", "Content-Length:          3\r\n\r\nabc" },
        { "put: /, body: 'u{{user.id}}'", 308, 0, "PUT /n ",
          "Content-Length:          2\r\n\r\nu7" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_free char *yaml = xasprintf(TARGET "users: [{tasks: [{%s}]}]\n", rows[i].task);
        struct fixture f;

        begin(&f, yaml);
        assert_int_equal(render(&f, NULL), 0);
        assert_int_equal(hop(&f, rows[i].status, "/n"), rows[i].rc);
        if (rows[i].line)
            assert_memory_equal(f.sent.bytes, rows[i].line, strlen(rows[i].line));
        if (rows[i].body)
            assert_non_null(strstr(f.sent.bytes, rows[i].body));
        else if (rows[i].line)
            assert_null(strstr(f.sent.bytes, "Content-"));
        end(&f);
    }
}

static void secrets_stay_with_their_host(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, TASK("get: /, headers: {Authorization: hush, Host: virtual, X: y}"));
    cookies_store(&f.cookies, "shop.test", "/", "sid=1", 5, 1800000000);
    assert_int_equal(render(&f, NULL), 0);
    assert_int_equal(hop(&f, 302, "/here"), 0);
    assert_non_null(strstr(f.sent.bytes, "Authorization: hush"));
    assert_non_null(strstr(f.sent.bytes, "Cookie: sid=1"));
    assert_int_equal(hop(&f, 302, "http://elsewhere.test/"), 0);
    assert_string_equal(f.sent.bytes,
                        "GET / HTTP/1.1\r\n" UA "X: y\r\nHost: elsewhere.test\r\n\r\n");
    assert_string_equal(f.sent.host, "elsewhere.test");
    assert_int_equal(hop(&f, 302, "deeper"), 0); /* relative to the host it is at */
    assert_string_equal(f.sent.base_url, "http://elsewhere.test:80");
    assert_null(strstr(f.sent.bytes, "hush"));
    end(&f);
}

static void checks_and_extractions_ask_for_the_body(void **state)
{
    static const struct {
        const char *task;
        bool want_body, has_extract;
    } rows[] = {
        { "get: /", false, false },
        { "get: /, expect: {status: 200, max_time: 1s}", false, false },
        { "get: /, expect: {body_contains: x}", true, false },
        { "get: /, extract: {a: 'header:X'}", false, true },
        { "get: /, extract: {a: 'json:x'}", true, true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_free char *yaml = xasprintf(TARGET "users: [{tasks: [{%s}]}]\n", rows[i].task);
        struct fixture f;

        begin(&f, yaml);
        assert_non_null(form(&f, 0)->expect);
        assert_int_equal(form(&f, 0)->want_body, rows[i].want_body);
        assert_int_equal(form(&f, 0)->extract != NULL, rows[i].has_extract);
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_of_each_task),
        cmocka_unit_test(cookies_make_a_constant_form_vary),
        cmocka_unit_test(a_variable_cannot_break_out),
        cmocka_unit_test(a_rendered_url_may_be_whole),
        cmocka_unit_test(too_long_is_refused),
        cmocka_unit_test(secrets_come_from_file_and_environment),
        cmocka_unit_test(bad_secrets_are_refused_without_showing_them),
        cmocka_unit_test(locations_lead_where_they_say),
        cmocka_unit_test(some_locations_lead_nowhere),
        cmocka_unit_test(methods_and_bodies_of_the_next_hop),
        cmocka_unit_test(secrets_stay_with_their_host),
        cmocka_unit_test(checks_and_extractions_ask_for_the_body),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
