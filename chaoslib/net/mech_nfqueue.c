/* The mechanism `nfqueue`: the kernel hands each packet to us, and we say when and how it goes on.
 *
 * Rules in a table of ours lead the packets to a queue of ours, with the bypass: when we end, they
 * pass by themselves. Behind postrouting and before prerouting, so that addresses are those on the
 * wire. A drop here is silent: the sender has long been told that all is well. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "chaoslib/net/held.h"
#include "chaoslib/net/mech.h"
#include "edge/nfqueue.h"
#include "edge/nft.h"

#define PRIO_IN (-150)
#define PRIO_OUT 300
#define COPY_MARK 0x63686c64 /* "chld": our own second copies */
#define STRAGGLERS_NS (5 * NS_PER_MS)
#define NICENESS (-10)
#define BATCH_LATE_NS (20 * NS_PER_US) /* what is due so soon goes along */
#define IP4_HEADER_BYTES 20
#define IP6_HEADER_BYTES 40

struct state {
    struct net_fault fault;
    struct nft *nft;
    struct nfqueue *queue;
    char table[NFT_NAME_MAX];
    bool compat; /* the target of xtables instead of nft's own expression */
    bool in_order;
    struct net_model egress, ingress;
    struct held held;
    int raw4, raw6; /* for second copies */
    uint64_t now_ns;
    uint64_t seen, lost, changed, copied;
};

static const char *nfqueue_cannot(const struct net_fault *f)
{
    if (f->effect == NET_TCP_RESET || (f->effect == NET_PARTITION && f->shape.mode != NET_DROP))
        return "it does not reject";
    if (f->effect == NET_DUPLICATE && f->direction != NET_EGRESS)
        return "a second copy can only be sent, not received: direction: egress";
    return NULL;
}

/* ---- rules ---- */

static void add_direction(struct nft_batch *b, const struct state *s, enum net_direction d)
{
    bool leaves = d == NET_EGRESS;
    const char *from = leaves ? "egress" : "ingress", *to = leaves ? "hit-egress" : "hit-ingress";

    nft_add_chain(b, &(struct nft_chain){
                         .family = NFT_INET,
                         .table = s->table,
                         .name = from,
                         .type = "filter",
                         .hook = leaves ? NFT_POSTROUTING : NFT_PREROUTING,
                         .prio = leaves ? PRIO_OUT : PRIO_IN,
                     });
    nft_add_chain(b, &(struct nft_chain){ .family = NFT_INET, .table = s->table, .name = to });
    struct nft_rule *r = nft_add_rule(b, NFT_INET, s->table, to);
    nft_counter(r);
    nft_queue(r, nfqueue_number(s->queue), s->compat);
    net_match_add(b, &s->fault.filter,
                  &(struct net_match){ .family = NFT_INET,
                                       .table = s->table,
                                       .from = from,
                                       .to = to,
                                       .direction = d,
                                       .skip_mark = COPY_MARK });
}

/* Whether the kernel takes such a rule; in a chain that nothing leads to. */
static int try_rule(const struct net_fault *f, bool compat, struct err *err)
{
    struct net_fault probe = *f;
    char table[NFT_NAME_MAX];
    struct nft *n = nft_open(err);

    if (!n)
        return -EIO;
    snprintf(probe.tag, sizeof probe.tag, "probe-%.16s", f->tag);
    net_table_name(&probe, table);
    struct nft_batch *b = nft_batch_new(n);
    nft_add_table(b, NFT_INET, table);
    nft_add_chain(b, &(struct nft_chain){ .family = NFT_INET, .table = table, .name = "x" });
    nft_queue(nft_add_rule(b, NFT_INET, table, "x"), 1, compat);
    int rc = nft_commit(b, err);
    nft_batch_free(b);
    nft_close(n);
    return rc;
}

