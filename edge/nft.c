/* nftables by netlink: one socket, which owns what is made through it, and batches.
 *
 * The kernel takes a batch as a whole, in one transaction. Each message asks for an answer, so that
 * a refusal can be told by what was refused. */
#include "edge/nft.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>

#include "base/mem.h"
#include "edge/nft_internal.h"

#define BATCH_BYTES_MAX ((uint32_t)1 << 20)
#define MESSAGE_BYTES_MAX ((uint32_t)64 << 10)
#define SOCKET_BYTES (4 << 20)
#define REPLY_WAIT_MS 5000
#define TABLE_OWNER 0x2u /* NFT_TABLE_F_OWNER, newer than Debian 12's headers */

struct nft {
    struct mnl_socket *socket;
    uint32_t seq;
};

struct nft_batch {
    struct nft *nft;
    struct mnl_nlmsg_batch *batch;
    char *bytes;
    struct nft_rule rule; /* the one being built */
    uint32_t first, last; /* numbers of its messages */
    bool too_long;
    char (*what)[96]; /* of each message, for people */
    size_t n_what;
};

static int recv_in_time(const struct nft *n, void *bytes, size_t size, ssize_t *ret_len,
                        struct err *err)
{
    struct pollfd p = { .fd = mnl_socket_get_fd(n->socket), .events = POLLIN };
    int rc;

    do
        rc = poll(&p, 1, REPLY_WAIT_MS);
    while (rc < 0 && errno == EINTR);
    if (rc == 0)
        return err_set(err, ERR_INJECT, ETIMEDOUT, "nftables did not answer within %d s",
                       REPLY_WAIT_MS / 1000);
    *ret_len = mnl_socket_recvfrom(n->socket, bytes, size);
    if (rc < 0 || *ret_len < 0)
        return err_sys(err, ERR_INJECT, errno, "cannot read nftables' answer");
    return 0;
}

struct nft *nft_open(struct err *err)
{
    struct nft *n = xcalloc(1, sizeof *n);
    int size = SOCKET_BYTES;

    n->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (!n->socket || mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
        err_sys(err, ERR_INJECT, errno, "cannot talk to nftables");
        nft_close(n);
        return NULL;
    }
    setsockopt(mnl_socket_get_fd(n->socket), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    setsockopt(mnl_socket_get_fd(n->socket), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    return n;
}

void nft_close(struct nft *n)
{
    if (!n)
        return;
    if (n->socket)
        mnl_socket_close(n->socket);
    free(n);
}

/* ---- a batch ---- */

struct nft_batch *nft_batch_new(struct nft *n)
{
    struct nft_batch *b = xcalloc(1, sizeof *b);

    b->nft = n;
    b->bytes = xcalloc(1, BATCH_BYTES_MAX + MESSAGE_BYTES_MAX);
    b->batch = mnl_nlmsg_batch_start(b->bytes, BATCH_BYTES_MAX);
    if (!b->batch)
        abort();
    nftnl_batch_begin(mnl_nlmsg_batch_current(b->batch), n->seq++);
    mnl_nlmsg_batch_next(b->batch);
    b->first = n->seq;
    return b;
}

void nft_batch_free(struct nft_batch *b)
{
    if (!b)
        return;
    if (b->rule.rule)
        nftnl_rule_free(b->rule.rule);
    mnl_nlmsg_batch_stop(b->batch);
    free(b->what);
    free(b->bytes);
    free(b);
}

static void PRINTF_LIKE(2, 3) say(struct nft_batch *b, const char *fmt, ...)
{
    va_list ap;

    b->what = xrealloc(b->what, b->n_what + 1, sizeof *b->what);
    va_start(ap, fmt);
    vsnprintf(b->what[b->n_what++], sizeof *b->what, fmt, ap);
    va_end(ap);
}

static struct nlmsghdr *begin(struct nft_batch *b, uint16_t type, enum nft_family family,
                              uint16_t flags)
{
    b->last = b->nft->seq;
    return nftnl_nlmsg_build_hdr(mnl_nlmsg_batch_current(b->batch), type, (uint16_t)family,
                                 (uint16_t)(flags | NLM_F_ACK), b->nft->seq++);
}

static void end(struct nft_batch *b)
{
    if (!mnl_nlmsg_batch_next(b->batch))
        b->too_long = true;
}

static void end_rule(struct nft_batch *b)
{
    if (!b->rule.rule)
        return;
    struct nlmsghdr *h = begin(b, NFT_MSG_NEWRULE, b->rule.family, NLM_F_APPEND | NLM_F_CREATE);
    nftnl_rule_nlmsg_build_payload(h, b->rule.rule);
    say(b, "a rule of chain '%s'", nftnl_rule_get_str(b->rule.rule, NFTNL_RULE_CHAIN));
    nftnl_rule_free(b->rule.rule);
    b->rule.rule = NULL;
    end(b);
}

static void put_table(struct nft_batch *b, uint16_t type, enum nft_family family, const char *name)
{
    struct nftnl_table *t = nftnl_table_alloc();
    bool is_new = type == NFT_MSG_NEWTABLE;

    end_rule(b);
    struct nlmsghdr *h = begin(b, type, family, is_new ? NLM_F_CREATE | NLM_F_EXCL : 0);
    nftnl_table_set_str(t, NFTNL_TABLE_NAME, name);
    if (is_new)
        nftnl_table_set_u32(t, NFTNL_TABLE_FLAGS, TABLE_OWNER);
    nftnl_table_nlmsg_build_payload(h, t);
    nftnl_table_free(t);
    say(b, "table '%s' with an owner (kernel 5.12 or newer)", name);
    end(b);
}

void nft_add_table(struct nft_batch *b, enum nft_family family, const char *table)
{
    put_table(b, NFT_MSG_NEWTABLE, family, table);
}

void nft_del_table(struct nft_batch *b, enum nft_family family, const char *table)
{
    put_table(b, NFT_MSG_DELTABLE, family, table);
}

static void set_devices(struct nftnl_chain *chain, const struct nft_chain *c)
{
    const char *devs[NFT_DEVS_MAX + 1] = { NULL };
    size_t n = MIN(c->n_devs, (size_t)NFT_DEVS_MAX);

    for (size_t i = 0; i < n; i++)
        devs[i] = c->devs[i];
    if (n == 1)
        nftnl_chain_set_str(chain, NFTNL_CHAIN_DEV, devs[0]);
    else if (n > 1)
        nftnl_chain_set_data(chain, NFTNL_CHAIN_DEVICES, (const void *)devs, 0);
}

void nft_add_chain(struct nft_batch *b, const struct nft_chain *c)
{
    struct nftnl_chain *chain = nftnl_chain_alloc();

    end_rule(b);
    struct nlmsghdr *h = begin(b, NFT_MSG_NEWCHAIN, c->family, NLM_F_CREATE | NLM_F_EXCL);
    nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, c->table);
    nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, c->name);
    if (c->type) {
        nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, c->type);
        nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, c->hook);
        nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, c->prio);
        nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_ACCEPT);
        set_devices(chain, c);
    }
    nftnl_chain_nlmsg_build_payload(h, chain);
    nftnl_chain_free(chain);
    say(b, "chain '%s'%s%s", c->name, c->type ? " of type " : "", c->type ? c->type : "");
    end(b);
}

