/* A client on a loop of its own, and one call that sends a request and waits for what became of
 * it. Shared by the client's functional tests. */
#ifndef TESTS_UNIT_FETCH_H
#define TESTS_UNIT_FETCH_H

#include "runner/client.h"

#define FETCH_BODY_MAX 4096

struct fetcher {
    struct http_plan http; /* as fetcher_plan fills it; to be changed before fetcher_start */
    struct loop *loop;
    struct client *client;
    const struct origin *origin;
    unsigned waiting;
};

struct fetched {
    struct fetcher *f;
    struct sample sample;
    unsigned times; /* the callback came */
    bool reused, has_body;
    char why[256];
    char head[1024];
    char body[FETCH_BODY_MAX];
    size_t body_len;
};

/* Short timeouts: 300 ms to connect, 600 ms for a request. */
void fetcher_plan(struct fetcher *f);
void fetcher_start(struct fetcher *f, const char *base_url);
/* The same with a client_opts.connect_to for that very URL. */
void fetcher_start_to(struct fetcher *f, const char *base_url, const char *connect_to);
void fetcher_stop(struct fetcher *f);

/* `lane` NULL: pooled. `text` is the whole request; "HEAD " is seen. */
struct exchange *fetch_begin(struct fetcher *f, struct lane *lane, const char *text, bool want_body,
                             struct fetched *ret);
void fetch_wait(struct fetcher *f); /* for all that were begun */
void fetch(struct fetcher *f, struct lane *lane, const char *text, bool want_body,
           struct fetched *ret);
void loop_for_ms(struct fetcher *f, uint64_t ms);

#define GET "GET / HTTP/1.1\r\nHost: t\r\n\r\n"

#endif
