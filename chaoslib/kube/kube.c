/* Objects of the Kubernetes API: read, made, changed, removed, listed. */
#include "chaoslib/kube/kube.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "chaoslib/kube/internal.h"

#define TIMEOUT_NS (10 * NS_PER_SEC)
#define PATIENCE_NS (60 * NS_PER_SEC)
#define MODIFY_TRIES 10U

const struct kube_kind kube_pods = { "/api/v1", "pods" };
const struct kube_kind kube_events = { "/api/v1", "events" };
const struct kube_kind kube_deployments = { "/apis/apps/v1", "deployments" };
const struct kube_kind kube_chaosengines = { "/apis/litmuschaos.io/v1alpha1", "chaosengines" };
const struct kube_kind kube_chaosresults = { "/apis/litmuschaos.io/v1alpha1", "chaosresults" };

struct kube *kube_open(const struct kube_opts *opts, struct err *err)
{
    struct kube *k = xcalloc(1, sizeof(*k));

    pthread_mutex_init(&k->lock, NULL);
    k->abort = opts->abort;
    k->timeout_ns = opts->timeout_ns ? opts->timeout_ns : TIMEOUT_NS;
    k->patience_ns = opts->patience_ns ? opts->patience_ns : PATIENCE_NS;
    if (kube_host_find(opts, &k->host, err) < 0) {
        kube_free(k);
        return NULL;
    }
    if (!k->host.ns)
        k->host.ns = xstrdup("default");
    snprintf(k->describe, sizeof(k->describe), "%.100s (%.140s)", k->host.server, k->host.from);
    return k;
}

void kube_free(struct kube *k)
{
    if (!k)
        return;
    kube_host_done(&k->host);
    if (k->bearer)
        mem_wipe(k->bearer, strlen(k->bearer));
    free(k->bearer);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

const char *kube_describe(const struct kube *k)
{
    return k->describe;
}

const char *kube_namespace(const struct kube *k)
{
    return k->host.ns;
}

/* ---- one object ---- */

int kube_get(struct kube *k, const struct kube_kind *kind, const char *ns, const char *name,
             struct json **ret, struct err *err)
{
    auto_buf struct buf path = BUF_INIT(0);

    kube_path(&path, kind, ns, name);
    return kube_do(k, &(struct kube_call){ .path = buf_str(&path) }, ret, err);
}

int kube_create(struct kube *k, const struct kube_kind *kind, const char *ns,
                const struct json *object, struct json **ret, struct err *err)
{
    auto_buf struct buf path = BUF_INIT(0);

    kube_path(&path, kind, ns, NULL);
    return kube_do(k,
                   &(struct kube_call){ .method = "POST", .path = buf_str(&path), .body = object },
                   ret, err);
}

int kube_update(struct kube *k, const struct kube_kind *kind, const struct json *object,
                struct json **ret, struct err *err)
{
    auto_buf struct buf path = BUF_INIT(0);

    kube_path(&path, kind, json_str(object, "metadata.namespace", NULL),
              json_str(object, "metadata.name", ""));
    return kube_do(k,
                   &(struct kube_call){ .method = "PUT", .path = buf_str(&path), .body = object },
                   ret, err);
}

int kube_modify(struct kube *k, struct kube_ref ref, kube_change_fn *change, void *arg,
                struct err *err)
{
    int rc = KUBE_CONFLICT;

    for (unsigned i = 0; i < MODIFY_TRIES && rc == KUBE_CONFLICT; i++) {
        auto(json) struct json *object = NULL;

        if ((rc = kube_get(k, ref.kind, ref.ns, ref.name, &object, err)) != KUBE_OK)
            return rc;
        if ((rc = change(arg, object, err)) != 0)
            return rc < 0 ? rc : KUBE_OK;
        rc = kube_update(k, ref.kind, object, NULL, err);
    }
    if (rc == KUBE_CONFLICT)
        return err_set(err, ERR_GENERIC, EBUSY, "%s '%.100s' was changed by others %u times",
                       ref.kind->plural, ref.name, MODIFY_TRIES);
    return rc;
}

/* ---- many ---- */

void kube_query(struct buf *out, const struct kube_where *where)
{
    if (where->labels) {
        buf_adds(out, "&labelSelector=");
        http_escape(out, where->labels);
    }
    if (where->fields) {
        buf_adds(out, "&fieldSelector=");
        http_escape(out, where->fields);
    }
}

struct pages {
    struct json *items; /* so far */
    char *next;         /* where the next one begins; "" at the end */
    char *version;      /* of the snapshot that they show */
};

static void pages_done(struct pages *p)
{
    json_free(p->items);
    free(p->next);
    free(p->version);
}

/* One page: moves its items over. */
static int page(struct kube *k, const struct kube_kind *kind, const struct kube_where *where,
                struct pages *p, struct err *err)
{
    auto_buf struct buf path = BUF_INIT(0);
    auto(json) struct json *answer = NULL;

    kube_path(&path, kind, where->ns, NULL);
    buf_addf(&path, "?limit=%d", KUBE_PAGE);
    kube_query(&path, where);
    if (*p->next) {
        buf_adds(&path, "&continue=");
        http_escape(&path, p->next);
    }
    int rc = kube_do(k, &(struct kube_call){ .path = buf_str(&path) }, &answer, err);
    if (rc != KUBE_OK)
        return rc;
    free(p->next);
    free(p->version);
    p->next = xstrdup(json_str(answer, "metadata.continue", ""));
    p->version = xstrdup(json_str(answer, "metadata.resourceVersion", ""));
    for (struct json *item; (item = json_take_first(json_member_mutable(answer, "items")));)
        json_put(p->items, NULL, item);
    return KUBE_OK;
}

int kube_list_at(struct kube *k, const struct kube_kind *kind, const struct kube_where *where,
                 struct json **ret, char **ret_version, struct err *err)
{
    int rc;

    *ret = NULL;
    *ret_version = NULL;
    for (;;) {
        struct pages p = { .items = json_array(), .next = xstrdup(""), .version = xstrdup("") };

        while ((rc = page(k, kind, where, &p, err)) == KUBE_OK && *p.next)
            ;
        if (rc == KUBE_GONE && *p.next) { /* the snapshot that we read is too old: anew */
            pages_done(&p);
            continue;
        }
        if (rc == KUBE_OK) {
            *ret = p.items;
            *ret_version = p.version;
            p.items = NULL;
            p.version = NULL;
        }
        pages_done(&p);
        return rc;
    }
}

int kube_list(struct kube *k, const struct kube_kind *kind, const struct kube_where *where,
              struct json **ret, struct err *err)
{
    auto_free char *version = NULL;

    return kube_list_at(k, kind, where, ret, &version, err);
}
