/* How a toxic is written: the parameters of each kind, for plans, documentation and the command
 * line, and the one-line form that `chaos-load proxy --toxic` takes. */
#include <string.h>

#include "chaoslib/proxy/toxic_rows.h"

const char *const toxic_directions[] = { "request",  "response",   "both",
                                         "upstream", "downstream", NULL };
static const enum proxy_stream direction_streams[] = { PROXY_REQUEST, PROXY_RESPONSE, PROXY_BOTH,
                                                       PROXY_REQUEST, PROXY_RESPONSE };

static const struct param match_rows[] = {
    PARAM(STR, "method", struct toxic_match, method, .help = "only requests with this method"),
    PARAM(STR, "path", struct toxic_match, path,
          .help = "only requests whose target matches; * is any run of characters"),
    PARAM(STR, "header", struct toxic_match, header,
          .help = "only requests with this field: 'Name: text', where text may hold *"),
};
const struct param_table toxic_match_table = { .title = "faults[].http-*.match",
                                               .rows = match_rows,
                                               .n = ARRAY_LEN(match_rows) };

void grpc_code_load(const struct param_ctx *ctx, const struct doc *d, void *field)
{
    int number = d->kind == DOC_SCALAR ? grpc_status_number(d->text) : -1;

    if (number < 0)
        diag_add(ctx->diag, d, "expected a status of gRPC such as UNAVAILABLE or 14, not '%.40s'",
                 d->kind == DOC_SCALAR ? d->text : doc_kind_name(d->kind));
    else
        *(int64_t *)field = number;
}

/* One text, names with commas between. */
void grpc_names_load(const struct param_ctx *ctx, const struct doc *d, void *field)
{
    auto_buf struct buf all = BUF_INIT(TOXIC_BODY_MAX);

    if (d->kind == DOC_SCALAR)
        buf_adds(&all, d->text);
    for (size_t i = 0; d->kind == DOC_LIST && i < d->n_items; i++) {
        if (d->items[i]->kind != DOC_SCALAR || strchr(d->items[i]->text, ',')) {
            diag_add(ctx->diag, d->items[i], "expected a name");
            return;
        }
        buf_addf(&all, "%s%s", i ? "," : "", d->items[i]->text);
    }
    if (all.len == 0)
        diag_add(ctx->diag, d, "names nobody: leave it out, or give it a name");
    else
        *(const char **)field = arena_strdup(ctx->arena, buf_str(&all));
}

#define PROXY_ROW                                                     \
    PARAM(STR, "proxy", struct toxic_params, proxy, .required = true, \
          .help = "the proxy of `proxies:` that it goes into")

static const struct param latency_rows[] = { PROXY_ROW, LATENCY_ROWS };
static const struct param bandwidth_rows[] = { PROXY_ROW, BANDWIDTH_ROWS };
static const struct param loss_rows[] = { PROXY_ROW, LOSS_ROWS };
static const struct param reset_rows[] = { PROXY_ROW, RESET_ROWS };
static const struct param refuse_rows[] = { PROXY_ROW };
static const struct param blackhole_rows[] = { PROXY_ROW, BLACKHOLE_ROWS };
static const struct param slow_close_rows[] = { PROXY_ROW, SLOW_CLOSE_ROWS };
static const struct param slicer_rows[] = { PROXY_ROW, SLICER_ROWS };
static const struct param limit_rows[] = { PROXY_ROW, LIMIT_ROWS };
static const struct param status_rows[] = { PROXY_ROW, STATUS_ROWS };
static const struct param abort_rows[] = { PROXY_ROW, ABORT_ROWS };
static const struct param delay_rows[] = { PROXY_ROW, DELAY_ROWS };
static const struct param body_rows[] = { PROXY_ROW, BODY_ROWS };
static const struct param header_rows[] = { PROXY_ROW, HEADER_ROWS };
static const struct param grpc_rows[] = { PROXY_ROW, GRPC_STATUS_ROWS };

static void check_any(const struct param_ctx *ctx, const struct doc *d, void *base,
                      enum toxic_kind k);

#define CHECK(fn_, kind_)                                                         \
    static void fn_(const struct param_ctx *ctx, const struct doc *d, void *base) \
    {                                                                             \
        check_any(ctx, d, base, kind_);                                           \
    }
CHECK(check_bandwidth, TOXIC_BANDWIDTH)
CHECK(check_reset, TOXIC_RESET)
CHECK(check_slicer, TOXIC_SLICER)
CHECK(check_status, TOXIC_HTTP_STATUS)
CHECK(check_abort, TOXIC_HTTP_ABORT)
CHECK(check_delay, TOXIC_HTTP_DELAY)
CHECK(check_body, TOXIC_HTTP_BODY)
CHECK(check_header, TOXIC_HTTP_HEADER)
CHECK(check_grpc, TOXIC_GRPC_STATUS)

#define TABLE(kind_, name_, rows_, check_)                                                    \
    [kind_] = {                                                                               \
        .title = "faults[]." name_, .rows = (rows_), .n = ARRAY_LEN(rows_), .check = (check_) \
    }

