/* Inside the target's network namespace: an nftables table of ours sends each UDP query that leaves
 * (port 53) to our packet queue, before connection tracking and before anybody's NAT. What
 * does not concern us goes on as it was, to whom it was meant for, through Docker's rules if there
 * are any. A query that is hit becomes its own answer: the packet is turned round and goes back to
 * the one who asked.
 *
 * No connection is steered and no state is left anywhere: the table and the queue end with this
 * process, and the next query simply leaves. The answer is kept out of connection tracking, since a
 * connection that seems to begin at the server's end would make the next query of the same socket
 * pass Docker's NAT by.
 *
 * Over TCP a query is a part of a stream, so connections that begin are redirected to us (stream.c)
 * and those that are open are reset once, so that they come back through us. */
#include "chaoslib/dns/holder.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "chaoslib/dns/packet.h"
#include "chaoslib/dns/rules.h"
#include "chaoslib/dns/stream.h"
#include "edge/nft.h"
#include "edge/packet_queue.h"

#define DNS_PORT 53
#define ANSWER_MARK UINT32_C(0x5ca1ab1e)
#define OWN_MARK UINT32_C(0x5ca1ab1f) /* as redirect's, which then leaves us alone, too */
#define PRIO_QUERIES (-310)           /* conntrack is -200 */
#define PRIO_ANSWERS (-305)
#define STREAM_MARK UINT32_C(0x5ca1ab1d)
/* Several faults at once have a place each, in the order in which they began, and marks of their
 * own by it: the later is asked first, and what it asks itself is asked of the earlier. */
#define PLACES_MAX 8
#define OF_PLACE(mark, place) ((mark) + UINT32_C(0x100) * (place))
#define PRIO_MARKS (-150)
#define PRIO_NAT (-110) /* before Docker's */
#define HELD_MAX 1024
#define PROBE_NS (3 * NS_PER_SEC)
#define STREAM_PREFIX ((size_t)2) /* a message's length before it, over TCP */

struct held {
    STAILQ_ENTRY(held) link;
    uint64_t due_ns;
    uint32_t id;
    bool swallow;
    size_t n;
    uint8_t packet[DNS_REPLY_MAX + DNS_PACKET_HEADERS_MAX];
};

struct holder {
    struct dns_rules rules;
    struct nft *nft;
    struct packet_queue *queue;
    uint16_t queue_number;
    char table[NFT_NAME_MAX];
    STAILQ_HEAD(, held) held; /* one delay for all: in the order in which they are due */
    unsigned n_held;
    struct dns_streams *streams;
    struct dns_probe probe;
    unsigned place;
    bool is_in;
    uint64_t out_ns;
    uint64_t in_ns; /* the kernel switches early in its call and answers milliseconds later */
};

/* ---- packets ---- */

static void release(struct holder *h, struct held *x)
{
    if (x->swallow)
        packet_drop(h->queue, x->id);
    else
        packet_replace(h->queue, x->id, ANSWER_MARK, x->packet, x->n);
    free(x);
}

/* Those that are due by then; returns when the next one is, 0: none waits. */
static uint64_t release_due(struct holder *h, uint64_t now_ns)
{
    struct held *x;

    while ((x = STAILQ_FIRST(&h->held)) && x->due_ns <= now_ns) {
        STAILQ_REMOVE_HEAD(&h->held, link);
        h->n_held--;
        release(h, x);
    }
    return x ? x->due_ns : 0;
}

static void hold(struct holder *h, struct held *x, uint64_t delay_ns, uint64_t now_ns)
{
    x->due_ns = now_ns + delay_ns;
    if (delay_ns == 0 || h->n_held == HELD_MAX) {
        release(h, x);
        return;
    }
    STAILQ_INSERT_TAIL(&h->held, x, link);
    h->n_held++;
}

static uint16_t source_port(const struct dns_packet *p)
{
    uint16_t port;

    memcpy(&port, p->payload - 8, sizeof(port)); /* the first field of UDP's header */
    return port;
}

static void on_packet(void *arg, uint32_t id, const uint8_t *packet, size_t len)
{
    struct holder *h = arg;
    struct dns_answer answer;
    struct dns_packet p;
    uint64_t now = clock_now_ns();

    if (dns_packet_parse(packet, len, &p) < 0) {
        packet_pass(h->queue, id);
        return;
    }
    struct dns_query query = { .msg = p.payload,
                               .len = p.n_payload,
                               .to_loopback = p.to_loopback,
                               .is_probe = h->probe.port && source_port(&p) == h->probe.port,
                               .now_ns = now };
    enum dns_verdict v = dns_judge(&h->rules, &query, &answer);
    if (v == DNS_PASS) {
        packet_pass(h->queue, id);
        return;
    }
    h->probe.seen |= query.is_probe;
    struct held *x = xcalloc(1, sizeof(*x));
    x->id = id;
    x->swallow = v == DNS_SWALLOW;
    if (!x->swallow)
        x->n = dns_packet_turn(packet, &p, answer.bytes, answer.n, x->packet, sizeof(x->packet));
    hold(h, x, query.is_probe || x->swallow ? 0 : h->rules.delay_ns, now);
}

