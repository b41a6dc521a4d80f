/* A latency histogram: log-linear, 3 significant digits from 1 µs to 1 h, mergeable without loss.
 *
 * Values are nanoseconds, counted in whole microseconds (rounded to nearest): 0..2047 µs exactly,
 * then 1024 steps per octave, so that no value is off by more than 1/1024. Values above 1 h count
 * as 1 h. Memory is bounded: at most HIST_PAGES pages of 1 KiB, each allocated when first needed
 * and then kept. One that is kept for long and seldom touched can be packed: about two bytes for
 * each step that was hit. One thread records; merging is done on snapshots. */
#ifndef RUNNER_HIST_H
#define RUNNER_HIST_H

#include "base/defs.h"
#include "base/mem.h"

#define HIST_MAX_NS (UINT64_C(3600) * NS_PER_SEC)
#define HIST_PAGE 256
#define HIST_SLOTS 23552 /* 2048 + 21 octaves of 1024 */
#define HIST_PAGES (HIST_SLOTS / HIST_PAGE)

struct hist {
    uint64_t count;
    uint64_t sum_us;
    uint64_t min_ns, max_ns; /* exact, not rounded; min is 0 when count is 0 */
    uint32_t **page;         /* [HIST_PAGES], each NULL until needed; all of it is, at first */
    unsigned char *packed;   /* instead of pages */
};

void hist_record(struct hist *h, uint64_t ns);
void hist_merge(struct hist *into, const struct hist *from);
void hist_clear(struct hist *h); /* keeps the pages */
void hist_done(struct hist *h);
/* Makes it as small as it can be. All functions work as before; recording or merging into it
 * unpacks it again. */
void hist_pack(struct hist *h);
/* The smallest recorded value v such that at least q (0..1) of all values are <= v; the middle of
 * its step, never outside [min, max]. 0 when empty. */
uint64_t hist_quantile_ns(const struct hist *h, double q);
double hist_mean_ns(const struct hist *h);
/* How many values are <= ns, by steps (exact at step borders). */
uint64_t hist_count_below(const struct hist *h, uint64_t ns);

/* Step index to its lowest value and width, in µs; for reports that draw it. */
uint64_t hist_slot_low_us(unsigned slot);
uint64_t hist_slot_width_us(unsigned slot);
uint32_t hist_slot_count(const struct hist *h, unsigned slot);

/* Text form, sparse and exact: "slot:count,slot:count" with min, max, sum in front:
 * "1;<count>;<sum_us>;<min_ns>;<max_ns>;s:c,s:c,..." with slots as differences. Reads back to an
 * equal histogram. */
void hist_encode(const struct hist *h, struct buf *out);
int hist_decode(const char *text, struct hist *ret) MUST_CHECK; /* -EINVAL when it is none */

#endif
