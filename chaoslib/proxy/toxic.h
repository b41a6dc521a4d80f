/* Toxics as data: what kinds there are, how a plan or a command line writes one, and the lotteries
 * that decide whom one hits. Pure; proxy_*.c gives them their effect. Inside chaoslib, and for the
 * verb `proxy`. */
#ifndef CHAOSLIB_PROXY_TOXIC_H
#define CHAOSLIB_PROXY_TOXIC_H

#include "base/rng.h"
#include "chaoslib/proxy/proxy.h"

#define TOXIC_BODY_MAX ((size_t)1 << 20)
#define TOXIC_HEADERS_MAX 64
#define GRPC_NAME_MAX 200
#define GRPC_MESSAGE_MAX 1024

const char *toxic_kind_name(enum toxic_kind k);               /* "tcp-reset" */
bool toxic_kind_find(const char *name, enum toxic_kind *ret); /* also by alias: "rate" */
bool toxic_is_http(enum toxic_kind k);
bool toxic_reads_messages(enum toxic_kind k); /* of HTTP or gRPC: bytes alone do not do */
/* "UNAVAILABLE" or "14"; -1: gRPC has no such status. */
int grpc_status_number(const char *text);
/* What is asked for makes sense, whoever asks. */
int toxic_check(const struct toxic *t, struct err *err) MUST_CHECK;

/* ---- as parameters of a fault: {proxy: shop, delay: 200ms, …} ---- */
struct toxic_params {
    const char *proxy;
    int direction; /* index into request, response, both */
    int64_t status;
    struct toxic toxic; /* filled but for kind, stream, status and seed */
};
extern const struct param_table toxic_tables[TOXIC_KIND_MAX];
struct toxic toxic_from_params(enum toxic_kind k, const struct toxic_params *p, uint64_t seed);
/* "latency delay=200ms jitter=50ms direction=response": words are key=value, `match.path=/x` goes
 * into a map, a value may stand in double quotes. Mistakes are in ctx->diag; returns their number.
 */
unsigned toxic_parse(const struct param_ctx *ctx, const char *text, uint64_t seed,
                     struct toxic *ret);

/* ---- one in effect ---- */
struct live_toxic {
    struct toxic toxic; /* all it points to is in `arena` */
    struct arena *arena;
    uint64_t handle, since_ns;
    struct rng rng; /* per-request and per-chunk draws, in the order they come */
    uint64_t connections, requests;
};
struct live_toxic *toxic_live_new(const struct toxic *t, uint64_t handle, struct err *err);
void toxic_live_free(struct live_toxic *l);
/* TCP toxics: a pure function of the toxic's seed and the connection's number, so that neither the
 * order of events nor a change of another toxic draws again. */
bool toxic_hits_connection(const struct live_toxic *l, uint64_t connection);
bool toxic_draw(struct live_toxic *l); /* HTTP toxics and loss: the next one */
/* Delay ± jitter, uniform, never negative. */
uint64_t toxic_delay_draw(struct live_toxic *l);

/* '*' is any run of characters; everything else is itself. */
bool glob_match(const char *pattern, const char *text, size_t len);

#endif
