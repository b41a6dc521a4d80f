/* A network fault's way to its holder, and how addresses and ports are written. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "chaoslib/net/net.h"

static void what_goes_in_comes_out(void **state)
{
    struct net_fault f = { .effect = NET_LOSS,
                           .direction = NET_BOTH,
                           .shape = { .percent = 0.125,
                                      .loss = NET_GEMODEL,
                                      .ge = { 0.1, 0.2, 0.3, 0.4 },
                                      .delay_ns = 123456789,
                                      .seed = 1234567890123 },
                           .filter = { .proto = NET_UDP, .iface = "eth0" },
                           .mechanism = "nfqueue",
                           .tag = "0123-run" };
    struct net_fault got;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(net_addrs_add(&f.filter.peers, "10.1.2.3/8", &err), 0);
    assert_int_equal(net_addrs_add(&f.filter.peers, "fd00::1", &err), 0);
    assert_int_equal(net_ports_add(&f.filter.dport, "8000-8010", &err), 0);
    auto(json) struct json *j = net_fault_write(&f);
    if (net_fault_read(j, &got, &err) < 0)
        fail_msg("%s", err.msg);
    assert_memory_equal(&got.shape, &f.shape, sizeof f.shape);
    assert_memory_equal(&got.filter, &f.filter, sizeof f.filter);
    assert_int_equal(got.effect, f.effect);
    assert_int_equal(got.direction, f.direction);
    assert_string_equal(got.mechanism, f.mechanism);
    assert_string_equal(got.tag, f.tag);
}

static void bits_past_the_prefix_do_not_count(void **state)
{
    static const uint8_t ten[16] = { 10 };
    struct net_addrs a = { 0 };

    (void)state;
    assert_int_equal(net_addrs_add(&a, "10.1.2.3/8", NULL), 0);
    assert_int_equal(net_addrs_add(&a, "10.9.9.9/8", NULL), 0); /* the same */
    assert_int_equal(a.n, 1);
    assert_memory_equal(a.v[0].bytes, ten, sizeof ten);
    assert_int_equal(net_addrs_add(&a, "localhost", NULL), 0);
    assert_true(a.n > 1);
}

static void bad_texts_are_refused(void **state)
{
    static const char *const addrs[] = {
        "",      "10.0.0.0/33",          "10.0.0.0/",  "10.0.0.0/-1", "::1/129", "x/8",
        "1.2.3", "no.such.host.invalid", "10.0.0.0/8x"
    };
    static const char *const ports[] = { "",    "0",     "65536", "-1",   "80-",
                                         "-80", "90-80", "http",  "1-2-3" };
    struct net_addrs a = { 0 };
    struct net_ports p = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(addrs); i++) {
        struct err err = { 0 };
        if (strcmp(addrs[i], "1.2.3") == 0)
            continue; /* libc takes it for 1.2.0.3 */
        if (net_addrs_add(&a, addrs[i], &err) >= 0 || !err.msg[0])
            fail_msg("'%s' was taken", addrs[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(ports); i++) {
        struct err err = { 0 };
        if (net_ports_add(&p, ports[i], &err) >= 0 || !err.msg[0])
            fail_msg("'%s' was taken", ports[i]);
    }
    assert_int_equal(a.n + p.n, 0);
}

static void there_is_an_end_to_addresses_and_ports(void **state)
{
    struct net_addrs a = { 0 };
    struct net_ports p = { 0 };
    struct err err = { 0 };
    char text[32];

    (void)state;
    for (unsigned i = 0; i < NET_ADDRS_MAX; i++) {
        snprintf(text, sizeof text, "10.0.0.%u", i);
        assert_int_equal(net_addrs_add(&a, text, &err), 0);
    }
    assert_true(net_addrs_add(&a, "10.0.1.1", &err) < 0);
    assert_int_equal(err.kind, ERR_LIMIT);
    for (unsigned i = 0; i < NET_PORTS_MAX; i++)
        assert_int_equal(net_ports_add(&p, "80", &err), 0);
    assert_true(net_ports_add(&p, "80", &err) < 0);
}

static void broken_messages_are_refused(void **state)
{
    static const struct {
        const char *key;
        double value;
    } wrong[] = { { "effect", 99 },   { "effect", -1 },      { "direction", 0 },
                  { "percent", 1.5 }, { "every", -3 },       { "loss", 17 },
                  { "mode", 3 },      { "rate_bits", 1e15 }, { "delay_ns", 1e18 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct net_fault f = { .effect = NET_LATENCY, .direction = NET_EGRESS }, got;
        auto(json) struct json *j = net_fault_write(&f);
        struct err err = { 0 };
        json_put_num(j, wrong[i].key, wrong[i].value);
        auto_free char *text = json_print(j, false);
        /* the first of two keys counts, so it is taken out */
        auto_free char *old = xasprintf("\"%s\":", wrong[i].key);
        char *first = strstr(text, old);
        first[1] = '_';
        auto(json) struct json *changed = NULL;
        assert_int_equal(json_parse(text, strlen(text), &changed, &err), 0);
        if (net_fault_read(changed, &got, &err) >= 0)
            fail_msg("%s = %g was taken", wrong[i].key, wrong[i].value);
    }
    assert_true(net_fault_read(NULL, &(struct net_fault){ 0 }, &(struct err){ 0 }) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(bits_past_the_prefix_do_not_count),
        cmocka_unit_test(bad_texts_are_refused),
        cmocka_unit_test(there_is_an_end_to_addresses_and_ports),
        cmocka_unit_test(broken_messages_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
