/* rows.ndjson from anywhere, torn at any place: it is refused by line, or becomes a result whose
 * parts add up. */
#include <stdlib.h>

#include "campaign/observer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_add_up(const struct result *r)
{
    uint64_t phases = 0, endpoints = 0;

    for (size_t i = 0; i < r->n_phases; i++)
        phases += r->phases[i].cell.n_ok;
    for (size_t i = 0; i < r->n_endpoints; i++)
        endpoints += r->endpoints[i].cell.n_ok;
    if (phases != r->total.n_ok || endpoints != r->total.n_ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto(result) struct result *r = NULL;
    auto_buf struct buf text = BUF_INIT(0);
    struct err err = { 0 };

    if (result_from_rows((const char *)data, size, &r, &err) < 0)
        return 0;
    must_add_up(r);
    report_text(r, false, 80, &text);
    report_html(r, &text);
    return 0;
}
