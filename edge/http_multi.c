/* Many transfers on our loop, by libcurl's socket interface: libcurl says which sockets and which
 * timer it waits for, the loop tells it when they are ready.
 *
 * A lane is a curl share that holds connections: libcurl reuses only what is in it, which is how a
 * user keeps connections of its own. Handles are kept and used again, for they are large. */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "edge/http_easy.h"

#define NS_PER_CURL_US UINT64_C(1000)
#define POOL_CONNECTIONS_MAX 65536L

struct watch { /* one socket that libcurl waits for */
    struct http_multi *multi;
    struct loop_io *io;
    curl_socket_t fd;
};

struct http_lane {
    CURLSH *share;
    const char *source; /* local address, or NULL */
};

struct http_call {
    TAILQ_ENTRY(http_call) link; /* in busy or spare */
    struct http_multi *multi;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    http_done_fn *done;
    void *arg;
    bool running, want_body, cut;
    CURLcode refused; /* could not be started: why */
    struct buf head, body;
    char sentence[CURL_ERROR_SIZE];
};
TAILQ_HEAD(calls, http_call);

struct http_multi {
    struct http_multi_opts opts;
    CURLM *multi;
    struct loop_timer *timer;   /* libcurl's */
    struct loop_timer *deliver; /* callbacks of calls that were cut or never started */
    struct calls busy, ready, spare;
    size_t next_source;
    uint64_t connections;
};

static void finish_ready(void *arg);
static void act(struct http_multi *m, curl_socket_t fd, int events);

/* ---- between libcurl and the loop ---- */

static void on_socket(void *arg, unsigned events)
{
    struct watch *w = arg;

    act(w->multi, w->fd, events & LOOP_READ ? CURL_CSELECT_IN : CURL_CSELECT_OUT);
}

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *arg, void *of_socket)
{
    struct http_multi *m = arg;
    struct watch *w = of_socket;
    unsigned events =
        (what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            loop_io_free(w->io);
        free(w);
        curl_multi_assign(m->multi, fd, NULL);
        return 0;
    }
    if (w) {
        loop_io_set(w->io, events);
        return 0;
    }
    w = xcalloc(1, sizeof(*w));
    *w = (struct watch){ .multi = m, .fd = fd };
    w->io = loop_io_new(m->opts.loop, fd, events, on_socket, w);
    curl_multi_assign(m->multi, fd, w);
    return 0;
}

static int timer_wanted(CURLM *multi, long timeout_ms, void *arg)
{
    struct http_multi *m = arg;

    (void)multi;
    if (timeout_ms < 0)
        loop_timer_stop(m->timer);
    else
        loop_timer_at(m->timer, clock_now_ns() + (uint64_t)timeout_ms * NS_PER_MS);
    return 0;
}

static void on_timer(void *arg)
{
    act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct http_multi *m = arg;
    int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);

    (void)purpose;
    if (fd >= 0 && m->opts.fd_end > 0 && fd >= m->opts.fd_end) {
        close(fd);
        fd = -1;
        errno = EMFILE;
    }
    if (fd < 0)
        return CURL_SOCKET_BAD;
    m->connections++;
    return fd;
}

static int close_socket(void *arg, curl_socket_t fd)
{
    struct http_multi *m = arg;

    m->connections--;
    return close(fd);
}

/* ---- one call ---- */

static size_t write_body(char *data, size_t size, size_t n, void *arg)
{
    struct http_call *c = arg;

    return c->want_body ? http_write_body(data, size, n, &c->body) : size * n;
}

static struct http_call *call_new(struct http_multi *m)
{
    struct http_call *c = TAILQ_FIRST(&m->spare);

    if (c) {
        TAILQ_REMOVE(&m->spare, c, link);
        return c;
    }
    c = xcalloc(1, sizeof(*c));
    c->multi = m;
    c->head = BUF_INIT(HTTP_HEAD_MAX);
    c->body = BUF_INIT(HTTP_BODY_MAX);
    c->easy = curl_easy_init();
    if (!c->easy)
        abort(); /* small and fixed: as xcalloc */
    return c;
}

static void call_free(struct http_call *c)
{
    curl_easy_cleanup(c->easy);
    buf_done(&c->head);
    buf_done(&c->body);
    free(c);
}

