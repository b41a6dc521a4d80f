#include "campaign/observer.h"
#include "campaign/report_fmt.h"
void report_html(const struct result *r, struct buf *out)
{
    buf_adds(out, "<!doctype html><title>");
    text_html(out, r->name);
    buf_adds(out, "</title>");
}
