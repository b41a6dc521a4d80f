/* One way to set up a libcurl transfer, and one to read why it failed. libcurl says "could not
 * connect" for several things that a user of a load test must tell apart; the errno and the stage
 * times tell them. */
#include "edge/http_easy.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

int http_library_init(struct err *err)
{
    /* Thread-safe since libcurl 7.84, and counted. */
    CURLcode rc = curl_global_init(CURL_GLOBAL_DEFAULT);

    if (rc != CURLE_OK)
        return err_set(err, ERR_GENERIC, EIO, "libcurl: %s", curl_easy_strerror(rc));
    return 0;
}

void http_library_done(void)
{
    curl_global_cleanup();
}

void http_easy_basics(void *easy)
{
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, http_write_head);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, http_write_body);
}

void http_easy_tls(void *easy, const struct http_tls *tls)
{
    bool v13 = tls->min_version && strcmp(tls->min_version, "1.3") == 0;

    curl_easy_setopt(easy, CURLOPT_SSLVERSION,
                     (long)(v13 ? CURL_SSLVERSION_TLSv1_3 : CURL_SSLVERSION_TLSv1_2));
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, tls->no_verify ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, tls->no_verify ? 0L : 2L);
    curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, tls->no_resume ? 0L : 1L);
    if (tls->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca_file);
    if (tls->cert_file)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->cert_file);
    if (tls->key_file)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->key_file);
}

void http_easy_method(void *easy, const char *method, const void *body, size_t body_len)
{
    if (strcmp(method, "HEAD") == 0 && !body) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (body) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_len);
    } else {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
}

static bool names(const char *header, const char *name)
{
    size_t n = strlen(name);

    return strncasecmp(header, name, n) == 0 && header[n] == ':';
}

static void append(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);

    if (!longer)
        abort(); /* small and fixed: as xcalloc */
    *list = longer;
}

void *http_header_list(const char *const *headers, size_t n, bool has_body)
{
    /* What libcurl would add by itself; "Name:" leaves it out. */
    static const char *const unasked[] = { "Accept", "Expect" };
    struct curl_slist *list = NULL;
    bool has_type = false;

    for (size_t i = 0; i < ARRAY_LEN(unasked); i++) {
        bool given = false;

        for (size_t k = 0; k < n; k++)
            given |= names(headers[k], unasked[i]);
        if (!given)
            append(&list, i == 0 ? "Accept:" : "Expect:");
    }
    for (size_t k = 0; k < n; k++) {
        const char *value = headers[k] + strcspn(headers[k], ":");

        has_type |= names(headers[k], "Content-Type");
        /* libcurl takes "Name:" as "leave it out" and "Name;" as "send it empty". */
        if (*value && value[1 + strspn(value + 1, " \t")] == '\0') {
            auto_free char *empty = xasprintf("%.*s;", (int)(value - headers[k]), headers[k]);

            append(&list, empty);
        } else {
            append(&list, headers[k]);
        }
    }
    if (has_body && !has_type)
        append(&list, "Content-Type:");
    return list;
}

void http_header_list_free(void *list)
{
    curl_slist_free_all(list);
}

/* ---- why it failed ---- */

static const struct {
    CURLcode code;
    enum http_fail fail;
} classes[] = {
    { CURLE_OK, HTTP_OK },
    { CURLE_COULDNT_RESOLVE_HOST, HTTP_DNS },
    { CURLE_COULDNT_RESOLVE_PROXY, HTTP_DNS },
    { CURLE_INTERFACE_FAILED, HTTP_INTERNAL },
    { CURLE_PROXY, HTTP_UNREACHABLE },
    { CURLE_SSL_CONNECT_ERROR, HTTP_TLS },
    { CURLE_PEER_FAILED_VERIFICATION, HTTP_TLS },
    { CURLE_SSL_CERTPROBLEM, HTTP_TLS },
    { CURLE_SSL_CIPHER, HTTP_TLS },
    { CURLE_SSL_CACERT_BADFILE, HTTP_TLS },
    { CURLE_SSL_ISSUER_ERROR, HTTP_TLS },
    { CURLE_SSL_ENGINE_INITFAILED, HTTP_TLS },
    { CURLE_USE_SSL_FAILED, HTTP_TLS },
    { CURLE_SEND_ERROR, HTTP_RESET },
    { CURLE_RECV_ERROR, HTTP_RESET },
    { CURLE_GOT_NOTHING, HTTP_CLOSED },
    { CURLE_PARTIAL_FILE, HTTP_SHORT },
    { CURLE_WEIRD_SERVER_REPLY, HTTP_MALFORMED },
    { CURLE_UNSUPPORTED_PROTOCOL, HTTP_MALFORMED },
    { CURLE_BAD_CONTENT_ENCODING, HTTP_MALFORMED },
    { CURLE_HTTP2, HTTP_MALFORMED },
    { CURLE_HTTP2_STREAM, HTTP_MALFORMED },
    { CURLE_WRITE_ERROR, HTTP_TOO_LARGE },
    { CURLE_FILESIZE_EXCEEDED, HTTP_TOO_LARGE },
    { CURLE_OUT_OF_MEMORY, HTTP_TOO_LARGE }, /* what libcurl says of a header over its limit */
};

