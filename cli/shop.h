/* The demo target: a small shop over HTTP/1.1, for examples, benches and `target: {embedded:
 * shop}`. It runs in a process of its own, so that it can be killed, paused and started again like
 * any other. */
#ifndef CLI_SHOP_H
#define CLI_SHOP_H

#include "base/err.h"
#include "base/rng.h"
#include "chaoslib/proxy/http_msg.h"

#define SHOP_BODY_MAX ((size_t)1 << 20)
#define SHOP_BYTES_MAX ((size_t)16 << 20)
#define SHOP_SLOW_MAX_MS 60000
#define SHOP_ITEMS_MAX 10000
#define SHOP_CONNS_MAX 20000

struct shop_opts {
    const char *listen; /* "127.0.0.1:5001" */
    const char *name;
    uint64_t latency_ns; /* median service time; 0: answers at once */
    double fail_rate;    /* share of requests answered 500, /health excepted */
    uint64_t seed;
};

/* Serves until SIGTERM or SIGINT; then finishes what it has begun, and returns 0. */
int shop_run(const struct shop_opts *opts, struct err *err) MUST_CHECK;

/* ---- what it says (shop_pages.c): no sockets, no clock ---- */
struct shop_store; /* the items */
struct shop_store *shop_store_new(const char *name);
void shop_store_free(struct shop_store *s);

struct shop_request {
    struct http_head head;
    struct http_span path, query, body;
};
struct shop_answer {
    int status;
    const char *type; /* of the body */
    struct buf extra; /* more header lines */
    struct buf body;
    uint64_t slow_ns; /* asked for by the request */
    bool never_fails; /* /health tells the truth */
};
void shop_answer_done(struct shop_answer *a);
void shop_answer(struct shop_store *s, const struct shop_request *req, struct shop_answer *ret);
/* The answer as bytes. */
void shop_answer_write(const struct shop_answer *a, const struct http_head *head, bool persists,
                       struct buf *out);

#endif
