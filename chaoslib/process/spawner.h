/* A thread that starts processes for others, because a child with a parent-death signal dies with
 * the thread that spawned it. Inside chaoslib only. */
#ifndef CHAOSLIB_PROCESS_SPAWNER_H
#define CHAOSLIB_PROCESS_SPAWNER_H

#include "base/proc.h"

struct spawner;

struct spawner *spawner_new(void);
/* proc_spawn on the spawner's thread; blocks, one at a time, from any thread. */
int spawner_spawn(struct spawner *s, const struct proc_spawn_opts *opts, struct proc_id *ret,
                  struct err *err) MUST_CHECK;
void spawner_free(struct spawner *s); /* ends the thread, and with it what dies with its parent */

#endif
