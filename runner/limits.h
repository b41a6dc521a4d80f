/* What this machine allows, held against what a plan wants, before anything is sent: open files,
 * local ports, memory. What may be raised is raised; what cannot work is an error with the remedy.
 */
#ifndef RUNNER_LIMITS_H
#define RUNNER_LIMITS_H

#include "runner/plan.h"

/* Sentences for the user, in order; `v` is NULL-terminated once there is one. Zeroed: none. */
struct notes {
    char **v;
    size_t n;
};
void notes_add(struct notes *n, const char *fmt, ...) PRINTF_LIKE(2, 3);
void notes_done(struct notes *n);

/* The machine as it is; a test gives one of its own. */
struct machine {
    uint64_t files_soft, files_hard; /* RLIMIT_NOFILE */
    uint64_t ports;                  /* ephemeral ports of one local address */
    uint64_t memory_bytes;           /* available */
    uint64_t cpus;                   /* this process may run on */
};
void machine_read(struct machine *m);

/* What the plan may need at most. */
struct demand {
    uint64_t users_closed; /* at the peak */
    uint64_t users_open;   /* that may exist */
    uint64_t threads;
};
void demand_of(const struct load_plan *plan, const struct machine *m, struct demand *ret);

/* Pure: says what is to be done. *ret_files is what the soft limit of open files should become. */
int limits_check(const struct load_plan *plan, const struct machine *m, const struct demand *d,
                 struct notes *notes, uint64_t *ret_files, struct err *err) MUST_CHECK;
/* Raises the soft limit of open files, never lowers it. */
int limits_raise_files(uint64_t files, struct err *err) MUST_CHECK;

/* Sockets of the load have numbers below this. The files above stay free for reports, faults and
 * their undoing, which must work when the load has taken all it can get. */
int limits_socket_end(void);

/* Each of http.source_addresses is one of this machine. */
int limits_sources(const struct load_plan *plan, struct err *err) MUST_CHECK;

/* Each name that the plan sends requests to resolves. */
int limits_resolve(const struct load_plan *plan, struct err *err) MUST_CHECK;

#endif
