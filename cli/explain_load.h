/* The load part of `explain`: who does what, and how much. */
#ifndef CLI_EXPLAIN_LOAD_H
#define CLI_EXPLAIN_LOAD_H

#include "runner/plan.h"

void explain_load(const struct load_plan *load);

#endif
