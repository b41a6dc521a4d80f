/* Toxics as data: how they are written, what is refused, and their lotteries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "chaoslib/proxy/toxic.h"

static unsigned parse(const char *text, struct toxic *ret, struct arena *a, struct buf *said)
{
    struct diag diag;
    struct param_ctx ctx = { .arena = a, .diag = &diag };

    diag_init(&diag);
    unsigned n = toxic_parse(&ctx, text, 5, ret);
    buf_adds(said, buf_str(&diag.text));
    assert_int_equal(n > 0, diag.n > 0);
    diag_done(&diag);
    return n;
}

static void test_one_line_form(void **state)
{
    struct arena *a = arena_new(0);
    auto_buf struct buf said = BUF_INIT(0);
    struct toxic t;

    (void)state;
    assert_int_equal(
        parse("latency delay=200ms jitter=50ms direction=both percent=10%", &t, a, &said), 0);
    assert_int_equal(t.kind, TOXIC_LATENCY);
    assert_int_equal(t.delay_ns, 200 * NS_PER_MS);
    assert_int_equal(t.jitter_ns, 50 * NS_PER_MS);
    assert_int_equal(t.stream, PROXY_BOTH);
    assert_true(t.percent > 0.0999 && t.percent < 0.1001);
    assert_int_equal(t.seed, 5);

    assert_int_equal(parse("rate rate=1mbit direction=upstream", &t, a, &said), 0);
    assert_int_equal(t.kind, TOXIC_BANDWIDTH);
    assert_int_equal(t.bits_per_sec, 1000000);
    assert_int_equal(t.stream, PROXY_REQUEST);

    assert_int_equal(
        parse("http-status code=500 body=\"a b\" match.path=/x match.method=GET", &t, a, &said), 0);
    assert_int_equal(t.status, 500);
    assert_string_equal(t.body, "a b");
    assert_string_equal(t.match.path, "/x");
    assert_string_equal(t.match.method, "GET");
    assert_int_equal(t.stream, PROXY_REQUEST);

    assert_int_equal(parse("http-header headers.X-A=1 \"headers.X-B=2 3\"", &t, a, &said), 0);
    assert_int_equal(t.headers.n, 2);
    assert_string_equal(t.headers.keys[1], "X-B");
    assert_string_equal(t.headers.values[1], "2 3");
    assert_int_equal(
        parse("grpc-status services=lab.Shop,lab.C* message=\"try later\"", &t, a, &said), 0);
    assert_int_equal(t.status, 14);
    assert_string_equal(t.body, "try later");
    assert_string_equal(t.calls.services, "lab.Shop,lab.C*");
    assert_int_equal(parse("grpc-status code=not_found", &t, a, &said), 0);
    assert_int_equal(t.status, 5);
    assert_int_equal(parse("tcp-refuse", &t, a, &said), 0);
    assert_true(t.percent >= 1 && t.stream == PROXY_BOTH);
    assert_int_equal(said.len, 0);
    arena_free(a);
}

static void test_mistakes_are_said(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        { "", "names no toxic" },
        { "latencyy delay=1ms", "is no toxic" },
        { "latency", "delay" },
        { "latency delay", "key=value" },
        { "latency delay=5x", "delay" },
        { "latency delay=1ms percent=120%", "percent" },
        { "latency delay=1ms dela=1ms", "did you mean" },
        { "latency delay=1ms direction=sideways", "direction" },
        { "slicer size=0", "size is 0" },
        { "bandwidth rate=1bit", "blackhole" },
        { "http-status status=99", "status" },
        { "http-status match.header=nocolon", "colon" },
        { "http-header headers.Content-Length=3", "http-body" },
        { "http-header \"headers.A B=3\"", "not a header" },
        { "grpc-status status_code=BUSY",
          "expected a status of gRPC such as UNAVAILABLE or 14, not 'BUSY'" },
        { "grpc-status status_code=17", "not '17'" },
        { "grpc-status status_code=OK", "status 0 is no failure" },
        { "grpc-status services=/lab.Shop/Get",
          "'/lab.Shop/Get' is not a name such as pkg.Service" },
        { "grpc-status methods=a,,b", "methods: a name is empty" },
        { "grpc-status methods=", "names nobody" },
        { "grpc-status message=\xff", "not UTF-8" },
    };
    struct arena *a = arena_new(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_buf struct buf said = BUF_INIT(0);
        struct toxic t;
        if (parse(rows[i].text, &t, a, &said) == 0 || !strstr(buf_str(&said), rows[i].says))
            fail_msg("'%s' said '%s'", rows[i].text, buf_str(&said));
    }
    arena_free(a);
}

static void test_every_kind_has_a_name_and_help(void **state)
{
    (void)state;
    for (unsigned k = 0; k < TOXIC_KIND_MAX; k++) {
        enum toxic_kind found;
        assert_true(toxic_kind_find(toxic_kind_name((enum toxic_kind)k), &found));
        assert_int_equal(found, k);
        for (size_t i = 0; i < toxic_tables[k].n; i++)
            assert_non_null(toxic_tables[k].rows[i].help);
    }
    assert_string_equal(toxic_kind_name(TOXIC_KIND_MAX), "");
}

static void test_glob(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } rows[] = {
        { "", "", true },          { "", "a", false },          { "*", "", true },
        { "*", "anything", true }, { "/a", "/a", true },        { "/a", "/ab", false },
        { "/a*", "/ab", true },    { "/a*c", "/abbc", true },   { "/a*c", "/abbd", false },
        { "*b*", "abc", true },    { "*b*", "acd", false },     { "a*b*c", "aXbYbc", true },
        { "**", "x", true },       { "/x/*/y", "/x/y", false }, { "/x/*/y", "/x//y", true },
        { "?", "a", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (glob_match(rows[i].pattern, rows[i].text, strlen(rows[i].text)) != rows[i].matches)
            fail_msg("'%s' against '%s'", rows[i].pattern, rows[i].text);
}

static void test_lotteries(void **state)
{
    struct toxic t = { .kind = TOXIC_LATENCY, .stream = PROXY_BOTH, .percent = 0.25, .seed = 11 };
    struct err err = { 0 };
    struct live_toxic *l, *again;
    unsigned hits = 0, drawn = 0;

    (void)state;
    t.delay_ns = 1000;
    t.jitter_ns = 400;
    l = toxic_live_new(&t, 1, &err);
    again = toxic_live_new(&t, 2, &err);
    for (uint64_t i = 0; i < 10000; i++) {
        hits += toxic_hits_connection(l, i);
        assert_int_equal(toxic_hits_connection(l, i), toxic_hits_connection(again, i));
        bool hit = toxic_draw(l);
        assert_int_equal(hit, toxic_draw(again));
        drawn += hit;
        uint64_t delay = toxic_delay_draw(l);
        assert_true(delay >= 600 && delay <= 1400);
        assert_int_equal(delay, toxic_delay_draw(again));
    }
    assert_true(hits > 2300 && hits < 2700);
    assert_true(drawn > 2300 && drawn < 2700);
    toxic_live_free(l);
    toxic_live_free(again);
}

static void test_jitter_never_goes_back_in_time(void **state)
{
    struct toxic t = { .kind = TOXIC_LATENCY, .stream = PROXY_BOTH, .percent = 1 };
    struct err err = { 0 };

    (void)state;
    t.delay_ns = 10;
    t.jitter_ns = 1000;
    struct live_toxic *l = toxic_live_new(&t, 1, &err);
    for (int i = 0; i < 1000; i++)
        assert_true(toxic_delay_draw(l) <= 1010);
    toxic_live_free(l);
}

/* What the caller's texts become later is of no matter. */
static void test_live_toxic_owns_its_texts(void **state)
{
    char body[] = "body", path[] = "/x", key[] = "K", value[] = "v";
    const char *keys[] = { key }, *values[] = { value };
    struct toxic t = {
        .kind = TOXIC_HTTP_HEADER, .stream = PROXY_BOTH, .percent = 1, .body = body
    };
    struct err err = { 0 };

    (void)state;
    t.match.path = path;
    t.headers = (struct pairs){ keys, values, 1 };
    struct live_toxic *l = toxic_live_new(&t, 1, &err);
    body[0] = path[0] = key[0] = value[0] = '!';
    assert_string_equal(l->toxic.body, "body");
    assert_string_equal(l->toxic.match.path, "/x");
    assert_string_equal(l->toxic.headers.keys[0], "K");
    assert_string_equal(l->toxic.headers.values[0], "v");
    toxic_live_free(l);
    t.percent = 2;
    assert_null(toxic_live_new(&t, 1, &err));
    toxic_live_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_line_form),
        cmocka_unit_test(test_mistakes_are_said),
        cmocka_unit_test(test_every_kind_has_a_name_and_help),
        cmocka_unit_test(test_glob),
        cmocka_unit_test(test_lotteries),
        cmocka_unit_test(test_jitter_never_goes_back_in_time),
        cmocka_unit_test(test_live_toxic_owns_its_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
