/* A process by name, the containers of a selection, or this machine itself. */
#include "chaoslib/net/targets.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chaoslib/process/process.h"

static struct net_target_one *make(struct net_targets *t, size_t n)
{
    t->v = xcalloc(n + 1, sizeof *t->v);
    t->n = n;
    return t->v;
}

static int find_process(struct fault_run *r, const char *name, struct net_targets *ret,
                        struct err *err)
{
    struct proc_id id;
    int rc = processes_resolve(r->env->processes, name, &id, err);

    if (rc < 0)
        return rc;
    struct net_target_one *one = make(ret, 1);
    one->id = id;
    snprintf(one->name, sizeof one->name, "process %.50s", name);
    snprintf(one->hit_id, sizeof one->hit_id, "pid %d", id.pid);
    snprintf(r->target, sizeof r->target, "network of process %.100s (pid %d)", name, id.pid);
    return 0;
}

static int find_host(struct fault_run *r, const char *iface, struct net_targets *ret,
                     struct err *err)
{
    struct net_target_one *one = make(ret, 1);
    int rc = proc_identify(getpid(), &one->id, err);

    snprintf(one->name, sizeof one->name, "this machine");
    snprintf(one->hit_id, sizeof one->hit_id, "host");
    snprintf(r->target, sizeof r->target, "network of this machine (%.50s)", iface);
    return rc == 0 ? 0 : -ESRCH;
}

static int find_containers(struct fault_run *r, const struct docker_select *select,
                           struct net_targets *ret, struct err *err)
{
    struct docker_targets found = { 0 };

    if (!r->env->docker)
        return err_set(err, ERR_PREPARE, ENOENT, "no container engine is known");
    if (!docker_is_local(r->env->docker))
        return err_set(err, ERR_PREPARE, ENOTSUP,
                       "the engine %s is not on this machine, so its network namespaces cannot be "
                       "entered: run chaos-load there",
                       docker_describe(r->env->docker));
    if (docker_select(r->env->docker, select, DOCKER_RUNNING, &r->rng, &found, err) < 0)
        return -ESRCH;
    struct net_target_one *v = make(ret, found.n);
    for (size_t i = 0; i < found.n; i++) {
        if (proc_identify(found.v[i].pid, &v[i].id, err) != 0) {
            err_set(err, ERR_TARGET, ESRCH, "container '%.100s' has just ended", found.v[i].name);
            free(found.v);
            return -ESRCH;
        }
        snprintf(v[i].name, sizeof v[i].name, "%.63s", found.v[i].name);
        snprintf(v[i].hit_id, sizeof v[i].hit_id, "%s", found.v[i].id);
    }
    docker_say_targets(found.v, found.n, r->target);
    free(found.v);
    return 0;
}

int net_targets_find(struct fault_run *r, const struct net_params *p, struct net_targets *ret,
                     struct err *err)
{
    if (p->process)
        return find_process(r, p->process, ret, err);
    if (p->host)
        return find_host(r, p->host, ret, err);
    return find_containers(r, &p->docker, ret, err);
}

void net_targets_done(struct net_targets *t)
{
    free(t->v);
    *t = (struct net_targets){ 0 };
}
