/* Inside chaoslib/kube only. */
#ifndef CHAOSLIB_KUBE_INTERNAL_H
#define CHAOSLIB_KUBE_INTERNAL_H

#include <pthread.h>

#include "base/clock.h"
#include "chaoslib/chaos.h"
#include "chaoslib/kube/kube.h"
#include "edge/http.h"

#define KUBE_FILE_MAX ((size_t)1 << 20) /* kubeconfig, token, answer of a plugin */
#define KUBE_ANSWER_MAX ((size_t)64 << 20)
#define KUBE_EVENT_MAX ((size_t)8 << 20) /* one line of a watch */
#define KUBE_PAGE 500
#define KUBE_TOKEN_AGE_NS (60 * NS_PER_SEC) /* bound tokens rotate: read again */

/* A certificate or key that stands in the kubeconfig itself: kept in memory, named by a path that
 * only we can open. */
struct kube_blob {
    int fd;
    char path[32]; /* "/proc/self/fd/7"; "" when there is none */
};

struct kube_exec {
    char **argv; /* NULL: no plugin; NULL-terminated */
    char **env;  /* all of the plugin's environment */
    char *hint;  /* how to install it, as the kubeconfig says */
    char *api_version;
};

struct kube_host {
    char *server; /* "https://10.96.0.1:443" */
    char *from;   /* "service account", "context 'lab' of /root/.kube/config" */
    char *ns;
    char *sni;
    bool no_verify;
    char *ca, *cert, *key; /* paths; NULL: none */
    struct kube_blob blobs[3];
    char *token, *token_file;
    char *basic; /* "user:password" in base64 */
    struct kube_exec exec;
};

struct kube {
    struct kube_host host;
    struct latch *abort;
    uint64_t timeout_ns, patience_ns;
    char describe[256];
    pthread_mutex_t lock; /* over what follows */
    char *bearer;         /* NULL: not read yet, or none is needed */
    uint64_t bearer_until_ns;
};

/* kubeconfig.c, incluster.c: fill *ret, which kube_host_done releases. */
int kube_host_find(const struct kube_opts *opts, struct kube_host *ret, struct err *err) MUST_CHECK;
int kube_config_read(const char *path, const char *context, struct kube_host *ret,
                     struct err *err) MUST_CHECK;
/* The same from a text; paths in it are below `dir`. */
int kube_config_parse(const char *path, const char *text, size_t len, const char *context,
                      struct kube_host *ret, struct err *err) MUST_CHECK;
void kube_host_done(struct kube_host *h);
/* 0 read, 1 there is no such file. */
int kube_file(const char *path, struct buf *ret, struct err *err) MUST_CHECK;

/* credential.c. The header's value, "" when none is needed; the caller frees. `anew`: the API
 * server did not like the last one. */
int kube_bearer(struct kube *k, bool anew, char **ret, struct err *err) MUST_CHECK;

/* call.c */
struct kube_call {
    const char *method; /* NULL: GET */
    const char *path;   /* with its query, escaped */
    const struct json *body;
    const char *content_type; /* NULL: application/json */
    size_t answer_max;        /* 0: KUBE_ANSWER_MAX */
};
/* 0 when it answered: *ret_status, and the body in `ret` (raw). */
int kube_ask(struct kube *k, const struct kube_call *call, unsigned *ret_status, struct buf *ret,
             struct err *err) MUST_CHECK;
/* The same, judged: kube_answer, or negative. */
int kube_do(struct kube *k, const struct kube_call *call, struct json **ret,
            struct err *err) MUST_CHECK;
/* What an answer that is no success means. */
int kube_judge(const struct kube_call *call, unsigned status, const char *text, size_t len,
               struct err *err);
void kube_request(const struct kube *k, struct http_req *req);
/* "/api/v1/namespaces/NS/pods/NAME": ns NULL for all, name NULL for the collection. */
void kube_path(struct buf *out, const struct kube_kind *kind, const char *ns, const char *name);
/* "&labelSelector=…&fieldSelector=…" */
void kube_query(struct buf *out, const struct kube_where *where);
/* With the resource version of what it shows; the caller frees both. */
int kube_list_at(struct kube *k, const struct kube_kind *kind, const struct kube_where *where,
                 struct json **ret, char **ret_version, struct err *err) MUST_CHECK;
/* Pauses between attempts; false when there is no time left for another one, or the latch is set.
 */
struct kube_pause {
    uint64_t until_ns, next_ns;
};
void kube_pause_begin(const struct kube *k, struct kube_pause *p);
bool kube_pause_once(const struct kube *k, struct kube_pause *p, uint64_t at_least_ns);

#endif
