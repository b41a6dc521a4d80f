/* Peers for the tests of the proxy: plain blocking sockets, so that what a test measures is the
 * proxy's doing. */
#include "proxy_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"

#define CONNS_MAX 512
#define PATIENCE_MS 10000

struct net_server {
    enum net_mode mode;
    size_t bytes;
    int fd;
    char address[128], path[100];
    pthread_t thread, workers[CONNS_MAX];
    int conn_fds[CONNS_MAX];
    atomic_uint n_conns;
    atomic_uint requests;
    atomic_size_t received;
    atomic_bool reset;
};

struct work {
    struct net_server *s;
    int fd;
};

static void say(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        data += n;
        len -= (size_t)n;
    }
}

/* Requests have no body or one with a Content-Length that comes in the same read. */
static void answer_requests(struct net_server *s, int fd, struct buf *in)
{
    char *end;

    while (in->len > 0 && (end = memmem(in->data, in->len, "\r\n\r\n", 4))) {
        char target[100] = "", reply[400];
        const char *length = strcasestr(in->data, "content-length:");
        size_t body = length && length < end ? strtoul(length + 15, NULL, 10) : 0;
        size_t head = (size_t)(end - in->data) + 4;

        if (in->len < head + body)
            return;
        sscanf(in->data, "%*s %99s", target);
        unsigned number = atomic_fetch_add(&s->requests, 1);
        char text[200];
        int n = snprintf(text, sizeof text, "%u %s %.*s", number, target, (int)MIN(body, 50),
                         in->data + head);
        n = snprintf(reply, sizeof reply,
                     "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: \"x\"\r\n\r\n%s", n, text);
        say(fd, reply, (size_t)n);
        buf_consume(in, head + body);
    }
}

static void *serve(void *arg)
{
    struct work *w = arg;
    struct net_server *s = w->s;
    auto_buf struct buf in = BUF_INIT(1 << 20);
    char chunk[16384];
    ssize_t n;

    if (s->mode == NET_SOURCE) {
        char *zeros = xcalloc(1, s->bytes);
        say(w->fd, zeros, s->bytes);
        free(zeros);
        shutdown(w->fd, SHUT_WR);
    }
    while ((n = recv(w->fd, chunk, sizeof chunk, 0)) > 0) {
        atomic_fetch_add(&s->received, (size_t)n);
        if (s->mode == NET_ECHO)
            say(w->fd, chunk, (size_t)n);
        if (s->mode == NET_HTTP) {
            buf_add(&in, chunk, (size_t)n);
            answer_requests(s, w->fd, &in);
        }
    }
    if (n < 0 && errno == ECONNRESET)
        atomic_store(&s->reset, true);
    shutdown(w->fd, SHUT_WR);
    free(w);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct net_server *s = arg;

    for (;;) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC), one = 1;
        if (fd < 0)
            return NULL;
        unsigned i = s->n_conns;
        if (i == CONNS_MAX) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct work *w = xcalloc(1, sizeof *w);
        *w = (struct work){ s, fd };
        s->conn_fds[i] = fd;
        assert_int_equal(pthread_create(&s->workers[i], NULL, serve, w), 0);
        s->n_conns = i + 1;
    }
}

static void bind_unix(struct net_server *s)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };

    snprintf(s->path, sizeof s->path, "/tmp/proxy-test-%d.sock", (int)getpid());
    memcpy(un.sun_path, s->path, strlen(s->path) + 1);
    unlink(s->path);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&un, sizeof un), 0);
    snprintf(s->address, sizeof s->address, "unix:%s", s->path);
}

static void bind_tcp(struct net_server *s)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof in;

    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&in, &len), 0);
    snprintf(s->address, sizeof s->address, "127.0.0.1:%d", ntohs(in.sin_port));
}

struct net_server *net_server_new(enum net_mode mode, size_t bytes, bool on_unix)
{
    struct net_server *s = xcalloc(1, sizeof *s);

    s->mode = mode;
    s->bytes = bytes;
    if (on_unix)
        bind_unix(s);
    else
        bind_tcp(s);
    assert_int_equal(listen(s->fd, 1024), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, accept_all, s), 0);
    return s;
}

