/* A threshold from text: what is accepted reads back from its normal form as the same. */
#include <stdlib.h>
#include <string.h>

#include "campaign/threshold.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    auto_free char *text = xstrndup((const char *)data, size);
    struct threshold first, second;
    struct err err = { 0 };

    if (threshold_parse(text, arena, &first, &err) == 0) {
        if (threshold_parse(first.expression, arena, &second, &err) < 0 ||
            strcmp(first.expression, second.expression) != 0 || first.metric != second.metric ||
            first.agg != second.agg || first.op != second.op || first.window_ns != second.window_ns)
            abort();
    } else if (!err_is_set(&err)) {
        abort();
    }
    arena_free(arena);
    return 0;
}
