/* A server whose behaviour is known, to hold the load engine's numbers against. Loopback only.
 *
 *     truth_server [--freeze-at MS --freeze-for MS]      prints "port N" and serves until it is
 * killed
 *
 * The path says what happens: /ok answers at once, /delay/MS after so long (fractions allowed),
 * /status/N with that status, /hang never, /close ends the stream without an answer, /reset with
 * RST, /short with less body than it promised, /garbage with bytes that are no HTTP, /drip one byte
 * of body each 100 ms. /truth answers with what the server itself saw: requests so far, and the
 * quantiles in µs of the time it took for each /delay.
 * --freeze-at counts from the first request: the whole server then stands still for --freeze-for.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/parse.h"
#include "edge/loop.h"

#define HEAD_MAX 8192
#define DELAYS_MAX 100000

struct server {
    struct loop *loop;
    int fd;
    uint16_t port; /* 0: any */
    uint64_t freeze_at_ns, freeze_for_ns;
    bool froze;
    struct loop_timer *freeze;
    unsigned long long requests, last_request_ns; /* CLOCK_MONOTONIC */
    uint32_t *delays_us;                          /* DELAYS_MAX */
    size_t n_delays;
};

struct conn {
    struct server *server;
    int fd;
    struct loop_io *io;
    struct loop_timer *timer;
    uint64_t began_ns;
    unsigned drips;
    size_t len;
    char head[HEAD_MAX + 1];
};

static void conn_close(struct conn *c, bool reset)
{
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    if (reset)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    loop_io_free(c->io);
    loop_timer_free(c->timer);
    close(c->fd);
    free(c);
}

static void say(struct conn *c, const char *text)
{
    if (send(c->fd, text, strlen(text), MSG_NOSIGNAL) < 0 && errno != EPIPE)
        fprintf(stderr, "truth_server: send: %s\n", strerror(errno));
}

static void answer(struct conn *c, int status, const char *body)
{
    auto_buf struct buf out = BUF_INIT(0);

    buf_addf(&out, "HTTP/1.1 %d Known\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(body),
             body);
    say(c, buf_str(&out));
}

static void note_delay(struct server *s, uint64_t ns)
{
    if (s->n_delays < DELAYS_MAX)
        s->delays_us[s->n_delays++] = (uint32_t)(ns / NS_PER_US);
}

