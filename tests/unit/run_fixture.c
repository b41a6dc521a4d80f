/* See run_fixture.h. */
#include "run_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE_NS (20 * S)

/* One class "web" at the server; tasks and load are added by each test. */
struct user_class *set_up(struct fixture *f)
{
    *f = (struct fixture){ 0 };
    sample_init(&f->s);
    f->server = tiny_server_new();
    snprintf(f->s.target, sizeof f->s.target, "http://127.0.0.1:%u", tiny_server_port(f->server));
    return sample_class(&f->s, "web", 1);
}

void begin_traced(struct fixture *f, const char *trace_path)
{
    struct err err = { 0 };

    f->total = stats_new(f->s.plan.n_series);
    f->runner =
        runner_new(&(struct runner_opts){ .plan = &f->s.plan, .trace_path = trace_path }, &err);
    if (!f->runner)
        fail_msg("%s", err.msg);
    f->start_ns = clock_now_ns();
    if (runner_start(f->runner, f->start_ns, &err) < 0)
        fail_msg("%s", err.msg);
}

void begin(struct fixture *f)
{
    begin_traced(f, NULL);
}

void collect(struct fixture *f)
{
    assert_int_equal(runner_collect(f->runner, f->total, &f->status, 5 * S), 0);
}

void collect_until_done(struct fixture *f)
{
    uint64_t until = clock_now_ns() + PATIENCE_NS;

    do {
        clock_sleep_until(clock_now_ns() + 10 * MS);
        collect(f);
        if (clock_now_ns() > until)
            fail_msg("the load does not end");
    } while (!f->status.all_done);
}

void end(struct fixture *f)
{
    runner_stop(f->runner, 0);
    assert_int_equal(runner_collect(f->runner, f->total, &f->status, 0), 0);
    runner_free(f->runner);
    f->runner = NULL;
    tiny_server_free(f->server);
    f->server = NULL;
}

void tear_down(struct fixture *f)
{
    stats_free(f->total);
}

void run_to_end(struct fixture *f)
{
    begin(f);
    collect_until_done(f);
    end(f);
}

uint64_t sum_ok(const struct fixture *f)
{
    uint64_t n = 0;

    for (uint32_t phase = 0; phase < 8; phase++) {
        for (uint32_t task = 0; task < f->s.plan.n_series; task++) {
            const struct cell *c = stats_peek(f->total, phase, task);

            n += c ? c->n_ok : 0;
        }
    }
    return n;
}

uint64_t sum_fails(const struct fixture *f, enum fail_class class)
{
    uint64_t n = 0;

    for (uint32_t phase = 0; phase < 8; phase++) {
        for (uint32_t task = 0; task < f->s.plan.n_series; task++) {
            const struct cell *c = stats_peek(f->total, phase, task);

            n += c ? c->fails[class] : 0;
        }
    }
    return n;
}

struct load_plan_part *closed_load(struct fixture *f, double users, uint64_t iterations)
{
    struct load_plan_part *p = sample_part(&f->s, LOAD_CLOSED);

    sample_stage(p, 0, users, 0);
    p->iterations = iterations;
    return p;
}

struct load_plan_part *open_load(struct fixture *f, double rate, uint64_t duration_ns)
{
    struct load_plan_part *p = sample_part(&f->s, LOAD_OPEN);

    p->start_value = rate;
    sample_stage(p, duration_ns, rate, 0);
    return p;
}
