/* Queueing disciplines as rtnetlink messages, both ways.
 *
 * The kernel's options are a struct, or attributes, or a struct followed by attributes, each kind
 * its own way: one pair of functions for each, in a table. 64-bit attributes say what the old
 * structs cannot; where both are sent, the kernel takes the larger. */
#include <libmnl/libmnl.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "edge/tc_internal.h"

#define TICK_NS 64 /* PSCHED_SHIFT of every kernel since 2.6.31 */
#define NETEM_ATTRS_MAX 32
#define NETEM_PRNG_SEED 14 /* TCA_NETEM_PRNG_SEED, which Debian's headers do not know yet */

_Static_assert(TC_DIST_SCALE == NETEM_DIST_SCALE, "one jitter, as the kernel counts it");
_Static_assert(TC_DIST_MAX <= NETEM_DIST_MAX, "what the kernel takes");
_Static_assert(TC_ROOT == TC_H_ROOT, "the root's handle");

uint32_t tc_share(double fraction)
{
    return fraction >= 1   ? UINT32_MAX
           : fraction <= 0 ? 0
                           : (uint32_t)llround(fraction * UINT32_MAX);
}

/* ---- netem ---- */

static void put_extra(struct nlmsghdr *m, const void *data, size_t n)
{
    memcpy(mnl_nlmsg_put_extra_header(m, n), data, n);
}

static void put_loss(struct nlmsghdr *m, const struct tc_netem *n)
{
    if (n->loss_model == TC_LOSS_RANDOM)
        return;
    struct nlattr *nest = mnl_attr_nest_start(m, TCA_NETEM_LOSS);
    if (n->loss_model == TC_LOSS_STATE) {
        struct tc_netem_gimodel gi = {
            .p13 = n->p13, .p31 = n->p31, .p32 = n->p32, .p14 = n->p14, .p23 = n->p23
        };
        mnl_attr_put(m, NETEM_LOSS_GI, sizeof(gi), &gi);
    } else {
        struct tc_netem_gemodel ge = {
            .p = n->ge_p, .r = n->ge_r, .h = UINT32_MAX - n->ge_1h, .k1 = n->ge_1k
        };
        mnl_attr_put(m, NETEM_LOSS_GE, sizeof(ge), &ge);
    }
    mnl_attr_nest_end(m, nest);
}

static void put_rate(struct nlmsghdr *m, uint64_t rate_bytes)
{
    struct tc_netem_rate rate = { .rate = (uint32_t)MIN(rate_bytes, UINT32_MAX) };

    if (rate_bytes >= UINT32_MAX)
        mnl_attr_put_u64(m, TCA_NETEM_RATE64, rate_bytes);
    mnl_attr_put(m, TCA_NETEM_RATE, sizeof(rate), &rate);
}

static void put_netem(struct nlmsghdr *m, const struct tc_qdisc *q)
{
    const struct tc_netem *n = &q->netem;
    struct tc_netem_qopt opt = {
        .limit = n->limit, .loss = n->loss, .gap = n->gap, .duplicate = n->duplicate
    };
    struct tc_netem_corr corr = { .delay_corr = n->delay_corr,
                                  .loss_corr = n->loss_corr,
                                  .dup_corr = n->duplicate_corr };
    struct tc_netem_reorder reorder = { .probability = n->reorder, .correlation = n->reorder_corr };
    struct tc_netem_corrupt corrupt = { .probability = n->corrupt, .correlation = n->corrupt_corr };
    struct nlattr *nest = mnl_attr_nest_start(m, TCA_OPTIONS);

    put_extra(m, &opt, sizeof(opt));
    mnl_attr_put(m, TCA_NETEM_CORR, sizeof(corr), &corr);
    if (n->reorder)
        mnl_attr_put(m, TCA_NETEM_REORDER, sizeof(reorder), &reorder);
    if (n->corrupt)
        mnl_attr_put(m, TCA_NETEM_CORRUPT, sizeof(corrupt), &corrupt);
    put_loss(m, n);
    if (n->rate_bytes)
        put_rate(m, n->rate_bytes);
    mnl_attr_put_u64(m, TCA_NETEM_LATENCY64, n->latency_ns);
    mnl_attr_put_u64(m, TCA_NETEM_JITTER64, n->jitter_ns);
    if (n->seed)
        mnl_attr_put_u64(m, NETEM_PRNG_SEED, n->seed);
    if (n->n_dist)
        mnl_attr_put(m, TCA_NETEM_DELAY_DIST, MIN(n->n_dist, TC_DIST_MAX) * sizeof(*n->dist),
                     n->dist);
    mnl_attr_nest_end(m, nest);
}

