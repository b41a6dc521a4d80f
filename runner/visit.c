/* One request of a user, followed through its redirects and judged, as one sample. Most requests
 * are a form's constant bytes and an answer that is no redirect: those touch nothing but the actor.
 * Only what was rendered or redirected takes a visit. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "runner/worker_internal.h"

#define VISIT_BUF_KEEP ((size_t)64 << 10) /* larger buffers are not kept for reuse */

static struct worker *worker_of(const struct actor *a)
{
    return a->drive->w;
}

static const struct worker_form *form_of(const struct actor *a)
{
    return &worker_of(a)->forms[a->request->form];
}

static struct render_ctx context_of(struct actor *a)
{
    struct user *u = &a->user;

    return (struct render_ctx){ .rng = &u->data,
                                .vars = &u->vars,
                                .cookies = &u->cookies,
                                .user_id = u->id,
                                .iteration = u->iteration };
}

static struct visit *visit_of(struct actor *a)
{
    struct visit_list *unused = &worker_of(a)->visits;

    if (a->visit)
        return a->visit;
    a->visit = SLIST_FIRST(unused);
    if (a->visit)
        SLIST_REMOVE_HEAD(unused, link);
    else
        a->visit = xcalloc(1, sizeof *a->visit);
    return a->visit;
}

static void visit_put_back(struct actor *a)
{
    struct visit *v = a->visit;

    if (!v)
        return;
    if (v->bytes.cap > VISIT_BUF_KEEP)
        buf_done(&v->bytes);
    if (v->names.cap > VISIT_BUF_KEEP)
        buf_done(&v->names);
    v->hops = 0;
    SLIST_INSERT_HEAD(&worker_of(a)->visits, v, link);
    a->visit = NULL;
}

void visits_done(struct visit_list *l)
{
    while (!SLIST_EMPTY(l)) {
        struct visit *v = SLIST_FIRST(l);

        SLIST_REMOVE_HEAD(l, link);
        buf_done(&v->bytes);
        buf_done(&v->names);
        free(v);
    }
}

/* A request_text is 9 KiB: too much to keep for each request in flight. Its few words are. */
static void keep_names(struct visit *v, const struct request_text *t)
{
    buf_clear(&v->names);
    buf_add(&v->names, t->base_url, strlen(t->base_url) + 1);
    buf_add(&v->names, t->host, strlen(t->host) + 1);
    buf_add(&v->names, t->path, strlen(t->path) + 1);
    v->method = t->method;
    v->secure = t->secure;
}

static const char *take_name(const char *at, char *into, size_t size)
{
    size_t len = strlen(at);
    size_t fits = MIN(len, size - 1);

    memcpy(into, at, fits);
    into[fits] = '\0';
    return at + len + 1;
}

/* What is in flight, as the text that cookies and redirects need. */
static const struct request_text *text_in_flight(struct actor *a)
{
    struct request_text *t = &worker_of(a)->text;
    const struct visit *v = a->visit;

    if (!v)
        return request_constant_text(form_of(a)->form);

    const char *at = take_name(v->names.data, t->base_text, sizeof t->base_text);

    at = take_name(at, t->host, sizeof t->host);
    take_name(at, t->path, sizeof t->path);
    t->base_url = t->base_text;
    t->method = v->method;
    t->secure = v->secure;
    t->bytes = v->bytes.data;
    t->len = v->bytes.len;
    return t;
}

static void answered(void *arg, const struct answer *answer);

/* The time limit is one for all hops together; 0: the plan's, for a first hop. */
static uint64_t time_left_ns(const struct actor *a)
{
    const struct visit *v = a->visit;
    uint64_t limit = form_of(a)->form->timeout_ns;
    uint64_t spent;

    if (!v || v->hops == 0)
        return limit;
    if (limit == 0)
        limit = worker_of(a)->opts.plan->http.timeout_ns;
    spent = v->sum.done - v->sum.send;
    return limit > spent ? limit - spent : 1;
}

