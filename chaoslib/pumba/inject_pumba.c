/* pumba: starts a Pumba by its own command line, or watches one that someone else runs.
 *
 * Started, it is not believed: it logs before it acts, exits 0 when it hit nobody and when it could
 * not take back what it did. What it hit is known from the engine's events; whether it is undone,
 * by looking. */
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "chaoslib/docker/select.h"
#include "chaoslib/inject.h"
#include "chaoslib/pumba/native.h"
#include "chaoslib/pumba/session.h"
#include "chaoslib/pumba/watch.h"

#define HITS_MAX 200               /* of one activation */
#define BEGIN_NS (60 * NS_PER_SEC) /* it may pull an image first */
#define END_NS (40 * NS_PER_SEC)   /* its own limit for taking back is 30 s */
#define OWN_END_NS (3 * NS_PER_SEC)
#define SETTLE_NS (3 * NS_PER_SEC) /* events come a little later than what they tell */
#define LOOK_NS (10 * NS_PER_MS)

enum watch_mode { WATCH_OFF, WATCH_PUMBA, WATCH_ANY };

struct pumba_params {
    const char *run, *match;
    int watch;
    bool allow_empty;
    struct pumba_line line;
};

struct pumba {
    char *program, **argv;
    char mark[96];
    struct pumba_session *session;
    struct pumba_watch *watch;
    struct docker_targets chosen; /* whom it may hit, as they were before */
    bool alone;                   /* its hits cannot be seen: exec */
};

/* ---- whom it may hit ---- */

static int choose(struct fault_run *r, struct pumba *p, struct err *err)
{
    const struct pumba_params *params = r->params;
    const struct pumba_line *l = &params->line;
    auto_buf struct buf pattern = BUF_INIT(PUMBA_TEXT_MAX);
    struct docker_select s = { .names = l->targets,
                               .labels = l->labels,
                               .mode = DOCKER_ALL,
                               .allow_empty = params->allow_empty };

    if (!l->targets.n) {
        if (pumba_pattern(l->pattern ? l->pattern : "", &pattern, err) < 0)
            return err_wrap(err, "whom it would hit cannot be told");
        s.match = buf_str(&pattern);
    }
    return docker_select(r->env->docker, &s, l->command == PUMBA_RM ? DOCKER_ANY : DOCKER_RUNNING,
                         &r->rng, &p->chosen, err);
}

static const struct docker_container *chosen_by_id(const struct pumba *p, const char *id)
{
    for (size_t i = 0; i < p->chosen.n; i++)
        if (strcmp(p->chosen.v[i].id, id) == 0)
            return &p->chosen.v[i];
    return NULL;
}

static int refuse_paused(const struct pumba *p, const struct pumba_line *l, struct err *err)
{
    for (size_t i = 0; i < p->chosen.n && l->command == PUMBA_PAUSE; i++)
        if (p->chosen.v[i].paused)
            return err_set(err, ERR_TARGET, EBUSY,
                           "container %s is paused already, by someone else", p->chosen.v[i].name);
    return 0;
}

static int pumba_prepare(struct fault_run *r, struct err *err)
{
    const struct pumba_params *params = r->params;
    auto(json) struct json *engine = json_object();
    struct pumba *p = xcalloc(1, sizeof(*p));
    char name[32], whom[200];

    r->state = p;
    if (!r->env->docker)
        return err_set(err, ERR_PREPARE, ENOTCONN, "there is no container engine to follow");
    p->program = pumba_program(err);
    if (!p->program || choose(r, p, err) < 0 || refuse_paused(p, &params->line, err) < 0)
        return -ENOENT;
    docker_write(r->env->docker, engine);
    p->argv = pumba_argv(p->program, &params->line, json_str(engine, "engine.address", ""));
    p->alone = params->line.command == PUMBA_EXEC;
    snprintf(p->mark, sizeof(p->mark), "CHAOS_LOAD_PUMBA=%.40s-%llx", r->env->run_id,
             (unsigned long long)rng_entropy());
    if (r->hold_ns == 0 && pumba_is_lasting(&params->line))
        r->hold_ns = params->line.duration_ns;
    docker_say_targets(p->chosen.v, p->chosen.n, r->target);
    snprintf(whom, sizeof(whom), "%.199s", r->target);
    pumba_line_name(&params->line, name);
    snprintf(r->target, sizeof(r->target), "%s", whom);
    snprintf(r->mechanism, sizeof(r->mechanism), "pumba %s", name);
    fault_hits_new(r, HITS_MAX);
    r->n_hits = 0;
    return 0;
}