/* Copies an attribute of at least n bytes; what is shorter or missing leaves `to` alone. */
static bool take(const struct nlattr *a, void *to, size_t n)
{
    if (!a || mnl_attr_get_payload_len(a) < n)
        return false;
    memcpy(to, mnl_attr_get_payload(a), n);
    return true;
}

/* Attributes of [p, p+len) by number; of those of one number the last. */
static void index_attrs(const char *p, size_t len, const struct nlattr **by, unsigned n_by)
{
    const struct nlattr *a;

    for (unsigned i = 0; i < n_by; i++)
        by[i] = NULL;
    while (len <= INT32_MAX) {
        a = (const struct nlattr *)(const void *)p;
        if (!mnl_attr_ok(a, (int)len))
            return;
        if (mnl_attr_get_type(a) < n_by)
            by[mnl_attr_get_type(a)] = a;
        size_t used = MNL_ALIGN(a->nla_len);
        if (used >= len)
            return;
        p += used;
        len -= used;
    }
}

static void index_nested(const struct nlattr *nest, const struct nlattr **by, unsigned n_by)
{
    index_attrs(nest ? mnl_attr_get_payload(nest) : NULL, nest ? mnl_attr_get_payload_len(nest) : 0,
                by, n_by);
}

static void get_loss(const struct nlattr *nest, struct tc_netem *n)
{
    const struct nlattr *by[NETEM_LOSS_MAX + 1];
    struct tc_netem_gimodel gi;
    struct tc_netem_gemodel ge;

    index_nested(nest, by, ARRAY_LEN(by));
    if (take(by[NETEM_LOSS_GI], &gi, sizeof(gi))) {
        n->loss_model = TC_LOSS_STATE;
        n->p13 = gi.p13;
        n->p31 = gi.p31;
        n->p32 = gi.p32;
        n->p23 = gi.p23;
        n->p14 = gi.p14;
    } else if (take(by[NETEM_LOSS_GE], &ge, sizeof(ge))) {
        n->loss_model = TC_LOSS_GEMODEL;
        n->ge_p = ge.p;
        n->ge_r = ge.r;
        n->ge_1h = UINT32_MAX - ge.h;
        n->ge_1k = ge.k1;
    }
}

static bool get_netem(const struct nlattr *options, struct tc_qdisc *q)
{
    const struct nlattr *by[NETEM_ATTRS_MAX];
    struct tc_netem *n = &q->netem;
    struct tc_netem_qopt opt;
    struct tc_netem_corr corr = { 0 };
    struct tc_netem_reorder reorder = { 0 };
    struct tc_netem_corrupt corrupt = { 0 };
    struct tc_netem_rate rate = { 0 };

    if (!take(options, &opt, sizeof(opt)))
        return false;
    index_attrs((const char *)mnl_attr_get_payload(options) + sizeof(opt),
                mnl_attr_get_payload_len(options) - sizeof(opt), by, ARRAY_LEN(by));
    take(by[TCA_NETEM_CORR], &corr, sizeof(corr));
    take(by[TCA_NETEM_REORDER], &reorder, sizeof(reorder));
    take(by[TCA_NETEM_CORRUPT], &corrupt, sizeof(corrupt));
    take(by[TCA_NETEM_RATE], &rate, sizeof(rate));
    *n = (struct tc_netem){ .latency_ns = (uint64_t)opt.latency * TICK_NS,
                            .jitter_ns = (uint64_t)opt.jitter * TICK_NS,
                            .delay_corr = corr.delay_corr,
                            .loss = opt.loss,
                            .loss_corr = corr.loss_corr,
                            .duplicate = opt.duplicate,
                            .duplicate_corr = corr.dup_corr,
                            .corrupt = corrupt.probability,
                            .corrupt_corr = corrupt.correlation,
                            .reorder = reorder.probability,
                            .reorder_corr = reorder.correlation,
                            .gap = opt.gap,
                            .rate_bytes = rate.rate,
                            .limit = opt.limit };
    take(by[TCA_NETEM_LATENCY64], &n->latency_ns, sizeof(n->latency_ns));
    take(by[TCA_NETEM_JITTER64], &n->jitter_ns, sizeof(n->jitter_ns));
    take(by[NETEM_PRNG_SEED], &n->seed, sizeof(n->seed));
    take(by[TCA_NETEM_RATE64], &n->rate_bytes, sizeof(n->rate_bytes));
    get_loss(by[TCA_NETEM_LOSS], n);
    return true;
}

