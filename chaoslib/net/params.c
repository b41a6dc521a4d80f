/* The tables of the network kinds: what is said once here stands in each of them. */
#include "chaoslib/net/params.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const distributions[] = { "uniform", "normal", "pareto", "paretonormal", NULL };
static const char *const directions[] = { "egress", "ingress", "both", NULL };
static const char *const protocols[] = { "any", "tcp", "udp", "icmp", NULL };
static const char *const modes[] = { "drop", "reject", "reset", NULL };
const char *const net_mechanism_names[] = { "auto", "nftables", "netem", "htb", "nfqueue", NULL };

static const struct param gemodel_rows[] = {
    PARAM(PERCENT, "p", struct net_gemodel, p, .help = "from good to bad, per packet"),
    PARAM(PERCENT, "r", struct net_gemodel, r, .help = "from bad to good; default 100% - p"),
    PARAM(PERCENT, "1-h", struct net_gemodel, h1, .def = "100%", .help = "loss in the bad state"),
    PARAM(PERCENT, "1-k", struct net_gemodel, k1, .def = "0%", .help = "loss in the good state"),
};
static const struct param_table gemodel_table = { .title = "gemodel",
                                                  .rows = gemodel_rows,
                                                  .n = ARRAY_LEN(gemodel_rows) };

static const struct param state_rows[] = {
    PARAM(PERCENT, "p13", struct net_states, p13, .help = "a burst of losses begins"),
    PARAM(PERCENT, "p31", struct net_states, p31, .help = "it ends; default 100% - p13"),
    PARAM(PERCENT, "p32", struct net_states, p32, .help = "something comes through within it"),
    PARAM(PERCENT, "p23", struct net_states, p23, .def = "100%", .help = "and is lost again"),
    PARAM(PERCENT, "p14", struct net_states, p14, .help = "a single loss between bursts"),
};
static const struct param_table state_table = { .title = "state",
                                                .rows = state_rows,
                                                .n = ARRAY_LEN(state_rows) };

#define LATENCY_ROWS                                                                             \
    PARAM(DURATION, "delay", struct net_params, delay_ns, .required = true, .hi = 3600,          \
          .aliases = "time", .help = "added to each packet, in each direction asked for"),       \
        PARAM(DURATION, "jitter", struct net_params, jitter_ns, .def = "0", .hi = 3600,          \
              .help = "how much the delay varies; packets may then overtake each other"),        \
        PARAM(PERCENT, "correlation", struct net_params, correlation, .def = "0%",               \
              .help = "how much a delay is like the one before"),                                \
        PARAM(ENUM, "distribution", struct net_params, distribution, .def = "uniform",           \
              .choices = distributions,                                                          \
              .help = "of the jitter: uniform is within +-jitter, for the others jitter is the " \
                      "deviation"),                                                              \
        PARAM(INT, "limit", struct net_params, limit, .def = "0", .hi = 1000000,                 \
              .help = "packets held at once, more pass undelayed; 0: as many as there are"),

#define LOSS_ROWS                                                                                  \
    PARAM(PERCENT, "percent", struct net_params, percent,                                          \
          .help = "of packets, each by its own draw"),                                             \
        PARAM(PERCENT, "correlation", struct net_params, correlation, .def = "0%",                 \
              .help = "losses in a row, at the same percentage"),                                  \
        PARAM(TABLE, "gemodel", struct net_params, gemodel, .table = &gemodel_table,               \
              .help = "Gilbert-Elliott: p (good to bad), r (bad to good), 1-h (loss in bad), 1-k " \
                      "(loss in good)"),                                                           \
        PARAM(TABLE, "state", struct net_params, state, .table = &state_table,                     \
              .help = "four states: p13, p31, p32, p23, p14"),                                     \
        PARAM(INT, "every", struct net_params, every, .hi = 1000000, .aliases = "nth",             \
              .help = "loses exactly one packet of so many"),                                      \
        PARAM(INT, "packet", struct net_params, packet, .def = "0", .hi = 999999,                  \
              .help = "which of every, counted from 0"),

#define CORRUPT_ROWS                                                               \
    PARAM(PERCENT, "percent", struct net_params, percent, .required = true,        \
          .help = "of packets, in which one bit flips"),                           \
        PARAM(PERCENT, "correlation", struct net_params, correlation, .def = "0%", \
              .help = "hits in a row, at the same percentage"),

#define DUPLICATE_ROWS                                                             \
    PARAM(PERCENT, "percent", struct net_params, percent, .required = true,        \
          .help = "of packets, sent twice"),                                       \
        PARAM(PERCENT, "correlation", struct net_params, correlation, .def = "0%", \
              .help = "hits in a row, at the same percentage"),

