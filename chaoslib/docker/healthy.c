/* wait_healthy: when a container that was started again counts as back. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "chaoslib/docker/crew.h"
#include "chaoslib/process/process.h"
#include "chaoslib/process/ready.h"

#define LOOK_NS (100 * NS_PER_MS)
#define SLICE_NS (500 * NS_PER_MS) /* how soon a second Ctrl-C is noticed */

static bool is_any(const char *text, const char *a, const char *b)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

const char *crew_healthy(const struct param_ctx *ctx, const struct doc *d, const char *text)
{
    struct err err = { 0 };

    if (!text || is_any(text, "false", "no"))
        return NULL;
    if (is_any(text, "true", "yes"))
        return "true";
    if (process_ready_check(text, &err) == 0)
        return text;
    diag_add(ctx->diag, doc_get(d, "wait_healthy"),
             "'%s' is none of true, false, tcp:HOST:PORT and http://HOST[:PORT]/PATH", text);
    return NULL;
}

static int by_healthcheck(struct fault_run *r, const char *id, uint64_t until, struct err *err)
{
    for (;;) {
        struct docker_container now;
        int rc = docker_inspect(r->env->docker, id, &now, err);
        if (rc != 0 || strcmp(now.health, "healthy") == 0)
            return MIN(rc, 0);
        if (!now.health[0])
            return err_set(err, ERR_REVERT, ENOTSUP,
                           "container '%s' has no HEALTHCHECK: write wait_healthy: tcp:HOST:PORT "
                           "or http://HOST:PORT/PATH",
                           now.name);
        if (latch_wait_until(r->hurry, clock_now_ns() + LOOK_NS))
            return 0; /* it runs again: that it is healthy is not waited for */
        if (clock_now_ns() >= until)
            return err_set(err, ERR_REVERT, ETIMEDOUT,
                           "container '%s' was started again, but it is %s", now.name, now.health);
    }
}

static int by_asking(struct fault_run *r, const char *text, uint64_t until, struct err *err)
{
    int rc = -EAGAIN;

    while (rc < 0 && clock_now_ns() < until && !latch_is_set(r->hurry))
        rc = process_wait_ready(text, MIN(until, clock_now_ns() + SLICE_NS), err);
    if (rc < 0 && !latch_is_set(r->hurry))
        return rc;
    err_clear(err);
    return 0;
}

int crew_wait_healthy(struct fault_run *r, struct err *err)
{
    const struct crew *c = r->state;
    uint64_t until = clock_now_ns() + c->healthy_ns;

    for (size_t i = 0; c->healthy && i < c->targets.n; i++) {
        if (!r->hits[i].reverted)
            continue;
        int rc = strcmp(c->healthy, "true") == 0 ? by_healthcheck(r, c->targets.v[i].id, until, err)
                                                 : by_asking(r, c->healthy, until, err);
        if (rc < 0)
            return rc;
        r->hits[i].reverted = clock_now_ns();
    }
    return 0;
}
