/* Processes: run one by argv (never a shell), know one by pid and start time. */
#ifndef BASE_PROC_H
#define BASE_PROC_H

#include <sys/types.h>

#include "base/err.h"
#include "base/mem.h"

/* A process, safely: a pid alone may be reused, pid plus start time may not. */
struct proc_id {
    pid_t pid;
    uint64_t start_ticks; /* field 22 of /proc/PID/stat */
};

/* 0 when found; 1 when there is no such process (a zombie counts as none). */
int proc_identify(pid_t pid, struct proc_id *ret, struct err *err) MUST_CHECK;
bool proc_is_alive(const struct proc_id *id); /* the same process, and not a zombie */
char proc_state(pid_t pid);                   /* 'R' 'S' 'T' 't' 'Z' ..., 0 when gone */
/* /proc/PID/cmdline split into argv (NULL-terminated, one block, caller frees); NULL when gone or
 * empty. */
char **proc_argv(pid_t pid);
void proc_boot_id(char out[40]); /* "" when the kernel does not tell */

struct proc_spawn_opts {
    const char *const *argv;
    const char *const *env; /* NULL: ours */
    const char *cwd;        /* NULL: ours */
    const char *log_path;   /* stdout and stderr are appended there; NULL: /dev/null */
    int pass_fd;            /* kept open in the child as fd 3 when > 0 */
    bool die_with_parent; /* PR_SET_PDEATHSIG SIGKILL: fires when the *thread* that spawned it ends
                           */
    int death_signal;     /* instead of SIGKILL, for who can clean up after itself; 0: SIGKILL */
    bool new_session;
};

/* Returns the pid. Failure to exec is reported here, not by a child that exits 127. */
int proc_spawn(const struct proc_spawn_opts *opts, struct proc_id *ret, struct err *err) MUST_CHECK;

/* Runs to the end: stdout into ret_out (may be NULL, up to its max). Returns the exit status (>= 0;
 * 128+n for a signal), or negative. Killed, and -ETIMEDOUT, after timeout_ms; killed also when the
 * calling thread ends before it. */
int proc_run(const char *const *argv, uint64_t timeout_ms, struct buf *ret_out,
             struct err *err) MUST_CHECK;
/* The same with an environment of its own; NULL: ours. */
int proc_run_env(const char *const *argv, const char *const *env, uint64_t timeout_ms,
                 struct buf *ret_out, struct err *err) MUST_CHECK;

#endif
