/* The demo shop's server: HTTP/1.1 on one loop, keep-alive and pipelining, one request of a
 * connection at a time. A request takes a service time drawn from a log-normal distribution, as
 * real ones do: most are near the median, a few are slow. */
#include "cli/shop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "edge/loop.h"

#define READ_MAX ((size_t)16 << 10)
#define SPREAD 0.4 /* sigma of the service time's logarithm: p99 is about 2.5 times the median */
#define GRACE_NS (3 * NS_PER_SEC)
#define ACCEPT_PAUSE_NS (50 * NS_PER_MS)

struct shop;

struct client {
    TAILQ_ENTRY(client) link;
    struct shop *shop;
    int fd;
    struct loop_io *io;
    struct loop_timer *timer; /* the service time of the request in hand */
    struct http_parser parser;
    struct buf in, out; /* what was read and not parsed; what is to be written */
    size_t written;
    struct buf head, body; /* of the request in hand */
    bool too_big;
    bool busy, persists, eof;
    unsigned events;
};

struct shop {
    const struct shop_opts *opts;
    struct loop *loop;
    struct shop_store *store;
    struct rng rng;
    int listen_fd, signal_fd;
    struct loop_io *on_accept, *on_signal;
    struct loop_timer *accept_again, *grace;
    TAILQ_HEAD(, client) clients;
    unsigned n_clients;
    bool stopping;
};

static void client_free(struct client *c)
{
    struct shop *s = c->shop;

    TAILQ_REMOVE(&s->clients, c, link);
    s->n_clients--;
    loop_io_free(c->io);
    loop_timer_free(c->timer);
    close(c->fd);
    http_parser_done(&c->parser);
    buf_done(&c->in);
    buf_done(&c->out);
    buf_done(&c->head);
    buf_done(&c->body);
    free(c);
    if (s->stopping && s->n_clients == 0)
        loop_stop(s->loop);
}

/* ---- one request ---- */

static uint64_t service_time(struct shop *s)
{
    if (s->opts->latency_ns == 0)
        return 0;
    return (uint64_t)((double)s->opts->latency_ns * exp(SPREAD * rng_normal(&s->rng)));
}

static bool request_read(struct client *c, struct shop_request *req)
{
    struct http_span text = { buf_str(&c->head), c->head.len };

    if (http_head_parse(text, false, &req->head) < 0)
        return false;
    struct http_span target = req->head.target;
    const char *mark = memchr(target.p, '?', target.n);
    size_t n = mark ? (size_t)(mark - target.p) : target.n;
    req->path = (struct http_span){ target.p, n };
    req->query = mark ? (struct http_span){ mark + 1, target.n - n - 1 } : (struct http_span){ 0 };
    req->body = (struct http_span){ buf_str(&c->body), c->body.len };
    return true;
}

/* The answer is made now and said after the service time. */
static uint64_t answer(struct client *c)
{
    struct shop *s = c->shop;
    struct shop_request req = { 0 };
    struct shop_answer a;

    if (!request_read(c, &req))
        return 0;
    shop_answer(s->store, &req, &a);
    if (!a.never_fails && s->opts->fail_rate > 0 && rng_unit(&s->rng) < s->opts->fail_rate) {
        a.status = 500;
        a.type = "text/plain; charset=utf-8";
        buf_clear(&a.extra);
        buf_clear(&a.body);
        buf_adds(&a.body, "the shop has a bad day\n");
    }
    if (c->too_big)
        a.status = 413;
    c->persists = http_head_persists(&req.head) && !s->stopping && !c->too_big;
    shop_answer_write(&a, &req.head, c->persists, &c->out);
    uint64_t wait = service_time(s) + a.slow_ns;
    shop_answer_done(&a);
    return wait;
}

static void client_go(struct client *c);

static void on_served(void *arg)
{
    struct client *c = arg;

    c->busy = false;
    client_go(c);
}

static void request_end(struct client *c)
{
    uint64_t wait = answer(c);

    if (wait == 0)
        return;
    c->busy = true;
    loop_timer_at(c->timer, loop_now_ns(c->shop->loop) + wait);
}