/* Back to the spare ones, holding no memory of its answer. */
static void call_release(struct http_call *c)
{
    curl_easy_reset(c->easy);
    curl_slist_free_all(c->headers);
    curl_slist_free_all(c->connect_to);
    c->headers = NULL;
    c->connect_to = NULL;
    buf_clear(&c->head);
    if (c->body.cap > 65536)
        buf_done(&c->body);
    c->body.max = HTTP_BODY_MAX;
    buf_clear(&c->body);
    TAILQ_INSERT_HEAD(&c->multi->spare, c, link);
}

static uint64_t info_ns(const struct http_call *c, CURLINFO info)
{
    curl_off_t us = 0;

    curl_easy_getinfo(c->easy, info, &us);
    return us > 0 ? (uint64_t)us * NS_PER_CURL_US : 0;
}

static long info_long(const struct http_call *c, CURLINFO info)
{
    long v = 0;

    curl_easy_getinfo(c->easy, info, &v);
    return v;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* libcurl counts from its own start; we know when it was done. */
static void read_times(const struct http_call *c, struct http_outcome *o)
{
    uint64_t total = info_ns(c, CURLINFO_TOTAL_TIME_T);
    uint64_t dns = info_ns(c, CURLINFO_NAMELOOKUP_TIME_T);
    uint64_t connect = info_ns(c, CURLINFO_CONNECT_TIME_T);
    uint64_t tls = info_ns(c, CURLINFO_APPCONNECT_TIME_T);
    uint64_t send = info_ns(c, CURLINFO_PRETRANSFER_TIME_T);
    uint64_t first = info_ns(c, CURLINFO_STARTTRANSFER_TIME_T);

    o->done_ns = clock_now_ns();
    if (send > 0)
        o->send_ns = o->done_ns - minus(total, send);
    if (first > 0 && c->head.len > 0)
        o->first_ns = o->done_ns - minus(total, first);
    o->reused = send > 0 && info_long(c, CURLINFO_NUM_CONNECTS) == 0;
    if (o->reused)
        return;
    o->dns_ns = dns;
    o->connect_ns = minus(connect, dns);
    o->tls_ns = minus(tls, connect);
}

static void read_sizes(const struct http_call *c, struct http_outcome *o)
{
    curl_off_t down = 0, up = 0;

    curl_easy_getinfo(c->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    curl_easy_getinfo(c->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    o->bytes_in = (uint64_t)(down + info_long(c, CURLINFO_HEADER_SIZE));
    o->bytes_out = (uint64_t)(up + info_long(c, CURLINFO_REQUEST_SIZE));
}

static enum http_fail outcome_fail(const struct http_call *c, CURLcode rc)
{
    enum http_fail fail = http_classify(c->easy, (int)rc);

    if (c->cut)
        return HTTP_CUT;
    /* An end of stream inside the head is "nothing" or "fine" to libcurl. */
    if ((fail == HTTP_OK || fail == HTTP_CLOSED) && c->head.len > 0 &&
        !http_head_is_whole(&c->head))
        return HTTP_SHORT;
    if (fail == HTTP_OK && info_long(c, CURLINFO_RESPONSE_CODE) == 0)
        return HTTP_MALFORMED;
    if (fail == HTTP_RESET && strstr(c->sentence, "chunked"))
        return HTTP_MALFORMED; /* a bad chunk is a "receive error" to libcurl */
    return fail;
}

static void call_finish(struct http_call *c, CURLcode rc)
{
    struct http_outcome o = { .head = &c->head, .body = &c->body };

    o.fail = outcome_fail(c, rc);
    read_times(c, &o);
    read_sizes(c, &o);
    if (http_head_is_whole(&c->head))
        o.status = (unsigned)info_long(c, CURLINFO_RESPONSE_CODE);
    if (o.fail != HTTP_OK)
        o.why = c->cut         ? "cut at the end of the run"
                : *c->sentence ? c->sentence
                               : curl_easy_strerror(rc);
    /* The callback may free the lane, and a handle's reset would keep its share. */
    curl_easy_setopt(c->easy, CURLOPT_SHARE, NULL);
    c->done(c->arg, &o);
    call_release(c);
}

static void call_take_back(struct http_call *c)
{
    if (c->running)
        curl_multi_remove_handle(c->multi->multi, c->easy);
    c->running = false;
}

/* The callbacks of calls that libcurl does not run. */
static void finish_ready(void *arg)
{
    struct http_multi *m = arg;
    struct http_call *c;

    while ((c = TAILQ_FIRST(&m->ready))) {
        TAILQ_REMOVE(&m->ready, c, link);
        call_finish(c, c->cut ? CURLE_ABORTED_BY_CALLBACK : c->refused);
    }
}

static void finish_later(struct http_call *c)
{
    TAILQ_REMOVE(&c->multi->busy, c, link);
    TAILQ_INSERT_TAIL(&c->multi->ready, c, link);
    loop_timer_at(c->multi->deliver, clock_now_ns());
}

static void finish_done(struct http_multi *m)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(m->multi, &left))) {
        struct http_call *c = NULL;
        CURLcode rc = msg->data.result;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &c);
        call_take_back(c);
        TAILQ_REMOVE(&m->busy, c, link);
        call_finish(c, rc);
    }
}

