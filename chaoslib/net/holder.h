/* The holder: a helper process in a network namespace that keeps one fault there, and ends with us.
 * Our side of it. */
#ifndef CHAOSLIB_NET_HOLDER_H
#define CHAOSLIB_NET_HOLDER_H

#include "chaoslib/helper.h"
#include "chaoslib/net/net.h"

extern const struct helper_role helper_role_net; /* its side */

struct holder;

/* Starts it in the namespace `netns_fd` (borrowed), lets it choose a mechanism and make all ready.
 * NULL: nothing was started. */
struct holder *holder_start(const struct net_fault *f, int netns_fd, struct err *err);
const char *holder_mechanism(const struct holder *h); /* for people */
/* What would outlive the holder; empty: nothing. Borrowed. */
const struct json *holder_residue(const struct holder *h);
/* The instant, on our clock, at which the kernel had acknowledged it. After `ttl_ns` the holder
 * ends it by itself: whoever hangs and does not revert does not make it longer. */
int holder_inject(struct holder *h, uint64_t ttl_ns, uint64_t *ret_effective_ns,
                  struct err *err) MUST_CHECK;
/* Looks; *ret_packets (may be NULL): how many packets the fault has got. */
int holder_verify(struct holder *h, bool in, uint64_t *ret_packets, struct err *err) MUST_CHECK;
int holder_revert(struct holder *h, uint64_t drain_ns, uint64_t *ret_reverted_ns,
                  struct err *err) MUST_CHECK;
bool holder_is_alive(const struct holder *h);
pid_t holder_pid(const struct holder *h);
void holder_stop(struct holder *h);

/* In another process, from the journal: takes away what residue() named. 0 done, 1 nothing was. */
int holder_undo(const struct json *residue, int netns_fd, struct err *err) MUST_CHECK;

#endif
