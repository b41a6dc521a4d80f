/* A binary heap. */
#include "chaoslib/net/held.h"

#include "base/mem.h"

static bool goes_before(const struct held_packet *a, const struct held_packet *b)
{
    if (a->release_ns != b->release_ns)
        return a->release_ns < b->release_ns;
    return (int32_t)(a->id - b->id) < 0;
}

static void swap(struct held *h, size_t i, size_t k)
{
    struct held_packet t = h->v[i];

    h->v[i] = h->v[k];
    h->v[k] = t;
}

void held_push(struct held *h, const struct held_packet *p)
{
    if (h->n == h->capacity) {
        h->capacity = h->capacity ? 2 * h->capacity : 1024;
        h->v = xrealloc(h->v, h->capacity, sizeof *h->v);
    }
    h->v[h->n] = *p;
    for (size_t i = h->n++; i > 0 && goes_before(&h->v[i], &h->v[(i - 1) / 2]); i = (i - 1) / 2)
        swap(h, i, (i - 1) / 2);
}

const struct held_packet *held_first(const struct held *h)
{
    return h->n ? h->v : NULL;
}

struct held_packet held_pop(struct held *h)
{
    struct held_packet first = h->v[0];
    size_t i = 0;

    h->v[0] = h->v[--h->n];
    for (;;) {
        size_t least = i, left = 2 * i + 1;
        for (size_t k = left; k < left + 2 && k < h->n; k++)
            if (goes_before(&h->v[k], &h->v[least]))
                least = k;
        if (least == i)
            return first;
        swap(h, i, least);
        i = least;
    }
}

void held_done(struct held *h)
{
    free(h->v);
    *h = (struct held){ 0 };
}
