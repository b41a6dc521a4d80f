/* See hits.h. One track per container that something happened to; one hit per deed. */
#include "chaoslib/pumba/hits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define TRACKS_MAX 4096
#define KILL_TO_DIE_NS (60 * NS_PER_SEC) /* a grace period lies between */
#define TOGETHER_NS (5 * NS_PER_SEC)     /* events of one call come close together */

/* What is known of one container. */
struct track {
    char id[72], name[64];
    char target[72], target_name[64]; /* of a side-car: whose it is; otherwise itself */
    char signal[16];                  /* the first one it was sent */
    uint64_t asked_ns;                /* first kill; create of a side-car */
    uint64_t started_ns;              /* of a side-car */
    char command[192];                /* what is being executed in it */
    char added[192];                  /* the tool's add that counts */
    uint64_t added_ns;                /* the last add that succeeded */
    size_t dying; /* 1 + the number of the hit that SIGKILL began and death completes; 0: none */
    bool sidecar, stress, add_failed, told;
};

struct pumba_hits {
    bool any;
    pumba_hit_fn *fn;
    void *arg;
    struct track *tracks;
    size_t n_tracks, cap_tracks;
    struct pumba_hit *hits;
    size_t n_hits, cap_hits;
};

static const char *const deed_names[] = {
    [PUMBA_DID_KILL] = "kill",         [PUMBA_DID_STOP] = "stop",
    [PUMBA_DID_RESTART] = "restart",   [PUMBA_DID_RM] = "rm",
    [PUMBA_DID_PAUSE] = "pause",       [PUMBA_DID_NETEM] = "netem",
    [PUMBA_DID_IPTABLES] = "iptables", [PUMBA_DID_STRESS] = "stress",
    [PUMBA_DID_DIE] = "die",
};
_Static_assert(ARRAY_LEN(deed_names) == PUMBA_DEED_MAX, "every deed has a name");

const char *pumba_deed_name(enum pumba_deed d)
{
    return (unsigned)d < PUMBA_DEED_MAX ? deed_names[d] : "";
}

struct pumba_hits *pumba_hits_new(bool any, pumba_hit_fn *fn, void *arg)
{
    struct pumba_hits *h = xcalloc(1, sizeof(*h));

    *h = (struct pumba_hits){ .any = any, .fn = fn, .arg = arg };
    return h;
}

void pumba_hits_free(struct pumba_hits *h)
{
    if (!h)
        return;
    free(h->tracks);
    free(h->hits);
    free(h);
}

size_t pumba_hits_n(const struct pumba_hits *h)
{
    return h->n_hits;
}

const struct pumba_hit *pumba_hits_at(const struct pumba_hits *h, size_t i)
{
    return i < h->n_hits ? &h->hits[i] : NULL;
}

/* ---- tracks ---- */

static struct track *track_find(struct pumba_hits *h, const char *id)
{
    for (size_t i = h->n_tracks; i-- > 0;)
        if (strcmp(h->tracks[i].id, id) == 0)
            return &h->tracks[i];
    return NULL;
}

/* The oldest gives way when there are too many. */
static struct track *track_of(struct pumba_hits *h, const struct docker_event *e)
{
    struct track *t = track_find(h, e->id);

    if (t)
        return t;
    if (h->n_tracks == TRACKS_MAX) {
        memmove(h->tracks, h->tracks + 1, (TRACKS_MAX - 1) * sizeof(*h->tracks));
        h->n_tracks--;
    }
    if (h->n_tracks == h->cap_tracks) {
        h->cap_tracks = h->cap_tracks ? 2 * h->cap_tracks : 16;
        h->tracks = xrealloc(h->tracks, h->cap_tracks, sizeof(*h->tracks));
    }
    t = &h->tracks[h->n_tracks++];
    *t = (struct track){ .sidecar = e->pumba };
    snprintf(t->id, sizeof(t->id), "%s", e->id);
    snprintf(t->name, sizeof(t->name), "%.63s", e->name);
    if (!e->pumba) {
        snprintf(t->target, sizeof(t->target), "%s", e->id);
        snprintf(t->target_name, sizeof(t->target_name), "%.63s", e->name);
    }
    return t;
}

static void track_drop(struct pumba_hits *h, struct track *t)
{
    size_t i = (size_t)(t - h->tracks);

    memmove(t, t + 1, (h->n_tracks - i - 1) * sizeof(*t));
    h->n_tracks--;
}

