/* The blocking client, for everything off the hot path: one transfer, one deadline, bounded memory.
 * Each call has its own handle: nothing is shared, so any thread may call. */
#include "edge/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>

#include "edge/http_easy.h"

#define TIMEOUT_DEFAULT_MS 30000

static size_t count(const char *const *list)
{
    size_t n = 0;

    while (list && list[n])
        n++;
    return n;
}

static int fail_code(enum http_fail fail)
{
    static const int codes[HTTP_FAIL_MAX] = {
        [HTTP_REFUSED] = ECONNREFUSED,
        [HTTP_UNREACHABLE] = EHOSTUNREACH,
        [HTTP_CONNECT_TIMEOUT] = ETIMEDOUT,
        [HTTP_TLS_TIMEOUT] = ETIMEDOUT,
        [HTTP_RESPONSE_TIMEOUT] = ETIMEDOUT,
        [HTTP_TRANSFER_TIMEOUT] = ETIMEDOUT,
        [HTTP_RESET] = ECONNRESET,
        [HTTP_TOO_LARGE] = EMSGSIZE,
        [HTTP_TLS] = EPROTO,
    };

    return codes[fail] ? codes[fail] : EIO;
}

int http_easy_request(void *easy, const struct http_req *req)
{
    http_easy_basics(easy);
    http_easy_tls(easy, &req->tls);
    http_easy_method(easy, req->method ? req->method : "GET", req->body, req->body_len);
    if (req->unix_socket)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, req->unix_socket);
    if (req->max_redirects > 0) {
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)req->max_redirects);
    }
    return curl_easy_setopt(easy, CURLOPT_URL, req->url) == CURLE_OK ? 0 : -EINVAL;
}

int http_easy_failed(void *easy, int curl_code, const char *sentence, const struct http_req *req,
                     struct err *err)
{
    enum http_fail fail = http_classify(easy, curl_code);
    int code = curl_code == CURLE_OPERATION_TIMEDOUT ? ETIMEDOUT : fail_code(fail);

    if (fail == HTTP_TOO_LARGE)
        return err_set(err, ERR_LIMIT, EMSGSIZE, "%s: the answer is larger than %zu bytes",
                       req->url, req->body_max ? req->body_max : HTTP_BODY_MAX);
    return err_set(err, code == ETIMEDOUT ? ERR_TIMEOUT : ERR_GENERIC, code, "%s: %s", req->url,
                   *sentence ? sentence : curl_easy_strerror((CURLcode)curl_code));
}

static int set_up(CURL *easy, const struct http_req *req, struct http_resp *resp)
{
    uint64_t timeout_ms = req->timeout_ms ? req->timeout_ms : TIMEOUT_DEFAULT_MS;
    int rc = http_easy_request(easy, req);

    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &resp->head);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &resp->body);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)MIN(timeout_ms, INT32_MAX));
    return rc;
}

static int perform(CURL *easy, const struct http_req *req, struct http_resp *resp, struct err *err)
{
    char sentence[CURL_ERROR_SIZE] = "";
    CURLcode rc;
    long status = 0;

    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, sentence);
    rc = curl_easy_perform(easy);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    if (rc != CURLE_OK)
        return http_easy_failed(easy, (int)rc, sentence, req, err);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    resp->status = (unsigned)status;
    return 0;
}

int http_fetch(const struct http_req *req, struct http_resp *ret, struct err *err)
{
    struct http_resp resp = {
        .head = BUF_INIT(HTTP_HEAD_MAX),
        .body = BUF_INIT(req->body_max ? req->body_max : HTTP_BODY_MAX),
    };
    struct curl_slist *headers = NULL;
    CURL *easy;
    int rc = http_library_init(err);

    if (rc < 0)
        return rc;
    easy = curl_easy_init();
    if (!easy)
        abort(); /* small and fixed: as xcalloc */
    rc = set_up(easy, req, &resp);
    if (rc == 0) {
        headers = http_header_list(req->headers, count(req->headers), req->body);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
        rc = perform(easy, req, &resp, err);
    } else {
        rc = err_set(err, ERR_USAGE, EINVAL, "'%s' is not a URL", req->url);
    }
    curl_easy_cleanup(easy);
    http_header_list_free(headers);
    http_library_done();
    if (rc < 0)
        http_resp_done(&resp);
    else
        *ret = resp;
    return rc;
}

void http_resp_done(struct http_resp *r)
{
    buf_done(&r->head);
    buf_done(&r->body);
}

void http_escape(struct buf *out, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (; *text; text++)
        if (strchr(plain, *text))
            buf_addc(out, *text);
        else
            buf_addf(out, "%%%02X", (unsigned)(unsigned char)*text);
}