static int nfqueue_probe(const struct net_fault *f, struct err *err)
{
    struct nfqueue *q;
    struct err own = { 0 };

    if (try_rule(f, false, &own) < 0 && try_rule(f, true, err) < 0)
        return err_wrap(err, "neither nft's queue nor xtables' NFQUEUE is there");
    q = nfqueue_open(&(struct nfqueue_opts){ 0 }, err);
    nfqueue_close(q);
    return q ? 0 : -EIO;
}

/* ---- packets ---- */

static bool changes_packets(const struct net_fault *f)
{
    return f->effect == NET_CORRUPT || f->effect == NET_DUPLICATE;
}

static size_t header_bytes(const struct nfqueue_packet *p)
{
    bool v4 = p->payload_len && p->payload[0] >> 4 == 4;

    return v4 ? MAX((size_t)(p->payload[0] & 0x0f) * 4, (size_t)IP4_HEADER_BYTES)
              : IP6_HEADER_BYTES;
}

/* One bit behind the IP header, so that it is the receiver's checksum which notices. */
static void corrupt(struct state *s, struct net_model *m, const struct nfqueue_packet *p)
{
    auto_free uint8_t *copy = xcalloc(1, p->payload_len + 1);
    size_t head = header_bytes(p);

    memcpy(copy, p->payload, p->payload_len);
    if (p->payload_len > head) {
        uint64_t bit = rng_below(&m->rng, 8 * (p->payload_len - head));
        copy[head + bit / 8] ^= (uint8_t)(1u << bit % 8);
        s->changed++;
    }
    nfqueue_accept_changed(s->queue, p->id, copy, p->payload_len);
}

static void send_copy(struct state *s, const struct nfqueue_packet *p)
{
    struct sockaddr_in to4 = { .sin_family = AF_INET };
    struct sockaddr_in6 to6 = { .sin6_family = AF_INET6 };
    bool v4 = p->payload_len >= IP4_HEADER_BYTES && p->payload[0] >> 4 == 4;
    ssize_t n = -1;

    if (v4) {
        memcpy(&to4.sin_addr, p->payload + 16, 4);
        n = sendto(s->raw4, p->payload, p->payload_len, 0, (const void *)&to4, sizeof to4);
    } else if (p->payload_len >= IP6_HEADER_BYTES) {
        memcpy(&to6.sin6_addr, p->payload + 24, 16);
        n = sendto(s->raw6, p->payload, p->payload_len, 0, (const void *)&to6, sizeof to6);
    }
    s->copied += n >= 0;
}

static void on_packet(void *arg, const struct nfqueue_packet *p)
{
    struct state *s = arg;
    struct net_model *m = p->hook == NFT_POSTROUTING ? &s->egress : &s->ingress;
    struct net_verdict v = net_model_next(m, s->fault.effect, s->now_ns, p->len);

    s->seen++;
    if (s->fault.effect == NET_PARTITION)
        v.drop = true;
    if (v.drop) {
        s->lost++;
        nfqueue_drop(s->queue, p->id);
        return;
    }
    if (v.corrupt) {
        corrupt(s, m, p);
        return;
    }
    if (v.duplicate)
        send_copy(s, p);
    bool full = s->fault.shape.limit && s->held.n >= s->fault.shape.limit;
    if (v.release_ns <= s->now_ns || full) {
        nfqueue_accept(s->queue, p->id);
        return;
    }
    held_push(&s->held, &(struct held_packet){ .release_ns = v.release_ns, .id = p->id });
}

/* What is due goes on, in one message where all of it came before all that stays. */
static void release(struct state *s, uint64_t until_ns)
{
    const struct held_packet *first = held_first(&s->held);
    uint32_t last = 0;
    bool any = false;

    while (first && first->release_ns <= until_ns) {
        struct held_packet p = held_pop(&s->held);
        if (!s->in_order)
            nfqueue_accept(s->queue, p.id);
        last = p.id;
        any = true;
        first = held_first(&s->held);
    }
    if (any && s->in_order)
        nfqueue_accept_until(s->queue, last);
}

