/* See tiny_server.h. One thread, poll, no cleverness: what is under test is on the other side. */
#include "tiny_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"

#define CONNS_MAX 1000
#define PATHS_MAX 20000

struct conn {
    int fd;
    struct buf in;
    struct buf out;   /* waits for send_ns */
    uint64_t send_ns; /* 0: nothing to send */
    bool hangs;
};

struct tiny_server {
    pthread_t thread;
    int listener;
    unsigned port;
    atomic_bool stop, frozen;
    atomic_ullong connections, last_ns;
    pthread_mutex_t lock;
    char *paths[PATHS_MAX]; /* under lock */
    size_t n_paths;
    struct conn conns[CONNS_MAX];
    size_t n_conns;
};

static void note_path(struct tiny_server *s, const char *path)
{
    pthread_mutex_lock(&s->lock);
    if (s->n_paths < PATHS_MAX)
        s->paths[s->n_paths++] = xstrdup(path);
    pthread_mutex_unlock(&s->lock);
    atomic_store(&s->last_ns, clock_now_ns());
}

static void reply(struct conn *c, unsigned status, const char *headers, const char *body)
{
    buf_addf(&c->out, "HTTP/1.1 %u X\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers,
             strlen(body), body);
    c->send_ns = 1;
}

static void answer(struct conn *c, const char *path, const char *request)
{
    unsigned n = 0;
    char header[128];

    if (strcmp(path, "/") == 0) {
        reply(c, 200, "", "ok");
    } else if (sscanf(path, "/status/%u", &n) == 1) {
        reply(c, n, "", "");
    } else if (sscanf(path, "/slow/%u", &n) == 1) {
        reply(c, 200, "", "slow");
        c->send_ns = clock_now_ns() + n * NS_PER_MS;
    } else if (strcmp(path, "/hang") == 0) {
        c->hangs = true;
    } else if (sscanf(path, "/redirect/%u", &n) == 1 && n > 0) {
        snprintf(header, sizeof header, "Location: /redirect/%u\r\n", n - 1);
        reply(c, 302, header, "");
    } else if (strcmp(path, "/redirect/0") == 0) {
        reply(c, 200, "", "there");
    } else if (strcmp(path, "/loop") == 0) {
        reply(c, 302, "Location: /loop\r\n", "");
    } else if (sscanf(path, "/away/%u", &n) == 1) {
        snprintf(header, sizeof header, "Location: http://127.0.0.1:%u/\r\n", n);
        reply(c, 307, header, "");
    } else if (strcmp(path, "/nowhere") == 0) {
        reply(c, 302, "Location: gopher://x/\r\n", "");
    } else if (strcmp(path, "/set") == 0) {
        reply(c, 200, "Set-Cookie: sid=7; Path=/\r\n", "");
    } else if (strcmp(path, "/need") == 0) {
        reply(c, strstr(request, "sid=7") ? 200 : 403, "", "");
    } else if (strcmp(path, "/item") == 0) {
        reply(c, 201, "Location: /item/42\r\n", "{\"id\": 42}");
    } else if (strcmp(path, "/item/42") == 0) {
        reply(c, 200, "", "the item");
    } else {
        reply(c, 404, "", "");
    }
}

/* One request of those that are there; they have no bodies. */
static void take_request(struct tiny_server *s, struct conn *c)
{
    char *end = c->in.len ? strstr(c->in.data, "\r\n\r\n") : NULL;
    char path[256];

    if (!end || c->send_ns || c->hangs)
        return;
    if (sscanf(c->in.data, "%*15s %255s", path) != 1)
        snprintf(path, sizeof path, "?");
    note_path(s, path);
    *end = '\0';
    answer(c, path, c->in.data);
    buf_consume(&c->in, (size_t)(end - c->in.data) + 4);
}

