/* One activation of one fault, from the plan to the proof that it is gone.
 *
 * The order is the point of this file: what undoes the fault is on disk, and someone who would do
 * it is alive, before anything is changed; revert runs on every path out; and nothing is called
 * over before it was looked at again. Kinds only fill in the steps. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"
#include "chaoslib/guardian.h"
#include "chaoslib/journal_file.h"
#include "chaoslib/wait.h"

/* How long past its planned end a fault may last before the guardian takes it for forgotten. */
#define TTL_MARGIN_NS (30 * NS_PER_SEC)
#define GONE_LOOK_NS (50 * NS_PER_MS)
#define OVERSLEPT_NS (5 * NS_PER_SEC) /* so late only when the whole run stood still */
#define RETRY_NS (10 * NS_PER_MS)

struct execution {
    struct fault_run *r;
    fault_step_fn *on_step;
    void *arg;
    bool has_undo;  /* the journal record holds something that must be undone */
    bool journaled; /* an intent is open */
    bool armed;
    bool told_effective;
};

static const char *const step_names[] = {
    [FAULT_PLANNED] = "planned", [FAULT_PREPARE] = "prepare",       [FAULT_JOURNAL] = "journal",
    [FAULT_INJECT] = "inject",   [FAULT_VERIFY_IN] = "verify-in",   [FAULT_HOLD] = "hold",
    [FAULT_REVERT] = "revert",   [FAULT_VERIFY_OUT] = "verify-out", [FAULT_DONE] = "done",
};
_Static_assert(ARRAY_LEN(step_names) == FAULT_STEP_MAX, "every step has a name");

const char *fault_step_name(enum fault_step s)
{
    return (unsigned)s < FAULT_STEP_MAX ? step_names[s] : "";
}

const char *fault_end_name(enum fault_end e)
{
    static const char *const names[] = {
        [ENDED_NOT] = "",           [ENDED_BY_PLAN] = "plan",
        [ENDED_BY_ABORT] = "abort", [ENDED_TARGET_GONE] = "target-gone",
        [ENDED_BY_ERROR] = "error",
    };

    return (unsigned)e < ARRAY_LEN(names) ? names[e] : "";
}

void fault_hits_new(struct fault_run *r, size_t n)
{
    free(r->hits);
    r->hits = xcalloc(n, sizeof(*r->hits));
    r->n_hits = n;
}

static void enter(struct execution *x, enum fault_step step)
{
    x->r->step = step;
    log_debug("fault.step", "fault=%s activation=%u step=%s", x->r->name, x->r->activation,
              fault_step_name(step));
    if (x->on_step)
        x->on_step(x->arg, x->r);
}

static void tell_effective(struct execution *x)
{
    if (x->told_effective || x->r->times.effective == 0)
        return;
    x->told_effective = true;
    if (x->on_step)
        x->on_step(x->arg, x->r);
}

/* ---- the journal ---- */

/* A mark behind the intent. Losing one is not losing safety (an intent without a result counts as
 * applied), so it is not synced, which could make the fault late, and a failure is only said. */
static void write_mark(const struct execution *x, const char *type, const char *key,
                       const char *text, bool last)
{
    const struct fault_run *r = x->r;
    auto(json) struct json *j = json_object();
    struct err err = { 0 };

    if (!x->journaled)
        return;
    json_put_str(j, "type", type);
    json_put_u64(j, "seq", r->seq);
    if (key)
        json_put_str(j, key, text);
    int rc =
        last ? journal_settle(r->env->journal, j, &err) : journal_note(r->env->journal, j, &err);
    if (rc < 0)
        log_warn("fault.journal", "fault=%s cannot note '%s': %s", r->name, type, err.msg);
}

static void mark(const struct execution *x, const char *type, const char *key, const char *text)
{
    write_mark(x, type, key, text, false);
}

static uint64_t deadline_of(const struct fault_run *r)
{
    return MAX(r->times.planned, clock_now_ns()) + r->hold_ns + TTL_MARGIN_NS;
}

static struct json *intent_of(const struct fault_run *r, uint64_t deadline_ns, bool *ret_has_undo)
{
    struct json *j = json_object(), *undo = json_object();
    char boot_id[40];