static uint64_t serve_streams(struct holder *h, uint64_t now, uint64_t due)
{
    uint64_t next = dns_streams_serve(h->streams, now);

    return next && (!due || next < due) ? next : due;
}

/* Serves packets until `fd` is readable (true) or the instant has come; 0: no such instant. */
static bool serve(struct holder *h, int fd, uint64_t until_ns)
{
    struct pollfd p[3] = { { .fd = fd, .events = POLLIN },
                           { .fd = packet_queue_fd(h->queue), .events = POLLIN },
                           { .fd = dns_streams_fd(h->streams), .events = POLLIN } };
    struct err err = { 0 };

    for (;;) {
        uint64_t now = clock_now_ns(), due = serve_streams(h, now, release_due(h, now));
        uint64_t next = due && (!until_ns || due < until_ns) ? due : until_ns;
        if (until_ns && now >= until_ns)
            return false;
        struct timespec wait = { 0 };
        if (next > now) {
            wait.tv_sec = (time_t)((next - now) / NS_PER_SEC);
            wait.tv_nsec = (long)((next - now) % NS_PER_SEC);
        }
        int n = ppoll(p, ARRAY_LEN(p), next ? &wait : NULL, NULL);
        if (n < 0 && errno != EINTR)
            return true;
        if (n > 0 && p[1].revents)
            err_ignore(packet_queue_read(h->queue, on_packet, h, &err),
                       "what is broken for good shows in the next probe");
        if (n > 0 && p[0].revents)
            return true;
    }
}

/* ---- in, out, and looking ---- */

static void add_chain(const struct holder *h, struct nft_batch *b, const char *name,
                      const char *type, int prio)
{
    nft_add_chain(b, &(struct nft_chain){ .family = NFT_INET,
                                          .table = h->table,
                                          .name = name,
                                          .type = type,
                                          .hook = NFT_OUTPUT,
                                          .prio = prio });
}

static struct nft_rule *rule_for(const struct holder *h, struct nft_batch *b, const char *chain,
                                 uint8_t proto)
{
    struct nft_rule *r = nft_add_rule(b, NFT_INET, h->table, chain);
    uint16_t port = htons(DNS_PORT);

    nft_match_l4proto(r, proto);
    nft_match_bytes(r, (struct nft_bytes){ NFT_TRANSPORT_HEADER, 2, 2 }, NFT_EQ, &port);
    return r;
}

static void steer_packets(const struct holder *h, struct nft_batch *b, bool compat)
{
    add_chain(h, b, "queries", "filter", PRIO_QUERIES);
    add_chain(h, b, "answers", "filter", PRIO_ANSWERS);
    nft_queue(rule_for(h, b, "queries", IPPROTO_UDP), h->queue_number, compat);
    struct nft_rule *r = nft_add_rule(b, NFT_INET, h->table, "answers");
    nft_match_mark(r, NFT_EQ, ANSWER_MARK);
    nft_notrack(r);
}

/* Connections to names that are for us: not our own, nor an earlier one's, nor those that a later
 * one takes. */
static void mark_streams(const struct holder *h, struct nft_rule *r)
{
    for (unsigned i = 0; i < PLACES_MAX; i++)
        nft_match_mark(r, NFT_NEQ, OF_PLACE(i <= h->place ? OWN_MARK : STREAM_MARK, i));
    nft_set_mark(r, OF_PLACE(STREAM_MARK, h->place));
}

/* What was for port 53, is not ours and does not lead to us after NAT, was open before: Docker's
 * rules take it elsewhere by then, so a mark has to remember what it was. */
