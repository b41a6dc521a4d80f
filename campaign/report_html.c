/* report.html: one file that works from a disk without a network. The template, style and script
 * are embedded in the binary; here its places are filled. All that can be said in words and tables
 * is HTML made here, so that the page reads without scripts and prints; only charts are drawn by
 * the script. */
#include "campaign/report_html.h"

#include <stdio.h>
#include <string.h>

#include "campaign/observer.h"
#include "campaign/report_assets.h"
#include "campaign/report_fmt.h"

static void put_asset(struct buf *out, const struct asset *a)
{
    buf_add(out, a->data, a->len);
}

static void dygraph_css(const struct result *r, struct buf *out)
{
    (void)r;
    put_asset(out, &asset_dygraph_css);
}

static void our_css(const struct result *r, struct buf *out)
{
    (void)r;
    put_asset(out, &asset_report_css);
}

static void dygraph_js(const struct result *r, struct buf *out)
{
    (void)r;
    put_asset(out, &asset_dygraph_js);
}

static void our_js(const struct result *r, struct buf *out)
{
    (void)r;
    put_asset(out, &asset_report_js);
}

void html_run_title(const struct result *r, struct buf *out)
{
    auto_buf struct buf name = BUF_INIT((size_t)64 << 10);

    run_title(r, &name);
    text_html(out, buf_str(&name));
}

static void title(const struct result *r, struct buf *out)
{
    buf_addf(out, "%s: ", verdict_name(r->verdict));
    html_run_title(r, out);
}

/* The places of the template: {{name}}. */
static const struct {
    const char *name;
    html_part_fn *fill;
} places[] = {
    { "title", title },        { "dygraph_css", dygraph_css }, { "css", our_css },
    { "banner", html_banner }, { "figures", html_figures },    { "thresholds", html_thresholds },
    { "faults", html_faults }, { "phases", html_phases },      { "endpoints", html_endpoints },
    { "matrix", html_matrix }, { "errors", html_errors },      { "health", html_health },
    { "repeat", html_repeat }, { "data", report_data_json },   { "dygraph_js", dygraph_js },
    { "js", our_js },
};

static void fill(const char *name, size_t len, const struct result *r, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (strlen(places[i].name) == len && memcmp(places[i].name, name, len) == 0)
            places[i].fill(r, out);
}

void report_html(const struct result *r, struct buf *out)
{
    const char *at = asset_report_html.data, *end = at + asset_report_html.len;

    while (at < end) {
        const char *open = memmem(at, (size_t)(end - at), "{{", 2);
        const char *close = open ? memmem(open, (size_t)(end - open), "}}", 2) : NULL;
        if (!close) {
            buf_add(out, at, (size_t)(end - at));
            return;
        }
        buf_add(out, at, (size_t)(open - at));
        fill(open + 2, (size_t)(close - open - 2), r, out);
        at = close + 2;
    }
}

void html_cell(struct buf *out, double sort, const char *text)
{
    buf_addf(out, "<td class=\"n\" data-v=\"%.9g\">%s</td>", sort, text);
}

void html_time_cell(struct buf *out, const struct hist *h, double q)
{
    char text[FMT_LEN];
    uint64_t ns = h->count == 0 ? T_NONE : q >= 1 ? h->max_ns : hist_quantile_ns(h, q);

    html_cell(out, ns == T_NONE ? -1 : (double)ns, fmt_time(ns, text));
}

void html_row_head(struct buf *out, const char *text)
{
    buf_adds(out, "<th scope=\"row\">");
    text_html(out, text);
    buf_adds(out, "</th>");
}

void html_table_begin(struct buf *out, const char *caption, const char *const *heads)
{
    buf_addf(out,
             "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\">"
             "<table class=\"sortable\"><caption>%s</caption><thead><tr>",
             caption, caption);
    for (; *heads; heads++)
        buf_addf(out, "<th scope=\"col\">%s</th>", *heads);
    buf_adds(out, "</tr></thead><tbody>\n");
}

void html_table_end(struct buf *out)
{
    buf_adds(out, "</tbody></table></div>\n");
}
