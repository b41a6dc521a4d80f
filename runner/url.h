/* URLs as a load tool meets them: http, https, and unix:/path.sock. Parsed without copying. */
#ifndef RUNNER_URL_H
#define RUNNER_URL_H

#include "base/err.h"

#define URL_HOST_MAX 255
#define URL_UNIX_MAX 107 /* what a socket address holds */
#define URL_BASE_MAX 320 /* "https://<host>:65535", NUL included */

enum url_scheme { URL_HTTP, URL_HTTPS, URL_UNIX };

struct url {
    enum url_scheme scheme;
    const char *host; /* without brackets; the socket's path for unix; not NUL-terminated */
    size_t host_len;
    bool is_ipv6;     /* stood in brackets */
    uint16_t port;    /* never 0; 80 or 443 when none was given; unused for unix */
    const char *rest; /* path and query, as written, without fragment; may be empty */
    size_t rest_len;
};

/* -EINVAL and a sentence with the remedy ("write http://127.0.0.1:5001") when it is none. User
 * names in it are refused: credentials belong in http.basic_auth. `rest` is not looked at. */
int url_parse(const char *text, size_t len, struct url *ret, struct err *err) MUST_CHECK;
bool url_is_absolute(const char *text, size_t len); /* begins with "http://" or "https://" */

/* "http://host:port" with the port always written, "unix:/path": equal for equal origins. */
void url_base(const struct url *u, char out[URL_BASE_MAX]);
/* What the Host header says: the port only when it is not the scheme's. */
void url_host_header(const struct url *u, char out[URL_BASE_MAX]);
/* The host alone, lower case, as cookies compare it. */
void url_host(const struct url *u, char out[URL_HOST_MAX + 1]);

#endif
