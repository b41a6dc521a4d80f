/* The proxy's inner side: proxies own connections, a connection owns two pipes and, when it may
 * speak HTTP, what is known of its messages. All of it lives on the proxies' thread.
 *
 * A connection that ended is closed at once but freed later (proxies.reaper), so that whoever is
 * working on it need only look at `closed` after each call that may end it. */
#ifndef CHAOSLIB_PROXY_INTERNAL_H
#define CHAOSLIB_PROXY_INTERNAL_H

#include <pthread.h>
#include <sys/socket.h>

#include "chaoslib/proxy/http_msg.h"
#include "chaoslib/proxy/toxic.h"
#include "edge/loop.h"

#define PROXY_READ_MAX ((size_t)64 << 10)
#define PIPE_QUEUE_MAX ((size_t)64 << 10)
/* While data is delayed more must be in flight, or the delay would be a narrow band as well. */
#define PIPE_QUEUE_DELAYED_MAX ((size_t)4 << 20)
#define PROXY_TOXICS_MAX 64
#define PROXIES_MAX 256
#define NO_LIMIT UINT64_MAX

struct proxy_addr {
    struct sockaddr_storage sa;
    socklen_t len;
};
/* "127.0.0.1:80", "[::1]:80", "localhost:80", "unix:/path". Names are looked up here, blocking. */
int proxy_addr_parse(const char *text, struct proxy_addr *ret, struct err *err) MUST_CHECK;
/* Bound so that the port stays ours while nobody listens on it; not listening yet. */
int proxy_addr_bind(const struct proxy_addr *a, const char *text, int *ret_fd,
                    struct err *err) MUST_CHECK;
int proxy_addr_text(int fd, char out[64], struct err *err) MUST_CHECK;
/* Where a redirected connection was going. Negative: it was not redirected. */
int proxy_addr_original(int fd, struct proxy_addr *ret) MUST_CHECK;
/* A blocking connect from the caller's thread. 0: someone accepted; 1: refused. */
int proxy_addr_probe(const char *text, struct err *err) MUST_CHECK;

struct conn;
struct proxy_http;

/* ---- one direction of a connection (proxy_pipe.c) ---- */
struct seg {
    STAILQ_ENTRY(seg) link;
    uint64_t due_ns;
    size_t at, len;
    bool fin;
    char data[];
};

struct shape {       /* what the toxics in effect make of a pipe */
    uint64_t delays; /* slots of latency and loss toxics */
    bool swallow;
    uint64_t bits_per_sec; /* 0: no bound */
    size_t slice;          /* 0: none */
    uint64_t slice_pause_ns;
    uint64_t limit, reset_at; /* of `total`; NO_LIMIT */
    uint64_t slow_close_ns;
};

struct end {
    int fd;
    struct loop_io *io;
    unsigned events;
    bool connected;
    struct pipe *in, *out; /* fed from it; written to it */
    struct conn *conn;
};

struct pipe {
    struct conn *conn;
    enum proxy_stream stream;
    struct end *src, *dst;
    STAILQ_HEAD(, seg) queue;
    size_t queued;
    uint64_t floor_ns; /* nothing added from now on is due earlier: order is kept */
    uint64_t next_ns;  /* pacing: no write before */
    uint64_t total;    /* bytes delivered */
    uint64_t *base;    /* `total` when a toxic that counts met the pipe, by slot; NULL: none did */
    struct loop_timer *timer;
    struct shape shape;
    bool eof, fin_sent, blocked;
    bool deaf; /* the end was said for it: what still comes is not passed on */
};

/* Bytes on their way; they are copied. */
void pipe_emit(struct pipe *p, const char *data, size_t len);
void pipe_finish(struct pipe *p);                     /* the stream ends here */
void pipe_pump(struct pipe *p);                       /* writes what is due */
void pipe_read(struct pipe *p);                       /* the source is readable */
void pipe_drop(struct pipe *p);                       /* forgets what is queued */
void pipe_hasten(struct pipe *p, uint64_t latest_ns); /* nothing queued is due later than this */
void pipe_hold(struct pipe *p, uint64_t delay_ns);    /* what is added next comes that much later */
size_t pipe_room(const struct pipe *p);

/* ---- a connection (proxy_conn.c) ---- */
struct conn {
    TAILQ_ENTRY(conn) link;
    struct proxy *proxy;
    uint64_t number, opened_ns;
    struct end client, server;
    struct pipe up, down;
    struct loop_timer *deadline;
    struct proxy_http *http; /* NULL: the bytes are passed on as they are */
    bool swallowed, draining, closed;
};

void proxy_conn_open(struct proxy *p, int client_fd);
void conn_reset(struct conn *c); /* both sides see RST */
void conn_end(struct conn *c);   /* both sides see an orderly end; what is queued is lost */
void conn_free(struct conn *c);
/* After any work: watch what there is to watch; close when all is said. */
void conn_settle(struct conn *c);
void conn_toxic_added(struct conn *c, unsigned slot);
void conn_toxic_removed(struct conn *c, const struct live_toxic *was);

/* ---- its HTTP side (proxy_http.c) ---- */
struct proxy_http *proxy_http_new(struct conn *c);
void proxy_http_free(struct proxy_http *h);
/* May end the connection, or turn it to passing bytes on (c->http becomes NULL). */
void proxy_http_feed(struct pipe *p, const char *data, size_t len);
/* Bytes that were kept back and must go before the end of the stream. */
void proxy_http_eof(struct pipe *p);

/* ---- a proxy (proxy.c, proxy_toxics.c) ---- */
struct proxy {
    TAILQ_ENTRY(proxy) link;
    struct proxies *owner;
    char *name;
    int protocol;
    struct proxy_addr upstream; /* len 0: the connection's original destination */
    uint32_t mark;
    char address[64];
    int listen_fd;
    struct loop_io *on_accept; /* NULL: nobody listens */
    struct loop_timer *accept_again;
    TAILQ_HEAD(conn_list, conn) conns;
    uint64_t next_number;
    struct proxy_counts counts;
    struct live_toxic *toxics[PROXY_TOXICS_MAX];
    unsigned n_refuse, n_http;
};

struct proxies {
    struct loop *loop;
    pthread_t thread;
    struct err run_err;
    TAILQ_HEAD(, proxy) list;
    unsigned n;
    uint64_t next_handle;
    char *scratch; /* PROXY_READ_MAX bytes */
    struct conn_list dead;
    struct loop_timer *reaper;
    pthread_mutex_t lock; /* guards `done` of calls */
    pthread_cond_t called;
};

int proxy_listen(struct proxy *p, struct err *err) MUST_CHECK;
void proxy_unlisten(struct proxy *p);
int proxy_toxic_add(struct proxy *p, const struct toxic *t, uint64_t *ret_handle,
                    struct err *err) MUST_CHECK;
int proxy_toxic_remove(struct proxy *p, uint64_t handle, struct err *err) MUST_CHECK;
/* How many toxics refuse connections to it now; from any thread. */
unsigned proxies_refusals(struct proxies *all, const char *name);
int proxy_toxic_slot(const struct proxy *p, uint64_t handle); /* -1: none */

#endif
