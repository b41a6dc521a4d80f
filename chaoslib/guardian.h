/* The guardian: a small process of the same binary that outlives a SIGKILL of the main one and
 * undoes what is open in the journal. It is started before the first injection, in its own session,
 * with SIGINT, SIGTERM and SIGHUP ignored; it learns of our death by end-of-file on a pipe whose
 * only write end we hold.
 *
 * It also reverts a record whose deadline (time to live) passed without its `reverted`, even while
 * we live. */
#ifndef CHAOSLIB_GUARDIAN_H
#define CHAOSLIB_GUARDIAN_H

#include "base/err.h"

struct guardian;

/* Starts `<self> guardian <journal path>`; returns when it said that it is armed. */
struct guardian *guardian_start(const char *journal_path, struct err *err);
/* Secrets an undo may need that must not be in a file (a killed process' environment): kept in its
 * memory. */
int guardian_keep(struct guardian *g, uint64_t seq, const char *key, const void *data, size_t len,
                  struct err *err);
/* A record exists / is closed; deadline in CLOCK_MONOTONIC ns. */
int guardian_arm(struct guardian *g, uint64_t seq, uint64_t deadline_ns,
                 struct err *err) MUST_CHECK;
void guardian_disarm(struct guardian *g, uint64_t seq);
bool guardian_is_alive(const struct guardian *g);
/* Ends it and reaps it; what is still armed, because its revert failed, it tries once more. Close
 * the journal first, so that at no instant a journal is left that nobody watches. */
void guardian_stop(struct guardian *g);
/* The body of the hidden verb `guardian`: fd 3 is the pipe. Returns its exit code. */
int guardian_main(const char *journal_path);

#endif