static uint64_t nfqueue_serve(void *state, uint64_t now_ns)
{
    struct state *s = state;
    size_t n;

    s->now_ns = now_ns;
    release(s, now_ns + BATCH_LATE_NS);
    do {
        n = nfqueue_read(s->queue, on_packet, s);
        s->now_ns = clock_now_ns();
        release(s, s->now_ns + BATCH_LATE_NS);
        nfqueue_flush(s->queue);
    } while (n > 0);
    const struct held_packet *first = held_first(&s->held);
    return first ? first->release_ns : 0;
}

static int nfqueue_poll_fd(const void *state)
{
    return nfqueue_fd(((const struct state *)state)->queue);
}

/* ---- the steps ---- */

static int open_raw(int family, struct err *err)
{
    int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW), on = 1;
    uint32_t mark = COPY_MARK;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0 ||
        (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_HDRINCL, &on, sizeof on) < 0)) {
        if (fd >= 0)
            close(fd);
        return err_sys(err, ERR_INJECT, errno, "cannot open a raw socket for second copies");
    }
    return fd;
}

static int open_parts(struct state *s, struct err *err)
{
    const struct net_fault *f = &s->fault;
    struct err own = { 0 };

    s->compat = try_rule(f, false, &own) < 0;
    s->nft = nft_open(err);
    if (!s->nft)
        return -EIO;
    s->queue = nfqueue_open(
        &(struct nfqueue_opts){ .payload = changes_packets(f), .gso = f->effect == NET_LATENCY },
        err);
    if (!s->queue)
        return -EIO;
    if (f->effect != NET_DUPLICATE)
        return 0;
    s->raw4 = open_raw(AF_INET, err);
    s->raw6 = s->raw4 < 0 ? -1 : open_raw(AF_INET6, err);
    return s->raw6 < 0 ? -EIO : 0;
}

/* Precise wake-ups; a busy machine must not make the fault longer than it is. The lowest priority
 * of real time goes before all that has none, so it is not the load that decides when a packet goes
 * on. Packets that nobody sends cost nothing, and the kernel leaves others 5 % of each second. */
static void wake_in_time(void)
{
    const struct sched_param lowest = { .sched_priority = sched_get_priority_min(SCHED_FIFO) };

    prctl(PR_SET_TIMERSLACK, 1);
    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest) < 0)
        err_ignore(setpriority(PRIO_PROCESS, 0, NICENESS), "then as well as we can");
}

/* What is left to do is of no hurry, and must not keep users from recovering. */
static void be_as_others(void)
{
    const struct sched_param none = { .sched_priority = 0 };

    err_ignore(sched_setscheduler(0, SCHED_OTHER, &none), "then it ends soon, all the same");
    err_ignore(setpriority(PRIO_PROCESS, 0, 0), "as above");
}

static int nfqueue_mech_open(const struct net_fault *f, void **ret_state, struct err *err)
{
    struct state *s = xcalloc(1, sizeof *s);

    *ret_state = s;
    s->fault = *f;
    s->raw4 = s->raw6 = -1;
    s->in_order = f->effect == NET_LATENCY && f->shape.jitter_ns == 0 && f->shape.limit == 0;
    net_table_name(f, s->table);
    net_model_init(&s->egress, f, NET_EGRESS);
    net_model_init(&s->ingress, f, NET_INGRESS);
    return open_parts(s, err);
}

static int nfqueue_inject(void *state, struct err *err)
{
    struct state *s = state;
    struct nft_batch *b = nft_batch_new(s->nft);

    nft_add_table(b, NFT_INET, s->table);
    if (s->fault.direction & NET_EGRESS)
        add_direction(b, s, NET_EGRESS);
    if (s->fault.direction & NET_INGRESS)
        add_direction(b, s, NET_INGRESS);
    wake_in_time();
    int rc = nft_commit(b, err);
    nft_batch_free(b);
    return rc;
}

