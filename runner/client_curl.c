/* The curl engine: the same requests and answers as the native one, for what that does not speak.
 * Requests come as bytes; they are taken apart here, because libcurl writes its own. That and
 * libcurl itself cost about a factor of five, so it is used only where it must. */
#include <string.h>
#include <strings.h>

#include "edge/http.h"
#include "runner/client_engine.h"
#include "runner/limits.h"

#define HEADERS_MAX 340

TAILQ_HEAD(curl_exchanges, curl_exchange);

struct curl_client {
    struct client base; /* first */
    struct http_multi *multi;
    struct curl_exchanges busy;
};

struct curl_exchange {
    struct exchange base; /* first */
    TAILQ_ENTRY(curl_exchange) link;
    struct http_call *call;
    client_done_fn *done;
    void *arg;
    uint64_t sched_ns, start_ns;
    bool want_body;
    enum fail_class cut_as;
};

static const enum fail_class fail_of[HTTP_FAIL_MAX] = {
    [HTTP_OK] = FAIL_NONE,
    [HTTP_DNS] = FAIL_DNS,
    [HTTP_REFUSED] = FAIL_REFUSED,
    [HTTP_UNREACHABLE] = FAIL_UNREACHABLE,
    [HTTP_CONNECT_TIMEOUT] = FAIL_CONNECT_TIMEOUT,
    [HTTP_TLS] = FAIL_TLS,
    [HTTP_TLS_TIMEOUT] = FAIL_TLS_TIMEOUT,
    [HTTP_RESET] = FAIL_RESET,
    [HTTP_CLOSED] = FAIL_CLOSED,
    [HTTP_SHORT] = FAIL_SHORT_BODY,
    [HTTP_RESPONSE_TIMEOUT] = FAIL_RESPONSE_TIMEOUT,
    [HTTP_TRANSFER_TIMEOUT] = FAIL_TRANSFER_TIMEOUT,
    [HTTP_MALFORMED] = FAIL_MALFORMED,
    [HTTP_TOO_LARGE] = FAIL_TOO_LARGE,
    [HTTP_CUT] = FAIL_INTERRUPTED,
    [HTTP_INTERNAL] = FAIL_INTERNAL,
};

static struct curl_client *curl_of(const struct client *c)
{
    return (struct curl_client *)(uintptr_t)c;
}

/* ---- life ---- */

static struct client *curl_create(const struct client_opts *opts, struct err *err)
{
    const struct http_plan *http = opts->http;
    struct http_multi_opts o = {
        .loop = opts->loop,
        .proxy = http->proxy,
        .http_version = http->http_version,
        .connect_timeout_ns = http->connect_timeout_ns,
        .source_addresses = http->source_addresses.v,
        .n_sources = http->source_addresses.n,
        .fd_end = limits_socket_end(),
        .tls = { .no_verify = !http->tls.verify,
                 .ca_file = http->tls.ca_file,
                 .cert_file = http->tls.cert_file,
                 .key_file = http->tls.key_file,
                 .sni = http->tls.sni,
                 .min_version = http->tls.min_version,
                 .no_resume = !http->tls.resume },
    };
    struct curl_client *c;

    if (http->dns == DNS_PINNED)
        o.dns_ttl_s = -1;
    else if (http->dns == DNS_TTL)
        o.dns_ttl_s = (int64_t)MAX(http->dns_ttl_ns / NS_PER_SEC, 1);
    c = xcalloc(1, sizeof(*c));
    TAILQ_INIT(&c->busy);
    c->multi = http_multi_new(&o, err);
    if (!c->multi) {
        free(c);
        return NULL;
    }
    return &c->base;
}

static void curl_cut_all(struct client *client)
{
    struct curl_exchange *x;

    TAILQ_FOREACH (x, &curl_of(client)->busy, link)
        x->cut_as = FAIL_INTERRUPTED;
    http_multi_cut_all(curl_of(client)->multi);
}

static void curl_destroy(struct client *client)
{
    http_multi_free(curl_of(client)->multi);
    free(curl_of(client));
}

static void curl_lane_close(struct client *client, struct lane *lane)
{
    (void)client;
    http_lane_free(lane->conn);
    *lane = (struct lane){ 0 };
}

static uint64_t curl_connections(const struct client *client)
{
    return http_multi_connections(curl_of(client)->multi);
}

/* ---- a request, taken apart ---- */

struct apart {
    char *head; /* a copy whose lines end in NUL */
    const char *headers[HEADERS_MAX];
    struct http_send send;
    char *url;
};

static bool is_header(const char *line, const char *name)
{
    size_t n = strlen(name);

    return strncasecmp(line, name, n) == 0 && line[n] == ':';
}

/* Cuts one line off, ending it with NUL. */
static char *next_line(char **rest)
{
    char *line = *rest;
    char *end = strstr(line, "\r\n");

    if (end) {
        *end = '\0';
        *rest = end + 2;
    } else {
        *rest = line + strlen(line);
    }
    return line;
}

static void take_headers(struct apart *a, char *rest, bool decode)
{
    struct http_send *s = &a->send;

    while (*rest && s->n_headers < HEADERS_MAX) {
        const char *line = next_line(&rest);

        if (is_header(line, "Content-Length"))
            s->body = ""; /* also when it is 0: a POST without a body */
        else if (is_header(line, "Accept-Encoding") && decode)
            s->decode = true;
        else
            a->headers[s->n_headers++] = line;
    }
    s->headers = a->headers;
}