static void pumba_journal(const struct fault_run *r, struct json *record)
{
    const struct pumba_params *params = r->params;
    const struct pumba *p = r->state;
    char name[32];

    pumba_line_name(&params->line, name);
    docker_write(r->env->docker, record);
    json_put_str(record, "mark", p->mark);
    json_put_str(record, "command", name);
    json_put_bool(record, "start", params->line.command == PUMBA_STOP && params->line.stop_restart);
    json_put_bool(record, "unpause", params->line.command == PUMBA_PAUSE);
    struct json *list = json_put(record, "containers", json_array());
    for (size_t i = 0; i < p->chosen.n && pumba_is_lasting(&params->line); i++)
        json_put_str(list, NULL, p->chosen.v[i].id);
}

/* ---- what it hit ---- */

static bool is_of(const struct pumba_line *l, enum pumba_deed deed)
{
    static const unsigned deeds[PUMBA_COMMAND_MAX] = {
        [PUMBA_KILL] = 1U << PUMBA_DID_KILL | 1U << PUMBA_DID_STOP,
        [PUMBA_STOP] = 1U << PUMBA_DID_KILL | 1U << PUMBA_DID_STOP,
        [PUMBA_RESTART] = 1U << PUMBA_DID_RESTART | 1U << PUMBA_DID_STOP,
        [PUMBA_PAUSE] = 1U << PUMBA_DID_PAUSE,
        [PUMBA_RM] = 1U << PUMBA_DID_RM | 1U << PUMBA_DID_KILL,
        [PUMBA_STRESS] = 1U << PUMBA_DID_STRESS,
        [PUMBA_NETEM] = 1U << PUMBA_DID_NETEM,
        [PUMBA_IPTABLES] = 1U << PUMBA_DID_IPTABLES,
    };

    return deeds[l->command] & 1U << deed;
}

/* Into r->hits; how many took effect. */
static size_t take_hits(struct fault_run *r)
{
    const struct pumba_params *params = r->params;
    const struct pumba *p = r->state;
    auto_free struct pumba_hit *seen = xcalloc(PUMBA_HITS_MAX, sizeof(*seen));
    size_t n = p->watch ? pumba_watch_copy(p->watch, seen, PUMBA_HITS_MAX) : 0;

    r->n_hits = 0;
    for (size_t i = 0; i < n && r->n_hits < HITS_MAX; i++) {
        const struct docker_container *c = chosen_by_id(p, seen[i].id);
        if (!c || seen[i].failed || !seen[i].effective_ns || !is_of(&params->line, seen[i].deed))
            continue;
        struct fault_hit *hit = &r->hits[r->n_hits++];
        *hit = (struct fault_hit){ .requested = seen[i].requested_ns,
                                   .effective = seen[i].effective_ns,
                                   .reverted = seen[i].reverted_ns };
        snprintf(hit->name, sizeof(hit->name), "%.63s", c->name);
        snprintf(hit->id, sizeof(hit->id), "%.71s", c->id);
    }
    if (r->n_hits)
        r->times.effective = r->hits[0].effective;
    return r->n_hits;
}

/* ---- start ---- */

static int why_nothing(const struct fault_run *r, int status, struct err *err)
{
    const struct pumba_params *params = r->params;
    const struct pumba *p = r->state;
    struct pumba_log log;

    pumba_session_log(p->session, &log);
    if (status != 0)
        return err_set(err, ERR_INJECT, EIO, "pumba ended with status %d: %.250s", status,
                       log.fatal[0] ? log.fatal : log.warning);
    if (p->alone && !log.n_found_nothing)
        return 0;
    if (log.n_found_nothing && !params->allow_empty)
        return err_set(err, ERR_TARGET, ESRCH, "pumba found no containers, and exits 0 then");
    if (!params->allow_empty)
        return err_set(err, ERR_INJECT, EIO, "pumba ended, and the engine saw nothing hit: %.200s",
                       log.warning);
    return 0;
}

