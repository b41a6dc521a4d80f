/* See watch.h. */
#include "chaoslib/pumba/watch.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define LOOK_NS (100 * NS_PER_MS)
#define ID_DIGITS 64

struct pumba_watch {
    struct pumba_watch_opts opts;
    regex_t match;
    pthread_t thread;
    pthread_mutex_t lock; /* of hits and shown */
    struct pumba_hits *hits;
    size_t shown[PUMBA_HITS_MAX]; /* those that match, by their number in hits */
    size_t n_shown;
    struct latch *stop;
    uint64_t mark; /* the last event taken in */
};

/* ---- whose side-car ---- */

/* 64 hex digits at the end of a path, or after "container:". */
static bool take_id(const char *text, char ret[72])
{
    const char *slash = strrchr(text, '/');
    size_t n = 0;

    text = slash ? slash + 1 : text;
    if (strncmp(text, "container:", 10) == 0)
        text += 10;
    if (strncmp(text, "docker-", 7) == 0) /* docker-ID.scope */
        text += 7;
    while (isxdigit((unsigned char)text[n]))
        n++;
    if (n != ID_DIGITS)
        return false;
    snprintf(ret, 72, "%.64s", text);
    return true;
}

bool pumba_sidecar_target(const struct json *inspected, char ret[72], bool *ret_is_stress)
{
    const struct json *words = json_get(inspected, "Config.Cmd");

    *ret_is_stress = false;
    if (take_id(json_str(inspected, "HostConfig.NetworkMode", ""), ret))
        return true;
    *ret_is_stress = true;
    if (take_id(json_str(inspected, "HostConfig.CgroupParent", ""), ret))
        return true;
    for (const struct json *w = json_first(words); w; w = json_next(w)) /* --inject-cgroup */
        if (take_id(json_str(w, "", ""), ret))
            return true;
    return false;
}

/* A Pumba itself, in a container of its own: labelled otherwise than its side-cars. */
static bool is_pumba(const struct json *inspected)
{
    const struct json *labels = json_get(inspected, "Config.Labels");

    for (const struct json *l = json_first(labels); l; l = json_next(l))
        if (strcmp(json_key(l), "com.gaiaadm.pumba") == 0)
            return strcmp(json_str(l, "", ""), "true") == 0;
    return false;
}

static void find_target(struct pumba_watch *w, const struct docker_event *e)
{
    struct docker_container sidecar, target = { 0 };
    auto(json) struct json *whole = NULL;
    struct err err = { 0 };
    bool is_stress;
    char id[72];

    int rc = docker_inspect_json(w->opts.docker, e->id, &sidecar, &whole, &err);
    if (rc == 0 && is_pumba(whole))
        return;
    if (rc != 0 || !pumba_sidecar_target(whole, id, &is_stress)) {
        log_warn("pumba.sidecar", "whose side-car %s is cannot be told: %s", e->name,
                 rc < 0 ? err.msg
                 : rc   ? "it is gone already"
                        : "it belongs to no container");
        return;
    }
    rc = docker_inspect(w->opts.docker, id, &target, &err);
    pthread_mutex_lock(&w->lock);
    pumba_hits_sidecar(w->hits, e->id, id, rc == 0 ? target.name : "", is_stress);
    pthread_mutex_unlock(&w->lock);
}

/* ---- events ---- */

static bool matches(const struct pumba_watch *w, const char *name)
{
    return !w->opts.match || regexec(&w->match, name, 0, NULL, 0) == 0;
}

/* A hit's number among those that match; a new one gets the next. */
static size_t number_of(struct pumba_watch *w, size_t i)
{
    for (size_t k = w->n_shown; k-- > 0;)
        if (w->shown[k] == i)
            return k;
    w->shown[w->n_shown] = i;
    return w->n_shown++;
}

static void on_hit(void *arg, size_t i, const struct pumba_hit *hit)
{
    struct pumba_watch *w = arg;

    if (!matches(w, hit->name))
        return;
    size_t number = number_of(w, i);
    if (w->opts.fn)
        w->opts.fn(w->opts.arg, number, hit);
}

static void take_in(struct pumba_watch *w, const struct docker_event *e)
{
    w->mark = e->seq;
    pthread_mutex_lock(&w->lock);
    pumba_hits_feed(w->hits, e);
    pthread_mutex_unlock(&w->lock);
    if (e->pumba && strcmp(e->type, "container") == 0 && strcmp(e->action, "create") == 0)
        find_target(w, e);
}

