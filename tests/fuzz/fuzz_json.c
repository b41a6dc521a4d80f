/* Any bytes as JSON: no crash; what is accepted prints to JSON that prints to the same bytes. */
#include <string.h>

#include "edge/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto(json) struct json *first = NULL;
    auto(json) struct json *second = NULL;
    struct err err = { 0 };

    if (json_parse((const char *)data, size, &first, &err) < 0) {
        require(err.msg[0]);
        return 0;
    }
    auto_free char *once = json_print(first, false);
    require(json_parse(once, strlen(once), &second, &err) == 0);
    auto_free char *twice = json_print(second, false);
    require(!strcmp(once, twice));
    auto_free char *pretty = json_print(first, true);
    require(strlen(pretty) >= strlen(once));
    for (const struct json *j = json_first(first); j; j = json_next(j))
        require(json_len(j) < size);
    return 0;
}