/* ---- hits ---- */

static void tell(struct pumba_hits *h, const struct pumba_hit *hit)
{
    if (h->fn)
        h->fn(h->arg, (size_t)(hit - h->hits), hit);
}

static struct pumba_hit *open_hit(struct pumba_hits *h, const struct track *t, enum pumba_deed deed,
                                  uint64_t effective_ns)
{
    if (h->n_hits == PUMBA_HITS_MAX)
        return NULL;
    if (h->n_hits == h->cap_hits) {
        h->cap_hits = h->cap_hits ? 2 * h->cap_hits : 16;
        h->hits = xrealloc(h->hits, h->cap_hits, sizeof(*h->hits));
    }
    struct pumba_hit *hit = &h->hits[h->n_hits++];
    *hit = (struct pumba_hit){ .deed = deed,
                               .requested_ns = t->asked_ns ? t->asked_ns : effective_ns,
                               .effective_ns = effective_ns };
    snprintf(hit->id, sizeof(hit->id), "%s", t->target);
    snprintf(hit->name, sizeof(hit->name), "%s", t->target_name);
    return hit;
}

#define OF(deed) (1U << (deed))
#define OF_DEATH \
    (OF(PUMBA_DID_KILL) | OF(PUMBA_DID_STOP) | OF(PUMBA_DID_RESTART) | OF(PUMBA_DID_DIE))
#define OF_NET (OF(PUMBA_DID_NETEM) | OF(PUMBA_DID_IPTABLES))

/* The last of one container, among some deeds. */
static struct pumba_hit *last_hit(struct pumba_hits *h, const char *id, unsigned deeds)
{
    for (size_t i = h->n_hits; i-- > 0;)
        if ((deeds & OF(h->hits[i].deed)) && strcmp(h->hits[i].id, id) == 0)
            return &h->hits[i];
    return NULL;
}

static void close_hits(struct pumba_hits *h, const char *id, unsigned deeds, uint64_t now_ns)
{
    for (size_t i = 0; i < h->n_hits; i++) {
        struct pumba_hit *hit = &h->hits[i];
        if (!(deeds & OF(hit->deed)) || hit->reverted_ns || hit->failed || strcmp(hit->id, id) != 0)
            continue;
        hit->reverted_ns = now_ns;
        hit->revert_failed = false;
        tell(h, hit);
    }
}

/* ---- containers that are hit ---- */

static bool is_sigkill(const char *signal)
{
    return strcmp(signal, "9") == 0 || strcmp(signal, "SIGKILL") == 0 ||
           strcmp(signal, "KILL") == 0;
}

static void on_kill(struct pumba_hits *h, struct track *t, const struct docker_event *e)
{
    if (t->asked_ns && e->mono_ns - t->asked_ns < KILL_TO_DIE_NS)
        return; /* the second one, after the grace period */
    t->asked_ns = e->mono_ns;
    snprintf(t->signal, sizeof(t->signal), "%s", e->signal);
    if (!is_sigkill(t->signal))
        return; /* whether it dies of this is its own affair */
    /* The process is dead some 20 to 50 ms before the engine says so. */
    struct pumba_hit *hit = open_hit(h, t, PUMBA_DID_KILL, 0);
    if (!hit)
        return;
    t->dying = (size_t)(hit - h->hits) + 1;
    snprintf(hit->detail, sizeof(hit->detail), "signal %s", t->signal);
    tell(h, hit);
}

static void on_die(struct pumba_hits *h, struct track *t, const struct docker_event *e)
{
    bool asked = t->asked_ns && e->mono_ns - t->asked_ns < KILL_TO_DIE_NS;

    if (asked && !t->signal[0]) /* Podman does not tell which */
        snprintf(t->signal, sizeof(t->signal), "%s", e->exit_code == 137 ? "SIGKILL" : "unknown");
    enum pumba_deed deed = !asked                  ? PUMBA_DID_DIE
                           : is_sigkill(t->signal) ? PUMBA_DID_KILL
                                                   : PUMBA_DID_STOP;

    /* Its network namespace and its freezer ended with it. */
    close_hits(h, t->id, OF_NET | OF(PUMBA_DID_PAUSE), e->mono_ns);
    if (!asked)
        t->asked_ns = 0;
    struct pumba_hit *hit = NULL;
    if (t->dying)
        hit = &h->hits[t->dying - 1];
    else if (asked || h->any)
        hit = open_hit(h, t, deed, e->mono_ns);
    t->asked_ns = 0;
    t->dying = 0;
    if (!hit)
        return;
    hit->effective_ns = e->mono_ns;
    if (asked)
        snprintf(hit->detail, sizeof(hit->detail), "signal %s", t->signal);
    else
        snprintf(hit->detail, sizeof(hit->detail), "exit code %d", e->exit_code);
    hit->foreign = !asked;
    tell(h, hit);
}

