/* The test server's sockets and threads; what it answers is the test's. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/mem.h"
#include "tests/unit/server.h"

#define REQUEST_MAX 8192

struct worker {
    struct server *server;
    unsigned conn;
    struct sockaddr_in peer;
};

bool say_bytes(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

void say(int fd, const char *text)
{
    if (!say_bytes(fd, text, strlen(text))) {
        /* The client has gone: that is what some tests want. */
    }
}

void reset(int fd)
{
    const struct linger now = { .l_onoff = 1, .l_linger = 0 };

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/* Up to the empty line; a body is the behaviour's to read. */
static bool read_head(int fd, char text[REQUEST_MAX])
{
    size_t len = 0;

    while (len < REQUEST_MAX - 1) {
        ssize_t n = recv(fd, text + len, 1, 0);
        if (n <= 0)
            return false;
        text[++len] = '\0';
        if (len >= 4 && memcmp(text + len - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

static void *serve(void *arg)
{
    auto_free struct worker *w = arg;
    struct server *s = w->server;
    char text[REQUEST_MAX] = "";
    struct served now = {
        .server = s, .fd = s->fds[w->conn], .conn = w->conn, .text = text, .peer = w->peer
    };

    while (read_head(now.fd, text)) {
        atomic_fetch_add(&s->requests, 1);
        if (!s->behave(&now))
            break;
        now.request++;
    }
    pthread_mutex_lock(&s->lock);
    s->fds[w->conn] = -1; /* the number may soon be someone else's */
    close(now.fd);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct server *s = arg;

    while (!atomic_load(&s->stop) && atomic_load(&s->conns) < SERVER_CONNS_MAX) {
        struct pollfd p = { .fd = s->listener, .events = POLLIN };
        struct worker *w;
        socklen_t len = sizeof(w->peer);

        if (poll(&p, 1, 10) <= 0)
            continue;
        w = xcalloc(1, sizeof(*w));
        int fd = accept(s->listener, (struct sockaddr *)&w->peer, &len);
        w->server = s;
        w->conn = atomic_load(&s->conns);
        s->fds[w->conn] = fd;
        if (fd < 0 || pthread_create(&s->threads[w->conn], NULL, serve, w) != 0)
            abort();
        atomic_fetch_add(&s->conns, 1);
    }
    return NULL;
}

static int bind_to(enum server_family family, const char *path)
{
    static const int domains[] = { AF_INET, AF_INET6, AF_UNIX };
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    const struct {
        const void *address;
        socklen_t len;
    } to[] = { { &v4, sizeof(v4) }, { &v6, sizeof(v6) }, { &un, sizeof(un) } };
    int fd = socket(domains[family], SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (path)
        snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    if (fd >= 0 && bind(fd, to[family].address, to[family].len) == 0 && listen(fd, 128) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

bool server_start(struct server *s, enum server_family family, const char *path, behave_fn *behave)
{
    struct sockaddr_in6 bound = { 0 };
    socklen_t len = sizeof(bound);

    memset(s, 0, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    s->behave = behave;
    s->path = path;
    s->listener = bind_to(family, path);
    if (s->listener < 0)
        return false;
    getsockname(s->listener, (struct sockaddr *)&bound, &len);
    s->port = ntohs(bound.sin6_port); /* at the same place in both families */
    return pthread_create(&s->acceptor, NULL, accept_all, s) == 0;
}

void server_stop(struct server *s)
{
    atomic_store(&s->stop, true);
    pthread_join(s->acceptor, NULL);
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < atomic_load(&s->conns); i++) {
        if (s->fds[i] >= 0)
            shutdown(s->fds[i], SHUT_RDWR);
    }
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < atomic_load(&s->conns); i++)
        pthread_join(s->threads[i], NULL);
    pthread_mutex_destroy(&s->lock);
    close(s->listener);
    if (s->path)
        unlink(s->path);
}
