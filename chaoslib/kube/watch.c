/* What changes: a stream of {"type": …, "object": …}, a line each, that may end at any time and is
 * taken up again where it was. An API server that has forgotten so far back says 410, at once or in
 * an ERROR event: then everything is listed anew. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chaoslib/kube/internal.h"
#include "chaoslib/wait.h"

struct watch {
    struct kube *k;
    const struct kube_kind *kind;
    const struct kube_where *where;
    kube_seen_fn *seen;
    void *arg;
    char *version;
    bool told_before; /* a list that comes now is a RELIST */
    bool over;        /* `seen` has had enough */
    bool too_old;
    unsigned status;
    struct buf line; /* what has come of the next one; of an answer that is no stream, all of it */
    struct err last; /* what went wrong in the stream */
    bool failed;
};

static bool take_event(struct watch *w, const char *text, size_t len)
{
    auto(json) struct json *event = NULL;

    if (json_parse(text, len, &event, &w->last) < 0) {
        w->failed = true;
        return false;
    }
    const char *type = json_str(event, "type", "");
    const struct json *object = json_member(event, "object");
    if (strcmp(type, "ERROR") == 0) {
        w->too_old = true; /* 410, or a sentence that a list will tell as well */
        return false;
    }
    const char *version = json_str(object, "metadata.resourceVersion", "");
    if (*version) {
        free(w->version);
        w->version = xstrdup(version);
    }
    if (strcmp(type, "BOOKMARK") == 0)
        return true;
    w->over = !w->seen(w->arg, type, object);
    return !w->over;
}

static bool on_head(void *arg, unsigned status)
{
    ((struct watch *)arg)->status = status;
    return true;
}

static bool on_data(void *arg, const char *data, size_t len)
{
    struct watch *w = arg;
    const char *end;

    buf_add(&w->line, data, len);
    if (buf_failed(&w->line)) {
        err_set(&w->last, ERR_LIMIT, EMSGSIZE, "an event is larger than %zu bytes", w->line.max);
        w->failed = true;
        return false;
    }
    if (w->status != 200)
        return true; /* why not; kube_judge reads it */
    while ((end = w->line.len ? memchr(w->line.data, '\n', w->line.len) : NULL)) {
        size_t n = (size_t)(end - w->line.data);
        if (n && !take_event(w, w->line.data, n))
            return false;
        buf_consume(&w->line, n + 1);
    }
    return true;
}

/* All that is there, told as ADDED. */
static int begin(struct watch *w, struct err *err)
{
    auto(json) struct json *items = NULL;
    char *version = NULL;
    int rc = kube_list_at(w->k, w->kind, w->where, &items, &version, err);

    if (rc != KUBE_OK)
        return rc > 0 ? err_set(err, ERR_GENERIC, ENOENT, "%s: cannot be listed", w->kind->plural)
                      : rc;
    free(w->version);
    w->version = version;
    w->too_old = false;
    if (w->told_before && !w->seen(w->arg, "RELIST", NULL))
        w->over = true;
    w->told_before = true;
    for (const struct json *o = json_first(items); o && !w->over; o = json_next(o))
        w->over = !w->seen(w->arg, "ADDED", o);
    return 0;
}

/* One stream, until it ends. 0 it ended, 1 the latch, negative failed. */
static int follow(struct watch *w, bool anew, struct err *err)
{
    auto_buf struct buf url = BUF_INIT(0);
    auto_free char *bearer = NULL;
    const char *headers[3] = { "Accept: application/json" };
    struct http_follower f = { .on_head = on_head,
                               .on_data = on_data,
                               .arg = w,
                               .stop_fd = w->k->abort ? latch_fd(w->k->abort) : -1 };

    if (kube_bearer(w->k, anew, &bearer, err) < 0)
        return -EACCES;
    if (*bearer)
        headers[1] = bearer;
    buf_adds(&url, w->k->host.server);
    kube_path(&url, w->kind, w->where->ns, NULL);
    buf_adds(&url, "?watch=true&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=");
    http_escape(&url, w->version);
    kube_query(&url, w->where);
    struct http_req req = { .url = buf_str(&url),
                            .headers = headers,
                            .timeout_ms = MAX(w->k->timeout_ns / NS_PER_MS, 1) };
    kube_request(w->k, &req);
    w->status = 0;
    buf_clear(&w->line);
    int rc = http_stream(&req, &f, err);
    mem_wipe(bearer, strlen(bearer));
    return rc;
}

/* After a stream: 0 go on, 1 list anew, negative give up. */
static int judge(struct watch *w, int rc, struct err *err)
{
    const struct kube_call call = { .path = w->kind->plural };

    if (w->failed)
        return -EIO;
    if (w->too_old)
        return 1;
    if (rc < 0 || w->status == 200 || w->status == 0 || w->status == 429 || w->status >= 500)
        return 0;
    rc = kube_judge(&call, w->status, buf_str(&w->line), w->line.len, err);
    return rc > 0 ? 1 : rc;
}

static bool is_stopped(const struct watch *w)
{
    return w->over || (w->k->abort && latch_is_set(w->k->abort));
}

static int go_on(struct watch *w, struct err *err)
{
    struct kube_pause pause;
    bool anew = false;
    int rc = begin(w, err);

    kube_pause_begin(w->k, &pause);
    while (rc == 0 && !is_stopped(w)) {
        int ended = follow(w, anew, &w->last);

        if (is_stopped(w))
            break;
        anew = !anew && w->status == 401;
        if (w->status == 200)
            kube_pause_begin(w->k, &pause); /* it spoke: patience begins anew, with a short pause */
        int next = anew ? 0 : judge(w, ended, &w->last);
        if (next == 0 && !anew && !kube_pause_once(w->k, &pause, 0))
            next = is_stopped(w) ? 0 : -ETIMEDOUT;
        if (next > 0)
            rc = begin(w, err);
        else if (next < 0) {
            if (err)
                *err = w->last;
            rc = next;
        }
    }
    return rc;
}

int kube_watch(struct kube *k, const struct kube_kind *kind, const struct kube_where *where,
               kube_seen_fn *seen, void *arg, struct err *err)
{
    struct watch w = { .k = k,
                       .kind = kind,
                       .where = where,
                       .seen = seen,
                       .arg = arg,
                       .line = BUF_INIT(KUBE_EVENT_MAX) };
    int rc = go_on(&w, err);

    buf_done(&w.line);
    free(w.version);
    if (rc < 0)
        return w.over ? 0 : err_wrap(err, "watching %s", kind->plural);
    return w.over ? 0 : 1;
}