static bool is_recent(const struct pumba_hit *hit, uint64_t now_ns)
{
    return hit && now_ns - hit->effective_ns < TOGETHER_NS;
}

/* Only the engine's own stop says so: until a restart explains it, this was no Pumba. */
static void on_stop(struct pumba_hits *h, struct track *t, const struct docker_event *e)
{
    struct pumba_hit *hit = last_hit(h, t->id, OF_DEATH);

    if (!is_recent(hit, e->mono_ns))
        return;
    hit->foreign = true;
    hit->deed = PUMBA_DID_STOP;
    tell(h, hit);
}

static void on_start(struct pumba_hits *h, struct track *t, const struct docker_event *e)
{
    close_hits(h, t->id, OF_DEATH, e->mono_ns);
}

static void on_restart(struct pumba_hits *h, struct track *t, const struct docker_event *e)
{
    struct pumba_hit *hit = last_hit(h, t->id, OF_DEATH);

    if (!hit || !hit->foreign || hit->deed != PUMBA_DID_STOP || !is_recent(hit, e->mono_ns))
        return;
    hit->deed = PUMBA_DID_RESTART;
    hit->foreign = false;
    tell(h, hit);
}

static void on_destroy(struct pumba_hits *h, struct track *t, const struct docker_event *e)
{
    struct pumba_hit *hit = last_hit(h, t->id, OF(PUMBA_DID_KILL));

    if (is_recent(hit, e->mono_ns) && !hit->reverted_ns) {
        hit->deed = PUMBA_DID_RM;
        tell(h, hit);
    }
    track_drop(h, t);
}

static void on_pause(struct pumba_hits *h, struct track *t, const struct docker_event *e)
{
    t->asked_ns = 0;
    struct pumba_hit *hit = open_hit(h, t, PUMBA_DID_PAUSE, e->mono_ns);
    if (hit)
        tell(h, hit);
}

static void on_unpause(struct pumba_hits *h, struct track *t, const struct docker_event *e)
{
    close_hits(h, t->id, OF(PUMBA_DID_PAUSE), e->mono_ns);
}

/* ---- tc and iptables, in a side-car or in the container itself ---- */

static bool is_iptables(const char *command)
{
    return strncmp(command, "iptables ", 9) == 0;
}

static bool adds(const char *command)
{
    return is_iptables(command)
               ? strstr(command, " -I ") || strstr(command, " -A ")
               : strncmp(command, "tc ", 3) == 0 && strstr(command, " add ") != NULL;
}

static bool takes_back(const char *command)
{
    return is_iptables(command)
               ? strstr(command, " -D ") != NULL
               : strncmp(command, "tc ", 3) == 0 && strstr(command, " del ") != NULL;
}

static const char *what_it_adds(const char *command)
{
    const char *netem = strstr(command, "netem ");
    const char *input = strstr(command, "INPUT ");

    if (netem)
        return netem + strlen("netem ");
    return input ? input + strlen("INPUT ") : command;
}

/* Its adds are over: the last one made it effective, or one failed and nothing counts. */
static void settle(struct pumba_hits *h, struct track *t, uint64_t now_ns)
{
    if (t->told || (!t->added_ns && !t->add_failed))
        return;
    t->told = true;
    bool iptables = is_iptables(t->added);
    struct pumba_hit *hit = open_hit(h, t, iptables ? PUMBA_DID_IPTABLES : PUMBA_DID_NETEM,
                                     t->add_failed ? now_ns : t->added_ns);
    if (!hit)
        return;
    hit->failed = t->add_failed;
    if (hit->failed)
        hit->effective_ns = 0;
    snprintf(hit->detail, sizeof(hit->detail), "%.127s", what_it_adds(t->added));
    tell(h, hit);
}

