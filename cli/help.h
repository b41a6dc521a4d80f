/* Help, printed from the tables. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include <stdio.h>

#include "cli/cli.h"

void help_overview(FILE *out);
void help_verb(const struct verb *v, FILE *out);
/* Wraps a text to `width` columns, the lines after the first indented by `indent` blanks. */
void help_wrap(FILE *out, const char *text, unsigned indent, unsigned width);
extern const char help_exit_codes[]; /* lines "0  passed" */

#endif
