/* Faults in several containers at once: each call goes out in a thread of its own, since one that
 * waits for another would make the second fault late, and the engine's events say when each was
 * really hit. */
#include "chaoslib/docker/crew.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "chaoslib/docker/death.h"
#include "chaoslib/journal_file.h"

#define LANES_MAX 16
#define EVENT_NS (2 * NS_PER_SEC)    /* an event after its reply */
#define PERSIST_NS (30 * NS_PER_SEC) /* an engine that starts again may take */
#define PERSIST_LOOK_NS (200 * NS_PER_MS)

/* ---- all at once ---- */

typedef int crew_fn(struct fault_run *r, size_t i, struct err *err);

struct lanes {
    struct fault_run *r;
    crew_fn *fn;
    _Atomic size_t next;
    pthread_mutex_t lock;
    int rc;
    struct err err; /* the first one */
};

static void *lane(void *arg)
{
    struct lanes *l = arg;
    const struct crew *c = l->r->state;

    for (size_t i = l->next++; i < c->targets.n; i = l->next++) {
        struct err err = { 0 };
        int rc = l->fn(l->r, i, &err);
        if (rc >= 0)
            continue;
        pthread_mutex_lock(&l->lock);
        if (l->rc == 0) {
            l->rc = rc;
            l->err = err;
        }
        pthread_mutex_unlock(&l->lock);
    }
    return NULL;
}

static int each(struct fault_run *r, crew_fn *fn, struct err *err)
{
    const struct crew *c = r->state;
    struct lanes l = { .r = r, .fn = fn, .lock = PTHREAD_MUTEX_INITIALIZER };
    pthread_t threads[LANES_MAX];
    size_t n = 0;

    while (n + 1 < MIN(c->targets.n, LANES_MAX) && pthread_create(&threads[n], NULL, lane, &l) == 0)
        n++;
    lane(&l);
    while (n > 0)
        pthread_join(threads[--n], NULL);
    if (l.rc < 0)
        *err = l.err;
    return l.rc;
}

/* ---- the engine ---- */

int crew_post(struct docker *d, const char *id, const char *verb, uint64_t timeout_ns,
              struct err *err)
{
    auto_free char *path = xasprintf("/containers/%s/%s", id, verb);
    const struct docker_call call = { .method = "POST", .path = path, .timeout_ns = timeout_ns };

    return docker_do(d, &call, NULL, err);
}

int crew_send(struct docker *d, const char *path, const struct json *body, struct err *err)
{
    const struct docker_call call = { .method = "POST", .path = path, .body = body };

    return docker_do(d, &call, NULL, err);
}

bool crew_is_same(const struct crew_member *m, const struct docker_container *now)
{
    return docker_is_same(m->was, now);
}

/* ---- prepare ---- */

static int save_member(const struct fault_run *r, struct crew_member *m, struct err *err)
{
    const struct crew *c = r->state;
    struct docker_container now;
    struct json *all = NULL;
    int rc = 0;

    m->entry = json_object();
    json_put_str(m->entry, "id", m->was->id);
    json_put_str(m->entry, "name", m->was->name);
    json_put_str(m->entry, "started_at", m->was->started_at);
    if (!c->kind->save)
        return 0;
    rc = docker_inspect_json(r->env->docker, m->was->id, &now, &all, err);
    if (rc == 0)
        rc = c->kind->save(r, all, m->entry, err);
    else if (rc == 1)
        rc = err_set(err, ERR_TARGET, ENOENT, "container '%s' has gone", m->was->name);
    json_free(all);
    return rc;
}

int crew_prepare(struct fault_run *r, const struct crew_kind *kind,
                 const struct docker_select *select, struct err *err)
{
    struct crew *c = xcalloc(1, sizeof(*c));

    c->kind = kind;
    c->work = json_object();
    r->state = c;
    if (!r->env->docker)
        return err_set(err, ERR_PREPARE, ENOENT, "no container engine");
    if (docker_select(r->env->docker, select, kind->state, &r->rng, &c->targets, err) < 0)
        return -ENOENT;
    c->members = xcalloc(c->targets.n + 1, sizeof(*c->members));
    fault_hits_new(r, c->targets.n);
    for (size_t i = 0; i < c->targets.n; i++) {
        const struct docker_container *t = &c->targets.v[i];
        c->members[i].was = t;
        snprintf(r->hits[i].name, sizeof(r->hits[i].name), "%.63s", t->name);
        snprintf(r->hits[i].id, sizeof(r->hits[i].id), "%.71s", t->id);
        if (save_member(r, &c->members[i], err) < 0)
            return -EINVAL;
    }
    docker_say_targets(c->targets.v, c->targets.n, r->target);
    c->undoable = kind->undo != NULL;
    return 0;
}

static struct json *copy_of(const struct json *j)
{
    auto_free char *text = json_print(j, false);
    struct json *copy = NULL;

    return json_parse(text, strlen(text), &copy, NULL) < 0 ? json_object() : copy;
}

