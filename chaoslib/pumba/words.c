/* A line of shell cut into words, by nobody's shell: nothing is expanded and nothing is run. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "chaoslib/pumba/args.h"

struct cutter {
    const char *at;
    struct arena *arena;
    struct buf word;
    bool in_word;
    struct strs words;
    struct err *err;
};

static int refuse(struct cutter *c, const char *what)
{
    return err_set(c->err, ERR_USAGE, EINVAL,
                   "'%.20s': %s, and there is no shell here: quote it, or leave it out", c->at,
                   what);
}

static bool is_expansion(const char *at)
{
    return at[0] == '`' || (at[0] == '$' && (isalnum((unsigned char)at[1]) || at[1] == '_' ||
                                             at[1] == '{' || at[1] == '('));
}

static int end_word(struct cutter *c)
{
    if (!c->in_word)
        return 0;
    if (c->words.n == PUMBA_WORDS_MAX)
        return err_set(c->err, ERR_LIMIT, E2BIG, "more than %d words", PUMBA_WORDS_MAX);
    const char *text = arena_strdup(c->arena, buf_str(&c->word));
    if (!text)
        return err_set(c->err, ERR_LIMIT, ENOMEM, "the command line is too long");
    c->words.v[c->words.n++] = text;
    buf_clear(&c->word);
    buf_adds(&c->word, "");
    c->in_word = false;
    return 0;
}

static int single_quoted(struct cutter *c)
{
    const char *end = strchr(c->at + 1, '\'');

    if (!end)
        return err_set(c->err, ERR_USAGE, EINVAL, "a ' without its end: %.40s", c->at);
    buf_add(&c->word, c->at + 1, (size_t)(end - c->at - 1));
    c->at = end + 1;
    return 0;
}

static int double_quoted(struct cutter *c)
{
    const char *begin = c->at++;

    while (*c->at && *c->at != '"') {
        if (is_expansion(c->at))
            return refuse(c, "only a shell could expand this");
        if (*c->at == '\\' && c->at[1] && strchr("\"\\$`", c->at[1]))
            c->at++;
        buf_addc(&c->word, *c->at++);
    }
    if (!*c->at)
        return err_set(c->err, ERR_USAGE, EINVAL, "a \" without its end: %.40s", begin);
    c->at++;
    return 0;
}

static int part(struct cutter *c)
{
    c->in_word = true;
    if (*c->at == '\'')
        return single_quoted(c);
    if (*c->at == '"')
        return double_quoted(c);
    if (is_expansion(c->at))
        return refuse(c, "only a shell could expand this");
    if (strchr("|&;<>()", *c->at))
        return refuse(c, "this is a shell's");
    if (*c->at == '\\' && c->at[1])
        c->at++;
    buf_addc(&c->word, *c->at++);
    return 0;
}

/* A blank, or a backslash at the end of a line. */
static size_t gap(const char *at)
{
    if (at[0] == '\\' && at[1] == '\n')
        return 2;
    return isspace((unsigned char)*at) ? 1 : 0;
}

int pumba_words(const char *text, struct arena *arena, struct strs *ret, struct err *err)
{
    struct cutter c = { .at = text, .arena = arena, .err = err, .word = BUF_INIT(PUMBA_TEXT_MAX) };
    int rc = 0;

    if (strlen(text) >= PUMBA_TEXT_MAX)
        return err_set(err, ERR_LIMIT, E2BIG, "more than %zu bytes", PUMBA_TEXT_MAX);
    c.words.v = arena_alloc(arena, PUMBA_WORDS_MAX * sizeof(*c.words.v));
    if (!c.words.v)
        return err_set(err, ERR_LIMIT, ENOMEM, "the command line is too long");
    while (rc == 0 && *c.at) {
        size_t n = gap(c.at);
        rc = n ? end_word(&c) : part(&c);
        c.at += n;
    }
    if (rc == 0)
        rc = end_word(&c);
    buf_done(&c.word);
    if (rc == 0)
        *ret = c.words;
    return rc;
}
