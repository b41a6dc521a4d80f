/* An answer that never ends, such as a stream of events: followed until the server, the follower or
 * a descriptor says stop. libcurl's multi interface waits for the socket and that descriptor at
 * once. */
#include <curl/curl.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "edge/http_easy.h"

#define TIMEOUT_DEFAULT_MS 30000
#define WAIT_MS 1000

struct stream {
    CURL *easy;
    CURLM *multi;
    const struct http_req *req;
    const struct http_follower *f;
    struct buf head;
    bool has_head, ended; /* ended: by the follower */
    uint64_t head_until_ns;
};

static size_t take_head(char *data, size_t size, size_t n, void *arg)
{
    struct stream *s = arg;
    size_t taken = http_write_head(data, size, n, &s->head);
    long status = 0;

    if (s->has_head || !taken || !http_head_is_whole(&s->head))
        return taken;
    curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) /* 100 Continue: the head is yet to come */
        return taken;
    s->has_head = true;
    s->ended = s->f->on_head && !s->f->on_head(s->f->arg, (unsigned)status);
    return s->ended ? 0 : taken;
}

static size_t take_data(char *data, size_t size, size_t n, void *arg)
{
    struct stream *s = arg;

    s->ended = !s->f->on_data(s->f->arg, data, size * n);
    return s->ended ? 0 : size * n;
}

/* The result of the transfer, once there is one. */
static bool is_over(struct stream *s, CURLcode *ret)
{
    int left;
    CURLMsg *m;

    while ((m = curl_multi_info_read(s->multi, &left)))
        if (m->msg == CURLMSG_DONE) {
            *ret = m->data.result;
            return true;
        }
    return false;
}

static int no_head(const struct stream *s, struct err *err)
{
    return err_set(err, ERR_TIMEOUT, ETIMEDOUT, "%s: no answer in time", s->req->url);
}

static int follow(struct stream *s, char *sentence, struct err *err)
{
    struct curl_waitfd stop = { .fd = s->f->stop_fd, .events = CURL_WAIT_POLLIN };
    unsigned n_stop = s->f->stop_fd >= 0 ? 1 : 0;
    CURLcode result = CURLE_OK;

    for (;;) {
        int running = 0;

        if (curl_multi_perform(s->multi, &running) != CURLM_OK)
            return err_set(err, ERR_GENERIC, EIO, "%s: libcurl cannot go on", s->req->url);
        if (s->ended)
            return 1;
        if (is_over(s, &result))
            break;
        uint64_t now = clock_now_ns();
        if (!s->has_head && now >= s->head_until_ns)
            return no_head(s, err);
        uint64_t left_ms = s->has_head ? WAIT_MS : (s->head_until_ns - now) / NS_PER_MS + 1;
        stop.revents = 0;
        if (curl_multi_poll(s->multi, &stop, n_stop, (int)MIN(left_ms, WAIT_MS), NULL) != CURLM_OK)
            return err_set(err, ERR_GENERIC, EIO, "%s: libcurl cannot wait", s->req->url);
        if (n_stop && stop.revents)
            return 1;
    }
    return result == CURLE_OK ? 0 : http_easy_failed(s->easy, (int)result, sentence, s->req, err);
}

static int set_up(struct stream *s, char *sentence)
{
    int rc = http_easy_request(s->easy, s->req);

    curl_easy_setopt(s->easy, CURLOPT_HEADERFUNCTION, take_head);
    curl_easy_setopt(s->easy, CURLOPT_HEADERDATA, s);
    curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, take_data);
    curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->easy, CURLOPT_TCP_KEEPALIVE, 1L); /* a peer that vanished is noticed */
    curl_easy_setopt(s->easy, CURLOPT_ERRORBUFFER, sentence);
    return rc;
}

static size_t count(const char *const *list)
{
    size_t n = 0;

    while (list && list[n])
        n++;
    return n;
}

int http_stream(const struct http_req *req, const struct http_follower *f, struct err *err)
{
    uint64_t timeout_ms = req->timeout_ms ? req->timeout_ms : TIMEOUT_DEFAULT_MS;
    struct stream s = { .req = req,
                        .f = f,
                        .head = BUF_INIT(HTTP_HEAD_MAX),
                        .head_until_ns = clock_now_ns() + timeout_ms * NS_PER_MS };
    char sentence[CURL_ERROR_SIZE] = "";
    int rc = http_library_init(err);

    if (rc < 0)
        return rc;
    s.easy = curl_easy_init();
    s.multi = curl_multi_init();
    if (!s.easy || !s.multi)
        abort(); /* small and fixed: as xcalloc */
    struct curl_slist *headers =
        http_header_list(req->headers, count(req->headers), req->body != NULL);
    if (set_up(&s, sentence) < 0) {
        rc = err_set(err, ERR_USAGE, EINVAL, "'%s' is not a URL", req->url);
    } else {
        curl_easy_setopt(s.easy, CURLOPT_HTTPHEADER, headers);
        curl_multi_add_handle(s.multi, s.easy);
        rc = follow(&s, sentence, err);
        curl_multi_remove_handle(s.multi, s.easy);
    }
    curl_easy_cleanup(s.easy);
    curl_multi_cleanup(s.multi);
    http_header_list_free(headers);
    http_library_done();
    buf_done(&s.head);
    return rc;
}
