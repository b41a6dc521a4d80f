/* The words of --task and --fault: never more room than the text, and nothing lost but quotes. */
#include <stdlib.h>
#include <string.h>

#include "cli/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    auto_free char *text = xstrndup((const char *)data, size);
    struct err err = { 0 };
    struct words w;
    size_t total = 0, len;

    if (words_split(text, arena, &w, &err) == 0) {
        for (size_t i = 0; i < w.n; i++) {
            const char *value = word_value(w.v[i], &len);

            total += strlen(w.v[i]);
            if (value && value != w.v[i] + len + 1)
                abort();
        }
        if (total > strlen(text))
            abort();
    } else if (!err_is_set(&err)) {
        abort();
    }
    arena_free(arena);
    return 0;
}
