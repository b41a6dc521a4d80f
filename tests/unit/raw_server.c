/* See raw_server.h. */
#include "raw_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CONNECTIONS_MAX 64
#define REQUEST_MAX ((size_t)1 << 20)

struct raw_server {
    pthread_mutex_t lock;
    struct raw_script script;
    struct buf request;
    int listener;
    unsigned port, n;
    char *unix_path;
    bool stop;
    pthread_t acceptor, threads[CONNECTIONS_MAX];
};

struct visitor {
    struct raw_server *server;
    int fd;
};

static bool is_stopped(struct raw_server *s)
{
    bool stop;

    pthread_mutex_lock(&s->lock);
    stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

static size_t request_len(const struct buf *in)
{
    const char *gap = memmem(buf_str(in), in->len, "\r\n\r\n", 4);
    const char *length;

    if (!gap)
        return 0;
    length = strcasestr(in->data, "\r\nContent-Length:");
    return (size_t)(gap - in->data) + 4 +
           (length && length < gap ? strtoul(length + 17, NULL, 10) : 0);
}

/* False at the end of the stream or of the test. */
static bool read_request(struct raw_server *s, int fd, struct buf *in)
{
    char chunk[4096];

    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        size_t want = request_len(in);
        ssize_t n;

        if (want > 0 && in->len >= want)
            return true;
        if (poll(&p, 1, 20) < 0 || is_stopped(s))
            return false;
        if (!(p.revents & (POLLIN | POLLHUP)))
            continue;
        n = recv(fd, chunk, sizeof(chunk), 0);
        if (n <= 0)
            return false;
        buf_add(in, chunk, (size_t)n);
    }
}

static void say(int fd, const struct raw_script *script)
{
    size_t len = script->len ? script->len : strlen(script->bytes);

    usleep(script->delay_ms * 1000);
    for (unsigned i = 0; i <= script->repeat; i++)
        if (send(fd, script->bytes, len, MSG_NOSIGNAL) < 0)
            return;
}

static void hang(struct raw_server *s, int fd)
{
    struct pollfd p = { .fd = fd, .events = 0 };

    while (!is_stopped(s) && poll(&p, 1, 20) >= 0 && !(p.revents & (POLLHUP | POLLERR)))
        ;
}

/* True when another request may follow. */
static bool answer(struct raw_server *s, int fd, struct buf *in)
{
    struct raw_script script;

    pthread_mutex_lock(&s->lock);
    script = s->script;
    buf_clear(&s->request);
    buf_add(&s->request, in->data, request_len(in));
    pthread_mutex_unlock(&s->lock);
    buf_consume(in, request_len(in));
    say(fd, &script);
    if (script.end == RAW_HANG)
        hang(s, fd);
    if (script.end == RAW_RESET) {
        struct linger now = { .l_onoff = 1 };

        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    return script.end == RAW_KEEP;
}

static void *serve(void *arg)
{
    struct visitor v = *(struct visitor *)arg;
    struct buf in = BUF_INIT(REQUEST_MAX);

    free(arg);
    while (read_request(v.server, v.fd, &in) && answer(v.server, v.fd, &in))
        ;
    close(v.fd);
    buf_done(&in);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct raw_server *s = arg;

    while (!is_stopped(s)) {
        struct pollfd p = { .fd = s->listener, .events = POLLIN };
        struct visitor *v;
        int fd;

        if (poll(&p, 1, 20) <= 0)
            continue;
        fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        pthread_mutex_lock(&s->lock);
        if (s->n < CONNECTIONS_MAX) {
            v = xcalloc(1, sizeof(*v));
            *v = (struct visitor){ s, fd };
            pthread_create(&s->threads[s->n++], NULL, serve, v);
        } else {
            close(fd);
        }
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

static int listen_on(const char *unix_path, unsigned *ret_port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    socklen_t len = sizeof(in);
    int fd = socket(unix_path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (unix_path) {
        snprintf(un.sun_path, sizeof(un.sun_path), "%s", unix_path);
        if (bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
            abort();
    } else {
        if (bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 ||
            getsockname(fd, (struct sockaddr *)&in, &len) < 0)
            abort();
        *ret_port = ntohs(in.sin_port);
    }
    return fd;
}

struct raw_server *raw_server_new(const char *unix_path)
{
    struct raw_server *s = xcalloc(1, sizeof(*s));

    pthread_mutex_init(&s->lock, NULL);
    s->request = BUF_INIT(REQUEST_MAX);
    s->script = (struct raw_script){ .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" };
    s->unix_path = unix_path ? xstrdup(unix_path) : NULL;
    s->listener = listen_on(unix_path, &s->port);
    if (listen(s->listener, 64) < 0 || pthread_create(&s->acceptor, NULL, accept_all, s) != 0)
        abort();
    return s;
}

void raw_server_free(struct raw_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->acceptor, NULL);
    for (unsigned i = 0; i < s->n; i++)
        pthread_join(s->threads[i], NULL);
    close(s->listener);
    if (s->unix_path)
        unlink(s->unix_path);
    free(s->unix_path);
    buf_done(&s->request);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

unsigned raw_server_port(const struct raw_server *s)
{
    return s->port;
}

void raw_server_script(struct raw_server *s, const struct raw_script *script)
{
    pthread_mutex_lock(&s->lock);
    s->script = *script;
    pthread_mutex_unlock(&s->lock);
}

unsigned raw_server_connections(struct raw_server *s)
{
    unsigned n;

    pthread_mutex_lock(&s->lock);
    n = s->n;
    pthread_mutex_unlock(&s->lock);
    return n;
}

char *raw_server_request(struct raw_server *s)
{
    char *text;

    pthread_mutex_lock(&s->lock);
    text = xstrndup(buf_str(&s->request), s->request.len);
    pthread_mutex_unlock(&s->lock);
    return text;
}

unsigned raw_free_port(void)
{
    unsigned port = 0;

    close(listen_on(NULL, &port));
    return port;
}
