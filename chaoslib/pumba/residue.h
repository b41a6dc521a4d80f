/* What a Pumba that died leaves in a container's network namespace: a queueing discipline of tc, or
 * rules of iptables. Ours to remove only when it is provably Pumba's: it has the shape that Pumba's
 * own command gives it, and was not there before that Pumba was started. */
#ifndef CHAOSLIB_PUMBA_RESIDUE_H
#define CHAOSLIB_PUMBA_RESIDUE_H

#include "chaoslib/pumba/args.h"
#include "edge/json.h"
#include "edge/tc.h"

/* What to look for, from its command line: {"interface", "rules": [["INPUT", "-i", …], …]}. An
 * empty object when it leaves nothing. */
struct json *pumba_residue_of(const struct pumba_line *l);

enum pumba_found { PUMBA_FOUND_NOTHING, PUMBA_FOUND_SOME };
/* In the network namespace of that process; changes nothing. For tc any root but the kernel's own
 * counts, whoever's it is. */
int pumba_residue_look(pid_t pid, const struct json *what, enum pumba_found *ret,
                       struct err *err) MUST_CHECK;
/* Removes it. 1: nothing was there. What looks like somebody else's is left, and is an error. */
int pumba_residue_remove(pid_t pid, const struct json *what, struct err *err) MUST_CHECK;
/* The same by hand, for people: "nsenter -t 4711 -n tc qdisc del dev eth0 root". */
void pumba_residue_by_hand(pid_t pid, const struct json *what, struct buf *out);

/* Pure: a root that Pumba 1.1 (netem, or prio 1: with a netem 30:) or 1.2 (504d:) made. `n` are all
 * of the interface. */
bool pumba_made_tree(const struct tc_qdisc *v, size_t n);

#endif
