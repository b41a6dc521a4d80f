/* What a Pumba did, by the engine's events alone: events in, hits out. No I/O, no clock.
 *
 * Sure signs: a container with Pumba's label com.gaiaadm.pumba.skip is one of its side-cars, and
 * what they run (tc, iptables, stress-ng) hits the container that they belong to. The rest is told
 * by how the engine was asked:
 *
 *     kill die                      kill (SIGKILL) or stop (any other signal)
 *     kill die stop start restart   restart
 *     kill die destroy              rm
 *     pause … unpause               pause
 *     kill die stop                 nobody's Pumba: `docker stop`, which Pumba never calls
 *     die alone                     nobody's Pumba: it ended by itself
 *
 * Who kills or pauses by hand looks the same as Pumba does. `kill --signal SIGTERM` looks the same
 * as `stop`. `exec` looks the same as a health check and is not seen. */
#ifndef CHAOSLIB_PUMBA_HITS_H
#define CHAOSLIB_PUMBA_HITS_H

#include "chaoslib/docker/events.h"

#define PUMBA_HITS_MAX 1000

enum pumba_deed {
    PUMBA_DID_KILL,
    PUMBA_DID_STOP,
    PUMBA_DID_RESTART,
    PUMBA_DID_RM,
    PUMBA_DID_PAUSE,
    PUMBA_DID_NETEM,
    PUMBA_DID_IPTABLES,
    PUMBA_DID_STRESS,
    PUMBA_DID_DIE, /* not Pumba: only with `any` */
    PUMBA_DEED_MAX
};
const char *pumba_deed_name(enum pumba_deed d); /* "rm" */

struct pumba_hit {
    enum pumba_deed deed;
    char id[72], name[64];
    char detail[128];      /* "SIGTERM", "delay 100ms 10ms 20.00" */
    uint64_t requested_ns; /* CLOCK_MONOTONIC: when the engine was asked first */
    uint64_t effective_ns; /* 0: never */
    uint64_t reverted_ns;  /* 0: not yet */
    bool foreign;          /* it turned out that no Pumba did this */
    bool failed;           /* its tool said no: nothing took effect */
    bool revert_failed;    /* its tool said no when it was to be taken back */
};

struct pumba_hits;

/* Told of each new hit and of each change of one; `i` is its number. */
typedef void pumba_hit_fn(void *arg, size_t i, const struct pumba_hit *hit);

/* any: all deaths count, whoever is behind them. */
struct pumba_hits *pumba_hits_new(bool any, pumba_hit_fn *fn, void *arg);
void pumba_hits_free(struct pumba_hits *h);
void pumba_hits_feed(struct pumba_hits *h, const struct docker_event *e);
/* Whose side-car it is; to be told after its `create` was fed, before what follows. */
void pumba_hits_sidecar(struct pumba_hits *h, const char *sidecar, const char *target,
                        const char *target_name, bool is_stress);
size_t pumba_hits_n(const struct pumba_hits *h);
const struct pumba_hit *pumba_hits_at(const struct pumba_hits *h, size_t i);

#endif