static curl_off_t time_of(void *easy, CURLINFO info)
{
    curl_off_t us = 0;

    curl_easy_getinfo(easy, info, &us);
    return us;
}

static enum http_fail classify_timeout(void *easy)
{
    long local_port = 0; /* known once TCP is connected, earlier than the connect time */

    curl_easy_getinfo(easy, CURLINFO_LOCAL_PORT, &local_port);
    if (time_of(easy, CURLINFO_STARTTRANSFER_TIME_T) > 0)
        return HTTP_TRANSFER_TIMEOUT;
    if (time_of(easy, CURLINFO_PRETRANSFER_TIME_T) > 0)
        return HTTP_RESPONSE_TIMEOUT;
    if (local_port > 0 || time_of(easy, CURLINFO_CONNECT_TIME_T) > 0)
        return HTTP_TLS_TIMEOUT;
    return time_of(easy, CURLINFO_NAMELOOKUP_TIME_T) > 0 ? HTTP_CONNECT_TIMEOUT : HTTP_DNS;
}

static enum http_fail classify_connect(void *easy)
{
    long code = 0;

    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &code);
    switch (code) {
    case ECONNREFUSED:
    case ENOENT: return HTTP_REFUSED; /* a unix socket nobody made */
    case ETIMEDOUT: return HTTP_CONNECT_TIMEOUT;
    case ECONNRESET: return HTTP_RESET;
    case EMFILE:
    case ENFILE:
    case EADDRINUSE:
    case EADDRNOTAVAIL: /* no local port is free */
    case ENOMEM: return HTTP_INTERNAL;
    default: return HTTP_UNREACHABLE;
    }
}

/* A proxy that answers CONNECT with a no is a "receive error" to libcurl. */
static bool tunnel_was_refused(void *easy)
{
    long code = 0;

    curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &code);
    return code >= 300;
}

enum http_fail http_classify(void *easy, int curl_code)
{
    if (curl_code == CURLE_RECV_ERROR && tunnel_was_refused(easy))
        return HTTP_UNREACHABLE;
    if (curl_code == CURLE_OPERATION_TIMEDOUT)
        return classify_timeout(easy);
    if (curl_code == CURLE_COULDNT_CONNECT)
        return classify_connect(easy);
    for (size_t i = 0; i < ARRAY_LEN(classes); i++)
        if ((int)classes[i].code == curl_code)
            return classes[i].fail;
    return HTTP_INTERNAL;
}

/* ---- bytes ---- */

size_t http_write_head(char *data, size_t size, size_t n, void *buf)
{
    struct buf *head = buf;
    size_t len = size * n;

    if (len > 5 && memcmp(data, "HTTP/", 5) == 0)
        buf_clear(head);
    else if (http_head_is_whole(head))
        return len; /* a trailer, which libcurl tells as if it were one more header */
    buf_add(head, data, len);
    return buf_failed(head) ? 0 : len;
}

size_t http_write_body(char *data, size_t size, size_t n, void *buf)
{
    buf_add(buf, data, size * n);
    return buf_failed(buf) ? 0 : size * n;
}

bool http_head_is_whole(const struct buf *head)
{
    return (head->len >= 4 && memcmp(head->data + head->len - 4, "\r\n\r\n", 4) == 0) ||
           (head->len >= 2 && memcmp(head->data + head->len - 2, "\n\n", 2) == 0);
}
