/* The pure part of lowering a limit of open files. Inside chaoslib, and for the tests. */
#ifndef CHAOSLIB_MACHINE_RLIMIT_H
#define CHAOSLIB_MACHINE_RLIMIT_H

#include "base/defs.h"

#define RLIMIT_FILES_MAX (UINT64_C(1) << 21)

/* The limit under which `leave` more descriptors can be opened by a process that has those open; n
 * when that is no less than it may now. */
uint64_t rlimit_leaving(const bool *is_open, uint64_t n, uint64_t leave);

#endif
