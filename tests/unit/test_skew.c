/* What skews clocks, by itself: seen by real programs, ended by its own deadline, and who cannot be
 * fooled is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "chaoslib/clock/skew.h"
#include "tests/unit/fault_fixture.h"

#define HOUR 3600

/* ---- a shell that writes down what `date` says, again and again ---- */

struct diary {
    struct skew *skew;
    struct proc_id id;
    char *dir, *log;
};

static void diary_begin(struct diary *d)
{
    static const char *const argv[] = { "/bin/sh", "-c", "while :; do date +%s; sleep 0.02; done",
                                        NULL };
    struct err err = { 0 };

    d->dir = scratch_dir();
    d->log = xasprintf("%s/dates", d->dir);
    d->skew = skew_new(&err);
    assert_non_null(d->skew);
    auto_free char *preload = xasprintf("LD_PRELOAD=%s", skew_object(d->skew));
    auto_free char *page = xasprintf(CLOCK_PAGE_ENV "=%s", skew_page(d->skew));
    const char *env[] = { "PATH=/usr/bin:/bin", preload, page, NULL };
    const struct proc_spawn_opts opts = {
        .argv = argv, .env = env, .log_path = d->log, .new_session = true
    };
    assert_int_equal(proc_spawn(&opts, &d->id, &err), 0);
}

static void diary_end(struct diary *d)
{
    kill(-d->id.pid, SIGKILL);
    victim_end(&d->id);
    skew_free(d->skew);
    scratch_remove(d->dir);
    free(d->log);
}

/* How far the last whole line is ahead of now, in seconds; INT64_MAX: there is none. */
static int64_t diary_ahead(const struct diary *d)
{
    char text[4096];
    FILE *f = fopen(d->log, "re");
    int64_t told = INT64_MAX, now = time(NULL);
    size_t n = 0;

    if (!f)
        return told;
    if (fseek(f, -64, SEEK_END) < 0)
        rewind(f);
    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    while (n && text[n - 1] != '\n')
        n--;
    text[n] = '\0';
    if (n > 1) {
        char *line = text + n - 1;
        while (line > text && line[-1] != '\n')
            line--;
        told = strtoll(line, NULL, 10) - now;
    }
    return told;
}

static bool is_about(int64_t got, int64_t want)
{
    return got >= want - 2 && got <= want + 2;
}

static void it_is_seen_and_taken_back(void **state)
{
    struct diary d;
    struct err err = { 0 };

    (void)state;
    diary_begin(&d);
    EVENTUALLY(is_about(diary_ahead(&d), 0));
    assert_int_equal(skew_check(d.skew, d.id.pid, &err), 0);
    assert_int_equal(skew_set(d.skew, HOUR * (int64_t)NS_PER_SEC, CLOCKS_REALTIME,
                              clock_now_ns() + 60 * NS_PER_SEC, &err),
                     0);
    EVENTUALLY(is_about(diary_ahead(&d), HOUR));
    assert_true(skew_is_set(d.skew));
    assert_int_equal(skew_set(d.skew, 1, CLOCKS_REALTIME, UINT64_MAX, &err), -EBUSY);
    assert_true(is_about(diary_ahead(&d), HOUR));
    skew_clear(d.skew);
    assert_false(skew_is_set(d.skew));
    EVENTUALLY(is_about(diary_ahead(&d), 0));
    diary_end(&d);
}

/* Nobody takes it back: we may be dead. */
static void it_ends_by_itself(void **state)
{
    struct diary d;
    struct err err = { 0 };

    (void)state;
    diary_begin(&d);
    EVENTUALLY(is_about(diary_ahead(&d), 0));
    uint64_t until = clock_now_ns() + 1500 * NS_PER_MS;
    assert_int_equal(skew_set(d.skew, -HOUR * (int64_t)NS_PER_SEC, CLOCKS_REALTIME, until, &err),
                     0);
    EVENTUALLY(is_about(diary_ahead(&d), -HOUR));
    EVENTUALLY(is_about(diary_ahead(&d), 0));
    assert_true(clock_now_ns() >= until);
    assert_false(skew_is_set(d.skew));
    diary_end(&d);
}

static void only_the_clocks_that_were_asked_for(void **state)
{
    struct diary d;
    struct err err = { 0 };

    (void)state;
    diary_begin(&d);
    EVENTUALLY(is_about(diary_ahead(&d), 0));
    assert_int_equal(skew_set(d.skew, HOUR * (int64_t)NS_PER_SEC, CLOCKS_MONOTONIC,
                              clock_now_ns() + 60 * NS_PER_SEC, &err),
                     0);
    clock_sleep_until(clock_now_ns() + 300 * NS_PER_MS);
    assert_true(is_about(diary_ahead(&d), 0));
    diary_end(&d);
}

static void who_did_not_load_it_is_refused(void **state)
{
    static const char *const argv[] = { "/bin/sleep", "100", NULL };
    struct err err = { 0 };
    struct skew *s = skew_new(&err);
    struct proc_id id = victim_start(argv, NULL);

    (void)state;
    assert_non_null(s);
    assert_int_equal(skew_check(s, id.pid, &err), -ENOTSUP);
    assert_non_null(strstr(err.msg, "did not load the object"));
    victim_end(&id);
    skew_free(s);
}

/* ---- programs ---- */

static unsigned char *program_read(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "re");

    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    *ret_len = (size_t)ftell(f);
    rewind(f);
    unsigned char *elf = xcalloc(1, *ret_len);
    assert_int_equal(fread(elf, 1, *ret_len, f), *ret_len);
    fclose(f);
    return elf;
}

static void programs_that_would_not_notice(void **state)
{
    size_t len;
    auto_free unsigned char *date = program_read("/bin/date", &len);

    (void)state;
    assert_non_null(date);
    assert_null(program_ignores_preload(date, len));
    for (size_t n = 0; n < 8192 && n < len;
         n++) { /* cut short: whatever it says, it reads no further */
        auto_free unsigned char *cut = xcalloc(1, n + 1);
        memcpy(cut, date, n);
        if (n < 64)
            assert_non_null(program_ignores_preload(cut, n));
        else
            (void)program_ignores_preload(cut, n);
    }
    for (size_t at = 0; at < 1024; at++) {
        auto_free unsigned char *bent = xcalloc(1, len);
        memcpy(bent, date, len);
        bent[at] ^= 0xff;
        (void)program_ignores_preload(bent, len);
    }
    assert_string_equal(program_ignores_preload((const unsigned char *)"#!/bin/sh\n", 10),
                        "it is no ELF program");
    date[4] = 1;
    assert_string_equal(program_ignores_preload(date, len), "it is a 32-bit program");
}

static void a_static_program(void **state)
{
    size_t len;
    auto_free unsigned char *elf = program_read("/bin/busybox", &len);

    (void)state;
    if (elf)
        assert_string_equal(program_ignores_preload(elf, len), "it is linked statically");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_seen_and_taken_back),
        cmocka_unit_test(it_ends_by_itself),
        cmocka_unit_test(only_the_clocks_that_were_asked_for),
        cmocka_unit_test(who_did_not_load_it_is_refused),
        cmocka_unit_test(programs_that_would_not_notice),
        cmocka_unit_test(a_static_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
