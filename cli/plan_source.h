/* A plan from a file, from flags, or from both: what run, validate and explain begin with. */
#ifndef CLI_PLAN_SOURCE_H
#define CLI_PLAN_SOURCE_H

#include "campaign/plan.h"
#include "cli/cli.h"

/* 0; or an exit code (EXIT_USAGE), all mistakes printed on stderr. The plan is freed with plan_free
 * in every case. */
int plan_from_args(const struct verb_args *args, struct plan *ret);
/* The same, with the mistakes in `diag` and nothing printed; how many there are. */
unsigned plan_from_args_quietly(const struct verb_args *args, struct diag *diag, struct plan *ret);

#endif