void crew_journal(const struct fault_run *r, struct json *record)
{
    const struct crew *c = r->state;

    if (!c->undoable || c->targets.n == 0)
        return;
    docker_write(r->env->docker, record);
    json_put(record, "work", copy_of(c->work));
    struct json *list = json_put(record, "containers", json_array());
    for (size_t i = 0; i < c->targets.n; i++) {
        auto_free char *claim = xasprintf("container %s", c->targets.v[i].id);
        json_put(list, NULL, copy_of(c->members[i].entry));
        journal_claim(record, claim);
    }
}

/* ---- inject ---- */

/* The engine said no. One that has ended or was removed meanwhile is no mistake of anybody. */
static int refused(struct fault_run *r, struct crew_member *m, struct err *err)
{
    const struct crew *c = r->state;
    struct docker_container now;
    int rc = docker_inspect(r->env->docker, m->was->id, &now, NULL);

    m->sent = c->kind->fails_late;
    m->gone = rc == 1 || (rc == 0 && !now.running);
    if (m->gone)
        return 1;
    return err_wrap(err, "container '%s'", m->was->name);
}

/* The event's instant; for a death on this machine the death itself, when it came before. */
static uint64_t when(const struct fault_hit *h, const struct docker_event *e, uint64_t died_ns)
{
    uint64_t at = docker_event_within(e, h->requested, clock_now_ns());

    return died_ns >= h->requested ? MIN(at, died_ns) : at;
}

static struct death *watch_death(const struct fault_run *r, const struct crew_member *m)
{
    const struct crew *c = r->state;
    bool ends = strcmp(c->kind->in_events, "die") == 0;

    return ends && docker_is_local(r->env->docker) ? death_watch(m->was->pid) : NULL;
}

static int hit_one(struct fault_run *r, size_t i, struct err *err)
{
    const struct crew *c = r->state;
    struct crew_member *m = &c->members[i];
    struct fault_hit *h = &r->hits[i];
    struct docker_event e;

    m->mark = docker_events_mark(r->env->docker_events);
    m->breaks = docker_events_breaks(r->env->docker_events);
    m->sent = true;
    struct death *death = watch_death(r, m);
    h->requested = clock_now_ns();
    int rc = c->kind->put_in(r, m, err);
    uint64_t received = clock_now_ns(), died_ns = death_instant(death);
    if (rc > 0 || (rc < 0 && err->kind != ERR_PREPARE))
        return refused(r, m, err);
    if (rc < 0)
        return err_wrap(err, "container '%s'", m->was->name);
    uint64_t wait_ns = c->kind->in_wait_ns ? c->kind->in_wait_ns(r) : EVENT_NS;
    const struct docker_event_query q = { .mark = m->mark,
                                          .id = m->was->id,
                                          .actions = c->kind->in_events,
                                          .detail = json_str(m->entry, "event", NULL),
                                          .latch = r->hurry,
                                          .until_ns = received + wait_ns };
    bool seen = *q.actions && docker_events_wait(r->env->docker_events, &q, &e) == 0;
    if (!seen && c->kind->must_see_event)
        return err_set(err, ERR_INJECT, ETIMEDOUT, "container '%s' did not end in time",
                       m->was->name);
    h->effective = seen ? when(h, &e, died_ns) : received;
    m->mark = seen ? e.seq : docker_events_mark(r->env->docker_events);
    return 0;
}

int crew_inject(struct fault_run *r, struct err *err)
{
    const struct crew *c = r->state;
    size_t gone = 0;

    if (each(r, hit_one, err) < 0)
        return -EIO;
    for (size_t i = 0; i < c->targets.n; i++) {
        gone += c->members[i].gone;
        uint64_t at = r->hits[i].effective;
        if (at && (!r->times.effective || at < r->times.effective))
            r->times.effective = at;
    }
    if (gone && gone == c->targets.n)
        return err_set(err, ERR_TARGET, ESRCH, "%s had ended before", r->target);
    return 0;
}

static int look_in(struct fault_run *r, size_t i, struct err *err)
{
    const struct crew *c = r->state;
    const struct crew_member *m = &c->members[i];
    struct docker_container now;

    if (!m->sent || !c->kind->is_in)
        return 0;
    int rc = docker_inspect(r->env->docker, m->was->id, &now, err);
    if (rc != 0)
        return MIN(rc, 0);
    if (c->kind->is_in(m, &now))
        return 0;
    return err_set(err, ERR_INJECT, EAGAIN, "container '%s' is %s", m->was->name, now.status);
}

int crew_verify_in(struct fault_run *r, struct err *err)
{
    return each(r, look_in, err);
}

/* ---- hold ---- */

/* The engine was away for a while, and its events with it. */
static bool left_unseen(const struct fault_run *r, struct crew_member *m)
{
    const struct crew *c = r->state;
    uint64_t breaks = docker_events_breaks(r->env->docker_events);
    struct docker_container now;

    if (breaks == m->breaks)
        return false;
    int rc = docker_inspect(r->env->docker, m->was->id, &now, NULL);
    if (rc < 0)
        return false; /* it has gone again */
    if (rc == 1 || (c->kind->is_in && !c->kind->is_in(m, &now)))
        return true;
    m->breaks = breaks;
    return false;
}

