/* The clocks of one process of the plan: it and what it starts are started with an object preloaded
 * that looks at a page of ours. Page and object are memory of ours, reached by /proc/<pid>/fd: no
 * file is left when we die. */
#ifndef CHAOSLIB_CLOCK_SKEW_H
#define CHAOSLIB_CLOCK_SKEW_H

#include "base/err.h"
#include "base/proc.h"
#include "chaoslib/clock/page.h"

struct skew;

struct skew *skew_new(struct err *err);
void skew_free(struct skew *s);
/* For the environment of the process: "/proc/4711/fd/9". */
const char *skew_object(const struct skew *s); /* LD_PRELOAD */
const char *skew_page(const struct skew *s);   /* CLOCK_PAGE_ENV */

/* From any thread; the process sees it at its next look at a clock. From until_ns on it sees the
 * true time again, whatever has become of us. -EBUSY: it is set already. */
int skew_set(struct skew *s, int64_t offset_ns, unsigned clocks, uint64_t until_ns,
             struct err *err) MUST_CHECK;
void skew_clear(struct skew *s);
bool skew_is_set(const struct skew *s); /* and has not expired */

/* Does that process have the page? If it has not, `err` says why it cannot, or that it did not. */
int skew_check(const struct skew *s, pid_t pid, struct err *err) MUST_CHECK;

/* Why the program in this file would not notice: it links nothing at run time, it is Go. NULL: it
 * would. The pure part of skew_check. */
const char *program_ignores_preload(const unsigned char *elf, size_t len);

#endif
