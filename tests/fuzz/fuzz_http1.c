/* Any bytes as an answer: whole and in pieces (the first byte says how long) must mean the same,
 * and memory stays bounded. */
#include <string.h>

#include "runner/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum http1_state state;
    enum fail_class fail;
    unsigned status;
    uint64_t body_bytes;
    size_t used;
    bool keep_alive;
};

static struct outcome parse(const char *in, size_t len, size_t piece, unsigned flags)
{
    struct http1 h = { 0 };
    struct outcome o = { 0 };

    http1_begin(&h, flags & 1, flags & 2);
    for (size_t at = 0; at < len && h.state == HTTP1_MORE; at += piece) {
        size_t n = MIN(piece, len - at);
        char *copy = malloc(n);
        if (!copy)
            abort();
        memcpy(copy, in + at, n);
        o.used += http1_feed(&h, copy, n);
        if (h.state == HTTP1_DONE && h.body && h.body_len != h.body_bytes)
            abort();
        free(copy);
    }
    http1_eof(&h);
    if (h.state == HTTP1_MORE || h.kept.cap > 2 * HTTP_HEAD_MAX)
        abort();
    o.state = h.state;
    o.fail = h.fail;
    o.status = h.state == HTTP1_DONE ? h.status : 0;
    o.keep_alive = h.keep_alive;
    if (h.state == HTTP1_DONE)
        o.body_bytes = h.body_bytes;
    else
        o.used = 0; /* how much of a refused answer was looked at depends on the pieces */
    http1_done(&h);
    return o;
}

static bool is_same(const struct outcome *a, const struct outcome *b)
{
    return a->state == b->state && a->fail == b->fail && a->status == b->status &&
           a->body_bytes == b->body_bytes && a->used == b->used && a->keep_alive == b->keep_alive;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *in = (const char *)data + 2;
    struct outcome whole = parse(in, size - 2, size, data[1]);
    struct outcome pieces = parse(in, size - 2, 1 + (size_t)data[0] % 40, data[1]);
    if (!is_same(&whole, &pieces))
        abort();
    return 0;
}
