/* A verb is a file and a row of the table: name, summary, options, run. Help, usage, man page and
 * completion are printed from the table. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/err.h"

enum opt_arg { OPT_NONE, OPT_ONE, OPT_MANY /* repeatable */ };

struct opt {
    const char *name; /* "users" for --users */
    char letter;      /* 'u', or 0 */
    enum opt_arg arg;
    const char *meta; /* "N", "DURATION", "FILE" */
    const char *help;
    const char *group;    /* heading in --help; NULL: as before */
    const char *complete; /* "file", "dir", or words separated by blanks; NULL */
};

struct opt_values { /* what the user gave, by row of the table */
    const struct opt *opt;
    const char **values;
    size_t n; /* times given */
};

struct verb_args {
    struct opt_values *opts; /* same order as verb->opts */
    const char **rest;       /* positional */
    size_t n_rest;
};

struct verb {
    const char *name, *summary, *usage; /* "run [OPTIONS] [PLAN.yaml]" */
    const char *description;            /* paragraphs for help and man */
    const char *examples;
    const struct opt *opts; /* ends with .name == NULL */
    bool hidden;
    bool takes_line; /* a word with blanks in it is a command line of somebody else's, not an option
                      */
    bool one_dash;   /* long options may begin with one dash, as in Go: -name */
    int (*run)(const struct verb *v, const struct verb_args *args); /* exit code */
};

extern const struct verb *const verbs[]; /* NULL-terminated, in the order of the help */
const char *opt_value(const struct verb_args *a, const char *name); /* last given, or NULL */
const struct opt_values *opt_all(const struct verb_args *a, const char *name);
bool opt_given(const struct verb_args *a, const char *name);

#endif
