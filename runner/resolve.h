/* Host names to addresses, by the plan's policy, without ever blocking the loop: getaddrinfo runs
 * in a few helper threads. IP addresses in place of a name cost nothing and take no thread.
 *
 * pinned: asked once, kept for ever. ttl: kept for so long. per-connection: asked each time. Under
 * the first two, who asks while an answer is on its way waits for that one. Failures are never
 * kept. Of one thread. */
#ifndef RUNNER_RESOLVE_H
#define RUNNER_RESOLVE_H

#include <netinet/in.h>

#include "edge/loop.h"
#include "runner/plan.h"

#define ADDRESSES_MAX 16 /* of one name; more are left out */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};
static inline socklen_t address_len(const union address *a)
{
    return a->any.sa_family == AF_INET ? sizeof(a->v4) : sizeof(a->v6);
}
/* "127.0.0.1", "::1"; false when it is none. */
bool address_parse(const char *text, uint16_t port, union address *ret);

/* Shared by those who connect to it; never empty. */
struct addresses {
    uint32_t refs, n;
    union address v[ADDRESSES_MAX];
};
void addresses_unref(struct addresses *a);

struct resolver;
struct resolver *resolver_new(struct loop *l, enum dns_policy policy, uint64_t ttl_ns);
void resolver_free(struct resolver *r); /* after its names; does not wait for a slow server */

struct name; /* a host and port of which addresses are wanted */
struct name *name_new(struct resolver *r, const char *host, uint16_t port);
void name_free(struct name *n); /* nobody may be waiting for it */

/* Once, on the loop's thread, never from inside name_lookup. `a` is the receiver's to unref; NULL
 * and a sentence when there is none. */
typedef void lookup_fn(void *arg, struct addresses *a, const char *why);
struct lookup { /* zeroed: idle */
    LIST_ENTRY(lookup) link;
    lookup_fn *fn;
    void *arg;
    struct job *job; /* private */
    bool waits;
};
/* Gives the addresses at once when they are known (to be unref'd); else NULL, and calls back. */
struct addresses *name_lookup(struct name *n, struct lookup *l, lookup_fn *fn, void *arg);
void lookup_cancel(struct lookup *l);

#endif
