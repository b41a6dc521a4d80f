/* Toxics as fault kinds: each goes through the whole contract of a fault. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "chaoslib/inject.h"
#include "proxy_net.h"

/* The parameters that a kind cannot do without. */
static const struct {
    const struct fault_kind *kind;
    const char *key, *value;
} kinds[] = {
    { &fault_proxy_latency, "delay", "20ms" },
    { &fault_proxy_bandwidth, "rate", "1mbit" },
    { &fault_proxy_rate, "rate", "1mbit" },
    { &fault_proxy_loss, "percent", "10%" },
    { &fault_proxy_reset, NULL, NULL },
    { &fault_proxy_refuse, NULL, NULL },
    { &fault_proxy_blackhole, NULL, NULL },
    { &fault_proxy_slow_close, "delay", "20ms" },
    { &fault_proxy_slicer, "size", "10B" },
    { &fault_proxy_limit_data, "bytes", "1KiB" },
    { &fault_proxy_http_status, "status", "500" },
    { &fault_proxy_http_abort, NULL, NULL },
    { &fault_proxy_http_delay, "delay", "20ms" },
    { &fault_proxy_http_body, "body", "other" },
    { &fault_proxy_http_header, "headers", NULL },
    { &fault_proxy_grpc_status, "services", "lab.Shop" },
};

static struct fault_spec spec(struct arena *a, size_t i, const char *proxy)
{
    struct doc *map = doc_new(a, DOC_MAP, "test");
    struct fault_spec s = { 0 };
    struct diag diag;
    struct param_ctx ctx = { .arena = a, .diag = &diag };

    diag_init(&diag);
    doc_map_put(a, map, "proxy", doc_scalar(a, "test", proxy));
    if (kinds[i].value) {
        doc_map_put(a, map, kinds[i].key, doc_scalar(a, "test", kinds[i].value));
    } else if (kinds[i].key) {
        struct doc *headers = doc_new(a, DOC_MAP, "test");
        doc_map_put(a, headers, "X-A", doc_scalar(a, "test", "b"));
        doc_map_put(a, map, kinds[i].key, headers);
    }
    fault_spec_read(&ctx, kinds[i].kind->name, map, &s);
    if (diag.n)
        fail_msg("%s", buf_str(&diag.text));
    assert_ptr_equal(s.kind, kinds[i].kind);
    diag_done(&diag);
    return s;
}

struct watched {
    struct proxies *proxies;
    const char *address;
    bool refused;
    unsigned holds;
};

static void on_step(void *arg, const struct fault_run *r)
{
    struct watched *w = arg;

    if (r->step != FAULT_HOLD)
        return;
    w->holds++;
    assert_true(r->verified_in);
    int fd = net_connect(w->address);
    w->refused = fd < 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
}

static void execute(struct proxies *p, const char *address, size_t i)
{
    struct arena *a = arena_new(0);
    struct fault_spec s = spec(a, i, "p");
    struct chaos_env env = { .run_id = "test", .proxies = p };
    struct latch *abort = latch_new(), *hurry = latch_new();
    struct watched w = { p, address, false, 0 };
    struct fault_run r = { .kind = s.kind, .params = s.params, .env = &env, .name = "f" };
    struct err err = { 0 };

    r.hold_ns = 20 * NS_PER_MS;
    r.abort = abort;
    r.hurry = hurry;
    r.times.planned = clock_now_ns() + 20 * NS_PER_MS;
    rng_seed(&r.rng, 1, i);
    if (fault_execute(&r, on_step, &w, &err) < 0)
        fail_msg("%s: %s / %s", s.kind->name, err.msg, r.err.msg);
    assert_true(w.holds > 0);
    assert_true(r.verified_in && r.verified_out);
    assert_true(r.times.effective >= r.times.planned);
    assert_true(r.times.reverted >= r.times.effective + r.hold_ns);
    assert_int_equal(w.refused, s.kind == &fault_proxy_refuse);
    assert_non_null(strstr(r.target, address));
    latch_free(abort);
    latch_free(hurry);
    arena_free(a);
}

static void test_every_kind_goes_in_and_out(void **state)
{
    struct net_server *server = net_server_new(NET_HTTP, 0, false);
    char address[64], body[100];
    struct proxies *p = net_proxy(net_server_address(server), PROXY_AUTO, address);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        execute(p, address, i);
        int fd = net_connect(address);
        assert_true(fd >= 0);
        assert_int_equal(net_http(fd, "GET / HTTP/1.1\r\n\r\n", body, sizeof body, NULL, 0), 200);
        close(fd);
    }
    proxies_free(p);
    net_server_free(server);
}

static void test_unknown_proxy_is_said(void **state)
{
    struct arena *a = arena_new(0);
    struct fault_spec s = spec(a, 0, "nobody");
    struct err err = { 0 };
    struct proxies *p = proxies_new(&err);
    struct proxies *envs[] = { p, NULL };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(envs); i++) {
        struct chaos_env env = { .run_id = "test", .proxies = envs[i] };
        struct fault_run r = { .kind = s.kind, .params = s.params, .env = &env, .name = "f" };
        err_clear(&err);
        assert_true(s.kind->prepare(&r, &err) < 0);
        assert_non_null(strstr(err.msg, "nobody"));
        assert_non_null(strstr(err.msg, "proxies:"));
        s.kind->release(&r);
    }
    proxies_free(p);
    arena_free(a);
}

/* The run's contract: free of any leftover, and reverting what never went in is success. */
static void test_descriptors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const struct fault_kind *k = kinds[i].kind;
        struct fault_run r = { .kind = k };
        struct err err = { 0 };

        assert_string_equal(k->backend, "proxy");
        assert_true(k->flags & FAULT_FREE);
        assert_ptr_equal(fault_kind_find(k->name, "proxy"), k);
        assert_int_equal(k->revert(&r, &err), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_goes_in_and_out),
        cmocka_unit_test(test_unknown_proxy_is_said),
        cmocka_unit_test(test_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