static void head_seen(struct client *c, struct http_span raw)
{
    buf_clear(&c->head);
    buf_clear(&c->body);
    c->too_big = false;
    buf_add(&c->head, raw.p, raw.n);
    if (c->parser.head.expect_continue)
        buf_adds(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
}

/* Parses up to the end of one request. False: that was not HTTP. */
static bool parse_some(struct client *c)
{
    struct http_piece piece;
    size_t at = 0;

    do {
        at += http_parser_feed(&c->parser, buf_str(&c->in) + at, c->in.len - at, &piece);
        if (piece.kind == HTTP_PIECE_HEAD)
            head_seen(c, piece.raw);
        if (piece.kind == HTTP_PIECE_BODY && piece.is_payload)
            buf_add(&c->body, piece.raw.p, piece.raw.n);
        if (piece.kind == HTTP_PIECE_END) {
            c->too_big = buf_failed(&c->body);
            request_end(c);
            break;
        }
    } while (piece.kind != HTTP_PIECE_MORE && piece.kind != HTTP_PIECE_BAD);
    buf_consume(&c->in, at);
    return piece.kind != HTTP_PIECE_BAD;
}

/* ---- a connection ---- */

/* False: the connection is gone. */
static bool write_out(struct client *c)
{
    while (c->written < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->written, c->out.len - c->written, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            client_free(c);
            return false;
        }
        c->written += (size_t)n;
    }
    if (c->out.cap > (READ_MAX << 2))
        buf_done(&c->out);
    else
        buf_clear(&c->out);
    c->out.max = SHOP_BYTES_MAX + READ_MAX;
    c->written = 0;
    return true;
}

static void watch(struct client *c)
{
    bool writing = c->written < c->out.len && !c->busy;
    unsigned events = writing ? LOOP_WRITE : c->busy || c->eof ? 0u : LOOP_READ;

    if (events == c->events)
        return;
    c->events = events;
    loop_io_set(c->io, events);
}

/* One step of what is to be done now: write, or parse and answer. 1: there may be more to do; 0:
 * wait; -1: the connection is gone. */
static int client_step(struct client *c)
{
    bool leaving = c->shop->stopping && c->in.len == 0 && http_parser_is_between(&c->parser);
    size_t before = c->in.len;

    if (!write_out(c))
        return -1;
    if (c->out.len > 0)
        return 0;
    if (!c->persists || leaving) {
        client_free(c);
        return -1;
    }
    if (before == 0 || parse_some(c))
        return !c->busy && (c->in.len != before || c->out.len > 0);
    c->persists = false;
    buf_adds(&c->out, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n"
                      "Connection: close\r\n\r\n");
    return 1;
}

static void client_go(struct client *c)
{
    int more = !c->busy;

    while (more > 0)
        more = client_step(c);
    if (more < 0)
        return;
    if (c->eof && !c->busy && c->out.len == 0)
        client_free(c);
    else
        watch(c);
}

static void on_client(void *arg, unsigned events)
{
    struct client *c = arg;

    if (events & LOOP_READ) {
        char *at = buf_reserve(&c->in, READ_MAX);
        ssize_t n = at ? recv(c->fd, at, READ_MAX, 0) : -1;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            client_free(c);
            return;
        }
        c->eof = n == 0;
        c->in.len += (size_t)n;
    }
    client_go(c);
}

static void client_new(struct shop *s, int fd)
{
    struct client *c = xcalloc(1, sizeof *c);
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->shop = s;
    c->fd = fd;
    c->persists = true;
    c->events = LOOP_READ;
    c->in = BUF_INIT(HTTP_MSG_HEAD_MAX * 4);
    c->out = BUF_INIT(SHOP_BYTES_MAX + READ_MAX);
    c->head = BUF_INIT(HTTP_MSG_HEAD_MAX);
    c->body = BUF_INIT(SHOP_BODY_MAX);
    http_parser_init(&c->parser, false);
    c->timer = loop_timer_new(s->loop, on_served, c);
    c->io = loop_io_new(s->loop, fd, LOOP_READ, on_client, c);
    TAILQ_INSERT_TAIL(&s->clients, c, link);
    s->n_clients++;
}

/* ---- the server ---- */

static void accept_resume(void *arg)
{
    struct shop *s = arg;

    if (s->on_accept)
        loop_io_set(s->on_accept, LOOP_READ);
}

