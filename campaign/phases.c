/* Phases: which part of the campaign a request belongs to. One inject phase per activation, one
 * recovery phase after it; the runner is told each beginning, and assigns requests by their sched
 * stamp. */
#include <string.h>

#include "campaign/state.h"

struct result_phase *phases_current(const struct campaign *c)
{
    return &c->result->phases[c->result->n_phases - 1];
}

static uint64_t not_before_last(const struct campaign *c, uint64_t t_ns)
{
    return c->result->n_phases ? MAX(t_ns, phases_current(c)->start_ns) : t_ns;
}

/* The end of the warm-up is known from the start; told ahead, no quick answer is assigned too
 * early. Not so when a fault may come before it. */
static bool is_warm_up_announced(const struct campaign *c)
{
    if (!c->load.warmup_ns)
        return false;
    for (size_t i = 0; i < c->n_slots; i++)
        if (c->slots[i].act.planned_ns <= c->load.warmup_ns)
            return false;
    return true;
}

void phases_announce(struct campaign *c)
{
    if (is_warm_up_announced(c))
        runner_mark(c->runner, 1, c->start_ns + c->load.warmup_ns);
}

/* Ends the phase that lasts and begins another. `name` is taken. */
static void begin(struct campaign *c, enum phase_kind kind, char *name, int fault, uint64_t t_ns)
{
    struct result *r = c->result;

    t_ns = not_before_last(c, t_ns);
    if (c->stopping || r->n_phases + 1 >= STATS_PHASES_MAX) { /* the last one takes the rest */
        free(name);
        return;
    }
    if (r->n_phases)
        phases_current(c)->end_ns = t_ns;
    r->phases = xrealloc(r->phases, r->n_phases + 1, sizeof(*r->phases));
    r->phases[r->n_phases] =
        (struct result_phase){ .name = name,
                               .kind = kind,
                               .fault = fault,
                               .start_ns = t_ns,
                               .end_ns = T_NONE,
                               .endpoints = xcalloc(r->n_endpoints, sizeof(struct cell *)) };
    r->n_phases++;
    if (r->n_phases > 2 || (r->n_phases == 2 && !is_warm_up_announced(c)))
        runner_mark(c->runner, (uint32_t)r->n_phases - 1, c->start_ns + t_ns);
    tell_phase(c, r->n_phases - 1);
}

void phases_begin(struct campaign *c)
{
    if (c->load.warmup_ns)
        begin(c, PHASE_WARM_UP, xstrdup("warm-up"), -1, 0);
    else
        begin(c, PHASE_BASELINE, xstrdup("baseline"), -1, 0);
}

/* Where the trailing ramp to zero begins, over all parts; T_NONE when the load ends at once. */
static uint64_t cool_down_start(const struct load_plan *load)
{
    uint64_t start = 0;

    for (size_t i = 0; i < load->n_parts; i++) {
        const struct load_plan_part *p = &load->parts[i];
        uint64_t last = p->n_stages ? p->stages[p->n_stages - 1].duration_ns : 0;
        if (!p->n_stages || p->stages[p->n_stages - 1].target > 0 || p->n_stages < 2 || last == 0)
            return T_NONE;
        start = MAX(start, p->start_ns + p->duration_ns - last);
    }
    return load->n_parts ? start : T_NONE;
}

static bool any_fault_in(const struct campaign *c)
{
    for (size_t i = 0; i < c->n_slots; i++)
        if (c->slots[i].in_phase && !c->slots[i].out)
            return true;
    return false;
}

void phases_tick(struct campaign *c, uint64_t t_ns)
{
    const struct result_phase *now = phases_current(c);

    if (now->kind == PHASE_WARM_UP && t_ns >= c->load.warmup_ns) {
        begin(c, PHASE_BASELINE, xstrdup("baseline"), -1, c->load.warmup_ns);
        return;
    }
    if (any_fault_in(c) || now->kind == PHASE_COOL_DOWN)
        return;
    uint64_t cool = cool_down_start(&c->load);
    if (t_ns >= cool) {
        begin(c, PHASE_COOL_DOWN, xstrdup("cool-down"), -1, cool);
        return;
    }
    if (now->kind == PHASE_RECOVERY && c->plan->settle_ns &&
        t_ns >= now->start_ns + c->plan->settle_ns)
        begin(c, PHASE_BASELINE, xasprintf("baseline after %s", now->name), -1,
              now->start_ns + c->plan->settle_ns);
}

static char *activation_name(const struct campaign *c, size_t slot, const char *what)
{
    const struct slot *s = &c->slots[slot];
    const struct fault_plan *f = &c->plan->faults[s->act.fault];

    if (s->observed) {
        const struct result_fault *out = &c->result->faults[s->result_index];
        return xasprintf("%s %s #%u (%s %s)", what, f->name, s->act.number + 1, out->kind,
                         out->n_hits ? out->hits[0].name : "");
    }
    if (f->every_ns == 0)
        return xasprintf("%s %s", what, f->name);
    return xasprintf("%s %s #%u", what, f->name, s->act.number + 1);
}

void phases_fault_in(struct campaign *c, size_t slot, uint64_t t_ns)
{
    c->slots[slot].in_phase = true;
    begin(c, PHASE_INJECT, activation_name(c, slot, "inject"), (int)c->slots[slot].result_index,
          t_ns);
}

void phases_fault_out(struct campaign *c, size_t slot, uint64_t t_ns)
{
    c->slots[slot].out = true;
    for (size_t i = c->n_slots; i-- > 0;) {
        const struct slot *other = &c->slots[i];
        if (!other->in_phase || other->out)
            continue;
        if (phases_current(c)->fault == (int)other->result_index)
            return; /* its phase goes on */
        char *name = activation_name(c, i, "inject");
        begin(c, PHASE_INJECT, xasprintf("%s (alone again)", name), (int)other->result_index, t_ns);
        free(name);
        return;
    }
    begin(c, PHASE_RECOVERY, activation_name(c, slot, "recovery after"),
          (int)c->slots[slot].result_index, t_ns);
}

void phases_end(struct campaign *c, uint64_t t_ns)
{
    if (c->result->n_phases)
        phases_current(c)->end_ns = not_before_last(c, t_ns);
}