/* ---- prio ---- */

static void put_prio(struct nlmsghdr *m, const struct tc_qdisc *q)
{
    struct tc_prio_qopt opt = { .bands = q->prio.bands };

    memcpy(opt.priomap, q->prio.priomap, sizeof(opt.priomap));
    mnl_attr_put(m, TCA_OPTIONS, sizeof(opt), &opt);
}

static bool get_prio(const struct nlattr *options, struct tc_qdisc *q)
{
    struct tc_prio_qopt opt;

    if (!take(options, &opt, sizeof(opt)))
        return false;
    q->prio.bands = opt.bands;
    memcpy(q->prio.priomap, opt.priomap, sizeof(opt.priomap));
    return true;
}

/* ---- rates: tbf and htb ---- */

/* With a link layer the kernel computes; without it would want a table of 256 sizes. */
static struct tc_ratespec spec_of(uint64_t rate_bytes)
{
    return (struct tc_ratespec){ .linklayer = TC_LINKLAYER_ETHERNET,
                                 .rate = (uint32_t)MIN(rate_bytes, UINT32_MAX) };
}

static uint32_t ticks_of(uint64_t bytes, uint64_t rate_bytes)
{
    double ticks = (double)bytes * 1e9 / (double)MAX(rate_bytes, UINT64_C(1)) / TICK_NS;

    return ticks >= UINT32_MAX ? UINT32_MAX : (uint32_t)llround(ticks);
}

static uint32_t bytes_of(uint32_t ticks, uint64_t rate_bytes)
{
    double bytes = (double)ticks * TICK_NS * (double)rate_bytes / 1e9;

    return bytes >= UINT32_MAX ? UINT32_MAX : (uint32_t)llround(bytes);
}

static void put_tbf(struct nlmsghdr *m, const struct tc_qdisc *q)
{
    const struct tc_rate *r = &q->rate;
    struct tc_tbf_qopt opt = { .rate = spec_of(r->rate_bytes), .limit = r->limit_bytes };
    struct nlattr *nest = mnl_attr_nest_start(m, TCA_OPTIONS);

    opt.buffer = ticks_of(r->burst_bytes, r->rate_bytes);
    if (r->peak_rate_bytes) {
        opt.peakrate = spec_of(r->peak_rate_bytes);
        opt.mtu = ticks_of(r->peak_burst_bytes, r->peak_rate_bytes);
    }
    mnl_attr_put(m, TCA_TBF_PARMS, sizeof(opt), &opt);
    mnl_attr_put_u32(m, TCA_TBF_BURST, r->burst_bytes);
    if (r->rate_bytes >= UINT32_MAX)
        mnl_attr_put_u64(m, TCA_TBF_RATE64, r->rate_bytes);
    if (r->peak_rate_bytes) {
        mnl_attr_put_u32(m, TCA_TBF_PBURST, r->peak_burst_bytes);
        if (r->peak_rate_bytes >= UINT32_MAX)
            mnl_attr_put_u64(m, TCA_TBF_PRATE64, r->peak_rate_bytes);
    }
    mnl_attr_nest_end(m, nest);
}

static bool get_tbf(const struct nlattr *options, struct tc_qdisc *q)
{
    const struct nlattr *by[TCA_TBF_MAX + 1];
    struct tc_rate *r = &q->rate;
    struct tc_tbf_qopt opt;

    index_nested(options, by, ARRAY_LEN(by));
    if (!take(by[TCA_TBF_PARMS], &opt, sizeof(opt)))
        return false;
    *r = (struct tc_rate){ .rate_bytes = opt.rate.rate,
                           .limit_bytes = opt.limit,
                           .peak_rate_bytes = opt.peakrate.rate };
    take(by[TCA_TBF_RATE64], &r->rate_bytes, sizeof(r->rate_bytes));
    take(by[TCA_TBF_PRATE64], &r->peak_rate_bytes, sizeof(r->peak_rate_bytes));
    r->burst_bytes = bytes_of(opt.buffer, r->rate_bytes);
    r->peak_burst_bytes = bytes_of(opt.mtu, r->peak_rate_bytes);
    return true;
}

