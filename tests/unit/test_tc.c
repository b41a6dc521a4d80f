/* Queueing disciplines: as messages, and as this machine's kernel takes and tells them, on devices
 * of a namespace of the test's own. */
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "edge/tc.h"

#define ROOT TC_HANDLE(0xca12, 0)
#define LEAF TC_HANDLE(0xca13, 0)
#define GBIT UINT64_C(125000000)

static const struct {
    const char *what;
    struct tc_qdisc q;
} rows[] = {
    { "everything at once",
      { .kind = TC_NETEM,
        .netem = { .latency_ns = 123456789,
                   .jitter_ns = 1000001,
                   .delay_corr = 7,
                   .loss = 1u << 30,
                   .loss_corr = 5,
                   .duplicate = 9,
                   .duplicate_corr = 11,
                   .corrupt = 13,
                   .corrupt_corr = 15,
                   .reorder = 17,
                   .reorder_corr = 19,
                   .gap = 3,
                   .rate_bytes = 40 * GBIT,
                   .limit = 4711 } } },
    { "longer than 32 bits of ticks can say",
      { .kind = TC_NETEM, .netem = { .latency_ns = UINT64_C(400000000000), .limit = 1 } } },
    { "four states",
      { .kind = TC_NETEM,
        .netem = { .loss_model = TC_LOSS_STATE,
                   .p13 = 1,
                   .p31 = 2,
                   .p32 = 3,
                   .p23 = 4,
                   .p14 = 5,
                   .limit = 1 } } },
    { "two states",
      { .kind = TC_NETEM,
        .netem = { .loss_model = TC_LOSS_GEMODEL,
                   .ge_p = 1,
                   .ge_r = 2,
                   .ge_1h = UINT32_MAX,
                   .ge_1k = 4,
                   .limit = 1 } } },
    { "bands",
      { .kind = TC_PRIO,
        .prio = { .bands = 4, .priomap = { 1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1 } } } },
    { "a bucket",
      { .kind = TC_TBF,
        .rate = { .rate_bytes = GBIT / 8, .burst_bytes = 20000, .limit_bytes = 100000 } } },
    { "a bucket with a peak",
      { .kind = TC_TBF,
        .rate = { .rate_bytes = GBIT,
                  .burst_bytes = 500000,
                  .limit_bytes = 3000000,
                  .peak_rate_bytes = 2 * GBIT,
                  .peak_burst_bytes = 20000 } } },
    { "a bucket faster than 32 bits",
      { .kind = TC_TBF,
        .rate = { .rate_bytes = 80 * GBIT, .burst_bytes = 5000000, .limit_bytes = 100000000 } } },
    { "a queue of bytes", { .kind = TC_BFIFO, .bfifo = { .limit_bytes = 12345 } } },
    { "a root with a class by default", { .kind = TC_HTB, .htb = { .default_class = 4 } } },
};

static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_free char *buf = xcalloc(1, TC_REQUEST_MAX);
        struct tc_qdisc q = rows[i].q, got;
        q.ifindex = 42;
        q.handle = ROOT;
        q.parent = TC_ROOT;
        size_t n = tc_encode(&q, buf);
        if (!tc_decode(buf, n, &got) || !tc_same(&q, &got))
            fail_msg("%s", rows[i].what);
        assert_int_equal(got.ifindex, 42);
        assert_int_equal(got.handle, ROOT);
        assert_int_equal(got.parent, TC_ROOT);
    }
}

static void what_differs_is_not_the_same(void **state)
{
    struct tc_qdisc a = { .kind = TC_NETEM, .netem = { .latency_ns = 1000, .limit = 10 } }, b = a;

    (void)state;
    assert_true(tc_same(&a, &b));
    b.netem.latency_ns++;
    assert_false(tc_same(&a, &b));
    b = a;
    b.kind = TC_PRIO;
    assert_false(tc_same(&a, &b));
    b = (struct tc_qdisc){ .kind = TC_HTB_CLASS, .rate = { .rate_bytes = 1000 } };
    a = b;
    b.rate.burst_bytes = 5000;
    assert_false(tc_same(&a, &b));
}

static void cut_messages_are_refused(void **state)
{
    auto_free char *buf = xcalloc(1, TC_REQUEST_MAX);
    struct tc_qdisc q = rows[0].q, got;
    size_t n = tc_encode(&q, buf);

    (void)state;
    for (size_t cut = 0; cut < n; cut++) {
        auto_free char *copy = xcalloc(1, cut + 1);
        memcpy(copy, buf, cut);
        assert_false(tc_decode(copy, cut, &got));
    }
}

static void shares_are_of_all(void **state)
{
    (void)state;
    assert_int_equal(tc_share(0), 0);
    assert_int_equal(tc_share(-1), 0);
    assert_int_equal(tc_share(1), UINT32_MAX);
    assert_int_equal(tc_share(2), UINT32_MAX);
    assert_int_equal(tc_share(0.5), UINT32_C(0x80000000));
}

