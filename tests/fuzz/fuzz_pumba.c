/* A command line of Pumba: read whole or refused with a sentence, and its words never hold more
 * than the text did. */
#include <stdlib.h>
#include <string.h>

#include "chaoslib/pumba/args.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    auto_free char *text = xstrndup((const char *)data, size);
    struct err err = { 0 };
    struct pumba_line line;
    struct strs words;
    size_t total = 0;

    if (pumba_words(text, arena, &words, &err) == 0)
        for (size_t i = 0; i < words.n; i++)
            total += strlen(words.v[i]);
    if (total > strlen(text))
        abort();
    err = (struct err){ 0 };
    if (pumba_read(text, arena, &line, &err) < 0 && !err_is_set(&err))
        abort();
    arena_free(arena);
    return 0;
}
