/* Where the API server is and who we are there: a kubeconfig that was named, the pod's service
 * account, or the user's own kubeconfig. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chaoslib/kube/internal.h"

#define ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount/"

static const char *env_of(const char *name)
{
    const char *value = getenv(name); // NOLINT(concurrency-mt-unsafe): nobody sets any

    return value && *value ? value : NULL;
}

int kube_file(const char *path, struct buf *ret, struct err *err)
{
    char piece[4096];
    ssize_t n;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 1;
    if (fd < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot read %.200s", path);
    while ((n = read(fd, piece, sizeof(piece))) > 0 && !buf_failed(ret))
        buf_add(ret, piece, (size_t)n);
    mem_wipe(piece, sizeof(piece));
    if (n < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot read %.200s", path);
    if (buf_failed(ret))
        return err_set(err, ERR_LIMIT, EFBIG, "%.200s is larger than %zu bytes", path, ret->max);
    return 0;
}

static int account(struct kube_host *ret, struct err *err)
{
    const char *host = env_of("KUBERNETES_SERVICE_HOST"), *port = env_of("KUBERNETES_SERVICE_PORT");
    auto_buf struct buf ns = BUF_INIT(KUBE_FILE_MAX);

    if (!host || !port)
        return 1;
    if (access(ACCOUNT "token", R_OK) != 0)
        return err_sys(err, ERR_PREPARE, errno,
                       "this is a pod, but its service account's token %stoken cannot be read "
                       "(automountServiceAccountToken: false?)",
                       ACCOUNT);
    ret->server = strchr(host, ':') ? xasprintf("https://[%s]:%s", host, port)
                                    : xasprintf("https://%s:%s", host, port);
    ret->from = xstrdup("the pod's service account");
    ret->ca = xstrdup(ACCOUNT "ca.crt");
    ret->token_file = xstrdup(ACCOUNT "token");
    if (kube_file(ACCOUNT "namespace", &ns, err) < 0)
        return -EIO;
    ret->ns = ns.len ? xstrndup(buf_str(&ns), strcspn(buf_str(&ns), " \r\n")) : NULL;
    return 0;
}

/* KUBECONFIG may list several; the first that is there has it all, or it is not for us. */
static char *first_of(const char *list)
{
    while (*list) {
        size_t n = strcspn(list, ":");
        char *path = xstrndup(list, n);

        if (n && access(path, F_OK) == 0)
            return path;
        free(path);
        list += n + (list[n] == ':');
    }
    return NULL;
}

int kube_host_find(const struct kube_opts *opts, struct kube_host *ret, struct err *err)
{
    const char *list = env_of("KUBECONFIG"), *home = env_of("HOME");
    auto_free char *own = home ? xasprintf("%s/.kube/config", home) : NULL;
    auto_free char *listed = list ? first_of(list) : NULL;
    int rc;

    for (size_t i = 0; i < ARRAY_LEN(ret->blobs); i++)
        ret->blobs[i].fd = -1;
    if (opts->kubeconfig)
        return kube_config_read(opts->kubeconfig, opts->context, ret, err);
    if (listed)
        return kube_config_read(listed, opts->context, ret, err);
    if (list)
        return err_set(err, ERR_PREPARE, ENOENT, "KUBECONFIG names no file that is there: %.200s",
                       list);
    if ((rc = account(ret, err)) <= 0)
        return rc;
    if (own && access(own, F_OK) == 0)
        return kube_config_read(own, opts->context, ret, err);
    return err_set(err, ERR_PREPARE, ENOENT,
                   "no Kubernetes here: no pod's service account, no KUBECONFIG, no "
                   "~/.kube/config; name one with --kubeconfig FILE");
}

static void free_words(char **words)
{
    for (size_t i = 0; words && words[i]; i++) {
        mem_wipe(words[i], strlen(words[i])); /* a plugin's environment may hold a secret */
        free(words[i]);
    }
    free(words);
}

static void free_secret(char *s)
{
    if (s)
        mem_wipe(s, strlen(s));
    free(s);
}

void kube_host_done(struct kube_host *h)
{
    for (size_t i = 0; i < ARRAY_LEN(h->blobs); i++)
        if (h->blobs[i].path[0])
            close(h->blobs[i].fd);
    free(h->server);
    free(h->from);
    free(h->ns);
    free(h->sni);
    free(h->ca);
    free(h->cert);
    free(h->key);
    free_secret(h->token);
    free_secret(h->basic);
    free(h->token_file);
    free_words(h->exec.argv);
    free_words(h->exec.env);
    free(h->exec.hint);
    free(h->exec.api_version);
    memset(h, 0, sizeof(*h));
}