/* ---- with the kernel ---- */

static int enter_namespace(void **state)
{
    struct err err = { 0 };

    if (unshare(CLONE_NEWNET) < 0) {
        printf("SKIP a namespace of our own needs root\n");
        return 0;
    }
    *state = tc_open(&err);
    return *state ? 0 : -1;
}

static int leave_namespace(void **state)
{
    tc_close(*state);
    return 0;
}

static void dump(struct tc *t, int ifindex, uint32_t handle, struct tc_qdisc *ret, bool there)
{
    auto_free struct tc_qdisc *v = NULL;
    struct err err = { 0 };
    size_t n = 0;
    bool found = false;

    if (tc_dump(t, ifindex, &v, &n, &err) < 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < n; i++)
        if (v[i].handle == handle) {
            *ret = v[i];
            found = true;
        }
    assert_int_equal(found, there);
}

static void the_kernel_tells_what_it_was_told(void **state)
{
    struct tc *t = *state;

    if (!t)
        skip();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tc_qdisc q = rows[i].q, got;
        struct err err = { 0 };
        q.ifindex = (int)if_nametoindex("lo");
        q.handle = ROOT;
        q.parent = TC_ROOT;
        if (tc_add(t, &q, &err) < 0) {
            if (err.code != ENOENT)
                fail_msg("%s: %s", rows[i].what, err.msg);
            printf("%s: %s\n", rows[i].what, err.msg);
            continue;
        }
        dump(t, q.ifindex, ROOT, &got, true);
        if (!tc_same(&q, &got))
            fail_msg("%s: the kernel tells something else", rows[i].what);
        if (tc_add(t, &q, &err) != -EEXIST)
            fail_msg("%s was replaced", rows[i].what);
        assert_int_equal(tc_delete(t, &q, &err), 0);
        dump(t, q.ifindex, ROOT, &got, false);
        assert_int_equal(tc_delete(t, &q, &err), 1);
    }
}

static void a_class_with_its_queue(void **state)
{
    struct tc *t = *state;
    struct err err = { 0 };
    struct tc_qdisc got;
    int lo = (int)if_nametoindex("lo");
    struct tc_qdisc tree[] = {
        { .ifindex = lo, .handle = ROOT, .parent = TC_ROOT, .kind = TC_HTB },
        { .ifindex = lo,
          .handle = ROOT | 4,
          .parent = ROOT,
          .kind = TC_HTB_CLASS,
          .rate = { .rate_bytes = GBIT / 100, .burst_bytes = 3000 } },
        { .ifindex = lo,
          .handle = LEAF,
          .parent = ROOT | 4,
          .kind = TC_BFIFO,
          .bfifo = { .limit_bytes = 50000 } },
    };

    if (!t)
        skip();
    for (size_t i = 0; i < ARRAY_LEN(tree); i++)
        if (tc_add(t, &tree[i], &err) < 0) {
            assert_int_equal(err.code, ENOENT);
            skip();
        }
    for (size_t i = 0; i < ARRAY_LEN(tree); i++) {
        dump(t, lo, tree[i].handle, &got, true);
        assert_true(tc_same(&tree[i], &got));
    }
    assert_int_equal(tc_delete(t, &tree[0], &err), 0);
    dump(t, lo, LEAF, &got, false);
}

static void a_device_of_our_own(void **state)
{
    struct tc *t = *state;
    struct err err = { 0 };
    int ifindex = 0, again;

    if (!t)
        skip();
    if (tc_ifb_add(t, "clifb-test", &ifindex, &err) < 0) {
        assert_int_equal(err.code, EOPNOTSUPP);
        skip();
    }
    assert_int_equal(ifindex, if_nametoindex("clifb-test"));
    assert_int_equal(tc_ifb_add(t, "clifb-test", &again, &err), -EEXIST);
    assert_int_equal(tc_ifb_delete(t, "clifb-test", &err), 0);
    assert_int_equal(if_nametoindex("clifb-test"), 0);
    assert_int_equal(tc_ifb_delete(t, "clifb-test", &err), 1);
}

int main(void)
{
    const struct CMUnitTest pure[] = {
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(what_differs_is_not_the_same),
        cmocka_unit_test(cut_messages_are_refused),
        cmocka_unit_test(shares_are_of_all),
    };
    const struct CMUnitTest kernel[] = {
        cmocka_unit_test(the_kernel_tells_what_it_was_told),
        cmocka_unit_test(a_class_with_its_queue),
        cmocka_unit_test(a_device_of_our_own),
    };
    int failed = cmocka_run_group_tests_name("codec", pure, NULL, NULL);

    return failed + cmocka_run_group_tests_name("kernel", kernel, enter_namespace, leave_namespace);
}
