/* The latency histogram. One formula maps a value to its step, so recording is a handful of
 * instructions without a loop; pages keep a histogram of one millisecond's spread at a few KiB
 * instead of the 92 KiB that all steps would take. Counts of one step saturate at 2^32-1 (eleven
 * hours of 100,000 requests a second that all take the same microsecond). */
#include "runner/hist.h"

#include <errno.h>
#include <string.h>

#define HIST_MAX_US (HIST_MAX_NS / NS_PER_US)
#define PAGE_BITS 8
#define SUB_BITS 10

_Static_assert(HIST_PAGE == 1 << PAGE_BITS, "page index is a shift");
_Static_assert(HIST_SLOTS % HIST_PAGE == 0, "pages are full");

static unsigned slot_of_us(uint64_t us)
{
    unsigned shift = 53U - (unsigned)__builtin_clzll(us | 1024);

    return (shift << SUB_BITS) + (unsigned)(us >> shift);
}

static uint64_t ns_to_us(uint64_t ns)
{
    return (ns + NS_PER_US / 2) / NS_PER_US;
}

static unsigned shift_of_slot(unsigned slot)
{
    return slot < 2048 ? 0 : (slot >> SUB_BITS) - 1;
}

uint64_t hist_slot_low_us(unsigned slot)
{
    unsigned shift = shift_of_slot(slot);

    return (uint64_t)(slot - (shift << SUB_BITS)) << shift;
}

uint64_t hist_slot_width_us(unsigned slot)
{
    return UINT64_C(1) << shift_of_slot(slot);
}

static void unpack(struct hist *h);

static uint32_t *page_alloc(struct hist *h, unsigned n)
{
    if (!h->page)
        h->page = xcalloc(HIST_PAGES, sizeof *h->page);
    if (!h->page[n])
        h->page[n] = xcalloc(HIST_PAGE, sizeof *h->page[n]);
    return h->page[n];
}

/* Page n, made when it is not there yet. */
static uint32_t *page_make(struct hist *h, unsigned n)
{
    if (h->packed)
        unpack(h);
    return page_alloc(h, n);
}

static uint32_t *page_of_slot(struct hist *h, unsigned slot)
{
    uint32_t *page = LIKELY(h->page != NULL) ? h->page[slot >> PAGE_BITS] : NULL;

    return LIKELY(page != NULL) ? page : page_make(h, slot >> PAGE_BITS);
}

/* ---- packed: pairs of (distance from the slot before, count), the last one with count 0. Numbers
 * are 7 bits a byte, the high bit says that more follow ---- */

static void put_number(unsigned char **at, uint32_t n)
{
    for (; n >= 0x80; n >>= 7)
        *(*at)++ = (unsigned char)(n | 0x80);
    *(*at)++ = (unsigned char)n;
}

