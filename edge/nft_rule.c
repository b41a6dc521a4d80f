/* What a rule matches and does, as the small programs that the kernel runs: load some bytes into a
 * register, compare, decide. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include <libnftnl/expr.h>
#include <libnftnl/rule.h>

#include "base/mem.h"
#include "edge/nft_internal.h"

#define XT_ALIGNMENT 8

static const uint32_t cmps[] = {
    [NFT_EQ] = NFT_CMP_EQ,   [NFT_NEQ] = NFT_CMP_NEQ, [NFT_LT] = NFT_CMP_LT,
    [NFT_LTE] = NFT_CMP_LTE, [NFT_GT] = NFT_CMP_GT,   [NFT_GTE] = NFT_CMP_GTE,
};

static struct nftnl_expr *expr(const char *name)
{
    struct nftnl_expr *e = nftnl_expr_alloc(name);

    if (!e)
        abort(); /* a name that the library does not know, or no memory */
    return e;
}

static void put(struct nft_rule *r, struct nftnl_expr *e)
{
    nftnl_rule_add_expr(r->rule, e);
}

static void load_meta(struct nft_rule *r, uint32_t key)
{
    struct nftnl_expr *e = expr("meta");

    nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, NFT_REG_1);
    put(r, e);
}

static void load_bytes(struct nft_rule *r, struct nft_bytes at, uint32_t reg)
{
    static const uint32_t bases[] = {
        [NFT_LL_HEADER] = NFT_PAYLOAD_LL_HEADER,
        [NFT_NETWORK_HEADER] = NFT_PAYLOAD_NETWORK_HEADER,
        [NFT_TRANSPORT_HEADER] = NFT_PAYLOAD_TRANSPORT_HEADER,
    };
    struct nftnl_expr *e = expr("payload");

    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, bases[at.base]);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, at.offset);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, at.len);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, reg);
    put(r, e);
}

static void compare(struct nft_rule *r, enum nft_cmp cmp, const void *value, uint32_t len)
{
    struct nftnl_expr *e = expr("cmp");

    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, cmps[cmp]);
    nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, value, len);
    put(r, e);
}

void nft_match_masked(struct nft_rule *r, struct nft_bytes at, const void *mask, enum nft_cmp cmp,
                      const void *value)
{
    static const uint8_t zeros[16];

    load_bytes(r, at, NFT_REG_1);
    if (mask) {
        struct nftnl_expr *e = expr("bitwise");
        nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
        nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
        nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, at.len);
        nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, mask, at.len);
        nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, zeros, at.len);
        put(r, e);
    }
    compare(r, cmp, value, at.len);
}

void nft_match_bytes(struct nft_rule *r, struct nft_bytes at, enum nft_cmp cmp, const void *value)
{
    nft_match_masked(r, at, NULL, cmp, value);
}

/* The families ip and ip6 see nothing else anyway. */
void nft_match_family(struct nft_rule *r, int af)
{
    uint8_t nfproto = af == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;
    uint16_t ether = htons(af == AF_INET ? ETH_P_IP : ETH_P_IPV6);

    if (r->family == NFT_INET) {
        load_meta(r, NFT_META_NFPROTO);
        compare(r, NFT_EQ, &nfproto, sizeof nfproto);
    } else if (r->family == NFT_NETDEV) {
        load_meta(r, NFT_META_PROTOCOL);
        compare(r, NFT_EQ, &ether, sizeof ether);
    }
}

void nft_match_l4proto(struct nft_rule *r, uint8_t proto)
{
    load_meta(r, NFT_META_L4PROTO);
    compare(r, NFT_EQ, &proto, sizeof proto);
}

void nft_match_mark(struct nft_rule *r, enum nft_cmp cmp, uint32_t mark)
{
    load_meta(r, NFT_META_MARK);
    compare(r, cmp, &mark, sizeof mark);
}

static void match_name(struct nft_rule *r, uint32_t key, const char *dev)
{
    char padded[IF_NAMESIZE] = "";

    snprintf(padded, sizeof padded, "%s", dev);
    load_meta(r, key);
    compare(r, NFT_EQ, padded, sizeof padded);
}

void nft_match_iif(struct nft_rule *r, const char *dev)
{
    match_name(r, NFT_META_IIFNAME, dev);
}

void nft_match_oif(struct nft_rule *r, const char *dev)
{
    match_name(r, NFT_META_OIFNAME, dev);
}

static void load_number(struct nft_rule *r, uint32_t type, uint32_t modulus)
{
    struct nftnl_expr *e = expr("numgen");

    nftnl_expr_set_u32(e, NFTNL_EXPR_NG_DREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NG_MODULUS, modulus);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NG_TYPE, type);
    put(r, e);
}

/* Numbers are in the machine's order, comparisons go byte by byte. */
static void is_below(struct nft_rule *r, uint32_t limit)
{
    struct nftnl_expr *e = expr("byteorder");
    uint32_t value = htonl(limit);

    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_SREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_DREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_OP, NFT_BYTEORDER_HTON);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_LEN, sizeof value);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_SIZE, sizeof value);
    put(r, e);
    compare(r, NFT_LT, &value, sizeof value);
}

void nft_match_random(struct nft_rule *r, uint32_t hit, uint32_t of)
{
    load_number(r, NFT_NG_RANDOM, of);
    is_below(r, hit);
}

