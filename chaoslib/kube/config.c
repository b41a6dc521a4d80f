/* A kubeconfig: contexts join a cluster and a user by name. What it may hold that we do not know
 * (proxies, auth providers) is refused by name, where passing over it would talk to the wrong
 * server or as the wrong user. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base64.h"
#include "chaoslib/kube/internal.h"
#include "edge/yaml.h"

struct reader {
    const char *path; /* of the file, for messages */
    char *dir;
    const char *context;
    struct kube_host *host;
};

static const char *text_of(const struct doc *d, const char *key)
{
    const struct doc *value = doc_get(d, key);

    return value && value->kind == DOC_SCALAR && *value->text ? value->text : NULL;
}

static bool is_true(const struct doc *d, const char *key)
{
    const char *text = text_of(d, key);

    return text && strcmp(text, "true") == 0;
}

static int bad(const struct reader *r, const struct doc *at, const char *what, struct err *err)
{
    auto_buf struct buf path = BUF_INIT(200);

    if (!at)
        return err_set(err, ERR_PREPARE, EINVAL, "%.150s: %s", r->path, what);
    doc_path(at, &path);
    return err_set(err, ERR_PREPARE, EINVAL, "%.150s:%u:%u: %.80s: %s", r->path, at->line, at->col,
                   buf_str(&path), what);
}

/* A list, and what an item of it holds beside its name. */
struct kinds {
    const char *list, *inner;
};
static const struct kinds contexts = { "contexts", "context" },
                          clusters = { "clusters", "cluster" }, users = { "users", "user" };

/* clusters: [{name: x, cluster: {…}}]: the inner map of that name. */
static int named(const struct reader *r, const struct doc *root, struct kinds kinds,
                 const char *name, const struct doc **ret, struct err *err)
{
    const struct doc *all = doc_get(root, kinds.list);

    for (size_t i = 0; all && all->kind == DOC_LIST && i < all->n_items; i++) {
        const char *own = text_of(all->items[i], "name");

        if (!own || strcmp(own, name) != 0)
            continue;
        *ret = doc_get(all->items[i], kinds.inner);
        return 0;
    }
    auto_free char *what = xasprintf("there is no '%.60s' in %s", name, kinds.list);
    return bad(r, all, what, err);
}

static char *below(const struct reader *r, const char *path)
{
    return *path == '/' ? xstrdup(path) : xasprintf("%s/%s", r->dir, path);
}

/* The bytes of NAME-data into memory that has a path for us alone. */
static int keep_blob(const struct reader *r, const struct doc *at, struct kube_blob *blob,
                     struct err *err)
{
    auto_buf struct buf bytes = BUF_INIT(KUBE_FILE_MAX);

    if (!base64_decode(at->text, strlen(at->text), &bytes))
        return bad(r, at, "expected base64", err);
    blob->fd = memfd_create("kube", MFD_CLOEXEC);
    if (blob->fd < 0)
        return err_sys(err, ERR_PREPARE, errno, "memory for a certificate");
    snprintf(blob->path, sizeof(blob->path), "/proc/self/fd/%d", blob->fd);
    ssize_t n = write(blob->fd, buf_str(&bytes), bytes.len);
    mem_wipe(bytes.data, bytes.len);
    if (n != (ssize_t)bytes.len)
        return err_sys(err, ERR_PREPARE, n < 0 ? errno : ENOSPC, "memory for a certificate");
    return 0;
}

/* KEY-data wins over KEY, as in client-go. */
static int take_pem(const struct reader *r, const struct doc *map, const char *key, char **ret,
                    size_t slot, struct err *err)
{
    auto_free char *data_key = xasprintf("%s-data", key);
    const struct doc *data = doc_get(map, data_key);
    const char *path = text_of(map, key);

    if (data && data->kind == DOC_SCALAR && *data->text) {
        struct kube_blob *blob = &r->host->blobs[slot];
        if (keep_blob(r, data, blob, err) < 0)
            return -EINVAL;
        *ret = xstrdup(blob->path);
    } else if (path) {
        *ret = below(r, path);
        if (access(*ret, R_OK) != 0)
            return bad(r, doc_get(map, key), "this file cannot be read", err);
    }
    return 0;
}

static int take_cluster(const struct reader *r, const struct doc *cluster, struct err *err)
{
    struct kube_host *h = r->host;
    const char *server = text_of(cluster, "server");
    const char *sni = text_of(cluster, "tls-server-name");

    if (!server)
        return bad(r, cluster, "a cluster needs a server", err);
    if (strncmp(server, "https://", 8) != 0 && strncmp(server, "http://", 7) != 0)
        return bad(r, doc_get(cluster, "server"), "expected https://HOST:PORT", err);
    if (doc_get(cluster, "proxy-url"))
        return bad(r, doc_get(cluster, "proxy-url"), "proxies are not supported", err);
    size_t n = strlen(server);
    while (n && server[n - 1] == '/')
        n--;
    h->server = xstrndup(server, n);
    h->no_verify = is_true(cluster, "insecure-skip-tls-verify");
    h->sni = sni ? xstrdup(sni) : NULL;
    return take_pem(r, cluster, "certificate-authority", &h->ca, 0, err);
}

static size_t count(const struct doc *list)
{
    return list && list->kind == DOC_LIST ? list->n_items : 0;
}

