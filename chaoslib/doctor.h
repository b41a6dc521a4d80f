/* What works on this machine: each kind of fault is made for real, for a moment, on a small server
 * of our own in a network namespace of our own, by the same steps as in a run. What a container
 * would be hit by is tried in the same way; containers themselves are left alone. */
#ifndef CHAOSLIB_DOCTOR_H
#define CHAOSLIB_DOCTOR_H

#include "chaoslib/chaos.h"

#define DOCTOR_FACTS_MAX 16

struct doctor_finding {
    const struct fault_kind *kind;
    bool works;
    char how[96];          /* the mechanism that was used; "" where there is no choice */
    char why[ERR_MSG_MAX]; /* it does not */
    char remedy[160];      /* what may help; "": `why` says it */
};

struct doctor_fact {
    const char *name; /* "kernel" */
    char text[ERR_MSG_MAX];
};

struct doctor {
    struct doctor_fact facts[DOCTOR_FACTS_MAX];
    size_t n_facts;
    struct doctor_finding *findings;
    size_t n_findings;
};

/* NULL: no reason to leave it out. */
typedef bool doctor_wants_fn(void *arg, const struct fault_kind *k);
/* Enters a new network namespace, if it may, and stays there: for a process that does nothing else.
 * `self` is the path of the binary, which is also the server. */
int doctor_examine(const char *self, doctor_wants_fn *wants, void *arg, struct doctor *ret,
                   struct err *err) MUST_CHECK;
void doctor_done(struct doctor *d);
struct json *doctor_to_json(const struct doctor *d);

/* doctor_facts.c: the machine as it is, before anything is tried. `engine` is what docker_describe
 * says, or why there is none. */
void doctor_look(struct doctor *d, const char *engine);

#endif
