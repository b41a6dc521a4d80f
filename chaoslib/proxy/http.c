/* HTTP through the proxy: follows the messages of a connection and changes those that a toxic hits.
 * What is not hit goes through as the same bytes. Answers stay in the order of the requests, ours
 * among the server's. As soon as framing is in doubt the connection is passed through untouched. */
#include <string.h>

#include "chaoslib/proxy/http.h"

#define EXCHANGES_MAX 1024

struct feed { /* one buffer of bytes on its way through the parser */
    struct proxy_http *h;
    struct pipe *pipe;
    const char *data;
    size_t len;
    struct http_span run; /* a stretch of it that is to be passed on as it is */
};

static void flush(struct feed *f)
{
    struct http_span run = f->run;

    f->run = (struct http_span){ 0 };
    pipe_emit(f->pipe, run.p, run.n);
}

/* Passes bytes on as they are; neighbours in one write. */
static void pass(struct feed *f, struct http_span s, bool from_input)
{
    if (f->run.n > 0 && (!from_input || s.p != f->run.p + f->run.n))
        flush(f);
    if (!from_input) {
        pipe_emit(f->pipe, s.p, s.n);
        return;
    }
    if (f->run.n == 0)
        f->run.p = s.p;
    f->run.n += s.n;
}

static bool is_over(const struct proxy_http *h)
{
    return h->c->closed || h->c->draining;
}

/* ---- exchanges ---- */

static void exchange_free(struct exchange *x)
{
    buf_done(&x->answer);
    free(x);
}

static void exchange_pop(struct proxy_http *h)
{
    struct exchange *x = STAILQ_FIRST(&h->exchanges);

    STAILQ_REMOVE_HEAD(&h->exchanges, link);
    h->n_exchanges--;
    exchange_free(x);
}

static void moved(struct http_span *s, const char *from, const char *to)
{
    if (s->p)
        s->p = to + (s->p - from);
}

static struct exchange *exchange_push(struct proxy_http *h, const struct http_head *head)
{
    struct exchange *x = xcalloc(1, sizeof *x + head->text.n);

    memcpy(x->text, head->text.p, head->text.n);
    x->head = *head;
    moved(&x->head.line, head->text.p, x->text);
    moved(&x->head.method, head->text.p, x->text);
    moved(&x->head.target, head->text.p, x->text);
    x->head.text.p = x->text;
    x->answer = BUF_INIT(2 * TOXIC_BODY_MAX);
    STAILQ_INSERT_TAIL(&h->exchanges, x, link);
    h->n_exchanges++;
    return x;
}

/* The last answer was ours and the connection ends with it; what else comes in is not heard. */
static void finish(struct conn *c)
{
    pipe_finish(&c->down);
    pipe_finish(&c->up);
    c->up.deaf = true;
    c->down.deaf = true;
    c->down.eof = true;
}

/* Answers of ours whose turn has come. */
static void say_answers(struct proxy_http *h)
{
    struct exchange *x;

    while (!is_over(h) && (x = STAILQ_FIRST(&h->exchanges)) && x->is_ours) {
        struct conn *c = h->c;
        bool last = x->close;

        if (x->delay_ns > 0)
            pipe_hold(&c->down, x->delay_ns);
        pipe_emit(&c->down, x->answer.data, x->answer.len);
        exchange_pop(h);
        if (last && !is_over(h)) {
            finish(c);
            return;
        }
    }
}

/* ---- when it is not to be followed any more ---- */

static bool owes_answer(const struct proxy_http *h)
{
    const struct exchange *x;

    STAILQ_FOREACH (x, &h->exchanges, link)
        if (x->is_ours)
            return true;
    return false;
}

static void go_raw(struct feed *f, bool is_surprise)
{
    struct proxy_http *h = f->h;
    struct http_span req = http_parser_held(&h->req), resp = http_parser_held(&h->resp);

    flush(f);
    if (is_over(h))
        return;
    if (owes_answer(h) || h->drop_req || h->drop_resp) {
        conn_reset(h->c);
        return;
    }
    h->raw = true;
    h->c->proxy->counts.not_http += is_surprise;
    pipe_emit(&h->c->up, req.p, req.n);
    pipe_emit(&h->c->down, resp.p, resp.n);
    pipe_emit(f->pipe, f->data, f->len);
}

/* ---- requests ---- */

/* An answer from us instead of the server: it need not wait for the request's body, but a client
 * that waits to be told to send it may leave it out, so that connection ends. */
static void answer_ourselves(struct feed *f, struct exchange *x, const struct verdict *v)
{
    x->is_ours = true;
    x->close = !http_head_persists(&x->head) || x->head.expect_continue;
    x->delay_ns = v->delay_ns;
    http_answer(v->status, &x->head, x->close, &x->answer);
    f->h->drop_req = true;
    say_answers(f->h);
}

static void request_head(struct feed *f, struct http_span raw, bool from_input)
{
    struct proxy_http *h = f->h;
    struct verdict v;

    h->c->proxy->counts.requests++;
    h->drop_req = false;
    if (h->n_exchanges == EXCHANGES_MAX) {
        conn_reset(h->c);
        return;
    }
    struct exchange *x = exchange_push(h, &h->req.head);
    if (!http_judge(h->c->proxy, &x->head, PROXY_REQUEST, &v)) {
        pass(f, raw, from_input);
        return;
    }
    flush(f);
    if (v.abort)
        conn_reset(h->c);
    else if (v.status)
        answer_ourselves(f, x, &v);
    if (v.abort || v.status || is_over(h))
        return;
    pipe_hold(f->pipe, v.delay_ns);
    auto_buf struct buf out = BUF_INIT(0);
    h->drop_req = http_change(&h->req.head, &v, true, &out);
    pipe_emit(f->pipe, out.data, out.len);
}

