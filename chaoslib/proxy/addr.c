/* Where a proxy listens and where it leads: texts to addresses, and the socket that keeps a port
 * ours even while connections to it are refused. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "chaoslib/proxy/internal.h"

#define ORIGINAL_DST 80 /* SO_ORIGINAL_DST, whose header does not go with netdb.h's; IPv6's too */

static int parse_unix(const char *path, struct proxy_addr *ret, struct err *err)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    size_t n = strlen(path);

    if (n == 0 || n >= sizeof un.sun_path)
        return err_set(err, ERR_USAGE, ENAMETOOLONG, "'unix:%s': the path is empty or too long",
                       path);
    memcpy(un.sun_path, path, n + 1);
    memcpy(&ret->sa, &un, sizeof un);
    ret->len = sizeof un;
    return 0;
}

/* Splits "[::1]:80" and "host:80" into two texts inside `copy`. */
static bool split_host(char *copy, char **host, char **port)
{
    char *colon = strrchr(copy, ':');

    if (!colon || !colon[1])
        return false;
    *colon = '\0';
    *port = colon + 1;
    *host = copy;
    size_t n = strlen(copy);
    if (n > 2 && copy[0] == '[' && copy[n - 1] == ']') {
        copy[n - 1] = '\0';
        *host = copy + 1;
        return true;
    }
    return n > 0 && !strchr(copy, ':');
}

int proxy_addr_parse(const char *text, struct proxy_addr *ret, struct err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    char *host, *port;

    *ret = (struct proxy_addr){ 0 };
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, ret, err);
    auto_free char *copy = xstrdup(text);
    if (!split_host(copy, &host, &port))
        return err_set(err, ERR_USAGE, EINVAL,
                       "'%s' is not an address; write it as 127.0.0.1:8080, [::1]:8080 or "
                       "unix:/path",
                       text);
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0)
        return err_set(err, ERR_USAGE, EINVAL, "'%s': %s", text, gai_strerror(rc));
    memcpy(&ret->sa, found->ai_addr, found->ai_addrlen);
    ret->len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static int bound_socket(const struct proxy_addr *a, const char *text, int *ret_fd, struct err *err)
{
    int one = 1;
    auto_close int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return err_sys(err, ERR_PREPARE, errno, "socket for '%s'", text);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(fd, (const struct sockaddr *)&a->sa, a->len) < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot listen on '%s'", text);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

/* A port that the kernel picked is given back when a socket stops listening; one that was asked for
 * by number is kept. So a picked port is bound a second time, by number, before the first binding
 * is let go. */
int proxy_addr_bind(const struct proxy_addr *a, const char *text, int *ret_fd, struct err *err)
{
    struct proxy_addr got = { .len = sizeof got.sa };
    int first;

    if (a->sa.ss_family != AF_INET && a->sa.ss_family != AF_INET6)
        return err_set(err, ERR_USAGE, EINVAL, "'%s': a proxy listens on a TCP port", text);
    if (bound_socket(a, text, &first, err) < 0)
        return -EIO;
    auto_close int picked = first;
    if (getsockname(picked, (struct sockaddr *)&got.sa, &got.len) < 0)
        return err_sys(err, ERR_PREPARE, errno, "getsockname");
    if (bound_socket(&got, text, ret_fd, err) < 0)
        return -EIO;
    return 0;
}

int proxy_addr_text(int fd, char out[64], struct err *err)
{
    struct sockaddr_storage sa = { 0 };
    socklen_t len = sizeof sa;
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0 ||
        getnameinfo((struct sockaddr *)&sa, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return err_sys(err, ERR_PREPARE, errno, "getsockname");
    int n = snprintf(out, 64, sa.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    return n > 0 && n < 64 ? 0 : err_set(err, ERR_LIMIT, E2BIG, "address '%s' is too long", host);
}

/* A connection that nobody redirected was going to ourselves: passing it on would never end. */
int proxy_addr_original(int fd, struct proxy_addr *ret)
{
    struct proxy_addr self = { .len = sizeof self.sa };

    *ret = (struct proxy_addr){ .len = sizeof ret->sa };
    if (getsockname(fd, (struct sockaddr *)&self.sa, &self.len) < 0)
        return -errno;
    bool v6 = self.sa.ss_family == AF_INET6;
    if (getsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, ORIGINAL_DST, &ret->sa, &ret->len) < 0)
        return -errno;
    return memcmp(&ret->sa, &self.sa,
                  v6 ? offsetof(struct sockaddr_in6, sin6_scope_id)
                     : offsetof(struct sockaddr_in, sin_zero)) == 0
               ? -ELOOP
               : 0;
}

int proxy_addr_probe(const char *text, struct err *err)
{
    struct proxy_addr a;
    struct timeval patience = { .tv_sec = 2 };
    struct linger at_once = { .l_onoff = 1 };

    if (proxy_addr_parse(text, &a, err) < 0)
        return -EINVAL;
    auto_close int fd = socket(a.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(err, ERR_PROBE, errno, "socket");
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (connect(fd, (struct sockaddr *)&a.sa, a.len) == 0)
        return 0;
    if (errno == ECONNREFUSED)
        return 1;
    return err_sys(err, ERR_PROBE, errno, "connect to '%s'", text);
}
