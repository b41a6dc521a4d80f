/* What skews clocks, by itself: seen by real programs, ended by its own deadline, and who cannot be
 * fooled is known. */
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
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

/* ---- in a process whose clocks go after: each way to ask, each way to wait until an instant ----
 */

#define BEHIND 60
#define WAIT_NS (60 * NS_PER_MS)

static struct timespec in_a_moment(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    uint64_t ns = (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec + WAIT_NS;
    return (struct timespec){ (time_t)(ns / NS_PER_SEC), (long)(ns % NS_PER_SEC) };
}

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

static void wait_cond(clockid_t id, const struct timespec *t)
{
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    pthread_condattr_t attr;
    pthread_cond_t c;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, id);
    pthread_cond_init(&c, &attr);
    pthread_mutex_lock(&m);
    while (pthread_cond_timedwait(&c, &m, t) == 0)
        ;
    pthread_mutex_unlock(&m);
    pthread_cond_destroy(&c);
}

static void wait_cond_clock(clockid_t id, const struct timespec *t)
{
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t c = PTHREAD_COND_INITIALIZER;

    pthread_mutex_lock(&m);
    while (pthread_cond_clockwait(&c, &m, id, t) == 0)
        ;
    pthread_mutex_unlock(&m);
}

static void wait_mutex(clockid_t id, const struct timespec *t)
{
    if (id == CLOCK_REALTIME)
        (void)!pthread_mutex_timedlock(&held, t);
    else
        (void)!pthread_mutex_clocklock(&held, id, t);
}

static void wait_sem(clockid_t id, const struct timespec *t)
{
    sem_t s;

    sem_init(&s, 0, 0);
    (void)!(id == CLOCK_REALTIME ? sem_timedwait(&s, t) : sem_clockwait(&s, id, t));
    sem_destroy(&s);
}

static void wait_sleep(clockid_t id, const struct timespec *t)
{
    (void)!clock_nanosleep(id, TIMER_ABSTIME, t, NULL);
}

static void wait_timer(clockid_t id, const struct timespec *t)
{
    const struct itimerspec when = { .it_value = *t };
    uint64_t n;
    int fd = timerfd_create(id, TFD_CLOEXEC);

    if (timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
        (void)!read(fd, &n, sizeof(n));
    close(fd);
}

static void wait_futex(clockid_t id, const struct timespec *t)
{
    int op = FUTEX_WAIT_BITSET | (id == CLOCK_REALTIME ? FUTEX_CLOCK_REALTIME : 0);
    unsigned word = 7;

    (void)!syscall(SYS_futex, &word, op, 7, t, NULL, FUTEX_BITSET_MATCH_ANY);
}

static const struct {
    const char *name;
    void (*wait)(clockid_t id, const struct timespec *t);
} waits[] = { { "cond", wait_cond },  { "cond_clock", wait_cond_clock }, { "mutex", wait_mutex },
              { "sem", wait_sem },    { "sleep", wait_sleep },           { "timer", wait_timer },
              { "futex", wait_futex } };

/* "cond 0 61": its name, the clock, how many milliseconds it took. */
static void tell_waits(void)
{
    static const clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC };

    pthread_mutex_lock(&held);
    for (size_t i = 0; i < ARRAY_LEN(waits); i++)
        for (size_t k = 0; k < ARRAY_LEN(clocks); k++) {
            struct timespec t = in_a_moment(clocks[k]);
            uint64_t began = clock_now_ns();
            waits[i].wait(clocks[k], &t);
            printf("%s %zu %llu\n", waits[i].name, k,
                   (unsigned long long)((clock_now_ns() - began) / NS_PER_MS));
        }
}

/* "time 0 1700000000": what tells the time, of which clock, and the seconds. */
static void tell_times(void)
{
    struct timespec t;
    struct timeval tv;

    printf("time 0 %lld\n", (long long)time(NULL));
    gettimeofday(&tv, NULL);
    printf("gettimeofday 0 %lld\n", (long long)tv.tv_sec);
    timespec_get(&t, TIME_UTC);
    printf("timespec_get 0 %lld\n", (long long)t.tv_sec);
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    printf("coarse 0 %lld\n", (long long)t.tv_sec);
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
    printf("syscall 0 %lld\n", (long long)t.tv_sec);
    clock_gettime(CLOCK_MONOTONIC, &t);
    printf("monotonic 1 %lld\n", (long long)t.tv_sec);
    clock_gettime(CLOCK_BOOTTIME, &t);
    printf("boottime 2 %lld\n", (long long)t.tv_sec);
}