/* Until something was hit; and with a command that ends by itself at once, until it has. */
static int wait_begun(struct fault_run *r, struct err *err)
{
    const struct pumba_params *params = r->params;
    struct pumba *p = r->state;
    bool once = !params->line.interval_ns && !pumba_is_lasting(&params->line);
    uint64_t until = clock_now_ns() + BEGIN_NS, over_ns = 0;
    int status = 0;

    for (;; clock_sleep_until(clock_now_ns() + LOOK_NS)) {
        bool over = pumba_session_is_over(p->session, &status);
        bool hit = take_hits(r) > 0;
        if (over && !over_ns)
            over_ns = clock_now_ns();
        if (over && status != 0)
            return why_nothing(r, status, err);
        if (hit && (over || !once))
            return 0;
        if (over && (p->alone || clock_now_ns() >= over_ns + SETTLE_NS / 3))
            return why_nothing(r, status, err);
        if (latch_is_set(r->abort))
            return err_set(err, ERR_ABORTED, ECANCELED, "stopped before pumba had hit anything");
        if (clock_now_ns() >= until)
            return err_set(err, ERR_TIMEOUT, ETIMEDOUT, "pumba has hit nothing within %d s",
                           (int)(BEGIN_NS / NS_PER_SEC));
    }
}

static int pumba_inject(struct fault_run *r, struct err *err)
{
    struct pumba *p = r->state;
    const struct pumba_watch_opts opts = { .docker = r->env->docker,
                                           .events = r->env->docker_events };

    p->watch = pumba_watch_start(&opts, err);
    if (!p->watch)
        return -EIO;
    p->session = pumba_session_start(p->argv, p->mark, err);
    return p->session ? wait_begun(r, err) : -EIO;
}

static int pumba_still_in(const struct fault_run *r, struct err *err)
{
    const struct pumba_params *params = r->params;
    const struct pumba *p = r->state;
    struct pumba_log log;
    int status = 0;

    if (!pumba_session_is_over(p->session, &status))
        return 0;
    if (status == 0 && !params->line.interval_ns)
        return 0; /* its own duration was over */
    pumba_session_log(p->session, &log);
    return err_set(err, ERR_INJECT, EIO, "pumba ended with status %d: %.250s", status, log.fatal);
}

/* ---- end ---- */

/* What a Pumba that had to die left behind. 1: nothing had to be done. */
static int mend(struct docker *d, const char *id, bool unpause, bool start, struct err *err)
{
    struct docker_container c;
    int rc = docker_inspect(d, id, &c, err);

    if (rc != 0)
        return rc < 0 ? rc : 1;
    bool paused = unpause && c.paused, stopped = start && !c.running;
    if (!paused && !stopped)
        return 1;
    auto_free char *path = xasprintf("/containers/%.64s/%s", id, paused ? "unpause" : "start");
    const struct docker_call call = { .method = "POST", .path = path };
    if (docker_do(d, &call, NULL, err) < 0)
        return err_wrap(err, "container %.60s is still %s", c.name, paused ? "paused" : "stopped");
    return 0;
}

static bool all_reverted(const struct fault_run *r)
{
    for (size_t i = 0; i < r->n_hits; i++)
        if (!r->hits[i].reverted)
            return false;
    return true;
}

static void stamp_reverted(struct fault_run *r)
{
    for (size_t i = 0; i < r->n_hits; i++)
        r->times.reverted = MAX(r->times.reverted, r->hits[i].reverted);
}

static void end_session(struct fault_run *r)
{
    const struct pumba_params *params = r->params;
    struct pumba *p = r->state;
    uint64_t until = clock_now_ns() + OWN_END_NS;

    while (r->ended_by == ENDED_BY_PLAN && !params->line.interval_ns &&
           !pumba_session_is_over(p->session, NULL) && clock_now_ns() < until)
        clock_sleep_until(clock_now_ns() + LOOK_NS);
    if (pumba_session_end(p->session, END_NS, r->hurry) == 1)
        log_warn("pumba.end", "fault=%s pumba had to be killed; what it left is looked for",
                 r->name);
}

