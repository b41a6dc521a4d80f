/* The socket to rtnetlink: one request, one answer, or a dump. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "edge/tc_internal.h"

/* The kernel answers at once or is broken. */
#define ANSWER_S 5

struct tc {
    struct mnl_socket *socket;
    uint32_t seq;
    char buf[TC_REQUEST_MAX];
};

struct tc *tc_open(struct err *err)
{
    struct tc *t = xcalloc(1, sizeof(*t));
    struct timeval patience = { .tv_sec = ANSWER_S };

    t->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!t->socket || mnl_socket_bind(t->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
        setsockopt(mnl_socket_get_fd(t->socket), SOL_SOCKET, SO_RCVTIMEO, &patience,
                   sizeof(patience)) < 0) {
        (void)err_sys(err, ERR_PREPARE, errno, "cannot talk to the kernel about its network");
        tc_close(t);
        return NULL;
    }
    t->seq = (uint32_t)time(NULL);
    return t;
}

void tc_close(struct tc *t)
{
    if (!t)
        return;
    if (t->socket)
        mnl_socket_close(t->socket);
    free(t);
}

/* Sends what is in `m`, gives each message of the answer to `fn`: 0, or a negative errno. */
static int talk(struct tc *t, struct nlmsghdr *m, mnl_cb_t fn, void *arg)
{
    unsigned port = mnl_socket_get_portid(t->socket);

    m->nlmsg_seq = ++t->seq;
    if (mnl_socket_sendto(t->socket, m, m->nlmsg_len) < 0)
        return -errno;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(t->socket, t->buf, sizeof(t->buf));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        int rc = mnl_cb_run(t->buf, (size_t)n, t->seq, port, fn, arg);
        if (rc <= MNL_CB_STOP)
            return rc < 0 ? -errno : 0;
    }
}

static const char *remedy(int code)
{
    switch (code) {
    case ENOENT: return ": this kernel has no such queueing discipline";
    case EEXIST: return ": there is one already, which is not ours to replace";
    case EPERM: return ": it takes root, or CAP_NET_ADMIN in that network namespace";
    default: return "";
    }
}

int tc_add(struct tc *t, const struct tc_qdisc *q, struct err *err)
{
    struct nlmsghdr *m = (struct nlmsghdr *)(void *)t->buf;

    tc_encode(q, t->buf);
    int rc = talk(t, m, NULL, NULL);
    if (rc == 0)
        return 0;
    return err_sys(err, ERR_INJECT, -rc, "cannot add %s to network device %d%s", tc_name(q),
                   q->ifindex, remedy(-rc));
}

/* ENODEV: the device has gone, EINVAL and ENOENT: it has no such qdisc. */
int tc_delete(struct tc *t, const struct tc_qdisc *q, struct err *err)
{
    uint16_t type = q->kind == TC_HTB_CLASS ? RTM_DELTCLASS : RTM_DELQDISC;
    int rc = talk(t, tc_request(t->buf, type, NLM_F_ACK, q), NULL, NULL);

    if (rc == 0)
        return 0;
    if (rc == -ENODEV || rc == -ENOENT || rc == -EINVAL)
        return 1;
    return err_sys(err, ERR_REVERT, -rc, "cannot delete queueing discipline %x: of device %d",
                   q->handle >> 16, q->ifindex);
}

struct collection {
    int ifindex;
    struct tc_qdisc *v;
    size_t n, cap;
    bool too_many;
};

static int collect(const struct nlmsghdr *m, void *arg)
{
    struct collection *c = arg;
    struct tc_qdisc q;

    if (!tc_decode(m, m->nlmsg_len, &q) || (c->ifindex && q.ifindex != c->ifindex))
        return MNL_CB_OK;
    if (c->n == TC_QDISCS_MAX) {
        c->too_many = true;
        return MNL_CB_OK;
    }
    if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 16;
        c->v = xrealloc(c->v, c->cap, sizeof(*c->v));
    }
    c->v[c->n++] = q;
    return MNL_CB_OK;
}

int tc_dump(struct tc *t, int ifindex, struct tc_qdisc **ret, size_t *ret_n, struct err *err)
{
    struct collection c = { .ifindex = ifindex };
    struct tc_qdisc ask = { .ifindex = ifindex };
    int rc = talk(t, tc_request(t->buf, RTM_GETQDISC, NLM_F_DUMP, &ask), collect, &c);

    if (rc == 0 && ifindex) /* classes are asked of a device */
        rc = talk(t, tc_request(t->buf, RTM_GETTCLASS, NLM_F_DUMP, &ask), collect, &c);
    if (rc < 0 || c.too_many) {
        free(c.v);
        return err_sys(err, ERR_PREPARE, rc < 0 ? -rc : E2BIG,
                       "cannot list the queueing disciplines of device %d", ifindex);
    }
    *ret = c.v;
    *ret_n = c.n;
    return 0;
}

/* ---- ifb devices ---- */

static struct nlmsghdr *link_request(struct tc *t, uint16_t type, uint16_t flags, const char *name)
{
    struct nlmsghdr *m = mnl_nlmsg_put_header(t->buf);

    m->nlmsg_type = type;
    m->nlmsg_flags = NLM_F_REQUEST | flags;
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(m, sizeof(*info));
    info->ifi_family = AF_UNSPEC;
    if (type == RTM_NEWLINK)
        info->ifi_flags = info->ifi_change = IFF_UP;
    mnl_attr_put_strz(m, IFLA_IFNAME, name);
    return m;
}

static int look_at_link(const struct nlmsghdr *m, void *arg)
{
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(m);

    *(int *)arg = info->ifi_index;
    return MNL_CB_OK;
}

int tc_ifb_add(struct tc *t, const char *name, int *ret_ifindex, struct err *err)
{
    uint16_t flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    struct nlmsghdr *m = link_request(t, RTM_NEWLINK, flags, name);
    struct nlattr *nest = mnl_attr_nest_start(m, IFLA_LINKINFO);

    mnl_attr_put_strz(m, IFLA_INFO_KIND, "ifb");
    mnl_attr_nest_end(m, nest);
    int rc = talk(t, m, NULL, NULL);
    if (rc == 0)
        rc = talk(t, link_request(t, RTM_GETLINK, NLM_F_ACK, name), look_at_link, ret_ifindex);
    if (rc == 0)
        return 0;
    return err_sys(err, ERR_INJECT, -rc, "cannot make the device %s (of kind ifb)%s", name,
                   rc == -EOPNOTSUPP ? ": this kernel has no ifb" : remedy(-rc));
}

int tc_ifb_delete(struct tc *t, const char *name, struct err *err)
{
    int rc = talk(t, link_request(t, RTM_DELLINK, NLM_F_ACK, name), NULL, NULL);

    if (rc == 0)
        return 0;
    return rc == -ENODEV ? 1 : err_sys(err, ERR_REVERT, -rc, "cannot delete device %s", name);
}
