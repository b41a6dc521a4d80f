/* What a plan's `run:` started, seen from outside: the child and all it started in turn. The child
 * dies with us by itself (PR_SET_PDEATHSIG), but its own children would live on; so each child is
 * in the journal for as long as it runs, and whoever recovers ends what is left of its session.
 * Inside chaoslib only. */
#ifndef CHAOSLIB_PROCESS_OFFSPRING_H
#define CHAOSLIB_PROCESS_OFFSPRING_H

#include "chaoslib/chaos.h"

struct offspring {
    struct journal *journal; /* NULL: nothing is written */
    struct guardian *guardian;
    const char *run_id;
};

/* Before the start, when there is no number yet: whoever has `mark` in the environment is one of
 * them. To be retired when offspring_announce was called. */
#define OFFSPRING_MARK "CHAOS_LOAD_CHILD"
int offspring_expect(const struct offspring *o, const char *name, const char *mark,
                     uint64_t *ret_seq, struct err *err) MUST_CHECK;
/* Right after the start; `id` leads its own session. *ret_seq is 0 without a journal. */
int offspring_announce(const struct offspring *o, const char *name, const struct proc_id *id,
                       uint64_t *ret_seq, struct err *err) MUST_CHECK;
/* When it was buried; a seq of 0 is nothing. */
void offspring_retire(const struct offspring *o, uint64_t seq);

/* Ends all that is left of a session with SIGKILL; the number of processes, or negative. `leader`
 * is who began it: when its number belongs to another process now, nobody is left. */
int offspring_end(const struct proc_id *leader, struct err *err) MUST_CHECK;

/* Sends all who have `mark` in their environment a signal, 0: none; how many there are. */
int offspring_ask(const char *mark, int sig, struct err *err) MUST_CHECK;

/* For fault_kind_find only: it is in journals, but in no plan. */
extern const struct fault_kind fault_process_run;

#endif