static int pumba_revert(struct fault_run *r, struct err *err)
{
    const struct pumba_params *params = r->params;
    struct pumba *p = r->state;
    bool unpause = params->line.command == PUMBA_PAUSE;
    bool start = params->line.command == PUMBA_STOP && params->line.stop_restart;
    uint64_t until = clock_now_ns() + SETTLE_NS;

    if (!p->session)
        return 0;
    end_session(r);
    take_hits(r);
    for (size_t i = 0; i < r->n_hits && (unpause || start); i++)
        if (mend(r->env->docker, r->hits[i].id, unpause, start, err) < 0)
            return -EIO;
    bool lasting = pumba_is_lasting(&params->line);
    while (lasting && !all_reverted(r) && clock_now_ns() < until) {
        clock_sleep_until(clock_now_ns() + LOOK_NS);
        take_hits(r);
    }
    if (lasting)
        stamp_reverted(r);
    return 0;
}

static int still_there(const struct pumba_line *l, const struct fault_hit *hit, struct err *err)
{
    if (l->command == PUMBA_NETEM)
        return err_set(
            err, ERR_REVERT, EIO,
            "pumba did not take its netem out of container %s: in its network namespace, "
            "run tc qdisc del dev %s root",
            hit->name, l->interface);
    if (l->command == PUMBA_IPTABLES)
        return err_set(
            err, ERR_REVERT, EIO,
            "pumba did not take its rules out of container %s: in its network namespace, "
            "run iptables -S INPUT and delete them",
            hit->name);
    return err_set(err, ERR_REVERT, EIO, "pumba's %s of container %s is not over",
                   pumba_command_name(l->command), hit->name);
}

/* By looking: the engine's state for what it has one for, its events for the rest. */
static int pumba_verify_out(struct fault_run *r, struct err *err)
{
    const struct pumba_params *params = r->params;
    const struct pumba_line *l = &params->line;

    for (size_t i = 0; i < r->n_hits && pumba_is_lasting(l); i++) {
        struct docker_container c;
        int rc = docker_inspect(r->env->docker, r->hits[i].id, &c, err);
        if (rc < 0)
            return rc;
        if (rc == 1)
            continue; /* gone, and what was in it with it */
        bool by_state = l->command == PUMBA_PAUSE || l->command == PUMBA_STOP;
        bool out = l->command == PUMBA_PAUSE  ? !c.paused
                   : l->command == PUMBA_STOP ? c.running
                                              : r->hits[i].reverted != 0 || !c.running;
        if (!out)
            return still_there(l, &r->hits[i], err);
        if (by_state && !r->hits[i].reverted)
            r->hits[i].reverted = clock_now_ns();
    }
    return 0;
}

static void pumba_release(struct fault_run *r)
{
    struct pumba *p = r->state;

    if (!p)
        return;
    pumba_session_free(p->session);
    pumba_watch_stop(p->watch);
    pumba_argv_free(p->argv);
    free(p->program);
    free(p->chosen.v);
    free(p);
    r->state = NULL;
}

/* Asked to end, it undoes by itself what it did; what it could not is mended here. */
static int pumba_undo(const struct json *record, struct err *err)
{
    int ended = pumba_end_marked(json_str(record, "mark", "CHAOS_LOAD_PUMBA=?"), END_NS, err);
    bool unpause = json_bool(record, "unpause", false), start = json_bool(record, "start", false);
    bool mended = false;

    if (ended < 0)
        return ended;
    if (!unpause && !start)
        return ended == 0;
    struct docker *d = docker_read(record, err);
    int rc = d ? 0 : -EIO;
    const struct json *list = json_get(record, "containers");
    for (const struct json *c = json_first(list); c && rc >= 0; c = json_next(c)) {
        rc = mend(d, json_str(c, "", ""), unpause, start, err);
        mended |= rc == 0;
    }
    docker_free(d);
    if (rc < 0)
        return rc;
    return !mended && ended == 0;
}

/* ---- watching ---- */

struct watcher {
    struct pumba_watch *watch;
    fault_sight_fn *fn;
    void *arg;
};

static void on_hit(void *arg, size_t i, const struct pumba_hit *hit)
{
    const struct watcher *w = arg;
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
    w->fn(w->arg, &s);
}

static void *pumba_watch_begin(const void *params, const struct chaos_env *env, fault_sight_fn *fn,
                               void *arg, struct err *err)
{
    const struct pumba_params *p = params;
    struct watcher *w = xcalloc(1, sizeof(*w));
    const struct pumba_watch_opts opts = { .docker = env->docker,
                                           .events = env->docker_events,
                                           .any = p->watch == WATCH_ANY,
                                           .match = p->match,
                                           .fn = on_hit,
                                           .arg = w };

    *w = (struct watcher){ .fn = fn, .arg = arg };
    w->watch = pumba_watch_start(&opts, err);
    if (w->watch)
        return w;
    free(w);
    return NULL;
}