static bool left_by_itself(const struct fault_run *r, struct crew_member *m)
{
    const struct crew *c = r->state;
    const struct docker_event_query q = {
        .mark = m->mark, .id = m->was->id, .actions = c->kind->gone_events, .until_ns = 1
    };
    struct docker_event e;

    return docker_events_wait(r->env->docker_events, &q, &e) == 0 || left_unseen(r, m);
}

bool crew_target_gone(const struct fault_run *r)
{
    const struct crew *c = r->state;
    size_t n = 0;

    if (!c->kind->gone_events || !r->hold_ns)
        return false;
    for (size_t i = 0; i < c->targets.n; i++) {
        if (c->members[i].sent && !left_by_itself(r, &c->members[i]))
            return false;
        n += c->members[i].sent;
    }
    return n > 0;
}

/* ---- revert ---- */

/* An engine that has gone may be about to come back: asked again, within a bound. */
static int persist(struct fault_run *r, const struct crew_member *m, struct err *err)
{
    const struct crew *c = r->state;
    uint64_t until = clock_now_ns() + PERSIST_NS;
    int rc;

    while ((rc = c->kind->undo(r->env->docker, c->work, m->entry, err)) < 0) {
        uint64_t now = clock_now_ns();
        if (err->kind != ERR_PREPARE || now >= until ||
            latch_wait_until(r->hurry, now + PERSIST_LOOK_NS))
            break;
    }
    if (rc < 0)
        err->kind = ERR_REVERT;
    else
        err_clear(err);
    return rc < 0 ? err_wrap(err, "container '%s'", m->was->name) : rc;
}

static int revert_one(struct fault_run *r, size_t i, struct err *err)
{
    const struct crew *c = r->state;
    struct crew_member *m = &c->members[i];
    struct docker_event e;

    if (!m->sent)
        return 0;
    uint64_t began = clock_now_ns(), mark = docker_events_mark(r->env->docker_events);
    int rc = persist(r, m, err);
    if (rc < 0)
        return rc;
    m->sent = false;
    uint64_t done = clock_now_ns();
    const struct docker_event_query q = { .mark = mark,
                                          .id = m->was->id,
                                          .actions = c->kind->out_events,
                                          .latch = r->hurry,
                                          .until_ns = done + EVENT_NS };
    bool seen = rc == 0 && *q.actions && docker_events_wait(r->env->docker_events, &q, &e) == 0;
    r->hits[i].reverted = seen ? docker_event_within(&e, began, clock_now_ns()) : done;
    return 0;
}

int crew_revert(struct fault_run *r, struct err *err)
{
    const struct crew *c = r->state;

    if (!c->undoable)
        return 0;
    if (each(r, revert_one, err) < 0)
        return -EIO;
    if (crew_wait_healthy(r, err) < 0)
        return -ETIMEDOUT;
    for (size_t i = 0; i < c->targets.n; i++)
        r->times.reverted = MAX(r->times.reverted, r->hits[i].reverted);
    return 0;
}

static int look_out(struct fault_run *r, size_t i, struct err *err)
{
    const struct crew *c = r->state;
    const struct crew_member *m = &c->members[i];
    struct docker_container now;

    if (!c->undoable || !c->kind->is_out || !r->hits[i].reverted)
        return 0;
    int rc = docker_inspect(r->env->docker, m->was->id, &now, err);
    if (rc != 0)
        return MIN(rc, 0);
    if (c->kind->is_out(m, &now))
        return 0;
    return err_set(err, ERR_REVERT, EAGAIN, "container '%s' is %s", m->was->name, now.status);
}

int crew_verify_out(struct fault_run *r, struct err *err)
{
    return each(r, look_out, err);
}

void crew_release(struct fault_run *r)
{
    struct crew *c = r->state;

    if (!c)
        return;
    for (size_t i = 0; c->members && i < c->targets.n; i++)
        json_free(c->members[i].entry);
    free(c->members);
    free(c->targets.v);
    json_free(c->work);
    free(c);
    r->state = NULL;
}

/* ---- from the journal ---- */

int crew_undo(const struct crew_kind *kind, const struct json *record, struct err *err)
{
    struct docker *d = docker_read(record, err);
    const struct json *list = json_get(record, "containers");
    int worst = 1;

    if (!d)
        return -EIO;
    for (const struct json *j = json_is_array(list) ? json_first(list) : NULL; j;
         j = json_next(j)) {
        struct err mine = { 0 };
        int rc = kind->undo(d, json_get(record, "work"), j, &mine);
        if (rc < 0) {
            *err = mine;
            worst = err_wrap(err, "container '%s'", json_str(j, "name", ""));
        } else if (worst >= 0) {
            worst = MIN(worst, rc);
            if (mine.kind == ERR_NONE && mine.msg[0]) /* a remark */
                *err = mine;
        }
    }
    docker_free(d);
    return worst;
}
