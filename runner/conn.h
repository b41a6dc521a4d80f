/* A connection that knows no HTTP: resolve, connect, TLS, send, receive; how long each stage took,
 * and a deadline for it. It is told what bytes to send and tells what bytes came. One thread.
 *
 * `opened` may come from inside conn_open; no other event comes from inside a call. An event may
 * call conn_close, and conn_open again; the memory of the conn must outlive the event. */
#ifndef RUNNER_CONN_H
#define RUNNER_CONN_H

#include "edge/tls.h"
#include "runner/resolve.h"
#include "runner/timers.h"

/* What the connections of one thread share. */
struct conn_env;
struct conn_env *conn_env_new(struct loop *l, const struct http_plan *http, struct err *err);
void conn_env_free(struct conn_env *e);
uint64_t conn_env_open(const struct conn_env *e); /* sockets now */

/* Where connections go: addresses, TLS name, the session to resume. */
struct endpoint_opts {
    const char *unix_path; /* or: */
    const char *host;
    uint16_t port;
    const char *tls_name; /* NULL: no TLS */
};
struct endpoint;
struct endpoint *endpoint_new(struct conn_env *e, const struct endpoint_opts *opts,
                              struct err *err);
void endpoint_free(struct endpoint *ep); /* after its connections */

/* Slow on purpose (conn_pace.c). Rates are bytes per second, 0: as fast as it goes. */
struct conn_pace {
    struct conn *conn; /* set by the owner, as all but the timer */
    uint64_t in_per_sec, out_per_sec;
    uint64_t silence_ns;   /* reads nothing for so long after it has begun to send */
    uint64_t buffer_bytes; /* SO_RCVBUF, 0: the kernel's */
    struct timer timer;
    uint64_t helping_ends_ns; /* conn_pace.c's own, as what follows */
    size_t left;
};

enum conn_state { CONN_OFF, CONN_RESOLVING, CONN_CONNECTING, CONN_SHAKING, CONN_OPEN };

struct conn;
struct conn_events {
    void (*opened)(struct conn *c);
    /* Valid during the event only: the memory is shared by all connections of the thread. */
    void (*received)(struct conn *c, const char *data, size_t len);
    /* FAIL_NONE: the peer ended the stream in order. The conn is CONN_OFF already (but the stage
     * times and stamps are still there). */
    void (*ended)(struct conn *c, enum fail_class why_class, const char *why);
};

struct conn { /* zeroed: off. Fields are to be read only. */
    struct conn_env *env;
    const struct conn_events *events;
    struct endpoint *endpoint;
    struct loop_io *io;
    struct tls *tls;
    struct addresses *addresses;
    struct lookup lookup;
    struct timer timer;
    uint64_t deadline_ns; /* of what is under way, 0: none; looked at when `timer` fires */
    uint64_t request_deadline_ns;
    const char *out; /* rest of what is to be sent; the sender's memory */
    size_t out_len;
    uint64_t stage_began_ns;
    uint64_t stage_ns[STAGE_MAX]; /* dns, connect, tls of this connection; 0: did not happen */
    uint64_t send_ns, first_ns;   /* of what conn_send sent last: first byte out, first back */
    uint64_t bytes_out, bytes_in; /* since conn_send */
    int fd;
    int send_errno; /* sending failed so; what was received before comes first */
    uint32_t life;  /* counts opens and closes */
    uint16_t next_address;
    uint8_t state;   /* enum conn_state */
    uint8_t pending; /* enum fail_class to be delivered by the timer; 0: none */
    bool is_writing; /* the loop watches for room */
    bool is_calling; /* inside conn_open */
    bool is_bare;    /* no TLS, whatever the endpoint says; set before conn_open */
    char *pending_why;
    struct conn_pace *pace; /* NULL: as fast as it goes; set before conn_open */
};

/* Begins; `opened` or `ended` follows. Nothing takes longer than until `deadline_ns`, connecting
 * (with the name's lookup) and shaking hands each no longer than the plan's connect_timeout. */
void conn_open(struct conn *c, struct endpoint *ep, uint64_t now_ns, uint64_t deadline_ns);
/* An open one sends. Without an answer that ends (conn_answered) by the deadline it ends with a
 * timeout's class. */
struct conn_message {
    const char *bytes; /* live until sent, or answered, or the conn is off */
    size_t len;
    uint64_t now_ns, deadline_ns;
};
void conn_send(struct conn *c, const struct conn_message *m);
void conn_answered(struct conn *c); /* no deadline any more; what was not sent yet is forgotten */
static inline bool conn_is_sending(const struct conn *c)
{
    return c->out_len != 0;
}
/* What a connection to there would say first, if it has TLS. The caller frees. */
char *endpoint_hello(struct endpoint *ep, size_t *ret_len, struct err *err);
struct timers *conn_env_timers(const struct conn_env *e);
void conn_close(struct conn *c); /* no event follows */
/* Makes `ended` come, from the loop, with this class. */
void conn_cut(struct conn *c, enum fail_class why_class, const char *why);

#endif
