/* result.json from anywhere: it is refused, or becomes a result that every report can show and that
 * reads back to itself. */
#include <stdlib.h>
#include <string.h>

#include "campaign/observer.h"
#include "edge/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *text_of(const struct result *r)
{
    auto(json) struct json *j = result_to_json(r);

    return json_print(j, false);
}

static void must_read_back(const struct result *r)
{
    auto_free char *first = text_of(r);
    auto(json) struct json *j = NULL;
    auto(result) struct result *again = NULL;

    if (json_parse(first, strlen(first), &j, NULL) < 0 || result_from_json(j, &again, NULL) < 0)
        abort();
    auto_free char *second = text_of(again);
    if (strcmp(first, second) != 0)
        abort();
}

static void must_render(const struct result *r)
{
    static void (*const all[])(const struct result *r, struct buf *out) = {
        report_html,        report_markdown,         report_junit,
        report_locust_json, report_locust_stats_csv, report_locust_failures_csv,
    };
    auto_buf struct buf text = BUF_INIT(0);

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        buf_clear(&text);
        all[i](r, &text);
    }
    report_text(r, true, 80, &text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto(json) struct json *j = NULL;
    auto(result) struct result *r = NULL;
    struct err err = { 0 };

    if (json_parse((const char *)data, size, &j, &err) < 0 || result_from_json(j, &r, &err) < 0)
        return 0;
    must_read_back(r);
    must_render(r);
    return 0;
}
