/* HTTP/2 against any bytes: without a hit all comes out as it went in; with hits the outcome does
 * not depend on how the bytes are cut; nothing is read that is not there. */
#include <assert.h>
#include <string.h>

#include "chaoslib/proxy/h2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char settings[] = "\0\0\6\4\0\0\0\0\0\0\1\0\1\0\0";

struct out {
    struct buf up, down;
    bool hits;
    unsigned asked;
    int rc;
};

static bool judge(void *arg, const struct h2_request *req, struct h2_answer *ret)
{
    struct out *o = arg;

    assert(req->path[req->path_len] == '\0');
    *ret = (struct h2_answer){ .status = 14, .message = req->path };
    return o->hits && o->asked++ % 2 == 0;
}

static void run(const char *text, size_t len, size_t step, bool from_client, struct out *o)
{
    struct h2 *h = h2_new(judge, o);

    if (from_client)
        o->rc = h2_from_server(h, settings, sizeof(settings) - 1, &o->down);
    for (size_t at = 0; at < len && o->rc == 0; at += step) {
        size_t n = MIN(step, len - at);
        o->rc = from_client ? h2_from_client(h, text + at, n, &o->up, &o->down)
                            : h2_from_server(h, text + at, n, &o->down);
    }
    h2_client_ends(h, &o->up);
    h2_free(h);
}

static void out_done(struct out *o)
{
    buf_done(&o->up);
    buf_done(&o->down);
}

/* The first byte says which side speaks and how the rest is cut. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 200000)
        return 0;
    const char *text = (const char *)data + 1;
    size_t len = size - 1, step = (size_t)(data[0] >> 1) + 1;
    bool from_client = data[0] & 1;
    struct out plain = { 0 }, whole = { .hits = true }, cut = { .hits = true };

    run(text, len, step, from_client, &plain);
    const struct buf *same = from_client ? &plain.up : &plain.down;
    assert(plain.rc == 0 && same->len == len && memcmp(buf_str(same), text, len) == 0);
    run(text, len, size, from_client, &whole);
    run(text, len, step, from_client, &cut);
    assert(whole.rc == cut.rc && whole.up.len == cut.up.len && whole.down.len == cut.down.len);
    assert(memcmp(buf_str(&whole.up), buf_str(&cut.up), whole.up.len) == 0);
    out_done(&plain);
    out_done(&whole);
    out_done(&cut);
    return 0;
}
