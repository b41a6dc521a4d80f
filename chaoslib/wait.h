/* Waiting for a descriptor, an instant and a latch at once. Inside chaoslib only. */
#ifndef CHAOSLIB_WAIT_H
#define CHAOSLIB_WAIT_H

#include "chaoslib/chaos.h"

enum wait_answer { WAIT_TIMEOUT, WAIT_READY, WAIT_LATCH };

/* Until `fd` is readable, the latch is set, or the instant has come; the descriptor wins. fd -1:
 * none. The latch may be NULL. An instant in the past asks once without sleeping. */
enum wait_answer wait_fd(int fd, const struct latch *l, uint64_t mono_ns);

/* Readable once it is set; -1 when the system had no descriptor left for it. */
int latch_fd(const struct latch *l);

/* The descriptor, out of its auto_close scope. */
static inline int fd_take(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

#endif