static void act(struct http_multi *m, curl_socket_t fd, int events)
{
    int running;

    curl_multi_socket_action(m->multi, fd, events, &running);
    finish_done(m);
}

/* ---- sending ---- */

/* "::ip:port" for every host, or, with another TLS name, that name to the real host. */
static void set_connect_to(struct http_call *c, const struct http_send *s, const char *sni)
{
    char text[700];

    if (s->connect_to) {
        snprintf(text, sizeof(text), "::%s", s->connect_to);
    } else if (sni && strncmp(s->url, "https://", 8) == 0) {
        const char *host = s->url + 8;

        snprintf(text, sizeof(text), "%s::%.*s", sni, (int)strcspn(host, "/?"), host);
    } else {
        return;
    }
    c->connect_to = curl_slist_append(NULL, text);
    curl_easy_setopt(c->easy, CURLOPT_CONNECT_TO, c->connect_to);
}

/* TLS asks for and checks the URL's host: another name goes there, CONNECT_TO leads back. */
static CURLcode set_url(struct http_call *c, const struct http_send *s, const char *sni)
{
    auto_free char *url = NULL;
    const char *host, *end, *port;

    if (!sni || strncmp(s->url, "https://", 8) != 0)
        return curl_easy_setopt(c->easy, CURLOPT_URL, s->url);
    host = s->url + 8;
    end = host + strcspn(host, "/?");
    port = end;
    while (port > host && port[-1] >= '0' && port[-1] <= '9')
        port--;
    url = xasprintf("https://%s%s", sni, port > host && port[-1] == ':' ? port - 1 : end);
    return curl_easy_setopt(c->easy, CURLOPT_URL, url);
}

static void set_version(CURL *easy, const struct http_multi_opts *o, const char *url)
{
    long version = CURL_HTTP_VERSION_1_1;

    if (o->http_version && strcmp(o->http_version, "2") == 0)
        version = strncmp(url, "https", 5) == 0 ? CURL_HTTP_VERSION_2TLS
                                                : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, version);
}

static const char *take_source(struct http_multi *m)
{
    if (m->opts.n_sources == 0)
        return NULL;
    return m->opts.source_addresses[m->next_source++ % m->opts.n_sources];
}

static void set_transport(struct http_call *c, const struct http_lane *lane,
                          const struct http_send *s)
{
    struct http_multi *m = c->multi;
    const char *source = lane ? lane->source : take_source(m);

    curl_easy_setopt(c->easy, CURLOPT_DNS_CACHE_TIMEOUT, (long)m->opts.dns_ttl_s);
    /* 0 would be libcurl's own default, or no limit at all. */
    curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)MAX(m->opts.connect_timeout_ns / NS_PER_MS, 1));
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)MAX(s->timeout_ns / NS_PER_MS, 1));
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETDATA, m);
    curl_easy_setopt(c->easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(c->easy, CURLOPT_CLOSESOCKETDATA, m);
    if (lane)
        curl_easy_setopt(c->easy, CURLOPT_SHARE, lane->share);
    if (m->opts.proxy)
        curl_easy_setopt(c->easy, CURLOPT_PROXY, m->opts.proxy);
    if (s->unix_socket)
        curl_easy_setopt(c->easy, CURLOPT_UNIX_SOCKET_PATH, s->unix_socket);
    if (source) {
        char text[80];

        snprintf(text, sizeof(text), "host!%s", source);
        curl_easy_setopt(c->easy, CURLOPT_INTERFACE, text);
    }
    if (s->close)
        curl_easy_setopt(c->easy, CURLOPT_FORBID_REUSE, 1L);
}

