/* Looking for running processes in /proc. Inside chaoslib only. */
#ifndef CHAOSLIB_PROCESS_FIND_H
#define CHAOSLIB_PROCESS_FIND_H

#include "base/proc.h"

/* The one process whose joined argv matches the regex; whose command or script is `name`. Never us,
 * never pid 1, never a process that we descend from, never a guardian. */
int process_find_command(const char *name, const char *regex, struct proc_id *ret,
                         struct err *err) MUST_CHECK;
int process_find_name(const char *name, struct proc_id *ret, struct err *err) MUST_CHECK;
/* The same, for a pid that was named outright: only ourselves and pid 1 are refused. */
int process_find_pid(const char *name, pid_t pid, struct proc_id *ret, struct err *err) MUST_CHECK;
int process_find_pidfile(const char *name, const char *path, struct proc_id *ret,
                         struct err *err) MUST_CHECK;

/* Calls fn for each number that names an entry of a folder (processes of /proc, threads of a task
 * folder), until it returns false. Negative: the folder cannot be read. */
typedef bool process_each_fn(void *arg, pid_t pid);
int process_each(const char *path, process_each_fn *fn, void *arg) MUST_CHECK;

/* Field n (from 1) of /proc/PID/stat as a number; fields after the name only (n >= 4). 0 when gone.
 */
uint64_t process_stat_field(pid_t pid, unsigned n);
/* argv joined by blanks, cut to `max` bytes with "…"; "" when gone. */
void process_command_text(pid_t pid, size_t max, struct buf *out);

#endif
