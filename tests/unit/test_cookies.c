/* Cookies: which are kept, and with which request they go back. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "runner/cookie_date.h"
#include "runner/cookies.h"

#define NOW 1800000000

static char *header_for(const struct cookies *c, const char *host, const char *path, bool secure)
{
    struct buf out = BUF_INIT(0);

    cookies_header(c, host, path, secure, NOW, &out);
    return buf_take(&out);
}

static void store(struct cookies *c, const char *host, const char *path, const char *line)
{
    cookies_store(c, host, path, line, strlen(line), NOW);
}

static void one_cookie_and_one_request(void **state)
{
    static const struct {
        const char *set, *host, *path; /* from http://host + path */
        const char *to_host, *to_path;
        bool secure;
        const char *want;
    } rows[] = {
        { "a=1", "h", "/", "h", "/", false, "Cookie: a=1\r\n" },
        { "a=1; HttpOnly; SameSite=Lax", "h", "/", "h", "/x", false, "Cookie: a=1\r\n" },
        { "  a = 1 ", "h", "/", "h", "/", false, "Cookie: a=1\r\n" },
        { "a=", "h", "/", "h", "/", false, "Cookie: a=\r\n" },
        { "a=\"b=c\"", "h", "/", "h", "/", false, "Cookie: a=\"b=c\"\r\n" },
        { "a", "h", "/", "h", "/", false, "" },
        { "=1", "h", "/", "h", "/", false, "" },
        { "", "h", "/", "h", "/", false, "" },
        { "a=b\tc\x01", "h", "/", "h", "/", false, "" },
        /* hosts */
        { "a=1", "h", "/", "other", "/", false, "" },
        { "a=1", "H", "/", "h", "/", false, "Cookie: a=1\r\n" },
        { "a=1", "shop.test", "/", "www.shop.test", "/", false, "" },
        { "a=1; Domain=shop.test", "www.shop.test", "/", "api.shop.test", "/", false,
          "Cookie: a=1\r\n" },
        { "a=1; Domain=.Shop.Test", "www.shop.test", "/", "shop.test", "/", false,
          "Cookie: a=1\r\n" },
        { "a=1; Domain=shop.test", "www.shop.test", "/", "badshop.test", "/", false, "" },
        { "a=1; Domain=other.test", "www.shop.test", "/", "other.test", "/", false, "" },
        { "a=1; Domain=test", "www.shop.test", "/", "www.shop.test", "/", false, "" },
        { "a=1; Domain=localhost", "localhost", "/", "localhost", "/", false, "Cookie: a=1\r\n" },
        { "a=1; Domain=0.0.1", "127.0.0.1", "/", "127.0.0.1", "/", false, "" },
        { "a=1; Domain=127.0.0.1", "127.0.0.1", "/", "127.0.0.1", "/", false, "Cookie: a=1\r\n" },
        /* paths */
        { "a=1", "h", "/shop/cart", "h", "/shop/", false, "Cookie: a=1\r\n" },
        { "a=1", "h", "/shop/cart?x=/y", "h", "/", false, "" },
        { "a=1; Path=/shop", "h", "/", "h", "/shop?x", false, "Cookie: a=1\r\n" },
        { "a=1; Path=/shop", "h", "/", "h", "/shopping", false, "" },
        { "a=1; Path=/shop/", "h", "/", "h", "/shop", false, "" },
        { "a=1; Path=relative", "h", "/x/y", "h", "/x/z", false, "Cookie: a=1\r\n" },
        /* secure */
        { "a=1; Secure", "h", "/", "h", "/", false, "" },
        { "a=1; secure", "h", "/", "h", "/", true, "Cookie: a=1\r\n" },
        /* time */
        { "a=1; Max-Age=60", "h", "/", "h", "/", false, "Cookie: a=1\r\n" },
        { "a=1; Max-Age=0", "h", "/", "h", "/", false, "" },
        { "a=1; Max-Age=-5", "h", "/", "h", "/", false, "" },
        { "a=1; Max-Age=soon", "h", "/", "h", "/", false, "Cookie: a=1\r\n" },
        { "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "h", "/", "h", "/", false, "" },
        { "a=1; Expires=Fri, 31 Dec 2038 23:59:59 GMT", "h", "/", "h", "/", false,
          "Cookie: a=1\r\n" },
        { "a=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "h", "/", "h", "/", false,
          "Cookie: a=1\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cookies c = { 0 };

        store(&c, rows[i].host, rows[i].path, rows[i].set);
        auto_free char *got = header_for(&c, rows[i].to_host, rows[i].to_path, rows[i].secure);
        assert_string_equal(got, rows[i].want);
        cookies_done(&c);
    }
}

static void a_jar_over_its_life(void **state)
{
    struct cookies c = { 0 };
    char *h;

    (void)state;
    assert_true(cookies_is_empty(&c));
    store(&c, "h", "/", "sid=1");
    store(&c, "h", "/", "lang=en; Path=/");
    store(&c, "h", "/shop/x", "cart=9");
    store(&c, "h", "/", "sid=2");
    h = header_for(&c, "h", "/shop/y", false);
    assert_string_equal(h, "Cookie: cart=9; sid=2; lang=en\r\n"); /* longer path first */
    free(h);
    store(&c, "h", "/", "sid=; Max-Age=0");
    h = header_for(&c, "h", "/", false);
    assert_string_equal(h, "Cookie: lang=en\r\n");
    free(h);
    cookies_done(&c);
    assert_true(cookies_is_empty(&c));
}

static void an_expired_cookie_goes(void **state)
{
    struct cookies c = { 0 };
    struct buf out = BUF_INIT(0);

    (void)state;
    store(&c, "h", "/", "a=1; Max-Age=60");
    assert_int_equal(cookies_header(&c, "h", "/", false, NOW + 59, &out), 1);
    assert_int_equal(cookies_header(&c, "h", "/", false, NOW + 60, &out), 0);
    buf_done(&out);
    cookies_done(&c);
}

static void a_hostile_server_fills_no_memory(void **state)
{
    auto_free char *huge = xcalloc(COOKIE_MAX + 100, 1);
    struct cookies c = { 0 };
    struct buf out = BUF_INIT(0);

    (void)state;
    memset(huge, 'a', COOKIE_MAX + 50);
    huge[1] = '=';
    store(&c, "h", "/", huge);
    assert_true(cookies_is_empty(&c));
    for (int i = 0; i < 1000; i++) {
        auto_free char *line = xasprintf("c%d=%d", i, i);

        store(&c, "h", "/", line);
    }
    assert_int_equal(cookies_header(&c, "h", "/", false, NOW, &out), COOKIES_MAX);
    assert_non_null(strstr(out.data, "c999=999"));
    assert_null(strstr(out.data, "c949=949"));
    huge[COOKIE_MAX - 10] = '\0';
    for (int i = 0; i < 20; i++) {
        huge[0] = (char)('a' + i);
        store(&c, "h", "/", huge);
    }
    buf_clear(&out);
    cookies_header(&c, "h", "/", false, NOW, &out);
    assert_true(out.len <= COOKIE_HEADER_MAX + 16);
    buf_done(&out);
    cookies_done(&c);
}

static void dates_in_all_their_shapes(void **state)
{
    static const struct {
        const char *text;
        int64_t want; /* -1: none */
    } rows[] = {
        { "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 },
        { "Sunday, 06-Nov-94 08:49:37 GMT", 784111777 },
        { "Sun Nov  6 08:49:37 1994", 784111777 },
        { "6 nov 1994 8:49:37", 784111777 },
        { "Tue, 29 Feb 2028 00:00:00 GMT", 1835395200 },
        { "Thu, 01-Jan-69 00:00:00 GMT", 3124224000 },
        { "Mon, 01 Jan 1601 00:00:00 GMT", 0 },
        { "", -1 },
        { "06 Nov 1994", -1 },
        { "32 Nov 1994 08:49:37", -1 },
        { "06 Nov 1994 25:00:00", -1 },
        { "06 Foo 1994 08:49:37", -1 },
        { "06 Nov 1500 08:49:37", -1 },
        { "06 Nov 1994 08:49", -1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t got = 0;
        bool ok = cookie_date(rows[i].text, strlen(rows[i].text), &got);

        assert_int_equal(ok, rows[i].want >= 0);
        if (ok)
            assert_int_equal(got, rows[i].want);
    }
}

static void all_set_cookie_headers_are_read(void **state)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX: y\r\n"
                               "set-cookie: b=2; Path=/\r\n\r\n";
    struct cookies c = { 0 };

    (void)state;
    cookies_store_head(&c, "h", "/", head, strlen(head), NOW);
    auto_free char *got = header_for(&c, "h", "/", false);
    assert_string_equal(got, "Cookie: a=1; b=2\r\n");
    cookies_store_head(&c, "h", "/", NULL, 0, NOW);
    cookies_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_cookie_and_one_request),
        cmocka_unit_test(a_jar_over_its_life),
        cmocka_unit_test(an_expired_cookie_goes),
        cmocka_unit_test(a_hostile_server_fills_no_memory),
        cmocka_unit_test(dates_in_all_their_shapes),
        cmocka_unit_test(all_set_cookie_headers_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
