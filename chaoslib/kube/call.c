/* One question to the API server, with patience: an API server that restarts, is overloaded or has
 * lost its etcd is asked again, with growing pauses; one that says no is believed at once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/parse.h"
#include "chaoslib/kube/internal.h"

#define PAUSE_FIRST_NS (100 * NS_PER_MS)
#define PAUSE_MAX_NS (5 * NS_PER_SEC)

void kube_path(struct buf *out, const struct kube_kind *kind, const char *ns, const char *name)
{
    buf_adds(out, kind->prefix);
    if (ns) {
        buf_adds(out, "/namespaces/");
        http_escape(out, ns);
    }
    buf_addf(out, "/%s", kind->plural);
    if (name) {
        buf_addc(out, '/');
        http_escape(out, name);
    }
}

void kube_request(const struct kube *k, struct http_req *req)
{
    const struct kube_host *h = &k->host;

    req->tls = (struct http_tls){ .no_verify = h->no_verify,
                                  .ca_file = h->ca,
                                  .cert_file = h->cert,
                                  .key_file = h->key,
                                  .sni = h->sni };
}

/* ---- pauses ---- */

void kube_pause_begin(const struct kube *k, struct kube_pause *p)
{
    *p = (struct kube_pause){ .until_ns = clock_now_ns() + k->patience_ns,
                              .next_ns = PAUSE_FIRST_NS };
}

bool kube_pause_once(const struct kube *k, struct kube_pause *p, uint64_t at_least_ns)
{
    uint64_t now = clock_now_ns(), pause = MAX(p->next_ns, at_least_ns);

    if (now + pause >= p->until_ns || (k->abort && latch_is_set(k->abort)))
        return false;
    p->next_ns = MIN(p->next_ns * 2, PAUSE_MAX_NS);
    if (k->abort)
        return !latch_wait_until(k->abort, now + pause);
    clock_sleep_until(now + pause);
    return true;
}

/* ---- attempts ---- */

/* What may be otherwise in a moment. */
static bool may_pass(int code)
{
    return code == ECONNREFUSED || code == ECONNRESET || code == ETIMEDOUT ||
           code == EHOSTUNREACH || code == EIO;
}

static bool is_busy(unsigned status)
{
    return status == 429 || (status >= 500 && status != 501 && status != 505);
}

/* "Retry-After: 2"; 0 when it does not say. */
static uint64_t retry_after_ns(const char *head)
{
    for (const char *line = head; (line = strstr(line, "\r\n"));) {
        uint64_t seconds;
        char text[12];

        line += 2;
        if (strncasecmp(line, "Retry-After:", 12) != 0)
            continue;
        line += 12 + strspn(line + 12, " ");
        snprintf(text, sizeof(text), "%.*s", (int)MIN(strspn(line, "0123456789"), 10), line);
        return parse_u64(text, 0, 3600, &seconds, NULL) == 0 ? seconds * NS_PER_SEC : 0;
    }
    return 0;
}

static int send_once(struct kube *k, const struct kube_call *call, const char *body, bool anew,
                     struct http_resp *ret, struct err *err)
{
    auto_free char *url = xasprintf("%s%s", k->host.server, call->path);
    auto_free char *bearer = NULL;
    auto_free char *type =
        xasprintf("Content-Type: %s", call->content_type ? call->content_type : "application/json");
    const char *headers[5] = { "Accept: application/json" };
    size_t n = 1;

    if (kube_bearer(k, anew, &bearer, err) < 0)
        return -EACCES;
    if (*bearer)
        headers[n++] = bearer;
    if (body)
        headers[n++] = type;
    struct http_req req = { .method = call->method,
                            .url = url,
                            .headers = headers,
                            .body = body,
                            .body_len = body ? strlen(body) : 0,
                            .timeout_ms = MAX(k->timeout_ns / NS_PER_MS, 1),
                            .body_max = call->answer_max ? call->answer_max : KUBE_ANSWER_MAX };

