/* Stopping all threads of a process by ptrace; of a child of ours, all that it started too. The
 * kernel lets them run again when the thread that called freeze_start ends, however it ends: a
 * SIGKILL of us is a revert. Inside chaoslib only. */
#ifndef CHAOSLIB_PROCESS_FREEZE_H
#define CHAOSLIB_PROCESS_FREEZE_H

#include "chaoslib/process/target.h"

struct freeze;

/* All threads are stopped when it returns. NULL: nothing is changed. */
struct freeze *freeze_start(const struct target *t, struct err *err);
/* On the same thread. Idempotent; also when the target is gone. */
void freeze_end(struct freeze *f);
/* Lets the target's parent learn that it is dead: a traced process that died is reported to its
 * tracer first. */
void freeze_bury(struct freeze *f);

/* 'T' or 't' in all its threads; for a child of ours, of all its session. */
bool target_is_stopped(const struct target *t);
/* To the process; to all the session of a child of ours. 0 sent, 1 it is gone. */
int target_signal_all(const struct target *t, int signo, struct err *err) MUST_CHECK;

#endif