const char *net_server_address(const struct net_server *s)
{
    return s->address;
}

unsigned net_server_requests(struct net_server *s)
{
    return s->requests;
}

size_t net_server_received(struct net_server *s)
{
    return s->received;
}

bool net_server_saw_reset(struct net_server *s)
{
    return s->reset;
}

void net_server_free(struct net_server *s)
{
    shutdown(s->fd, SHUT_RD);
    pthread_join(s->thread, NULL);
    for (unsigned i = 0; i < s->n_conns; i++) {
        shutdown(s->conn_fds[i], SHUT_RDWR);
        pthread_join(s->workers[i], NULL);
        close(s->conn_fds[i]);
    }
    close(s->fd);
    if (s->path[0])
        unlink(s->path);
    free(s);
}

/* ---- the client ---- */

int net_connect(const char *address)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const char *colon = strrchr(address, ':');
    int one = 1;

    assert_non_null(colon);
    in.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&in, sizeof in) == 0)
        return fd;
    int code = errno;
    close(fd);
    errno = code;
    return -1;
}

void net_send(int fd, const char *text)
{
    say(fd, text, strlen(text));
}

size_t net_read(int fd, char *out, size_t n, unsigned ms, int *ret_end)
{
    uint64_t until = clock_now_ns() + ms * NS_PER_MS;
    size_t got = 0;

    *ret_end = 0;
    while (got < n) {
        uint64_t now = clock_now_ns();
        struct pollfd p = { .fd = fd, .events = POLLIN };
        if (now >= until || poll(&p, 1, (int)((until - now) / NS_PER_MS) + 1) == 0) {
            *ret_end = 3;
            return got;
        }
        ssize_t r = recv(fd, out + got, n - got, 0);
        if (r <= 0) {
            *ret_end = r == 0 ? 1 : 2;
            return got;
        }
        got += (size_t)r;
    }
    return got;
}

int net_http(int fd, const char *request, char *body, size_t max, char *head, size_t head_max)
{
    char text[8192] = "";
    size_t n = 0;
    int end;

    net_send(fd, request);
    while (!memmem(text, n, "\r\n\r\n", 4)) {
        assert_true(n < sizeof text - 1);
        if (net_read(fd, text + n, 1, PATIENCE_MS, &end) != 1)
            return -1;
        n++;
    }
    text[n] = '\0';
    const char *length = strcasestr(text, "content-length:");
    size_t want = length ? strtoul(length + 15, NULL, 10) : 0;
    assert_true(want < max);
    if (net_read(fd, body, want, PATIENCE_MS, &end) != want)
        return -1;
    body[want] = '\0';
    if (head)
        snprintf(head, head_max, "%s", text);
    return (int)strtol(text + 9, NULL, 10);
}

/* ---- the proxy ---- */

struct proxies *net_proxy(const char *upstream, int protocol, char address[64])
{
    struct err err = { 0 };
    struct proxies *p = proxies_new(&err);

    assert_non_null(p);
    struct proxy_plan row = { "p", "127.0.0.1:0", upstream, protocol, 0 };
    assert_int_equal(proxies_add(p, &row, &err), 0);
    assert_int_equal(proxies_address(p, "p", address, &err), 0);
    return p;
}

uint64_t net_toxic(struct proxies *p, const struct toxic *t)
{
    struct err err = { 0 };
    uint64_t handle = 0, at = 0, before = clock_now_ns();

    if (proxies_toxic_add(p, "p", t, &handle, &at, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(at >= before);
    assert_true(at <= clock_now_ns());
    assert_true(proxies_toxic_is_in(p, "p", handle));
    return handle;
}

void net_untoxic(struct proxies *p, uint64_t handle)
{
    struct err err = { 0 };

    assert_int_equal(proxies_toxic_remove(p, "p", handle, NULL, &err), 0);
    assert_false(proxies_toxic_is_in(p, "p", handle));
    /* What is gone can be removed again. */
    assert_int_equal(proxies_toxic_remove(p, "p", handle, NULL, &err), 0);
}
