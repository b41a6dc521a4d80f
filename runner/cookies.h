/* A user's cookies, by RFC 6265 as far as a load tool needs: host-only and domain cookies, path,
 * Secure, Max-Age and Expires. No public suffix list: a cookie for a bare top-level name ("com") is
 * refused, one for "co.uk" is not. Of one thread.
 *
 * Memory is taken with the first cookie; a jar without one is a NULL pointer. */
#ifndef RUNNER_COOKIES_H
#define RUNNER_COOKIES_H

#include "base/mem.h"

#define COOKIES_MAX 50  /* per user; the oldest goes */
#define COOKIE_MAX 4096 /* name and value; a longer one is ignored */
#define COOKIE_HEADER_MAX 16384

struct cookies { /* zeroed: empty */
    struct cookie_list *list;
};

/* One Set-Cookie value, from an answer of `host` ("127.0.0.1", without port) to a request for
 * `path`. What is malformed or not allowed is ignored, as browsers do. */
void cookies_store(struct cookies *c, const char *host, const char *path, const char *set_cookie,
                   size_t len, uint64_t now_s);
/* All Set-Cookie headers of an answer's head. */
void cookies_store_head(struct cookies *c, const char *host, const char *path, const char *head,
                        size_t head_len, uint64_t now_s);
/* Adds "Cookie: a=1; b=2\r\n" when some match; returns how many did. */
unsigned cookies_header(const struct cookies *c, const char *host, const char *path, bool secure,
                        uint64_t now_s, struct buf *out);
static inline bool cookies_is_empty(const struct cookies *c)
{
    return !c->list;
}
void cookies_done(struct cookies *c);

#endif
