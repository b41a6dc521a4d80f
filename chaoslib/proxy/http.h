/* What is known of the messages on a connection, and what toxics make of one of them. Inside
 * proxy_http*.c. */
#ifndef CHAOSLIB_PROXY_HTTP_H
#define CHAOSLIB_PROXY_HTTP_H

#include "chaoslib/proxy/h2.h"
#include "chaoslib/proxy/internal.h"

/* A request whose answer has not gone through yet. */
struct exchange {
    STAILQ_ENTRY(exchange) link;
    struct http_head head; /* of the request, in `text` */
    bool is_ours, close;   /* we answer; and the connection ends with it */
    uint64_t delay_ns;     /* of our answer */
    struct buf answer;
    char text[];
};

struct proxy_http {
    struct conn *c;
    struct h2 *h2; /* it speaks HTTP/2 (grpc.c), and nothing of what follows is used */
    bool begun;    /* a byte came, from whichever side */
    struct http_parser req, resp;
    STAILQ_HEAD(, exchange) exchanges;
    unsigned n_exchanges;
    bool raw;                 /* no longer followed */
    bool drop_req, drop_resp; /* the rest of this message is replaced by something already sent */
    bool interim;             /* a 1xx is passing: the real answer is still to come */
};

/* Which toxics hit one message; drawn once per message and toxic. */
struct verdict {
    bool abort;
    uint64_t delay_ns;
    const struct toxic *status, *body;
    uint64_t headers; /* slots of http-header toxics */
    const struct proxy *proxy;
};
/* False: none. `req` is the request's head, for responses too. */
bool http_judge(struct proxy *p, const struct http_head *req, enum proxy_stream stream,
                struct verdict *ret);
/* The head with its changes and, when it is replaced, the body. True: the original body is to be
 * left out. */
bool http_change(const struct http_head *head, const struct verdict *v, bool may_have_body,
                 struct buf *out);
/* A whole answer for http-status. */
void http_answer(const struct toxic *t, const struct http_head *req, bool close, struct buf *out);

/* ---- gRPC (grpc.c) ---- */
struct h2 *grpc_follow(struct conn *c);
void grpc_feed(struct pipe *p, const char *data, size_t len);
void grpc_eof(struct pipe *p);

#endif
