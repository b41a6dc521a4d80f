/* The Kubernetes API, as much of it as faults need: objects are JSON trees, named by kind,
 * namespace and name; there is no generated model.
 *
 * Calls block, from any thread. Each is repeated with growing pauses while the API server is away
 * (refused, reset, 429, 5xx), until its time is over or the latch is set: an API server that
 * restarts costs time, not the run.
 *
 * Sources: Kubernetes API concepts (resource versions, continue tokens, watch bookmarks, 410 Gone);
 * the meaning of in-cluster files and of kubeconfigs is client-go's. */
#ifndef CHAOSLIB_KUBE_KUBE_H
#define CHAOSLIB_KUBE_KUBE_H

#include "base/err.h"
#include "edge/json.h"

struct latch;
struct kube;

struct kube_opts {
    const char
        *kubeconfig;     /* NULL: KUBECONFIG, else the pod's service account, else ~/.kube/config */
    const char *context; /* NULL: the file's current-context */
    uint64_t timeout_ns; /* of one attempt; 0: 10 s */
    uint64_t patience_ns; /* of a call with all its attempts; 0: 60 s */
    struct latch *abort;  /* ends every pause and watch; may be NULL */
};

/* Reads who we are and where the API server is; sends nothing. ERR_PREPARE errors name the file and
 * what is wrong in it. */
struct kube *kube_open(const struct kube_opts *opts, struct err *err);
void kube_free(struct kube *k);
const char *kube_describe(const struct kube *k); /* "https://10.96.0.1:443 (service account)" */
/* That of the service account or of the context; "default" when neither says. */
const char *kube_namespace(const struct kube *k);

/* ---- kinds ---- */

struct kube_kind {
    const char *prefix; /* "/api/v1", "/apis/apps/v1" */
    const char *plural; /* "pods" */
};
extern const struct kube_kind kube_pods, kube_events, kube_deployments, kube_chaosengines,
    kube_chaosresults;

/* ---- one object ---- */

/* What an API server answers besides success. All are positive: the caller decides. */
enum kube_answer {
    KUBE_OK,
    KUBE_NOT_FOUND, /* 404 */
    KUBE_EXISTS,    /* 409 AlreadyExists */
    KUBE_CONFLICT,  /* 409: someone changed it since it was read */
    KUBE_GONE,      /* 410: a resource version or a continue token is too old */
};

/* Negative: no answer, or one that is none of the above; err says the API server's own sentence,
 * and for 403 which verb on what the role must allow. *ret (may be NULL) is the object, or NULL. */
int kube_get(struct kube *k, const struct kube_kind *kind, const char *ns, const char *name,
             struct json **ret, struct err *err) MUST_CHECK;
int kube_create(struct kube *k, const struct kube_kind *kind, const char *ns,
                const struct json *object, struct json **ret, struct err *err) MUST_CHECK;
/* PUT: name, namespace and resourceVersion are those in its metadata. */
int kube_update(struct kube *k, const struct kube_kind *kind, const struct json *object,
                struct json **ret, struct err *err) MUST_CHECK;
/* Reads, lets `change` change it, writes; again when someone else was quicker. `change` returns 0
 * to write, 1 to leave it alone, negative to give up with its own error. */
typedef int kube_change_fn(void *arg, struct json *object, struct err *err);
struct kube_ref {
    const struct kube_kind *kind;
    const char *ns, *name;
};
int kube_modify(struct kube *k, struct kube_ref ref, kube_change_fn *change, void *arg,
                struct err *err) MUST_CHECK;

/* ---- many ---- */

struct kube_where {
    const char *ns;     /* NULL: all namespaces */
    const char *labels; /* selector: "app=web,tier in (a, b)"; NULL: all */
    const char *fields; /* "status.phase=Running"; NULL: all */
};

/* All of them, page by page, as one array of objects in *ret. When pages grow too old meanwhile, it
 * begins again. */
int kube_list(struct kube *k, const struct kube_kind *kind, const struct kube_where *where,
              struct json **ret, struct err *err) MUST_CHECK;

/* Tells what is there ("ADDED" for each) and then what changes, until `seen` returns false (0), the
 * abort latch or stop_fd ends it (1). Goes on where it was after an end of stream or a restart of
 * the API server; where that is too far back, everything is told anew as ADDED or MODIFIED, after
 * one call with type "RELIST" and no object: what is not told then is gone. */
typedef bool kube_seen_fn(void *arg, const char *type, const struct json *object);
int kube_watch(struct kube *k, const struct kube_kind *kind, const struct kube_where *where,
               kube_seen_fn *seen, void *arg, struct err *err) MUST_CHECK;

#endif
