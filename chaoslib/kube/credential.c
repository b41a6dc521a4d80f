/* What is said in the Authorization header: a token from a file that rotates, from the kubeconfig,
 * or from an exec plugin (KEP-541: its ExecCredential on standard output). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/proc.h"
#include "chaoslib/kube/internal.h"

#define PLUGIN_MS 60000
#define PLUGIN_AGE_NS (UINT64_C(600) * NS_PER_SEC) /* where it does not say until when */

static int from_file(const struct kube *k, char **ret, struct err *err)
{
    auto_buf struct buf text = BUF_INIT(KUBE_FILE_MAX);
    int rc = kube_file(k->host.token_file, &text, err);

    if (rc == 1)
        return err_set(err, ERR_PREPARE, ENOENT, "the token %.200s is not there",
                       k->host.token_file);
    if (rc < 0)
        return rc;
    auto_free char *token = xstrndup(buf_str(&text), strcspn(buf_str(&text), " \t\r\n"));
    *ret = xasprintf("Authorization: Bearer %s", token);
    if (text.data)
        mem_wipe(text.data, text.len);
    mem_wipe(token, strlen(token));
    return 0;
}

/* "2026-11-26T10:00:00Z" as an instant of our clock; 0 when it says none. */
static uint64_t expiry(const char *text)
{
    struct tm tm = { 0 };

    if (!*text || !strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
        return 0;
    double left = difftime(timegm(&tm), time(NULL)) - 10;
    return clock_now_ns() + (left > 0 ? (uint64_t)left * NS_PER_SEC : 0);
}

static int plugin_failed(const struct kube_exec *e, int status, struct err *err)
{
    if (status < 0)
        return err_wrap(err, "the kubeconfig's plugin %.100s%s%.120s", e->argv[0],
                        e->hint ? ": " : "", e->hint ? e->hint : "");
    return err_set(err, ERR_PREPARE, EACCES, "the kubeconfig's plugin %.100s ended with %d%s%.200s",
                   e->argv[0], status, e->hint ? ": " : "", e->hint ? e->hint : "");
}

static int run_plugin(const struct kube_exec *e, struct buf *out, struct err *err)
{
    int status = proc_run_env((const char *const *)e->argv, (const char *const *)e->env, PLUGIN_MS,
                              out, err);

    return status == 0 ? 0 : plugin_failed(e, status, err);
}

static int from_plugin(struct kube *k, char **ret, struct err *err)
{
    auto_buf struct buf out = BUF_INIT(KUBE_FILE_MAX);
    auto(json) struct json *credential = NULL;
    int rc = run_plugin(&k->host.exec, &out, err);

    if (rc == 0 && json_parse(buf_str(&out), out.len, &credential, err) < 0)
        rc = err_wrap(err, "what the kubeconfig's plugin %.100s printed", k->host.exec.argv[0]);
    if (out.data)
        mem_wipe(out.data, out.len);
    if (rc < 0)
        return rc;
    const char *token = json_str(credential, "status.token", "");
    if (!*token)
        return err_set(err, ERR_PREPARE, EINVAL,
                       "the kubeconfig's plugin %.100s gave no status.token (certificates from "
                       "plugins are not supported)",
                       k->host.exec.argv[0]);
    uint64_t until = expiry(json_str(credential, "status.expirationTimestamp", ""));
    k->bearer_until_ns = until ? until : clock_now_ns() + PLUGIN_AGE_NS;
    *ret = xasprintf("Authorization: Bearer %s", token);
    return 0;
}

static int read_again(struct kube *k, char **ret, struct err *err)
{
    const struct kube_host *h = &k->host;

    k->bearer_until_ns = h->token_file ? clock_now_ns() + KUBE_TOKEN_AGE_NS : UINT64_MAX;
    if (h->exec.argv)
        return from_plugin(k, ret, err);
    if (h->token_file)
        return from_file(k, ret, err);
    if (h->token)
        *ret = xasprintf("Authorization: Bearer %s", h->token);
    else if (h->basic)
        *ret = xasprintf("Authorization: Basic %s", h->basic);
    else
        *ret = xstrdup("");
    return 0;
}

int kube_bearer(struct kube *k, bool anew, char **ret, struct err *err)
{
    int rc = 0;

    pthread_mutex_lock(&k->lock);
    if (!k->bearer || anew || clock_now_ns() >= k->bearer_until_ns) {
        char *fresh = NULL;
        rc = read_again(k, &fresh, err);
        if (rc == 0) {
            if (k->bearer)
                mem_wipe(k->bearer, strlen(k->bearer));
            free(k->bearer);
            k->bearer = fresh;
        }
    }
    *ret = rc == 0 ? xstrdup(k->bearer) : NULL;
    pthread_mutex_unlock(&k->lock);
    return rc;
}