void nft_match_nth(struct nft_rule *r, uint32_t every, uint32_t at)
{
    load_number(r, NFT_NG_INCREMENTAL, every);
    compare(r, NFT_EQ, &at, sizeof at);
}

void nft_match_hash(struct nft_rule *r, const struct nft_bytes *fields, size_t n, uint32_t seed,
                    uint32_t hit, uint32_t of)
{
    struct nftnl_expr *e = expr("hash");
    uint32_t words = 0;

    for (size_t i = 0; i < n; i++) {
        load_bytes(r, fields[i], NFT_REG32_00 + words);
        words += (fields[i].len + 3) / 4;
    }
    nftnl_expr_set_u32(e, NFTNL_EXPR_HASH_SREG, NFT_REG32_00);
    nftnl_expr_set_u32(e, NFTNL_EXPR_HASH_DREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_HASH_LEN, words * 4);
    nftnl_expr_set_u32(e, NFTNL_EXPR_HASH_MODULUS, of);
    nftnl_expr_set_u32(e, NFTNL_EXPR_HASH_SEED, seed);
    nftnl_expr_set_u32(e, NFTNL_EXPR_HASH_TYPE, NFT_HASH_JENKINS);
    put(r, e);
    is_below(r, hit);
}

void nft_counter(struct nft_rule *r)
{
    put(r, expr("counter"));
}

static void load_value(struct nft_rule *r, const void *value, uint32_t len)
{
    struct nftnl_expr *e = expr("immediate");

    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
    nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, value, len);
    put(r, e);
}

static void set_meta(struct nft_rule *r, uint32_t key, uint32_t value)
{
    struct nftnl_expr *e = expr("meta");

    load_value(r, &value, sizeof value);
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_SREG, NFT_REG_1);
    put(r, e);
}

void nft_set_mark(struct nft_rule *r, uint32_t mark)
{
    set_meta(r, NFT_META_MARK, mark);
}

void nft_set_priority(struct nft_rule *r, uint32_t classid)
{
    set_meta(r, NFT_META_PRIORITY, classid);
}

void nft_forward(struct nft_rule *r, uint32_t ifindex)
{
    struct nftnl_expr *e = expr("fwd");

    load_value(r, &ifindex, sizeof ifindex);
    nftnl_expr_set_u32(e, NFTNL_EXPR_FWD_SREG_DEV, NFT_REG_1);
    put(r, e);
}

static void decide(struct nft_rule *r, int verdict, const char *chain)
{
    struct nftnl_expr *e = expr("immediate");

    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
    if (chain)
        nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, chain);
    put(r, e);
}

void nft_drop(struct nft_rule *r)
{
    decide(r, NF_DROP, NULL);
}

void nft_accept(struct nft_rule *r)
{
    decide(r, NF_ACCEPT, NULL);
}

void nft_jump(struct nft_rule *r, const char *chain)
{
    decide(r, NFT_JUMP, chain);
}

void nft_goto(struct nft_rule *r, const char *chain)
{
    decide(r, NFT_GOTO, chain);
}

void nft_reject(struct nft_rule *r, bool tcp_reset)
{
    struct nftnl_expr *e = expr("reject");

    nftnl_expr_set_u32(e, NFTNL_EXPR_REJECT_TYPE,
                       tcp_reset ? NFT_REJECT_TCP_RST : NFT_REJECT_ICMPX_UNREACH);
    nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, tcp_reset ? 0 : NFT_REJECT_ICMPX_PORT_UNREACH);
    put(r, e);
}

void nft_redirect(struct nft_rule *r, uint16_t port)
{
    struct nftnl_expr *e = expr("redir");
    uint16_t value = htons(port);

    load_value(r, &value, sizeof value);
    nftnl_expr_set_u32(e, NFTNL_EXPR_REDIR_REG_PROTO_MIN, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_REDIR_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
    put(r, e);
}

/* The library takes the bytes, and frees them. */
static void queue_compat(struct nft_rule *r, uint16_t queue)
{
    struct nftnl_expr *e = expr("target");
    struct xt_NFQ_info_v3 *info = xcalloc(1, sizeof *info + XT_ALIGNMENT);
    uint32_t len = (sizeof *info + XT_ALIGNMENT - 1) / XT_ALIGNMENT * XT_ALIGNMENT;

    *info =
        (struct xt_NFQ_info_v3){ .queuenum = queue, .queues_total = 1, .flags = NFQ_FLAG_BYPASS };
    nftnl_expr_set_str(e, NFTNL_EXPR_TG_NAME, "NFQUEUE");
    nftnl_expr_set_u32(e, NFTNL_EXPR_TG_REV, 3);
    nftnl_expr_set(e, NFTNL_EXPR_TG_INFO, info, len);
    put(r, e);
}

void nft_notrack(struct nft_rule *r)
{
    put(r, expr("notrack"));
}

void nft_queue(struct nft_rule *r, uint16_t queue, bool compat)
{
    struct nftnl_expr *e;

    if (compat) {
        queue_compat(r, queue);
        return;
    }
    e = expr("queue");
    nftnl_expr_set_u16(e, NFTNL_EXPR_QUEUE_NUM, queue);
    nftnl_expr_set_u16(e, NFTNL_EXPR_QUEUE_TOTAL, 1);
    nftnl_expr_set_u16(e, NFTNL_EXPR_QUEUE_FLAGS, NFT_QUEUE_FLAG_BYPASS);
    put(r, e);
}
