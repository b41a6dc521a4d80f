/* The small language of --task, --fault and --proxy: words between blanks, some of them key=value.
 * Quotes ('…' or "…") and parentheses keep blanks together: at=between(10s, 20s) body='{"a": 1}'.
 */
#ifndef CLI_WORDS_H
#define CLI_WORDS_H

#include "base/err.h"
#include "base/mem.h"

#define WORDS_MAX 64

struct words {
    char *v[WORDS_MAX]; /* in the arena */
    size_t n;
};

int words_split(const char *text, struct arena *arena, struct words *ret,
                struct err *err) MUST_CHECK;
/* "key=value" in two: NULL when there is no '=' after a name of letters, digits, '_', '-' and '.'.
 * Returns the value; the name's length in *ret_len. */
const char *word_value(const char *word, size_t *ret_len);

#endif
