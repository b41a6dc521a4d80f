/* See words.h. */
#include "cli/words.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

struct splitter {
    const char *p;
    char *out; /* room for all words, each with its NUL */
    struct words *ret;
};

/* One word; NULL, or what is not closed. */
static const char *take_word(struct splitter *s, bool *ret_quoted)
{
    char quote = '\0';
    int depth = 0;

    *ret_quoted = false;
    for (; *s->p && (quote || depth > 0 || !isspace((unsigned char)*s->p)); s->p++) {
        char c = *s->p;

        if (quote && c == quote) {
            quote = '\0';
        } else if (quote && quote == '"' && c == '\\' && (s->p[1] == '"' || s->p[1] == '\\')) {
            *s->out++ = *++s->p;
        } else if (!quote && (c == '\'' || c == '"')) {
            quote = c;
            *ret_quoted = true;
        } else {
            depth += !quote && c == '(' ? 1 : !quote && c == ')' ? -1 : 0;
            *s->out++ = c;
        }
    }
    *s->out++ = '\0';
    return quote ? "quote" : depth > 0 ? "parenthesis" : NULL;
}

int words_split(const char *text, struct arena *arena, struct words *ret, struct err *err)
{
    struct splitter s = { text, arena_alloc(arena, 2 * strlen(text) + 2), ret };

    ret->n = 0;
    if (!s.out)
        return err_set(err, ERR_LIMIT, ENOMEM, "too long");
    for (;;) {
        const char *open;

        while (isspace((unsigned char)*s.p))
            s.p++;
        if (!*s.p)
            return 0;
        if (ret->n == WORDS_MAX)
            return err_set(err, ERR_LIMIT, E2BIG, "more than %d words", WORDS_MAX);
        ret->v[ret->n] = s.out;
        open = take_word(&s, &ret->quoted[ret->n]);
        if (open)
            return err_set(err, ERR_USAGE, EINVAL, "a %s is not closed in '%.80s'", open, text);
        ret->n++;
    }
}

const char *word_value(const char *word, size_t *ret_len)
{
    size_t n = 0;

    while (isalnum((unsigned char)word[n]) || word[n] == '_' || word[n] == '-' || word[n] == '.')
        n++;
    if (n == 0 || word[n] != '=')
        return NULL;
    *ret_len = n;
    return word + n + 1;
}
