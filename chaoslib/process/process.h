/* Processes by name: children the plan starts (`processes:` with run:), or running ones found by
 * pid, pidfile or command. The registry locks itself; fault threads and the campaign share it. */
#ifndef CHAOSLIB_PROCESS_PROCESS_H
#define CHAOSLIB_PROCESS_PROCESS_H

#include "base/param.h"
#include "base/proc.h"

/* One row of the plan's `processes:`; exactly one of run, pid, pidfile, command. */
struct process_plan {
    const char *name;
    struct strs run; /* argv of a child that we start and end */
    const char *cwd;
    struct pairs env; /* added to ours */
    const char *log;  /* file for its output; default: <out>/<name>.log, else /dev/null */
    int64_t pid;
    const char *pidfile;
    const char *command; /* POSIX extended regex over the joined argv of running processes */
    const char *ready; /* "tcp:127.0.0.1:5001" or "http://…/health" (2xx or 3xx); empty: at once */
    uint64_t ready_timeout_ns; /* default 10 s */
    uint64_t stop_grace_ns;    /* SIGTERM, then SIGKILL after; default 5 s */
};
extern const struct param_table process_table;

struct processes;
struct processes *processes_new(const struct process_plan *rows, size_t n);
/* From now on each child is in the journal while it runs, so that its own children do not outlive a
 * SIGKILL of ours. Processes are to be stopped before the journal is closed. */
struct chaos_env;
void processes_guard(struct processes *p, const struct chaos_env *env);
/* Starts all children with run:, waits until they are ready. On failure those started are stopped
 * again. */
int processes_start(struct processes *p, struct err *err) MUST_CHECK;
void processes_stop(struct processes *p); /* children only: SIGTERM, grace, SIGKILL, reaped */
void processes_free(struct processes *p);

/* Whom `name` means right now: a declared row; else, as a convenience, the one running process
 * whose command name (or the script it runs) is `name`. None and several are ERR_TARGET errors that
 * list what was seen. */
int processes_resolve(struct processes *p, const char *name, struct proc_id *ret,
                      struct err *err) MUST_CHECK;
/* For children: start again with the same argv, env, cwd, log. */
int processes_respawn(struct processes *p, const char *name, struct proc_id *ret,
                      struct err *err) MUST_CHECK;
/* Waits for the row's ready check, or only that it lives; `id` dying meanwhile is an error at once.
 * When `hurry` (may be NULL) is set, it no longer waits and only says whether it lives. */
struct latch;
int processes_wait_ready(struct processes *p, const char *name, const struct proc_id *id,
                         struct latch *hurry, struct err *err) MUST_CHECK;
/* A process found by pid was started again by a fault: `name` means this one from now on. */
void processes_adopt(struct processes *p, const char *name, const struct proc_id *id);
/* Before they are started: faults may skew the clocks of that child. Others get NULL from
 * processes_skew; what it returns lives as long as the registry. */
struct skew;
int processes_make_skewable(struct processes *p, const char *name, struct err *err) MUST_CHECK;
struct skew *processes_skew(struct processes *p, const char *name);
bool processes_is_child(struct processes *p, const char *name);
/* While held, an exit of the child is meant (a kill fault) and not an unexpected death. */
void processes_expect_exit(struct processes *p, const char *name, bool expected);
/* A child that died without a fault: its name and a sentence; NULL when none. */
const char *processes_unexpected_exit(struct processes *p);
int process_wait_ready(const char *ready, uint64_t deadline_ns, struct err *err) MUST_CHECK;

#endif