#define REORDER_ROWS                                                                        \
    PARAM(PERCENT, "percent", struct net_params, percent, .required = true,                 \
          .help = "of packets, which are sent at once while the others wait"),              \
        PARAM(DURATION, "delay", struct net_params, delay_ns, .required = true, .hi = 3600, \
              .help = "how long the others wait"),                                          \
        PARAM(DURATION, "jitter", struct net_params, jitter_ns, .def = "0", .hi = 3600,     \
              .help = "how much that varies"),                                              \
        PARAM(PERCENT, "correlation", struct net_params, correlation, .def = "0%",          \
              .help = "hits in a row, at the same percentage"),                             \
        PARAM(INT, "gap", struct net_params, gap, .def = "0", .hi = 1000000,                \
              .help = "at most one of so many packets overtakes"),

#define RATE_ROWS                                                                              \
    PARAM(BANDWIDTH, "rate", struct net_params, rate_bits, .required = true,                   \
          .help = "of all that matches, frame headers of 14 bytes included"),                  \
        PARAM(SIZE, "burst", struct net_params, burst_bytes, .def = "0B", .aliases = "buffer", \
              .help = "what goes through at once after a pause"),                              \
        PARAM(SIZE, "limit", struct net_params, limit_bytes, .def = "1MiB",                    \
              .help = "the queue: what is more is lost"),

#define PARTITION_ROWS                                                            \
    PARAM(ENUM, "mode", struct net_params, mode, .def = "drop", .choices = modes, \
          .help = "drop silently, reject by ICMP, or reset TCP (and reject the rest)"),

#define TCP_RESET_ROWS                                                   \
    PARAM(PERCENT, "percent", struct net_params, percent, .def = "100%", \
          .help = "of connections: each is reset when its next packet comes, or left alone"),

#define FILTER_ROWS(direction_)                                                                  \
    PARAM(ENUM, "direction", struct net_params, direction, .def = direction_,                    \
          .choices = directions,                                                                 \
          .help = "of packets, seen from the target: what leaves it, what comes to it, both"),   \
        PARAM(STRS, "peers", struct net_params, peers, .aliases = "target,peer",                 \
              .help = "only to and from these other ends: addresses, CIDRs, host names"),        \
        PARAM(STRS, "dst", struct net_params, dst, .help = "only to these destinations"),        \
        PARAM(STRS, "src", struct net_params, src, .help = "only from these sources"),           \
        PARAM(STRS, "port", struct net_params, port,                                             \
              .help = "only with this port at either end: 80, 8000-8010"),                       \
        PARAM(STRS, "dport", struct net_params, dport, .aliases = "ingress-port",                \
              .help = "only to this port"),                                                      \
        PARAM(STRS, "sport", struct net_params, sport, .aliases = "egress-port",                 \
              .help = "only from this port"),                                                    \
        PARAM(ENUM, "protocol", struct net_params, protocol, .def = "any", .choices = protocols, \
              .aliases = "proto", .help = "only this protocol"),                                 \
        PARAM(ENUM, "mechanism", struct net_params, mechanism, .def = "auto",                    \
              .choices = net_mechanism_names,                                                    \
              .help = "by what it is made; auto takes the best that this kernel has"),

#define IFACE_ROW                                                                \
    PARAM(STR, "interface", struct net_params, iface, .aliases = "iface,device", \
          .help = "only what passes this interface of the target"),

#define PROCESS_ROWS                                                                             \
    PARAM(STR, "process", struct net_params, process, .required = true,                          \
          .help = "a name under processes:, or the program that is running: all in its network " \
                  "namespace"),                                                                  \
        IFACE_ROW
#define HOST_ROWS                                                 \
    PARAM(STR, "host", struct net_params, host, .required = true, \
          .help = "an interface of this machine, or any"),
#define DOCKER_ROWS DOCKER_PARAM(struct net_params, docker), IFACE_ROW

static const struct param latency_process_rows[] = { PROCESS_ROWS LATENCY_ROWS FILTER_ROWS(
    "egress") };
static const struct param latency_docker_rows[] = { DOCKER_ROWS LATENCY_ROWS FILTER_ROWS(
    "egress") };
static const struct param latency_host_rows[] = { HOST_ROWS LATENCY_ROWS FILTER_ROWS("egress") };
static const struct param loss_process_rows[] = { PROCESS_ROWS LOSS_ROWS FILTER_ROWS("egress") };
static const struct param loss_docker_rows[] = { DOCKER_ROWS LOSS_ROWS FILTER_ROWS("egress") };
static const struct param loss_host_rows[] = { HOST_ROWS LOSS_ROWS FILTER_ROWS("egress") };
static const struct param corrupt_process_rows[] = { PROCESS_ROWS CORRUPT_ROWS FILTER_ROWS(
    "egress") };
static const struct param corrupt_docker_rows[] = { DOCKER_ROWS CORRUPT_ROWS FILTER_ROWS(
    "egress") };
