/* URLs: what is taken, what they become, and the remedy for what is not one. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "runner/url.h"

static void good_urls(void **state)
{
    static const struct {
        const char *text, *base, *host_header, *host, *rest;
    } rows[] = {
        { "http://h", "http://h:80", "h", "h", "" },
        { "http://h:80/", "http://h:80", "h", "h", "/" },
        { "HTTPS://Shop.Test/a?b#c", "https://shop.test:443", "shop.test", "shop.test", "/a?b" },
        { "http://127.0.0.1:5001", "http://127.0.0.1:5001", "127.0.0.1:5001", "127.0.0.1", "" },
        { "https://h:80?x", "https://h:80", "h:80", "h", "?x" },
        { "http://[::1]:81/x", "http://[::1]:81", "[::1]:81", "::1", "/x" },
        { "http://[FE80::1]", "http://[fe80::1]:80", "[fe80::1]", "fe80::1", "" },
        { "unix:/run/My.sock", "unix:/run/My.sock", "localhost", "localhost", "" },
        { "http://h/a b", "http://h:80", "h", "h", "/a b" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char base[URL_BASE_MAX], header[URL_BASE_MAX], host[URL_HOST_MAX + 1];
        struct url u;

        assert_int_equal(url_parse(rows[i].text, strlen(rows[i].text), &u, NULL), 0);
        url_base(&u, base);
        url_host_header(&u, header);
        url_host(&u, host);
        assert_string_equal(base, rows[i].base);
        assert_string_equal(header, rows[i].host_header);
        assert_string_equal(host, rows[i].host);
        assert_int_equal(u.rest_len, strlen(rows[i].rest));
        assert_memory_equal(u.rest ? u.rest : "", rows[i].rest, u.rest_len);
    }
}

static void bad_urls(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "", "the URL is empty; write http://host:port" },
        { "localhost", "'localhost' is not a URL; write http://localhost" },
        { "127.0.0.1:5001", "'127.0.0.1:5001' is not a URL; write http://127.0.0.1:5001" },
        { "ws://h", "'ws://h': only http://, https:// and unix:/path can be loaded" },
        { "http://", "'' is not a host name or address" },
        { "http://:80", "':80' is not a host name or address" },
        { "http://h:", "port '' is not in 1..65535" },
        { "http://h:0", "port '0' is not in 1..65535" },
        { "http://h:65536", "port '65536' is not in 1..65535" },
        { "http://h:8o", "port '8o' is not in 1..65535" },
        { "http://h:99999999999999999999", "port '99999999999999999999' is not in 1..65535" },
        { "http://a b", "'a b' is not a host name or address" },
        { "http://h<x>", "'h<x>' is not a host name or address" },
        { "http://::1", "'::1': an IPv6 address is written [::1]:port" },
        { "http://[::1", "'[::1': an IPv6 address is written [::1]:port" },
        { "http://[::1]x", "'[::1]x': an IPv6 address is written [::1]:port" },
        { "http://[h]", "'[h]' is not a host name or address" },
        { "http://me:pw@h", "a URL with a user name would show in reports; use http.basic_auth" },
        { "unix:", "'unix:': a unix socket is written unix:/path/to.sock" },
        { "unix:x.sock", "'unix:x.sock': a unix socket is written unix:/path/to.sock" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = { 0 };
        struct url u;

        assert_true(url_parse(rows[i].text, strlen(rows[i].text), &u, &err) < 0);
        assert_string_equal(err.msg, rows[i].want);
    }
}

static void limits(void **state)
{
    char text[600] = "http://";
    struct url u;

    (void)state;
    memset(text + 7, 'a', URL_HOST_MAX);
    assert_int_equal(url_parse(text, strlen(text), &u, NULL), 0);
    text[7 + URL_HOST_MAX] = 'a';
    assert_true(url_parse(text, strlen(text), &u, NULL) < 0);
    memset(text, 'a', sizeof(text) - 1);
    memcpy(text, "unix:/", 6);
    text[5 + URL_UNIX_MAX] = '\0';
    assert_int_equal(url_parse(text, strlen(text), &u, NULL), 0);
    text[5 + URL_UNIX_MAX] = 'a';
    assert_true(url_parse(text, strlen(text), &u, NULL) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_urls),
        cmocka_unit_test(bad_urls),
        cmocka_unit_test(limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
