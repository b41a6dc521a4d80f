/* See opts.h. Written by hand instead of getopt_long, whose messages cannot say "did you mean" and
 * which stops at the first mistake. */
#include "cli/opts.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define NAMES_MAX 128

struct parser {
    const struct verb *v;
    struct verb_args *args;
    struct diag *diag;
    char **argv;
    int argc, i; /* argv[i] is next */
    bool wants_help;
};

size_t opts_count(const struct opt *opts)
{
    size_t n = 0;

    while (opts && opts[n].name)
        n++;
    return n;
}

const struct opt_values *opt_all(const struct verb_args *a, const char *name)
{
    for (struct opt_values *o = a->opts; o->opt && o->opt->name; o++)
        if (strcmp(o->opt->name, name) == 0)
            return o;
    return NULL;
}

const char *opt_value(const struct verb_args *a, const char *name)
{
    const struct opt_values *o = opt_all(a, name);

    return o && o->n ? o->values[o->n - 1] : NULL;
}

bool opt_given(const struct verb_args *a, const char *name)
{
    const struct opt_values *o = opt_all(a, name);

    return o && o->n > 0;
}

static void add_value(struct parser *p, struct opt_values *o, const char *value)
{
    if (o->n == OPT_REPEAT_MAX) {
        diag_add(p->diag, NULL, "--%s: more than %d times", o->opt->name, OPT_REPEAT_MAX);
        return;
    }
    o->values = xrealloc(o->values, o->n + 1, sizeof(*o->values));
    o->values[o->n++] = value;
}

static struct opt_values *find_long(const struct parser *p, const char *name, size_t len)
{
    for (struct opt_values *o = p->args->opts; o->opt->name; o++)
        if (strlen(o->opt->name) == len && strncmp(o->opt->name, name, len) == 0)
            return o;
    return NULL;
}

static struct opt_values *find_letter(const struct parser *p, char letter)
{
    for (struct opt_values *o = p->args->opts; o->opt->name; o++)
        if (o->opt->letter == letter)
            return o;
    return NULL;
}

static const char *next_value(struct parser *p, const struct opt *opt)
{
    if (p->i < p->argc)
        return p->argv[p->i++];
    diag_add(p->diag, NULL, "--%s: needs a value: --%s %s", opt->name, opt->name, opt->meta);
    return NULL;
}

static void unknown_long(struct parser *p, const char *name, size_t len)
{
    const char *names[NAMES_MAX];
    auto_free char *word = xstrndup(name, MIN(len, 60));
    size_t n = 0;

    const char *hint = foreign_hint(word);
    if (hint) {
        diag_add(p->diag, NULL, "--%s: %s", word, hint);
        return;
    }
    for (const struct opt *o = p->v->opts; o && o->name && n < NAMES_MAX; o++)
        names[n++] = o->name;
    const char *near = nearest_name(word, names, n);
    if (near)
        diag_add(p->diag, NULL, "--%s: unknown option, did you mean --%s?", word, near);
    else
        diag_add(p->diag, NULL, "--%s: unknown option; 'chaos-load %s --help' lists them", word,
                 p->v->name);
}

static void read_long(struct parser *p, const char *text)
{
    size_t len = strcspn(text, "=");
    struct opt_values *o;

    if (strcmp(text, "help") == 0) {
        p->wants_help = true;
        return;
    }
    o = find_long(p, text, len);
    if (!o) {
        unknown_long(p, text, len);
        return;
    }
    if (o->opt->arg == OPT_NONE) {
        if (text[len])
            diag_add(p->diag, NULL, "--%s: takes no value", o->opt->name);
        else
            add_value(p, o, "");
        return;
    }
    const char *value = text[len] ? text + len + 1 : next_value(p, o->opt);
    if (value)
        add_value(p, o, value);
}

static void read_letters(struct parser *p, const char *text)
{
    for (; *text; text++) {
        struct opt_values *o = find_letter(p, *text);

        if (*text == 'h' && !o) {
            p->wants_help = true;
            continue;
        }
        if (!o) {
            diag_add(p->diag, NULL, "-%c: unknown option; 'chaos-load %s --help' lists them", *text,
                     p->v->name);
            return;
        }
        if (o->opt->arg == OPT_NONE) {
            add_value(p, o, "");
            continue;
        }
        const char *value = text[1] ? text + 1 + (text[1] == '=') : next_value(p, o->opt);
        if (value)
            add_value(p, o, value);
        return;
    }
}

static void add_positional(struct parser *p, const char *text)
{
    struct verb_args *a = p->args;

    a->rest = xrealloc(a->rest, a->n_rest + 1, sizeof(*a->rest));
    a->rest[a->n_rest++] = text;
}

void opts_parse(const struct verb *v, int argc, char **argv, struct verb_args *ret,
                bool *wants_help, struct diag *diag)
{
    struct parser p = { .v = v, .args = ret, .diag = diag, .argv = argv, .argc = argc };
    size_t n = opts_count(v->opts);
    static const struct opt end = { 0 };
    bool only_positional = false;

    *ret = (struct verb_args){ .opts = xcalloc(n + 1, sizeof(*ret->opts)) };
    for (size_t i = 0; i < n; i++)
        ret->opts[i].opt = &v->opts[i];
    ret->opts[n].opt = &end;
    while (p.i < argc) {
        const char *arg = argv[p.i++];

        if (only_positional || arg[0] != '-' || !arg[1] || (v->takes_line && strchr(arg, ' ')))
            add_positional(&p, arg);
        else if (strcmp(arg, "--") == 0)
            only_positional = true;
        else if (arg[1] == '-')
            read_long(&p, arg + 2);
        else
            read_letters(&p, arg + 1);
    }
    *wants_help = p.wants_help;
}

void opts_done(struct verb_args *a)
{
    for (struct opt_values *o = a->opts; o && o->opt->name; o++)
        free(o->values);
    free(a->opts);
    free(a->rest);
    *a = (struct verb_args){ 0 };
}