static void put_bfifo(struct nlmsghdr *m, const struct tc_qdisc *q)
{
    struct tc_fifo_qopt opt = { .limit = q->bfifo.limit_bytes };

    mnl_attr_put(m, TCA_OPTIONS, sizeof(opt), &opt);
}

static bool get_bfifo(const struct nlattr *options, struct tc_qdisc *q)
{
    struct tc_fifo_qopt opt;

    if (!take(options, &opt, sizeof(opt)))
        return false;
    q->bfifo.limit_bytes = opt.limit;
    return true;
}

static void put_htb(struct nlmsghdr *m, const struct tc_qdisc *q)
{
    struct tc_htb_glob glob = { .version = 3, .rate2quantum = 10, .defcls = q->htb.default_class };
    struct nlattr *nest = mnl_attr_nest_start(m, TCA_OPTIONS);

    mnl_attr_put(m, TCA_HTB_INIT, sizeof(glob), &glob);
    mnl_attr_nest_end(m, nest);
}

static bool get_htb(const struct nlattr *options, struct tc_qdisc *q)
{
    const struct nlattr *by[TCA_HTB_MAX + 1];
    struct tc_htb_glob glob;

    index_nested(options, by, ARRAY_LEN(by));
    if (!take(by[TCA_HTB_INIT], &glob, sizeof(glob)))
        return false;
    q->htb.default_class = glob.defcls;
    return true;
}

static void put_htb_class(struct nlmsghdr *m, const struct tc_qdisc *q)
{
    const struct tc_rate *r = &q->rate;
    uint32_t buffer = ticks_of(r->burst_bytes, r->rate_bytes);
    struct tc_htb_opt opt = { .rate = spec_of(r->rate_bytes),
                              .ceil = spec_of(r->rate_bytes),
                              .buffer = buffer,
                              .cbuffer = buffer,
                              .quantum = 1514 };
    struct nlattr *nest = mnl_attr_nest_start(m, TCA_OPTIONS);

    mnl_attr_put(m, TCA_HTB_PARMS, sizeof(opt), &opt);
    if (r->rate_bytes >= UINT32_MAX) {
        mnl_attr_put_u64(m, TCA_HTB_RATE64, r->rate_bytes);
        mnl_attr_put_u64(m, TCA_HTB_CEIL64, r->rate_bytes);
    }
    mnl_attr_nest_end(m, nest);
}

static bool get_htb_class(const struct nlattr *options, struct tc_qdisc *q)
{
    const struct nlattr *by[TCA_HTB_MAX + 1];
    struct tc_rate *r = &q->rate;
    struct tc_htb_opt opt;

    index_nested(options, by, ARRAY_LEN(by));
    if (!take(by[TCA_HTB_PARMS], &opt, sizeof(opt)))
        return false;
    *r = (struct tc_rate){ .rate_bytes = opt.ceil.rate };
    take(by[TCA_HTB_CEIL64], &r->rate_bytes, sizeof(r->rate_bytes));
    r->burst_bytes = bytes_of(opt.cbuffer, r->rate_bytes);
    return true;
}

/* ---- any of them ---- */

struct codec {
    const char *name;
    void (*put)(struct nlmsghdr *m, const struct tc_qdisc *q);
    bool (*get)(const struct nlattr *options, struct tc_qdisc *q);
};

static const struct codec codecs[TC_KIND_MAX] = {
    [TC_NETEM] = { "netem", put_netem, get_netem },
    [TC_PRIO] = { "prio", put_prio, get_prio },
    [TC_TBF] = { "tbf", put_tbf, get_tbf },
    [TC_BFIFO] = { "bfifo", put_bfifo, get_bfifo },
    [TC_HTB] = { "htb", put_htb, get_htb },
    [TC_HTB_CLASS] = { "htb", put_htb_class, get_htb_class },
};

const char *tc_name(const struct tc_qdisc *q)
{
    return codecs[q->kind].name ? codecs[q->kind].name : q->name;
}

struct nlmsghdr *tc_request(void *buf, uint16_t type, uint16_t flags, const struct tc_qdisc *q)
{
    struct nlmsghdr *m = mnl_nlmsg_put_header(buf);

    m->nlmsg_type = type;
    m->nlmsg_flags = NLM_F_REQUEST | flags;
    struct tcmsg *tcm = mnl_nlmsg_put_extra_header(m, sizeof(*tcm));
    tcm->tcm_family = AF_UNSPEC;
    tcm->tcm_ifindex = q->ifindex;
    tcm->tcm_handle = q->handle;
    tcm->tcm_parent = q->parent;
    return m;
}