const struct param_table toxic_tables[TOXIC_KIND_MAX] = {
    TABLE(TOXIC_LATENCY, "latency", latency_rows, NULL),
    TABLE(TOXIC_BANDWIDTH, "bandwidth", bandwidth_rows, check_bandwidth),
    TABLE(TOXIC_LOSS, "loss", loss_rows, NULL),
    TABLE(TOXIC_RESET, "tcp-reset", reset_rows, check_reset),
    TABLE(TOXIC_REFUSE, "tcp-refuse", refuse_rows, NULL),
    TABLE(TOXIC_BLACKHOLE, "blackhole", blackhole_rows, NULL),
    TABLE(TOXIC_SLOW_CLOSE, "slow-close", slow_close_rows, NULL),
    TABLE(TOXIC_SLICER, "slicer", slicer_rows, check_slicer),
    TABLE(TOXIC_LIMIT_DATA, "limit-data", limit_rows, NULL),
    TABLE(TOXIC_HTTP_STATUS, "http-status", status_rows, check_status),
    TABLE(TOXIC_HTTP_ABORT, "http-abort", abort_rows, check_abort),
    TABLE(TOXIC_HTTP_DELAY, "http-delay", delay_rows, check_delay),
    TABLE(TOXIC_HTTP_BODY, "http-body", body_rows, check_body),
    TABLE(TOXIC_HTTP_HEADER, "http-header", header_rows, check_header),
    TABLE(TOXIC_GRPC_STATUS, "grpc-status", grpc_rows, check_grpc),
};

static void check_any(const struct param_ctx *ctx, const struct doc *d, void *base,
                      enum toxic_kind k)
{
    struct toxic t = toxic_from_params(k, base, 0);
    struct err err = { 0 };

    if (toxic_check(&t, &err) < 0)
        diag_add(ctx->diag, d, "%s", err.msg);
}

struct toxic toxic_from_params(enum toxic_kind k, const struct toxic_params *p, uint64_t seed)
{
    struct toxic t = p->toxic;

    t.kind = k;
    t.stream = direction_streams[p->direction];
    t.status = (int)p->status;
    t.seed = seed;
    if (k == TOXIC_REFUSE) {
        t.stream = PROXY_BOTH;
        t.percent = 1;
    }
    return t;
}

/* ---- the one-line form ---- */

/* Cuts the next word off *s into out, without its quotes; false at the end. */
static bool next_word(const char **s, struct buf *out)
{
    bool quoted = false;
    const char *p = *s;

    buf_clear(out);
    p += strspn(p, " \t");
    if (!*p)
        return false;
    for (; *p && (quoted || (*p != ' ' && *p != '\t')); p++) {
        if (*p == '"')
            quoted = !quoted;
        else
            buf_addc(out, *p);
    }
    *s = p;
    return true;
}

/* `a.b=c` becomes {a: {b: c}}. */
static void put_word(const struct param_ctx *ctx, struct doc *map, char *key, const char *value)
{
    char *dot = strchr(key, '.');
    struct doc *scalar = doc_scalar(ctx->arena, "--toxic", value);

    if (!dot) {
        doc_map_put(ctx->arena, map, key, scalar);
        return;
    }
    *dot = '\0';
    struct doc *inner = doc_get_mutable(map, key);
    if (!inner || inner->kind != DOC_MAP) {
        doc_map_put(ctx->arena, map, key, doc_new(ctx->arena, DOC_MAP, "--toxic"));
        inner = doc_get_mutable(map, key);
    }
    doc_map_put(ctx->arena, inner, dot + 1, scalar);
}

static unsigned mistake(const struct param_ctx *ctx, const char *word, const char *what)
{
    diag_add(ctx->diag, NULL, "--toxic: '%.100s' %s", word, what);
    return 1;
}

unsigned toxic_parse(const struct param_ctx *ctx, const char *text, uint64_t seed,
                     struct toxic *ret)
{
    struct doc *map = doc_new(ctx->arena, DOC_MAP, "--toxic");
    struct toxic_params *params = arena_alloc(ctx->arena, sizeof *params);
    auto_buf struct buf word = BUF_INIT(TOXIC_BODY_MAX);
    enum toxic_kind kind;

    if (!map || !params || !next_word(&text, &word))
        return mistake(ctx, text, "names no toxic");
    if (!toxic_kind_find(buf_str(&word), &kind))
        return mistake(ctx, buf_str(&word), "is no toxic; see docs/PROXY.md");
    doc_map_put(ctx->arena, map, "proxy", doc_scalar(ctx->arena, "--toxic", "this"));
    while (next_word(&text, &word)) {
        char *equals = word.data ? strchr(word.data, '=') : NULL;
        if (!equals)
            return mistake(ctx, buf_str(&word), "is not key=value");
        *equals = '\0';
        put_word(ctx, map, word.data, equals + 1);
    }
    unsigned mistakes = param_load(ctx, &toxic_tables[kind], map, params, NULL);
    if (mistakes == 0)
        *ret = toxic_from_params(kind, params, seed);
    return mistakes;
}