static void send_bytes(struct actor *a, const struct origin *origin, const char *bytes, size_t len)
{
    struct worker *w = worker_of(a);
    const struct request_form *f = form_of(a)->form;
    const struct http_plan *http = &w->opts.plan->http;
    struct request r = { .origin = origin,
                         .bytes = bytes,
                         .len = len,
                         .is_head = f->is_head,
                         .want_body = f->want_body,
                         .close = !http->keep_alive,
                         .sched_ns = a->sched_ns,
                         .start_ns = a->start_ns,
                         .timeout_ns = time_left_ns(a) };

    if (UNLIKELY(a->misdeed != NULL)) {
        a->exchange = misdeed_send(a, &r, answered);
        return;
    }
    a->exchange =
        client_send(w->client, http->conn == CONN_POOLED ? NULL : &a->lane, &r, answered, a);
}

/* The request just rendered: its bytes are the visit's, its names in the worker's text. */
static int send_visit(struct actor *a, struct err *err)
{
    const struct worker_form *wf = form_of(a);
    const struct request_text *text = &worker_of(a)->text;
    const struct origin *origin = wf->origin;

    if (!origin || text->base_url != wf->form->base_url)
        origin = client_origin(worker_of(a)->client, text->base_url, err);
    if (!origin)
        return -EINVAL;
    keep_names(a->visit, text);
    send_bytes(a, origin, text->bytes, text->len);
    return 0;
}

static void enter_flight(struct actor *a)
{
    struct worker *w = worker_of(a);

    TAILQ_INSERT_TAIL(&w->in_flight, a, link);
    w->n_in_flight++;
}

static void leave_flight(struct actor *a)
{
    struct worker *w = worker_of(a);

    TAILQ_REMOVE(&w->in_flight, a, link);
    w->n_in_flight--;
    a->exchange = NULL;
}

static void record(struct actor *a, struct sample *s, const char *why)
{
    s->task = a->series;
    if (UNLIKELY(s->fail != FAIL_NONE) && !a->misdeed)
        stats_note_example(worker_of(a)->delta, s->fail, a->request->name, why);
    worker_record(worker_of(a), s);
    if (UNLIKELY(a->misdeed != NULL))
        misdeed_over(a);
}

/* A value that no URL can hold: the request failed before it was one. */
static void could_not_send(struct actor *a, uint64_t now_ns, const struct err *err)
{
    struct sample s = {
        .fail = FAIL_EXPECTATION, .sched = a->sched_ns, .start = a->start_ns, .done = now_ns
    };

    visit_put_back(a);
    record(a, &s, err->msg);
    drive_request_done(a, now_ns, false);
}

static void begin(struct actor *a, uint64_t now_ns)
{
    struct render_ctx ctx = context_of(a);
    const struct worker_form *wf = form_of(a);

    if (LIKELY(request_is_ready(wf->form, &ctx))) {
        enter_flight(a);
        send_bytes(a, wf->origin, wf->form->bytes, wf->form->len);
        return;
    }

    struct visit *v = visit_of(a);
    struct err err = { 0 };

    if (request_render(wf->form, &ctx, &v->bytes, &worker_of(a)->text, &err) < 0) {
        could_not_send(a, now_ns, &err);
        return;
    }
    enter_flight(a);
    if (send_visit(a, &err) < 0) {
        leave_flight(a);
        could_not_send(a, now_ns, &err);
    }
}

void visit_begin(struct actor *a, const struct task *request, uint64_t sched_ns, uint64_t now_ns)
{
    a->request = request;
    a->series = request->index;
    a->sched_ns = sched_ns;
    a->start_ns = MAX(now_ns, sched_ns);
    if (UNLIKELY(worker_of(a)->misdeeds.n > 0))
        misdeed_choose(a);
    begin(a, now_ns);
}

/* What templates draw for a retry must not move what they draw afterwards. */
static void send_once_more(struct actor *a, uint64_t now_ns)
{
    struct rng data = a->user.data;

    a->sched_ns = a->start_ns = now_ns;
    begin(a, now_ns);
    a->user.data = data;
}

/* ---- answers ---- */