static const struct param corrupt_host_rows[] = { HOST_ROWS CORRUPT_ROWS FILTER_ROWS("egress") };
static const struct param duplicate_process_rows[] = { PROCESS_ROWS DUPLICATE_ROWS FILTER_ROWS(
    "egress") };
static const struct param duplicate_docker_rows[] = { DOCKER_ROWS DUPLICATE_ROWS FILTER_ROWS(
    "egress") };
static const struct param duplicate_host_rows[] = { HOST_ROWS DUPLICATE_ROWS FILTER_ROWS(
    "egress") };
static const struct param reorder_process_rows[] = { PROCESS_ROWS REORDER_ROWS FILTER_ROWS(
    "egress") };
static const struct param reorder_docker_rows[] = { DOCKER_ROWS REORDER_ROWS FILTER_ROWS(
    "egress") };
static const struct param reorder_host_rows[] = { HOST_ROWS REORDER_ROWS FILTER_ROWS("egress") };
static const struct param rate_process_rows[] = { PROCESS_ROWS RATE_ROWS FILTER_ROWS("egress") };
static const struct param rate_docker_rows[] = { DOCKER_ROWS RATE_ROWS FILTER_ROWS("egress") };
static const struct param rate_host_rows[] = { HOST_ROWS RATE_ROWS FILTER_ROWS("egress") };
static const struct param partition_process_rows[] = { PROCESS_ROWS PARTITION_ROWS FILTER_ROWS(
    "both") };
static const struct param partition_docker_rows[] = { DOCKER_ROWS PARTITION_ROWS FILTER_ROWS(
    "both") };
static const struct param partition_host_rows[] = { HOST_ROWS PARTITION_ROWS FILTER_ROWS("both") };
static const struct param tcp_reset_process_rows[] = { PROCESS_ROWS TCP_RESET_ROWS FILTER_ROWS(
    "both") };
static const struct param tcp_reset_docker_rows[] = { DOCKER_ROWS TCP_RESET_ROWS FILTER_ROWS(
    "both") };
static const struct param tcp_reset_host_rows[] = { HOST_ROWS TCP_RESET_ROWS FILTER_ROWS("both") };

/* ---- what no row can say alone ---- */

static void check_ports(const struct param_ctx *ctx, const struct doc *d, const char *key,
                        const struct strs *texts)
{
    struct net_ports ports = { 0 };
    struct err err = { 0 };

    for (size_t i = 0; i < texts->n; i++) {
        if (net_ports_add(&ports, texts->v[i], &err) == 0)
            continue;
        diag_add(ctx->diag, doc_get(d, key) ? doc_get(d, key) : d, "%s", err.msg);
        return;
    }
}

static bool has_filter(const struct net_params *p)
{
    return p->peers.n || p->dst.n || p->src.n || p->port.n || p->dport.n || p->sport.n;
}

static void check_filter(const struct param_ctx *ctx, const struct doc *d,
                         const struct net_params *p)
{
    check_ports(ctx, d, "port", &p->port);
    check_ports(ctx, d, "dport", &p->dport);
    check_ports(ctx, d, "sport", &p->sport);
    if ((p->port.n || p->dport.n || p->sport.n) && p->protocol == NET_ICMP)
        diag_add(ctx->diag, d, "icmp has no ports: leave protocol or the port out");
    if (p->host && !has_filter(p))
        diag_add(ctx->diag, d,
                 "this would hit all of this machine's network: add port, dst, src or peers");
}

static void check_common(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    check_filter(ctx, d, base);
}

static void check_jitter(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct net_params *p = base;

    if (p->jitter_ns == 0 && p->correlation > 0 && !doc_get(d, "percent"))
        diag_add(ctx->diag, d, "correlation needs jitter: a constant delay has nothing to vary");
    check_filter(ctx, d, p);
}

static void check_loss(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    static const char *const keys[] = { "percent", "gemodel", "state", "every" };
    struct net_params *p = base;
    unsigned n = 0;

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        n += doc_get(d, keys[i]) != NULL;
    n += doc_get(d, "nth") != NULL;
    if (n != 1)
        diag_add(ctx->diag, d, "%s: give it one of percent, gemodel, state, every",
                 n ? "more than one model of loss" : "how much is lost is missing");
    else if (p->correlation > 0 && !doc_get(d, "percent"))
        diag_add(ctx->diag, d, "correlation belongs to percent: the other models have their own");
    else if (p->packet > 0 && p->packet >= p->every)
        diag_add(ctx->diag, d, "packet counts from 0 and must be less than every");
    check_filter(ctx, d, p);
}

static void check_rate(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct net_params *p = base;

    if (p->rate_bits == 0)
        diag_add(ctx->diag, d, "a rate of nothing is a partition: write  partition: {...}");
    check_filter(ctx, d, p);
}

