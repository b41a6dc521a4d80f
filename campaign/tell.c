/* Telling the observers: all of them, in order, on the campaign's thread. */
#include "base/log.h"
#include "campaign/state.h"

void tell_phase(struct campaign *c, size_t phase)
{
    for (struct observer *const *o = c->opts->observers; o && *o; o++)
        if ((*o)->phase)
            (*o)->phase((*o)->arg, c->result, phase);
}

void tell_fault(struct campaign *c, size_t fault)
{
    for (struct observer *const *o = c->opts->observers; o && *o; o++)
        if ((*o)->fault)
            (*o)->fault((*o)->arg, c->result, fault);
}

void tell_begin(struct campaign *c)
{
    for (struct observer *const *o = c->opts->observers; o && *o; o++)
        if ((*o)->begin)
            (*o)->begin((*o)->arg, c->plan, c->result);
}

/* Every observer gets its end, even when an earlier one failed; the first failure is kept. */
void tell_end(struct campaign *c)
{
    for (struct observer *const *o = c->opts->observers; o && *o; o++) {
        struct err err = { 0 };
        if (!(*o)->end || (*o)->end((*o)->arg, c->plan, c->result, &err) == 0)
            continue;
        log_error("report", "%s", err.msg);
        c->result->exit_code = EXIT_COULD_NOT_RUN;
    }
}

static void name_next_fault(const struct campaign *c, struct live *live)
{
    live->next_fault_ns = UINT64_MAX;
    for (size_t i = 0; i < c->n_slots && !c->faults_over; i++) {
        const struct slot *s = &c->slots[i];
        if (s->in_phase || s->joined || s->act.planned_ns >= live->next_fault_ns)
            continue;
        live->next_fault = c->plan->faults[s->act.fault].name;
        live->next_fault_ns = s->act.planned_ns;
    }
}

void tell_tick(struct campaign *c, uint64_t t_ns)
{
    const struct fault_run *active[ACTIVATIONS_MAX];
    struct live live = { .t_ns = t_ns,
                         .planned_duration_ns = c->load.duration_ns,
                         .users = c->status.users,
                         .users_wanted = c->status.users_wanted,
                         .in_flight = c->status.in_flight,
                         .arrivals_dropped = c->status.arrivals_dropped,
                         .rate = (double)c->last_second_requests,
                         .fail_rate = (double)c->last_second_failures,
                         .requests = c->result->total.n_ok + c->result->total.n_fail,
                         .failures = c->result->total.n_fail,
                         .p50_ns = c->p50_ns,
                         .p95_ns = c->p95_ns,
                         .p99_ns = c->p99_ns,
                         .phase = phases_current(c),
                         .active = active,
                         .so_far = c->result,
                         .stopping = c->stopping };

    for (size_t i = 0; i < c->n_slots; i++)
        if (c->slots[i].in_phase && !c->slots[i].out)
            active[live.n_active++] = &c->slots[i].seen;
    name_next_fault(c, &live);
    for (struct observer *const *o = c->opts->observers; o && *o; o++)
        if ((*o)->tick)
            (*o)->tick((*o)->arg, &live);
}

void tell_second(struct campaign *c, const struct result_row *second, const struct row *rows,
                 size_t n)
{
    for (struct observer *const *o = c->opts->observers; o && *o; o++)
        if ((*o)->second)
            (*o)->second((*o)->arg, c->result, second, rows, n);
}
