/* Inside the drive: what closed and open parts offer to drive.c, and what it offers to them. */
#ifndef RUNNER_DRIVE_H
#define RUNNER_DRIVE_H

#include "runner/worker_internal.h"

/* How many users or arrivals one wake-up may begin before sockets get their turn. */
#define BATCH_MAX 256

/* A user begins; an arrival is taken. */
static inline void live_more(struct drive *d)
{
    struct worker *w = d->w;

    d->n_live++;
    w->n_users++;
    w->users_peak = MAX(w->users_peak, w->n_users);
}

static inline void live_less(struct drive *d)
{
    d->n_live--;
    d->w->n_users--;
}

struct actor *actor_new(struct drive *d, const struct user_id *id);
void actor_free(struct actor *a); /* nothing may be in flight */
void actor_move(struct actor *a, const struct user_move *move, uint64_t now_ns);

void closed_init(struct drive *d);
void closed_done(struct drive *d);
void closed_due(void *drive); /* its timer */
void closed_stop(struct drive *d);
uint64_t closed_users_wanted(const struct drive *d);
void closed_actor_over(struct actor *a); /* it is leaving, or has no iterations left */

void open_init(struct drive *d);
void open_done(struct drive *d);
void open_due(void *drive);
void open_stop(struct drive *d);
void open_actor_over(struct actor *a); /* its arrival has been served */

#endif
