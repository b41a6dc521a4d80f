/* Two sides for each connection, the client's and, once it is needed, the server's; on each a
 * buffer of what came in and is not whole yet, and one of what could not be sent yet. A side whose
 * other one is full is not read. */
#include "chaoslib/dns/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "chaoslib/proxy/internal.h"

#define STREAMS_MAX 256
#define MESSAGE_MAX ((size_t)2 + UINT16_MAX) /* with its length before it */
#define EVENTS_MAX 64
#define BACKLOG 128

struct late {
    STAILQ_ENTRY(late) link;
    uint64_t due_ns;
    struct dns_answer answer;
};

struct side {
    struct stream *stream; /* NULL: a listener */
    int fd;                /* -1: not yet, or not any more */
    uint32_t events;       /* as epoll knows them */
    bool connected, eof;
    struct buf in, out;
};

struct stream {
    TAILQ_ENTRY(stream) link;
    struct dns_streams *all;
    struct side client, server;
    struct proxy_addr to;
    bool to_loopback, is_probe, over;
    STAILQ_HEAD(, late) late; /* one delay for all: in the order in which they are due */
};

struct dns_streams {
    struct dns_rules *rules;
    struct dns_probe *probe;
    uint32_t mark;
    int epoll;
    struct side listeners[2];
    TAILQ_HEAD(stream_list, stream) list, dead;
    unsigned n;
};

static const int families[2] = { AF_INET, AF_INET6 };

/* ---- sides ---- */

static void watch(struct dns_streams *s, struct side *side, uint32_t events)
{
    struct epoll_event e = { .events = events, .data.ptr = side };

    if (side->fd < 0 || side->events == events)
        return;
    if (epoll_ctl(s->epoll, EPOLL_CTL_MOD, side->fd, &e) == 0)
        side->events = events;
}

static int adopt(struct dns_streams *s, struct side *side, int fd, uint32_t events)
{
    struct epoll_event e = { .events = events, .data.ptr = side };

    side->fd = fd;
    side->events = events;
    return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e);
}