static void take_apart(const struct request *r, uint64_t timeout_ns, struct apart *a)
{
    const struct origin *o = r->origin;
    const char *gap = memmem(r->bytes, r->len, "\r\n\r\n", 4);
    size_t head_len = gap ? (size_t)(gap - r->bytes) : r->len;
    char *rest, *target, *end;

    *a = (struct apart){ .head = xstrndup(r->bytes, head_len) };
    rest = a->head;
    a->send.method = next_line(&rest);
    target = a->head + strcspn(a->head, " ");
    if (*target)
        *target++ = '\0';
    end = strrchr(target, ' ');
    if (end)
        *end = '\0';
    take_headers(a, rest, r->want_body);
    if (gap && gap + 4 < r->bytes + r->len) {
        a->send.body = gap + 4;
        a->send.body_len = (size_t)(r->bytes + r->len - (gap + 4));
    }
    a->url = xasprintf("%s%s", o->scheme == URL_UNIX ? "http://localhost" : o->base, target);
    a->send.url = a->url;
    a->send.unix_socket = o->scheme == URL_UNIX ? o->host : NULL;
    a->send.connect_to = o->connect_to;
    a->send.is_head = r->is_head;
    a->send.want_body = r->want_body;
    a->send.close = r->close;
    a->send.timeout_ns = timeout_ns;
}

/* ---- and its answer ---- */

static uint64_t between(uint64_t from, uint64_t to)
{
    return from && to > from ? to - from : 0;
}

static void answer_from(const struct curl_exchange *x, const struct http_outcome *o,
                        struct answer *ret)
{
    bool cut = o->fail == HTTP_CUT;

    *ret = (struct answer){
        .sample = { .fail = cut ? x->cut_as : fail_of[o->fail],
                    .status = (uint16_t)o->status,
                    .sched = x->sched_ns,
                    .start = x->start_ns,
                    .send = o->send_ns,
                    .first = o->first_ns,
                    .done = o->done_ns,
                    .bytes_in = o->bytes_in,
                    .bytes_out = o->bytes_out },
        .why = o->fail == HTTP_OK ? NULL : o->why,
        .reused = o->reused,
        .head = o->head->len > 0 ? buf_str(o->head) : NULL,
        .head_len = o->head->len,
        .body = x->want_body ? buf_str(o->body) : NULL,
        .body_len = x->want_body ? o->body->len : 0,
    };
    ret->sample.stage_ns[STAGE_DNS] = o->dns_ns;
    ret->sample.stage_ns[STAGE_CONNECT] = o->connect_ns;
    ret->sample.stage_ns[STAGE_TLS] = o->tls_ns;
    ret->sample.stage_ns[STAGE_WAIT] = between(o->send_ns, o->first_ns);
    ret->sample.stage_ns[STAGE_TRANSFER] = between(o->first_ns, o->done_ns);
}

static void call_done(void *arg, const struct http_outcome *o)
{
    struct curl_exchange *x = arg;
    struct curl_exchange self = *x;
    struct answer answer;

    answer_from(&self, o, &answer);
    TAILQ_REMOVE(&curl_of(x->base.client)->busy, x, link);
    free(x);
    self.done(self.arg, &answer);
}

static struct http_lane *lane_of(struct curl_client *c, struct lane *lane,
                                 const struct origin *origin)
{
    if (!lane)
        return NULL;
    if (!lane->conn)
        lane->conn = http_lane_new(c->multi);
    lane->origin = origin;
    return lane->conn;
}

static struct exchange *curl_send(struct client *client, struct lane *lane, const struct request *r,
                                  client_done_fn *done, void *arg)
{
    struct curl_client *c = curl_of(client);
    struct curl_exchange *x = xcalloc(1, sizeof(*x));
    struct apart a;

    *x = (struct curl_exchange){ .base = { client },
                                 .done = done,
                                 .arg = arg,
                                 .sched_ns = r->sched_ns,
                                 .start_ns = r->start_ns,
                                 .want_body = r->want_body,
                                 .cut_as = FAIL_INTERRUPTED };
    TAILQ_INSERT_TAIL(&c->busy, x, link);
    take_apart(r, r->timeout_ns ? r->timeout_ns : client->opts.http->timeout_ns, &a);
    x->call = http_multi_send(c->multi, lane_of(c, lane, r->origin), &a.send, call_done, x);
    free(a.head);
    free(a.url);
    return &x->base;
}

static void curl_cut(struct exchange *exchange, enum fail_class why_class)
{
    struct curl_exchange *x = (struct curl_exchange *)(void *)exchange;

    x->cut_as = why_class;
    http_call_cut(x->call);
}

const struct client_ops client_curl_ops = {
    .name = "curl",
    .create = curl_create,
    .cut_all = curl_cut_all,
    .destroy = curl_destroy,
    .send = curl_send,
    .cut = curl_cut,
    .lane_close = curl_lane_close,
    .connections = curl_connections,
};

const char *client_needs_curl(const struct load_plan *plan)
{
    const struct http_plan *http = &plan->http;

    if (http->engine && strcmp(http->engine, "curl") == 0)
        return "the plan asks for it (http.engine)";
    if (http->proxy)
        return "requests go through a proxy (http.proxy)";
    if (http->http_version && strcmp(http->http_version, "2") == 0)
        return "HTTP/2 is asked for (http.http_version)";
    return NULL;
}
