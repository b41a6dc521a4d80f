/* A toxic in effect: its own copy of what was asked for, and its lotteries. */
#include "chaoslib/proxy/toxic.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"

static const char *const kind_names[] = {
    [TOXIC_LATENCY] = "latency",
    [TOXIC_BANDWIDTH] = "bandwidth",
    [TOXIC_LOSS] = "loss",
    [TOXIC_RESET] = "tcp-reset",
    [TOXIC_REFUSE] = "tcp-refuse",
    [TOXIC_BLACKHOLE] = "blackhole",
    [TOXIC_SLOW_CLOSE] = "slow-close",
    [TOXIC_SLICER] = "slicer",
    [TOXIC_LIMIT_DATA] = "limit-data",
    [TOXIC_HTTP_STATUS] = "http-status",
    [TOXIC_HTTP_ABORT] = "http-abort",
    [TOXIC_HTTP_DELAY] = "http-delay",
    [TOXIC_HTTP_BODY] = "http-body",
    [TOXIC_HTTP_HEADER] = "http-header",
    [TOXIC_GRPC_STATUS] = "grpc-status",
};
_Static_assert(ARRAY_LEN(kind_names) == TOXIC_KIND_MAX, "every toxic has a name");

const char *toxic_kind_name(enum toxic_kind k)
{
    return (unsigned)k < TOXIC_KIND_MAX ? kind_names[k] : "";
}

bool toxic_kind_find(const char *name, enum toxic_kind *ret)
{
    static const struct {
        const char *alias;
        enum toxic_kind kind;
    } aliases[] = {
        { "rate", TOXIC_BANDWIDTH },
        { "reset", TOXIC_RESET },
        { "refuse", TOXIC_REFUSE },
    };

    for (unsigned k = 0; k < TOXIC_KIND_MAX; k++)
        if (strcmp(name, kind_names[k]) == 0) {
            *ret = (enum toxic_kind)k;
            return true;
        }
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
        if (strcmp(name, aliases[i].alias) == 0) {
            *ret = aliases[i].kind;
            return true;
        }
    return false;
}

bool toxic_is_http(enum toxic_kind k)
{
    return k >= TOXIC_HTTP_STATUS && k <= TOXIC_HTTP_HEADER;
}

bool toxic_reads_messages(enum toxic_kind k)
{
    return toxic_is_http(k) || k == TOXIC_GRPC_STATUS;
}

static bool is_header_text(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

static int check_headers(const struct pairs *p, struct err *err)
{
    if (p->n == 0)
        return err_set(err, ERR_USAGE, EINVAL,
                       "http-header: headers is empty; name at least one to set or remove");
    if (p->n > TOXIC_HEADERS_MAX)
        return err_set(err, ERR_LIMIT, E2BIG, "http-header: more than %d headers",
                       TOXIC_HEADERS_MAX);
    for (size_t i = 0; i < p->n; i++) {
        if (strcasecmp(p->keys[i], "content-length") == 0 ||
            strcasecmp(p->keys[i], "transfer-encoding") == 0)
            return err_set(err, ERR_USAGE, EINVAL,
                           "http-header: '%s' says where a message ends; use http-body instead",
                           p->keys[i]);
        if (!p->keys[i][0] || strpbrk(p->keys[i], " :\t\r\n") || !is_header_text(p->keys[i]) ||
            !is_header_text(p->values[i]))
            return err_set(err, ERR_USAGE, EINVAL, "http-header: '%s' is not a header field",
                           p->keys[i]);
    }
    return 0;
}

static int check_http(const struct toxic *t, struct err *err)
{
    if (t->body && strlen(t->body) > TOXIC_BODY_MAX)
        return err_set(err, ERR_LIMIT, E2BIG, "%s: the body is longer than %zu bytes",
                       toxic_kind_name(t->kind), TOXIC_BODY_MAX);
    if (t->match.header && t->match.header[0] && !strchr(t->match.header, ':'))
        return err_set(err, ERR_USAGE, EINVAL,
                       "match.header '%s' has no colon; write it as 'Name: text'", t->match.header);
    if (t->kind == TOXIC_HTTP_STATUS && (t->status < 200 || t->status > 599))
        return err_set(err, ERR_USAGE, EINVAL, "http-status: status %d is not in 200..599",
                       t->status);
    return t->kind == TOXIC_HTTP_HEADER ? check_headers(&t->headers, err) : 0;
}

/* ---- gRPC ---- */

int grpc_status_number(const char *text)
{
    static const char *const names[] = {
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    };
    uint64_t number;

    if (parse_u64(text, 0, ARRAY_LEN(names) - 1, &number, NULL) == 0)
        return (int)number;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcasecmp(names[i], text) == 0)
            return (int)i;
    return -1;
}

static int check_names(const char *what, const char *list, struct err *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.*-";

    for (const char *s = list ? list : ""; *s;) {
        size_t n = strcspn(s, ",");
        if (n == 0 || n > GRPC_NAME_MAX || strspn(s, allowed) < n)
            return err_set(err, ERR_USAGE, EINVAL,
                           "grpc-status: %s: '%.*s' is not a name such as pkg.Service or Get*",
                           what, (int)MIN(n, 60), s);
        s += n + (s[n] == ',' && s[n + 1]);
        if (*s == ',')
            return err_set(err, ERR_USAGE, EINVAL, "grpc-status: %s: a name is empty", what);
    }
    return 0;
}

