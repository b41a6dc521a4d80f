/* ptrace stops all threads, also of a process that makes new ones all the time; and lets them go,
 * whatever happened meanwhile, even when the one who froze dies. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "chaoslib/process/freeze.h"
#include "tests/unit/fault_fixture.h"

/* ---- the victim: threads that count in shared memory ---- */

#define COUNTERS 8

struct shared {
    _Atomic uint64_t counts[COUNTERS];
    _Atomic uint64_t signals;
};

static struct shared *shared;

static void *count(void *arg)
{
    _Atomic uint64_t *mine = arg;

    for (;;) {
        atomic_fetch_add(mine, 1);
        usleep(200);
    }
    return NULL;
}

static void *count_once(void *arg)
{
    atomic_fetch_add((_Atomic uint64_t *)arg, 1);
    return NULL;
}

static void on_usr1(int signo)
{
    (void)signo;
    atomic_fetch_add(&shared->signals, 1);
}

/* Long-lived threads on all counters but the last; the last counts threads that come and go. */
static void victim(bool storm)
{
    pthread_t t;

    signal(SIGUSR1, on_usr1);
    for (size_t i = 0; i + 1 < COUNTERS; i++)
        pthread_create(&t, NULL, count, &shared->counts[i]);
    for (;;) {
        if (!storm) {
            atomic_fetch_add(&shared->counts[COUNTERS - 1], 1);
            usleep(200);
        } else if (pthread_create(&t, NULL, count_once, &shared->counts[COUNTERS - 1]) == 0) {
            pthread_join(t, NULL);
        }
    }
}

static struct target victim_fork(bool storm, bool behind_wrapper)
{
    struct target t = { .name = "victim", .pidfd = -1 };

    memset(shared, 0, sizeof(*shared));
    pid_t pid = fork();
    if (pid == 0) {
        setsid(); /* as every child of a plan does */
        if (behind_wrapper && fork() != 0)
            pause();
        victim(storm);
        _exit(0);
    }
    assert_int_equal(proc_identify(pid, &t.id, NULL), 0);
    auto(json) struct json *record = json_object();
    target_write(&t, record);
    assert_int_equal(target_read(record, &t, NULL), 0);
    t.is_child = true;
    for (size_t i = 0; i < COUNTERS; i++)
        EVENTUALLY(atomic_load(&shared->counts[i]) > 2);
    return t;
}

static struct target victim_new(bool storm)
{
    return victim_fork(storm, false);
}

static void victim_done(struct target *t)
{
    target_close(t);
    victim_end(&t->id);
}

static uint64_t total(void)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < COUNTERS; i++)
        sum += atomic_load(&shared->counts[i]);
    return sum;
}

static void assert_still(void)
{
    uint64_t before = total();

    clock_sleep_until(clock_now_ns() + 30 * NS_PER_MS);
    assert_int_equal(total(), before);
}

static void assert_all_move(void)
{
    uint64_t before[COUNTERS];

    for (size_t i = 0; i < COUNTERS; i++)
        before[i] = atomic_load(&shared->counts[i]);
    for (size_t i = 0; i < COUNTERS; i++)
        EVENTUALLY(atomic_load(&shared->counts[i]) > before[i]);
}

static struct freeze *freeze_or_fail(const struct target *t)
{
    struct err err = { 0 };
    struct freeze *f = freeze_start(t, &err);

    if (!f)
        fail_msg("%s", err.msg);
    return f;
}

/* ---- behaviours ---- */

static void a_child_is_all_that_it_started(void **state)
{
    struct target t = victim_fork(false, true);

    (void)state;
    struct freeze *f = freeze_or_fail(&t);
    assert_true(target_is_stopped(&t));
    assert_still();
    freeze_end(f);
    assert_all_move();
    assert_int_equal(target_signal_all(&t, SIGSTOP, NULL), 0);
    EVENTUALLY(target_is_stopped(&t));
    assert_still();
    assert_int_equal(target_signal_all(&t, SIGCONT, NULL), 0);
    assert_all_move();
    assert_int_equal(target_signal_all(&t, SIGKILL, NULL), 0);
    victim_done(&t);
}

