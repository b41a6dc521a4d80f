/* See words.h. */
#include "cli/words.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

struct splitter {
    const char *p;
    char *out; /* room for all words, each with its NUL */
    /* of the word that is being taken */
    const char *begin;
    char quote; /* around the word or value: taken off */
    char inner; /* inside brackets: text */
    int depth;  /* of brackets */
};

static bool is_inside(const struct splitter *s)
{
    return s->quote || s->inner || s->depth > 0;
}

/* Quotes around a word or a value are taken off; inside brackets, as in JSON, they are text. */
static bool opens_quote(const struct splitter *s)
{
    return !is_inside(s) && (*s->p == '\'' || *s->p == '"') &&
           (s->p == s->begin || s->p[-1] == '=');
}

static void follow_brackets(struct splitter *s, char c)
{
    if (s->inner)
        s->inner = c == s->inner ? '\0' : s->inner;
    else if (s->depth > 0 && c == '"')
        s->inner = c;
    else if (strchr("([{", c))
        s->depth++;
    else if (strchr(")]}", c))
        s->depth--;
}

/* One character of a word. */
static void take_character(struct splitter *s)
{
    bool escaped = s->quote == '"' && *s->p == '\\' && (s->p[1] == '"' || s->p[1] == '\\');

    if (s->quote && *s->p == s->quote) {
        s->quote = '\0';
        return;
    }
    if (opens_quote(s)) {
        s->quote = *s->p;
        return;
    }
    if (escaped)
        s->p++;
    else if (!s->quote)
        follow_brackets(s, *s->p);
    *s->out++ = *s->p;
}

/* One word; NULL, or what is not closed. */
static const char *take_word(struct splitter *s)
{
    s->begin = s->p;
    s->quote = s->inner = '\0';
    s->depth = 0;
    for (; *s->p && (is_inside(s) || !isspace((unsigned char)*s->p)); s->p++)
        take_character(s);
    *s->out++ = '\0';
    return s->quote || s->inner ? "quote" : s->depth > 0 ? "bracket" : NULL;
}

int words_split(const char *text, struct arena *arena, struct words *ret, struct err *err)
{
    struct splitter s = { .p = text, .out = arena_alloc(arena, 2 * strlen(text) + 2) };

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
        open = take_word(&s);
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
