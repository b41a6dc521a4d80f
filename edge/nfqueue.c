/* NFQUEUE by netlink (libmnl). Verdicts are many small messages, so they leave in bundles. */
#include "edge/nfqueue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "base/mem.h"

#define FIRST_NUMBER 40000 /* far from what people choose by hand */
#define NUMBERS 200
#define LENGTH_MAX 131072 /* packets held at once */
#define SOCKET_BYTES (64 << 20)
#define READ_BYTES ((size_t)128 << 10)
#define READ_PACKETS_MAX 256 /* then timers have their turn */
#define HEAD_BYTES 64
#define OUT_BYTES ((size_t)32 << 10)
#define MESSAGE_BYTES_MAX ((size_t)72 << 10)
#define REPLY_WAIT_MS 5000

struct nfqueue {
    struct mnl_socket *socket;
    uint16_t number;
    uint32_t seq;
    char *in, *out;
    size_t out_len;
};

static struct nlmsghdr *begin(char *at, uint16_t type, uint16_t queue, uint16_t flags, uint32_t seq)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(at);

    h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type);
    h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    h->nlmsg_seq = seq;
    struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof *g);
    g->nfgen_family = AF_UNSPEC;
    g->version = NFNETLINK_V0;
    g->res_id = htons(queue);
    return h;
}

/* A setting, with the kernel's answer: 0 or -errno. */
static int settle(struct nfqueue *q, const struct nlmsghdr *h)
{
    struct pollfd p = { .fd = mnl_socket_get_fd(q->socket), .events = POLLIN };

    if (mnl_socket_sendto(q->socket, h, h->nlmsg_len) < 0)
        return -errno;
    for (;;) {
        if (poll(&p, 1, REPLY_WAIT_MS) <= 0)
            return -ETIMEDOUT;
        ssize_t len = mnl_socket_recvfrom(q->socket, q->in, READ_BYTES);
        const struct nlmsghdr *a = (const void *)q->in;
        for (int left = (int)len; mnl_nlmsg_ok(a, left); a = mnl_nlmsg_next(a, &left))
            if (a->nlmsg_type == NLMSG_ERROR && a->nlmsg_seq == h->nlmsg_seq)
                return ((const struct nlmsgerr *)mnl_nlmsg_get_payload(a))->error;
    }
}

static int bind_number(struct nfqueue *q, uint16_t number)
{
    char bytes[256];
    struct nlmsghdr *h = begin(bytes, NFQNL_MSG_CONFIG, number, NLM_F_ACK, ++q->seq);
    const struct nfqnl_msg_config_cmd cmd = { .command = NFQNL_CFG_CMD_BIND };

    mnl_attr_put(h, NFQA_CFG_CMD, sizeof cmd, &cmd);
    return settle(q, h);
}

static int configure(struct nfqueue *q, const struct nfqueue_opts *opts)
{
    char bytes[256];
    struct nlmsghdr *h = begin(bytes, NFQNL_MSG_CONFIG, q->number, NLM_F_ACK, ++q->seq);
    const struct nfqnl_msg_config_params params = {
        .copy_range = htonl(opts->payload ? 0xffff : HEAD_BYTES),
        .copy_mode = NFQNL_COPY_PACKET,
    };
    uint32_t flags = NFQA_CFG_F_FAIL_OPEN | (opts->gso ? NFQA_CFG_F_GSO : 0);

    mnl_attr_put(h, NFQA_CFG_PARAMS, sizeof params, &params);
    mnl_attr_put_u32(h, NFQA_CFG_FLAGS, htonl(flags));
    mnl_attr_put_u32(h, NFQA_CFG_MASK, htonl(NFQA_CFG_F_FAIL_OPEN | NFQA_CFG_F_GSO));
    mnl_attr_put_u32(h, NFQA_CFG_QUEUE_MAXLEN, htonl(LENGTH_MAX));
    return settle(q, h);
}

/* A number that another program has is refused with EPERM or EBUSY: then the next. */
static int take_number(struct nfqueue *q, struct err *err)
{
    int rc = -EPERM;

    for (unsigned i = 0; i < NUMBERS; i++) {
        q->number = (uint16_t)(FIRST_NUMBER + i);
        rc = bind_number(q, q->number);
        if (rc == 0)
            return 0;
        if (rc != -EPERM && rc != -EBUSY && rc != -EEXIST)
            break;
    }
    return err_sys(err, ERR_INJECT, -rc, "no netfilter queue is to be had (nfnetlink_queue, root)");
}

struct nfqueue *nfqueue_open(const struct nfqueue_opts *opts, struct err *err)
{
    struct nfqueue *q = xcalloc(1, sizeof *q);
    int size = SOCKET_BYTES, on = 1;