static void all_threads_stand_still_and_go_on(void **state)
{
    (void)state;
    for (int storm = 0; storm < 2; storm++) {
        struct target t = victim_new(storm);
        for (int round = 0; round < 3; round++) {
            struct freeze *f = freeze_or_fail(&t);
            assert_true(target_is_stopped(&t));
            assert_still();
            freeze_end(f);
            assert_all_move();
            assert_false(target_is_stopped(&t));
        }
        victim_done(&t);
    }
}

static void signals_sent_meanwhile_arrive_later(void **state)
{
    struct target t = victim_new(false);
    struct freeze *f = freeze_or_fail(&t);

    (void)state;
    assert_int_equal(target_signal(&t, SIGUSR1, NULL), 0);
    assert_still();
    assert_int_equal(atomic_load(&shared->signals), 0);
    freeze_end(f);
    EVENTUALLY(atomic_load(&shared->signals) == 1);
    assert_all_move();
    victim_done(&t);
}

static void a_target_that_dies_frozen_is_let_go(void **state)
{
    struct target t = victim_new(false);
    struct freeze *f = freeze_or_fail(&t);

    (void)state;
    assert_false(target_is_gone(&t));
    assert_int_equal(target_signal(&t, SIGKILL, NULL), 0);
    EVENTUALLY((freeze_bury(f), target_is_gone(&t)));
    freeze_end(f);
    int status;
    assert_int_equal(waitpid(t.id.pid, &status, 0), t.id.pid); /* its parent learns how it ended */
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    target_close(&t);
}

static void one_that_is_gone_is_an_error(void **state)
{
    struct target t = victim_new(false);
    struct err err = { 0 };

    (void)state;
    victim_end(&t.id);
    assert_null(freeze_start(&t, &err));
    assert_true(err_is_set(&err));
    assert_true(target_is_gone(&t));
    assert_int_equal(target_signal(&t, SIGTERM, &err), 1);
    target_close(&t);
}

static void it_ends_when_the_one_who_froze_is_killed(void **state)
{
    struct target t = victim_new(false);
    int ends[2];
    char c;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid_t tracer = fork();
    if (tracer == 0) {
        struct target mine = t;
        mine.is_child = false;
        if (freeze_start(&mine, NULL) && write(ends[1], "f", 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ends[0], &c, 1), 1);
    assert_still();
    kill(tracer, SIGKILL);
    waitpid(tracer, NULL, 0);
    assert_all_move();
    close(ends[0]);
    close(ends[1]);
    victim_done(&t);
}

/* A process has one tracer: the second is told so, and `pause` falls back to SIGSTOP. */
static void two_cannot_freeze_one(void **state)
{
    struct target t = victim_new(false);
    struct freeze *first = freeze_or_fail(&t);
    struct err err = { 0 };

    (void)state;
    assert_null(freeze_start(&t, &err));
    assert_int_equal(err.code, EPERM);
    assert_still();
    freeze_end(first);
    assert_all_move();
    victim_done(&t);
}

static const struct {
    const char *text;
    int number;
} signals[] = {
    { "SIGKILL", SIGKILL },
    { "KILL", SIGKILL },
    { "kill", SIGKILL },
    { "sigterm", SIGTERM },
    { "9", SIGKILL },
    { "15", SIGTERM },
    { "Usr1", SIGUSR1 },
    { "STOP", SIGSTOP },
    { "CONT", SIGCONT },
    { "", 0 },
    { "SIG", 0 },
    { "0", 0 },
    { "-9", 0 },
    { "65", 0 },
    { "SIGSIGKILL", 0 },
    { "KILLER", 0 },
    { "9 ", 0 },
};

static void signals_have_names_and_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        if (signal_number(signals[i].text) != signals[i].number)
            fail_msg("'%s' is %d", signals[i].text, signal_number(signals[i].text));
    assert_string_equal(signal_name(SIGTERM), "SIGTERM");
    assert_string_equal(signal_name(63), "the signal");
    assert_string_equal(signal_name(-1), "the signal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_threads_stand_still_and_go_on),
        cmocka_unit_test(signals_sent_meanwhile_arrive_later),
        cmocka_unit_test(a_target_that_dies_frozen_is_let_go),
        cmocka_unit_test(one_that_is_gone_is_an_error),
        cmocka_unit_test(it_ends_when_the_one_who_froze_is_killed),
        cmocka_unit_test(a_child_is_all_that_it_started),
        cmocka_unit_test(two_cannot_freeze_one),
        cmocka_unit_test(signals_have_names_and_numbers),
    };

    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
