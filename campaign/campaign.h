/* A campaign: plan + one clock + load + faults + observers → verdict. */
#ifndef CAMPAIGN_CAMPAIGN_H
#define CAMPAIGN_CAMPAIGN_H

#include "campaign/observer.h"

/* Exit codes of a run. */
enum exit_code {
    EXIT_PASS = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_COULD_NOT_RUN = 3,
    EXIT_INVALID = 4,
    EXIT_INTERRUPTED = 130
};

struct campaign_opts {
    const struct plan *plan;
    struct observer *const *observers; /* NULL-terminated; not owned */
    const char *trace_path;
    const char *out_dir;   /* logs of child processes go there; NULL */
    const char *self_path; /* our own binary: guardian, embedded target */
};

/* Runs to the end, blocking. SIGINT and SIGTERM are taken over meanwhile: once stops load, reverts
 * all and reports; twice reverts at once. Returns the exit code; *ret (never NULL) is owned by the
 * caller. */
int campaign_run(const struct campaign_opts *opts, struct result **ret, struct err *err);

#endif
