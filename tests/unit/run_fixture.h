/* A run against the small server, for tests of the runner: set up, load added by the test, begin,
 * collect, end. */
#ifndef TESTS_UNIT_RUN_FIXTURE_H
#define TESTS_UNIT_RUN_FIXTURE_H

#include "base/clock.h"
#include "load_sample.h"
#include "runner/runner.h"
#include "tiny_server.h"

#define S NS_PER_SEC
#define MS NS_PER_MS

struct fixture {
    struct load_sample s;
    struct tiny_server *server;
    struct runner *runner;
    struct stats *total;
    struct runner_status status;
    uint64_t start_ns;
};

/* One class "web" at the server; tasks and load are added by each test. */
struct user_class *set_up(struct fixture *f);
/* Closed: `users` at once, without an end but the iterations. */
struct load_plan_part *closed_load(struct fixture *f, double users, uint64_t iterations);
struct load_plan_part *open_load(struct fixture *f, double rate, uint64_t duration_ns);

void begin(struct fixture *f);
void begin_traced(struct fixture *f, const char *trace_path);
void collect(struct fixture *f);
void collect_until_done(struct fixture *f);
void end(struct fixture *f); /* stops runner and server; the figures stay */
void run_to_end(struct fixture *f);
void tear_down(struct fixture *f);

/* Over all phases and tasks. */
uint64_t sum_ok(const struct fixture *f);
uint64_t sum_fails(const struct fixture *f, enum fail_class class);

#endif