static void delay_is_over(void *arg)
{
    struct conn *c = arg;

    if (c->drips) {
        say(c, "x");
        if (--c->drips)
            loop_timer_at(c->timer, clock_now_ns() + 100 * NS_PER_MS);
        return;
    }
    answer(c, 200, "ok\n");
    note_delay(c->server, clock_now_ns() - c->began_ns);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void tell_truth(struct conn *c)
{
    struct server *s = c->server;
    auto_buf struct buf out = BUF_INIT(0);
    size_t n = s->n_delays;

    qsort(s->delays_us, n, sizeof(*s->delays_us), by_size);
    buf_addf(&out, "{\"requests\": %llu, \"last_request_ns\": %llu, \"delays\": %zu, ", s->requests,
             s->last_request_ns, n);
    buf_addf(&out, "\"p50_us\": %u, \"p99_us\": %u}\n", n ? s->delays_us[n / 2] : 0,
             n ? s->delays_us[n * 99 / 100] : 0);
    answer(c, 200, buf_str(&out));
}

static void start_freeze(struct server *s)
{
    if (s->froze || !s->freeze_for_ns)
        return;
    s->froze = true;
    loop_timer_at(s->freeze, clock_now_ns() + s->freeze_at_ns);
}

static void freeze(void *arg)
{
    struct server *s = arg;

    clock_sleep_until(clock_now_ns() + s->freeze_for_ns);
}

/* ---- behaviours: each returns false when the connection is gone ---- */

static bool do_ok(struct conn *c, const char *rest)
{
    (void)rest;
    answer(c, 200, "ok\n");
    return true;
}

static bool do_delay(struct conn *c, const char *rest)
{
    loop_timer_at(c->timer, c->began_ns + (uint64_t)(strtod(rest, NULL) * 1e6));
    return true;
}

static bool do_status(struct conn *c, const char *rest)
{
    answer(c, (int)strtol(rest, NULL, 10), "as asked\n");
    return true;
}

static bool do_truth(struct conn *c, const char *rest)
{
    (void)rest;
    tell_truth(c);
    return true;
}

static bool do_hang(struct conn *c, const char *rest)
{
    (void)rest;
    loop_timer_stop(c->timer);
    return true;
}

static bool do_close(struct conn *c, const char *rest)
{
    (void)rest;
    conn_close(c, false);
    return false;
}

static bool do_reset(struct conn *c, const char *rest)
{
    (void)rest;
    conn_close(c, true);
    return false;
}

static bool do_short(struct conn *c, const char *rest)
{
    say(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.");
    return do_close(c, rest);
}

static bool do_garbage(struct conn *c, const char *rest)
{
    say(c, "\x01\x02 this is not HTTP\r\n\r\n");
    return do_close(c, rest);
}

static bool do_drip(struct conn *c, const char *rest)
{
    (void)rest;
    say(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    c->drips = 1000;
    loop_timer_at(c->timer, c->began_ns + 100 * NS_PER_MS);
    return true;
}

static bool serve(struct conn *c, const char *path)
{
    static const struct {
        const char *path;
        bool (*act)(struct conn *c, const char *rest);
    } behaviours[] = {
        { "/ok", do_ok },       { "/delay/", do_delay }, { "/status/", do_status },
        { "/truth", do_truth }, { "/hang", do_hang },    { "/close", do_close },
        { "/reset", do_reset }, { "/short", do_short },  { "/garbage", do_garbage },
        { "/drip", do_drip },
    };

    c->began_ns = clock_now_ns();
    for (size_t i = 0; i < ARRAY_LEN(behaviours); i++) {
        size_t n = strlen(behaviours[i].path);
        if (strncmp(path, behaviours[i].path, n) == 0)
            return behaviours[i].act(c, path + n);
    }
    answer(c, 404, "no such behaviour\n");
    return true;
}

static void on_read(void *arg, unsigned events)
{
    struct conn *c = arg;
    char *end;

    (void)events;
    ssize_t n = recv(c->fd, c->head + c->len, HEAD_MAX - c->len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_close(c, false);
        return;
    }
    c->len += (size_t)n;
    c->head[c->len] = '\0';
    while ((end = strstr(c->head, "\r\n\r\n"))) {
        char path[256] = "";
        *end = '\0';
        if (sscanf(c->head, "%*s %255s", path) != 1)
            path[0] = '\0';
        size_t used = (size_t)(end + 4 - c->head);
        memmove(c->head, c->head + used, c->len - used + 1);
        c->len -= used;
        if (strncmp(path, "/truth", 6) != 0) {
            c->server->requests++;
            c->server->last_request_ns = clock_now_ns();
        }
        start_freeze(c->server);
        if (!serve(c, path))
            return;
    }
    if (c->len == HEAD_MAX)
        conn_close(c, true);
}

static void on_accept(void *arg, unsigned events)
{
    struct server *s = arg;
    int one = 1;

    (void)events;
    int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct conn *c = xcalloc(1, sizeof(*c));
    c->server = s;
    c->fd = fd;
    c->timer = loop_timer_new(s->loop, delay_is_over, c);
    c->io = loop_io_new(s->loop, fd, LOOP_READ, on_read, c);
}

static int listen_somewhere(struct server *s)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons(s->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    int one = 1;

    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(s->fd, (struct sockaddr *)&a, len) < 0 || listen(s->fd, 4096) < 0 ||
        getsockname(s->fd, (struct sockaddr *)&a, &len) < 0)
        return -1;
    printf("port %u\n", ntohs(a.sin_port));
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    struct server s = { .delays_us = xcalloc(DELAYS_MAX, sizeof(uint32_t)) };
    struct err err = { 0 };

    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t n = 0;
        if (strcmp(argv[i], "--tag") == 0)
            continue;
        if (parse_u64(argv[i + 1], 0, 600000, &n, &err) < 0)
            return 2;
        if (strcmp(argv[i], "--freeze-at") == 0)
            s.freeze_at_ns = n * NS_PER_MS;
        else if (strcmp(argv[i], "--freeze-for") == 0)
            s.freeze_for_ns = n * NS_PER_MS;
        else if (strcmp(argv[i], "--port") == 0)
            s.port = (uint16_t)n;
    }
    s.loop = loop_new(&err);
    if (!s.loop || listen_somewhere(&s) < 0) {
        fprintf(stderr, "truth_server: cannot start\n");
        return 1;
    }
    s.freeze = loop_timer_new(s.loop, freeze, &s);
    loop_io_new(s.loop, s.fd, LOOP_READ, on_accept, &s);
    return loop_run(s.loop, &err) < 0;
}
