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

/* Quotes around a word or a value are taken off; inside brackets, as in JSON, they are text. */
static bool opens_quote(const struct splitter *s, const char *begin)
{
    return (*s->p == '\'' || *s->p == '"') && (s->p == begin || s->p[-1] == '=');
}

/* One word; NULL, or what is not closed. */
static const char *take_word(struct splitter *s, bool *ret_quoted)
{
    const char *begin = s->p;
    char quote = '\0', inner = '\0';
    int depth = 0;

    *ret_quoted = false;
    for (; *s->p && (quote || inner || depth > 0 || !isspace((unsigned char)*s->p)); s->p++) {
        char c = *s->p;

        if (quote && c == quote) {
            quote = '\0';
            continue;
        }
        if (!quote && depth == 0 && opens_quote(s, begin)) {
            quote = c;
            *ret_quoted = true;
            continue;
        }
        if (quote == '"' && c == '\\' && (s->p[1] == '"' || s->p[1] == '\\'))
            c = *++s->p;
        else if (!quote && inner)
            inner = c == inner ? '\0' : inner;
        else if (!quote && depth > 0 && c == '"')
            inner = c;
        else if (!quote)
            depth += strchr("([{", c) ? 1 : strchr(")]}", c) ? -1 : 0;
        *s->out++ = c;
    }
    *s->out++ = '\0';
    return quote || inner ? "quote" : depth > 0 ? "bracket" : NULL;
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