static int nfqueue_verify(void *state, bool in, struct json *evidence, struct err *err)
{
    struct state *s = state;
    int rc = nft_has_table(NFT_INET, s->table, err);

    json_put_str(evidence, "table", s->table);
    json_put_u64(evidence, "queue", nfqueue_number(s->queue));
    json_put_u64(evidence, "packets", s->seen);
    json_put_u64(evidence, "lost", s->lost);
    json_put_u64(evidence, "changed", s->changed);
    json_put_u64(evidence, "copied", s->copied);
    if (rc < 0)
        return rc;
    if ((rc == 0) != in)
        return err_set(err, in ? ERR_INJECT : ERR_REVERT, EIO, "nftables table '%s' is %s",
                       s->table, in ? "not there" : "still there");
    if (!in && s->held.n)
        return err_set(err, ERR_REVERT, EIO, "%zu packets are still held", s->held.n);
    return 0;
}

/* All rules first, with the hooks still there: taking a hook away would lose all that is held. */
static int stop_taking(struct state *s, struct err *err)
{
    struct nft_batch *b = nft_batch_new(s->nft);

    if (s->fault.direction & NET_EGRESS)
        nft_flush_chain(b, NFT_INET, s->table, "egress");
    if (s->fault.direction & NET_INGRESS)
        nft_flush_chain(b, NFT_INET, s->table, "ingress");
    int rc = nft_commit(b, err);
    nft_batch_free(b);
    return rc;
}

/* Those held go on when it is their time; after the limit all at once, in order. */
static void drain(struct state *s, uint64_t drain_ns)
{
    uint64_t now = clock_now_ns(), end = now + MAX(drain_ns, STRAGGLERS_NS);
    uint64_t stragglers = now + STRAGGLERS_NS;

    while (now < end && (s->held.n || now < stragglers)) {
        uint64_t next = nfqueue_serve(s, now);
        uint64_t until = MIN(end, next ? next : stragglers);
        now = clock_now_ns();
        uint64_t wait = until > now ? until - now : 0;
        struct timespec ts = { .tv_sec = (time_t)(wait / NS_PER_SEC),
                               .tv_nsec = (long)(wait % NS_PER_SEC) };
        struct pollfd p = { .fd = nfqueue_fd(s->queue), .events = POLLIN };
        err_ignore(ppoll(&p, 1, &ts, NULL), "an early end only looks again");
        now = clock_now_ns();
    }
    nfqueue_serve(s, now);
    release(s, UINT64_MAX);
    nfqueue_flush(s->queue);
}

static int nfqueue_revert(void *state, uint64_t drain_ns, struct err *err)
{
    struct state *s = state;
    int rc = nft_has_table(NFT_INET, s->table, err);

    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (stop_taking(s, err) < 0)
        return -EIO;
    drain(s, drain_ns);
    be_as_others();
    return nft_remove_table(s->nft, NFT_INET, s->table, err);
}

static void nfqueue_mech_close(void *state)
{
    struct state *s = state;

    nft_close(s->nft);
    nfqueue_close(s->queue);
    if (s->raw4 >= 0)
        close(s->raw4);
    if (s->raw6 >= 0)
        close(s->raw6);
    held_done(&s->held);
    free(s);
}

const struct net_mech net_mech_nfqueue = {
    .name = "nfqueue",
    .summary = "NFQUEUE, by rules that end with us",
    .cannot = nfqueue_cannot,
    .probe = nfqueue_probe,
    .open = nfqueue_mech_open,
    .inject = nfqueue_inject,
    .verify = nfqueue_verify,
    .revert = nfqueue_revert,
    .close = nfqueue_mech_close,
    .fd = nfqueue_poll_fd,
    .serve = nfqueue_serve,
};