size_t tc_encode(const struct tc_qdisc *q, void *buf)
{
    uint16_t type = q->kind == TC_HTB_CLASS ? RTM_NEWTCLASS : RTM_NEWQDISC;
    struct nlmsghdr *m = tc_request(buf, type, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, q);

    mnl_attr_put_strz(m, TCA_KIND, tc_name(q));
    if (codecs[q->kind].put)
        codecs[q->kind].put(m, q);
    return m->nlmsg_len;
}

static enum tc_kind kind_of(const char *name, uint16_t type)
{
    if (type == RTM_NEWTCLASS)
        return strcmp(name, "htb") == 0 ? TC_HTB_CLASS : TC_OTHER;
    for (enum tc_kind k = TC_OTHER + 1; k < TC_HTB_CLASS; k++)
        if (strcmp(name, codecs[k].name) == 0)
            return k;
    return TC_OTHER;
}

static void get_stats(const struct nlattr *a, struct tc_qdisc *q)
{
    struct tc_stats stats;

    if (!take(a, &stats, sizeof(stats)))
        return;
    q->held_packets = stats.qlen;
    q->dropped_packets = stats.drops;
    q->sent_packets = stats.packets;
}

bool tc_decode(const void *msg, size_t n, struct tc_qdisc *ret)
{
    const struct nlmsghdr *m = msg;
    const struct nlattr *by[TCA_MAX + 1];
    struct tcmsg tcm;
    size_t head = MNL_NLMSG_HDRLEN + MNL_ALIGN(sizeof(tcm));

    if (n < head || m->nlmsg_len < head || m->nlmsg_len > n ||
        (m->nlmsg_type != RTM_NEWQDISC && m->nlmsg_type != RTM_NEWTCLASS))
        return false;
    memcpy(&tcm, mnl_nlmsg_get_payload(m), sizeof(tcm));
    index_attrs((const char *)msg + head, m->nlmsg_len - head, by, ARRAY_LEN(by));
    *ret = (struct tc_qdisc){ .ifindex = tcm.tcm_ifindex,
                              .handle = tcm.tcm_handle,
                              .parent = tcm.tcm_parent };
    if (!by[TCA_KIND] || mnl_attr_get_payload_len(by[TCA_KIND]) == 0)
        return false;
    size_t len = MIN((size_t)mnl_attr_get_payload_len(by[TCA_KIND]), sizeof(ret->name) - 1);
    memcpy(ret->name, mnl_attr_get_payload(by[TCA_KIND]), len);
    ret->kind = kind_of(ret->name, m->nlmsg_type);
    get_stats(by[TCA_STATS], ret);
    return !codecs[ret->kind].get || codecs[ret->kind].get(by[TCA_OPTIONS], ret);
}

/* Bursts come back as the time they take, in ticks: not to the byte. */
static uint32_t near(uint32_t asked, uint32_t seen)
{
    uint32_t apart = asked > seen ? asked - seen : seen - asked;

    return apart <= asked / 100 + 1 ? asked : seen;
}

static void forget_untold(const struct tc_qdisc *asked, struct tc_qdisc *seen)
{
    seen->ifindex = asked->ifindex;
    if (asked->kind == TC_NETEM) {
        seen->netem.dist = asked->netem.dist;
        seen->netem.n_dist = asked->netem.n_dist;
        seen->netem.seed = asked->netem.seed;
    }
    if (asked->kind == TC_HTB_CLASS)
        seen->parent = asked->parent; /* its root, which a class tells as TC_ROOT */
    if (asked->kind == TC_HTB_CLASS || asked->kind == TC_TBF)
        seen->rate.burst_bytes = near(asked->rate.burst_bytes, seen->rate.burst_bytes);
    if (asked->kind == TC_TBF)
        seen->rate.peak_burst_bytes =
            near(asked->rate.peak_burst_bytes, seen->rate.peak_burst_bytes);
}

/* What makes the same request is the same. */
bool tc_same(const struct tc_qdisc *asked, const struct tc_qdisc *seen)
{
    struct tc_qdisc copy = *seen;
    char *a = xcalloc(2, TC_REQUEST_MAX), *b = a + TC_REQUEST_MAX;
    bool same = false;

    if (asked->kind == seen->kind) {
        forget_untold(asked, &copy);
        size_t n = tc_encode(asked, a);
        same = n == tc_encode(&copy, b) && memcmp(a, b, n) == 0;
    }
    free(a);
    return same;
}