    proc_boot_id(boot_id);
    if (r->kind->journal)
        r->kind->journal(r, undo);
    *ret_has_undo = json_len(undo) > 0;
    json_put_str(j, "type", "intent");
    json_put_u64(j, "seq", r->seq);
    json_put_str(j, "run", r->env->run_id);
    json_put_str(j, "fault", r->name);
    json_put_u64(j, "activation", r->activation);
    json_put_str(j, "kind", r->kind->name);
    json_put_str(j, "backend", r->kind->backend);
    json_put_str(j, "target", r->target);
    json_put_u64(j, "deadline_ms", deadline_ns / NS_PER_MS);
    json_put_str(j, "boot_id", boot_id);
    if (*ret_has_undo)
        json_put(j, "undo", undo);
    else
        json_free(undo);
    return j;
}

/* After this the fault can be undone without us, or it is not injected at all. */
static int announce(struct execution *x, struct err *err)
{
    struct fault_run *r = x->r;
    uint64_t deadline_ns = deadline_of(r);

    if (!r->env->journal)
        return 0;
    r->seq = journal_next_seq(r->env->journal);
    auto(json) struct json *intent = intent_of(r, deadline_ns, &x->has_undo);
    if (journal_write(r->env->journal, intent, err) < 0)
        return err_wrap(err, "fault '%s' is not injected, since it could not be journaled",
                        r->name);
    x->journaled = true;
    if (x->has_undo && journal_check_others(r->env->journal, json_get(intent, "undo"), err) < 0)
        return err_wrap(err, "fault '%s' is not injected", r->name);
    if (!x->has_undo || !r->env->guardian)
        return 0;
    if (guardian_arm(r->env->guardian, r->seq, deadline_ns, err) < 0)
        return err_wrap(err, "fault '%s' is not injected, since nobody would undo it if we died",
                        r->name);
    x->armed = true;
    return 0;
}

static void retire(struct execution *x, const char *type, const char *key, const char *text)
{
    write_mark(x, type, key, text, true);
    x->journaled = false;
    if (x->armed)
        guardian_disarm(x->r->env->guardian, x->r->seq);
    x->armed = false;
}

/* ---- the steps ---- */

static int check_guard(const struct execution *x, struct err *err)
{
    if (!x->armed || guardian_is_alive(x->r->env->guardian))
        return 0;
    return err_set(err, ERR_PREPARE, ESRCH,
                   "the guardian process has gone, so fault '%s' is not injected: nobody would "
                   "undo it if we died",
                   x->r->name);
}

static int wait_for_plan(struct execution *x, struct err *err)
{
    struct fault_run *r = x->r;
    bool aborted = latch_is_set(r->abort);

    if (!aborted && r->times.planned)
        aborted = latch_wait_until(r->abort, r->times.planned);
    if (aborted) {
        r->ended_by = ENDED_BY_ABORT;
        return err_set(err, ERR_ABORTED, ECANCELED, "stopped before fault '%s' began", r->name);
    }
    return check_guard(x, err);
}

/* A target that is not there yet may come until the planned instant: another fault may just be
 * starting it again. */
static int prepare_in_time(struct execution *x, struct err *err)
{
    struct fault_run *r = x->r;
    int rc;

    if (!r->kind->prepare)
        return 0;
    while ((rc = r->kind->prepare(r, err)) < 0) {
        uint64_t now = clock_now_ns();
        if (err->kind != ERR_TARGET || now >= r->times.planned ||
            latch_wait_until(r->abort, MIN(now + RETRY_NS, r->times.planned)))
            return rc;
        if (r->kind->release)
            r->kind->release(r);
    }
    err_clear(err);
    return 0;
}

static int get_ready(struct execution *x, struct err *err)
{
    struct fault_run *r = x->r;

    enter(x, FAULT_PREPARE);
    if (prepare_in_time(x, err) < 0)
        return -1;
    if (r->env->dry_run)
        return 0;
    enter(x, FAULT_JOURNAL);
    if (announce(x, err) < 0)
        return -1;
    return wait_for_plan(x, err);
}

static int put_in(struct execution *x, struct err *err)
{
    struct fault_run *r = x->r;

    r->times.requested = clock_now_ns();
    enter(x, FAULT_INJECT);
    int rc = r->kind->inject(r, err);
    r->times.acknowledged = clock_now_ns();
    if (rc < 0)
        return rc;
    mark(x, "applied", NULL, NULL);
    enter(x, FAULT_VERIFY_IN);
    if (r->kind->verify_in && r->kind->verify_in(r, err) < 0)
        return err_wrap(err, "fault '%s' was injected, but it is not in effect", r->name);
    r->verified_in = true;
    if (r->times.effective == 0)
        r->times.effective = r->times.acknowledged;
    tell_effective(x);
    return 0;
}

