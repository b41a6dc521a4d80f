/* The machine's limits against a plan's wishes: what cannot work is refused before the start. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "load_sample.h"
#include "runner/limits.h"

static const struct machine roomy = { .files_soft = 1024,
                                      .files_hard = 1048576,
                                      .ports = 28232,
                                      .memory_bytes = UINT64_C(8) << 30,
                                      .cpus = 4 };

static void load_of(struct load_sample *s, double users, double rate)
{
    sample_init(s);
    sample_task(s, sample_class(s, "web", 1), "GET /", "/", 1);
    if (users > 0)
        sample_stage(sample_part(s, LOAD_CLOSED), NS_PER_SEC, users, 0);
    if (rate > 0) {
        struct load_plan_part *p = sample_part(s, LOAD_OPEN);

        p->start_value = rate;
        sample_stage(p, NS_PER_SEC, rate, 0);
        p->max_users = (uint64_t)rate * 10;
    }
}

static void test_demand(void **state)
{
    static const struct {
        double users, rate;
        int64_t threads;
        uint64_t want_closed, want_open, want_threads;
    } rows[] = {
        { 10, 0, 0, 10, 0, 1 },    { 51, 0, 0, 51, 0, 2 },    { 1000, 0, 0, 1000, 0, 4 },
        { 0, 500, 0, 0, 5000, 4 }, { 10, 20, 0, 10, 200, 1 }, { 10, 0, 3, 10, 0, 3 },
        { 10.5, 0, 0, 11, 0, 1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct load_sample s;
        struct demand d;

        load_of(&s, rows[i].users, rows[i].rate);
        s.plan.threads = rows[i].threads;
        demand_of(&s.plan, &roomy, &d);
        assert_int_equal(d.users_closed, rows[i].want_closed);
        assert_int_equal(d.users_open, rows[i].want_open);
        assert_int_equal(d.threads, rows[i].want_threads);
    }
}

static int check(struct load_sample *s, const struct machine *m, struct notes *notes,
                 uint64_t *files, struct err *err)
{
    struct demand d;

    demand_of(&s->plan, m, &d);
    return limits_check(&s->plan, m, &d, notes, files, err);
}

static void test_what_cannot_work_is_refused(void **state)
{
    struct machine few_files = roomy, few_ports = roomy, little_memory = roomy;

    few_files.files_hard = 500;
    few_ports.ports = 900;
    little_memory.memory_bytes = 1 << 20;

    const struct {
        const struct machine *machine;
        const char *want;
    } rows[] = { { &few_files, "1000 users need 1080 open files" },
                 { &few_ports, "900 local ports; add http.source_addresses" },
                 { &little_memory, "about 7 MiB of memory and 1 MiB" } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct notes notes = { 0 };
        struct err err = { 0 };
        struct load_sample s;
        struct machine one_cpu = *rows[i].machine;
        uint64_t files = 0;

        one_cpu.cpus = 1;
        load_of(&s, 1000, 0);
        assert_true(check(&s, &one_cpu, &notes, &files, &err) < 0);
        assert_int_equal(err.kind, ERR_LIMIT);
        if (!strstr(err.msg, rows[i].want))
            fail_msg("%s", err.msg);
        notes_done(&notes);
    }
}

static void test_source_addresses_add_ports(void **state)
{
    static const char *addresses[] = { "127.0.0.2", "127.0.0.3" };
    struct machine m = roomy;
    struct notes notes = { 0 };
    struct err err = { 0 };
    struct load_sample s;
    uint64_t files = 0;

    (void)state;
    m.ports = 900;
    load_of(&s, 1000, 0);
    s.plan.http.source_addresses = (struct strs){ addresses, 2 };
    assert_int_equal(check(&s, &m, &notes, &files, &err), 0);
    s.plan.http.source_addresses.n = 0;
    s.plan.http.conn = CONN_POOLED;
    assert_int_equal(check(&s, &m, &notes, &files, &err), 0);
    s.plan.http.conn = CONN_PER_USER;
    s.plan.target = "unix:/run/x.sock";
    assert_int_equal(check(&s, &m, &notes, &files, &err), 0);
    notes_done(&notes);
}

static void test_files_are_raised_as_far_as_allowed(void **state)
{
    static const struct {
        double users, rate;
        uint64_t hard, want;
        const char *note;
    } rows[] = {
        { 10, 0, 1048576, 1024, NULL },
        { 5000, 0, 1048576, 5000 + 64 + 4 * 16, "raised from 1024 to 5128" },
        { 0, 1000, 4096, 4096, "about 3968 can be connected at once" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct machine m = roomy;
        struct notes notes = { 0 };
        struct err err = { 0 };
        struct load_sample s;
        uint64_t files = 0;

        m.files_hard = rows[i].hard;
        load_of(&s, rows[i].users, rows[i].rate);
        assert_int_equal(check(&s, &m, &notes, &files, &err), 0);
        assert_int_equal(files, rows[i].want);
        assert_int_equal(notes.n > 0, rows[i].note != NULL);
        if (rows[i].note && !strstr(notes.v[0], rows[i].note))
            fail_msg("%s", notes.v[0]);
        notes_done(&notes);
    }
}

static void test_users_that_share_connections_need_no_file_each(void **state)
{
    struct notes notes = { 0 };
    struct machine m = roomy;
    struct err err = { 0 };
    struct load_sample s;
    uint64_t files = 0;

    (void)state;
    m.files_hard = 500;
    load_of(&s, 1000, 0);
    s.plan.http.conn = CONN_POOLED;
    assert_int_equal(check(&s, &m, &notes, &files, &err), 0);
    assert_int_equal(files, 1024); /* the soft limit, which is never lowered */
    assert_non_null(strstr(notes.v[0], "about 372 can be connected at once"));
    m.files_hard = 100; /* not even for what is not a connection */
    assert_true(check(&s, &m, &notes, &files, &err) < 0);
    assert_non_null(strstr(err.msg, "a run needs 128 open files"));
    notes_done(&notes);
}

