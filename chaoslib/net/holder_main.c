/* The holder's side: enters the namespace, chooses a mechanism, serves packets and questions. When
 * the control socket ends, so does the fault: in order if there is time, by the kernel if not. So
 * it does when it has lasted longer than it should: then whoever began it hangs. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "chaoslib/net/holder.h"
#include "chaoslib/net/mech.h"

#define DRAIN_NS NS_PER_SEC /* when nobody is left to ask */
#define FOREVER UINT64_MAX
#define SPIN_NS (60 * NS_PER_US)
#define SPIN_SHARE 10
#define WAKING_MAX_NS (100 * NS_PER_US)
#define SPIN_SAVED_NS (10 * NS_PER_MS)

struct hold {
    struct net_fault fault;
    const struct net_mech *mech;
    void *state;
    uint64_t deadline_ns; /* then it ends by itself; 0: not in yet */
    uint64_t may_spin_ns; /* saved up, since looked_ns */
    uint64_t looked_ns;
    uint64_t waking_ns; /* how long that takes us, lately */
};

/* ---- choosing ---- */

static int try_mech(struct hold *h, const struct net_mech *m, struct buf *why)
{
    struct err err = { 0 };
    const char *never = m->cannot(&h->fault);

    if (!never && m->probe(&h->fault, &err) == 0 && m->open(&h->fault, &h->state, &err) == 0) {
        h->mech = m;
        return 0;
    }
    buf_addf(why, "%s%s: %s", why->len ? "; " : "", m->name, never ? never : err.msg);
    if (h->state)
        m->close(TAKE(h->state));
    return 1;
}

static int choose(struct hold *h, struct err *err)
{
    auto_buf struct buf why = BUF_INIT(4096);
    bool any = strcmp(h->fault.mechanism, "auto") == 0;

    for (const struct net_mech *const *m = net_mechs; *m; m++)
        if ((any || strcmp((*m)->name, h->fault.mechanism) == 0) && try_mech(h, *m, &why) == 0)
            return 0;
    if (why.len == 0)
        return err_set(err, ERR_PREPARE, EINVAL, "there is no mechanism '%s'", h->fault.mechanism);
    return err_set(err, ERR_PREPARE, ENOTSUP, "%s cannot be made here: %s",
                   net_effect_name(h->fault.effect), buf_str(&why));
}

/* ---- questions ---- */

static void put_stamp(struct json *reply)
{
    uint64_t now = clock_now_ns();

    json_put_u64(reply, "sec", now / NS_PER_SEC);
    json_put_u64(reply, "ns", now % NS_PER_SEC);
}

static int answer(struct hold *h, const struct json *question, struct json *reply, struct err *err)
{
    const char *what = json_str(question, "do", "");
    uint64_t ns = json_u64(question, "ms", 0) * NS_PER_MS;
    int rc = 0;

    if (strcmp(what, "inject") == 0) {
        h->deadline_ns = clock_now_ns() + ns;
        rc = h->mech->inject(h->state, err);
    } else if (strcmp(what, "revert") == 0)
        rc = h->mech->revert(h->state, ns, err);
    else
        rc = h->mech->verify(h->state, strcmp(what, "verify-in") == 0, reply, err);
    put_stamp(reply);
    return rc;
}

static void serve_question(struct hold *h, const struct json *question)
{
    auto(json) struct json *reply = json_object();
    struct err err = { 0 };

    if (answer(h, question, reply, &err) < 0) {
        helper_reply_error(&err);
        return;
    }
    helper_reply(reply);
}

/* ---- the loop: packets first, they are what is measured ---- */

static int look(struct pollfd p[2], uint64_t wait_ns)
{
    struct timespec ts = { .tv_sec = (time_t)(wait_ns / NS_PER_SEC),
                           .tv_nsec = (long)(wait_ns % NS_PER_SEC) };

    return ppoll(p, 2, wait_ns == FOREVER ? NULL : &ts, NULL);
}

/* A processor that sleeps takes up to a tenth of a millisecond to wake, above all a virtual one. So
 * we wake a little early and stay awake until the instant has come; at most a tenth of the time. */
static uint64_t wake_early(struct hold *h, uint64_t now)
{
    h->may_spin_ns = MIN(h->may_spin_ns + (now - h->looked_ns) / SPIN_SHARE, SPIN_SAVED_NS);
    h->looked_ns = now;
    return MIN(SPIN_NS, h->may_spin_ns);
}

