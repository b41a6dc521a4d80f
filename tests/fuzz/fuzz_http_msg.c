/* HTTP framing against any bytes: what goes in comes out, once and in order, however it is cut. */
#include <assert.h>
#include <string.h>

#include "chaoslib/proxy/http_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct out {
    struct buf raw;
    unsigned heads, ends;
    bool bad;
};

static void feed(struct http_parser *p, const char *data, size_t len, struct out *out)
{
    struct http_piece piece = { .kind = HTTP_PIECE_END };

    while (!out->bad && (len > 0 || piece.kind != HTTP_PIECE_MORE)) {
        size_t took = http_parser_feed(p, data, len, &piece);
        assert(took <= len);
        data += took;
        len -= took;
        buf_add(&out->raw, piece.raw.p, piece.raw.n);
        out->heads += piece.kind == HTTP_PIECE_HEAD;
        out->ends += piece.kind == HTTP_PIECE_END;
        out->bad = piece.kind == HTTP_PIECE_BAD;
        if (piece.kind == HTTP_PIECE_HEAD) {
            auto_buf struct buf copy = BUF_INIT(0);
            struct http_head again;
            http_head_copy(&p->head, (struct http_span){ 0 }, NULL, "X: y\r\n", &copy);
            assert(http_head_parse((struct http_span){ copy.data, copy.len }, p->is_response,
                                   &again) == 0);
            assert(again.length == p->head.length && again.chunked == p->head.chunked);
        }
    }
}

static void run(const char *data, size_t size, size_t step, bool is_response, struct out *out)
{
    struct http_parser p;

    *out = (struct out){ .raw = BUF_INIT(0) };
    http_parser_init(&p, is_response);
    for (size_t at = 0; at < size && !out->bad; at += step)
        feed(&p, data + at, MIN(step, size - at), out);
    assert(out->raw.len <= size && memcmp(buf_str(&out->raw), data, out->raw.len) == 0);
    http_parser_done(&p);
}

/* The first byte says which side speaks and how the rest is cut. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct out whole, cut;

    if (size < 1 || size > 200000)
        return 0;
    const char *text = (const char *)data + 1;
    bool is_response = data[0] & 1;
    run(text, size - 1, size, is_response, &whole);
    run(text, size - 1, (size_t)(data[0] >> 1) + 1, is_response, &cut);
    assert(whole.bad == cut.bad && whole.ends == cut.ends && whole.heads == cut.heads);
    buf_done(&whole.raw);
    buf_done(&cut.raw);
    return 0;
}
