/* What others break while we look on: each deed that a watch tells of becomes an activation that
 * nobody planned, with its phases, its row and what users felt of it.
 *
 * Watches speak on threads of their own; what they say is queued and handled on the campaign's
 * thread. Deeds of our own faults come by the same stream and are left out: a container that one of
 * them holds, or held until just now, is not someone else's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "campaign/state.h"

#define QUEUE_MAX 16384
#define OURS_AFTER_NS (3 * NS_PER_SEC)

struct observed_watch {
    struct campaign *campaign;
    uint32_t fault;
    void *watch; /* the kind's */
};

static bool is_watch(const struct fault_plan *f)
{
    return f->spec.kind->watch_start && (fault_spec_flags(&f->spec) & FAULT_WATCH);
}

bool observed_is_wanted(const struct plan *p)
{
    for (size_t i = 0; i < p->n_faults; i++)
        if (is_watch(&p->faults[i]))
            return true;
    return false;
}

/* ---- on the watch's thread ---- */

static void on_sight(void *arg, const struct fault_sight *sight)
{
    const struct observed_watch *w = arg;
    struct observed *o = &w->campaign->observed;
    struct injector *in = &w->campaign->injector;

    pthread_mutex_lock(&in->lock);
    if (o->n_queue == o->cap_queue && o->cap_queue < QUEUE_MAX) {
        o->cap_queue = o->cap_queue ? 2 * o->cap_queue : 16;
        o->queue = xrealloc(o->queue, o->cap_queue, sizeof(*o->queue));
    }
    if (o->n_queue < o->cap_queue)
        o->queue[o->n_queue++] = (struct sighting){ .fault = w->fault, .sight = *sight };
    pthread_mutex_unlock(&in->lock);
    injector_wake(in);
}

/* ---- on the campaign's thread ---- */

int observed_start(struct campaign *c, struct err *err)
{
    struct observed *o = &c->observed;

    o->watches = xcalloc(c->plan->n_faults + 1, sizeof(*o->watches));
    for (size_t i = 0; i < c->plan->n_faults; i++) {
        const struct fault_plan *f = &c->plan->faults[i];
        struct observed_watch *w = &o->watches[o->n_watches];

        if (!is_watch(f))
            continue;
        *w = (struct observed_watch){ .campaign = c, .fault = (uint32_t)i };
        w->watch = f->spec.kind->watch_start(f->spec.params, &c->env, on_sight, w, err);
        if (!w->watch)
            return err_wrap(err, "fault '%s'", f->name);
        o->n_watches++;
    }
    return 0;
}

/* The text is cut where there are too many to name: then any may be meant. */
static bool is_named(const struct slot *slot, const char *name)
{
    return (*name && strstr(slot->seen.target, name)) || strstr(slot->seen.target, "…");
}

/* One of our own faults has, or had until just now, a hand in this container. */
static bool is_ours(const struct campaign *c, const struct fault_sight *s)
{
    for (size_t i = 0; i < c->n_slots; i++) {
        const struct slot *slot = &c->slots[i];
        const struct fault_times *t = &slot->seen.times;
        uint64_t end = MAX(MAX(t->reverted, t->acknowledged), t->effective);

        if (slot->observed || !slot->launched || !is_named(slot, s->hit.name))
            continue;
        if (!slot->joined || s->hit.requested < end + OURS_AFTER_NS)
            return true;
    }
    return false;
}

static struct slot *slot_of(struct campaign *c, uint32_t fault, size_t number)
{
    for (size_t i = 0; i < c->n_slots; i++)
        if (c->slots[i].observed && c->slots[i].act.fault == fault &&
            c->slots[i].seen.seq == number + 1)
            return &c->slots[i];
    return NULL;
}

static uint32_t seen_so_far(const struct campaign *c, uint32_t fault)
{
    uint32_t n = 0;

    for (size_t i = 0; i < c->n_slots; i++)
        n += c->slots[i].observed && c->slots[i].act.fault == fault;
    return n;
}

static uint64_t or_none(const struct campaign *c, uint64_t mono_ns)
{
    return mono_ns ? since_start(c, mono_ns) : T_NONE;
}