static void steer_streams(const struct holder *h, struct nft_batch *b)
{
    static const int families[] = { AF_INET, AF_INET6 };
    static const uint8_t syn_and_ack = 0x12, syn = 0x02;
    const uint32_t mark = OF_PLACE(STREAM_MARK, h->place);

    add_chain(h, b, "marks", "filter", PRIO_MARKS);
    add_chain(h, b, "streams", "nat", PRIO_NAT);
    add_chain(h, b, "open", "filter", 0);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        uint16_t port = dns_streams_port(h->streams, families[i]), wire = htons(port);
        if (port == 0)
            continue;
        struct nft_rule *r = rule_for(h, b, "marks", IPPROTO_TCP);
        nft_match_family(r, families[i]);
        mark_streams(h, r);
        r = rule_for(h, b, "streams", IPPROTO_TCP);
        nft_match_family(r, families[i]);
        nft_match_mark(r, NFT_EQ, mark);
        nft_match_masked(r, (struct nft_bytes){ NFT_TRANSPORT_HEADER, 13, 1 }, &syn_and_ack, NFT_EQ,
                         &syn);
        nft_redirect(r, port);
        r = nft_add_rule(b, NFT_INET, h->table, "open");
        nft_match_family(r, families[i]);
        nft_match_l4proto(r, IPPROTO_TCP);
        nft_match_mark(r, NFT_EQ, mark);
        nft_match_bytes(r, (struct nft_bytes){ NFT_TRANSPORT_HEADER, 2, 2 }, NFT_NEQ, &wire);
        nft_reject(r, true);
    }
}

static void take_place(struct holder *h, unsigned place)
{
    h->place = place;
    snprintf(h->table, sizeof(h->table), "chaos-load-dns-%u", place);
    dns_streams_mark(h->streams, OF_PLACE(OWN_MARK, place));
}

/* 1: someone took that place meanwhile. */
static int put_in_there(struct holder *h, struct err *err)
{
    int rc = -EIO;

    for (int compat = 0; compat < 2 && rc < 0; compat++) {
        struct nft_batch *b = nft_batch_new(h->nft);
        nft_add_table(b, NFT_INET, h->table);
        steer_packets(h, b, compat);
        steer_streams(h, b);
        h->in_ns = clock_now_ns();
        rc = nft_commit(b, err);
        nft_batch_free(b);
    }
    return rc < 0 && nft_has_table(NFT_INET, h->table, NULL) == 0 ? 1 : rc;
}

/* After all that are there; the kernel lets no two have one place. */
static int put_in(struct holder *h, struct err *err)
{
    unsigned place = PLACES_MAX;
    int rc = 1;

    while (rc == 1 && place > 0) {
        take_place(h, place - 1);
        rc = nft_has_table(NFT_INET, h->table, err);
        place -= rc == 1;
    }
    for (rc = rc < 0 ? rc : 1; rc == 1; place++) {
        if (place == PLACES_MAX)
            return err_set(err, ERR_INJECT, EBUSY, "%d faults of names are at work there already",
                           PLACES_MAX);
        take_place(h, place);
        rc = put_in_there(h, err);
    }
    h->is_in = rc == 0;
    if (rc == 0)
        err_clear(err);
    return rc < 0 ? err_wrap(err, "queries cannot be steered to user space") : 0;
}

static int open_probe(struct holder *h, int type, struct err *err)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(DNS_PORT) };
    struct sockaddr_in self = { 0 };
    socklen_t len = sizeof(self);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        getsockname(fd, (struct sockaddr *)&self, &len) < 0) {
        err_sys(err, ERR_PROBE, errno, "cannot probe");
        if (fd >= 0)
            close(fd);
        return -EIO;
    }
    h->probe.port = self.sin_port;
    return fd;
}

static int await_answer(struct holder *h, int fd, size_t prefix, struct err *err)
{
    uint64_t until = clock_now_ns() + PROBE_NS;
    struct dns_question q;
    struct dns_reply r;
    uint8_t msg[DNS_REPLY_MAX + STREAM_PREFIX];

    if (h->rules.swallow) {
        while (!h->probe.seen && clock_now_ns() < until)
            serve(h, fd, clock_now_ns() + NS_PER_MS);
        return h->probe.seen ? 0 : err_set(err, ERR_PROBE, ETIMEDOUT, "a probe was not swallowed");
    }
    if (!serve(h, fd, until))
        return err_set(err, ERR_PROBE, ETIMEDOUT, "a probe got no answer");
    ssize_t n = recv(fd, msg, sizeof(msg), MSG_DONTWAIT);
    if (n < (ssize_t)prefix)
        return err_sys(err, ERR_PROBE, n < 0 ? errno : ECONNRESET, "a probe got no answer");
    if (!h->probe.seen || dns_reply_parse(msg + prefix, (size_t)n - prefix, &q, &r) < 0 ||
        r.rcode != h->rules.v[0].reply.rcode)
        return err_set(err, ERR_PROBE, EPROTO, "a probe got another answer");
    return 0;
}

