/* The arithmetic of hogs, and the two texts that say where a process' cgroups are. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "chaoslib/machine/cgroup.h"
#include "chaoslib/machine/duty.h"
#include "chaoslib/machine/rlimit.h"

/* ---- duty ---- */

static void the_target_is_an_integral(void **state)
{
    static const struct {
        double load;
        uint64_t ramp_ms, at_ms, want_us;
    } rows[] = {
        { 1, 0, 1000, 1000000 },    { 0.5, 0, 1000, 500000 },    { 0.01, 0, 1000, 10000 },
        { 1, 1000, 0, 0 },          { 1, 1000, 500, 125000 },    { 1, 1000, 1000, 500000 },
        { 1, 1000, 2000, 1500000 }, { 0.5, 2000, 1000, 125000 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct duty d = { .load = rows[i].load, .ramp_ns = rows[i].ramp_ms * NS_PER_MS };
        uint64_t got = duty_target_ns(&d, rows[i].at_ms * NS_PER_MS) / NS_PER_US;
        assert_in_range(got, rows[i].want_us ? rows[i].want_us - 1 : 0, rows[i].want_us + 1);
    }
}

/* A machine that gives the worker only what `gives` says: whatever it loses comes back. */
static uint64_t simulate(struct duty *d, unsigned periods, uint64_t (*gives)(unsigned))
{
    uint64_t used = 0;

    for (unsigned i = 0; i < periods; i++)
        used += MIN(duty_due_ns(d, (i + 1) * DUTY_PERIOD_NS, used), gives(i));
    return used;
}

static uint64_t gives_all(unsigned i UNUSED)
{
    return DUTY_PERIOD_NS;
}

static uint64_t gives_now_and_then(unsigned i)
{
    return i % 3 ? DUTY_PERIOD_NS : 0;
}

static uint64_t gives_none_for_long(unsigned i)
{
    return i < 100 ? 0 : DUTY_PERIOD_NS;
}

static void the_load_is_kept(void **state)
{
    static const double loads[] = { 0.01, 0.1, 0.5, 0.8, 1 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(loads); i++) {
        struct duty d = { .load = loads[i] };
        uint64_t want = (uint64_t)(loads[i] * 500 * (double)DUTY_PERIOD_NS);
        assert_in_range(simulate(&d, 500, gives_all), want - 1000, want + 1000);
    }
    struct duty d = { .load = 0.5 }; /* a third of the periods is lost, and made up for */
    uint64_t want = 250 * DUTY_PERIOD_NS;
    assert_in_range(simulate(&d, 500, gives_now_and_then), want - DUTY_PERIOD_NS, want + 1000);
}

static void a_long_wait_is_forgiven(void **state)
{
    struct duty d = { .load = 0.5 };
    uint64_t half = 100 * DUTY_PERIOD_NS / 2; /* what the second half alone asks for */

    (void)state;
    assert_in_range(simulate(&d, 200, gives_none_for_long), half, half + DUTY_DEBT_MAX_NS);
    assert_true(d.forgiven_ns >= half - DUTY_DEBT_MAX_NS - DUTY_PERIOD_NS);
}

/* ---- limits of open files ---- */

static void as_many_as_asked_are_left(void **state)
{
    static const struct {
        const char *open; /* x: open */
        uint64_t leave, want;
    } rows[] = {
        { "xxx.....", 0, 3 }, { "xxx.....", 2, 5 }, { "x.x.x...", 0, 1 }, { "x.x.x...", 1, 3 },
        { "x.x.x...", 2, 5 }, { "xxxxxxxx", 0, 8 }, { "xxx.....", 9, 8 }, { "", 3, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i].open);
        bool is_open[8] = { 0 };
        for (size_t k = 0; k < n; k++)
            is_open[k] = rows[i].open[k] == 'x';
        assert_int_equal(rlimit_leaving(is_open, n, rows[i].leave), rows[i].want);
    }
}

/* ---- cgroups ---- */

static const char hybrid_mounts[] =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
    "37 31 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

static void read_both(const char *cgroup, const char *mounts, struct cgroups *g)
{
    struct err err = { 0 };

    if (cgroups_parse(cgroup, mounts, g, &err) < 0)
        fail_msg("%s", err.msg);
}

