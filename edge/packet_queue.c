/* NFQUEUE by netlink. The socket never blocks; a verdict that the kernel does not take (the packet
 * has gone) is of no consequence. */
#include "edge/packet_queue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <sys/socket.h>

#include "base/mem.h"

#define RECEIVE_BYTES (4 << 20)
#define HELD_MAX 4096
#define MESSAGE_MAX (PACKET_MAX + 4096)

struct packet_queue {
    struct mnl_socket *nl;
    uint16_t number;
    packet_fn *fn; /* of the read that is under way */
    void *arg;
    uint8_t buf[MESSAGE_MAX];
};

static int send_config(struct packet_queue *q, struct nlmsghdr *h, struct err *err)
{
    uint8_t answer[256];

    h->nlmsg_flags |= NLM_F_ACK;
    if (mnl_socket_sendto(q->nl, h, h->nlmsg_len) < 0)
        return err_sys(err, ERR_PREPARE, errno, "packet queue");
    ssize_t n = mnl_socket_recvfrom(q->nl, answer, sizeof(answer));
    if (n < 0 || mnl_cb_run(answer, (size_t)n, 0, mnl_socket_get_portid(q->nl), NULL, NULL) < 0)
        return err_sys(err, ERR_PREPARE, errno, "packet queue %u", q->number);
    return 0;
}

static int bind_number(struct packet_queue *q, struct err *err)
{
    uint8_t buf[256];

    for (unsigned i = 0; i < PACKET_QUEUE_TRIED; i++) {
        q->number = (uint16_t)(PACKET_QUEUE_FIRST + i);
        struct nlmsghdr *h = nfq_nlmsg_put((char *)buf, NFQNL_MSG_CONFIG, q->number);
        nfq_nlmsg_cfg_put_cmd(h, AF_UNSPEC, NFQNL_CFG_CMD_BIND);
        int rc = send_config(q, h, err);
        if (rc != -EBUSY && rc != -EPERM)
            return rc;
        if (rc == -EPERM && geteuid() != 0)
            return err_wrap(err, "needs root");
    }
    return err_wrap(err, "all %d packet queues from %d on are taken", PACKET_QUEUE_TRIED,
                    PACKET_QUEUE_FIRST);
}

static int configure(struct packet_queue *q, struct err *err)
{
    uint8_t buf[256];
    struct nlmsghdr *h = nfq_nlmsg_put((char *)buf, NFQNL_MSG_CONFIG, q->number);

    nfq_nlmsg_cfg_put_params(h, NFQNL_COPY_PACKET, PACKET_MAX);
    nfq_nlmsg_cfg_put_qmaxlen(h, HELD_MAX);
    mnl_attr_put_u32(h, NFQA_CFG_FLAGS, htonl(NFQA_CFG_F_FAIL_OPEN));
    mnl_attr_put_u32(h, NFQA_CFG_MASK, htonl(NFQA_CFG_F_FAIL_OPEN));
    return send_config(q, h, err);
}

static int open_socket(struct packet_queue *q, struct err *err)
{
    int one = 1, bytes = RECEIVE_BYTES;

    q->nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (!q->nl || mnl_socket_bind(q->nl, 0, MNL_SOCKET_AUTOPID) < 0)
        return err_sys(err, ERR_PREPARE, errno, "netlink socket");
    mnl_socket_setsockopt(q->nl, NETLINK_NO_ENOBUFS, &one, sizeof(one));
    setsockopt(mnl_socket_get_fd(q->nl), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
    return 0;
}

struct packet_queue *packet_queue_open(uint16_t *ret_number, struct err *err)
{
    struct packet_queue *q = xcalloc(1, sizeof(*q));

    if (open_socket(q, err) < 0 || bind_number(q, err) < 0 || configure(q, err) < 0 ||
        fcntl(mnl_socket_get_fd(q->nl), F_SETFL, O_NONBLOCK) < 0) {
        packet_queue_close(q);
        return NULL;
    }
    *ret_number = q->number;
    return q;
}

void packet_queue_close(struct packet_queue *q)
{
    if (!q)
        return;
    if (q->nl)
        mnl_socket_close(q->nl);
    free(q);
}

int packet_queue_fd(const struct packet_queue *q)
{
    return mnl_socket_get_fd(q->nl);
}

static int on_packet(const struct nlmsghdr *h, void *arg)
{
    struct packet_queue *q = arg;
    struct nlattr *attr[NFQA_MAX + 1] = { 0 };

    if (nfq_nlmsg_parse(h, attr) < 0 || !attr[NFQA_PACKET_HDR])
        return MNL_CB_OK;
    const struct nfqnl_msg_packet_hdr *head = mnl_attr_get_payload(attr[NFQA_PACKET_HDR]);
    uint32_t id = ntohl(head->packet_id);
    if (attr[NFQA_PAYLOAD])
        q->fn(q->arg, id, mnl_attr_get_payload(attr[NFQA_PAYLOAD]),
              mnl_attr_get_payload_len(attr[NFQA_PAYLOAD]));
    else
        packet_pass(q, id);
    return MNL_CB_OK;
}

int packet_queue_read(struct packet_queue *q, packet_fn *fn, void *arg, struct err *err)
{
    q->fn = fn;
    q->arg = arg;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(q->nl, q->buf, sizeof(q->buf));
        if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS))
            return 0;
        if (n < 0)
            return err_sys(err, ERR_INJECT, errno, "packet queue %u", q->number);
        err_ignore(mnl_cb_run(q->buf, (size_t)n, 0, 0, on_packet, q),
                   "what is no packet is the error of a late verdict");
    }
}

static void verdict(struct packet_queue *q, uint32_t id, int what)
{
    uint8_t buf[256];
    struct nlmsghdr *h = nfq_nlmsg_put((char *)buf, NFQNL_MSG_VERDICT, q->number);

    nfq_nlmsg_verdict_put(h, (int)id, what);
    err_ignore((int)mnl_socket_sendto(q->nl, h, h->nlmsg_len), "the packet has gone");
}

void packet_pass(struct packet_queue *q, uint32_t id)
{
    verdict(q, id, NF_ACCEPT);
}

void packet_drop(struct packet_queue *q, uint32_t id)
{
    verdict(q, id, NF_DROP);
}

void packet_replace(struct packet_queue *q, uint32_t id, uint32_t mark, const void *packet,
                    size_t len)
{
    auto_free uint8_t *buf = xcalloc(1, len + 512);
    struct nlmsghdr *h = nfq_nlmsg_put((char *)buf, NFQNL_MSG_VERDICT, q->number);

    nfq_nlmsg_verdict_put(h, (int)id, NF_ACCEPT);
    nfq_nlmsg_verdict_put_mark(h, mark);
    nfq_nlmsg_verdict_put_pkt(h, packet, (uint32_t)len);
    err_ignore((int)mnl_socket_sendto(q->nl, h, h->nlmsg_len), "the packet has gone");
}