static void on_accept(void *arg, unsigned events)
{
    struct shop *s = arg;

    (void)events;
    for (int i = 0; i < 64; i++) {
        int fd = s->n_clients < SHOP_CONNS_MAX
                     ? accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
                     : -1;
        if (fd >= 0) {
            client_new(s, fd);
            continue;
        }
        if (s->n_clients < SHOP_CONNS_MAX && (errno == EAGAIN || errno == ECONNABORTED))
            return;
        loop_io_set(s->on_accept, 0);
        loop_timer_at(s->accept_again, loop_now_ns(s->loop) + ACCEPT_PAUSE_NS);
        return;
    }
}

static void on_grace(void *arg)
{
    struct shop *s = arg;

    loop_stop(s->loop);
}

/* Finish what was begun; say goodbye to who waits. */
static void on_signal(void *arg, unsigned events)
{
    struct shop *s = arg;
    struct signalfd_siginfo info;
    struct client *c, *next;

    (void)events;
    if (read(s->signal_fd, &info, sizeof info) < 0)
        return;
    s->stopping = true;
    loop_io_free(s->on_accept);
    s->on_accept = NULL;
    close(s->listen_fd);
    s->listen_fd = -1;
    loop_timer_at(s->grace, loop_now_ns(s->loop) + GRACE_NS);
    TAILQ_FOREACH_SAFE (c, &s->clients, link, next)
        if (!c->busy && c->out.len == 0 && http_parser_is_between(&c->parser) && c->in.len == 0)
            client_free(c);
    if (s->n_clients == 0)
        loop_stop(s->loop);
}

static int listen_on(const char *text, int *ret_fd, struct err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICSERV | AI_NUMERICHOST | AI_PASSIVE };
    struct addrinfo *found = NULL;
    auto_free char *copy = xstrdup(text);
    char *colon = strrchr(copy, ':'), *host = copy;
    int one = 1;

    if (!colon)
        return err_set(err, ERR_USAGE, EINVAL, "'%s' is not an address; write 127.0.0.1:5001",
                       text);
    *colon = '\0';
    if (host[0] == '[' && colon > host + 1 && colon[-1] == ']') {
        host++;
        colon[-1] = '\0';
    }
    if (strcmp(host, "localhost") == 0)
        host = (char[]){ "127.0.0.1" };
    int rc = getaddrinfo(host, colon + 1, &hints, &found);
    if (rc != 0)
        return err_set(err, ERR_USAGE, EINVAL, "'%s': %s; write 127.0.0.1:5001", text,
                       gai_strerror(rc));
    auto_close int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
              bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0;
    int code = errno;
    freeaddrinfo(found);
    if (!ok)
        return err_sys(err, ERR_PREPARE, code, "cannot listen on '%s'", text);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static int shop_open(struct shop *s, struct err *err)
{
    sigset_t ends;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    s->signal_fd = signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC);
    if (s->signal_fd < 0)
        return err_sys(err, ERR_PREPARE, errno, "signalfd");
    s->loop = loop_new(err);
    if (!s->loop || listen_on(s->opts->listen, &s->listen_fd, err) < 0)
        return -EIO;
    s->on_signal = loop_io_new(s->loop, s->signal_fd, LOOP_READ, on_signal, s);
    s->on_accept = loop_io_new(s->loop, s->listen_fd, LOOP_READ, on_accept, s);
    s->accept_again = loop_timer_new(s->loop, accept_resume, s);
    s->grace = loop_timer_new(s->loop, on_grace, s);
    return 0;
}

static void shop_close(struct shop *s)
{
    s->stopping = false;
    while (!TAILQ_EMPTY(&s->clients))
        client_free(TAILQ_FIRST(&s->clients));
    if (s->loop) {
        loop_io_free(s->on_signal);
        loop_io_free(s->on_accept);
        loop_timer_free(s->accept_again);
        loop_timer_free(s->grace);
        loop_free(s->loop);
    }
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    if (s->signal_fd >= 0)
        close(s->signal_fd);
    shop_store_free(s->store);
}

int shop_run(const struct shop_opts *opts, struct err *err)
{
    struct shop s = { .opts = opts, .listen_fd = -1, .signal_fd = -1 };

    TAILQ_INIT(&s.clients);
    s.store = shop_store_new(opts->name);
    rng_seed(&s.rng, opts->seed, 0);
    int rc = shop_open(&s, err);
    if (rc == 0)
        rc = loop_run(s.loop, err);
    shop_close(&s);
    return rc;
}
