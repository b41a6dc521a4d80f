/* Files in Locust's shape, for those whose tools read them. They mean what Locust means by them:
 * the times are those of all requests, failures included, in whole milliseconds rounded as Locust
 * rounds; our own reports keep successes and failures apart. */
#ifndef CAMPAIGN_REPORT_LOCUST_H
#define CAMPAIGN_REPORT_LOCUST_H

#include "campaign/result.h"

void report_locust_history_csv(const struct result *r, struct buf *out);
/* Locust lists exceptions of Python tasks; a plan has none: the header alone. */
void report_locust_exceptions_csv(const struct result *r, struct buf *out);

/* ---- shared by report_locust.c and report_history.c ---- */
void locust_history_header(struct buf *out);
/* One field of a CSV row, quoted when it must be, as Python's csv module does. */
void csv_text(struct buf *out, const char *s);
/* Python's repr() of a float: the shortest text that reads back, with ".0" when whole. */
void python_float(struct buf *out, double d);
/* 147 ms becomes 150, 3432 3400, 58760 59000. */
uint64_t locust_bucket_ms(double ms);
/* Locust's percentile of buckets; whole milliseconds. */
uint64_t locust_percentile_ms(const struct hist *h, double q);
/* ",50%,66%…" values of `h`, or N/A in each when there is nothing. */
void locust_percentiles(struct buf *out, const struct hist *h);

/* What a history row knows: everything since the start, and the last seconds. */
#define LOCUST_WINDOW 10
struct locust_second {
    uint64_t requests, failures, bytes;
    struct hist times; /* of all requests */
};
struct locust_track {
    struct hist all;
    uint64_t requests, failures, bytes;
    struct locust_second window[LOCUST_WINDOW];
    size_t n_seconds;
};
struct locust_row {
    uint64_t wall_s, users;
    const char *method, *name;
    bool recent; /* percentiles of the window, as with full history, instead of the whole run */
};
void locust_track_add(struct locust_track *t, const struct locust_second *s);
void locust_track_row(const struct locust_track *t, const struct locust_row *row, struct buf *out);
void locust_track_done(struct locust_track *t);
/* The name without the method in front that our default names have. */
const char *locust_name(const struct result_endpoint *e);

#endif
