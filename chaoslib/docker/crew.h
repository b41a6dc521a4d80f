/* What all faults in containers share: whom they hit, all at once, when each was really hit, and
 * how it is undone. A kind says what it does to one container; the rest is here.
 *
 * Undoing is written once: what is journalled is also what our own revert works from, so that the
 * guardian and `recover` do exactly what we would have done. Inside chaoslib/docker only. */
#ifndef CHAOSLIB_DOCKER_CREW_H
#define CHAOSLIB_DOCKER_CREW_H

#include "chaoslib/docker/events.h"
#include "chaoslib/docker/select.h"

struct crew_member {
    const struct docker_container *was; /* as it was chosen */
    struct json *entry; /* what undoing needs of it: id, name, started_at, …; "event": the detail
                           that its in_events have */
    bool sent;          /* something may have been done to it */
    bool gone;          /* it was not there any more */
    uint64_t mark;      /* events after this one came after ours */
    uint64_t breaks;    /* of the events, when it was last looked at */
};

/* What a kind does to one container. */
struct crew_kind {
    enum docker_state state;
    const char *in_events, *out_events; /* "die": when it is in; "start": when it is out */
    const char *gone_events; /* after these there is nothing left of it; NULL: never so */
    bool must_see_event;     /* it is not in unless in_events was seen */
    bool fails_late; /* when put_in fails something may have been done: undone all the same */
    /* Adds to `entry` what put_in and undo need; `all` is what inspect says. Optional. */
    int (*save)(const struct fault_run *r, const struct json *all, struct json *entry,
                struct err *err);
    int (*put_in)(const struct fault_run *r, const struct crew_member *m, struct err *err);
    uint64_t (*in_wait_ns)(const struct fault_run *r); /* how long in_events may take; optional */
    bool (*is_in)(const struct crew_member *m, const struct docker_container *now); /* optional */
    /* From `entry` and `work` alone. 0 undone, 1 nothing was to do. NULL: it cannot be undone. */
    int (*undo)(struct docker *d, const struct json *work, const struct json *entry,
                struct err *err);
    bool (*is_out)(const struct crew_member *m, const struct docker_container *now); /* optional */
};

struct crew {
    const struct crew_kind *kind;
    struct docker_targets targets;
    struct crew_member *members;
    struct json *work; /* what undoing needs of all: grace_ms, … */
    bool undoable;
    const char *healthy; /* of wait_healthy; NULL: nobody waits */
    uint64_t healthy_ns;
};

/* Chooses and inspects; fills r->state, r->hits and r->target. */
int crew_prepare(struct fault_run *r, const struct crew_kind *kind,
                 const struct docker_select *select, struct err *err) MUST_CHECK;
void crew_journal(const struct fault_run *r, struct json *record);
int crew_inject(struct fault_run *r, struct err *err) MUST_CHECK;
int crew_verify_in(struct fault_run *r, struct err *err) MUST_CHECK;
int crew_revert(struct fault_run *r, struct err *err) MUST_CHECK;
int crew_verify_out(struct fault_run *r, struct err *err) MUST_CHECK;
bool crew_target_gone(const struct fault_run *r);
void crew_release(struct fault_run *r);
int crew_undo(const struct crew_kind *kind, const struct json *record, struct err *err) MUST_CHECK;

#define CREW_STEPS                                                                         \
    .journal = crew_journal, .inject = crew_inject, .verify_in = crew_verify_in,           \
    .revert = crew_revert, .verify_out = crew_verify_out, .target_gone = crew_target_gone, \
    .release = crew_release

/* ---- what kinds ask the engine ---- */

/* POST /containers/ID/verb; 1: no such container. */
int crew_post(struct docker *d, const char *id, const char *verb, uint64_t timeout_ns,
              struct err *err) MUST_CHECK;
/* POST path with a body. */
int crew_send(struct docker *d, const char *path, const struct json *body,
              struct err *err) MUST_CHECK;
/* It is the one that was chosen, not started again since. */
bool crew_is_same(const struct crew_member *m, const struct docker_container *now);
/* Undo of all that take a container down: starts it, unless someone else did. */
int crew_start_again(struct docker *d, const struct json *work, const struct json *entry,
                     struct err *err) MUST_CHECK;
/* save of these: one that removes itself cannot be started again. */
int crew_save_down(const struct fault_run *r, const struct json *all, struct json *entry,
                   struct err *err) MUST_CHECK;

/* `wait_healthy`: false, true (its HEALTHCHECK), tcp:HOST:PORT or http://…  The text that means it,
 * NULL for false; mistakes go to ctx. */
const char *crew_healthy(const struct param_ctx *ctx, const struct doc *d, const char *text);
/* Until all are; then hits' reverted instants are moved there. */
int crew_wait_healthy(struct fault_run *r, struct err *err) MUST_CHECK;

#define CREW_HEALTHY_ROWS(struct_)                                                                 \
    PARAM(STR, "wait_healthy", struct_, wait_healthy, .def = "false",                              \
          .help = "it counts as back when true: its HEALTHCHECK says healthy, or when "            \
                  "tcp:HOST:PORT connects, or http://HOST:PORT/PATH answers 2xx or 3xx"),          \
        PARAM(DURATION, "healthy_timeout", struct_, healthy_timeout_ns, .def = "60s", .lo = 0.001, \
              .hi = 3600, .help = "how long wait_healthy may take")

#endif
