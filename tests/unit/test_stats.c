/* Statistics: which request enters which distribution, and that deltas add up to the whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "runner/stats.h"

#define MS NS_PER_MS

static struct sample sample_of(enum fail_class fail)
{
    return (struct sample){ .task = 0,
                            .fail = fail,
                            .status = 200,
                            .sched = 1000 * MS,
                            .start = 1001 * MS,
                            .send = 1003 * MS,
                            .first = 1010 * MS,
                            .done = 1020 * MS,
                            .stage_ns = { [STAGE_WAIT] = 7 * MS, [STAGE_TRANSFER] = 10 * MS },
                            .bytes_in = 100,
                            .bytes_out = 50 };
}

static void test_a_success_enters_all_but_failed(void **state)
{
    struct cell *c = cell_new();
    struct sample s = sample_of(FAIL_NONE);

    (void)state;
    cell_record(c, &s);
    assert_int_equal(c->n_ok, 1);
    assert_int_equal(c->n_fail, 0);
    assert_int_equal(c->response.max_ns, 20 * MS);
    assert_int_equal(c->service.max_ns, 17 * MS);
    assert_int_equal(c->lag.max_ns, 3 * MS);
    assert_int_equal(c->lateness.max_ns, 1 * MS);
    assert_int_equal(c->failed.count, 0);
    assert_int_equal(c->stages[STAGE_WAIT].max_ns, 7 * MS);
    assert_int_equal(c->stages[STAGE_TRANSFER].max_ns, 10 * MS);
    assert_int_equal(c->stages[STAGE_CONNECT].count, 0);
    assert_int_equal(c->reused, 1);
    assert_int_equal(c->statuses[200], 1);
    assert_int_equal(c->bytes_in, 100);
    assert_int_equal(c->bytes_out, 50);
    assert_int_equal(c->first_fail_ns, 0);
    cell_free(c);
}

static void test_where_a_failure_goes(void **state)
{
    (void)state;
    for (unsigned fail = FAIL_NONE + 1; fail < FAIL_CLASS_MAX; fail++) {
        struct cell *c = cell_new();
        struct sample s = sample_of((enum fail_class)fail);
        bool censored = fail_class_is_censored((enum fail_class)fail);

        cell_record(c, &s);
        assert_int_equal(c->n_ok, 0);
        assert_int_equal(c->n_fail, 1);
        assert_int_equal(c->fails[fail], 1);
        assert_int_equal(c->response.count, censored);
        assert_int_equal(c->service.count, censored);
        assert_int_equal(c->failed.count, !censored);
        assert_int_equal(c->stages[STAGE_WAIT].count, censored);
        assert_int_equal(c->first_fail_ns, 1000 * MS);
        assert_int_equal(c->last_fail_ns, 1000 * MS);
        cell_free(c);
    }
}

static void test_only_timeouts_and_interruptions_are_censored(void **state)
{
    static const enum fail_class censored[] = { FAIL_CONNECT_TIMEOUT, FAIL_TLS_TIMEOUT,
                                                FAIL_RESPONSE_TIMEOUT, FAIL_TRANSFER_TIMEOUT,
                                                FAIL_INTERRUPTED };
    unsigned n = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(censored); i++)
        assert_true(fail_class_is_censored(censored[i]));
    for (unsigned c = 0; c < FAIL_CLASS_MAX; c++)
        n += fail_class_is_censored((enum fail_class)c);
    assert_int_equal(n, ARRAY_LEN(censored));
}

static void test_a_request_that_was_never_sent(void **state)
{
    struct cell *c = cell_new();
    struct sample s = sample_of(FAIL_CONNECT_TIMEOUT);

    (void)state;
    s.send = s.first = 0;
    s.status = 0;
    cell_record(c, &s);
    assert_int_equal(c->lag.count, 0);
    assert_int_equal(c->lateness.count, 1);
    assert_int_equal(c->service.max_ns, 19 * MS); /* at least: since it began */
    assert_int_equal(c->response.max_ns, 20 * MS);
    assert_null(c->statuses);
    assert_int_equal(c->reused, 0);
    cell_free(c);
}

