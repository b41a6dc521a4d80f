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
        [HTTP_REFUSED] = ECONNREFUSED,       [HTTP_UNREACHABLE] = EHOSTUNREACH,
        [HTTP_CONNECT_TIMEOUT] = ETIMEDOUT,  [HTTP_TLS_TIMEOUT] = ETIMEDOUT,
        [HTTP_RESPONSE_TIMEOUT] = ETIMEDOUT, [HTTP_TRANSFER_TIMEOUT] = ETIMEDOUT,
        [HTTP_RESET] = ECONNRESET,           [HTTP_TOO_LARGE] = EMSGSIZE,
    };

    return codes[fail] ? codes[fail] : EIO;
}

static int set_up(CURL *easy, const struct http_req *req, struct http_resp *resp)
{
    const char *method = req->method ? req->method : "GET";
    uint64_t timeout_ms = req->timeout_ms ? req->timeout_ms : TIMEOUT_DEFAULT_MS;

    http_easy_basics(easy);
    http_easy_tls(easy, &req->tls);
    http_easy_method(easy, method, req->body, req->body_len);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &resp->head);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &resp->body);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)MIN(timeout_ms, INT32_MAX));
    if (req->unix_socket)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, req->unix_socket);
    if (req->max_redirects > 0) {
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)req->max_redirects);
    }
    return curl_easy_setopt(easy, CURLOPT_URL, req->url) == CURLE_OK ? 0 : -EINVAL;
}

static int perform(CURL *easy, const struct http_req *req, struct http_resp *resp, struct err *err)
{
    char sentence[CURL_ERROR_SIZE] = "";
    enum http_fail fail;
    CURLcode rc;
    long status = 0;
    int code;

    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, sentence);
    rc = curl_easy_perform(easy);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    if (rc == CURLE_OK) {
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        resp->status = (unsigned)status;
        return 0;
    }
    fail = http_classify(easy, (int)rc);
    code = fail_code(fail);
    if (rc == CURLE_OPERATION_TIMEDOUT)
        code = ETIMEDOUT;
    if (fail == HTTP_TOO_LARGE)
        return err_set(err, ERR_LIMIT, EMSGSIZE, "%s: the answer is larger than %zu bytes",
                       req->url, resp->body.max);
    return err_set(err, code == ETIMEDOUT ? ERR_TIMEOUT : ERR_GENERIC, code, "%s: %s", req->url,
                   *sentence ? sentence : curl_easy_strerror(rc));
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