static void v1_and_both_at_once(void **state)
{
    struct cgroups g;

    (void)state;
    read_both("9:name=systemd:/s\n7:freezer:/docker/ab\n4:memory:/docker/ab\n"
              "1:cpu,cpuacct:/docker/ab\n0::/\n",
              hybrid_mounts, &g);
    assert_int_equal(g.n, 5);
    assert_string_equal(cgroups_dir(&g, "cpu"), "/sys/fs/cgroup/cpu/docker/ab");
    assert_string_equal(cgroups_dir(&g, "cpuacct"), "/sys/fs/cgroup/cpu/docker/ab");
    assert_string_equal(cgroups_dir(&g, "memory"), "/sys/fs/cgroup/memory/docker/ab");
    assert_string_equal(cgroups_dir(&g, "pids"), "/sys/fs/cgroup/unified/");
    auto(json) struct json *join = cgroups_to_join(&g);
    assert_int_equal(json_len(join), 3); /* no freezer, no systemd */
    assert_string_equal(json_str(join, "0", ""), "/sys/fs/cgroup/memory/docker/ab/cgroup.procs");
}

static void v2(void **state)
{
    struct cgroups g;

    (void)state;
    read_both("0::/system.slice/docker-ab.scope\n",
              "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
              &g);
    assert_int_equal(g.n, 1);
    assert_string_equal(cgroups_dir(&g, "memory"), "/sys/fs/cgroup/system.slice/docker-ab.scope");
}

static void what_is_not_seen_is_left_out(void **state)
{
    static const struct {
        const char *cgroup, *mounts, *want; /* NULL: none */
    } rows[] = {
        /* a part of the hierarchy is mounted */
        { "4:memory:/docker/ab/x\n", "35 31 0:32 /docker/ab /m rw - cgroup cgroup rw,memory\n",
          "/m/x" },
        { "4:memory:/docker/ab\n", "35 31 0:32 /docker/ab /m rw - cgroup cgroup rw,memory\n",
          "/m" },
        { "4:memory:/docker/abc\n", "35 31 0:32 /docker/ab /m rw - cgroup cgroup rw,memory\n",
          NULL },
        { "4:memory:/other\n", "35 31 0:32 /docker/ab /m rw - cgroup cgroup rw,memory\n", NULL },
        /* outside of a cgroup namespace */
        { "4:memory:/../x\n", "35 31 0:32 / /m rw - cgroup cgroup rw,memory\n", NULL },
        /* blanks in names */
        { "4:memory:/x\n", "35 31 0:32 / /a\\040b rw - cgroup cgroup rw,memory\n", "/a b/x" },
        { "4:memory:/x\n", "", NULL },
        { "4:mem:/x\n", "35 31 0:32 / /m rw - cgroup cgroup rw,memory\n", NULL },
        { "", "35 31 0:32 / /m rw - cgroup cgroup rw,memory\n", NULL },
    };
    struct cgroups g;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        read_both(rows[i].cgroup, rows[i].mounts, &g);
        const char *got = cgroups_dir(&g, "memory");
        if (!rows[i].want)
            assert_null(got);
        else
            assert_string_equal(got, rows[i].want);
    }
}

static void nonsense_is_an_error(void **state)
{
    static const char *const texts[] = { "x", "1:cpu", "1:cpu:", "1:cpu:relative\n", "::\n" };
    struct cgroups g;
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        err_clear(&err);
        assert_true(cgroups_parse(texts[i], hybrid_mounts, &g, &err) < 0);
        assert_non_null(strstr(err.msg, "is not a line of /proc/PID/cgroup"));
    }
    auto_buf struct buf many = BUF_INIT(0);
    for (int i = 0; i <= CGROUPS_MAX; i++)
        buf_adds(&many, "0::/\n");
    assert_true(cgroups_parse(buf_str(&many), hybrid_mounts, &g, &err) < 0);
    assert_int_equal(err.kind, ERR_LIMIT);
}

static void ours_are_found(void **state)
{
    struct cgroups a, b;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(cgroups_of(getpid(), &a, &err), 0);
    assert_int_equal(cgroups_of(getppid(), &b, &err), 0);
    assert_true(cgroups_equal(&a, &a));
    if (a.n == 0)
        print_message("no cgroup is mounted here\n");
    auto(json) struct json *join = cgroups_to_join(&a);
    for (const struct json *j = json_first(join); j; j = json_next(j))
        assert_int_equal(access(json_str(j, "", ""), F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_target_is_an_integral),
        cmocka_unit_test(the_load_is_kept),
        cmocka_unit_test(a_long_wait_is_forgiven),
        cmocka_unit_test(as_many_as_asked_are_left),
        cmocka_unit_test(v1_and_both_at_once),
        cmocka_unit_test(v2),
        cmocka_unit_test(what_is_not_seen_is_left_out),
        cmocka_unit_test(nonsense_is_an_error),
        cmocka_unit_test(ours_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
