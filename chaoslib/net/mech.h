/* A mechanism: one way to make network faults. Everything here runs in the holder, a
 * single-threaded helper process inside the namespace (holder.c); what it opens ends with it.
 *
 *     cannot → probe → open → inject → verify(in) → serve … → revert → verify(out) → close
 *
 * The holder takes the first row of net_mechs (mechs.c) that can make the fault and whose probe
 * succeeds; crash-safe ones come first. */
#ifndef CHAOSLIB_NET_MECH_H
#define CHAOSLIB_NET_MECH_H

#include "chaoslib/net/net.h"

struct net_mech {
    const char *name;    /* what `mechanism:` says: "nftables" */
    const char *summary; /* for r->mechanism, reports and doctor: "nftables owner table" */
    /* Why it never can make that fault, on any kernel; NULL: it can. Pure. */
    const char *(*cannot)(const struct net_fault *f);
    /* Is what it needs there, in this namespace? Leaves nothing. */
    int (*probe)(const struct net_fault *f, struct err *err);
    /* Makes ready all that inject needs and all that revert needs; no packet notices. */
    int (*open)(const struct net_fault *f, void **ret_state, struct err *err);
    /* In effect when it returns: the kernel has acknowledged it. */
    int (*inject)(void *state, struct err *err);
    /* Looks at the kernel: is it in (or out)? What was seen goes into `evidence`, an object. */
    int (*verify)(void *state, bool in, struct json *evidence, struct err *err);
    /* Idempotent, also after a failed inject. No packet enters the fault any more when it returns;
     * those already held go on in order, at the latest after `drain_ns`. */
    int (*revert)(void *state, uint64_t drain_ns, struct err *err);
    void (*close)(void *state); /* accepts what open left half-done */
    /* Optional, for what works on packets in user space: a descriptor to poll, and what to do when
     * it is readable or its instant has come. serve returns the next instant, 0: none. */
    int (*fd)(const void *state);
    uint64_t (*serve)(void *state, uint64_t now_ns);
    /* Optional: what would outlive the holder, and how to take it away in another process inside
     * the same namespace. Absent: nothing would. residue fills `record` before inject; undo answers
     * as struct fault_kind's. */
    void (*residue)(const void *state, struct json *record);
    int (*undo)(const struct json *record, struct err *err);
};
extern const struct net_mech *const net_mechs[]; /* NULL-terminated, best first; mechs.c */
extern const struct net_mech net_mech_nftables, net_mech_netem, net_mech_htb, net_mech_nfqueue;

const struct net_mech *net_mech_find(const char *name);

/* ---- what mechanisms share: rules.c ---- */
struct nft_batch;
/* Names of this fault's tables: "chaos-load-TAG" of family inet, and the same of netdev. */
void net_table_name(const struct net_fault *f, char out[64]);
/* Interfaces of this namespace, loopback too; at most NFT_DEVS_MAX; or the filter's only. */
size_t net_interfaces(const struct net_fault *f, char out[][NET_IFACE_MAX], size_t max);
/* The filter as chains in (family, table): packets that enter `from` and match it go to the chain
 * `to`, all others pass. `from` must exist or be made in the same batch. Packets with `skip_mark`
 * (0: none) pass. */
struct net_match {
    unsigned family; /* enum nft_family */
    const char *table, *from, *to;
    enum net_direction direction; /* one of the two: which end is the peer */
    uint32_t skip_mark;
};
void net_match_add(struct nft_batch *b, const struct net_filter *f, const struct net_match *m);

#endif
