/* Starting a process again that was not started by us: what /proc told before it ended. Inside
 * chaoslib only. */
#ifndef CHAOSLIB_PROCESS_REVIVAL_H
#define CHAOSLIB_PROCESS_REVIVAL_H

#include "base/proc.h"
#include "edge/json.h"

struct revival {
    char **argv;   /* one block */
    char *program; /* where argv[0], a bare name, was found; NULL when argv[0] is a path itself */
    char *env;     /* "A=1\0B=2\0": as /proc has it; NULL: unknown, a minimal one is used */
    size_t env_len;
    char *cwd;
    char *log;            /* the file its output went to; NULL when it was none */
    uint64_t since_ticks; /* whoever runs the same command and began after this, replaces it */
};

/* Reads all of it, and refuses what could not be started as it was. */
int revival_read(const struct proc_id *id, struct revival *ret, struct err *err) MUST_CHECK;
void revival_done(struct revival *v);

/* Without the environment, which may hold secrets. */
void revival_write(const struct revival *v, struct json *record);
/* The environment comes from record's "kept.env", as hex. */
int revival_from(const struct json *record, struct revival *ret, struct err *err) MUST_CHECK;

/* 0 started; 1 it runs again already (a supervisor, or an undo that was cut short). */
int revival_start(const struct revival *v, struct proc_id *ret, struct err *err) MUST_CHECK;

#endif
