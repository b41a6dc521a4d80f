/* One error, with a sentence. Caller-owned, fixed size, never allocates; a zeroed one means "none".
 *
 * A function that can fail returns int and takes `struct err *err` last: 0 is success, negative is
 * failure (a -errno, and *err is set), positive is a documented answer of that function. Set once
 * at the origin, wrapped on the way up. `err` may be NULL where the caller does not want the
 * sentence. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/defs.h"

#define ERR_MSG_MAX 400

/* What kind of step failed. The exit code and Litmus' failStep are computed from it. */
enum err_kind {
    ERR_NONE,
    ERR_GENERIC,
    ERR_USAGE,   /* command line or plan: exit 2 */
    ERR_TARGET,  /* a target selection matched nothing, or too much */
    ERR_PREPARE, /* what a fault or a run needs is not there */
    ERR_INJECT,
    ERR_REVERT,
    ERR_PROBE,
    ERR_TIMEOUT,
    ERR_ABORTED,
    ERR_LIMIT, /* a named maximum was passed */
    ERR_KIND_MAX
};

struct err {
    enum err_kind kind;
    int code; /* positive errno */
    char msg[ERR_MSG_MAX];
};

/* Sets the error and returns -code (-EIO when code is 0), so that `return err_set(...)` is one
 * line. Messages: lower case, no full stop, the value in single quotes, the remedy when there is
 * one. */
int err_set(struct err *err, enum err_kind kind, int code, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Like err_set, with ": <strerror(code)>" at the end. */
int err_sys(struct err *err, enum err_kind kind, int code, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Puts "<what I was doing>: " in front of what is there; returns the same negative code. */
int err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

#ifdef __clang_analyzer__
/* Tells the analyzer, which does not see into err.c, what the contract says: never 0, never above.
 */
static inline int err_negative(int rc)
{
    return rc < 0 ? rc : -1;
}
#define err_set(...) err_negative((err_set)(__VA_ARGS__))
#define err_sys(...) err_negative((err_sys)(__VA_ARGS__))
#define err_wrap(...) err_negative((err_wrap)(__VA_ARGS__))
#endif

void err_clear(struct err *err);
static inline bool err_is_set(const struct err *err)
{
    return err->kind != ERR_NONE;
}

/* Says, greppably, that a failure is of no consequence here, and why. */
static inline void err_ignore(int rc, const char *why)
{
    (void)rc;
    (void)why;
}

const char *err_kind_name(enum err_kind kind); /* "usage", "target", ... */

#endif
