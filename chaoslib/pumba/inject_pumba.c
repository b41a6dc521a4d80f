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
#include "chaoslib/docker/host.h"
#include "chaoslib/docker/select.h"
#include "chaoslib/inject.h"
#include "chaoslib/journal_file.h"
#include "chaoslib/pumba/mend.h"
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
    const char *run, *match, *image;
    int watch;
    bool allow_empty;
    struct pumba_line line;
};

struct pumba {
    char *program, *image, **argv; /* the one or the other */
    char mark[96];                 /* its environment's, where it is a process */
    char box[64];                  /* its container's name, where it is one */
    struct json *mending;          /* what it may leave */
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

/* The program; where there is none, or where the plan says so, an image that the engine has. */
static int find_pumba(const struct fault_run *r, struct pumba *p, struct err *err)
{
    const struct pumba_params *params = r->params;
    struct err none = { 0 };

    if (!params->image)
        p->program = pumba_program(&none);
    if (p->program)
        return 0;
    if (!params->image && docker_env("PUMBA"))
        return err_set(err, none.kind, none.code, "%s", none.msg);
    int rc = pumba_image(r->env->docker, params->image, &p->image, err);
    if (rc == 0)
        return pumba_box_check(r->env->docker, err);
    if (rc == 1 && params->image)
        return err_set(err, ERR_PREPARE, ENOENT,
                       "the engine has no image '%.150s', and nothing is pulled here: run docker "
                       "pull %.150s before",
                       params->image, params->image);
    if (rc == 1)
        return err_set(err, ERR_PREPARE, ENOENT,
                       "there is no pumba in the path, and the engine has no image " PUMBA_IMAGES
                       ": install it, set PUMBA to where it is, or pull the image before (that "
                       "is not done here)");
    return rc;
}

static void make_line(const struct fault_run *r, struct pumba *p)
{
    const struct pumba_params *params = r->params;
    auto(json) struct json *engine = json_object();
    unsigned long long tag = rng_entropy();

    docker_write(r->env->docker, engine);
    p->argv = p->image
                  ? pumba_argv("pumba", &params->line, PUMBA_BOX_HOST)
                  : pumba_argv(p->program, &params->line, json_str(engine, "engine.address", ""));
    if (p->image)
        snprintf(p->box, sizeof(p->box), "chaos-load-pumba-%016llx", tag);
    snprintf(p->mark, sizeof(p->mark), "CHAOS_LOAD_PUMBA=%.40s-%llx", r->env->run_id, tag);
}

static void say_what(struct fault_run *r, const struct pumba *p)
{
    const struct pumba_params *params = r->params;
    char name[32];

    pumba_line_name(&params->line, name);
    docker_say_targets(p->chosen.v, p->chosen.n, r->target);
    snprintf(r->mechanism, sizeof(r->mechanism), "pumba %.20s%s%.30s", name,
             p->image ? ", from " : "", p->image ? p->image : "");
}

static int pumba_prepare(struct fault_run *r, struct err *err)
{
    const struct pumba_params *params = r->params;
    struct pumba *p = xcalloc(1, sizeof(*p));

    r->state = p;
    if (!r->env->docker)
        return err_set(err, ERR_PREPARE, ENOTCONN, "there is no container engine to follow");
    if (find_pumba(r, p, err) < 0 || choose(r, p, err) < 0 ||
        refuse_paused(p, &params->line, err) < 0)
        return -ENOENT;
    make_line(r, p);
    p->mending = pumba_mend_plan(r->env->docker, &params->line, &p->chosen);
    p->alone = params->line.command == PUMBA_EXEC;
    if (r->hold_ns == 0 && pumba_is_lasting(&params->line))
        r->hold_ns = params->line.duration_ns;
    say_what(r, p);
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
    json_put_str(record, "command", name);
    json_put_str(record, p->image ? "box" : "mark", p->image ? p->box : p->mark);
    auto_free char *text = json_print(p->mending, false);
    struct json *mending = NULL;
    if (json_parse(text, strlen(text), &mending, NULL) == 0)
        json_put(record, "mending", mending);
    for (size_t i = 0; i < p->chosen.n && pumba_is_lasting(&params->line); i++) {
        auto_free char *claim = xasprintf("container %s", p->chosen.v[i].id);
        journal_claim(record, claim);
    }
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
    const struct pumba_box_opts box = { .docker = r->env->docker,
                                        .events = r->env->docker_events,
                                        .image = p->image,
                                        .name = p->box,
                                        .run_id = r->env->run_id,
                                        .argv = p->argv + 1 };
    p->session =
        p->image ? pumba_session_boxed(&box, err) : pumba_session_start(p->argv, p->mark, err);
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

static void wait_reverted(struct fault_run *r)
{
    uint64_t until = clock_now_ns() + SETTLE_NS;

    while (!all_reverted(r) && clock_now_ns() < until) {
        clock_sleep_until(clock_now_ns() + LOOK_NS);
        take_hits(r);
    }
}

static int mend_one(struct fault_run *r, const char *id, const char *name, struct err *err)
{
    const struct pumba *p = r->state;
    int rc = pumba_mend(r->env->docker, p->mending, id, err);

    for (size_t i = 0; (rc == 0 || rc == 1) && i < r->n_hits; i++)
        if (strcmp(r->hits[i].id, id) == 0 && !r->hits[i].reverted)
            r->hits[i].reverted = clock_now_ns();
    if (rc == 0)
        log_warn("pumba.mend", "fault=%s pumba left container %s broken, and we mended it", r->name,
                 name);
    return rc;
}

/* What it should have taken back, and is there still: in whom it hit; in networks also in whom it
 * would have, since a Pumba that failed half-way was not seen to hit anybody. */
static int mend_all(struct fault_run *r, bool by_state, struct err *err)
{
    const struct pumba *p = r->state;
    int rc = 0;

    for (size_t i = 0; rc >= 0 && by_state && i < r->n_hits; i++)
        rc = mend_one(r, r->hits[i].id, r->hits[i].name, err);
    for (size_t i = 0; rc >= 0 && !by_state && i < p->chosen.n; i++)
        rc = mend_one(r, p->chosen.v[i].id, p->chosen.v[i].name, err);
    return rc;
}

static int pumba_revert(struct fault_run *r, struct err *err)
{
    const struct pumba_params *params = r->params;
    struct pumba *p = r->state;
    bool by_state = params->line.command == PUMBA_PAUSE || params->line.command == PUMBA_STOP;

    if (!p->session)
        return 0;
    end_session(r);
    take_hits(r);
    if (!pumba_is_lasting(&params->line))
        return 0;
    if (!by_state)
        wait_reverted(r);
    if (mend_all(r, by_state, err) < 0)
        return -EIO;
    if (by_state)
        wait_reverted(r);
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
    json_free(p->mending);
    free(p->program);
    free(p->image);
    free(p->chosen.v);
    free(p);
    r->state = NULL;
}

/* Asked to end, it undoes by itself what it did; what it could not is mended here. */
static int pumba_undo(const struct json *record, struct err *err)
{
    const char *box = json_str(record, "box", NULL), *mark = json_str(record, "mark", NULL);
    int ended = mark ? pumba_end_marked(mark, END_NS, err) : 0;
    struct docker *d = ended < 0 ? NULL : docker_read(record, err);
    size_t n = 0;

    if (!d)
        return -EIO;
    if (box)
        ended = pumba_box_end(d, box, END_NS, err);
    int rc = ended < 0 ? ended : pumba_mend_all(d, json_get(record, "mending"), &n, err);
    docker_free(d);
    return rc < 0 ? rc : !n && !ended;
}

/* ---- watching ---- */

static void *pumba_watch_begin(const void *params, const struct chaos_env *env, fault_sight_fn *fn,
                               void *arg, struct err *err)
{
    const struct pumba_params *p = params;

    return pumba_sight_start(env, p->watch == WATCH_ANY, p->match, fn, arg, err);
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
    else if (p->image)
        diag_add_key(ctx->diag, doc_get(d, "image"), "is for run: who watches starts no Pumba");
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
              "ends by itself. The program is $PUMBA, or pumba of the path; where there is none, "
              "Pumba's image, when the engine has it"),
    PARAM(STR, "image", struct pumba_params, image, .type_text = "name of an image",
          .help = "run: Pumba's image, in place of the program; nothing is pulled. Default where "
                  "there is no program: ghcr.io/alexei-led/pumba, then gaiaadm/pumba"),
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
    .watch_stop = pumba_sight_stop,
};
