/* See mend.h. */
#include "chaoslib/pumba/mend.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "chaoslib/pumba/residue.h"

/* ---- before ---- */

static void plan_one(struct docker *d, const struct json *what, const struct docker_container *c,
                     struct json *list)
{
    struct json *one = json_put(list, NULL, json_object());
    enum pumba_found found = PUMBA_FOUND_SOME;
    struct err err = { 0 };

    json_put_str(one, "id", c->id);
    json_put_str(one, "started_at", c->started_at);
    if (!json_get(what, "interface") || !docker_is_local(d) || !c->pid)
        return;
    if (pumba_residue_look(c->pid, what, &found, &err) < 0)
        log_debug("pumba.mend",
                  "container %s: what pumba might leave in its network could not "
                  "be taken away: %s",
                  c->name, err.msg);
    else
        json_put_bool(one, "clean", found == PUMBA_FOUND_NOTHING);
}

struct json *pumba_mend_plan(struct docker *d, const struct pumba_line *l,
                             const struct docker_targets *t)
{
    struct json *plan = json_object(), *list;
    struct json *what = json_put(plan, "residue", pumba_residue_of(l));

    json_put_bool(plan, "start", l->command == PUMBA_STOP && l->stop_restart);
    json_put_bool(plan, "unpause", l->command == PUMBA_PAUSE);
    list = json_put(plan, "containers", json_array());
    for (size_t i = 0; i < t->n && pumba_is_lasting(l); i++)
        plan_one(d, what, &t->v[i], list);
    return plan;
}

/* ---- after ---- */

static int mend_state(struct docker *d, const struct json *plan, const struct docker_container *c,
                      struct err *err)
{
    bool paused = json_bool(plan, "unpause", false) && c->paused;
    bool stopped = json_bool(plan, "start", false) && !c->running;

    if (!paused && !stopped)
        return 1;
    auto_free char *path = xasprintf("/containers/%.64s/%s", c->id, paused ? "unpause" : "start");
    const struct docker_call call = { .method = "POST", .path = path };
    if (docker_do(d, &call, NULL, err) < 0)
        return err_wrap(err, "container %.60s is still %s", c->name, paused ? "paused" : "stopped");
    return 0;
}

static int by_hand(const struct docker_container *c, const struct json *what, const char *why,
                   struct err *err)
{
    auto_buf struct buf text = BUF_INIT(4096);

    pumba_residue_by_hand(c->pid, what, &text);
    return err_set(err, ERR_REVERT, EIO, "in container %.60s: %.100s; by hand: %.200s", c->name,
                   why, buf_str(&text));
}

/* Started again since, its network is another one, with nothing in it. */
static int mend_network(const struct json *plan, const struct json *one,
                        const struct docker_container *c, struct err *err)
{
    const struct json *what = json_get(plan, "residue");
    bool clean = json_bool(one, "clean", false);
    enum pumba_found found = PUMBA_FOUND_NOTHING;
    struct err mine = { 0 };

    if (!json_get(one, "clean"))
        return 2;
    if (!c->pid || strcmp(c->started_at, json_str(one, "started_at", "")) != 0)
        return 1;
    int rc = clean ? pumba_residue_remove(c->pid, what, &mine)
                   : pumba_residue_look(c->pid, what, &found, &mine);
    if (rc < 0)
        return by_hand(c, what, mine.msg, err);
    if (!clean && found == PUMBA_FOUND_SOME)
        return by_hand(c, what, "what is there may be pumba's, and was there before it too", err);
    return clean ? rc : 1;
}

static const struct json *entry_of(const struct json *plan, const char *id)
{
    const struct json *list = json_get(plan, "containers");

    for (const struct json *c = json_first(list); c; c = json_next(c))
        if (strcmp(json_str(c, "id", ""), id) == 0)
            return c;
    return NULL;
}

int pumba_mend(struct docker *d, const struct json *plan, const char *id, struct err *err)
{
    const struct json *one = entry_of(plan, id);
    struct docker_container c;
    int rc = one ? docker_inspect(d, id, &c, err) : 1;

    if (rc != 0)
        return rc; /* gone, and what was in it with it */
    rc = mend_state(d, plan, &c, err);
    return rc == 1 ? mend_network(plan, one, &c, err) : rc;
}

int pumba_mend_all(struct docker *d, const struct json *plan, size_t *ret_n, struct err *err)
{
    const struct json *list = json_get(plan, "containers");

    *ret_n = 0;
    for (const struct json *c = json_first(list); c; c = json_next(c)) {
        int rc = pumba_mend(d, plan, json_str(c, "id", ""), err);
        if (rc < 0)
            return rc;
        *ret_n += rc == 0;
    }
    return 0;
}
