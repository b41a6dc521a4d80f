/* One question to the engine and its answer. The version in the path is the one agreed on; an
 * engine that was upgraded meanwhile says which it wants, and is asked again. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "chaoslib/docker/internal.h"

void docker_request(const struct docker *d, struct http_req *req)
{
    req->unix_socket = d->host.socket;
    req->tls = (struct http_tls){ .no_verify = !d->host.verify,
                                  .ca_file = d->host.ca,
                                  .cert_file = d->host.cert,
                                  .key_file = d->host.key };
}

int docker_no_answer(const struct docker *d, uint64_t timeout_ns, struct err *err)
{
    const char *sentence = strstr(err->msg, ": ");
    auto_free char *why = xstrdup(sentence ? sentence + 2 : err->msg);
    char limit[DURATION_TEXT_MAX];
    int code = err->code;

    /* The socket's own state says more than libcurl does. */
    if (code != ETIMEDOUT && code != EMSGSIZE && docker_host_reach(&d->host, err) < 0)
        return -err->code;
    if (code == ETIMEDOUT)
        return err_set(err, ERR_PREPARE, code,
                       "no answer from the container engine at %s within %s: does it hang? restart "
                       "it, or give it longer with docker: {timeout: 30s}",
                       d->host.address, duration_text(timeout_ns, limit));
    return err_set(err, ERR_PREPARE, code, "the container engine at %s cannot be asked: %s%s%s",
                   d->host.address, why, d->host.tls ? "; TLS is on, with the files beside " : "",
                   d->host.tls && d->host.ca ? d->host.ca : "");
}

unsigned docker_api_minor(const char *text)
{
    uint64_t minor;

    if (strncmp(text, "1.", 2) != 0 || parse_u64(text + 2, 1, 999, &minor, NULL) < 0)
        return 0;
    return (unsigned)minor;
}

/* "client version 1.24 is too old. Minimum supported API version is 1.44, please upgrade…" and
 * "client version 1.50 is too new. Maximum supported API version is 1.41". */
bool docker_take_version(struct docker *d, unsigned asked, const char *message)
{
    static const char *const marks[] = { "Minimum supported API version is ",
                                         "Maximum supported API version is " };

    for (size_t i = 0; i < ARRAY_LEN(marks) && !d->api_is_fixed; i++) {
        const char *at = strstr(message, marks[i]);
        char text[16];

        if (!at)
            continue;
        at += strlen(marks[i]);
        snprintf(text, sizeof(text), "%.*s", (int)MIN(strspn(at, "0123456789."), 15), at);
        if (text[0] && text[strlen(text) - 1] == '.')
            text[strlen(text) - 1] = '\0';
        unsigned minor = docker_api_minor(text);
        if (minor < API_MINOR_MIN || minor > API_MINOR_MAX || minor == asked)
            return false;
        d->api_minor = minor;
        return true;
    }
    return false;
}

static char *url_of(const struct docker *d, unsigned minor, const char *path)
{
    return minor ? xasprintf("%s/v1.%u%s", d->host.base, minor, path)
                 : xasprintf("%s%s", d->host.base, path);
}

static int send_once(const struct docker *d, unsigned minor, const struct docker_call *call,
                     const char *body, struct http_resp *ret, struct err *err)
{
    static const char *const json_headers[] = { "Content-Type: application/json", NULL };
    auto_free char *url = url_of(d, minor, call->path);
    const char *method = call->method ? call->method : "GET";
    bool may_have_body = strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0;
    uint64_t timeout_ns = call->timeout_ns ? call->timeout_ns : d->timeout_ns;
    struct http_req req = { .method = method,
                            .url = url,
                            .headers = body ? json_headers : NULL,
                            .body = body ? body : (may_have_body ? "" : NULL),
                            .body_len = body ? strlen(body) : 0,
                            .timeout_ms = MAX(timeout_ns / NS_PER_MS, 1) };

    docker_request(d, &req);
    if (http_fetch(&req, ret, err) < 0)
        return docker_no_answer(d, timeout_ns, err);
    return 0;
}