static void close_side(struct side *side, bool with_rst)
{
    struct linger at_once = { .l_onoff = 1 };

    if (side->fd < 0)
        return;
    if (with_rst)
        setsockopt(side->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(side->fd);
    side->fd = -1;
}

static void end(struct stream *c, bool with_rst)
{
    if (c->over)
        return;
    c->over = true;
    close_side(&c->client, with_rst);
    close_side(&c->server, with_rst);
    TAILQ_REMOVE(&c->all->list, c, link);
    TAILQ_INSERT_TAIL(&c->all->dead, c, link);
}

static void stream_free(struct stream *c)
{
    struct side *const sides[] = { &c->client, &c->server };
    struct late *l;

    while ((l = STAILQ_FIRST(&c->late))) {
        STAILQ_REMOVE_HEAD(&c->late, link);
        free(l);
    }
    for (size_t i = 0; i < ARRAY_LEN(sides); i++) {
        buf_done(&sides[i]->in);
        buf_done(&sides[i]->out);
    }
    free(c);
}

/* Not before all events of a wait are done, which may name what ended meanwhile. */
static void reap(struct dns_streams *s)
{
    struct stream *c;

    while ((c = TAILQ_FIRST(&s->dead))) {
        TAILQ_REMOVE(&s->dead, c, link);
        s->n--;
        stream_free(c);
    }
}

/* Bytes of the first whole message, with its length before it; 0: it is not whole. */
static size_t whole(const struct buf *b)
{
    const uint8_t *p = (const uint8_t *)b->data;

    if (b->len < 2)
        return 0;
    size_t n = 2 + ((size_t)p[0] << 8 | p[1]);
    return n <= b->len ? n : 0;
}

static bool has_room(const struct side *side)
{
    return side->out.len < MESSAGE_MAX;
}

/* ---- queries and answers ---- */

/* The server side is -1 when it cannot be. */
static void connect_server(struct stream *c)
{
    struct side *server = &c->server;
    int one = 1;
    int fd = socket(c->to.sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_MARK, &c->all->mark, sizeof(c->all->mark));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    server->connected = connect(fd, (const struct sockaddr *)&c->to.sa, c->to.len) == 0;
    if ((!server->connected && errno != EINPROGRESS) || adopt(c->all, server, fd, EPOLLOUT) < 0)
        close_side(server, true);
}

static void tell(struct stream *c, const struct dns_answer *a)
{
    buf_add(&c->client.out, (uint8_t[]){ (uint8_t)(a->n >> 8), (uint8_t)a->n }, 2);
    buf_add(&c->client.out, a->bytes, a->n);
}

static void tell_later(struct stream *c, const struct dns_answer *a, uint64_t now_ns)
{
    struct late *l = xcalloc(1, sizeof(*l));

    l->due_ns = now_ns + c->all->rules->delay_ns;
    l->answer = *a;
    STAILQ_INSERT_TAIL(&c->late, l, link);
}

static void take_query(struct stream *c, const uint8_t *msg, size_t n, uint64_t now_ns)
{
    struct dns_streams *s = c->all;
    struct dns_answer a;
    struct dns_query q = { .msg = msg + 2,
                           .len = n - 2,
                           .to_loopback = c->to_loopback,
                           .is_probe = c->is_probe,
                           .now_ns = now_ns };
    enum dns_verdict v = dns_judge(s->rules, &q, &a);

    s->probe->seen |= c->is_probe && v != DNS_PASS;
    if (v == DNS_SWALLOW)
        return;
    if (v == DNS_ANSWER && s->rules->delay_ns && !c->is_probe) {
        tell_later(c, &a, now_ns);
        return;
    }
    if (v == DNS_ANSWER) {
        tell(c, &a);
        return;
    }
    if (c->server.fd < 0 && !c->server.eof)
        connect_server(c);
    if (c->server.fd < 0)
        end(c, true);
    else
        buf_add(&c->server.out, msg, n);
}

static void take_queries(struct stream *c, uint64_t now_ns)
{
    size_t n;

    while (!c->over && has_room(&c->server) && has_room(&c->client) && (n = whole(&c->client.in))) {
        take_query(c, (const uint8_t *)c->client.in.data, n, now_ns);
        buf_consume(&c->client.in, n);
    }
}

static void give_answers(struct stream *c, uint64_t now_ns)
{
    struct late *l;
    size_t n;

    while ((l = STAILQ_FIRST(&c->late)) && l->due_ns <= now_ns) {
        STAILQ_REMOVE_HEAD(&c->late, link);
        tell(c, &l->answer);
        free(l);
    }
    while (has_room(&c->client) && (n = whole(&c->server.in))) {
        buf_add(&c->client.out, c->server.in.data, n);
        buf_consume(&c->server.in, n);
    }
}

/* ---- bytes ---- */

static void flush(struct side *side)
{
    while (side->fd >= 0 && side->connected && side->out.len) {
        ssize_t n = send(side->fd, side->out.data, side->out.len, MSG_NOSIGNAL);
        if (n > 0)
            buf_consume(&side->out, (size_t)n);
        else if (errno != EINTR)
            return; /* whether it is broken is seen when it is read */
    }
}

static void read_some(struct side *side)
{
    struct stream *c = side->stream;
    char *to =
        side->in.len < MESSAGE_MAX ? buf_reserve(&side->in, MESSAGE_MAX - side->in.len) : NULL;

    if (!to)
        return;
    ssize_t n = recv(side->fd, to, MESSAGE_MAX - side->in.len, 0);
    if (n > 0)
        side->in.len += (size_t)n;
    else if (n == 0)
        side->eof = true;
    else if (errno != EAGAIN && errno != EINTR)
        end(c, true);
}

static void watch_both(struct stream *c)
{
    struct side *client = &c->client, *server = &c->server;
    bool reads_client = !client->eof && has_room(server) && client->in.len < MESSAGE_MAX;
    bool reads_server = server->connected && has_room(client);

    watch(c->all, client, (client->out.len ? EPOLLOUT : 0u) | (reads_client ? EPOLLIN : 0u));
    watch(c->all, server,
          (!server->connected || server->out.len ? EPOLLOUT : 0u) | (reads_server ? EPOLLIN : 0u));
}

/* Nobody has anything to say any more. */
static bool is_done(const struct stream *c)
{
    if (c->client.out.len || !STAILQ_EMPTY(&c->late) || whole(&c->server.in))
        return false;
    return c->server.eof || (c->client.eof && c->server.fd < 0);
}

/* What there is to do next, and what to wait for. */
static void settle(struct stream *c, uint64_t now_ns)
{
    struct side *server = &c->server;

    take_queries(c, now_ns);
    if (c->over)
        return;
    give_answers(c, now_ns);
    flush(&c->client);
    flush(server);
    if (server->eof)
        close_side(server, false);
    if (c->client.eof && server->fd >= 0 && server->connected && !server->out.len)
        shutdown(server->fd, SHUT_WR);
    if (is_done(c))
        end(c, false);
    else
        watch_both(c);
}

/* ---- events ---- */

static bool is_loopback(const struct proxy_addr *a)
{
    const struct sockaddr_in *v4 = (const void *)&a->sa;
    const struct sockaddr_in6 *v6 = (const void *)&a->sa;

    return a->sa.ss_family == AF_INET ? ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET
                                      : IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static void side_init(struct side *side, struct stream *c)
{
    *side = (struct side){
        .stream = c, .fd = -1, .in = BUF_INIT(MESSAGE_MAX + 1), .out = BUF_INIT(4 * MESSAGE_MAX)
    };
}

/* In network order; it stands at the same place in both families. */
static in_port_t port_in(const struct sockaddr_storage *a)
{
    struct sockaddr_in v4;

    memcpy(&v4, a, sizeof(v4));
    return v4.sin_port;
}

static void accept_one(struct dns_streams *s, int listener)
{
    struct sockaddr_storage peer = { 0 };
    socklen_t len = sizeof(peer);
    int fd = accept4(listener, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct stream *c;
    int one = 1;

    if (fd < 0)
        return;
    c = xcalloc(1, sizeof(*c));
    c->all = s;
    STAILQ_INIT(&c->late);
    side_init(&c->client, c);
    side_init(&c->server, c);
    c->client.connected = true;
    TAILQ_INSERT_TAIL(&s->list, c, link);
    s->n++;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (adopt(s, &c->client, fd, EPOLLIN) < 0 || s->n > STREAMS_MAX ||
        proxy_addr_original(fd, &c->to) < 0) {
        end(c, true);
        return;
    }
    c->to_loopback = is_loopback(&c->to);
    c->is_probe = s->probe->port && s->probe->port == port_in(&peer);
}

static void on_event(struct side *side, uint32_t events, uint64_t now_ns)
{
    struct stream *c = side->stream;
    int code = 0;
    socklen_t len = sizeof(code);

    if (c->over || side->fd < 0)
        return;
    if (events & EPOLLERR || (events & EPOLLHUP && side == &c->client)) {
        end(c, true);
        return;
    }
    if (!side->connected && events & EPOLLOUT)
        side->connected = getsockopt(side->fd, SOL_SOCKET, SO_ERROR, &code, &len) == 0 && code == 0;
    if (events & (EPOLLIN | EPOLLHUP))
        read_some(side);
    if (!c->over)
        settle(c, now_ns);
}

uint64_t dns_streams_serve(struct dns_streams *s, uint64_t now_ns)
{
    struct epoll_event events[EVENTS_MAX];
    struct stream *c, *next;
    uint64_t due = 0;
    int n = epoll_wait(s->epoll, events, EVENTS_MAX, 0);

    for (int i = 0; i < n; i++) {
        struct side *side = events[i].data.ptr;
        if (side->stream)
            on_event(side, events[i].events, now_ns);
        else
            accept_one(s, side->fd);
    }
    TAILQ_FOREACH_SAFE (c, &s->list, link, next) {
        if (!STAILQ_EMPTY(&c->late) && STAILQ_FIRST(&c->late)->due_ns <= now_ns)
            settle(c, now_ns);
        if (!c->over && !STAILQ_EMPTY(&c->late))
            due = due ? MIN(due, STAILQ_FIRST(&c->late)->due_ns) : STAILQ_FIRST(&c->late)->due_ns;
    }
    reap(s);
    return due;
}

/* ---- opening and closing ---- */

static int listen_on(int family, struct err *err)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    bool is_v4 = family == AF_INET;

    if (fd >= 0 && (is_v4 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0) &&
        bind(fd, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
             is_v4 ? sizeof(v4) : sizeof(v6)) == 0 &&
        listen(fd, BACKLOG) == 0)
        return fd;
    err_sys(err, ERR_PREPARE, errno, "cannot listen for names over TCP");
    if (fd >= 0)
        close(fd);
    return -1;
}

struct dns_streams *dns_streams_open(struct dns_rules *rules, struct dns_probe *probe,
                                     struct err *err)
{
    struct dns_streams *s = xcalloc(1, sizeof(*s));

    *s = (struct dns_streams){ .rules = rules,
                               .probe = probe,
                               .listeners = { { .fd = -1 }, { .fd = -1 } } };
    TAILQ_INIT(&s->list);
    TAILQ_INIT(&s->dead);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        int fd = listen_on(families[i], err);
        s->listeners[i].fd = fd;
        if (fd < 0 && families[i] == AF_INET6) {
            err_clear(err); /* there is none here */
        } else if (fd < 0 || adopt(s, &s->listeners[i], fd, EPOLLIN) < 0) {
            dns_streams_close(s);
            return NULL;
        }
    }
    return s;
}

void dns_streams_mark(struct dns_streams *s, uint32_t mark)
{
    s->mark = mark;
}

void dns_streams_end(struct dns_streams *s)
{
    struct stream *c;

    while ((c = TAILQ_FIRST(&s->list))) {
        settle(c, UINT64_MAX);
        end(c, false);
    }
    reap(s);
}

void dns_streams_close(struct dns_streams *s)
{
    if (!s)
        return;
    dns_streams_end(s);
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        close_side(&s->listeners[i], false);
    if (s->epoll >= 0)
        close(s->epoll);
    free(s);
}

uint16_t dns_streams_port(const struct dns_streams *s, int family)
{
    struct sockaddr_storage at = { 0 };
    socklen_t len = sizeof(at);
    int fd = s->listeners[family == AF_INET6].fd;

    if (fd < 0 || getsockname(fd, (struct sockaddr *)&at, &len) < 0)
        return 0;
    return ntohs(port_in(&at));
}

int dns_streams_fd(const struct dns_streams *s)
{
    return s->epoll;
}
