/* Who misbehaves, and when: rules come and go by posts to the workers' loops, so that nothing is
 * shared on the request path; three counters are, and only misbehaving requests touch them. */
#include "runner/misdeed.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "runner/misdeed_internal.h"
#include "runner/worker_internal.h"

#define PATIENCE_NS (10 * NS_PER_SEC) /* for a loop to come round, on a machine that is busy */
#define LOOK_NS (200 * NS_PER_US)

/* ---- outside ---- */

struct misdeed *misdeed_new(const struct misdeed_rule *rule, size_t n_workers)
{
    struct misdeed *m = xcalloc(1, sizeof(*m) + n_workers * sizeof(*m->seats));

    m->rule = *rule;
    m->n_seats = n_workers;
    return m;
}

void misdeed_seat(struct misdeed *m, size_t i, struct worker *w)
{
    m->seats[i] = (struct misdeed_seat){ .misdeed = m, .worker = w };
}

void misdeed_chain(struct misdeed *m, struct misdeed **head)
{
    m->next = *head;
    *head = m;
}

void misdeeds_free(struct misdeed *head)
{
    while (head) {
        struct misdeed *m = head;
        head = m->next;
        free(m);
    }
}

struct misdeed_counts misdeed_counts(const struct misdeed *m)
{
    return (struct misdeed_counts){ .threads = m->threads,
                                    .requests = m->requests,
                                    .in_flight = m->in_flight };
}

static bool is_on(const struct misdeed *m)
{
    return m->threads == m->n_seats;
}

static bool is_off(const struct misdeed *m)
{
    return m->threads == 0 && m->in_flight == 0;
}

static bool wait_until(const struct misdeed *m, bool (*is_so)(const struct misdeed *m))
{
    uint64_t until = clock_now_ns() + PATIENCE_NS;

    while (!is_so(m)) {
        if (clock_now_ns() >= until)
            return false;
        clock_sleep_until(clock_now_ns() + LOOK_NS);
    }
    return true;
}

int misdeed_put_on(struct misdeed *m, struct err *err)
{
    for (size_t i = 0; i < m->n_seats; i++)
        worker_misdeed(&m->seats[i], true);
    if (wait_until(m, is_on))
        return 0;
    return err_set(err, ERR_INJECT, ETIMEDOUT,
                   "%llu of %zu load threads took it: too many misbehave at once, or they hang",
                   (unsigned long long)m->threads, m->n_seats);
}

int misdeed_take_off(struct misdeed *m, struct err *err)
{
    for (size_t i = 0; i < m->n_seats; i++)
        worker_misdeed(&m->seats[i], false);
    if (wait_until(m, is_off))
        return 0;
    return err_set(err, ERR_REVERT, ETIMEDOUT,
                   "%llu load threads do it still, and %llu requests of it are in flight",
                   (unsigned long long)m->threads, (unsigned long long)m->in_flight);
}

/* ---- on the worker's thread ---- */

static size_t place_of(const struct misdeeds *all, const struct misdeed *m)
{
    size_t i = 0;

    while (i < all->n && all->v[i] != m)
        i++;
    return i;
}

static void put_on(void *arg)
{
    const struct misdeed_seat *seat = arg;
    struct misdeeds *all = &seat->worker->misdeeds;

    if (all->n == MISDEEDS_MAX)
        return;
    all->v[all->n++] = seat->misdeed;
    seat->misdeed->threads++;
}

static void take_off(void *arg)
{
    const struct misdeed_seat *seat = arg;
    struct misdeeds *all = &seat->worker->misdeeds;
    size_t i = place_of(all, seat->misdeed);

    if (i == all->n)
        return;
    for (all->n--; i < all->n; i++)
        all->v[i] = all->v[i + 1];
    client_misbehave_end(seat->worker->client, &seat->misdeed->rule);
    seat->misdeed->threads--;
}

void worker_misdeed(struct misdeed_seat *seat, bool on)
{
    loop_post(seat->worker->loop, on ? put_on : take_off, seat);
}

static bool is_of_class(const struct misdeed_rule *rule, const struct actor *a)
{
    return rule->user_class < 0 || rule->user_class == a->user.user_class;
}

/* Who never gets an answer cannot take values from it, which honest requests after it would need.
 */
static bool can_do(const struct misdeed_rule *rule, const struct actor *a)
{
    const struct worker_form *f = &a->drive->w->forms[a->request->form];

    if (rule->kind == MISDEED_TLS_STALL && (!f->origin || !origin_has_tls(f->origin)))
        return false;
    return misdeed_has_answer(rule->kind) || !f->form->extract;
}

static uint32_t series_of(const struct actor *a, const struct misdeed_rule *rule)
{
    return load_plan_series(a->drive->w->opts.plan, a->request->index, rule->kind);
}

void misdeed_choose(struct actor *a)
{
    const struct misdeeds *all = &a->drive->w->misdeeds;

    a->misdeed = NULL;
    a->retries = 0;
    for (size_t i = 0; i < all->n; i++) {
        struct misdeed *m = all->v[i];

        if (m->rule.kind == MISDEED_RETRY_STORM || !is_of_class(&m->rule, a) ||
            !can_do(&m->rule, a) || user_lot(&a->user, m->rule.seed, false) >= m->rule.percent)
            continue;
        a->misdeed = m;
        a->series = series_of(a, &m->rule);
        m->requests++;
        m->in_flight++;
        return;
    }
}

struct exchange *misdeed_send(struct actor *a, const struct request *r, client_done_fn *answered)
{
    const struct misdeed_rule *rule = &a->misdeed->rule;

    return client_misbehave(a->drive->w->client, r, rule,
                            misdeed_has_answer(rule->kind) ? answered : visit_unanswered, a);
}

void misdeed_over(struct actor *a)
{
    a->misdeed->in_flight--;
    a->misdeed = NULL;
}

/* Not what we cut ourselves, nor what failed for lack of something of our own. */
static bool is_worth_a_retry(enum fail_class fail)
{
    return fail != FAIL_NONE && fail != FAIL_INTERRUPTED && fail != FAIL_INTERNAL;
}

bool misdeed_retries(struct actor *a, const struct sample *s)
{
    const struct worker *w = a->drive->w;

    if (!is_worth_a_retry(s->fail) || w->stopping || a->leaving)
        return false;
    for (size_t i = 0; i < w->misdeeds.n; i++) {
        struct misdeed *m = w->misdeeds.v[i];

        if (m->rule.kind != MISDEED_RETRY_STORM || !is_of_class(&m->rule, a) ||
            a->retries >= m->rule.retries ||
            user_lot(&a->user, m->rule.seed, true) >= m->rule.percent)
            continue;
        a->retries++;
        a->series = series_of(a, &m->rule);
        m->requests++;
        return true;
    }
    a->retries = 0;
    return false;
}
