/* The fault ends with its helpers, one for each namespace, whatever they do: one that does not
 * answer has only to be ended. */
#include "chaoslib/held.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "chaoslib/helper.h"
#include "chaoslib/net/targets.h"

#define ANSWER_NS (10 * NS_PER_SEC)

struct held {
    struct net_targets targets;
    struct helper **helpers; /* one for each; NULL: not started, or ended */
};

static int find_targets(struct fault_run *r, const struct held_kind *k, struct held *f,
                        struct err *err)
{
    struct net_params p = { .process = k->process, .host = k->host };

    if (k->docker)
        p.docker = *k->docker;
    return net_targets_find(r, &p, &f->targets, err);
}

static int open_namespace(const struct net_target_one *t, struct err *err)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/ns/net", t->id.pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, ERR_TARGET, errno, "cannot open the network namespace of %s", t->name);
    if (proc_is_alive(&t->id))
        return fd;
    close(fd);
    return err_set(err, ERR_TARGET, ESRCH, "%s has just ended", t->name);
}

static int start_helper(struct fault_run *r, const struct held_kind *k, size_t i, struct err *err)
{
    struct held *f = r->state;
    auto(json) struct json *spec = json_object();
    auto_free char *tag = xasprintf("%d-%u-%.8llx", getpid(), r->activation,
                                    (unsigned long long)(rng_u64(&r->rng) >> 32));
    auto_close int netns = open_namespace(&f->targets.v[i], err);

    if (netns < 0)
        return netns;
    json_put_str(spec, "tag", tag);
    if (k->plan(r, spec, err) < 0)
        return -EINVAL;
    f->helpers[i] = helper_start(
        &(struct helper_opts){
            .role = k->role, .spec = spec, .fds = &netns, .n_fds = 1, .timeout_ns = ANSWER_NS },
        NULL, err);
    return f->helpers[i] ? 0 : err_wrap(err, "%s", f->targets.v[i].name);
}

static void name_hits(struct fault_run *r)
{
    const struct held *f = r->state;

    fault_hits_new(r, f->targets.n);
    for (size_t i = 0; i < f->targets.n; i++) {
        snprintf(r->hits[i].name, sizeof(r->hits[i].name), "%s", f->targets.v[i].name);
        snprintf(r->hits[i].id, sizeof(r->hits[i].id), "%s", f->targets.v[i].hit_id);
    }
}

int held_prepare(struct fault_run *r, const struct held_kind *k, struct err *err)
{
    struct held *f = xcalloc(1, sizeof(*f));

    r->state = f;
    if (geteuid() != 0)
        return err_set(err, ERR_PREPARE, EPERM,
                       "%s steers packets in a network namespace, which needs root", r->kind->name);
    if (find_targets(r, k, f, err) < 0)
        return -ESRCH;
    name_hits(r);
    snprintf(r->mechanism, sizeof(r->mechanism), "%s", k->mechanism);
    if (r->env->dry_run)
        return 0;
    f->helpers = xcalloc(f->targets.n + 1, sizeof(struct helper *));
    for (size_t i = 0; i < f->targets.n; i++)
        if (start_helper(r, k, i, err) < 0)
            return err->kind == ERR_TARGET ? -ESRCH : -EIO;
    return 0;
}

static int ask(struct fault_run *r, size_t i, const char *what, uint64_t *ret_at, struct err *err)
{
    struct held *f = r->state;
    auto(json) struct json *question = json_object(), *reply = NULL;

    json_put_str(question, "do", what);
    if (strcmp(what, "in") == 0)
        json_put_u64(question, "ttl_ms", (r->hold_ns + HELPER_TTL_MARGIN_NS) / NS_PER_MS);
    if (helper_ask(f->helpers[i], question, ANSWER_NS, &reply, err) < 0)
        return err_wrap(err, "%s", f->targets.v[i].name);
    if (ret_at)
        *ret_at = json_u64(reply, "at_ns", 0);
    if (strcmp(what, "out") == 0) {
        r->requests_hit += json_u64(reply, "requests", 0);
        r->connections_hit += json_u64(reply, "connections", 0);
    }
    return 0;
}

int held_inject(struct fault_run *r, struct err *err)
{
    for (size_t i = 0; i < r->n_hits; i++) {
        struct fault_hit *hit = &r->hits[i];
        hit->requested = clock_now_ns();
        if (ask(r, i, "in", &hit->effective, err) < 0)
            return -EIO;
        if (r->times.effective == 0 || hit->effective < r->times.effective)
            r->times.effective = hit->effective;
    }
    return 0;
}

int held_verify_in(struct fault_run *r, struct err *err)
{
    for (size_t i = 0; i < r->n_hits; i++)
        if (ask(r, i, "probe", NULL, err) < 0)
            return -EIO;
    return 0;
}

static void end_one(struct fault_run *r, size_t i)
{
    struct held *f = r->state;
    struct fault_hit *hit = &r->hits[i];
    struct err why = { 0 };

    if (helper_is_alive(f->helpers[i]))
        err_ignore(ask(r, i, "out", &hit->reverted, &why), "its end takes the fault with it");
    helper_stop(TAKE(f->helpers[i]), ANSWER_NS, NULL);
    if (hit->reverted == 0)
        hit->reverted = clock_now_ns();
    r->times.reverted = MAX(r->times.reverted, hit->reverted);
}

int held_revert(struct fault_run *r, struct err *err)
{
    const struct held *f = r->state;

    (void)err;
    for (size_t i = 0; f && f->helpers && i < r->n_hits; i++)
        if (f->helpers[i])
            end_one(r, i);
    return 0;
}

int held_verify_out(struct fault_run *r, struct err *err)
{
    const struct held *f = r->state;

    for (size_t i = 0; i < r->n_hits; i++)
        if (f->helpers[i])
            return err_set(err, ERR_REVERT, EBUSY, "helper %d still holds the fault",
                           helper_pid(f->helpers[i]));
    return 0;
}

/* All of them. */
bool held_target_gone(const struct fault_run *r)
{
    const struct held *f = r->state;

    for (size_t i = 0; i < f->targets.n; i++)
        if (proc_is_alive(&f->targets.v[i].id))
            return false;
    return f->targets.n > 0;
}

int held_still_in(const struct fault_run *r, struct err *err)
{
    const struct held *f = r->state;

    for (size_t i = 0; i < f->targets.n; i++)
        if (!helper_is_alive(f->helpers[i]))
            return err_set(err, ERR_INJECT, ESRCH, "%s: the helper that held it has ended",
                           f->targets.v[i].name);
    return 0;
}

void held_release(struct fault_run *r)
{
    struct held *f = r->state;

    if (!f)
        return;
    for (size_t i = 0; f->helpers && i < f->targets.n; i++)
        helper_stop(f->helpers[i], ANSWER_NS, NULL);
    free(f->helpers);
    net_targets_done(&f->targets);
    free(f);
    r->state = NULL;
}