static void test_no_more_threads_than_users(void **state)
{
    struct load_sample s;
    struct demand d;

    (void)state;
    load_of(&s, 0, 500);
    s.parts[0].max_users = 3;
    for (int64_t threads = 0; threads <= 8; threads += 8) {
        s.plan.threads = threads;
        demand_of(&s.plan, &roomy, &d);
        assert_int_equal(d.threads, 3);
    }
}

static void test_the_limit_of_files_is_never_lowered(void **state)
{
    struct rlimit before, after;
    struct err err = { 0 };

    (void)state;
    getrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(limits_raise_files(1, &err), 0);
    getrlimit(RLIMIT_NOFILE, &after);
    assert_int_equal(before.rlim_cur, after.rlim_cur);
    assert_int_equal(limits_raise_files(before.rlim_cur, &err), 0);
}

static void test_this_machine_can_be_read(void **state)
{
    struct machine m;

    (void)state;
    machine_read(&m);
    assert_true(m.cpus >= 1);
    assert_true(m.ports >= 1 && m.ports <= 65536);
    assert_true(m.files_soft > 0 && m.files_hard >= m.files_soft);
}

static void test_names_must_resolve(void **state)
{
    static const struct {
        const char *target;
        bool ok;
    } rows[] = {
        { "http://127.0.0.1:80", true },
        { "http://[::1]:80", true },
        { "unix:/run/x.sock", true },
        { "http://no-such-name.invalid", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = { 0 };
        struct load_sample s;

        load_of(&s, 1, 0);
        s.plan.target = rows[i].target;
        assert_int_equal(limits_resolve(&s.plan, &err) == 0, rows[i].ok);
        if (!rows[i].ok)
            assert_non_null(strstr(err.msg, "does not resolve"));
    }
}

static void test_source_addresses_must_be_ours(void **state)
{
    static const char *ours[] = { "127.0.0.1", "127.0.0.2" },
                      *other[] = { "127.0.0.1", "192.0.2.1" };
    struct err err = { 0 };
    struct load_sample s;

    (void)state;
    load_of(&s, 1, 0);
    assert_int_equal(limits_sources(&s.plan, &err), 0); /* none */
    s.plan.http.source_addresses = (struct strs){ ours, 2 };
    assert_int_equal(limits_sources(&s.plan, &err), 0);
    s.plan.http.source_addresses = (struct strs){ other, 2 };
    assert_true(limits_sources(&s.plan, &err) < 0);
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_non_null(strstr(err.msg, "connect from 192.0.2.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_demand),
        cmocka_unit_test(test_what_cannot_work_is_refused),
        cmocka_unit_test(test_source_addresses_add_ports),
        cmocka_unit_test(test_files_are_raised_as_far_as_allowed),
        cmocka_unit_test(test_users_that_share_connections_need_no_file_each),
        cmocka_unit_test(test_no_more_threads_than_users),
        cmocka_unit_test(test_the_limit_of_files_is_never_lowered),
        cmocka_unit_test(test_this_machine_can_be_read),
        cmocka_unit_test(test_names_must_resolve),
        cmocka_unit_test(test_source_addresses_must_be_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