static CURLcode set_up(struct http_call *c, const struct http_lane *lane, const struct http_send *s)
{
    const struct http_multi_opts *o = &c->multi->opts;

    http_easy_basics(c->easy);
    http_easy_tls(c->easy, &o->tls);
    http_easy_method(c->easy, s->method, s->body, s->body_len);
    set_transport(c, lane, s);
    set_version(c->easy, o, s->url);
    set_connect_to(c, s, o->tls.sni);
    c->headers = http_header_list(s->headers, s->n_headers, s->body);
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, &c->head);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, write_body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->sentence);
    if (s->decode)
        curl_easy_setopt(c->easy, CURLOPT_ACCEPT_ENCODING, "gzip");
    return set_url(c, s, o->tls.sni);
}

struct http_call *http_multi_send(struct http_multi *m, struct http_lane *lane,
                                  const struct http_send *s, http_done_fn *done, void *arg)
{
    struct http_call *c = call_new(m);

    c->done = done;
    c->arg = arg;
    c->want_body = s->want_body;
    c->cut = false;
    c->sentence[0] = '\0';
    TAILQ_INSERT_TAIL(&m->busy, c, link);
    c->refused = set_up(c, lane, s);
    if (c->refused == CURLE_OK && curl_multi_add_handle(m->multi, c->easy) != CURLM_OK)
        c->refused = CURLE_FAILED_INIT;
    c->running = c->refused == CURLE_OK;
    if (!c->running)
        finish_later(c);
    return c;
}

void http_call_cut(struct http_call *c)
{
    if (!c->running)
        return; /* its callback is on the way already */
    c->cut = true;
    call_take_back(c);
    finish_later(c);
}

void http_multi_cut_all(struct http_multi *m)
{
    struct http_call *c;

    while ((c = TAILQ_FIRST(&m->busy)))
        http_call_cut(c);
    finish_ready(m);
}

uint64_t http_multi_connections(const struct http_multi *m)
{
    return m->connections;
}

/* ---- life ---- */

struct http_multi *http_multi_new(const struct http_multi_opts *opts, struct err *err)
{
    struct http_multi *m;

    if (http_library_init(err) < 0)
        return NULL;
    m = xcalloc(1, sizeof(*m));
    m->opts = *opts;
    TAILQ_INIT(&m->busy);
    TAILQ_INIT(&m->ready);
    TAILQ_INIT(&m->spare);
    m->multi = curl_multi_init();
    if (!m->multi)
        abort(); /* small and fixed: as xcalloc */
    m->timer = loop_timer_new(opts->loop, on_timer, m);
    m->deliver = loop_timer_new(opts->loop, finish_ready, m);
    curl_multi_setopt(m->multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
    curl_multi_setopt(m->multi, CURLMOPT_SOCKETDATA, m);
    curl_multi_setopt(m->multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
    curl_multi_setopt(m->multi, CURLMOPT_TIMERDATA, m);
    curl_multi_setopt(m->multi, CURLMOPT_MAXCONNECTS, POOL_CONNECTIONS_MAX);
    return m;
}

void http_multi_free(struct http_multi *m)
{
    struct http_call *c;

    if (!m)
        return;
    while ((c = TAILQ_FIRST(&m->spare))) {
        TAILQ_REMOVE(&m->spare, c, link);
        call_free(c);
    }
    curl_multi_cleanup(m->multi);
    loop_timer_free(m->timer);
    loop_timer_free(m->deliver);
    free(m);
    http_library_done();
}

struct http_lane *http_lane_new(struct http_multi *m)
{
    struct http_lane *l = xcalloc(1, sizeof(*l));

    l->source = take_source(m);
    l->share = curl_share_init();
    if (!l->share)
        abort(); /* small and fixed: as xcalloc */
    curl_share_setopt(l->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_CONNECT);
    return l;
}

void http_lane_free(struct http_lane *l)
{
    if (!l)
        return;
    curl_share_cleanup(l->share);
    free(l);
}