void nft_flush_chain(struct nft_batch *b, enum nft_family family, const char *table,
                     const char *chain)
{
    struct nftnl_rule *r = nftnl_rule_alloc();

    end_rule(b);
    struct nlmsghdr *h = begin(b, NFT_MSG_DELRULE, family, 0);
    nftnl_rule_set_str(r, NFTNL_RULE_TABLE, table);
    nftnl_rule_set_str(r, NFTNL_RULE_CHAIN, chain);
    nftnl_rule_nlmsg_build_payload(h, r);
    nftnl_rule_free(r);
    say(b, "the end of all rules of chain '%s'", chain);
    end(b);
}

struct nft_rule *nft_add_rule(struct nft_batch *b, enum nft_family family, const char *table,
                              const char *chain)
{
    end_rule(b);
    b->rule = (struct nft_rule){ .rule = nftnl_rule_alloc(), .family = family };
    nftnl_rule_set_u32(b->rule.rule, NFTNL_RULE_FAMILY, family);
    nftnl_rule_set_str(b->rule.rule, NFTNL_RULE_TABLE, table);
    nftnl_rule_set_str(b->rule.rule, NFTNL_RULE_CHAIN, chain);
    return &b->rule;
}

static int refused(const struct nft_batch *b, uint32_t seq, int code, struct err *err)
{
    size_t i = seq - b->first;
    const char *what = i < b->n_what ? b->what[i] : "a batch";

    if (code == EPERM)
        return err_set(err, ERR_INJECT, code, "nftables refuses %s: root (CAP_NET_ADMIN) is needed",
                       what);
    return err_sys(err, ERR_INJECT, code, "nftables refuses %s", what);
}

/* Until the last message was answered, or one was refused. */
static int read_answers(struct nft_batch *b, struct err *err)
{
    auto_free char *bytes = xcalloc(1, MESSAGE_BYTES_MAX);

    for (;;) {
        ssize_t len;
        if (recv_in_time(b->nft, bytes, MESSAGE_BYTES_MAX, &len, err) < 0)
            return -EIO;
        const struct nlmsghdr *h = (const void *)bytes;
        for (int left = (int)len; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_seq + 1 < b->first)
                continue; /* of an earlier batch, which was refused before its end */
            const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
            if (e->error)
                return refused(b, h->nlmsg_seq, -e->error, err);
            if (h->nlmsg_seq == b->last)
                return 0;
        }
    }
}