static void note_waking(struct hold *h, uint64_t late_ns)
{
    h->waking_ns = (7 * h->waking_ns + MIN(late_ns, WAKING_MAX_NS)) / 8;
}

/* Until then, a packet or a question. Returns the instant at which it came: a packet that woke us
 * did so before we were awake, by about as long as it takes us when it is a timer that does. */
static uint64_t wait_for_something(struct hold *h, uint64_t next_ns, bool *ret_question)
{
    struct pollfd p[] = { { .fd = HELPER_FD, .events = POLLIN },
                          { .fd = h->mech->fd ? h->mech->fd(h->state) : -1, .events = POLLIN } };
    uint64_t began = clock_now_ns(), early = wake_early(h, began);
    uint64_t wait = next_ns > began + early ? next_ns - began - early : 0;

    int n = look(p, next_ns ? wait : FOREVER);
    uint64_t woke = clock_now_ns(), slept = woke - began, came = woke;
    if (n > 0)
        came = woke - MIN(slept, h->waking_ns);
    else if (n == 0 && wait)
        note_waking(h, slept - MIN(slept, wait));
    for (; n == 0 && came < next_ns; came = clock_now_ns())
        n = look(p, 0);
    h->may_spin_ns -= MIN(h->may_spin_ns, came > woke ? came - woke : 0);
    *ret_question = n > 0 && p[0].revents;
    return came;
}

static void serve(struct hold *h)
{
    uint64_t next = 0;

    for (;;) {
        bool asked;
        if (h->deadline_ns && (next == 0 || next > h->deadline_ns))
            next = h->deadline_ns;
        uint64_t came = wait_for_something(h, next, &asked);
        if (h->deadline_ns && came >= h->deadline_ns)
            return;
        next = 0;
        if (h->mech->serve)
            next = h->mech->serve(h->state, came);
        if (!asked)
            continue;
        auto(json) struct json *question = NULL;
        if (helper_next(0, &question) != 0)
            return;
        serve_question(h, question);
        if (h->mech->serve)
            next = h->mech->serve(h->state, clock_now_ns());
    }
}

static void hello(const struct hold *h)
{
    auto(json) struct json *reply = json_object();
    struct json *residue = json_object();

    json_put_str(reply, "mechanism", h->mech->summary);
    if (h->mech->residue) {
        json_put_str(residue, "mech", h->mech->name);
        h->mech->residue(h->state, residue);
    }
    json_put(reply, "residue", residue);
    helper_reply(reply);
}

static int hold(const struct json *spec, struct err *err)
{
    struct hold h = { 0 };

    if (net_fault_read(spec, &h.fault, err) < 0 || choose(&h, err) < 0)
        return -EINVAL;
    hello(&h);
    serve(&h);
    int rc = h.mech->revert(h.state, DRAIN_NS, err);
    h.mech->close(h.state);
    return rc;
}

static int undo(const char *text, struct err *err)
{
    auto(json) struct json *residue = NULL, *reply = json_object();

    if (json_parse(text, strlen(text), &residue, err) < 0)
        return -EINVAL;
    const struct net_mech *m = net_mech_find(json_str(residue, "mech", ""));
    if (!m || !m->undo)
        return err_set(err, ERR_REVERT, EINVAL, "no mechanism of this name leaves anything");
    int rc = m->undo(residue, err);
    if (rc < 0)
        return rc;
    json_put_bool(reply, "nothing", rc == 1);
    helper_reply(reply);
    return 0;
}

static int run(struct helper_job *job)
{
    const char *residue = json_str(job->spec, "undo", NULL);
    struct err err = { 0 };
    int rc;

    if (job->n_fds != 1 || setns(job->fds[0], CLONE_NEWNET) < 0)
        rc = err_sys(&err, ERR_PREPARE, errno,
                     "cannot enter the target's network namespace (root is needed)");
    else if (residue)
        rc = undo(residue, &err);
    else
        rc = hold(json_get(job->spec, "fault"), &err);
    if (rc < 0)
        helper_reply_error(&err);
    return rc < 0;
}

const struct helper_role helper_role_net = { .name = "net", .run = run };
