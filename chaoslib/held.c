/* The fault ends with the helper, whatever it does: a helper that does not answer has only to be
 * ended. */
#include "chaoslib/held.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "chaoslib/helper.h"
#include "chaoslib/process/target.h"

#define ANSWER_NS (10 * NS_PER_SEC)

struct held {
    struct target target; /* pidfd -1: this machine */
    struct helper *helper;
};

static int open_namespace(struct fault_run *r, const char *process, struct err *err)
{
    struct held *f = r->state;
    char path[64] = "/proc/self/ns/net";

    if (!process) {
        snprintf(r->target, sizeof(r->target), "this machine, and all that shares its network");
    } else {
        if (target_open(r, process, &f->target, err) < 0)
            return -ESRCH;
        snprintf(path, sizeof(path), "/proc/%d/ns/net", f->target.id.pid);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? fd
                   : err_sys(err, ERR_PREPARE, errno, "cannot open the network namespace %s", path);
}

static int start_helper(struct fault_run *r, const struct held_kind *k, int netns, struct err *err)
{
    struct held *f = r->state;
    auto(json) struct json *spec = json_object();
    auto_free char *tag = xasprintf("%d-%u-%.8llx", getpid(), r->activation,
                                    (unsigned long long)(rng_u64(&r->rng) >> 32));

    json_put_str(spec, "tag", tag);
    if (k->plan(r, spec, err) < 0)
        return -EINVAL;
    f->helper = helper_start(
        &(struct helper_opts){
            .role = k->role, .spec = spec, .fds = &netns, .n_fds = 1, .timeout_ns = ANSWER_NS },
        NULL, err);
    return f->helper ? 0 : -EIO;
}

static void name_hit(struct fault_run *r)
{
    const struct held *f = r->state;

    fault_hits_new(r, 1);
    snprintf(r->hits->name, sizeof(r->hits->name), "%s", f->target.name ? f->target.name : "host");
    if (f->target.name)
        snprintf(r->hits->id, sizeof(r->hits->id), "pid %d", f->target.id.pid);
}

int held_prepare(struct fault_run *r, const struct held_kind *k, struct err *err)
{
    struct held *f = xcalloc(1, sizeof(*f));

    f->target.pidfd = -1;
    r->state = f;
    if (geteuid() != 0)
        return err_set(err, ERR_PREPARE, EPERM,
                       "%s steers packets in a network namespace, which needs root", r->kind->name);
    auto_close int netns = open_namespace(r, k->process, err);
    if (netns < 0)
        return netns;
    if (r->env->dry_run)
        return 0;
    if (start_helper(r, k, netns, err) < 0)
        return -EIO;
    snprintf(r->mechanism, sizeof(r->mechanism), "%s", k->mechanism);
    name_hit(r);
    return 0;
}

static int ask(struct fault_run *r, const char *what, uint64_t *ret_at, struct err *err)
{
    struct held *f = r->state;
    auto(json) struct json *question = json_object(), *reply = NULL;

    json_put_str(question, "do", what);
    if (helper_ask(f->helper, question, ANSWER_NS, &reply, err) < 0)
        return -EIO;
    r->requests_hit = json_u64(reply, "requests", 0);
    r->connections_hit = json_u64(reply, "connections", 0);
    if (ret_at)
        *ret_at = json_u64(reply, "at_ns", 0);
    return 0;
}

int held_inject(struct fault_run *r, struct err *err)
{
    r->hits->requested = r->times.requested;
    if (ask(r, "in", &r->times.effective, err) < 0)
        return -EIO;
    r->hits->effective = r->times.effective;
    return 0;
}

int held_verify_in(struct fault_run *r, struct err *err)
{
    return ask(r, "probe", NULL, err);
}

int held_revert(struct fault_run *r, struct err *err)
{
    struct held *f = r->state;
    struct err why = { 0 };

    (void)err;
    if (!f || !f->helper)
        return 0;
    if (helper_is_alive(f->helper))
        err_ignore(ask(r, "out", &r->times.reverted, &why), "its end takes the fault with it");
    helper_stop(TAKE(f->helper), ANSWER_NS, NULL);
    if (r->hits)
        r->hits->reverted = r->times.reverted;
    return 0;
}

int held_verify_out(struct fault_run *r, struct err *err)
{
    const struct held *f = r->state;

    if (!f->helper)
        return 0;
    return err_set(err, ERR_REVERT, EBUSY, "helper %d still holds the fault",
                   helper_pid(f->helper));
}

bool held_target_gone(const struct fault_run *r)
{
    const struct held *f = r->state;

    return f->target.pidfd >= 0 && target_is_gone(&f->target);
}

int held_still_in(const struct fault_run *r, struct err *err)
{
    const struct held *f = r->state;

    return helper_is_alive(f->helper)
               ? 0
               : err_set(err, ERR_INJECT, ESRCH, "the helper that held it has ended");
}

void held_release(struct fault_run *r)
{
    struct held *f = r->state;

    if (!f)
        return;
    helper_stop(f->helper, ANSWER_NS, NULL);
    target_close(&f->target);
    free(f);
    r->state = NULL;
}
