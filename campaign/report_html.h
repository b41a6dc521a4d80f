/* The parts of report.html; each writes elements for one place of the template. */
#ifndef CAMPAIGN_REPORT_HTML_H
#define CAMPAIGN_REPORT_HTML_H

#include "campaign/result.h"

typedef void html_part_fn(const struct result *r, struct buf *out);

/* The JSON from which our script draws the charts: series per second, not histograms. */
html_part_fn report_data_json;

html_part_fn html_run_title, html_banner, html_figures, html_thresholds, html_faults;
html_part_fn html_phases, html_endpoints, html_matrix, html_errors, html_health, html_repeat;

/* ---- for the parts ---- */
/* <td class="n" data-v="12.3">12.3 ms</td>: `sort` is what columns are sorted by. */
void html_cell(struct buf *out, double sort, const char *text);
void html_time_cell(struct buf *out, const struct hist *h, double q); /* q 1: the maximum */
/* <th scope="row">…</th> with the text escaped. */
void html_row_head(struct buf *out, const char *text);
/* The opening of a table: caption for screen readers, then the heads, the first to the left. */
void html_table_begin(struct buf *out, const char *caption, const char *const *heads);
void html_table_end(struct buf *out);

#endif
