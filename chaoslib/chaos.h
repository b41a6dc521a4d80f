/* Faults: one contract for every kind and backend.
 *
 *     prepare → journal → inject → verify it is in → hold → revert → verify it is out
 *
 * A fault is a const descriptor (struct fault_kind) in the catalog. The lifecycle lives once, in
 * run.c: it writes the journal, arms the guardian, calls the steps, and reverts on every path out.
 * revert is idempotent and is called whenever inject was entered, also after an abort. What would
 * undo the fault is known before it is injected and can be done from the journal alone (`undo`), by
 * the guardian or by `chaos-load recover`. */
#ifndef CHAOSLIB_CHAOS_H
#define CHAOSLIB_CHAOS_H

#include "base/param.h"
#include "base/proc.h"
#include "base/rng.h"
#include "edge/json.h"

/* ---- a latch that ends every wait early: set once, by any thread ---- */
struct latch;
struct latch *latch_new(void);
void latch_free(struct latch *l);
void latch_set(struct latch *l);
bool latch_is_set(const struct latch *l);
/* Sleeps until the instant or until the latch is set; true when it was set. */
bool latch_wait_until(struct latch *l, uint64_t mono_ns);

/* ---- what faults may use: one per run, shared by all fault threads (its parts lock themselves)
 * ---- */
struct processes;     /* process/process.h: named processes of the plan */
struct proxies;       /* proxy/proxy.h: the embedded fault proxies */
struct docker;        /* docker/engine.h: one container engine */
struct docker_events; /* docker/events.h: its event stream */
struct client_port;   /* client/port.h: the load */
struct journal;       /* journal.h */
struct guardian;      /* guardian.h */

struct chaos_env {
    const char *run_id;
    struct processes *processes;
    struct proxies *proxies;
    struct docker *docker;               /* NULL when nothing in the plan needs an engine */
    struct docker_events *docker_events; /* with docker */
    const struct client_port *client;    /* NULL: there is no load */
    struct journal *journal;             /* NULL only in dry runs and unit tests */
    struct guardian *guardian;           /* NULL only in dry runs and unit tests */
    bool dry_run;
};

/* ---- one activation of one fault ---- */
enum fault_step {
    FAULT_PLANNED,
    FAULT_PREPARE,
    FAULT_JOURNAL,
    FAULT_INJECT,
    FAULT_VERIFY_IN,
    FAULT_HOLD,
    FAULT_REVERT,
    FAULT_VERIFY_OUT,
    FAULT_DONE,
    FAULT_STEP_MAX
};
const char *fault_step_name(enum fault_step s);

enum fault_end { ENDED_NOT, ENDED_BY_PLAN, ENDED_BY_ABORT, ENDED_TARGET_GONE, ENDED_BY_ERROR };
const char *fault_end_name(enum fault_end e); /* "plan", "abort", "target-gone", "error", "" */

/* Stamps are CLOCK_MONOTONIC ns, 0 = not yet. */
struct fault_times {
    uint64_t planned, requested, acknowledged, effective, revert_requested, reverted;
};

/* One thing that an activation hit: a container, a process, a network namespace. Stamps as above.
 */
struct fault_hit {
    char name[64]; /* "shop-1" */
    char id[72];   /* a container's 64 hex digits; "pid 4711" */
    uint64_t requested, effective, reverted;
};

struct fault_run {
    const struct fault_kind *kind;
    const void *params; /* the kind's struct, immutable */
    const struct chaos_env *env;
    const char *name;         /* the fault's name in the plan */
    unsigned activation;      /* 0, 1, 2 … of one `every` */
    uint64_t seq;             /* number in the journal */
    struct rng rng;           /* of (seed, fault, activation) */
    uint64_t hold_ns;         /* duration; 0 for one-shot kinds */
    struct latch *abort;      /* ends the hold early; revert still runs */
    struct latch *hurry;      /* second Ctrl-C: waits inside revert become as short as they can */
    void *state;              /* the kind's own, made in prepare, freed in release */
    struct fault_times times; /* effective and reverted may be set more exactly by the kind */
    enum fault_step step;
    enum fault_end ended_by;
    bool verified_in, verified_out;
    char target[256];   /* whom it hits, for people: "process shop (pid 4711)" */
    char mechanism[64]; /* by what, where there is a choice: "netem, gated by nftables" */
    /* One by one, where it may hit several. Made by the kind in prepare with fault_hits_new, freed
     * by whoever called fault_execute, after it returned; until then only the fault's own thread
     * may look. times.effective is the first hit's, times.reverted the last one's. */
    struct fault_hit *hits;
    size_t n_hits;
    struct err err, revert_err;
    uint64_t connections_hit, requests_hit; /* by proxies; informational */
};