#define TABLE(title_, effect_, target_, check_)                          \
    {                                                                    \
        .title = "faults[]." title_, .rows = effect_##_##target_##_rows, \
        .n = ARRAY_LEN(effect_##_##target_##_rows), .check = (check_)    \
    }
#define TABLES(title_, effect_, check_)                          \
    {                                                            \
        [NET_PROCESS] = TABLE(title_, effect_, process, check_), \
        [NET_DOCKER] = TABLE(title_, effect_, docker, check_),   \
        [NET_HOST] = TABLE(title_, effect_, host, check_)        \
    }

const struct param_table net_tables[NET_EFFECT_MAX][NET_TARGET_MAX] = {
    [NET_LATENCY] = TABLES("latency", latency, check_jitter),
    [NET_LOSS] = TABLES("loss", loss, check_loss),
    [NET_CORRUPT] = TABLES("corrupt", corrupt, check_common),
    [NET_DUPLICATE] = TABLES("duplicate", duplicate, check_common),
    [NET_REORDER] = TABLES("reorder", reorder, check_jitter),
    [NET_RATE] = TABLES("rate", rate, check_rate),
    [NET_PARTITION] = TABLES("partition", partition, check_common),
    [NET_TCP_RESET] = TABLES("tcp-reset", tcp_reset, check_common),
};

/* ---- from the plan's words to what the holder gets ---- */

static int add_addrs(struct net_addrs *a, const struct strs *texts, const char *key,
                     struct err *err)
{
    for (size_t i = 0; i < texts->n; i++)
        if (net_addrs_add(a, texts->v[i], err) < 0)
            return err_wrap(err, "%s", key);
    return 0;
}

static int add_ports(struct net_ports *p, const struct strs *texts, struct err *err)
{
    for (size_t i = 0; i < texts->n; i++)
        if (net_ports_add(p, texts->v[i], err) < 0)
            return -EINVAL;
    return 0;
}

static int make_filter(const struct net_params *p, struct net_filter *f, struct err *err)
{
    const char *iface = p->host && strcmp(p->host, "any") != 0 ? p->host : p->iface;

    f->proto = (enum net_proto)p->protocol;
    if (iface && strlen(iface) >= sizeof f->iface)
        return err_set(err, ERR_TARGET, EINVAL, "'%s' is too long for an interface", iface);
    snprintf(f->iface, sizeof f->iface, "%s", iface ? iface : "");
    if (add_addrs(&f->peers, &p->peers, "peers", err) < 0 ||
        add_addrs(&f->dst, &p->dst, "dst", err) < 0 ||
        add_addrs(&f->src, &p->src, "src", err) < 0 || add_ports(&f->port, &p->port, err) < 0 ||
        add_ports(&f->dport, &p->dport, err) < 0 || add_ports(&f->sport, &p->sport, err) < 0)
        return -EINVAL;
    return 0;
}

static double or_else(double value, double absent)
{
    return value > 0 ? value : absent;
}

static void make_loss(const struct net_params *p, struct net_shape *s)
{
    const struct net_gemodel *g = &p->gemodel;
    const struct net_states *t = &p->state;
    const double ge[] = { g->p, or_else(g->r, 1 - g->p), g->h1, g->k1 };
    const double state[] = { t->p13, or_else(t->p31, 1 - t->p13), t->p32, t->p23, t->p14 };

    memcpy(s->ge, ge, sizeof ge);
    memcpy(s->state, state, sizeof state);
    s->every = (uint32_t)p->every;
    s->nth = (uint32_t)p->packet;
    s->loss = p->every                   ? NET_NTH
              : g->p > 0                 ? NET_GEMODEL
              : t->p13 > 0 || t->p14 > 0 ? NET_STATE
                                         : NET_RANDOM;
}

int net_fault_make(const struct net_params *p, enum net_effect effect, struct net_fault *ret,
                   struct err *err)
{
    *ret = (struct net_fault){
        .effect = effect,
        .direction = (enum net_direction)(p->direction + 1),
        .shape = { .delay_ns = p->delay_ns,
                   .jitter_ns = p->jitter_ns,
                   .distribution = (enum net_distribution)p->distribution,
                   .correlation = p->correlation,
                   .percent = p->percent,
                   .gap = (uint32_t)p->gap,
                   .rate_bits = p->rate_bits,
                   .burst_bytes = p->burst_bytes,
                   .limit_bytes = p->limit_bytes,
                   .limit = (uint32_t)p->limit,
                   .mode = (enum net_mode)p->mode },
    };
    if (effect == NET_LOSS)
        make_loss(p, &ret->shape);
    snprintf(ret->mechanism, sizeof ret->mechanism, "%s", net_mechanism_names[p->mechanism]);
    return make_filter(p, &ret->filter, err);
}
