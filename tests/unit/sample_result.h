/* A run that never was, with all that a report must be able to show: phases, faults that were felt
 * and not, failures of several classes, thresholds of every state, names that attack. Always the
 * same. */
#ifndef TESTS_UNIT_SAMPLE_RESULT_H
#define TESTS_UNIT_SAMPLE_RESULT_H

#include "campaign/observer.h"

#define HOSTILE_NAME \
    "</script><img src=x onerror=\"document.title='owned'\">&\"'|,`*_\n\033[31m\xff"

struct sample_second {
    struct result_row row;
    struct row *rows;
    size_t n;
};

struct sample_run {
    struct result *r;
    struct sample_second *seconds;
    size_t n_seconds;
};

void sample_init(struct sample_run *s);
void sample_done(struct sample_run *s);
/* Plays the run to an observer as a campaign would, up to `seconds`; the end too when all. */
int sample_play(const struct sample_run *s, const struct observer *o, size_t seconds,
                struct err *err);

#endif
