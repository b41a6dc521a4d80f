/* Is it ready to serve? A connect, or one small GET, again and again until it works. Blocking, with
 * a deadline: it runs in threads that have nothing else to do. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/parse.h"
#include "chaoslib/process/process.h"
#include "chaoslib/process/ready.h"
#include "chaoslib/wait.h"

#define ATTEMPT_NS (2 * NS_PER_SEC)
#define FIRST_PAUSE_NS (2 * NS_PER_MS)
#define LAST_PAUSE_NS (50 * NS_PER_MS)

struct endpoint {
    bool http;
    char host[256], port[8], path[1024];
};

/* ---- what the text says ---- */

static int bad(const char *text, struct err *err)
{
    return err_set(err, ERR_USAGE, EINVAL,
                   "ready: '%s' is neither 'tcp:HOST:PORT' nor 'http://HOST[:PORT]/PATH'", text);
}

static int copy(char *out, size_t size, const char *s, size_t n)
{
    if (n == 0 || n >= size)
        return -1;
    memcpy(out, s, n);
    out[n] = '\0';
    return 0;
}

/* "host:port", "[::1]:port", or without a port when one is the default. */
static int split_host(const char *s, size_t n, const char *port, struct endpoint *ret)
{
    const char *end = s + n, *host = s, *host_end, *colon;
    uint64_t number;

    if (*s == '[') {
        host = s + 1;
        host_end = memchr(s, ']', n);
        colon = host_end && host_end + 1 < end && host_end[1] == ':' ? host_end + 1 : NULL;
        if (!host_end || (!colon && host_end + 1 != end))
            return -1;
    } else {
        colon = memrchr(s, ':', n);
        host_end = colon ? colon : end;
    }
    if (copy(ret->host, sizeof(ret->host), host, (size_t)(host_end - host)) < 0)
        return -1;
    if (colon && copy(ret->port, sizeof(ret->port), colon + 1, (size_t)(end - colon - 1)) < 0)
        return -1;
    if (!colon && (!port || copy(ret->port, sizeof(ret->port), port, strlen(port)) < 0))
        return -1;
    return parse_u64(ret->port, 1, 65535, &number, NULL);
}

static int parse_ready(const char *text, struct endpoint *ret, struct err *err)
{
    const char *s = text;

    *ret = (struct endpoint){ 0 };
    if (strpbrk(text, " \t\r\n"))
        return bad(text, err);
    if (strncmp(s, "tcp:", 4) == 0) {
        s += 4;
        s += strncmp(s, "//", 2) == 0 ? 2 : 0;
        return split_host(s, strlen(s), NULL, ret) < 0 ? bad(text, err) : 0;
    }
    if (strncmp(s, "http://", 7) != 0)
        return bad(text, err);
    s += 7;
    ret->http = true;
    size_t n = strcspn(s, "/?#");
    const char *path = s[n] == '/' ? s + n : "/";
    if (split_host(s, n, "80", ret) < 0 ||
        copy(ret->path, sizeof(ret->path), path, strcspn(path, "#")) < 0)
        return bad(text, err);
    return 0;
}

int process_ready_check(const char *text, struct err *err)
{
    struct endpoint e;

    return parse_ready(text, &e, err);
}

/* ---- one attempt ---- */

static bool wait_socket(int fd, short events, uint64_t deadline_ns)
{
    uint64_t now = clock_now_ns();
    struct pollfd p = { .fd = fd, .events = events };

    if (now >= deadline_ns)
        return false;
    return poll(&p, 1, (int)((deadline_ns - now) / NS_PER_MS) + 1) > 0;
}

static int connect_one(const struct addrinfo *a, uint64_t deadline_ns)
{
    auto_close int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int code = 0;
    socklen_t len = sizeof(code);

    if (fd < 0)
        return -errno;
    if (connect(fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS)
        return -errno;
    if (!wait_socket(fd, POLLOUT, deadline_ns))
        return -ETIMEDOUT;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0 || code)
        return -code;
    return fd_take(&fd);
}

static int connect_to(const struct endpoint *e, uint64_t deadline_ns, struct err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *list;
    int rc = getaddrinfo(e->host, e->port, &hints, &list), fd = -ENOENT;

    if (rc != 0)
        return err_set(err, ERR_TIMEOUT, EHOSTUNREACH, "'%s': %s", e->host, gai_strerror(rc));
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = connect_one(a, deadline_ns);
    freeaddrinfo(list);
    if (fd < 0)
        return err_sys(err, ERR_TIMEOUT, -fd, "connect to %s:%s", e->host, e->port);
    return fd;
}

static int send_get(int fd, const struct endpoint *e, uint64_t deadline_ns)
{
    auto_buf struct buf req = BUF_INIT(4096);
    const char *brackets = strchr(e->host, ':') ? "[]" : "";

    buf_addf(&req, "GET %s HTTP/1.0\r\nHost: %.1s%s%s:%s\r\nUser-Agent: chaos-load\r\n\r\n",
             e->path, brackets, e->host, *brackets ? "]" : "", e->port);
    if (!wait_socket(fd, POLLOUT, deadline_ns))
        return -ETIMEDOUT;
    return send(fd, req.data, req.len, MSG_NOSIGNAL) == (ssize_t)req.len ? 0 : -EPIPE;
}

/* "HTTP/1.x NNN": nothing after it matters. */
static int read_status(int fd, uint64_t deadline_ns)
{
    char head[13] = { 0 };
    size_t have = 0;
    uint64_t status;

    while (have < 12) {
        if (!wait_socket(fd, POLLIN, deadline_ns))
            return -ETIMEDOUT;
        ssize_t n = recv(fd, head + have, 12 - have, 0);
        if (n <= 0)
            return -ECONNRESET;
        have += (size_t)n;
    }
    if (strncmp(head, "HTTP/1.", 7) != 0 || parse_u64(head + 9, 100, 999, &status, NULL) < 0)
        return -EPROTO;
    return (int)status;
}

static int attempt(const struct endpoint *e, uint64_t deadline_ns, struct err *err)
{
    auto_close int fd = connect_to(e, deadline_ns, err);

    if (fd < 0 || !e->http)
        return MIN(fd, 0);
    int status = send_get(fd, e, deadline_ns);
    if (status == 0)
        status = read_status(fd, deadline_ns);
    if (status < 0)
        return err_sys(err, ERR_TIMEOUT, -status, "GET http://%s:%s%s", e->host, e->port, e->path);
    if (status < 200 || status > 399)
        return err_set(err, ERR_TIMEOUT, EAGAIN, "GET http://%s:%s%s answered %d", e->host, e->port,
                       e->path, status);
    return 0;
}

/* ---- until it works ---- */

int process_wait_ready(const char *ready, uint64_t deadline_ns, struct err *err)
{
    struct endpoint e;
    uint64_t pause_ns = FIRST_PAUSE_NS;

    if (!ready || !*ready)
        return 0;
    if (parse_ready(ready, &e, err) < 0)
        return -EINVAL;
    for (;;) {
        uint64_t now = clock_now_ns();
        int rc = attempt(&e, MIN(deadline_ns, now + ATTEMPT_NS), err);
        if (rc == 0 || clock_now_ns() + pause_ns >= deadline_ns)
            return rc < 0 ? err_wrap(err, "not ready in time") : 0;
        clock_sleep_until(clock_now_ns() + pause_ns);
        pause_ns = MIN(2 * pause_ns, LAST_PAUSE_NS);
    }
}