static void on_exec(struct pumba_hits *h, struct track *t, const struct docker_event *e)
{
    (void)h;
    if (e->detail[0])
        snprintf(t->command, sizeof(t->command), "%.191s", e->detail);
    if (!t->sidecar && adds(t->command) && !t->asked_ns)
        t->asked_ns = e->mono_ns;
}

static void on_added(struct pumba_hits *h, struct track *t, const struct docker_event *e)
{
    t->add_failed |= e->exit_code > 0;
    if (e->exit_code <= 0)
        t->added_ns = e->mono_ns;
    if (!t->added[0] || strstr(t->command, "netem "))
        snprintf(t->added, sizeof(t->added), "%s", t->command);
    if (!t->sidecar && (strstr(t->command, "netem ") || is_iptables(t->command))) {
        settle(h, t, e->mono_ns);
        t->told = t->add_failed = false;
        t->added_ns = t->asked_ns = 0;
        t->added[0] = '\0';
    }
}

static void on_exec_die(struct pumba_hits *h, struct track *t, const struct docker_event *e)
{
    bool iptables = is_iptables(t->command);
    unsigned deeds = OF(iptables ? PUMBA_DID_IPTABLES : PUMBA_DID_NETEM);

    if (adds(t->command)) {
        on_added(h, t, e);
    } else if (takes_back(t->command) && e->exit_code <= 0) {
        close_hits(h, t->target, deeds, e->mono_ns);
    } else if (takes_back(t->command)) {
        struct pumba_hit *hit = last_hit(h, t->target, deeds);
        if (hit && !hit->reverted_ns && !hit->failed) {
            hit->revert_failed = true;
            tell(h, hit);
        }
    }
    t->command[0] = '\0';
}

/* ---- side-cars ---- */

static void begin_stress(struct pumba_hits *h, struct track *t)
{
    if (t->told || !t->stress || !t->started_ns)
        return;
    t->told = true;
    struct pumba_hit *hit = open_hit(h, t, PUMBA_DID_STRESS, t->started_ns);
    if (hit)
        tell(h, hit);
}

static void on_sidecar(struct pumba_hits *h, struct track *t, const struct docker_event *e)
{
    if (strcmp(e->action, "create") == 0) {
        t->asked_ns = e->mono_ns;
    } else if (strcmp(e->action, "start") == 0) {
        t->started_ns = e->mono_ns;
        begin_stress(h, t);
    } else if (strcmp(e->action, "exec_create") == 0 || strcmp(e->action, "exec_start") == 0) {
        on_exec(h, t, e);
    } else if (strcmp(e->action, "exec_die") == 0) {
        on_exec_die(h, t, e);
    } else if (strcmp(e->action, "kill") == 0) {
        settle(h, t, e->mono_ns);
    } else if (strcmp(e->action, "die") == 0) {
        settle(h, t, e->mono_ns);
        if (t->stress)
            close_hits(h, t->target, OF(PUMBA_DID_STRESS), e->mono_ns);
    } else if (strcmp(e->action, "destroy") == 0) {
        settle(h, t, e->mono_ns);
        track_drop(h, t);
    }
}

void pumba_hits_sidecar(struct pumba_hits *h, const char *sidecar, const char *target,
                        const char *target_name, bool is_stress)
{
    struct track *t = track_find(h, sidecar);

    if (!t)
        return;
    snprintf(t->target, sizeof(t->target), "%.71s", target);
    snprintf(t->target_name, sizeof(t->target_name), "%.63s", target_name);
    t->stress = is_stress;
    begin_stress(h, t);
}

/* ---- events ---- */

static const struct {
    const char *action;
    void (*on)(struct pumba_hits *h, struct track *t, const struct docker_event *e);
} actions[] = {
    { "kill", on_kill },       { "die", on_die },           { "stop", on_stop },
    { "start", on_start },     { "restart", on_restart },   { "destroy", on_destroy },
    { "pause", on_pause },     { "unpause", on_unpause },   { "exec_create", on_exec },
    { "exec_start", on_exec }, { "exec_die", on_exec_die },
};

void pumba_hits_feed(struct pumba_hits *h, const struct docker_event *e)
{
    if (strcmp(e->type, "container") != 0 || !e->id[0])
        return;
    struct track *t = track_of(h, e);
    if (t->sidecar) {
        on_sidecar(h, t, e);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (strcmp(actions[i].action, e->action) != 0)
            continue;
        actions[i].on(h, t, e);
        return;
    }
}