/* Sends it; once more when the engine only minds the version. */
static int ask(struct docker *d, const struct docker_call *call, struct http_resp *ret,
               struct err *err)
{
    auto_free char *body = call->body ? json_print(call->body, false) : NULL;
    unsigned minor = d->api_minor;
    struct err mine = { 0 };
    int rc = send_once(d, minor, call, body, ret, &mine);

    if (rc == 0 && ret->status == 400 && docker_take_version(d, minor, buf_str(&ret->body))) {
        http_resp_done(ret);
        rc = send_once(d, d->api_minor, call, body, ret, &mine);
    }
    if (rc < 0 && err)
        *err = mine;
    return rc;
}

/* Errors of an engine are {"message": …}; what stands before it may say anything. */
static struct json *as_message(const struct http_resp *resp)
{
    struct json *j = json_object();
    auto_free char *text = xstrndup(buf_str(&resp->body), MIN(resp->body.len, 200));

    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    json_put_str(j, "message", *text && utf8_is_valid(text, strlen(text)) ? text : "no reason");
    return j;
}

static int read_answer(const struct docker *d, const struct docker_call *call,
                       const struct http_resp *resp, struct json **ret, struct err *err)
{
    const char *text = buf_str(&resp->body);
    bool is_json = text[0] == '{' || text[0] == '[' || strncmp(text, "null", 4) == 0;

    *ret = NULL;
    if (is_json && json_parse(text, resp->body.len, ret, NULL) == 0)
        return 0;
    if (resp->status >= 400)
        *ret = as_message(resp);
    else if (is_json)
        return err_set(err, ERR_PREPARE, EPROTO,
                       "the container engine at %s answered %s with what is not JSON",
                       d->host.address, call->path);
    return 0;
}

int docker_call(struct docker *d, const struct docker_call *call, unsigned *ret_status,
                struct json **ret_json, struct err *err)
{
    struct http_resp resp = { 0 };
    struct json *answer = NULL;
    int rc = ask(d, call, &resp, err);

    if (rc < 0)
        return rc;
    rc = read_answer(d, call, &resp, &answer, err);
    if (rc == 0)
        *ret_status = resp.status;
    http_resp_done(&resp);
    if (rc == 0 && ret_json)
        *ret_json = TAKE(answer);
    json_free(answer);
    return rc;
}

int docker_call_raw(struct docker *d, const struct docker_call *call, unsigned *ret_status,
                    struct buf *ret_body, struct err *err)
{
    struct http_resp resp = { 0 };
    int rc = ask(d, call, &resp, err);

    if (rc < 0)
        return rc;
    *ret_status = resp.status;
    buf_add(ret_body, buf_str(&resp.body), resp.body.len);
    http_resp_done(&resp);
    return 0;
}

/* Errno for what the engine refuses, so that callers need not know HTTP. */
static int code_of(unsigned status)
{
    switch (status) {
    case 400: return EINVAL;
    case 401:
    case 403: return EACCES;
    case 409: return EBUSY;
    default: return EIO;
    }
}

int docker_do(struct docker *d, const struct docker_call *call, struct json **ret_json,
              struct err *err)
{
    auto(json) struct json *answer = NULL;
    unsigned status = 0;
    int rc = docker_call(d, call, &status, &answer, err);

    if (rc < 0)
        return rc;
    if ((status < 200 || status > 299) && status != 304) {
        (void)err_set(err, ERR_INJECT, code_of(status),
                      "the container engine refused %s %.120s: %.200s (status %u)",
                      call->method ? call->method : "GET", call->path,
                      json_str(answer, "message", "no reason"), status);
        return status == 404 ? 1 : -code_of(status);
    }
    if (ret_json)
        *ret_json = TAKE(answer);
    return 0;
}
