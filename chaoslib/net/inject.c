/* The network kinds: one implementation for all effects and all targets. Each target's network
 * namespace gets a holder in prepare; from then on a word is enough to begin and to end. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "chaoslib/inject.h"
#include "chaoslib/net/holder.h"
#include "chaoslib/net/targets.h"
#include "chaoslib/process/find.h"

#define DRAIN_MAX_NS (2 * NS_PER_SEC)
#define TTL_MARGIN_NS (10 * NS_PER_SEC)

struct state {
    struct net_fault fault;
    struct net_targets targets;
    struct {
        struct holder *holder; /* NULL where it shares the namespace of an earlier one */
        ino_t space;
    } * held; /* one for each target */
};

static enum net_effect effect_of(const struct fault_run *r)
{
    for (int e = 0; e < NET_EFFECT_MAX; e++)
        if (strcmp(net_effect_name((enum net_effect)e), r->kind->name) == 0)
            return (enum net_effect)e;
    return NET_EFFECT_MAX;
}

/* Unlike any other's, and found again by the run's name. */
static void make_tag(struct fault_run *r, struct net_fault *f)
{
    size_t len = strlen(r->env->run_id);

    snprintf(f->tag, sizeof f->tag, "%08x-%s", (unsigned)rng_u64(&r->rng) & 0xffffffffu,
             r->env->run_id + (len > 12 ? len - 12 : 0));
    f->shape.seed = rng_u64(&r->rng) >> 12;
}

/* ---- prepare ---- */

static int open_space(const struct fault_run *r, const struct net_target_one *t, ino_t *ret_space,
                      struct err *err)
{
    const struct state *s = r->state;
    char path[64];
    struct stat own, its;

    snprintf(path, sizeof path, "/proc/%d/ns/net", t->id.pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &its) < 0 || stat("/proc/self/ns/net", &own) < 0) {
        if (fd >= 0)
            close(fd);
        return err_sys(err, errno == ENOENT ? ERR_TARGET : ERR_PREPARE, errno,
                       "%s: cannot open its network namespace", t->name);
    }
    if (its.st_ino == own.st_ino && net_filter_is_empty(&s->fault.filter)) {
        close(fd);
        return err_set(err, ERR_PREPARE, EINVAL,
                       "%s shares this machine's network, all of which would be hit: add port, "
                       "dst, src or peers",
                       t->name);
    }
    *ret_space = its.st_ino;
    return fd;
}

static bool is_held(const struct state *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s->held[i].space == s->held[n].space)
            return true;
    return false;
}

static int start_holder(struct fault_run *r, size_t i, struct err *err)
{
    struct state *s = r->state;
    auto_close int fd = open_space(r, &s->targets.v[i], &s->held[i].space, err);

    if (fd < 0)
        return -EIO;
    snprintf(r->hits[i].name, sizeof r->hits[i].name, "%.63s", s->targets.v[i].name);
    snprintf(r->hits[i].id, sizeof r->hits[i].id, "%.71s", s->targets.v[i].hit_id);
    if (is_held(s, i) || r->env->dry_run)
        return 0;
    make_tag(r, &s->fault);
    s->held[i].holder = holder_start(&s->fault, fd, err);
    if (!s->held[i].holder) {
        err->kind = ERR_PREPARE;
        return err_wrap(err, "%s", s->targets.v[i].name);
    }
    snprintf(r->mechanism, sizeof r->mechanism, "%s", holder_mechanism(s->held[i].holder));
    return 0;
}

static int net_prepare(struct fault_run *r, struct err *err)
{
    struct state *s = xcalloc(1, sizeof *s);

    r->state = s;
    if (net_fault_make(r->params, effect_of(r), &s->fault, err) < 0)
        return -EINVAL;
    if (net_targets_find(r, r->params, &s->targets, err) < 0)
        return -ESRCH;
    s->held = xcalloc(s->targets.n + 1, sizeof *s->held);
    fault_hits_new(r, s->targets.n);
    for (size_t i = 0; i < s->targets.n; i++)
        if (start_holder(r, i, err) < 0)
            return -EIO;
    return 0;
}

/* ---- what outlives a holder ---- */

static bool leaves_something(const struct holder *h)
{
    return h && json_len(holder_residue(h)) > 0;
}

