/* Where requests may go: the same origin is one, and a server that sends us to ever new hosts finds
 * an end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runner/client.h"

static const char *const engines[] = { "native", "curl" };

struct fixture {
    struct loop *loop;
    struct http_plan http;
    struct client *client;
};

static void begin(struct fixture *f, const char *engine)
{
    struct err err = { 0 };

    f->loop = loop_new(&err);
    f->http = (struct http_plan){ .timeout_ns = NS_PER_SEC,
                                  .connect_timeout_ns = NS_PER_SEC,
                                  .engine = engine,
                                  .http_version = "1.1",
                                  .tls = { .verify = true } };
    f->client = client_new(
        &(struct client_opts){ .loop = f->loop, .http = &f->http, .target = NULL }, &err);
    assert_string_equal(err.msg, "");
}

static void end(struct fixture *f)
{
    client_free(f->client);
    loop_free(f->loop);
}

static void test_equal_origins_are_one(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        { "http://h", "http://h:80", true },      { "http://H", "http://h", true },
        { "http://h/", "http://h/path?q", true }, { "http://[::1]:80", "http://[::1]", true },
        { "http://h", "http://h:81", false },     { "http://h", "https://h", false },
        { "https://h:443", "https://h", true },   { "http://h", "http://h.", false },
        { "unix:/a", "unix:/a", true },           { "unix:/a", "unix:/b", false },
    };

    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(engines); e++) {
        struct fixture f;

        begin(&f, engines[e]);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            struct err err = { 0 };
            const struct origin *a = client_origin(f.client, rows[i].a, &err);
            const struct origin *b = client_origin(f.client, rows[i].b, &err);

            if (!a || !b || (a == b) != rows[i].same)
                fail_msg("%s: %s and %s: %s", engines[e], rows[i].a, rows[i].b, err.msg);
        }
        end(&f);
    }
}

static void test_there_is_an_end_of_hosts(void **state)
{
    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(engines); e++) {
        struct err err = { 0 };
        struct fixture f;
        char url[64];

        begin(&f, engines[e]);
        for (int i = 0; i < ORIGINS_MAX; i++) {
            snprintf(url, sizeof(url), "http://h%d.test", i);
            assert_non_null(client_origin(f.client, url, &err));
        }
        assert_null(client_origin(f.client, "http://one-more.test", &err));
        assert_string_equal(err.msg, "more than 1000 hosts in one run");
        assert_non_null(client_origin(f.client, "http://h0.test", &err)); /* those known stay */
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_origins_are_one),
        cmocka_unit_test(test_there_is_an_end_of_hosts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