static void test_a_dropped_arrival_was_taken_by_nobody(void **state)
{
    struct cell *c = cell_new();
    struct sample s = { .fail = FAIL_DROPPED, .sched = 5 * MS, .start = 5 * MS, .done = 5 * MS };

    (void)state;
    cell_record(c, &s);
    assert_int_equal(c->fails[FAIL_DROPPED], 1);
    assert_int_equal(c->lateness.count, 0);
    assert_int_equal(c->response.count, 0);
    cell_free(c);
}

static void test_stamps_that_run_backwards_count_as_zero(void **state)
{
    struct cell *c = cell_new();
    struct sample s = { .sched = 10, .start = 8, .send = 9, .done = 7 };

    (void)state;
    cell_record(c, &s);
    assert_int_equal(c->response.max_ns, 0);
    assert_int_equal(c->lag.max_ns, 0);
    assert_int_equal(c->response.count, 1);
    cell_free(c);
}

static void test_names_of_classes(void **state)
{
    (void)state;
    for (unsigned c = 1; c < FAIL_CLASS_MAX; c++) {
        assert_true(fail_class_name((enum fail_class)c)[0] != '\0');
        assert_true(strlen(fail_class_help((enum fail_class)c)) > 10);
        assert_int_equal(fail_class_by_name(fail_class_name((enum fail_class)c)), c);
    }
    assert_string_equal(fail_class_name(FAIL_NONE), "");
    assert_int_equal(fail_class_by_name("no such"), FAIL_CLASS_MAX);
    assert_string_equal(fail_class_name(FAIL_CLASS_MAX), "");
    assert_string_equal(stage_name(STAGE_CONNECT), "connect");
}

/* ---- deltas ---- */

static void random_sample(struct rng *r, struct sample *s, uint32_t n_tasks)
{
    uint64_t sched = NS_PER_SEC + rng_below(r, NS_PER_SEC);

    *s = (struct sample){ .task = (uint32_t)rng_below(r, n_tasks),
                          .fail = rng_below(r, 5) ? FAIL_NONE
                                                  : (enum fail_class)rng_below(r, FAIL_CLASS_MAX),
                          .status = (uint16_t)(200 + rng_below(r, 300)),
                          .redirects = (uint16_t)rng_below(r, 3),
                          .sched = sched,
                          .start = sched + rng_below(r, MS),
                          .send = sched + MS + rng_below(r, MS),
                          .done = sched + 2 * MS + rng_below(r, NS_PER_SEC),
                          .bytes_in = rng_below(r, 1000) };
    s->stage_ns[rng_below(r, STAGE_MAX)] = 1 + rng_below(r, MS);
}

static void assert_cells_equal(const struct cell *a, const struct cell *b)
{
    const struct hist *ha[] = { &a->response, &a->service, &a->lag, &a->lateness, &a->failed };
    const struct hist *hb[] = { &b->response, &b->service, &b->lag, &b->lateness, &b->failed };

    assert_int_equal(a->n_ok, b->n_ok);
    assert_int_equal(a->n_fail, b->n_fail);
    assert_int_equal(a->redirects, b->redirects);
    assert_int_equal(a->bytes_in, b->bytes_in);
    assert_int_equal(a->reused, b->reused);
    assert_int_equal(a->first_fail_ns, b->first_fail_ns);
    assert_int_equal(a->last_fail_ns, b->last_fail_ns);
    assert_memory_equal(a->fails, b->fails, sizeof a->fails);
    assert_memory_equal(a->statuses, b->statuses, 600 * sizeof *a->statuses);
    for (size_t i = 0; i < ARRAY_LEN(ha); i++) {
        auto_buf struct buf ta = BUF_INIT(0), tb = BUF_INIT(0);

        hist_encode(ha[i], &ta);
        hist_encode(hb[i], &tb);
        assert_string_equal(buf_str(&ta), buf_str(&tb));
    }
}