/* How to find the namespace again, and what to take away there. */
static void write_one(const struct state *s, size_t i, struct json *one)
{
    auto_free char *residue = json_print(holder_residue(s->held[i].holder), false);

    json_put_u64(one, "pid", (uint64_t)s->targets.v[i].id.pid);
    json_put_u64(one, "start_ticks", s->targets.v[i].id.start_ticks);
    json_put_u64(one, "space", s->held[i].space);
    json_put_str(one, "residue", residue);
}

struct space_search {
    uint64_t space;
    int fd; /* -1: not found yet */
};

static bool look_for_space(void *arg, pid_t pid)
{
    struct space_search *s = arg;
    struct stat st;
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == s->space)
        s->fd = fd_take(&fd);
    return s->fd < 0;
}

/* The namespace by the process that was the target; when that has ended, by anyone who is in it:
 * this machine's own outlives the run that was its target. A number that came to mean another
 * namespace does no harm, since only what carries our handles and names is taken away. -1: gone. */
static int find_space(const struct json *one)
{
    struct proc_id id = { .pid = (pid_t)json_u64(one, "pid", 0),
                          .start_ticks = json_u64(one, "start_ticks", 0) };
    struct space_search s = { .space = json_u64(one, "space", 0), .fd = -1 };
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/ns/net", id.pid);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && proc_is_alive(&id))
        return fd_take(&fd);
    if (s.space)
        err_ignore(process_each("/proc", look_for_space, &s), "then nobody is in it");
    return s.fd;
}

static int undo_one(const struct json *one, struct err *err)
{
    auto(json) struct json *residue = NULL;
    const char *text = json_str(one, "residue", "");
    auto_close int fd = find_space(one);

    if (fd < 0)
        return 1; /* it went with the last process in it */
    if (json_parse(text, strlen(text), &residue, err) < 0)
        return err_wrap(err, "the journal's record of a network fault");
    return holder_undo(residue, fd, err);
}

static void net_journal(const struct fault_run *r, struct json *record)
{
    const struct state *s = r->state;
    struct json *list = json_array();

    for (size_t i = 0; i < s->targets.n; i++)
        if (leaves_something(s->held[i].holder))
            write_one(s, i, json_put(list, NULL, json_object()));
    if (json_len(list))
        json_put(record, "targets", list);
    else
        json_free(list);
}

/* ---- the steps ---- */

static int net_inject(struct fault_run *r, struct err *err)
{
    struct state *s = r->state;

    for (size_t i = 0; i < s->targets.n; i++) {
        struct fault_hit *hit = &r->hits[i];
        hit->requested = clock_now_ns();
        hit->effective = hit->requested;
        if (s->held[i].holder &&
            holder_inject(s->held[i].holder, r->hold_ns + TTL_MARGIN_NS, &hit->effective, err) < 0)
            return err_wrap(err, "%s", s->targets.v[i].name);
        if (r->times.effective == 0)
            r->times.effective = hit->effective;
    }
    return 0;
}

static int net_verify_in(struct fault_run *r, struct err *err)
{
    struct state *s = r->state;

    for (size_t i = 0; i < s->targets.n; i++)
        if (s->held[i].holder && holder_verify(s->held[i].holder, true, NULL, err) < 0)
            return err_wrap(err, "%s", s->targets.v[i].name);
    return 0;
}

/* A holder that died took the fault with it, but for what it may leave. */
static int clear_after(const struct state *s, size_t i, struct err *err)
{
    auto(json) struct json *one = json_object();

    if (!leaves_something(s->held[i].holder) || holder_is_alive(s->held[i].holder))
        return 0;
    write_one(s, i, one);
    int rc = undo_one(one, err);
    return rc < 0 ? rc : 0;
}

static int net_revert(struct fault_run *r, struct err *err)
{
    struct state *s = r->state;
    const struct net_shape *shape = &s->fault.shape;
    uint64_t drain = MIN(shape->delay_ns + 4 * shape->jitter_ns + NS_PER_MS, DRAIN_MAX_NS);
    int rc = 0;

    for (size_t i = 0; i < s->targets.n; i++) {
        struct holder *h = s->held[i].holder;
        r->hits[i].reverted = clock_now_ns();
        if ((h && holder_is_alive(h) &&
             holder_revert(h, latch_is_set(r->hurry) ? 0 : drain, &r->hits[i].reverted, err) < 0) ||
            clear_after(s, i, err) < 0) {
            rc = err_wrap(err, "%s", s->targets.v[i].name);
            continue;
        }
        r->times.reverted = MAX(r->times.reverted, r->hits[i].reverted);
    }
    return rc;
}

