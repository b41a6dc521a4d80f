/* How client faults are written. */
#include "chaoslib/client/params.h"

static const char *const sends[] = { "nothing", "half", NULL };

#define CLIENT_ROW                                                       \
    PARAM(STR, "client", struct client_params, client, .required = true, \
          .help = "the user class that misbehaves, or any")
#define PERCENT_ROW(of_) \
    PARAM(PERCENT, "percent", struct client_params, percent, .def = "100%", .help = "share of " of_)
#define REQUESTS_ROW PERCENT_ROW("the requests that do so")
#define HOLD_ROW(def_)                                                                             \
    PARAM(DURATION, "hold", struct client_params, hold_ns, .def = (def_), .lo = 0.001, .hi = 3600, \
          .help = "how long each connection is kept")

static const struct param slow_read_rows[] = {
    CLIENT_ROW,
    PARAM(BANDWIDTH, "rate", struct client_params, rate_bits,
          .help = "what each connection takes from its socket; without it, all that is there"),
    PARAM(DURATION, "pause", struct client_params, pause_ns, .hi = 3600,
          .help = "reads nothing for so long after the request"),
    PARAM(SIZE, "buffer", struct client_params, buffer, .def = "4KiB", .lo = 256, .hi = 16 << 20,
          .help = "SO_RCVBUF: how much the kernel takes on our behalf"),
    REQUESTS_ROW,
};
static const struct param slow_send_rows[] = {
    CLIENT_ROW,
    PARAM(BANDWIDTH, "rate", struct client_params, rate_bits, .required = true,
          .help = "at which the bytes of a request leave"),
    REQUESTS_ROW,
};
static const struct param half_open_rows[] = {
    CLIENT_ROW,
    HOLD_ROW("30s"),
    PARAM(ENUM, "sends", struct client_params, sends, .def = "nothing", .choices = sends,
          .help = "nothing after connecting, or the first half of the request"),
    REQUESTS_ROW,
};
static const struct param abort_rows[] = {
    CLIENT_ROW,
    PARAM(SIZE, "after_bytes", struct client_params, after_bytes, .aliases = "bytes",
          .help = "of the answer, then the connection is reset; 0: right after the request"),
    REQUESTS_ROW,
};
static const struct param tls_stall_rows[] = { CLIENT_ROW, HOLD_ROW("30s"), REQUESTS_ROW };
static const struct param big_headers_rows[] = {
    CLIENT_ROW,
    PARAM(SIZE, "size", struct client_params, size, .def = "64KiB",
          .help = "bytes of header fields that are added to a request"),
    PARAM(INT, "count", struct client_params, count, .def = "1", .lo = 1, .hi = 1000,
          .help = "in so many fields"),
    REQUESTS_ROW,
};
static const struct param retry_storm_rows[] = {
    CLIENT_ROW,
    PARAM(INT, "retries", struct client_params, retries, .def = "3", .lo = 1, .hi = 1000,
          .help = "how often a failed request is sent again, at once and without back-off"),
    PERCENT_ROW("the users who do so"),
};

static void percent_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct client_params *p = base;

    if (p->percent <= 0)
        diag_add(ctx->diag, doc_get(d, "percent"),
                 "must be above 0: a share of nobody is no fault");
}

/* Less than a byte per second would be a hold. */
static void rate_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct client_params *p = base;

    percent_check(ctx, d, base);
    if (doc_get(d, "rate") && p->rate_bits < 8)
        diag_add(ctx->diag, doc_get(d, "rate"), "less than a byte per second: write 8bit or more");
}

static void slow_read_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct client_params *p = base;

    rate_check(ctx, d, base);
    if (!doc_get(d, "rate") && !p->pause_ns)
        diag_add(ctx->diag, d, "how slow? add rate: 8kbit, pause: 5s, or both");
}

static void big_headers_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct client_params *p = base;

    percent_check(ctx, d, base);
    if (p->size > CLIENT_HEADERS_BYTES_MAX)
        diag_add(ctx->diag, doc_get(d, "size"), "more than 16MiB");
    else if (p->size < CLIENT_FIELD_MIN * (uint64_t)p->count)
        diag_add(ctx->diag, doc_get(d, "size") ? doc_get(d, "size") : d,
                 "too little for %lld fields of %d bytes each", (long long)p->count,
                 CLIENT_FIELD_MIN);
}

#define TABLE(id_, name_, check_)                                                 \
    const struct param_table client_##id_##_table = { .title = "faults[]." name_, \
                                                      .rows = id_##_rows,         \
                                                      .n = ARRAY_LEN(id_##_rows), \
                                                      .check = (check_) }

TABLE(slow_read, "slow-read", slow_read_check);
TABLE(slow_send, "slow-send", rate_check);
TABLE(half_open, "half-open", percent_check);
TABLE(abort, "abort", percent_check);
TABLE(tls_stall, "tls-stall", percent_check);
TABLE(big_headers, "big-headers", big_headers_check);
TABLE(retry_storm, "retry-storm", percent_check);