static void add_result(struct campaign *c, struct slot *s, const struct fault_sight *sight)
{
    const struct fault_plan *f = &c->plan->faults[s->act.fault];
    struct result_hit *hit = xcalloc(1, sizeof(*hit));

    *hit = (struct result_hit){ .name = xstrdup(sight->hit.name), .id = xstrdup(sight->hit.id) };
    s->result_index = c->result->n_faults;
    c->result->faults[c->result->n_faults++] = (struct result_fault){
        .name = xstrdup(f->name),
        .kind = xstrdup(sight->kind),
        .backend = xstrdup(f->spec.kind->backend),
        .target = xstrdup(sight->target),
        .activation = s->act.number,
        .hits = hit,
        .n_hits = 1,
        .one_shot = !sight->lasting,
        .observed = true,
        .planned_ns = s->act.planned_ns,
        .requested_ns = s->act.planned_ns,
        .effective_ns = T_NONE,
        .revert_requested_ns = T_NONE,
        .reverted_ns = T_NONE,
        .time_to_impact_ns = T_NONE,
        .time_to_recover_ns = T_NONE,
        .time_to_recover_after_removal_ns = T_NONE,
        .worst_window_ns = T_NONE,
        .good_share = 1.0,
    };
}

static struct slot *slot_new(struct campaign *c, const struct sighting *g)
{
    const struct fault_plan *f = &c->plan->faults[g->fault];

    if (c->n_slots == c->cap_slots || c->stopping || is_ours(c, &g->sight))
        return NULL;
    uint32_t number = seen_so_far(c, g->fault);
    struct slot *s = &c->slots[c->n_slots++];
    *s = (struct slot){ .campaign = c,
                        .act = { .fault = g->fault,
                                 .number = number,
                                 .planned_ns = since_start(c, g->sight.hit.requested) },
                        .launched = true,
                        .joined = true,
                        .finished = true,
                        .observed = true,
                        .seen = { .kind = f->spec.kind,
                                  .params = f->spec.params,
                                  .name = f->name,
                                  .activation = number,
                                  .seq = g->sight.number + 1 } };
    add_result(c, s, &g->sight);
    return s;
}

static void replace(char **text, const char *with)
{
    free(*text);
    *text = xstrdup(with);
}

static void copy(struct campaign *c, struct slot *s, const struct fault_sight *sight)
{
    struct result_fault *out = &c->result->faults[s->result_index];

    s->seen.times = (struct fault_times){ .planned = sight->hit.requested,
                                          .requested = sight->hit.requested,
                                          .effective = sight->hit.effective,
                                          .reverted = sight->hit.reverted };
    snprintf(s->seen.target, sizeof(s->seen.target), "%s", sight->target);
    out->effective_ns = out->hits[0].effective_ns = or_none(c, sight->hit.effective);
    out->reverted_ns = out->hits[0].reverted_ns = or_none(c, sight->hit.reverted);
    out->hits[0].requested_ns = out->requested_ns;
    out->verified_in = sight->hit.effective != 0;
    out->verified_out = sight->hit.reverted != 0;
    replace(&out->kind, sight->kind);
    if (sight->foreign) {
        auto_free char *told = xasprintf("%s, by someone else", sight->target);
        replace(&out->target, told);
    } else {
        replace(&out->target, sight->target);
    }
    if (sight->error[0])
        replace(&out->error, sight->error);
}

static void follow(struct campaign *c, struct slot *s, const struct fault_sight *sight)
{
    size_t i = (size_t)(s - c->slots);
    uint64_t effective = or_none(c, sight->hit.effective);
    bool over = sight->hit.reverted || !sight->lasting;

    if (sight->error[0] && effective == T_NONE)
        return; /* nothing took effect */
    if (!s->in_phase) {
        felt_freeze_baseline(c);
        phases_fault_in(c, i, s->act.planned_ns);
    }
    if (effective != T_NONE && !c->felt[i].window_ns)
        felt_begin(c, i, effective);
    if (!over || s->out || effective == T_NONE)
        return;
    uint64_t end = sight->hit.reverted ? since_start(c, sight->hit.reverted) : effective;
    felt_reverted(c, i, end);
    phases_fault_out(c, i, end);
}

static void handle(struct campaign *c, const struct sighting *g)
{
    struct slot *s = slot_of(c, g->fault, g->sight.number);

    if (!s)
        s = slot_new(c, g);
    if (!s)
        return;
    copy(c, s, &g->sight);
    follow(c, s, &g->sight);
    tell_fault(c, s->result_index);
}

void observed_drain(struct campaign *c)
{
    struct observed *o = &c->observed;

    pthread_mutex_lock(&c->injector.lock);
    struct sighting *queue = TAKE(o->queue);
    size_t n = o->n_queue;
    o->n_queue = o->cap_queue = 0;
    pthread_mutex_unlock(&c->injector.lock);
    for (size_t i = 0; i < n; i++)
        handle(c, &queue[i]);
    free(queue);
}

void observed_stop(struct campaign *c)
{
    struct observed *o = &c->observed;

    for (size_t i = 0; i < o->n_watches; i++)
        c->plan->faults[o->watches[i].fault].spec.kind->watch_stop(o->watches[i].watch);
    o->n_watches = 0;
}

void observed_done(struct campaign *c)
{
    free(c->observed.watches);
    free(c->observed.queue);
}