static void pumba_watch_end(void *watch)
{
    struct watcher *w = watch;

    pumba_watch_stop(w->watch);
    free(w);
}

/* ---- parameters ---- */

static void check_line(const struct param_ctx *ctx, const struct doc *d, struct pumba_params *p)
{
    const struct doc *at = doc_get(d, "run");
    struct err err = { 0 };

    if (pumba_read(p->run, ctx->arena, &p->line, &err) < 0) {
        diag_add(ctx->diag, at, "%s", err.msg);
        return;
    }
    if (p->line.dry_run)
        diag_add(ctx->diag, at, "with --dry-run it would hit nobody: leave it out");
    if (strcmp(p->line.runtime, "containerd") == 0)
        diag_add(ctx->diag, at,
                 "--runtime containerd cannot be followed: only an engine with "
                 "Docker's API tells what was hit");
    if (p->match)
        diag_add_key(ctx->diag, doc_get(d, "match"),
                     "is for watch: the command line names its containers itself");
}

static void check_pumba(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    struct pumba_params *p = base;
    regex_t re;

    if (p->run && p->watch)
        diag_add(ctx->diag, d,
                 "run starts a Pumba, watch follows someone else's: keep one of them");
    else if (!p->run && !p->watch)
        diag_add(ctx->diag, d, "which Pumba? write run: \"kill re2:^shop\", or watch: true");
    else if (p->run)
        check_line(ctx, d, p);
    else if (doc_get(d, "allow_empty"))
        diag_add_key(ctx->diag, doc_get(d, "allow_empty"),
                     "is for run: who watches may see nothing");
    else if (p->match && regcomp(&re, p->match, REG_EXTENDED | REG_NOSUB) != 0)
        diag_add(ctx->diag, doc_get(d, "match"), "'%.80s' is not a regular expression", p->match);
    else if (p->match)
        regfree(&re);
}

static unsigned pumba_flags(const void *params)
{
    const struct pumba_params *p = params;
    enum pumba_command c = p->line.command;

    if (p->watch)
        return FAULT_WATCH | FAULT_FREE;
    unsigned flags = c == PUMBA_EXEC || c == PUMBA_RM ? FAULT_INTRUSIVE : 0;
    if (p->line.interval_ns)
        return flags;
    return flags | (pumba_is_lasting(&p->line) ? FAULT_TIMED : FAULT_ONE_SHOT);
}

static const char *const modes[] = { "false", "true", "any", NULL };

static const struct param pumba_rows[] = {
    PARAM(STR, "run", struct pumba_params, run, .type_text = "command line of Pumba",
          .help =
              "is started as it stands; with --interval it goes on for 'duration', otherwise it "
              "ends by itself. The program is $PUMBA, or pumba of the path"),
    PARAM(ENUM, "watch", struct pumba_params, watch, .def = "false", .choices = modes,
          .help =
              "follow what a Pumba that someone else runs does, from the beginning of the run to "
              "its end; any: every death of a container, whoever is behind it"),
    PARAM(STR, "match", struct pumba_params, match, .type_text = "regular expression",
          .help = "watch: only containers with such a name"),
    PARAM(BOOL, "allow_empty", struct pumba_params, allow_empty, .def = "false",
          .help = "run: that nobody was hit is no error"),
};

static const struct param_table pumba_table = {
    .title = "faults[].pumba", .rows = pumba_rows, .n = ARRAY_LEN(pumba_rows), .check = check_pumba
};

const struct fault_kind fault_pumba = {
    .name = "pumba",
    .backend = "pumba",
    .summary = "start a Pumba and know what it really hit, or watch someone else's",
    .flags = FAULT_NEEDS_DOCKER,
    .flags_of = pumba_flags,
    .params = &pumba_table,
    .params_size = sizeof(struct pumba_params),
    .prepare = pumba_prepare,
    .journal = pumba_journal,
    .inject = pumba_inject,
    .revert = pumba_revert,
    .verify_out = pumba_verify_out,
    .still_in = pumba_still_in,
    .release = pumba_release,
    .undo = pumba_undo,
    .watch_start = pumba_watch_begin,
    .watch_stop = pumba_watch_end,
};