/* It may have ended meanwhile, by its time to live or by the guardian, or may have lasted on. */
static int check_overslept(struct fault_run *r, uint64_t until, struct err *err)
{
    uint64_t now = clock_now_ns(), late = now - MIN(now, until);
    char text[DURATION_TEXT_MAX];

    if (late < OVERSLEPT_NS)
        return 0;
    r->ended_by = ENDED_BY_ERROR;
    return err_set(err, ERR_INJECT, ETIMEDOUT,
                   "fault '%s' should have ended %s ago, when this run stood still (Ctrl-Z, "
                   "SIGSTOP?): its time to live or the guardian may have ended it before",
                   r->name, duration_text(late / NS_PER_SEC * NS_PER_SEC, text));
}

/* Negative: it was over before its time, with nobody having asked for it. */
static int hold(struct execution *x, struct err *err)
{
    struct fault_run *r = x->r;
    uint64_t until = r->times.effective + r->hold_ns, entered = clock_now_ns();
    bool looks = r->kind->target_gone || r->kind->still_in;

    enter(x, FAULT_HOLD);
    r->ended_by = ENDED_BY_PLAN;
    for (uint64_t now = clock_now_ns(); now < until; now = clock_now_ns()) {
        if (r->kind->target_gone && r->kind->target_gone(r)) {
            r->ended_by = ENDED_TARGET_GONE;
            return 0;
        }
        if (r->kind->still_in && r->kind->still_in(r, err) < 0) {
            r->ended_by = ENDED_BY_ERROR;
            return err_wrap(err, "fault '%s' ended early", r->name);
        }
        if (latch_wait_until(r->abort, looks ? MIN(until, now + GONE_LOOK_NS) : until)) {
            r->ended_by = ENDED_BY_ABORT;
            break;
        }
    }
    return check_overslept(r, MAX(until, entered), err);
}

/* Also after an inject that failed half-way. */
static int take_out(struct execution *x, struct err *err)
{
    struct fault_run *r = x->r;
    const struct fault_spec spec = { .kind = r->kind, .params = (void *)(uintptr_t)r->params };
    bool lasting = !(fault_spec_flags(&spec) & FAULT_ONE_SHOT);

    r->times.revert_requested = clock_now_ns();
    enter(x, FAULT_REVERT);
    mark(x, "reverting", NULL, NULL);
    if (r->kind->revert && r->kind->revert(r, err) < 0)
        return err_wrap(err, "fault '%s' could not be reverted", r->name);
    if (lasting && r->times.reverted == 0)
        r->times.reverted = clock_now_ns();
    enter(x, FAULT_VERIFY_OUT);
    if (r->kind->verify_out && r->kind->verify_out(r, err) < 0)
        return err_wrap(err, "fault '%s' was reverted, but it is still in effect", r->name);
    r->verified_out = true;
    return 0;
}

/* What is left open stays in the journal and armed: the guardian and `recover` try again. */
static int inject_hold_revert(struct execution *x)
{
    struct fault_run *r = x->r;
    int in = put_in(x, &r->err), held = 0;

    if (in == 0)
        held = hold(x, &r->err);
    else
        r->ended_by = ENDED_BY_ERROR;
    int out = take_out(x, &r->revert_err);
    if (out < 0) {
        r->ended_by = ENDED_BY_ERROR;
        if (x->has_undo)
            mark(x, "orphan", "reason", r->revert_err.msg);
        else /* nobody else could do more */
            retire(x, "reverted", "verified", "no");
        return out;
    }
    if (in < 0)
        retire(x, "not_applied", "error", r->err.msg);
    else
        retire(x, "reverted", "verified", "yes");
    return in < 0 ? in : held;
}

int fault_execute(struct fault_run *r, fault_step_fn *on_step, void *arg, struct err *err)
{
    struct execution x = { .r = r, .on_step = on_step, .arg = arg };
    int rc = get_ready(&x, &r->err);

    if (rc < 0) {
        if (r->ended_by == ENDED_NOT)
            r->ended_by = ENDED_BY_ERROR;
        retire(&x, "not_applied", "error", r->err.msg);
    } else if (!r->env->dry_run) {
        rc = inject_hold_revert(&x);
    }
    if (r->kind->release)
        r->kind->release(r);
    enter(&x, FAULT_DONE);
    if (rc < 0 && err)
        *err = err_is_set(&r->revert_err) ? r->revert_err : r->err;
    return rc;
}
