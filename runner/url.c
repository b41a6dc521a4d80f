/* One reader of URLs for the plan's target, absolute task URLs and redirects, so that the same text
 * means the same origin everywhere. Strict where a mistake in a plan would otherwise load the wrong
 * host; it never decodes or normalises paths, because what is written is what must be sent. */
#include "runner/url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool starts_with(const char *text, size_t len, const char *prefix)
{
    size_t n = strlen(prefix);

    return len >= n && strncasecmp(text, prefix, n) == 0;
}

bool url_is_absolute(const char *text, size_t len)
{
    return starts_with(text, len, "http://") || starts_with(text, len, "https://");
}

static int not_a_url(const char *text, size_t len, struct err *err)
{
    const char *scheme_end = memchr(text, ':', len);
    int shown = (int)MIN(len, 200);

    if (len == 0)
        return err_set(err, ERR_USAGE, EINVAL, "the URL is empty; write http://host:port");
    if (scheme_end && (size_t)(scheme_end - text) + 3 <= len && memcmp(scheme_end, "://", 3) == 0)
        return err_set(err, ERR_USAGE, EINVAL,
                       "'%.*s': only http://, https:// and unix:/path can be loaded", shown, text);
    return err_set(err, ERR_USAGE, EINVAL, "'%.*s' is not a URL; write http://%.*s", shown, text,
                   shown, text);
}

static bool host_is_good(const char *host, size_t len, bool is_ipv6)
{
    if (len == 0 || len > URL_HOST_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)host[i];

        if (c <= ' ' || c == 0x7f || strchr("<>\"\\^`{}|%#[]", c))
            return false;
        if (is_ipv6 && !strchr("0123456789abcdefABCDEF:.", c))
            return false;
    }
    return true;
}

static int parse_port(const char *text, size_t len, uint16_t *ret, struct err *err)
{
    unsigned port = 0;

    for (size_t i = 0; i < len && port <= UINT16_MAX; i++) {
        if (text[i] < '0' || text[i] > '9')
            port = UINT16_MAX + 1;
        else
            port = port * 10 + (unsigned)(text[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX)
        return err_set(err, ERR_USAGE, EINVAL, "port '%.*s' is not in 1..65535", (int)MIN(len, 20),
                       text);
    *ret = (uint16_t)port;
    return 0;
}

static int bad_ipv6(const char *text, size_t len, struct err *err)
{
    return err_set(err, ERR_USAGE, EINVAL, "'%.*s': an IPv6 address is written [::1]:port",
                   (int)MIN(len, 200), text);
}

/* host, [v6] or host:port */
static int parse_authority(const char *text, size_t len, struct url *u, struct err *err)
{
    const char *end = text + len;
    const char *port = NULL;

    if (memchr(text, '@', len))
        return err_set(err, ERR_USAGE, EINVAL,
                       "a URL with a user name would show in reports; use http.basic_auth");
    if (len > 0 && text[0] == '[') {
        const char *close = memchr(text, ']', len);

        if (!close || (close + 1 < end && close[1] != ':'))
            return bad_ipv6(text, len, err);
        u->is_ipv6 = true;
        u->host = text + 1;
        u->host_len = (size_t)(close - text) - 1;
        port = close + 1 < end ? close + 1 : NULL;
    } else {
        port = memchr(text, ':', len);
        if (port && memchr(port + 1, ':', (size_t)(end - port) - 1))
            return bad_ipv6(text, len, err);
        u->host = text;
        u->host_len = port ? (size_t)(port - text) : len;
    }
    if (!host_is_good(u->host, u->host_len, u->is_ipv6))
        return err_set(err, ERR_USAGE, EINVAL, "'%.*s' is not a host name or address",
                       (int)MIN(len, 200), text);
    u->port = u->scheme == URL_HTTPS ? 443 : 80;
    return port ? parse_port(port + 1, (size_t)(end - port) - 1, &u->port, err) : 0;
}

static int parse_unix(const char *text, size_t len, struct url *u, struct err *err)
{
    *u = (struct url){ .scheme = URL_UNIX, .host = text + 5, .host_len = len - 5, .port = 80 };
    if (u->host_len == 0 || u->host[0] != '/')
        return err_set(err, ERR_USAGE, EINVAL,
                       "'%.*s': a unix socket is written unix:/path/to.sock", (int)MIN(len, 200),
                       text);
    if (u->host_len > URL_UNIX_MAX)
        return err_set(err, ERR_LIMIT, ENAMETOOLONG,
                       "a unix socket path has at most %d characters, this one %zu", URL_UNIX_MAX,
                       u->host_len);
    return 0;
}

int url_parse(const char *text, size_t len, struct url *ret, struct err *err)
{
    struct url u = { 0 };
    size_t skip;
    size_t host_len = 0;
    const char *fragment;
    int rc;

    if (starts_with(text, len, "unix:")) {
        rc = parse_unix(text, len, &u, err);
        if (rc == 0)
            *ret = u;
        return rc;
    }
    if (!url_is_absolute(text, len))
        return not_a_url(text, len, err);
    u.scheme = starts_with(text, len, "https://") ? URL_HTTPS : URL_HTTP;
    skip = u.scheme == URL_HTTPS ? 8 : 7;
    text += skip;
    len -= skip;
    fragment = memchr(text, '#', len);
    if (fragment)
        len = (size_t)(fragment - text);
    while (host_len < len && text[host_len] != '/' && text[host_len] != '?')
        host_len++;
    rc = parse_authority(text, host_len, &u, err);
    if (rc < 0)
        return rc;
    u.rest = text + host_len;
    u.rest_len = len - host_len;
    *ret = u;
    return 0;
}

static void write_host(const struct url *u, bool with_port, const char *prefix,
                       char out[URL_BASE_MAX])
{
    const char *open = u->is_ipv6 ? "[" : "";
    const char *close = u->is_ipv6 ? "]" : "";
    int n;

    if (with_port)
        n = snprintf(out, URL_BASE_MAX, "%s%s%.*s%s:%u", prefix, open, (int)u->host_len, u->host,
                     close, (unsigned)u->port);
    else
        n = snprintf(out, URL_BASE_MAX, "%s%s%.*s%s", prefix, open, (int)u->host_len, u->host,
                     close);
    for (int i = (int)strlen(prefix); i < n && i < URL_BASE_MAX; i++)
        if (out[i] >= 'A' && out[i] <= 'Z')
            out[i] = (char)(out[i] - 'A' + 'a');
}

void url_base(const struct url *u, char out[URL_BASE_MAX])
{
    if (u->scheme == URL_UNIX)
        snprintf(out, URL_BASE_MAX, "unix:%.*s", (int)u->host_len, u->host);
    else
        write_host(u, true, u->scheme == URL_HTTPS ? "https://" : "http://", out);
}

void url_host_header(const struct url *u, char out[URL_BASE_MAX])
{
    uint16_t usual = u->scheme == URL_HTTPS ? 443 : 80;

    if (u->scheme == URL_UNIX)
        snprintf(out, URL_BASE_MAX, "localhost");
    else
        write_host(u, u->port != usual, "", out);
}

void url_host(const struct url *u, char out[URL_HOST_MAX + 1])
{
    char full[URL_BASE_MAX];
    struct url bare = *u;

    bare.is_ipv6 = false;
    if (u->scheme == URL_UNIX)
        snprintf(full, sizeof(full), "localhost");
    else
        write_host(&bare, false, "", full);
    full[URL_HOST_MAX] = '\0';
    memcpy(out, full, strlen(full) + 1);
}
