/* dns-error and dns-spoof: a helper inside the target's network namespace holds them (holder.c) and
 * ends with us, so there is nothing to undo. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "chaoslib/dns/holder.h"
#include "chaoslib/dns/params.h"
#include "chaoslib/inject.h"
#include "chaoslib/process/target.h"

#define ANSWER_NS (10 * NS_PER_SEC)

struct dns_fault {
    struct target target; /* pidfd -1: this machine */
    struct helper *helper;
};

static int open_namespace(struct fault_run *r, struct dns_fault *f, struct err *err)
{
    const struct dns_params *p = r->params;
    char path[64] = "/proc/self/ns/net";

    if (!p->process) {
        snprintf(r->target, sizeof(r->target), "this machine, and all that shares its network");
    } else {
        if (target_open(r, p->process, &f->target, err) < 0)
            return -ESRCH;
        snprintf(path, sizeof(path), "/proc/%d/ns/net", f->target.id.pid);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? fd
                   : err_sys(err, ERR_PREPARE, errno, "cannot open the network namespace %s", path);
}

static int start_holder(struct fault_run *r, struct dns_fault *f, int netns, struct err *err)
{
    auto(json) struct json *spec = json_object();
    auto_free char *tag =
        xasprintf("%d-%u-%.8llx", getpid(), r->activation, (unsigned long long)rng_u64(&r->rng));
    struct dns_rules rules;

    if (dns_rules_make(r->params, &rules, err) < 0)
        return -EINVAL;
    dns_rules_write(&rules, rng_u64(&r->rng), spec);
    dns_rules_done(&rules);
    json_put_str(spec, "tag", tag);
    f->helper = helper_start(
        &(struct helper_opts){
            .role = "dns", .spec = spec, .fds = &netns, .n_fds = 1, .timeout_ns = ANSWER_NS },
        NULL, err);
    return f->helper ? 0 : -EIO;
}

static int prepare(struct fault_run *r, struct err *err)
{
    struct dns_fault *f = xcalloc(1, sizeof(*f));

    f->target.pidfd = -1;
    r->state = f;
    if (geteuid() != 0)
        return err_set(err, ERR_PREPARE, EPERM,
                       "%s enters a network namespace and steers its packets, which needs root",
                       r->kind->name);
    auto_close int netns = open_namespace(r, f, err);
    if (netns < 0)
        return netns;
    if (r->env->dry_run)
        return 0;
    if (start_holder(r, f, netns, err) < 0)
        return -EIO;
    snprintf(r->mechanism, sizeof(r->mechanism), "packet queue, nftables owner table");
    fault_hits_new(r, 1);
    snprintf(r->hits->name, sizeof(r->hits->name), "%s", f->target.name ? f->target.name : "host");
    if (f->target.name)
        snprintf(r->hits->id, sizeof(r->hits->id), "pid %d", f->target.id.pid);
    return 0;
}

static int ask(struct fault_run *r, const char *what, uint64_t *ret_at, struct err *err)
{
    struct dns_fault *f = r->state;
    auto(json) struct json *question = json_object(), *reply = NULL;

    json_put_str(question, "do", what);
    if (helper_ask(f->helper, question, ANSWER_NS, &reply, err) < 0)
        return -EIO;
    r->requests_hit = json_u64(reply, "hit", 0);
    if (ret_at)
        *ret_at = json_u64(reply, "at_ns", 0);
    return 0;
}

static int inject(struct fault_run *r, struct err *err)
{
    r->hits->requested = r->times.requested;
    if (ask(r, "in", &r->times.effective, err) < 0)
        return -EIO;
    r->hits->effective = r->times.effective;
    return 0;
}

static int verify_in(struct fault_run *r, struct err *err)
{
    return ask(r, "probe", NULL, err);
}

/* Its end is the end of the fault, so that a helper that does not answer has only to be ended. */
static int revert(struct fault_run *r, struct err *err)
{
    struct dns_fault *f = r->state;
    struct err why = { 0 };

    if (!f || !f->helper)
        return 0;
    if (helper_is_alive(f->helper) && ask(r, "out", &r->times.reverted, &why) < 0 &&
        why.kind == ERR_REVERT)
        *err = why;
    helper_stop(TAKE(f->helper), ANSWER_NS, NULL);
    r->hits->reverted = r->times.reverted;
    return 0;
}

static int verify_out(struct fault_run *r, struct err *err)
{
    const struct dns_fault *f = r->state;

    if (!f->helper)
        return 0;
    return err_set(err, ERR_REVERT, EBUSY, "the helper %d still holds the fault",
                   helper_pid(f->helper));
}

static bool target_gone(const struct fault_run *r)
{
    const struct dns_fault *f = r->state;

    return f->target.pidfd >= 0 && target_is_gone(&f->target);
}

static int still_in(const struct fault_run *r, struct err *err)
{
    const struct dns_fault *f = r->state;

    return helper_is_alive(f->helper)
               ? 0
               : err_set(err, ERR_INJECT, ESRCH, "the helper that answered for the DNS has ended");
}

static void release(struct fault_run *r)
{
    struct dns_fault *f = r->state;

    if (!f)
        return;
    helper_stop(f->helper, ANSWER_NS, NULL);
    target_close(&f->target);
    free(f);
    r->state = NULL;
}

#define DNS_FAULT(id_, name_, backend_, summary_)                                         \
    const struct fault_kind fault_dns_##id_ = { .name = (name_),                          \
                                                .backend = (backend_),                    \
                                                .summary = (summary_),                    \
                                                .flags = FAULT_FREE,                      \
                                                .params = &dns_##id_##_table,             \
                                                .params_size = sizeof(struct dns_params), \
                                                .prepare = prepare,                       \
                                                .inject = inject,                         \
                                                .verify_in = verify_in,                   \
                                                .revert = revert,                         \
                                                .verify_out = verify_out,                 \
                                                .target_gone = target_gone,               \
                                                .still_in = still_in,                     \
                                                .release = release }

DNS_FAULT(error_process, "dns-error", "process", "names of a process are not resolved");
DNS_FAULT(error_host, "dns-error", "host", "names on this machine are not resolved");
DNS_FAULT(spoof_process, "dns-spoof", "process", "names of a process lead elsewhere");
DNS_FAULT(spoof_host, "dns-spoof", "host", "names on this machine lead elsewhere");
