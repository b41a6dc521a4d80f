/* Text to value, strictly: the whole text or an error that says what was expected. No locale.
 *
 * Units: durations  ns us µs ms s m h d, joined (1h30m, 1.5s); sizes  B KB MB GB (1000) KiB MiB GiB
 * (1024); rates  500/s 30/m 1/h 0.5/ms; percents  1% 0.5%; bandwidth  bit kbit mbit gbit (bit/s,
 * also kbps mbps) and B/s KB/s MB/s KiB/s MiB/s. A bare number is refused where a unit matters,
 * with the way to write it. */
#ifndef BASE_PARSE_H
#define BASE_PARSE_H

#include "base/err.h"

#define DURATION_MAX_NS (UINT64_C(366) * 24 * 3600 * NS_PER_SEC)

enum parse_flags {
    PARSE_UNIT = 0,              /* a unit is a must ("0" alone is allowed) */
    PARSE_BARE_SECONDS = 1 << 0, /* a bare number is seconds, as Locust's command line has it */
};

int parse_duration(const char *s, unsigned flags, uint64_t *ret_ns, struct err *err) MUST_CHECK;
int parse_rate(const char *s, unsigned flags, double *ret_per_sec,
               struct err *err) MUST_CHECK; /* bare: per second */
int parse_size(const char *s, uint64_t *ret_bytes, struct err *err) MUST_CHECK;
int parse_percent(const char *s, double *ret_fraction,
                  struct err *err) MUST_CHECK; /* "5%" -> 0.05; 0..100 % */
int parse_bandwidth(const char *s, uint64_t *ret_bits_per_sec, struct err *err) MUST_CHECK;
int parse_u64(const char *s, uint64_t lo, uint64_t hi, uint64_t *ret, struct err *err) MUST_CHECK;
int parse_i64(const char *s, int64_t lo, int64_t hi, int64_t *ret, struct err *err) MUST_CHECK;
int parse_double(const char *s, double lo, double hi, double *ret, struct err *err) MUST_CHECK;
int parse_bool(const char *s, bool *ret, struct err *err) MUST_CHECK; /* true false yes no on off */
bool utf8_is_valid(const char *s, size_t len);

/* "1.5s", "200ms", "2m30s": the shortest exact form that parse_duration reads back. */
#define DURATION_TEXT_MAX 48
char *duration_text(uint64_t ns, char out[DURATION_TEXT_MAX]);

/* The nearest of `names` to `word` within 2 edits (and fewer than its length), or NULL: for "did
 * you mean". */
const char *nearest_name(const char *word, const char *const *names, size_t n);

#endif
