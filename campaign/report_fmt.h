/* How numbers and foreign texts are written in reports. Texts come from outside (names, error
 * texts, targets), so each kind of report has its own way of making them harmless. */
#ifndef CAMPAIGN_REPORT_FMT_H
#define CAMPAIGN_REPORT_FMT_H

#include "campaign/result.h"

#define FMT_LEN 48

/* "0.42 ms" "12.3 ms" "1.24 s" "2 m 05 s"; T_NONE: "–" */
const char *fmt_time(uint64_t ns, char out[FMT_LEN]);
/* An instant of the run: "30.002 s" */
const char *fmt_instant(uint64_t ns, char out[FMT_LEN]);
/* "1,234,567" */
const char *fmt_count(uint64_t n, char out[FMT_LEN]);
/* "103/s" "0.5/s" */
const char *fmt_rate(double per_sec, char out[FMT_LEN]);
/* "0 %" "0.004 %" "1.25 %" "100 %" */
const char *fmt_share(double fraction, char out[FMT_LEN]);
const char *fmt_bytes(double bytes, char out[FMT_LEN]);
/* A threshold's value or limit in its unit: "812 ms" "0.84 %" "120/s" "17" */
const char *fmt_value(double value, const char *unit, char out[FMT_LEN]);
/* What a threshold measured; "≥ 8.00 s" when it is a lower bound. */
const char *fmt_measured(const struct result_threshold *t, char out[FMT_LEN]);

static inline double share_of(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}
static inline uint64_t cell_requests(const struct cell *c)
{
    return c->n_ok + c->n_fail;
}
/* Requests per second of a phase or run. */
double rate_over(uint64_t n, uint64_t span_ns);
/* The distribution on which the run is judged. */
const struct hist *judged_hist(const struct result *r, const struct cell *c);
const char *judged_name(const struct result *r); /* "response time" */
/* NULL becomes "". */
static inline const char *text_or_empty(const char *s)
{
    return s ? s : "";
}
/* The plan's name; a run from flags has none and is called by its target. */
void run_title(const struct result *r, struct buf *out);
/* A duration that was found by looking every `resolution`: below it only that much is known. */
const char *fmt_found(uint64_t ns, uint64_t resolution_ns, char out[FMT_LEN]);
/* The name of a fault's activation, "kill shop #2" when there are several of that fault. */
void fault_title(const struct result *r, const struct result_fault *f, struct buf *out);

/* ---- foreign text; all replace what is no UTF-8 by U+FFFD and drop control characters ---- */
void text_utf8(struct buf *out, const char *s);     /* control characters stay: for JSON */
void text_plain(struct buf *out, const char *s);    /* terminals: no escape sequence gets through */
void text_html(struct buf *out, const char *s);     /* element content and quoted attributes */
void text_xml(struct buf *out, const char *s);      /* the same, and only what XML 1.0 allows */
void text_markdown(struct buf *out, const char *s); /* inside a table cell or a sentence */
/* JSON inside <script>: nothing in it can end the element. */
void json_for_script(struct buf *out, const char *json_text);

/* Columns of text on a screen: code points, not bytes. */
size_t text_width(const char *s);
/* At most `width` columns, with "…" when it was cut. */
void text_fit(struct buf *out, const char *s, size_t width);

#endif