static void *follow(void *arg)
{
    struct pumba_watch *w = arg;
    struct docker_event e;

    while (!latch_is_set(w->stop))
        if (docker_events_next(w->opts.events, w->mark, w->stop, clock_now_ns() + LOOK_NS, &e) == 0)
            take_in(w, &e);
    while (docker_events_next(w->opts.events, w->mark, NULL, 0, &e) == 0)
        take_in(w, &e);
    return NULL;
}

/* ---- from outside ---- */

static void release(struct pumba_watch *w)
{
    pumba_hits_free(w->hits);
    pthread_mutex_destroy(&w->lock);
    latch_free(w->stop);
    if (w->opts.match)
        regfree(&w->match);
    free(w);
}

struct pumba_watch *pumba_watch_start(const struct pumba_watch_opts *opts, struct err *err)
{
    struct pumba_watch *w = xcalloc(1, sizeof(*w));

    w->opts = *opts;
    if (opts->match && regcomp(&w->match, opts->match, REG_EXTENDED | REG_NOSUB) != 0) {
        err_set(err, ERR_USAGE, EINVAL, "'%.80s' is not a regular expression", opts->match);
        free(w);
        return NULL;
    }
    pthread_mutex_init(&w->lock, NULL);
    w->stop = latch_new();
    w->hits = pumba_hits_new(opts->any, on_hit, w);
    w->mark = docker_events_mark(opts->events);
    int rc = pthread_create(&w->thread, NULL, follow, w);
    if (rc == 0)
        return w;
    err_sys(err, ERR_PREPARE, rc, "cannot start a thread");
    release(w);
    return NULL;
}

size_t pumba_watch_copy(struct pumba_watch *w, struct pumba_hit *ret, size_t max)
{
    pthread_mutex_lock(&w->lock);
    size_t n = MIN(w->n_shown, max);
    for (size_t i = 0; i < n; i++)
        ret[i] = *pumba_hits_at(w->hits, w->shown[i]);
    pthread_mutex_unlock(&w->lock);
    return n;
}

void pumba_watch_stop(struct pumba_watch *w)
{
    if (!w)
        return;
    latch_set(w->stop);
    pthread_join(w->thread, NULL);
    release(w);
}

/* ---- as a fault ---- */

struct sight {
    struct pumba_watch *watch;
    fault_sight_fn *fn;
    void *arg;
};

static void on_sight(void *arg, size_t i, const struct pumba_hit *hit)
{
    const struct sight *to = arg;
    struct fault_sight s = { .number = i, .foreign = hit->foreign };

    snprintf(s.kind, sizeof(s.kind), "%s", pumba_deed_name(hit->deed));
    snprintf(s.target, sizeof(s.target), "container %.60s (%.12s)%s%.60s", hit->name, hit->id,
             hit->detail[0] ? ": " : "", hit->detail);
    snprintf(s.hit.name, sizeof(s.hit.name), "%s", hit->name);
    snprintf(s.hit.id, sizeof(s.hit.id), "%s", hit->id);
    s.hit.requested = hit->requested_ns;
    s.hit.effective = hit->effective_ns;
    s.hit.reverted = hit->reverted_ns;
    s.lasting = hit->deed != PUMBA_DID_RM;
    if (hit->failed)
        snprintf(s.error, sizeof(s.error), "pumba tried, and its tool failed: nothing took effect");
    else if (hit->revert_failed)
        snprintf(s.error, sizeof(s.error), "pumba could not take it back");
    to->fn(to->arg, &s);
}

void *pumba_sight_start(const struct chaos_env *env, bool any, const char *match,
                        fault_sight_fn *fn, void *arg, struct err *err)
{
    struct sight *s = xcalloc(1, sizeof(*s));
    const struct pumba_watch_opts opts = { .docker = env->docker,
                                           .events = env->docker_events,
                                           .any = any,
                                           .match = match,
                                           .fn = on_sight,
                                           .arg = s };

    *s = (struct sight){ .fn = fn, .arg = arg };
    s->watch = pumba_watch_start(&opts, err);
    if (s->watch)
        return s;
    free(s);
    return NULL;
}

void pumba_sight_stop(void *sight)
{
    struct sight *s = sight;

    pumba_watch_stop(s->watch);
    free(s);
}
