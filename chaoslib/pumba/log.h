/* What a Pumba wrote with --json --log-level debug: lines of JSON by logrus. It says what Pumba is
 * about to do and why it gave up; when something took effect only the engine's events say. */
#ifndef CHAOSLIB_PUMBA_LOG_H
#define CHAOSLIB_PUMBA_LOG_H

#include "base/err.h"

#define PUMBA_LOG_MAX ((size_t)16 << 20)

struct pumba_log {
    size_t n_lines, n_broken; /* lines; those that are no JSON */
    size_t n_found_nothing;   /* times that no container matched */
    size_t n_skipped;         /* errors that --skip-error let pass */
    char fatal[300];          /* why it gave up; "" when it did not */
    char warning[300];        /* the last one that is neither of the above */
};

void pumba_log_read(const char *text, size_t len, struct pumba_log *ret);

#endif
