/* A helper: a single-threaded process of the same binary (`chaos-load helper ROLE`, hidden) that
 * holds a fault where we cannot: in another network namespace, in a target's cgroup, or as the hog
 * itself.
 *
 * It ends when we do, whatever happens to us: its control socket then reads end-of-file, and
 * PR_SET_PDEATHSIG kills it when the thread that started it is gone. So a fault that is held by a
 * kernel object of the helper (a netlink socket, a queue, a file without a name) ends by
 * construction. What outlives the helper belongs into the journal. */
#ifndef CHAOSLIB_HELPER_H
#define CHAOSLIB_HELPER_H

#include "chaoslib/wait.h"
#include "edge/json.h"

#define HELPER_FDS_MAX 8
#define HELPER_MSG_MAX ((size_t)64 << 10)
/* How long past its planned end a fault may last when the run hangs (stopped by SIGSTOP). */
#define HELPER_TTL_MARGIN_NS (10 * NS_PER_SEC)

/* ---- our side ---- */
struct helper;

struct helper_opts {
    const char *role;
    const struct json *spec; /* what it is to do */
    const int *fds;          /* passed along; the helper gets copies */
    size_t n_fds;            /* at most HELPER_FDS_MAX */
    uint64_t timeout_ns;     /* for its first answer */
};

/* Starts it and hands it the spec; returns its first answer in *ret_reply (may be NULL; the caller
 * frees). An answer with "error" is an ERR_INJECT error. On the fault's thread, which must outlive
 * the helper. NULL: nothing was started. */
struct helper *helper_start(const struct helper_opts *opts, struct json **ret_reply,
                            struct err *err);
/* One question, one answer. With "ttl_ms" in it the kernel ends the helper so much later. */
int helper_ask(struct helper *h, const struct json *question, uint64_t timeout_ns,
               struct json **ret_reply, struct err *err) MUST_CHECK;
bool helper_is_alive(const struct helper *h);
pid_t helper_pid(const struct helper *h);
/* Closes the control socket, waits, SIGKILL when it takes longer; reaped when it returns. Its last
 * words, if any, in *ret_last (may be NULL). Idempotent by NULL. */
void helper_stop(struct helper *h, uint64_t timeout_ns, struct json **ret_last);

/* ---- the helper's side ---- */
#define HELPER_FD 3 /* the control socket; each message is one JSON object in one packet */

/* What a role gets. Its run() does its work and serves questions until helper_next says that it is
 * over, undoes everything, and returns the exit code. */
struct helper_job {
    struct json *spec;
    int fds[HELPER_FDS_MAX];
    size_t n_fds;
};
struct helper_role {
    const char *name;
    int (*run)(struct helper_job *job);
};
extern const struct helper_role *const helper_roles[]; /* NULL-terminated; helper_roles.c */

/* 0 a question came (the caller frees it), 1 it is over, 2 `until_ns` came (0: never) first. Roles
 * with a poll loop of their own poll HELPER_FD for reading and then call it. */
int helper_next(uint64_t until_ns, struct json **ret_question);
void helper_reply(const struct json *reply);
void helper_reply_ok(void);
void helper_reply_error(const struct err *err);
/* The body of the hidden verb. */
int helper_main(const char *role);

#endif
