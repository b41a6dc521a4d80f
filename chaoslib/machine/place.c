/* See place.h. A container is meant by its first process on this machine; the number that the
 * engine told is only trusted when the engine tells the same once the process is held. */
#include "chaoslib/machine/place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

static int one_container(struct docker *d, const struct docker_container *c, struct target *ret,
                         struct err *err)
{
    struct target t = { .name = c->name, .pidfd = -1 };
    struct docker_container again;
    int rc = proc_identify(c->pid, &t.id, NULL);

    if (rc == 0)
        t.pidfd = pidfd_open(t.id.pid, 0);
    if (t.pidfd >= 0)
        rc = docker_inspect(d, c->id, &again, err);
    if (t.pidfd >= 0 && rc == 0 && docker_is_same(c, &again) && again.pid == c->pid &&
        proc_is_alive(&t.id)) {
        *ret = t;
        return 0;
    }
    target_close(&t);
    return rc < 0 && err_is_set(err)
               ? rc
               : err_set(err, ERR_TARGET, ESRCH, "container '%s' has just ended", c->name);
}

static int containers(struct fault_run *r, const struct place_at *at, struct places *p,
                      struct err *err)
{
    struct docker *d = r->env->docker;

    if (!d)
        return err_set(err, ERR_PREPARE, ENOTCONN, "no container engine is connected");
    if (!docker_is_local(d))
        return err_set(err, ERR_PREPARE, EREMOTE,
                       "%s is not on this machine: run chaos-load where the containers run",
                       docker_describe(d));
    if (docker_select(d, &at->docker, DOCKER_RUNNING, &r->rng, &p->containers, err) < 0)
        return -1;
    docker_say_targets(p->containers.v, p->containers.n, r->target);
    p->v = xcalloc(p->containers.n + 1, sizeof(*p->v));
    for (; p->n < p->containers.n; p->n++)
        if (one_container(d, &p->containers.v[p->n], &p->v[p->n], err) < 0)
            return -1;
    return 0;
}

static void name_hits(struct fault_run *r, const struct places *p)
{
    fault_hits_new(r, p->n);
    for (size_t i = 0; i < p->n; i++) {
        snprintf(r->hits[i].name, sizeof(r->hits[i].name), "%.63s", p->v[i].name);
        if (p->containers.n)
            snprintf(r->hits[i].id, sizeof(r->hits[i].id), "%s", p->containers.v[i].id);
        else if (p->v[i].pidfd >= 0)
            snprintf(r->hits[i].id, sizeof(r->hits[i].id), "pid %d", (int)p->v[i].id.pid);
    }
}

int places_open(struct fault_run *r, const struct place_at *at, struct places *ret, struct err *err)
{
    struct places p = { 0 };
    int rc = 0;

    if (strcmp(r->kind->backend, "docker") == 0) {
        rc = containers(r, at, &p, err);
    } else {
        p.v = xcalloc(1, sizeof(*p.v));
        p.v[0] = (struct target){ .name = "this machine", .pidfd = -1 };
        p.n = 1;
        if (at->process)
            rc = target_open(r, at->process, &p.v[0], err);
        else
            snprintf(r->target, sizeof(r->target), "this machine");
    }
    if (rc < 0) {
        places_close(&p);
        return rc;
    }
    name_hits(r, &p);
    *ret = p;
    return 0;
}

void places_close(struct places *p)
{
    for (size_t i = 0; i < p->n; i++)
        target_close(&p->v[i]);
    free(p->v);
    free(p->containers.v);
    *p = (struct places){ 0 };
}