    kube_request(k, &req);
    int rc = http_fetch(&req, ret, err);
    mem_wipe(bearer, strlen(bearer));
    return rc;
}

static int no_answer(const struct kube *k, struct err *err)
{
    auto_free char *why = xstrdup(err->msg);
    const char *sentence = strstr(why, ": ");

    return err_set(err, err->kind == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_PREPARE, err->code,
                   "no answer from the API server at %.150s: %.200s", k->describe,
                   sentence ? sentence + 2 : why);
}

int kube_ask(struct kube *k, const struct kube_call *call, unsigned *ret_status, struct buf *ret,
             struct err *err)
{
    auto_free char *body = call->body ? json_print(call->body, false) : NULL;
    struct err mine = { 0 };
    struct kube_pause pause;
    bool anew = false;

    kube_pause_begin(k, &pause);
    for (;;) {
        struct http_resp resp;
        uint64_t wait_ns = 0;
        int rc = send_once(k, call, body, anew, &resp, &mine);

        if (rc == 0 && resp.status == 401 && !anew) {
            anew = true; /* a token that was rotated since we read it */
            http_resp_done(&resp);
            continue;
        }
        if (rc == 0) {
            wait_ns = retry_after_ns(buf_str(&resp.head));
            *ret_status = resp.status;
            buf_clear(ret);
            buf_add(ret, buf_str(&resp.body), resp.body.len);
            http_resp_done(&resp);
        }
        if ((rc == 0 && !is_busy(*ret_status)) || (rc < 0 && !may_pass(-rc)) ||
            !kube_pause_once(k, &pause, wait_ns)) {
            if (rc < 0 && err) {
                *err = mine;
                return mine.kind == ERR_PREPARE ? rc : no_answer(k, err);
            }
            return rc;
        }
    }
}

/* ---- what an answer means ---- */

int kube_judge(const struct kube_call *call, unsigned status, const char *text, size_t len,
               struct err *err)
{
    auto(json) struct json *j = NULL;
    const char *method = call->method ? call->method : "GET";

    if (json_parse(text, len, &j, NULL) < 0)
        j = NULL;
    const char *reason = json_str(j, "reason", ""), *message = json_str(j, "message", "no reason");
    if (status == 404 && strcmp(reason, "NotFound") == 0)
        return KUBE_NOT_FOUND;
    if (status == 409)
        return strcmp(reason, "AlreadyExists") == 0 ? KUBE_EXISTS : KUBE_CONFLICT;
    if (status == 410)
        return KUBE_GONE;
    if (status == 404)
        return err_set(err, ERR_PREPARE, ENOENT,
                       "the API server does not know %.200s (is the CRD installed?)", call->path);
    if (status == 401)
        return err_set(err, ERR_PREPARE, EACCES, "the API server does not know us: %.250s",
                       message);
    if (status == 403)
        return err_set(err, ERR_PREPARE, EACCES, "%.350s", message);
    return err_set(err, ERR_GENERIC, EIO, "%s %.120s: %u: %.200s", method, call->path, status,
                   message);
}

int kube_do(struct kube *k, const struct kube_call *call, struct json **ret, struct err *err)
{
    auto_buf struct buf body = BUF_INIT(call->answer_max ? call->answer_max : KUBE_ANSWER_MAX);
    auto(json) struct json *j = NULL;
    unsigned status = 0;
    int rc = kube_ask(k, call, &status, &body, err);

    if (ret)
        *ret = NULL;
    if (rc < 0)
        return rc;
    if (status < 200 || status > 299)
        return kube_judge(call, status, buf_str(&body), body.len, err);
    if (json_parse(buf_str(&body), body.len, &j, err) < 0)
        return err_wrap(err, "the answer to %.100s", call->path);
    if (ret) {
        *ret = j;
        j = NULL;
    }
    return KUBE_OK;
}