/* A query of our own, which must come back as the rules say. */
static int probe_by(struct holder *h, int type, struct err *err)
{
    char name[2 * DNS_PATTERN_MAX];
    uint8_t query[STREAM_PREFIX + DNS_REPLY_MAX];
    size_t prefix = type == SOCK_STREAM ? STREAM_PREFIX : 0;

    dns_probe_name(&h->rules, name);
    size_t n = dns_query_build(1, name, DNS_A, query + prefix, DNS_REPLY_MAX);
    if (n == 0)
        return 0; /* no name that can be asked for: the kernel's word must do */
    if (prefix) {
        query[0] = (uint8_t)(n >> 8);
        query[1] = (uint8_t)n;
    }
    h->probe.seen = false;
    auto_close int fd = open_probe(h, type, err);
    if (fd < 0)
        return fd;
    int rc = send(fd, query, prefix + n, MSG_NOSIGNAL) == (ssize_t)(prefix + n)
                 ? await_answer(h, fd, prefix, err)
                 : err_sys(err, ERR_PROBE, errno, "cannot send a probe");
    h->probe.port = 0;
    return rc;
}

static int probe(struct holder *h, struct err *err)
{
    if (probe_by(h, SOCK_DGRAM, err) < 0)
        return err_wrap(err, "over UDP");
    return probe_by(h, SOCK_STREAM, err) < 0 ? err_wrap(err, "over TCP") : 0;
}

/* First nobody new comes, then connections end while NAT still takes their last words back, and
 * then the table goes. What is still held is answered at once. */
static int take_out(struct holder *h, struct err *err)
{
    static const char *const chains[] = { "queries", "marks", "streams", "open" };
    struct nft_batch *b;

    if (!h->is_in)
        return 0;
    b = nft_batch_new(h->nft);
    for (size_t i = 0; i < ARRAY_LEN(chains); i++)
        nft_flush_chain(b, NFT_INET, h->table, chains[i]);
    int rc = nft_commit(b, err);
    nft_batch_free(b);
    if (rc < 0)
        return rc;
    h->out_ns = clock_now_ns();
    err_ignore(packet_queue_read(h->queue, on_packet, h, err), "the last ones");
    release_due(h, UINT64_MAX);
    dns_streams_end(h->streams);
    rc = nft_remove_table(h->nft, NFT_INET, h->table, err);
    if (rc < 0)
        return rc;
    h->is_in = false;
    rc = nft_has_table(NFT_INET, h->table, err);
    return rc == 0 ? err_set(err, ERR_REVERT, EBUSY, "table %s is still there", h->table)
                   : MIN(rc, 0);
}

/* ---- as a helper ---- */

static int holder_open(struct holder *h, const struct helper_job *job, struct err *err)
{
    STAILQ_INIT(&h->held);
    if (dns_rules_read(job->spec, &h->rules, err) < 0)
        return -EINVAL;
    if (job->n_fds != 1 || setns(job->fds[0], CLONE_NEWNET) < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot enter the network namespace");
    h->queue = packet_queue_open(&h->queue_number, err);
    h->nft = h->queue ? nft_open(err) : NULL;
    h->streams = h->nft ? dns_streams_open(&h->rules, &h->probe, err) : NULL;
    return h->streams ? 0 : -EIO;
}

static void holder_close(struct holder *h)
{
    if (h->queue)
        release_due(h, UINT64_MAX);
    dns_streams_close(h->streams);
    nft_close(h->nft);
    packet_queue_close(h->queue);
    dns_rules_done(&h->rules);
}

static void answer(struct holder *h, const struct json *question)
{
    auto(json) struct json *reply = json_object();
    const char *what = json_str(question, "do", "");
    struct err err = { 0 };
    int rc = 0;

    if (strcmp(what, "in") == 0)
        rc = put_in(h, &err);
    else if (strcmp(what, "probe") == 0)
        rc = probe(h, &err);
    else if (strcmp(what, "out") == 0)
        rc = take_out(h, &err);
    if (rc < 0) {
        helper_reply_error(&err);
        return;
    }
    json_put_u64(reply, "at_ns", strcmp(what, "out") == 0 ? h->out_ns : h->in_ns);
    json_put_u64(reply, "requests", h->rules.n_hit);
    helper_reply(reply);
}

static int run(struct helper_job *job)
{
    struct holder h = { 0 };
    struct err err = { 0 };
    struct json *question;

    if (holder_open(&h, job, &err) < 0) {
        holder_close(&h);
        helper_reply_error(&err);
        return 1;
    }
    helper_reply_ok();
    while (serve(&h, HELPER_FD, 0) && helper_next(clock_now_ns(), &question) != 1) {
        answer(&h, question);
        json_free(question);
    }
    holder_close(&h);
    return 0;
}

const struct helper_role dns_holder_role = { .name = "dns", .run = run };
