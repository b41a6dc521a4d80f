/* Files that are embedded in the binary at build time (cmake/embed.cmake): our template, style and
 * script from campaign/report/, and dygraphs from the system's package. */
#ifndef CAMPAIGN_REPORT_ASSETS_H
#define CAMPAIGN_REPORT_ASSETS_H

#include "base/asset.h"

extern const struct asset asset_report_html, asset_report_css, asset_report_js;
extern const struct asset asset_dygraph_js, asset_dygraph_css;

#endif
