/* What a user does next, as a pure machine: given that its last request has ended, another request
 * or a wait. No clock, no I/O. Which task and which think time come next depends on the seed, the
 * user's number and how often it was asked, never on timing; so a run can be repeated. */
#ifndef RUNNER_USER_H
#define RUNNER_USER_H

#include "runner/cookies.h"
#include "runner/pace.h"
#include "runner/template.h"

/* The plan's users, made ready for choosing. Immutable; threads share it. */
struct cast {
    const struct load_plan *plan;
    double **upto; /* [n_classes][n_tasks]: running sums of the task weights */
};
void cast_init(struct cast *c, const struct load_plan *plan);
void cast_done(struct cast *c);
/* The task of an iteration: by weight, or in order for a sequential class (`turn` counts from 0).
 */
const struct task *cast_pick(const struct cast *c, uint32_t user_class, uint64_t turn,
                             struct rng *rng);

/* Which class user (or arrival) 0, 1, 2, ... of a part belongs to: classes with a fixed count come
 * first, the others share the rest so that each is always within one of its exact share. */
struct spread {
    const struct load_plan *plan;
    int64_t only; /* -1: all classes */
    bool open;
    uint64_t n, n_fixed;
    double weights;
    double *given;
};
enum { SPREAD_NONE = -1 }; /* all classes are fixed and full: there is no such user */
void spread_init(struct spread *s, const struct load_plan *plan, const struct load_plan_part *p);
void spread_done(struct spread *s);
int64_t spread_next(struct spread *s);
/* How many users a part can have at most: UINT64_MAX unless all its classes are fixed. */
uint64_t spread_max(const struct load_plan *plan, const struct load_plan_part *p);

struct user {
    uint16_t part;
    bool is_arrival; /* of open load: of what it does now, in the seed's terms, `arrival` tells */
    uint32_t user_class;
    uint32_t life;      /* how often a user of this number began before */
    uint32_t step;      /* within a sequence */
    uint64_t number;    /* from 0, within the part */
    uint64_t id;        /* from 1, over all parts: {{user.id}} */
    uint64_t iteration; /* begun so far */
    uint64_t left;      /* iterations it may still begin */
    const struct task *task;
    union {
        uint64_t begun_ns; /* of this iteration */
        uint64_t arrival;  /* its number, from 0 */
    };
    uint64_t think_ns;
    struct rng choice, data; /* two streams: what templates draw must not shift the choices */
    struct vars vars;
    struct cookies cookies;
};

struct user_id {
    uint32_t part, user_class, life;
    uint64_t number, id, left;
};
/* `u` is zeroed or done. vars stay empty: the caller fills them. */
void user_init(struct user *u, const struct user_id *id, uint64_t seed);
void user_done(struct user *u);

enum user_move_kind {
    USER_SEND, /* `request`, wanted at at_ns */
    USER_WAIT, /* then ask user_wake at at_ns */
    USER_DONE  /* no iterations left */
};
struct user_move {
    enum user_move_kind kind;
    const struct task *request;
    uint64_t at_ns;
    bool begins; /* SEND: the first request of an iteration */
};

/* A closed user begins an iteration that the schedule wanted at `at_ns`. */
struct user_move user_wake(struct user *u, const struct cast *c, uint64_t at_ns);
/* Its request has ended at `now_ns`. */
struct user_move user_next(struct user *u, const struct cast *c, uint64_t now_ns);

/* Open load: this user takes arrival `n`, for which cast_pick chose `task`. user_next then goes
 * through its steps and ends with USER_DONE. */
struct user_move user_arrive(struct user *u, uint64_t seed, uint64_t n, const struct task *task,
                             uint64_t at_ns);
/* A draw of [0, 1) for its present request, or (`whole`) for all it ever does: from the seed, the
 * user's number and turn (or the arrival's number) alone, and no draw of anything else moves. */
double user_lot(const struct user *u, uint64_t seed, bool whole);
/* The rest of its iteration is left out. */
void user_abandon(struct user *u);
/* The stream that arrival `n` of `part` chooses its task from. */
void arrival_rng(struct rng *r, uint64_t seed, uint32_t part, uint64_t n);

/* Think times of one kind, drawn from `rng`; pacing gives the whole length. */
uint64_t think_draw(const struct think *t, struct rng *rng);

#endif
