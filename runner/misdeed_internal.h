/* A misdeed between the runner and its workers. Included by runner.c, worker files and misdeed.c
 * only. */
#ifndef RUNNER_MISDEED_INTERNAL_H
#define RUNNER_MISDEED_INTERNAL_H

#include <stdatomic.h>

#include "runner/worker.h"

struct misdeed_seat { /* what is posted to one worker */
    struct misdeed *misdeed;
    struct worker *worker;
};

struct misdeed {
    struct misdeed_rule rule;
    struct misdeed *next;
    _Atomic uint64_t threads, requests, in_flight;
    size_t n_seats;
    struct misdeed_seat seats[];
};

struct misdeed *misdeed_new(const struct misdeed_rule *rule, size_t n_workers);
void misdeed_seat(struct misdeed *m, size_t i, struct worker *w);
void misdeed_chain(struct misdeed *m, struct misdeed **head);
void misdeeds_free(struct misdeed *head);
int misdeed_put_on(struct misdeed *m, struct err *err) MUST_CHECK;
int misdeed_take_off(struct misdeed *m, struct err *err) MUST_CHECK;

#endif
