/* A command line of Pumba as faults of our own: the text of a plan, with what differs in comments.
 */
#ifndef CHAOSLIB_PUMBA_NATIVE_H
#define CHAOSLIB_PUMBA_NATIVE_H

#include "chaoslib/pumba/args.h"

/* Appends `faults:` and what it needs. An error when there is no equivalent, saying which part. */
int pumba_native(const struct pumba_line *l, struct arena *arena, struct buf *out,
                 struct err *err) MUST_CHECK;

/* RE2 to POSIX extended, where that can be done by writing it otherwise; a leading slash of names
 * is dropped, since here they have none. */
int pumba_pattern(const char *re2, struct buf *out, struct err *err) MUST_CHECK;

/* ---- inside ---- */
struct native {
    const struct pumba_line *line;
    struct arena *arena;
    struct buf notes;  /* "- what differs", line by line */
    struct buf faults; /* list items */
    struct err *err;
};
void native_note(struct native *n, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Begins `- kind: {docker: …`; what follows adds `, key: value`, and native_end closes it. */
void native_begin(struct native *n, const char *kind);
void native_end(struct native *n, uint64_t duration_ns);
/* `text` as a YAML value. */
void native_quote(struct buf *out, const char *text);
int native_net(struct native *n) MUST_CHECK;
int native_stress(struct native *n) MUST_CHECK;

#endif