enum fault_flags {
    FAULT_ONE_SHOT = 1 << 0, /* has no duration (kill, restart, exec) */
    FAULT_FREE = 1 << 1, /* ends with our process by construction; nothing for the guardian to do */
    FAULT_INTRUSIVE = 1 << 2,     /* cannot be undone (exec without revert); listed as such */
    FAULT_SURVIVES_BOOT = 1 << 3, /* a reboot does not end it: undone also after one */
    FAULT_NEEDS_DOCKER = 1 << 4,  /* env->docker must be there; so for all of backend `docker` */
    FAULT_TIMED = 1 << 5, /* knows how long it lasts when the plan does not say: `duration` may be
                             left out */
    FAULT_WATCH = 1 << 6, /* breaks nothing: from the beginning of the run to its end it tells what
                             others break; has no instants of its own */
};

/* What a FAULT_WATCH kind saw someone else do; stamps as in fault_times, 0: not (yet). */
struct fault_sight {
    size_t number;    /* 0, 1, 2 …: the same one again when more is known of it */
    char kind[16];    /* "kill" */
    char target[160]; /* for people: "container shop-1 (3f2a1b…): signal 9" */
    struct fault_hit hit;
    bool foreign;   /* it turned out that it was not whom we watch for */
    bool lasting;   /* it may be taken back: pause, netem */
    char error[96]; /* it failed, or could not be taken back; "" */
};
typedef void fault_sight_fn(void *arg, const struct fault_sight *s);

struct fault_kind {
    const char *name;    /* "kill" */
    const char *backend; /* "process": also the key in its params that names the target */
    const char *summary; /* one line for help and docs */
    unsigned flags;
    unsigned (*flags_of)(const void *params); /* more flags, that depend on them; optional */
    const struct param_table *params;         /* includes the backend key */
    size_t params_size;
    const struct fault_kind *by_proxy; /* optional, not in the catalog: see spec.c */
    /* Resolves and records whom it will hit, acquires all that a revert needs, changes nothing.
     * Fills r->target. */
    int (*prepare)(struct fault_run *r, struct err *err);
    /* What undo needs, into `record` (an object); what stays empty needs no undo and no guardian.
     * Secrets go to guardian_keep, never in here. NULL for FAULT_FREE kinds. */
    void (*journal)(const struct fault_run *r, struct json *record);
    int (*inject)(struct fault_run *r, struct err *err);
    int (*verify_in)(struct fault_run *r, struct err *err); /* 0: it is in */
    int (*revert)(struct fault_run *r, struct err *err); /* idempotent; "already gone" is success */
    int (*verify_out)(struct fault_run *r, struct err *err);
    /* Optional; asked now and then during the hold: the target left by itself, and the fault with
     * it. */
    bool (*target_gone)(const struct fault_run *r);
    /* Optional; asked as often: negative when it ended by itself before its time (a hog that was
     * killed). It is reverted and verified as ever, and counts as failed. */
    int (*still_in)(const struct fault_run *r, struct err *err);
    void (*release)(struct fault_run *r);
    /* FAULT_WATCH only, instead of all above. fn is called on a thread of the watch, until
     * watch_stop has returned. */
    void *(*watch_start)(const void *params, const struct chaos_env *env, fault_sight_fn *fn,
                         void *arg, struct err *err);
    void (*watch_stop)(void *watch);
    /* From the journal alone, in another process: 0 undone, 1 nothing was to do, negative: could
     * not. A remark for people may be left in err->msg with kind ERR_NONE. `record` is what
     * journal() wrote; what guardian_keep got is under "kept", as hex. */
    int (*undo)(const struct json *record, struct err *err);
};

/* Makes r->hits anew, all zero; prepare may be called more than once. */
void fault_hits_new(struct fault_run *r, size_t n);

/* All kinds, in the order of the docs; NULL-terminated. Lists: process kinds, proxy kinds
 * (catalog.c). */
extern const struct fault_kind *const fault_catalog[];
/* Also finds what only journals name: `run` of the backend process. */
const struct fault_kind *fault_kind_find(const char *name, const char *backend);

/* ---- reading `kill: {process: shop, …}` ---- */
struct fault_spec {
    const struct fault_kind *kind;
    void *params;
};
/* `d` is the map under the kind's name. Picks the backend by which backend key is there. */
void fault_spec_read(const struct param_ctx *ctx, const char *kind_name, const struct doc *d,
                     struct fault_spec *ret);

unsigned fault_spec_flags(const struct fault_spec *s); /* those of the kind and of its params */

/* ---- running one activation: blocks; in its own thread ---- */
/* on_step is called on that thread whenever r->step changes, and once more when r->times.effective
 * is known. */
typedef void fault_step_fn(void *arg, const struct fault_run *r);
/* Runs the whole contract. It is called a little ahead of r->times.planned: prepare, journal and
 * guardian come first, then it waits (latch_wait_until) for times.planned, then it injects, so that
 * slow preparation does not make the fault late. times.requested is the instant at which inject is
 * entered; an abort before that ends it with nothing done. times.planned == 0: at once. 0:
 * injected, held and reverted, verified. Negative: r->err or r->revert_err say what failed; a
 * failed revert leaves the journal record open. */
int fault_execute(struct fault_run *r, fault_step_fn *on_step, void *arg, struct err *err);

#endif
