/* The demo shop's pages, without a socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/shop.h"

struct asked {
    int status;
    uint64_t slow_ns;
    struct buf text; /* the whole answer */
};

static struct asked ask(struct shop_store *s, const char *method, const char *target,
                        const char *fields, const char *body)
{
    struct asked got = { .text = BUF_INIT(0) };
    struct shop_request req = { 0 };
    struct shop_answer a;
    char text[1000];
    int n = snprintf(text, sizeof text, "%s %s HTTP/1.1\r\n%s\r\n", method, target, fields);

    assert_int_equal(http_head_parse((struct http_span){ text, (size_t)n }, false, &req.head), 0);
    size_t path = strcspn(target, "?");
    req.path = (struct http_span){ req.head.target.p, path };
    if (target[path])
        req.query = (struct http_span){ req.head.target.p + path + 1, strlen(target) - path - 1 };
    req.body = (struct http_span){ body, strlen(body) };
    shop_answer(s, &req, &a);
    shop_answer_write(&a, &req.head, true, &got.text);
    got.status = a.status;
    got.slow_ns = a.slow_ns;
    shop_answer_done(&a);
    return got;
}

static const struct {
    const char *method, *target, *fields, *body;
    int status;
    const char *has; /* in the answer */
} pages[] = {
    { "GET", "/", "", "", 200, "<h1>shop</h1>" },
    { "GET", "/?a=b", "", "", 200, "text/html" },
    { "GET", "/health", "", "", 200, "\"status\":\"ok\"" },
    { "GET", "/items", "", "", 200, "\"total\":100" },
    { "GET", "/items?from=99", "", "", 200, "[{\"id\":99" },
    { "GET", "/items?from=500", "", "", 200, "\"items\":[]" },
    { "GET", "/items/7", "", "", 200, "{\"id\":7,\"name\":\"item 7\"" },
    { "GET", "/items/0", "", "", 404, "no such item" },
    { "GET", "/items/101", "", "", 404, "no such item" },
    { "GET", "/items/x", "", "", 404, "no such item" },
    { "GET", "/items/", "", "", 404, "no such item" },
    { "POST", "/items", "", "", 400, "name" },
    { "POST", "/items", "", "{\"name\":\"\"}", 400, "name" },
    { "POST", "/items", "", "not json", 400, "name" },
    { "DELETE", "/items", "", "", 405, "method" },
    { "GET", "/status/404", "", "", 404, "HTTP/1.1 404" },
    { "GET", "/status/700", "", "", 400, "200..599" },
    { "POST", "/status/503", "", "", 503, "HTTP/1.1 503 Server Error" },
    { "GET", "/status/204", "", "", 204, "HTTP/1.1 204" },
    { "GET", "/bytes/0", "", "", 200, "Content-Length: 0\r\n" },
    { "GET", "/bytes/3", "", "", 200, "\r\n\r\nxxx" },
    { "GET", "/bytes/99999999", "", "", 400, "at most" },
    { "PUT", "/echo", "", "hello", 200, "\r\n\r\nhello" },
    { "PUT", "/echo", "", "", 200, "X-Method: PUT" },
    { "GET", "/redirect", "", "", 302, "Location: /\r\n" },
    { "POST", "/login", "", "", 200, "Set-Cookie: session=s" },
    { "GET", "/me", "", "", 401, "log in first" },
    { "GET", "/me", "Cookie: a=b; session=s1\r\n", "", 200, "it is you" },
    { "GET", "/slow?ms=90000", "", "", 400, "0..60000" },
    { "GET", "/nothing", "", "", 404, "no such page" },
};

static void test_pages(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        struct shop_store *s = shop_store_new("shop");
        struct asked got = ask(s, pages[i].method, pages[i].target, pages[i].fields, pages[i].body);
        if (got.status != pages[i].status || !strstr(buf_str(&got.text), pages[i].has))
            fail_msg("%s %s: %s", pages[i].method, pages[i].target, buf_str(&got.text));
        buf_done(&got.text);
        shop_store_free(s);
    }
}

static void test_created_items_are_there(void **state)
{
    struct shop_store *s = shop_store_new("shop");
    struct asked got = ask(s, "POST", "/items", "", "{\"name\":\"a \\\"quoted\\\" thing\"}");

    (void)state;
    assert_int_equal(got.status, 201);
    assert_non_null(strstr(buf_str(&got.text), "Location: /items/101\r\n"));
    buf_done(&got.text);
    got = ask(s, "GET", "/items/101", "", "");
    assert_int_equal(got.status, 200);
    assert_non_null(strstr(buf_str(&got.text), "\"a \\\"quoted\\\" thing\""));
    buf_done(&got.text);
    shop_store_free(s);
}

/* The store is bounded: the oldest items make room. */
static void test_store_is_bounded(void **state)
{
    struct shop_store *s = shop_store_new("shop");

    (void)state;
    for (int i = 0; i < SHOP_ITEMS_MAX; i++) {
        struct asked got = ask(s, "POST", "/items", "", "{\"name\":\"n\"}");
        assert_int_equal(got.status, 201);
        buf_done(&got.text);
    }
    struct asked old = ask(s, "GET", "/items/1", "", ""),
                 new = ask(s, "GET", "/items/10100", "", "");
    assert_int_equal(old.status, 404);
    assert_int_equal(new.status, 200);
    buf_done(&old.text);
    buf_done(&new.text);
    shop_store_free(s);
}

static void test_head_has_no_body(void **state)
{
    struct shop_store *s = shop_store_new("shop");
    struct asked got = ask(s, "HEAD", "/items/7", "", "");

    (void)state;
    assert_int_equal(got.status, 200);
    assert_null(strstr(buf_str(&got.text), "item 7"));
    assert_non_null(strstr(buf_str(&got.text), "Content-Length: "));
    buf_done(&got.text);
    got = ask(s, "GET", "/slow?x=1&ms=250", "", "");
    assert_int_equal(got.slow_ns, 250 * NS_PER_MS);
    buf_done(&got.text);
    shop_store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_created_items_are_there),
        cmocka_unit_test(test_store_is_bounded),
        cmocka_unit_test(test_head_has_no_body),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
