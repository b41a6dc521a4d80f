/* The latch ends waits early, whoever sets it, and instants end them otherwise. */
#include <pthread.h>
#include <unistd.h>

#include "chaoslib/wait.h"
#include "tests/unit/fault_fixture.h"

static void an_instant_in_the_past_does_not_wait(void **state)
{
    struct latch *l = latch_new();

    (void)state;
    assert_false(latch_wait_until(l, 0));
    latch_set(l);
    assert_true(latch_wait_until(l, 0));
    latch_free(l);
}

static void it_stays_set(void **state)
{
    struct latch *l = latch_new();

    (void)state;
    assert_false(latch_is_set(l));
    for (int i = 0; i < 1000; i++)
        latch_set(l);
    for (int i = 0; i < 3; i++)
        assert_true(latch_wait_until(l, clock_now_ns() + 60 * NS_PER_SEC));
    assert_true(latch_is_set(l));
    latch_free(l);
}

static void no_latch_is_never_set(void **state)
{
    uint64_t until = clock_now_ns() + 5 * NS_PER_MS;

    (void)state;
    assert_false(latch_is_set(NULL));
    assert_false(latch_wait_until(NULL, until));
    assert_true(clock_now_ns() >= until);
}

static void *set_it_soon(void *arg)
{
    clock_sleep_until(clock_now_ns() + 20 * NS_PER_MS);
    latch_set(arg);
    return NULL;
}

static void another_thread_ends_the_wait(void **state)
{
    struct latch *l = latch_new();
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, set_it_soon, l), 0);
    assert_true(latch_wait_until(l, clock_now_ns() + 60 * NS_PER_SEC));
    pthread_join(thread, NULL);
    latch_free(l);
}

static void the_descriptor_wins(void **state)
{
    struct latch *l = latch_new();
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(wait_fd(ends[0], l, 0), WAIT_TIMEOUT);
    latch_set(l);
    assert_int_equal(wait_fd(ends[0], l, 0), WAIT_LATCH);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(wait_fd(ends[0], l, 0), WAIT_READY);
    assert_int_equal(wait_fd(ends[0], NULL, clock_now_ns() + 60 * NS_PER_SEC), WAIT_READY);
    close(ends[0]);
    close(ends[1]);
    latch_free(l);
}

/* It is allowed in a signal handler, and errno survives it. */
static struct latch *in_handler;

static void handler(int signo)
{
    (void)signo;
    latch_set(in_handler);
}

static void a_signal_handler_may_set_it(void **state)
{
    (void)state;
    in_handler = latch_new();
    signal(SIGUSR1, handler);
    errno = 77;
    raise(SIGUSR1);
    assert_int_equal(errno, 77);
    assert_true(latch_wait_until(in_handler, clock_now_ns() + 60 * NS_PER_SEC));
    latch_free(in_handler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_instant_in_the_past_does_not_wait),
        cmocka_unit_test(it_stays_set),
        cmocka_unit_test(no_latch_is_never_set),
        cmocka_unit_test(another_thread_ends_the_wait),
        cmocka_unit_test(the_descriptor_wins),
        cmocka_unit_test(a_signal_handler_may_set_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