static void test_deltas_add_up_to_the_total(void **state)
{
    enum { TASKS = 3, PHASES = 4, N = 20000 };
    struct stats *all = stats_new(TASKS), *total = stats_new(TASKS);
    struct stats *delta[2] = { stats_new(TASKS), stats_new(TASKS) };
    struct rng r;

    (void)state;
    rng_seed(&r, 11, 0);
    for (unsigned i = 0; i < N; i++) {
        struct sample s;
        uint32_t phase = i * PHASES / N;

        random_sample(&r, &s, TASKS);
        stats_record(all, phase, &s);
        stats_record(delta[i % 2], phase, &s);
        if (i % 700 == 0) {
            stats_merge(total, delta[i % 2]);
            stats_clear(delta[i % 2]);
            assert_true(stats_is_empty(delta[i % 2]));
        }
    }
    for (unsigned i = 0; i < 2; i++)
        stats_merge(total, delta[i]);
    for (uint32_t phase = 0; phase < PHASES; phase++) {
        for (uint32_t task = 0; task < TASKS; task++)
            assert_cells_equal(stats_peek(all, phase, task), stats_peek(total, phase, task));
    }
    stats_free(all);
    stats_free(total);
    stats_free(delta[0]);
    stats_free(delta[1]);
}

static void test_clearing_reuses_the_cells_for_any_phase(void **state)
{
    struct stats *s = stats_new(2);
    struct sample x = sample_of(FAIL_NONE);
    struct cell *first = NULL;

    (void)state;
    for (uint32_t phase = 0; phase < STATS_PHASES_MAX; phase++) {
        stats_record(s, phase, &x);
        first = first ? first : stats_cell(s, 0, 0);
        assert_ptr_equal(stats_peek(s, phase, 0), first);
        assert_int_equal(stats_peek(s, phase, 0)->n_ok, 1);
        assert_int_equal(s->first_phase, phase);
        assert_int_equal(s->end_phase, phase + 1);
        stats_clear(s);
        assert_null(stats_peek(s, phase, 0));
    }
    stats_free(s);
}

static void test_the_first_failure_of_a_class_is_kept_in_words(void **state)
{
    struct stats *delta = stats_new(1), *total = stats_new(1);

    (void)state;
    stats_note_example(delta, FAIL_RESET, "GET /", "it was reset");
    stats_note_example(delta, FAIL_RESET, "GET /", "and again");
    stats_merge(total, delta);
    stats_clear(delta);
    stats_note_example(delta, FAIL_STATUS, "GET /x", "status 500");
    stats_merge(total, delta);
    assert_string_equal(total->example[FAIL_RESET], "GET /: it was reset");
    assert_string_equal(total->example[FAIL_STATUS], "GET /x: status 500");
    assert_null(total->example[FAIL_DNS]);
    stats_free(delta);
    stats_free(total);
}

static void test_what_is_out_of_range_harms_nothing(void **state)
{
    struct stats *s = stats_new(1);
    struct sample x = sample_of(FAIL_NONE);

    (void)state;
    x.task = 1;
    stats_record(s, 0, &x);
    assert_true(stats_is_empty(s));
    x.task = 0;
    stats_record(s, UINT32_MAX, &x); /* the last phase takes what comes after it */
    assert_int_equal(stats_peek(s, STATS_PHASES_MAX - 1, 0)->n_ok, 1);
    assert_null(stats_peek(s, STATS_PHASES_MAX, 0));
    assert_null(stats_peek(s, 0, 1));
    stats_free(s);
    stats_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_success_enters_all_but_failed),
        cmocka_unit_test(test_where_a_failure_goes),
        cmocka_unit_test(test_only_timeouts_and_interruptions_are_censored),
        cmocka_unit_test(test_a_request_that_was_never_sent),
        cmocka_unit_test(test_a_dropped_arrival_was_taken_by_nobody),
        cmocka_unit_test(test_stamps_that_run_backwards_count_as_zero),
        cmocka_unit_test(test_names_of_classes),
        cmocka_unit_test(test_deltas_add_up_to_the_total),
        cmocka_unit_test(test_clearing_reuses_the_cells_for_any_phase),
        cmocka_unit_test(test_the_first_failure_of_a_class_is_kept_in_words),
        cmocka_unit_test(test_what_is_out_of_range_harms_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
