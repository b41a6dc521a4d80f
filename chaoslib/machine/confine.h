/* A cgroup of our own around a running process and all that it started: made beside or below the
 * one it is in, with limits, and left again. What is planned is a JSON object that goes into the
 * journal as it is; the rest works from that alone. Inside chaoslib only.
 *
 * v1: a child of the process' cgroup in each hierarchy that is needed. v2 has no processes in a
 * cgroup whose children have controllers, but for the root: so a child of the root, else a sibling,
 * which gets the limits that the process had. */
#ifndef CHAOSLIB_MACHINE_CONFINE_H
#define CHAOSLIB_MACHINE_CONFINE_H

#include "chaoslib/machine/cgroup.h"

#define CONFINE_PREFIX "chaos-load-"

struct confine_limits { /* 0: none */
    double cpu;
    uint64_t memory, pids;
};

/* Changes nothing. `tag` makes the cgroup's name. Adds "groups" and "enabled" to `record`. */
int confine_plan(pid_t pid, const struct confine_limits *limits, const char *tag,
                 struct json *record, struct err *err) MUST_CHECK;
/* Makes the cgroups and moves in `pid` and all that descends from it; of a leader of a session
 * (`whole_session`) also the rest of that. */
int confine_enter(const struct json *record, pid_t pid, bool whole_session,
                  struct err *err) MUST_CHECK;
/* 0: `pid` is in all of them; 1: it is not. */
int confine_look(const struct json *record, pid_t pid, struct err *err) MUST_CHECK;
/* Moves everybody back to where the process was (or to what is left of that path), and removes the
 * cgroups. 0 undone, 1 there was nothing of ours. Idempotent. */
int confine_leave(const struct json *record, struct err *err) MUST_CHECK;
bool confine_is_left(const struct json *record); /* none of them is there */

#endif