static bool read_some(struct conn *c)
{
    char chunk[4096];
    ssize_t n = recv(c->fd, chunk, sizeof chunk, MSG_DONTWAIT);

    if (n > 0)
        buf_add(&c->in, chunk, (size_t)n);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void send_due(struct conn *c, uint64_t now_ns)
{
    if (!c->send_ns || c->send_ns > now_ns)
        return;
    if (send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL) < 0)
        c->hangs = true; /* the reader is gone; recv will tell */
    buf_clear(&c->out);
    c->send_ns = 0;
}

static void drop(struct tiny_server *s, size_t i)
{
    struct conn *c = &s->conns[i];

    close(c->fd);
    buf_done(&c->in);
    buf_done(&c->out);
    *c = s->conns[--s->n_conns];
}

static void accept_one(struct tiny_server *s)
{
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if (s->n_conns == CONNS_MAX) {
        close(fd);
        return;
    }
    atomic_fetch_add(&s->connections, 1);
    s->conns[s->n_conns++] = (struct conn){ .fd = fd, .in = BUF_INIT(0), .out = BUF_INIT(0) };
}

static void serve_ready(struct tiny_server *s, const struct pollfd *fds, size_t n)
{
    uint64_t now_ns = clock_now_ns();

    for (size_t i = n; i-- > 0;) {
        struct conn *c = &s->conns[i];

        if (fds[i + 1].revents && !read_some(c)) {
            drop(s, i);
            continue;
        }
        take_request(s, c);
        send_due(c, now_ns);
    }
    if (fds[0].revents)
        accept_one(s);
}

static void *serve(void *arg)
{
    struct pollfd fds[CONNS_MAX + 1];
    struct tiny_server *s = arg;

    while (!atomic_load(&s->stop)) {
        if (atomic_load(&s->frozen)) {
            usleep(1000);
            continue;
        }

        bool waiting = false;

        fds[0] = (struct pollfd){ .fd = s->listener, .events = POLLIN };
        for (size_t i = 0; i < s->n_conns; i++) {
            fds[i + 1] = (struct pollfd){ .fd = s->conns[i].fd, .events = POLLIN };
            waiting |= s->conns[i].send_ns != 0;
        }

        size_t n = s->n_conns;

        poll(fds, n + 1, waiting ? 1 : 20);
        serve_ready(s, fds, n);
    }
    return NULL;
}

struct tiny_server *tiny_server_new(void)
{
    struct tiny_server *s = xcalloc(1, sizeof *s);
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t len = sizeof at;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    pthread_mutex_init(&s->lock, NULL);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listener < 0 || bind(s->listener, (struct sockaddr *)&at, sizeof at) < 0 ||
        listen(s->listener, 1024) < 0 ||
        getsockname(s->listener, (struct sockaddr *)&at, &len) < 0 ||
        pthread_create(&s->thread, NULL, serve, s) != 0)
        abort();
    s->port = ntohs(at.sin_port);
    return s;
}

void tiny_server_free(struct tiny_server *s)
{
    if (!s)
        return;
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
    while (s->n_conns > 0)
        drop(s, s->n_conns - 1);
    close(s->listener);
    for (size_t i = 0; i < s->n_paths; i++)
        free(s->paths[i]);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

unsigned tiny_server_port(const struct tiny_server *s)
{
    return s->port;
}

uint64_t tiny_server_requests(struct tiny_server *s, const char *prefix)
{
    uint64_t n = 0;

    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_paths; i++)
        n += strncmp(s->paths[i], prefix, strlen(prefix)) == 0;
    pthread_mutex_unlock(&s->lock);
    return n;
}

uint64_t tiny_server_last_request_ns(struct tiny_server *s)
{
    return atomic_load(&s->last_ns);
}

uint64_t tiny_server_connections(struct tiny_server *s)
{
    return atomic_load(&s->connections);
}

void tiny_server_freeze(struct tiny_server *s, bool frozen)
{
    atomic_store(&s->frozen, frozen);
}
