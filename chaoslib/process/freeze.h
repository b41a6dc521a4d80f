/* Stopping all threads of a process by ptrace. The kernel lets them run again when the thread that
 * called freeze_start ends, however it ends: a SIGKILL of us is a revert. Inside chaoslib only. */
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

/* 'T' or 't' in all its threads. */
bool process_is_stopped(pid_t pid);

#endif
