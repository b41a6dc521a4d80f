/* The date of a cookie's Expires, which comes in more shapes than RFC 9110's (RFC 6265, 5.1.1). */
#ifndef RUNNER_COOKIE_DATE_H
#define RUNNER_COOKIE_DATE_H

#include "base/defs.h"

/* Seconds since the epoch; a date before it is 0. False when it is no date. */
bool cookie_date(const char *s, size_t len, uint64_t *ret_s);

#endif
