/* Checks the text of a ready check, without asking anyone. Inside chaoslib only. */
#ifndef CHAOSLIB_PROCESS_READY_H
#define CHAOSLIB_PROCESS_READY_H

#include "base/err.h"

int process_ready_check(const char *text, struct err *err) MUST_CHECK;

#endif