/* Ours, with what the kubeconfig adds. */
static char **plugin_env(const struct doc *list)
{
    extern char **environ;
    size_t n = 0, added = count(list);

    while (environ[n])
        n++;
    char **env = xcalloc(n + added + 1, sizeof(*env));
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        env[at++] = xstrdup(environ[i]);
    for (size_t i = 0; i < added; i++) {
        const char *name = text_of(list->items[i], "name");
        const char *value = text_of(list->items[i], "value");
        if (name)
            env[at++] = xasprintf("%s=%s", name, value ? value : "");
    }
    return env;
}

static int take_exec(const struct reader *r, const struct doc *exec, struct err *err)
{
    struct kube_exec *e = &r->host->exec;
    const struct doc *args = doc_get(exec, "args");
    const char *command = text_of(exec, "command"), *hint = text_of(exec, "installHint");
    const char *version = text_of(exec, "apiVersion");

    if (!command)
        return bad(r, exec, "an exec plugin needs a command", err);
    if (!version || (strcmp(version, "client.authentication.k8s.io/v1") != 0 &&
                     strcmp(version, "client.authentication.k8s.io/v1beta1") != 0))
        return bad(r, exec, "expected apiVersion client.authentication.k8s.io/v1 (or v1beta1)",
                   err);
    e->argv = xcalloc(count(args) + 2, sizeof(*e->argv));
    /* A command with a slash is a path below the file; one without is looked for in PATH. */
    e->argv[0] = strchr(command, '/') ? below(r, command) : xstrdup(command);
    for (size_t i = 0; i < count(args); i++)
        e->argv[i + 1] = xstrdup(args->items[i]->text ? args->items[i]->text : "");
    e->env = plugin_env(doc_get(exec, "env"));
    e->hint = hint ? xstrdup(hint) : NULL;
    e->api_version = xstrdup(version);
    return 0;
}

static int take_user(const struct reader *r, const struct doc *user, struct err *err)
{
    struct kube_host *h = r->host;
    const char *token = text_of(user, "token"), *file = text_of(user, "tokenFile");
    const char *name = text_of(user, "username"), *password = text_of(user, "password");

    if (doc_get(user, "auth-provider"))
        return bad(r, doc_get(user, "auth-provider"),
                   "auth providers were removed from Kubernetes in 1.26: use an exec plugin", err);
    if (take_pem(r, user, "client-certificate", &h->cert, 1, err) < 0 ||
        take_pem(r, user, "client-key", &h->key, 2, err) < 0)
        return -EINVAL;
    if (!h->cert != !h->key)
        return bad(r, user, "client-certificate and client-key go together", err);
    if (file)
        h->token_file = below(r, file);
    else if (token)
        h->token = xstrdup(token);
    else if (name && password) {
        auto_buf struct buf pair = BUF_INIT(0), coded = BUF_INIT(0);
        buf_addf(&pair, "%s:%s", name, password);
        base64_encode(buf_str(&pair), pair.len, &coded);
        mem_wipe(pair.data, pair.len);
        h->basic = buf_take(&coded);
    }
    const struct doc *exec = doc_get(user, "exec");
    return exec && exec->kind == DOC_MAP ? take_exec(r, exec, err) : 0;
}

static int take_context(const struct reader *r, const struct doc *root, struct err *err)
{
    const char *name = r->context ? r->context : text_of(root, "current-context");
    const struct doc *context = NULL, *cluster = NULL, *user = NULL;

    if (!name)
        return bad(r, root, "no current-context: name one with --context", err);
    if (named(r, root, contexts, name, &context, err) < 0)
        return -EINVAL;
    const char *cluster_name = text_of(context, "cluster"), *user_name = text_of(context, "user");
    if (!cluster_name)
        return bad(r, context, "a context needs a cluster", err);
    if (named(r, root, clusters, cluster_name, &cluster, err) < 0 ||
        take_cluster(r, cluster, err) < 0)
        return -EINVAL;
    if (user_name &&
        (named(r, root, users, user_name, &user, err) < 0 || take_user(r, user, err) < 0))
        return -EINVAL;
    const char *ns = text_of(context, "namespace");
    r->host->ns = ns ? xstrdup(ns) : NULL;
    r->host->from = xasprintf("context '%.60s' of %.150s", name, r->path);
    return 0;
}

int kube_config_parse(const char *path, const char *text, size_t len, const char *context,
                      struct kube_host *ret, struct err *err)
{
    const char *slash = strrchr(path, '/');
    auto_free char *dir = slash ? xstrndup(path, MAX((size_t)(slash - path), 1)) : xstrdup(".");
    struct reader r = { .path = path, .dir = dir, .context = context, .host = ret };
    auto(arena) struct arena *arena = arena_new(0);
    struct doc *root = NULL;
    struct diag diag;
    int rc;

    diag_init(&diag);
    if (yaml_load(path, text, len, arena, &diag, &root) < 0)
        rc = err_set(err, ERR_PREPARE, EINVAL, "%.*s", (int)strcspn(buf_str(&diag.text), "\n"),
                     buf_str(&diag.text));
    else if (!root || root->kind != DOC_MAP)
        rc = bad(&r, root, "this is no kubeconfig", err);
    else
        rc = take_context(&r, root, err);
    diag_done(&diag);
    return rc;
}

int kube_config_read(const char *path, const char *context, struct kube_host *ret, struct err *err)
{
    auto_buf struct buf text = BUF_INIT(KUBE_FILE_MAX);
    int rc = kube_file(path, &text, err);

    if (rc == 1)
        return err_set(err, ERR_PREPARE, ENOENT, "there is no kubeconfig %.200s", path);
    if (rc == 0)
        rc = kube_config_parse(path, buf_str(&text), text.len, context, ret, err);
    if (text.data)
        mem_wipe(text.data, text.len);
    return rc;
}
