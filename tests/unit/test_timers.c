/* Timers of a thread, and the loop's own: order, stopping and setting again from inside, and that
 * what has passed fires at once without starving anything. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "runner/timers.h"

#define MANY 2000

struct fixture {
    struct loop *loop;
    struct timers *timers;
    uint64_t last_ns, early;
    unsigned fired, left;
};

struct item {
    struct timer timer;
    struct fixture *f;
    unsigned again;
};

static void set_up(struct fixture *f)
{
    struct err err = { 0 };

    *f = (struct fixture){ 0 };
    f->loop = loop_new(&err);
    assert_non_null(f->loop);
    f->timers = timers_new(f->loop);
}

static void tear_down(struct fixture *f)
{
    timers_free(f->timers);
    loop_free(f->loop);
}

static void run(struct fixture *f)
{
    struct err err = { 0 };

    assert_int_equal(loop_run(f->loop, &err), 0);
}

static void on_item(struct timer *t)
{
    struct item *i = CONTAINER_OF(t, struct item, timer);
    struct fixture *f = i->f;

    assert_false(timer_is_set(t));
    f->early += clock_now_ns() < t->at_ns;
    assert_true(t->at_ns >= f->last_ns);
    f->last_ns = t->at_ns;
    f->fired++;
    if (--f->left == 0)
        loop_stop(f->loop);
}

static void all_fire_in_order_and_never_early(void **state)
{
    struct fixture f;
    struct rng rng;
    struct item *items = xcalloc(MANY, sizeof(*items));

    (void)state;
    set_up(&f);
    rng_seed(&rng, 1, 1);
    uint64_t now = clock_now_ns() + 5 * NS_PER_MS;
    for (unsigned i = 0; i < MANY; i++) {
        items[i].f = &f;
        timer_set(f.timers, &items[i].timer, now + rng_below(&rng, 50 * NS_PER_MS), on_item);
    }
    /* Half are moved, a quarter is stopped. */
    for (unsigned i = 0; i < MANY; i += 2)
        timer_set(f.timers, &items[i].timer, now + rng_below(&rng, 50 * NS_PER_MS), on_item);
    for (unsigned i = 0; i < MANY; i += 4)
        timer_stop(f.timers, &items[i].timer);
    f.left = MANY - MANY / 4;
    assert_int_equal(timers_count(f.timers), f.left);
    run(&f);
    assert_int_equal(f.fired, MANY - MANY / 4);
    assert_int_equal(f.early, 0);
    assert_int_equal(timers_count(f.timers), 0);
    tear_down(&f);
    free(items);
}

static void timer_by_only_brings_forward(void **state)
{
    struct fixture f;
    struct item i = { .f = &f };

    (void)state;
    set_up(&f);
    timer_by(f.timers, &i.timer, 1000, on_item);
    timer_by(f.timers, &i.timer, 2000, on_item);
    assert_int_equal(i.timer.at_ns, 1000);
    timer_by(f.timers, &i.timer, 500, on_item);
    assert_int_equal(i.timer.at_ns, 500);
    tear_down(&f);
    assert_false(timer_is_set(&i.timer)); /* freeing the set lets go of them */
}

static void on_again(struct timer *t)
{
    struct item *i = CONTAINER_OF(t, struct item, timer);

    i->f->fired++;
    if (--i->again)
        timer_set(i->f->timers, t, 0, on_again);
    else if (--i->f->left == 0)
        loop_stop(i->f->loop);
}

static void one_that_sets_itself_to_the_past_starves_nobody(void **state)
{
    struct fixture f;
    struct item busy = { .f = &f, .again = 100 }, calm = { .f = &f, .again = 1 };

    (void)state;
    set_up(&f);
    f.left = 2;
    timer_set(f.timers, &busy.timer, 0, on_again);
    timer_set(f.timers, &calm.timer, clock_now_ns() + NS_PER_MS, on_again);
    run(&f);
    assert_int_equal(f.fired, 101);
    tear_down(&f);
}

/* ---- the loop itself ---- */

static void count_and_stop(void *arg)
{
    struct fixture *f = arg;

    f->fired++;
    if (--f->left == 0)
        loop_stop(f->loop);
}

static void *post_from_thread(void *arg)
{
    struct fixture *f = arg;

    for (unsigned i = 0; i < MANY; i++)
        loop_post(f->loop, count_and_stop, f);
    return NULL;
}

static void every_post_of_every_thread_arrives(void **state)
{
    struct fixture f;
    pthread_t threads[4];

    (void)state;
    set_up(&f);
    f.left = 4 * MANY;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_from_thread, &f), 0);
    run(&f);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(f.fired, 4 * MANY);
    tear_down(&f);
}

static void loop_timers_fire_in_order_of_arming(void **state)
{
    struct fixture f;
    struct loop_timer *t[3];

    (void)state;
    set_up(&f);
    f.left = 2;
    for (unsigned i = 0; i < 3; i++)
        t[i] = loop_timer_new(f.loop, count_and_stop, &f);
    uint64_t at = clock_now_ns() + 2 * NS_PER_MS;
    loop_timer_at(t[0], at + 2 * NS_PER_MS);
    loop_timer_at(t[1], at);
    loop_timer_at(t[2], at);
    loop_timer_stop(t[1]);
    run(&f);
    assert_int_equal(f.fired, 2);
    assert_true(clock_now_ns() >= at + 2 * NS_PER_MS);
    for (unsigned i = 0; i < 3; i++)
        loop_timer_free(t[i]);
    tear_down(&f);
}

struct watcher {
    struct fixture *f;
    struct loop_io *io;
    int fd;
    unsigned seen;
};

static void on_events(void *arg, unsigned events)
{
    struct watcher *w = arg;
    char c;

    w->seen |= events;
    if (events & LOOP_WRITE) {
        loop_io_set(w->io, LOOP_READ); /* not asked for any more: must not come again */
        return;
    }
    assert_int_equal(read(w->fd, &c, 1), 1);
    loop_io_free(w->io); /* from inside its own event */
    loop_stop(w->f->loop);
}

static void watchers_tell_what_is_watched(void **state)
{
    struct fixture f;
    struct watcher w = { .f = &f };
    int pair[2];

    (void)state;
    set_up(&f);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    w.fd = pair[0];
    w.io = loop_io_new(f.loop, pair[0], LOOP_READ | LOOP_WRITE, on_events, &w);
    assert_int_equal(write(pair[1], "x", 1), 1);
    run(&f);
    assert_true(w.seen & LOOP_READ);
    close(pair[0]);
    close(pair[1]);
    tear_down(&f);
}

static void a_stop_from_before_the_run_counts(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    loop_stop(f.loop);
    run(&f);
    loop_post(f.loop, count_and_stop, &f); /* dropped by loop_free */
    tear_down(&f);
    assert_int_equal(f.fired, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_fire_in_order_and_never_early),
        cmocka_unit_test(timer_by_only_brings_forward),
        cmocka_unit_test(one_that_sets_itself_to_the_past_starves_nobody),
        cmocka_unit_test(every_post_of_every_thread_arrives),
        cmocka_unit_test(loop_timers_fire_in_order_of_arming),
        cmocka_unit_test(watchers_tell_what_is_watched),
        cmocka_unit_test(a_stop_from_before_the_run_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
