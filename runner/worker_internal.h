/* What the files of one worker share: worker.c (thread, door, phases), drive.c (parts of the load:
 * who begins when), visit.c (one request with its redirects). All of it belongs to one thread. */
#ifndef RUNNER_WORKER_INTERNAL_H
#define RUNNER_WORKER_INTERNAL_H

#include "runner/client.h"
#include "runner/timers.h"
#include "runner/worker.h"

/* ---- visit.c: one request of a user, with its redirects, as one sample ---- */

/* What a request needs beyond the form's constant bytes. Only users whose request in flight was
 * rendered or redirected have one; they are kept for reuse. */
struct visit {
    SLIST_ENTRY(visit) link;
    struct buf bytes; /* of what is in flight */
    struct buf names; /* its base URL, host and path, each with its NUL */
    const char *method;
    bool secure;
    uint16_t hops;
    struct sample sum; /* of the hops so far, when hops > 0 */
};
SLIST_HEAD(visit_list, visit);

/* ---- drive.c: users and the parts that drive them ---- */

struct drive;

/* A user with what it needs to run. Without a connection this is all it costs. */
struct actor {
    struct user user;
    struct drive *drive;
    struct lane lane;
    struct timer timer;      /* think time, or the pause after a request that could not be sent */
    TAILQ_ENTRY(actor) link; /* in flight: by age; open load: free for an arrival */
    struct exchange *exchange;
    const struct task *request;  /* in flight */
    struct visit *visit;         /* NULL: the form's bytes are what is sent */
    uint64_t sched_ns, start_ns; /* of the request; while waiting, sched_ns is the wake-up */
    struct misdeed *misdeed;     /* its request in flight misbehaves so; NULL: it does not */
    uint32_t series;             /* where the request in flight is recorded */
    uint16_t retries;            /* of it, at once */
    bool leaving;                /* retires when its request has ended */
    bool paused;
};
TAILQ_HEAD(actor_list, actor);

/* Closed load: the place of user number k; it outlives the users of that number. */
struct place {
    struct actor *actor; /* NULL: nobody there */
    uint64_t left;       /* iterations */
    uint64_t again_ns;   /* a new user is wanted as soon as the leaving one is gone; 0: none */
    uint32_t life;
    int32_t user_class; /* SPREAD_NONE: there is no such user */
};

struct drive {
    struct worker *w;
    const struct load_plan_part *part;
    uint32_t index;
    uint64_t first_id; /* of its users */
    uint64_t base_ns;  /* the part's start */
    struct loop_timer *timer;
    struct spread spread;
    bool ended;      /* nothing more is due */
    uint64_t n_live; /* closed: users there; open: busy with an arrival */
    union {
        struct {
            struct pace_users pace;
            struct place *places; /* of users index, index + n_workers, ... */
            size_t n_places, cap_places;
            uint64_t begun, wanted; /* places that should be taken: now, and by the schedule */
            uint64_t wanted_at_ns;  /* since when, or from when on */
            uint64_t users_peak;    /* of all workers */
            uint64_t left;          /* iterations of all places here that were not begun */
        } closed;
        struct {
            struct pace_arrivals pace;
            uint64_t next_ns, next_n; /* the arrival that is due next, of any worker */
            bool has_next;
            struct actor_list *free; /* [n_classes] */
            uint64_t n_actors, max_actors, made;
        } open;
    };
};

/* ---- misdeed.c: who misbehaves ---- */

#define MISDEEDS_MAX 64 /* rules that are on at the same time */
struct misdeeds {
    struct misdeed *v[MISDEEDS_MAX];
    size_t n;
};
/* Draws for the request that the actor is about to send. */
void misdeed_choose(struct actor *a);
struct exchange *misdeed_send(struct actor *a, const struct request *r, client_done_fn *answered);
void misdeed_over(struct actor *a); /* its request has ended */
/* After a failure: may it be sent once more at once? Then it counts as a retry. */
bool misdeed_retries(struct actor *a, const struct sample *s);

struct worker_form {
    const struct request_form *form;
    const struct origin *origin; /* NULL: known only when rendered */
};

struct phase_start {
    uint64_t start_ns;
    uint32_t phase;
};

struct worker {
    struct worker_opts opts;
    struct loop *loop;
    struct client *client;
    struct timers *timers;
    struct worker_form *forms; /* [n_forms] */
    struct drive *drives;      /* [n_parts] */
    struct stats *delta;
    struct trace *trace;
    struct actor_list in_flight;
    uint64_t n_in_flight;
    uint64_t n_users, users_peak; /* n_live of all drives; the most since the last report */
    struct misdeeds misdeeds;     /* that are on; mostly none */
    struct visit_list visits;     /* unused ones */
    char why[WHY_MAX];            /* of the failure being recorded */
    struct request_text text;     /* of the request just rendered, or looked at */
    struct phase_start *phases;
    size_t n_phases;
    uint64_t wall_minus_mono_ns;
    uint64_t start_ns;
    struct loop_timer *cut_timer;
    bool stopping, cutting;
    uint64_t arrivals_due, arrivals_dropped, iterations;
    uint64_t cpu_ns, cpu_at_ns; /* at the last report */
    struct worker_thread *thread;
};

static inline bool drive_is_open(const struct drive *d)
{
    return d->part->kind == LOAD_OPEN;
}

int drive_init(struct drive *d, struct worker *w, uint32_t part, struct err *err) MUST_CHECK;
void drive_done(struct drive *d);
void drive_start(struct drive *d, uint64_t start_ns);
void drive_stop(struct drive *d); /* nobody begins anything any more; who waits, goes */
bool drive_is_done(const struct drive *d);
uint64_t drive_users_wanted(const struct drive *d);
/* The request that visit_begin began has ended and was recorded. `sent` is false when it never
 * left. */
void drive_request_done(struct actor *a, uint64_t now_ns, bool sent);

void visit_begin(struct actor *a, const struct task *request, uint64_t sched_ns, uint64_t now_ns);
/* An answer will not come: what it was to do is done, or failed. */
void visit_unanswered(void *actor, const struct answer *answer);
void visits_done(struct visit_list *l);

/* The hot path's last step: into the delta, under the phase of its sched stamp. */
void worker_record(struct worker *w, const struct sample *s);
/* Wakes the owner when the worker was stopped and nothing is in flight. */
void worker_tell_silence(struct worker *w);

#endif
