/* The process that a fault hits: resolved once, and from then on meant by a pidfd, so that no
 * signal can reach someone who was given the same number. Inside chaoslib only. */
#ifndef CHAOSLIB_PROCESS_TARGET_H
#define CHAOSLIB_PROCESS_TARGET_H

#include "chaoslib/wait.h"

struct target {
    const char *name; /* borrowed; "" when it comes from a journal */
    struct proc_id id;
    int pidfd;
    bool is_child; /* of ours: it dies with us, so nobody else needs to undo anything */
};

/* Resolves `name` and fills r->target. */
int target_open(struct fault_run *r, const char *name, struct target *ret,
                struct err *err) MUST_CHECK;
void target_close(struct target *t);

/* Into and out of the journal. target_read: 0, or 1 when it is gone. */
void target_write(const struct target *t, struct json *record);
int target_read(const struct json *record, struct target *ret, struct err *err) MUST_CHECK;

bool target_is_gone(const struct target *t);
/* 0 sent, 1 it is gone. */
int target_signal(const struct target *t, int signo, struct err *err) MUST_CHECK;
/* WAIT_READY: it is gone. */
enum wait_answer target_wait_gone(const struct target *t, const struct latch *l, uint64_t mono_ns);

/* "TERM", "SIGTERM", "15"; 0: no such signal. */
int signal_number(const char *text);
const char *signal_name(int signo); /* "SIGTERM" */

#endif
