/* All the independent mistakes of a plan at once:  plan.yaml:14:11: faults[1].latency.dela: unknown
 * key, did you mean 'delay'? */
#ifndef BASE_DIAG_H
#define BASE_DIAG_H

#include "base/doc.h"
#include "base/err.h"

#define DIAG_MAX 50 /* more are counted, not kept */

struct diag {
    struct buf text; /* one line per mistake */
    unsigned n;      /* how many there were, also those past DIAG_MAX */
};

void diag_init(struct diag *d);
void diag_done(struct diag *d);
/* `at` gives file, line, column and path; NULL for a mistake of no place. */
void diag_add(struct diag *d, const struct doc *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same, pointing at the key of `at` instead of its value. */
void diag_add_key(struct diag *d, const struct doc *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* For parsers that know a place but have no node yet. */
void diag_add_at(struct diag *d, const char *source, uint32_t line, uint32_t col, const char *fmt,
                 ...) PRINTF_LIKE(5, 6);

#endif
