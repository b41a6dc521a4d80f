/* The command line, read by the tables of verbs. Forms: -u 100, -u100, --users=100, --users 100,
 * switches together (-qv), and -- after which all is positional. */
#ifndef CLI_OPTS_H
#define CLI_OPTS_H

#include "base/diag.h"
#include "cli/cli.h"

#define OPT_REPEAT_MAX 1000

/* All mistakes go to diag, as many as there are. `wants_help`: -h or --help was there. */
void opts_parse(const struct verb *v, int argc, char **argv, struct verb_args *ret,
                bool *wants_help, struct diag *diag);
void opts_done(struct verb_args *a);
size_t opts_count(const struct opt *opts);
const struct verb *verb_find(const char *name);
/* Options of Locust, k6 and others that mean something here under another name; NULL: none. `name`
 * is without dashes. */
const char *foreign_hint(const char *name);

#endif
