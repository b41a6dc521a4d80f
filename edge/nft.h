/* Rules in the kernel's packet path: nftables by netlink (libnftnl), no tool and no text.
 *
 * Tables are made with the owner flag (kernel 5.12): the kernel removes them, and all that is in
 * them, at the instant the socket that made them is closed, whoever closes it. So what is made here
 * lives exactly as long as the `struct nft`, also when we are killed, and nobody else can change
 * it. The socket belongs to the network namespace in which nft_open was called.
 *
 * A batch is all or nothing. Building never fails; nft_commit tells what the kernel refused. */
#ifndef EDGE_NFT_H
#define EDGE_NFT_H

#include "base/err.h"

#define NFT_NAME_MAX 64
#define NFT_DEVS_MAX 64

enum nft_family { NFT_INET = 1, NFT_IP = 2, NFT_NETDEV = 5, NFT_IP6 = 10 };
/* Of the families ip, ip6 and inet; netdev has its own two. */
enum nft_hook { NFT_PREROUTING, NFT_INPUT, NFT_FORWARD, NFT_OUTPUT, NFT_POSTROUTING };
enum nft_dev_hook { NFT_DEV_INGRESS, NFT_DEV_EGRESS }; /* egress: kernel 5.16 */

struct nft;
struct nft *nft_open(struct err *err);
void nft_close(struct nft *n); /* the tables go with it */

/* ---- a batch ---- */
struct nft_batch;
struct nft_batch *nft_batch_new(struct nft *n);
void nft_batch_free(struct nft_batch *b);
/* Sends it and waits for the kernel's answer: when 0 is returned, it is in effect. */
int nft_commit(struct nft_batch *b, struct err *err) MUST_CHECK;

struct nft_chain {
    enum nft_family family;
    const char *table, *name;
    const char *type; /* "filter", "nat", "route"; NULL: no hook, reached by jump and goto only */
    unsigned hook;    /* enum nft_hook, or enum nft_dev_hook for NFT_NETDEV */
    int prio;
    const char *const *devs; /* NFT_NETDEV */
    size_t n_devs;
};
void nft_add_table(struct nft_batch *b, enum nft_family family, const char *table);
void nft_del_table(struct nft_batch *b, enum nft_family family, const char *table);
void nft_add_chain(struct nft_batch *b, const struct nft_chain *c);
/* All rules of one chain; packets then take the chain's policy. */
void nft_flush_chain(struct nft_batch *b, enum nft_family family, const char *table,
                     const char *chain);

/* ---- a rule: begin, what it matches (AND), what it does; ended by the next begin or commit ----
 */
struct nft_rule;
struct nft_rule *nft_add_rule(struct nft_batch *b, enum nft_family family, const char *table,
                              const char *chain);

enum nft_base { NFT_LL_HEADER, NFT_NETWORK_HEADER, NFT_TRANSPORT_HEADER };
enum nft_cmp { NFT_EQ, NFT_NEQ, NFT_LT, NFT_LTE, NFT_GT, NFT_GTE };
struct nft_bytes {
    enum nft_base base;
    uint32_t offset, len; /* len <= 16 */
};
void nft_match_bytes(struct nft_rule *r, struct nft_bytes at, enum nft_cmp cmp, const void *value);
/* (bytes & mask) cmp value; mask NULL: all bits. */
void nft_match_masked(struct nft_rule *r, struct nft_bytes at, const void *mask, enum nft_cmp cmp,
                      const void *value);
void nft_match_family(struct nft_rule *r, int af); /* AF_INET, AF_INET6 */
void nft_match_l4proto(struct nft_rule *r, uint8_t proto);
void nft_match_mark(struct nft_rule *r, enum nft_cmp cmp, uint32_t mark);
void nft_match_iif(struct nft_rule *r, const char *dev);
void nft_match_oif(struct nft_rule *r, const char *dev);
/* An own draw for each packet that comes so far: true for `hit` of `of`. */
void nft_match_random(struct nft_rule *r, uint32_t hit, uint32_t of);
/* A counter of all packets that come so far, 0, 1 … every-1, 0 …: true when it is `at`. */
void nft_match_nth(struct nft_rule *r, uint32_t every, uint32_t at);
/* The same answer for the same bytes: `n` fields hashed together, true for `hit` of `of`. */
void nft_match_hash(struct nft_rule *r, const struct nft_bytes *fields, size_t n, uint32_t seed,
                    uint32_t hit, uint32_t of);
void nft_counter(struct nft_rule *r);
void nft_set_mark(struct nft_rule *r, uint32_t mark);
void nft_set_priority(struct nft_rule *r, uint32_t classid); /* postrouting; "1:4" is 0x10004 */

void nft_notrack(struct nft_rule *r); /* before prio -200: connection tracking leaves it alone */

/* What ends a rule. */
void nft_drop(struct nft_rule *r);
void nft_accept(struct nft_rule *r);
void nft_jump(struct nft_rule *r, const char *chain);
void nft_goto(struct nft_rule *r, const char *chain);
void nft_reject(struct nft_rule *r, bool tcp_reset); /* else ICMP port unreachable; inet only */
/* netdev ingress only: the packet goes to the device instead, as if it had arrived there; an ifb
 * gives it back. */
void nft_forward(struct nft_rule *r, uint32_t ifindex);
void nft_redirect(struct nft_rule *r, uint16_t port); /* type nat: prerouting, output */
/* To a queue of user space; what nobody listens to passes. compat: by the target of xtables, for
 * kernels without an own expression. */
void nft_queue(struct nft_rule *r, uint16_t queue, bool compat);

/* ---- looking ---- */
/* 0 there, 1 not there; seen by a socket of its own. */
int nft_has_table(enum nft_family family, const char *table, struct err *err) MUST_CHECK;
/* One of ours, in a batch of its own; 0 also when it is not there any more. */
int nft_remove_table(struct nft *n, enum nft_family family, const char *table,
                     struct err *err) MUST_CHECK;
/* Packets that the counters of one chain have seen. */
int nft_count(struct nft *n, enum nft_family family, const char *table, const char *chain,
              uint64_t *ret_packets, struct err *err) MUST_CHECK;

#endif