static int net_verify_out(struct fault_run *r, struct err *err)
{
    struct state *s = r->state;

    for (size_t i = 0; i < s->targets.n; i++) {
        uint64_t packets = 0;
        struct holder *h = s->held[i].holder;
        if (h && holder_is_alive(h) && holder_verify(h, false, &packets, err) < 0)
            return err_wrap(err, "%s", s->targets.v[i].name);
        r->requests_hit += packets;
    }
    return 0;
}

static bool net_target_gone(const struct fault_run *r)
{
    const struct state *s = r->state;

    for (size_t i = 0; i < s->targets.n; i++)
        if (proc_is_alive(&s->targets.v[i].id))
            return false;
    return s->targets.n > 0;
}

static int net_still_in(const struct fault_run *r, struct err *err)
{
    const struct state *s = r->state;

    for (size_t i = 0; i < s->targets.n; i++)
        if (s->held[i].holder && !holder_is_alive(s->held[i].holder))
            return err_set(err, ERR_INJECT, ECHILD,
                           "%s: the helper that held it (pid %d) was killed, and the fault ended "
                           "with it",
                           s->targets.v[i].name, holder_pid(s->held[i].holder));
    return 0;
}

static void net_release(struct fault_run *r)
{
    struct state *s = r->state;

    if (!s)
        return;
    for (size_t i = 0; s->held && i < s->targets.n; i++)
        holder_stop(s->held[i].holder);
    net_targets_done(&s->targets);
    free(s->held);
    free(s);
    r->state = NULL;
}

/* ---- from the journal ---- */

static int net_undo(const struct json *record, struct err *err)
{
    int answer = 1;

    for (const struct json *t = json_first(json_get(record, "targets")); t; t = json_next(t)) {
        int rc = undo_one(t, err);
        if (rc < 0)
            return rc;
        answer = MIN(answer, rc);
    }
    return answer;
}

/* ---- the descriptors ---- */

#define KIND(variable_, name_, backend_, effect_, target_, summary_, by_proxy_) \
    const struct fault_kind variable_ = {                                       \
        .name = (name_),                                                        \
        .backend = (backend_),                                                  \
        .summary = (summary_),                                                  \
        .params = &net_tables[effect_][target_],                                \
        .params_size = sizeof(struct net_params),                               \
        .by_proxy = (by_proxy_),                                                \
        .prepare = net_prepare,                                                 \
        .journal = net_journal,                                                 \
        .inject = net_inject,                                                   \
        .verify_in = net_verify_in,                                             \
        .revert = net_revert,                                                   \
        .verify_out = net_verify_out,                                           \
        .target_gone = net_target_gone,                                         \
        .still_in = net_still_in,                                               \
        .release = net_release,                                                 \
        .undo = net_undo,                                                       \
    }
#define KINDS_OR(id_, name_, effect_, summary_, process_proxy_, docker_proxy_)                   \
    KIND(fault_process_net_##id_, name_, "process", effect_, NET_PROCESS, summary_,              \
         process_proxy_);                                                                        \
    KIND(fault_docker_net_##id_, name_, "docker", effect_, NET_DOCKER, summary_, docker_proxy_); \
    KIND(fault_host_net_##id_, name_, "host", effect_, NET_HOST, summary_, NULL)
#define KINDS(id_, name_, effect_, summary_) KINDS_OR(id_, name_, effect_, summary_, NULL, NULL)
/* Those that a proxy can make, too. */
#define KINDS_OR_PROXY(id_, name_, effect_, summary_) \
    KINDS_OR(id_, name_, effect_, summary_, &fault_redirect_##id_, &fault_redirect_docker_##id_)

KINDS_OR_PROXY(latency, "latency", NET_LATENCY, "packets come later");
KINDS(loss, "loss", NET_LOSS, "packets are lost");
KINDS(corrupt, "corrupt", NET_CORRUPT, "packets with a wrong bit, which the receiver throws away");
KINDS(duplicate, "duplicate", NET_DUPLICATE, "packets come twice");
KINDS(reorder, "reorder", NET_REORDER, "packets overtake each other");
KINDS_OR_PROXY(rate, "rate", NET_RATE, "a slow line, with its queue");
KINDS(partition, "partition", NET_PARTITION, "nothing gets through");
KINDS_OR_PROXY(tcp_reset, "tcp-reset", NET_TCP_RESET, "connections are reset");
