/* A histogram's text comes back from files that others may have touched. Whatever it says, reading
 * it either refuses it or gives a histogram that says the same again. */
#include <stdlib.h>
#include <string.h>

#include "runner/hist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void check_figures(const struct hist *h)
{
    uint64_t before = 0;

    for (double q = 0; q <= 1; q += 0.125) {
        uint64_t v = hist_quantile_ns(h, q);

        must(v >= before && v >= h->min_ns && v <= h->max_ns);
        before = v;
    }
    must(hist_count_below(h, h->max_ns) == h->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hist h = { 0 }, again = { 0 };
    auto_buf struct buf text = BUF_INIT(0), twice = BUF_INIT(0);
    auto_free char *in = malloc(size + 1);

    if (!in)
        return 0;
    if (size > 0)
        memcpy(in, data, size);
    in[size] = '\0';
    if (hist_decode(in, &h) < 0)
        return 0;
    check_figures(&h);
    hist_encode(&h, &text);
    must(hist_decode(buf_str(&text), &again) == 0);
    hist_encode(&again, &twice);
    must(strcmp(buf_str(&text), buf_str(&twice)) == 0);
    hist_merge(&again, &h);
    must(again.count == h.count * 2);
    hist_done(&h);
    hist_done(&again);
    return 0;
}
