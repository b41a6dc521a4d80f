/* What the runner says to its guardian, on the socket that is the guardian's descriptor 3. One
 * message is one header, then `len` bytes; each is answered by one byte, so that the runner knows
 * that it was understood by someone alive. End-of-file means that the runner is dead. */
#ifndef CHAOSLIB_GUARDIAN_WIRE_H
#define CHAOSLIB_GUARDIAN_WIRE_H

#include "base/defs.h"

#define GUARDIAN_FD 3
#define GUARDIAN_KEEP_MAX \
    ((size_t)4 << 20) /* one secret: an environment is at most a few 100 KiB */
#define GUARDIAN_ANSWER 'k'

enum guardian_verb { GUARDIAN_ARM = 1, GUARDIAN_DISARM, GUARDIAN_KEEP, GUARDIAN_STOP };

struct guardian_msg {
    uint32_t verb;
    uint32_t len; /* of what follows: GUARDIAN_KEEP's data */
    uint64_t seq;
    uint64_t deadline_ns; /* GUARDIAN_ARM */
    char key[24];         /* GUARDIAN_KEEP */
};

#endif