/* Adds a hop to what the hops before it took. */
static void fold(const struct visit *v, struct sample *s)
{
    const struct sample *sum = &v->sum;

    s->start = sum->start;
    s->send = sum->send;
    s->first = sum->first;
    s->bytes_in += sum->bytes_in;
    s->bytes_out += sum->bytes_out;
    s->redirects = v->hops;
    for (unsigned i = 0; i < STAGE_MAX; i++)
        s->stage_ns[i] += sum->stage_ns[i];
}

static bool is_redirect(unsigned status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool stop_following(struct actor *a, struct sample *s, enum fail_class fail, const char *why)
{
    s->fail = fail;
    snprintf(worker_of(a)->why, WHY_MAX, "%.*s", WHY_MAX - 1, why);
    return false;
}

/* Follows a redirect: true when the next hop is under way. Else it is no redirect, or *s says what
 * is wrong with it. */
static bool follow(struct actor *a, const struct answer *answer, struct sample *s)
{
    struct worker *w = worker_of(a);
    struct render_ctx ctx = context_of(a);
    const struct request_text *from = text_in_flight(a);
    struct visit *v = visit_of(a);
    struct err err = { 0 };
    int rc = request_redirect(form_of(a)->form, from, answer, &ctx, &v->bytes, &w->text);

    if (rc > 0)
        return false;
    if (w->cutting)
        return stop_following(a, s, FAIL_INTERRUPTED, "cut between two redirects");
    if (rc < 0)
        return stop_following(a, s, FAIL_REDIRECTS, "a redirect to where no request can go");
    if (v->hops >= w->opts.plan->http.max_redirects)
        return stop_following(a, s, FAIL_REDIRECTS, "more redirects than http.max_redirects");
    v->sum = *s;
    v->hops++;
    if (send_visit(a, &err) == 0)
        return true;
    v->hops--;
    return stop_following(a, s, FAIL_REDIRECTS, err.msg);
}

/* An answer that arrived whole: true when a redirect leads on. */
static bool judge(struct actor *a, const struct answer *answer, struct sample *s)
{
    struct worker *w = worker_of(a);
    const struct http_plan *http = &w->opts.plan->http;
    const struct request_form *f = form_of(a)->form;

    if (http->cookies && answer->head) {
        const struct request_text *text = text_in_flight(a);

        cookies_store_head(&a->user.cookies, text->host, text->path, answer->head, answer->head_len,
                           (s->done + w->wall_minus_mono_ns) / NS_PER_SEC);
    }
    if (UNLIKELY(is_redirect(s->status)) && http->follow_redirects && follow(a, answer, s))
        return true;
    if (s->fail == FAIL_NONE)
        s->fail = expect_check(f->expect, answer, MAX(s->done, s->sched) - s->sched, w->why);
    if (s->fail == FAIL_NONE && f->extract)
        s->fail = extract_apply(f->extract, answer, &a->user.vars, w->why);
    return false;
}

/* Our own trouble, which takes no time: without a pause its user would do nothing but fail. */
static bool is_our_trouble(enum fail_class fail)
{
    return fail == FAIL_INTERNAL || fail == FAIL_UNREACHABLE;
}

static void answered(void *arg, const struct answer *answer)
{
    struct actor *a = arg;
    struct sample s = answer->sample;

    if (a->visit && a->visit->hops > 0)
        fold(a->visit, &s);
    if (LIKELY(s.fail == FAIL_NONE) && judge(a, answer, &s))
        return;
    leave_flight(a);
    record(a, &s, answer->why ? answer->why : worker_of(a)->why);
    visit_put_back(a);
    if (UNLIKELY(worker_of(a)->misdeeds.n > 0) && misdeed_retries(a, &s))
        send_once_more(a, s.done);
    else
        drive_request_done(a, s.done, !is_our_trouble(s.fail));
}

/* Without its answer the rest of a sequence would be another's fault. */
void visit_unanswered(void *actor, const struct answer *answer)
{
    struct actor *a = actor;
    struct sample s = answer->sample;

    user_abandon(&a->user);
    leave_flight(a);
    record(a, &s, answer->why ? answer->why : "");
    visit_put_back(a);
    drive_request_done(a, s.done, !is_our_trouble(s.fail));
}