static uint32_t get_number(const unsigned char **at)
{
    uint32_t n = 0;

    for (unsigned shift = 0;; shift += 7) {
        unsigned char byte = *(*at)++;

        n |= (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return n;
    }
}

/* A walk over the slots that were hit, in order. Zeroed: before the first. */
struct walk {
    const unsigned char *at; /* packed: of the next pair */
    unsigned next;           /* pages: the next slot to look at */
    unsigned slot;
    uint32_t count;
};

static bool walk_packed(const struct hist *h, struct walk *w)
{
    if (!w->at)
        w->at = h->packed;
    w->slot += get_number(&w->at);
    w->count = get_number(&w->at);
    return w->count > 0;
}

static bool walk_pages(const struct hist *h, struct walk *w)
{
    for (; h->page && w->next < HIST_SLOTS; w->next++) {
        const uint32_t *page = h->page[w->next >> PAGE_BITS];

        if (!page) {
            w->next |= HIST_PAGE - 1;
        } else if (page[w->next % HIST_PAGE]) {
            w->slot = w->next++;
            w->count = page[w->slot % HIST_PAGE];
            return true;
        }
    }
    return false;
}

static bool walk_next(const struct hist *h, struct walk *w)
{
    return h->packed ? walk_packed(h, w) : walk_pages(h, w);
}

static void pages_free(struct hist *h)
{
    for (unsigned n = 0; h->page && n < HIST_PAGES; n++)
        free(h->page[n]);
    free(h->page);
    h->page = NULL;
}

void hist_pack(struct hist *h)
{
    enum { PAIR_MAX = 3 + 5 }; /* 15 bits of distance, 32 of count */
    struct walk w = { 0 };
    size_t n = 1, used;
    unsigned before = 0;
    unsigned char *bytes, *at;

    if (h->packed || !h->page)
        return;
    while (walk_next(h, &w))
        n++;
    at = bytes = xrealloc(NULL, n, PAIR_MAX);
    for (w = (struct walk){ 0 }; walk_next(h, &w); before = w.slot) {
        put_number(&at, w.slot - before);
        put_number(&at, w.count);
    }
    put_number(&at, 0);
    put_number(&at, 0);
    used = (size_t)(at - bytes);
    pages_free(h);
    h->packed = xrealloc(bytes, used, 1);
}

static void unpack(struct hist *h)
{
    struct hist packed = { .packed = TAKE(h->packed) };
    struct walk w = { 0 };

    while (walk_next(&packed, &w))
        page_alloc(h, w.slot >> PAGE_BITS)[w.slot % HIST_PAGE] = w.count;
    free(packed.packed);
}

/* ---- recording and merging ---- */

void hist_record(struct hist *h, uint64_t ns)
{
    ns = MIN(ns, HIST_MAX_NS);

    uint64_t us = ns_to_us(ns);
    unsigned slot = slot_of_us(us);

    page_of_slot(h, slot)[slot % HIST_PAGE]++;
    h->min_ns = h->count == 0 || ns < h->min_ns ? ns : h->min_ns;
    h->max_ns = MAX(ns, h->max_ns);
    h->count++;
    h->sum_us += us;
}

static uint32_t sum_of(uint32_t a, uint32_t b)
{
    uint32_t sum = a + b;

    return sum < a ? UINT32_MAX : sum;
}

static void page_merge(uint32_t *restrict into, const uint32_t *restrict from)
{
    for (size_t i = 0; i < HIST_PAGE; i++)
        into[i] = sum_of(into[i], from[i]);
}

static void merge_counts(struct hist *into, const struct hist *from)
{
    struct walk w = { 0 };

    for (unsigned n = 0; from->page && n < HIST_PAGES; n++) {
        if (from->page[n])
            page_merge(page_make(into, n), from->page[n]);
    }
    while (from->packed && walk_packed(from, &w)) {
        uint32_t *count = &page_of_slot(into, w.slot)[w.slot % HIST_PAGE];

        *count = sum_of(*count, w.count);
    }
}

void hist_merge(struct hist *into, const struct hist *from)
{
    if (from->count == 0)
        return;
    merge_counts(into, from);
    into->min_ns = into->count == 0 ? from->min_ns : MIN(into->min_ns, from->min_ns);
    into->max_ns = MAX(into->max_ns, from->max_ns);
    into->count += from->count;
    into->sum_us += from->sum_us;
}

void hist_clear(struct hist *h)
{
    if (h->count == 0)
        return;
    for (unsigned n = 0; h->page && n < HIST_PAGES; n++) {
        if (h->page[n])
            memset(h->page[n], 0, HIST_PAGE * sizeof *h->page[n]);
    }
    free(TAKE(h->packed));
    h->count = h->sum_us = h->min_ns = h->max_ns = 0;
}

void hist_done(struct hist *h)
{
    if (!h)
        return;
    pages_free(h);
    free(h->packed);
    *h = (struct hist){ 0 };
}

uint32_t hist_slot_count(const struct hist *h, unsigned slot)
{
    struct walk w = { 0 };

    while (h->packed && walk_packed(h, &w)) {
        if (w.slot >= slot)
            return w.slot == slot ? w.count : 0;
    }
    if (slot >= HIST_SLOTS || !h->page || !h->page[slot >> PAGE_BITS])
        return 0;
    return h->page[slot >> PAGE_BITS][slot % HIST_PAGE];
}

/* ceil(q * count), from 1 to count. The factor takes back what rounding may have added: 0.95 * 20
 * must be 19, not 20. */
static uint64_t rank_of(const struct hist *h, double q)
{
    double exact = q * (double)h->count * (1 - 1e-12);
    uint64_t rank = exact > 0 ? (uint64_t)exact : 0;

    rank += (double)rank < exact;
    return MAX(1, MIN(rank, h->count));
}

/* Values were rounded to nearest, so a step of w microseconds covers [low - 0.5, low + w - 0.5). */
static uint64_t slot_middle_ns(unsigned slot)
{
    return hist_slot_low_us(slot) * NS_PER_US + (hist_slot_width_us(slot) - 1) * (NS_PER_US / 2);
}

uint64_t hist_quantile_ns(const struct hist *h, double q)
{
    if (h->count == 0)
        return 0;

    uint64_t left = rank_of(h, q);

    if (left == h->count) /* known exactly */
        return h->max_ns;
    for (struct walk w = { 0 }; walk_next(h, &w); left -= w.count) {
        if (left <= w.count)
            return MAX(h->min_ns, MIN(slot_middle_ns(w.slot), h->max_ns));
    }
    return h->max_ns; /* only when a count saturated */
}

double hist_mean_ns(const struct hist *h)
{
    return h->count == 0 ? 0 : (double)h->sum_us / (double)h->count * (double)NS_PER_US;
}

uint64_t hist_count_below(const struct hist *h, uint64_t ns)
{
    if (h->count == 0 || ns < h->min_ns)
        return 0;
    if (ns >= h->max_ns)
        return h->count;

    uint64_t us = ns_to_us(ns);
    unsigned last = slot_of_us(us);
    uint64_t n = 0;

    for (struct walk w = { 0 }; walk_next(h, &w) && w.slot < last;)
        n += w.count;
    /* Its own step by share: all of it when `ns` is the step's upper border. */
    return n +
           hist_slot_count(h, last) * (us - hist_slot_low_us(last) + 1) / hist_slot_width_us(last);
}

void hist_encode(const struct hist *h, struct buf *out)
{
    unsigned before = 0;
    const char *comma = "";

    buf_addf(out, "1;%llu;%llu;%llu;%llu;", (unsigned long long)h->count,
             (unsigned long long)h->sum_us, (unsigned long long)h->min_ns,
             (unsigned long long)h->max_ns);
    for (struct walk w = { 0 }; walk_next(h, &w); before = w.slot) {
        buf_addf(out, "%s%u:%u", comma, w.slot - before, w.count);
        comma = ",";
    }
}

/* Digits up to `end`, at most `hi`. Moves *at past `end`. */
static int take_number(const char **at, char end, uint64_t hi, uint64_t *ret)
{
    const char *s = *at;
    uint64_t value = 0;

    if (*s < '0' || *s > '9')
        return -EINVAL;
    for (; *s >= '0' && *s <= '9'; s++) {
        uint64_t digit = (uint64_t)(*s - '0');

        if (value > (hi - digit) / 10)
            return -EINVAL;
        value = value * 10 + digit;
    }
    if (*s != end)
        return -EINVAL;
    *at = s + (end != '\0');
    *ret = value;
    return 0;
}

static int decode_front(const char **at, struct hist *h)
{
    uint64_t version = 0;

    if (take_number(at, ';', 1, &version) < 0 || version != 1 ||
        take_number(at, ';', UINT64_MAX, &h->count) < 0 ||
        take_number(at, ';', UINT64_MAX, &h->sum_us) < 0 ||
        take_number(at, ';', HIST_MAX_NS, &h->min_ns) < 0 ||
        take_number(at, ';', HIST_MAX_NS, &h->max_ns) < 0 || h->min_ns > h->max_ns)
        return -EINVAL;
    return 0;
}

static int decode_slots(const char *at, struct hist *h, uint64_t *ret_total, unsigned ret_ends[2])
{
    uint64_t slot = 0, total = 0;
    bool first = true;

    while (*at) {
        uint64_t step = 0, count = 0;
        const char *comma = strchr(at, ',');

        if (take_number(&at, ':', HIST_SLOTS - 1, &step) < 0 || (!first && step == 0) ||
            take_number(&at, comma ? ',' : '\0', UINT32_MAX, &count) < 0 || count == 0)
            return -EINVAL;
        slot += step;
        if (slot >= HIST_SLOTS || (comma && !*at))
            return -EINVAL;
        page_of_slot(h, (unsigned)slot)[slot % HIST_PAGE] = (uint32_t)count;
        total += count;
        ret_ends[first ? 0 : 1] = (unsigned)slot;
        ret_ends[1] = (unsigned)slot;
        first = false;
    }
    *ret_total = total;
    return 0;
}

static int decode(const char *at, struct hist *h)
{
    uint64_t total = 0;
    unsigned ends[2] = { 0, 0 };

    if (decode_front(&at, h) < 0 || decode_slots(at, h, &total, ends) < 0 || total != h->count)
        return -EINVAL;
    if (total == 0)
        return h->sum_us || h->max_ns ? -EINVAL : 0;
    if (slot_of_us(ns_to_us(h->min_ns)) != ends[0] || slot_of_us(ns_to_us(h->max_ns)) != ends[1])
        return -EINVAL;
    return h->sum_us / total > HIST_MAX_US ? -EINVAL : 0;
}

int hist_decode(const char *text, struct hist *ret)
{
    struct hist h = { 0 };
    int rc = decode(text, &h);

    if (rc < 0) {
        hist_done(&h);
        return rc;
    }
    *ret = h;
    return 0;
}
