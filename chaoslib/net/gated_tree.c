/* See gated_tree.h. What has not our handle is not ours: refused before, left alone after. */
#include "chaoslib/net/gated_tree.h"

#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"

#define LOOK_NS (2 * NS_PER_MS)
#define INGRESS_MAJOR 0xffffu /* of `ingress` and `clsact`, which are no queues */
#define PLANT_ERROR_MAX 125

static int plant_on(struct tc *tc, const struct gated_tree *t, int ifindex, struct err *err)
{
    for (size_t i = 0; i < t->n; i++) {
        struct tc_qdisc q = t->v[i];
        q.ifindex = ifindex;
        int rc = tc_add(tc, &q, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- trying ---- */

static int try_there(const struct gated_trees *t, bool with_ifb)
{
    struct err err = { 0 };
    int ifindex;

    if (unshare(CLONE_NEWNET) < 0)
        return errno;
    struct tc *tc = tc_open(&err);
    if (!tc || plant_on(tc, &t->device, (int)if_nametoindex("lo"), &err) < 0)
        return err.code;
    if (with_ifb && (tc_ifb_add(tc, GATED_IFB "try", &ifindex, &err) < 0 ||
                     plant_on(tc, &t->ifb, ifindex, &err) < 0))
        return err.code;
    tc_close(tc);
    return 0;
}

/* In a process of its own, with which the namespace goes. Its exit code is an errno. */
int gated_try(const struct gated_trees *t, bool with_ifb, struct err *err)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        int code = try_there(t, with_ifb);
        _exit(code <= PLANT_ERROR_MAX ? code : EIO);
    }
    if (pid < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot fork");
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
    if (code == 0)
        return 0;
    if (code == ENOENT)
        return err_set(err, ERR_PREPARE, code,
                       "this kernel has no %s: load the module sch_%s, or use another kernel",
                       tc_name(&t->ifb.v[0]), tc_name(&t->ifb.v[0]));
    return err_sys(err, ERR_PREPARE, code, "cannot add %s in a namespace made for trying",
                   tc_name(&t->ifb.v[0]));
}

/* ---- looking ---- */

static const struct tc_qdisc *find(const struct tc_qdisc *v, size_t n, uint32_t handle)
{
    for (size_t i = 0; i < n; i++)
        if (v[i].handle == handle)
            return &v[i];
    return NULL;
}

/* The kernel's own have the handle 0. */
int gated_check_free(struct gated_place *p, struct err *err)
{
    for (size_t i = 0; i < p->n; i++) {
        auto_free struct tc_qdisc *v = NULL;
        size_t n = 0;
        if (tc_dump(p->tc, p->devices[i].ifindex, &v, &n, err) < 0)
            return -EIO;
        for (size_t k = 0; k < n; k++)
            if (v[k].handle != 0 && v[k].handle >> 16 != INGRESS_MAJOR)
                return err_set(err, ERR_PREPARE, EBUSY,
                               "device '%s' has a queueing discipline already (%s %x:), which is "
                               "not ours to replace: tc qdisc show dev %s",
                               p->devices[i].name, v[k].name, v[k].handle >> 16,
                               p->devices[i].name);
    }
    return 0;
}

static int check_on(struct gated_place *p, const struct gated_tree *t, int ifindex, struct err *err)
{
    auto_free struct tc_qdisc *v = NULL;
    size_t n = 0;

    if (tc_dump(p->tc, ifindex, &v, &n, err) < 0)
        return -EIO;
    for (size_t i = 0; i < t->n; i++) {
        const struct tc_qdisc *seen = find(v, n, t->v[i].handle);
        if (!seen || !tc_same(&t->v[i], seen))
            return err_set(err, ERR_INJECT, EIO, "queueing discipline %s %x: of device %d is %s",
                           tc_name(&t->v[i]), t->v[i].handle >> 16, ifindex,
                           seen ? "not as it was asked for" : "not there");
    }
    return 0;
}

int gated_check(struct gated_place *p, const struct gated_tree *t, struct err *err)
{
    for (size_t i = 0; i < p->n; i++)
        if (check_on(p, t, p->devices[i].ifindex, err) < 0)
            return -EIO;
    return 0;
}

int gated_check_ifb(struct gated_place *p, const struct gated_tree *t, struct err *err)
{
    return check_on(p, t, p->ifb_index, err);
}

/* ---- planting and uprooting ---- */

int gated_plant(struct gated_place *p, const struct gated_tree *t, struct err *err)
{
    for (size_t i = 0; i < p->n; i++)
        if (plant_on(p->tc, t, p->devices[i].ifindex, err) < 0)
            return err_wrap(err, "device '%s'", p->devices[i].name);
    return 0;
}

int gated_plant_ifb(struct gated_place *p, const struct gated_tree *t, struct err *err)
{
    if (tc_ifb_add(p->tc, p->ifb, &p->ifb_index, err) < 0)
        return -EIO;
    return plant_on(p->tc, t, p->ifb_index, err);
}

/* The whole tree of a device goes with its root. 1: the root is not ours, or there is none. */
static int uproot_one(struct gated_place *p, int ifindex, struct err *err)
{
    auto_free struct tc_qdisc *v = NULL;
    size_t n = 0;

    if (tc_dump(p->tc, ifindex, &v, &n, err) < 0)
        return if_indextoname((unsigned)ifindex, (char[IF_NAMESIZE]){ 0 }) ? -EIO : 1;
    const struct tc_qdisc *root = find(v, n, p->root);
    return root && root->parent == TC_ROOT ? tc_delete(p->tc, root, err) : 1;
}

int gated_uproot(struct gated_place *p, struct err *err)
{
    int answer = 1;

    for (size_t i = 0; i < p->n; i++) {
        int rc = uproot_one(p, p->devices[i].ifindex, err);
        if (rc < 0)
            return rc;
        answer = MIN(answer, rc);
    }
    int rc = p->ifb[0] ? tc_ifb_delete(p->tc, p->ifb, err) : 1;
    return rc < 0 ? rc : MIN(answer, rc);
}

struct sight {
    uint64_t held, packets;
    bool ours;
};

/* Trees end in a leaf, whose handle is the next after the root's; an ifb may have the root alone.
 */
static void look_at_ours(struct gated_place *p, struct sight *ret)
{
    auto_free struct tc_qdisc *v = NULL;
    size_t n = 0;

    *ret = (struct sight){ 0 };
    if (tc_dump(p->tc, 0, &v, &n, NULL) < 0)
        return;
    for (size_t i = 0; i < n; i++) {
        bool root = v[i].handle == p->root;
        if (root) {
            ret->ours = true;
            ret->held += v[i].held_packets;
        }
        if (v[i].handle == p->root + TC_HANDLE(1, 0))
            ret->packets += v[i].sent_packets + v[i].dropped_packets;
    }
}

uint64_t gated_drain(struct gated_place *p, uint64_t deadline_ns)
{
    struct sight s;

    look_at_ours(p, &s);
    while (s.held && clock_now_ns() < deadline_ns) {
        clock_sleep_until(MIN(deadline_ns, clock_now_ns() + LOOK_NS));
        look_at_ours(p, &s);
    }
    return s.packets;
}

int gated_check_gone(struct gated_place *p, struct err *err)
{
    struct sight s;

    look_at_ours(p, &s);
    if (s.ours || (p->ifb[0] && if_nametoindex(p->ifb)))
        return err_set(err, ERR_REVERT, EIO, "queueing discipline %x: is still there",
                       p->root >> 16);
    return 0;
}