int nft_commit(struct nft_batch *b, struct err *err)
{
    end_rule(b);
    if (b->too_long)
        return err_set(err, ERR_LIMIT, E2BIG, "too many rules for one batch (%u bytes)",
                       BATCH_BYTES_MAX);
    nftnl_batch_end(mnl_nlmsg_batch_current(b->batch), b->nft->seq++);
    mnl_nlmsg_batch_next(b->batch);
    if (mnl_socket_sendto(b->nft->socket, mnl_nlmsg_batch_head(b->batch),
                          mnl_nlmsg_batch_size(b->batch)) < 0)
        return err_sys(err, ERR_INJECT, errno, "cannot talk to nftables");
    return read_answers(b, err);
}

/* ---- looking ---- */

/* One question; each message of the answer goes to `cb`. 0, or 1: no such thing. */
static int ask(struct nft *n, const struct nlmsghdr *h, mnl_cb_t cb, void *arg, struct err *err)
{
    auto_free char *bytes = xcalloc(1, MESSAGE_BYTES_MAX);
    unsigned port = mnl_socket_get_portid(n->socket);
    int more = MNL_CB_OK;

    if (mnl_socket_sendto(n->socket, h, h->nlmsg_len) < 0)
        return err_sys(err, ERR_INJECT, errno, "cannot talk to nftables");
    while (more > MNL_CB_STOP) {
        ssize_t len;
        if (recv_in_time(n, bytes, MESSAGE_BYTES_MAX, &len, err) < 0)
            return -EIO;
        more = mnl_cb_run(bytes, (size_t)len, h->nlmsg_seq, port, cb, arg);
    }
    if (more < 0 && errno == ENOENT)
        return 1;
    return more < 0 ? err_sys(err, ERR_INJECT, errno, "cannot look at nftables") : 0;
}

static int seen(const struct nlmsghdr *h, void *arg)
{
    (void)h;
    *(bool *)arg = true;
    return MNL_CB_OK;
}

int nft_has_table(enum nft_family family, const char *table, struct err *err)
{
    char bytes[1024];
    bool is_there = false;
    struct nft *n = nft_open(err);

    if (!n)
        return -EIO;
    struct nlmsghdr *h =
        nftnl_nlmsg_build_hdr(bytes, NFT_MSG_GETTABLE, (uint16_t)family, NLM_F_ACK, ++n->seq);
    mnl_attr_put_strz(h, NFTA_TABLE_NAME, table);
    int rc = ask(n, h, seen, &is_there, err);
    nft_close(n);
    return rc == 0 && !is_there ? 1 : rc;
}

int nft_remove_table(struct nft *n, enum nft_family family, const char *table, struct err *err)
{
    int rc = nft_has_table(family, table, err);

    if (rc != 0)
        return MIN(rc, 0);
    struct nft_batch *b = nft_batch_new(n);
    nft_del_table(b, family, table);
    rc = nft_commit(b, err);
    nft_batch_free(b);
    return rc;
}

static int add_up(const struct nlmsghdr *h, void *arg)
{
    struct nftnl_rule *r = nftnl_rule_alloc();
    uint64_t *packets = arg;

    if (nftnl_rule_nlmsg_parse(h, r) == 0) {
        struct nftnl_expr_iter *it = nftnl_expr_iter_create(r);
        for (struct nftnl_expr *e; (e = nftnl_expr_iter_next(it));)
            if (strcmp(nftnl_expr_get_str(e, NFTNL_EXPR_NAME), "counter") == 0)
                *packets += nftnl_expr_get_u64(e, NFTNL_EXPR_CTR_PACKETS);
        nftnl_expr_iter_destroy(it);
    }
    nftnl_rule_free(r);
    return MNL_CB_OK;
}

int nft_count(struct nft *n, enum nft_family family, const char *table, const char *chain,
              uint64_t *ret_packets, struct err *err)
{
    char bytes[1024];
    uint64_t packets = 0;

    struct nlmsghdr *h =
        nftnl_nlmsg_build_hdr(bytes, NFT_MSG_GETRULE, (uint16_t)family, NLM_F_DUMP, ++n->seq);
    mnl_attr_put_strz(h, NFTA_RULE_TABLE, table);
    mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain);
    int rc = ask(n, h, add_up, &packets, err);
    if (rc == 0)
        *ret_packets = packets;
    return rc == 1 ? err_set(err, ERR_INJECT, ENOENT, "table '%s' is not there", table) : rc;
}