static int check_grpc(const struct toxic *t, struct err *err)
{
    if (t->status < 1 || t->status > 16)
        return err_set(err, ERR_USAGE, EINVAL,
                       "grpc-status: status %d is no failure: write UNAVAILABLE, 14, ...",
                       t->status);
    if (t->body && (strlen(t->body) > GRPC_MESSAGE_MAX || !utf8_is_valid(t->body, strlen(t->body))))
        return err_set(err, ERR_USAGE, EINVAL,
                       "grpc-status: the message is longer than %d bytes, or not UTF-8",
                       GRPC_MESSAGE_MAX);
    if (check_names("services", t->calls.services, err) < 0)
        return -EINVAL;
    return check_names("methods", t->calls.methods, err);
}

int toxic_check(const struct toxic *t, struct err *err)
{
    if ((unsigned)t->kind >= TOXIC_KIND_MAX || t->stream < PROXY_REQUEST || t->stream > PROXY_BOTH)
        return err_set(err, ERR_USAGE, EINVAL, "a toxic of no known kind or direction");
    if (!(t->percent >= 0 && t->percent <= 1))
        return err_set(err, ERR_USAGE, EINVAL, "%s: percent is not in 0..100%%",
                       toxic_kind_name(t->kind));
    if (t->kind == TOXIC_BANDWIDTH && t->bits_per_sec < 8)
        return err_set(err, ERR_USAGE, EINVAL,
                       "bandwidth: less than 8 bit/s; use blackhole to stop all traffic");
    if (t->kind == TOXIC_SLICER && t->bytes == 0)
        return err_set(err, ERR_USAGE, EINVAL, "slicer: size is 0; write for example size: 64B");
    if (t->kind == TOXIC_GRPC_STATUS)
        return check_grpc(t, err);
    return toxic_is_http(t->kind) ? check_http(t, err) : 0;
}

static const char *copy(struct arena *a, const char *s)
{
    return s && s[0] ? arena_strdup(a, s) : NULL;
}

static int copy_pairs(struct arena *a, const struct pairs *from, struct pairs *to)
{
    to->n = from->n;
    to->keys = arena_alloc(a, (from->n + 1) * sizeof *to->keys);
    to->values = arena_alloc(a, (from->n + 1) * sizeof *to->values);
    if (!to->keys || !to->values)
        return -ENOMEM;
    for (size_t i = 0; i < from->n; i++) {
        to->keys[i] = arena_strdup(a, from->keys[i]);
        to->values[i] = arena_strdup(a, from->values[i] ? from->values[i] : "");
        if (!to->keys[i] || !to->values[i])
            return -ENOMEM;
    }
    return 0;
}

struct live_toxic *toxic_live_new(const struct toxic *t, uint64_t handle, struct err *err)
{
    struct live_toxic *l;

    if (toxic_check(t, err) < 0)
        return NULL;
    l = xcalloc(1, sizeof *l);
    l->arena = arena_new(2 * TOXIC_BODY_MAX);
    l->toxic = *t;
    l->handle = handle;
    l->toxic.body = copy(l->arena, t->body);
    l->toxic.match.method = copy(l->arena, t->match.method);
    l->toxic.match.path = copy(l->arena, t->match.path);
    l->toxic.match.header = copy(l->arena, t->match.header);
    l->toxic.calls.services = copy(l->arena, t->calls.services);
    l->toxic.calls.methods = copy(l->arena, t->calls.methods);
    if (copy_pairs(l->arena, &t->headers, &l->toxic.headers) < 0) {
        toxic_live_free(l);
        err_set(err, ERR_LIMIT, ENOMEM, "%s: texts are too long", toxic_kind_name(t->kind));
        return NULL;
    }
    rng_seed(&l->rng, t->seed, 0);
    return l;
}

void toxic_live_free(struct live_toxic *l)
{
    if (!l)
        return;
    arena_free(l->arena);
    free(l);
}

static bool percent_hits(double percent, struct rng *r)
{
    return percent >= 1 || (percent > 0 && rng_unit(r) < percent);
}

bool toxic_hits_connection(const struct live_toxic *l, uint64_t connection)
{
    struct rng r;

    rng_seed(&r, l->toxic.seed, connection + 1);
    return percent_hits(l->toxic.percent, &r);
}

bool toxic_draw(struct live_toxic *l)
{
    return percent_hits(l->toxic.percent, &l->rng);
}

uint64_t toxic_delay_draw(struct live_toxic *l)
{
    const struct toxic *t = &l->toxic;

    if (t->jitter_ns == 0)
        return t->delay_ns;
    double ns = rng_uniform(&l->rng, (double)t->delay_ns - (double)t->jitter_ns,
                            (double)t->delay_ns + (double)t->jitter_ns);
    return ns > 0 ? (uint64_t)ns : 0;
}

/* Greedy with one way back: the last star takes one character more whenever the rest fails. */
bool glob_match(const char *pattern, const char *text, size_t len)
{
    const char *star = NULL;
    size_t i = 0, star_i = 0;

    while (i < len) {
        if (*pattern == '*') {
            star = pattern++;
            star_i = i;
        } else if (*pattern && *pattern == text[i]) {
            pattern++;
            i++;
        } else if (star) {
            pattern = star + 1;
            i = ++star_i;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}