/* ---- responses ---- */

static bool method_is(const struct exchange *x, const char *method)
{
    return http_span_is(x->head.method, method);
}

static void response_change(struct feed *f, const struct exchange *x, const struct verdict *v)
{
    struct proxy_http *h = f->h;
    const struct http_head *head = &h->resp.head;
    bool may_have_body = !method_is(x, "HEAD") && head->status != 204 && head->status != 304;
    auto_buf struct buf out = BUF_INIT(0);

    pipe_hold(f->pipe, v->delay_ns);
    if (v->status) {
        bool close = !http_head_persists(head) || (!head->has_length && !head->chunked);
        http_answer(v->status, &x->head, close, &out);
        h->drop_resp = true;
    } else {
        h->drop_resp = http_change(head, v, may_have_body, &out);
    }
    pipe_emit(f->pipe, out.data, out.len);
}

static void response_head(struct feed *f, struct http_span raw, bool from_input)
{
    struct proxy_http *h = f->h;
    struct exchange *x = STAILQ_FIRST(&h->exchanges);
    int status = h->resp.head.status;
    struct verdict v;

    h->drop_resp = false;
    h->interim = status < 200;
    if (status == 101 || (method_is(x, "CONNECT") && status >= 200 && status < 300)) {
        pass(f, raw, from_input);
        go_raw(f, false);
        return;
    }
    if (h->interim || !http_judge(h->c->proxy, &x->head, PROXY_RESPONSE, &v)) {
        pass(f, raw, from_input);
        return;
    }
    flush(f);
    if (v.abort)
        conn_reset(h->c);
    else if (!is_over(h))
        response_change(f, x, &v);
}

static void response_end(struct feed *f)
{
    struct proxy_http *h = f->h;

    h->drop_resp = false;
    if (h->interim) {
        h->interim = false;
        return;
    }
    flush(f);
    if (is_over(h))
        return;
    exchange_pop(h);
    say_answers(h);
}

/* ---- both ---- */

/* What comes from the server must answer something. */
static bool expects_response(struct proxy_http *h)
{
    const struct exchange *x = STAILQ_FIRST(&h->exchanges);

    if (!http_parser_is_between(&h->resp))
        return true;
    if (!x)
        return false;
    h->resp.no_body = method_is(x, "HEAD");
    return true;
}

static void on_piece(struct feed *f, const struct http_piece *piece, bool from_input)
{
    bool is_request = f->pipe->stream == PROXY_REQUEST;
    struct proxy_http *h = f->h;

    if (piece->kind == HTTP_PIECE_HEAD && is_request)
        request_head(f, piece->raw, from_input);
    else if (piece->kind == HTTP_PIECE_HEAD)
        response_head(f, piece->raw, from_input);
    else if (piece->kind == HTTP_PIECE_BODY && !(is_request ? h->drop_req : h->drop_resp))
        pass(f, piece->raw, from_input);
    else if (piece->kind == HTTP_PIECE_END && is_request)
        h->drop_req = false;
    else if (piece->kind == HTTP_PIECE_END)
        response_end(f);
}

/* HTTP/2 goes another way, from its first byte on. */
static bool is_h2(struct proxy_http *h, bool from_client, const char *data, size_t len)
{
    if (!h->begun && h2_begins(from_client, data, len))
        h->h2 = grpc_follow(h->c);
    h->begun = true;
    return h->h2 != NULL;
}

void proxy_http_feed(struct pipe *p, const char *data, size_t len)
{
    struct proxy_http *h = p->conn->http;
    bool is_request = p->stream == PROXY_REQUEST;
    struct http_parser *parser = is_request ? &h->req : &h->resp;
    struct feed f = { .h = h, .pipe = p, .data = data, .len = len };
    struct http_piece piece = { .kind = HTTP_PIECE_END };

    if (is_h2(h, is_request, data, len)) {
        grpc_feed(p, data, len);
        return;
    }
    if (h->raw) {
        pipe_emit(p, data, len);
        return;
    }
    while (!h->raw && (f.len > 0 || piece.kind != HTTP_PIECE_MORE)) {
        if (!is_request && f.len > 0 && !expects_response(h)) {
            go_raw(&f, true);
            return;
        }
        size_t took = http_parser_feed(parser, f.data, f.len, &piece);
        if (piece.kind == HTTP_PIECE_BAD) {
            go_raw(&f, true);
            return;
        }
        bool from_input = piece.raw.n > 0 && piece.raw.p == f.data;
        f.data += took;
        f.len -= took;
        on_piece(&f, &piece, from_input);
        if (is_over(h) || p->deaf)
            return;
    }
    flush(&f);
}

void proxy_http_eof(struct pipe *p)
{
    struct proxy_http *h = p->conn->http;
    struct http_span held = http_parser_held(p->stream == PROXY_REQUEST ? &h->req : &h->resp);

    if (h->h2)
        grpc_eof(p);
    else if (!h->raw)
        pipe_emit(p, held.p, held.n);
}

struct proxy_http *proxy_http_new(struct conn *c)
{
    struct proxy_http *h = xcalloc(1, sizeof *h);

    h->c = c;
    http_parser_init(&h->req, false);
    http_parser_init(&h->resp, true);
    STAILQ_INIT(&h->exchanges);
    return h;
}

void proxy_http_free(struct proxy_http *h)
{
    if (!h)
        return;
    while (!STAILQ_EMPTY(&h->exchanges))
        exchange_pop(h);
    http_parser_done(&h->req);
    http_parser_done(&h->resp);
    h2_free(h->h2);
    free(h);
}