    q->in = xcalloc(1, READ_BYTES);
    q->out = xcalloc(1, OUT_BYTES + MESSAGE_BYTES_MAX);
    q->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (!q->socket || mnl_socket_bind(q->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
        err_sys(err, ERR_INJECT, errno, "cannot talk to netfilter's queues");
        nfqueue_close(q);
        return NULL;
    }
    setsockopt(nfqueue_fd(q), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    setsockopt(nfqueue_fd(q), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    mnl_socket_setsockopt(q->socket, NETLINK_NO_ENOBUFS, &on, sizeof on);
    if (take_number(q, err) < 0) {
        nfqueue_close(q);
        return NULL;
    }
    int rc = configure(q, opts);
    if (rc < 0) {
        err_sys(err, ERR_INJECT, -rc, "netfilter refuses the settings of queue %u", q->number);
        nfqueue_close(q);
        return NULL;
    }
    return q;
}

void nfqueue_close(struct nfqueue *q)
{
    if (!q)
        return;
    if (q->socket)
        mnl_socket_close(q->socket);
    free(q->in);
    free(q->out);
    free(q);
}

uint16_t nfqueue_number(const struct nfqueue *q)
{
    return q->number;
}

int nfqueue_fd(const struct nfqueue *q)
{
    return mnl_socket_get_fd(q->socket);
}

/* ---- packets in ---- */

static bool parse(const struct nlmsghdr *h, struct nfqueue_packet *ret)
{
    const struct nlattr *a = mnl_nlmsg_get_payload_offset(h, sizeof(struct nfgenmsg));
    const char *end = mnl_nlmsg_get_payload_tail(h);
    bool has_header = false;

    *ret = (struct nfqueue_packet){ 0 };
    for (; mnl_attr_ok(a, (int)(end - (const char *)a)); a = mnl_attr_next(a)) {
        uint16_t len = mnl_attr_get_payload_len(a);
        const void *value = mnl_attr_get_payload(a);
        uint16_t type = mnl_attr_get_type(a);
        if (type == NFQA_PACKET_HDR && len >= sizeof(struct nfqnl_msg_packet_hdr)) {
            const struct nfqnl_msg_packet_hdr *p = value;
            ret->id = ntohl(p->packet_id);
            ret->hook = p->hook;
            has_header = true;
        } else if (type == NFQA_PAYLOAD) {
            ret->payload = value;
            ret->payload_len = len;
        } else if (type == NFQA_CAP_LEN && len >= sizeof(uint32_t)) {
            ret->len = ntohl(mnl_attr_get_u32(a));
        }
    }
    ret->len = MAX(ret->len, ret->payload_len);
    return has_header;
}

/* Errors of verdicts come here, too: of packets that the kernel has flushed meanwhile. */
static size_t hand_out(const struct nfqueue *q, ssize_t len, nfqueue_fn *fn, void *arg)
{
    const struct nlmsghdr *h = (const void *)q->in;
    struct nfqueue_packet p;
    size_t n = 0;

    for (int left = (int)len; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
        if (h->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET) || !parse(h, &p))
            continue;
        fn(arg, &p);
        n++;
    }
    return n;
}

size_t nfqueue_read(struct nfqueue *q, nfqueue_fn *fn, void *arg)
{
    size_t n = 0;

    while (n < READ_PACKETS_MAX) {
        ssize_t len = recv(nfqueue_fd(q), q->in, READ_BYTES, MSG_DONTWAIT);
        if (len < 0 && errno == EINTR)
            continue;
        if (len <= 0)
            break;
        n += hand_out(q, len, fn, arg);
    }
    return n;
}

/* ---- verdicts out ---- */

void nfqueue_flush(struct nfqueue *q)
{
    if (q->out_len && mnl_socket_sendto(q->socket, q->out, q->out_len) < 0)
        err_ignore(-errno, "what is held stays so until the queue is closed");
    q->out_len = 0;
}

static void decide(struct nfqueue *q, uint16_t type, uint32_t id, uint32_t verdict,
                   const uint8_t *payload, size_t len)
{
    struct nlmsghdr *h = begin(q->out + q->out_len, type, q->number, 0, 0);
    const struct nfqnl_msg_verdict_hdr v = { .verdict = htonl(verdict), .id = htonl(id) };

    mnl_attr_put(h, NFQA_VERDICT_HDR, sizeof v, &v);
    if (payload)
        mnl_attr_put(h, NFQA_PAYLOAD, len, payload);
    q->out_len += MNL_ALIGN(h->nlmsg_len);
    if (q->out_len >= OUT_BYTES)
        nfqueue_flush(q);
}

void nfqueue_accept(struct nfqueue *q, uint32_t id)
{
    decide(q, NFQNL_MSG_VERDICT, id, NF_ACCEPT, NULL, 0);
}

void nfqueue_accept_changed(struct nfqueue *q, uint32_t id, const uint8_t *payload, size_t len)
{
    decide(q, NFQNL_MSG_VERDICT, id, NF_ACCEPT, payload, MIN(len, (size_t)UINT16_MAX - NLA_HDRLEN));
}

void nfqueue_drop(struct nfqueue *q, uint32_t id)
{
    decide(q, NFQNL_MSG_VERDICT, id, NF_DROP, NULL, 0);
}

void nfqueue_accept_until(struct nfqueue *q, uint32_t id)
{
    decide(q, NFQNL_MSG_VERDICT_BATCH, id, NF_ACCEPT, NULL, 0);
    nfqueue_flush(q);
}
