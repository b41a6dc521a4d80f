/* See err.h. */
#include "base/err.h"

#undef err_set /* for the analyzer these are macros */
#undef err_sys
#undef err_wrap

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static PRINTF_LIKE(4, 0) int fill(struct err *err, enum err_kind kind, int code, const char *fmt,
                                  va_list ap)
{
    int known = code ? abs(code) : EIO;

    if (!err)
        return -known;
    err->kind = kind;
    err->code = known;
    vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    return -known;
}

int err_set(struct err *err, enum err_kind kind, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int rc = fill(err, kind, code, fmt, ap);
    va_end(ap);
    return rc;
}

int err_sys(struct err *err, enum err_kind kind, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int rc = fill(err, kind, code, fmt, ap);
    va_end(ap);
    if (err) {
        char reason[128];
        size_t used = strlen(err->msg);
        snprintf(err->msg + used, sizeof(err->msg) - used, ": %s",
                 strerror_r(err->code, reason, sizeof(reason)));
    }
    return rc;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    char after[ERR_MSG_MAX];
    va_list ap;

    if (!err)
        return -EIO;
    memcpy(after, err->msg, sizeof(after));
    va_start(ap, fmt);
    int n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    va_end(ap);
    size_t used = n < 0 ? 0 : MIN((size_t)n, sizeof(err->msg) - 1);
    snprintf(err->msg + used, sizeof(err->msg) - used, ": %.*s",
             (int)(sizeof(err->msg) - used > 3 ? sizeof(err->msg) - used - 3 : 0), after);
    return err->code ? -err->code : -EIO;
}

void err_clear(struct err *err)
{
    if (err)
        *err = (struct err){ 0 };
}

const char *err_kind_name(enum err_kind kind)
{
    static const char *const names[] = {
        [ERR_NONE] = "",           [ERR_GENERIC] = "generic", [ERR_USAGE] = "usage",
        [ERR_TARGET] = "target",   [ERR_PREPARE] = "prepare", [ERR_INJECT] = "inject",
        [ERR_REVERT] = "revert",   [ERR_PROBE] = "probe",     [ERR_TIMEOUT] = "timeout",
        [ERR_ABORTED] = "aborted", [ERR_LIMIT] = "limit",
    };
    _Static_assert(ARRAY_LEN(names) == ERR_KIND_MAX, "every kind has a name");

    return names[kind];
}