static void run_behind(const char *what, struct buf *told)
{
    struct err err = { 0 };
    struct skew *s = skew_new(&err);
    struct proc_id id;
    char *dir = scratch_dir(), self[4096] = "";
    auto_free char *log = xasprintf("%s/told", dir);

    assert_non_null(s);
    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    auto_free char *preload = xasprintf("LD_PRELOAD=%s", skew_object(s));
    auto_free char *page = xasprintf(CLOCK_PAGE_ENV "=%s", skew_page(s));
    const char *argv[] = { self, what, NULL };
    const char *env[] = { preload, page, "ASAN_OPTIONS=verify_asan_link_order=0", NULL };
    assert_int_equal(skew_set(s, -BEHIND * (int64_t)NS_PER_SEC, CLOCKS_REALTIME | CLOCKS_MONOTONIC,
                              clock_now_ns() + 60 * NS_PER_SEC, &err),
                     0);
    assert_int_equal(
        proc_spawn(&(struct proc_spawn_opts){ .argv = argv, .env = env, .log_path = log }, &id,
                   &err),
        0);
    assert_int_equal(waitpid(id.pid, NULL, 0), id.pid);
    FILE *f = fopen(log, "re");
    assert_non_null(f);
    told->len = fread(buf_reserve(told, 4096), 1, 4095, f);
    told->data[told->len] = '\0';
    fclose(f);
    scratch_remove(dir);
    skew_free(s);
}

struct row {
    int name_len;
    const char *name;
    unsigned long clock;
    long long number;
};

/* The next line of what was told; NULL: there is none. */
static const char *row_read(const char *s, struct row *ret)
{
    char *end;

    *ret = (struct row){ .name_len = (int)strcspn(s, " "), .name = s };
    if (!*s)
        return NULL;
    ret->clock = strtoul(s + ret->name_len, &end, 10);
    ret->number = strtoll(end, &end, 10);
    return *end == '\n' ? end + 1 : NULL;
}

static void waits_last_as_long_as_ever(void **state)
{
    auto_buf struct buf told = BUF_INIT(0);
    struct row r;
    size_t n = 0;

    (void)state;
    run_behind("waits", &told);
    for (const char *s = told.data; (s = row_read(s, &r)); n++)
        if (r.number < (long long)(WAIT_NS / NS_PER_MS) - 1 || r.number > 10000)
            fail_msg("%.*s by clock %lu took %lld ms", r.name_len, r.name, r.clock, r.number);
    if (n != 2 * ARRAY_LEN(waits))
        fail_msg("%s", told.data);
}

static void all_that_tells_the_time_agrees(void **state)
{
    auto_buf struct buf told = BUF_INIT(0);
    struct timespec clocks[3];
    struct row r;
    size_t n = 0;

    (void)state;
    clock_gettime(CLOCK_REALTIME, &clocks[0]);
    clock_gettime(CLOCK_MONOTONIC, &clocks[1]);
    clock_gettime(CLOCK_BOOTTIME, &clocks[2]);
    run_behind("times", &told);
    for (const char *s = told.data; (s = row_read(s, &r)); n++)
        if (r.clock > 2 || llabs(clocks[r.clock].tv_sec - BEHIND - r.number) > 10)
            fail_msg("%.*s tells %lld", r.name_len, r.name, r.number);
    if (n != 7)
        fail_msg("%s", told.data);
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

int main(int argc, char **argv)
{
    if (argc > 1) {
        if (strcmp(argv[1], "waits") == 0)
            tell_waits();
        else
            tell_times();
        return 0;
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_seen_and_taken_back),
        cmocka_unit_test(it_ends_by_itself),
        cmocka_unit_test(only_the_clocks_that_were_asked_for),
        cmocka_unit_test(who_did_not_load_it_is_refused),
        cmocka_unit_test(waits_last_as_long_as_ever),
        cmocka_unit_test(all_that_tells_the_time_agrees),
        cmocka_unit_test(programs_that_would_not_notice),
        cmocka_unit_test(a_static_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
