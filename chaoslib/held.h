/* What faults share that a helper inside the target's network namespace holds: its life from
 * prepare to release. The helper is asked {"do": "in"}, "probe", "out"; it answers when that is so,
 * with "at_ns", "requests" and "connections". It and all it made in the kernel end with us, so that
 * there is nothing for the journal. Inside chaoslib. */
#ifndef CHAOSLIB_HELD_H
#define CHAOSLIB_HELD_H

#include "chaoslib/chaos.h"

struct docker_select;
struct held_kind {
    const char *role;      /* of the helper */
    const char *mechanism; /* for r->mechanism */
    /* Whom it hits: one of the three. */
    const char *process, *host;
    const struct docker_select *docker;
    /* What the helper is to do, into `spec`. Changes nothing. */
    int (*plan)(struct fault_run *r, struct json *spec, struct err *err);
};
int held_prepare(struct fault_run *r, const struct held_kind *k, struct err *err) MUST_CHECK;

int held_inject(struct fault_run *r, struct err *err);
int held_verify_in(struct fault_run *r, struct err *err);
int held_revert(struct fault_run *r, struct err *err);
int held_verify_out(struct fault_run *r, struct err *err);
bool held_target_gone(const struct fault_run *r);
int held_still_in(const struct fault_run *r, struct err *err);
void held_release(struct fault_run *r);

#define HELD_KIND(name_, backend_, summary_, table_, struct_, prepare_)                            \
    {                                                                                              \
        .name = (name_), .backend = (backend_), .summary = (summary_), .flags = FAULT_FREE,        \
        .params = (table_), .params_size = sizeof(struct_), .prepare = (prepare_),                 \
        .inject = held_inject, .verify_in = held_verify_in, .revert = held_revert,                 \
        .verify_out = held_verify_out, .target_gone = held_target_gone, .still_in = held_still_in, \
        .release = held_release                                                                    \
    }

#endif
