/* What is active on this machine, and by which run: from the journals of the state directory, and
 * from the helpers that live. Looks only. */
#ifndef CHAOSLIB_STATUS_H
#define CHAOSLIB_STATUS_H

#include "edge/json.h"

/* {"faults":  [{"run", "fault", "kind", "backend", "target", "activation", "state", "journal",
 *              "overdue_in_ms"}],
 *  "helpers": [{"pid", "role", "run_pid"}],
 *  "unreadable": [{"journal", "error"}]}
 *
 * state: "active" while its run lives, "left" when that is dead and the machine is still up,
 * "rebooted" when it was started again since. overdue_in_ms: when the guardian takes it for
 * forgotten; null unless "active". The caller frees. */
int status_read(const char *dir, struct json **ret, struct err *err) MUST_CHECK;

#endif
