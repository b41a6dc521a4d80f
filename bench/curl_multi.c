/* A client on libcurl's multi interface as its documentation advises: socket actions on epoll, easy
 * handles used again, one connection each. No statistics.
 *
 *     curl_multi URL CONNECTIONS SECONDS     prints requests, seconds, user, system, failed, max
 * RSS */
#include <curl/curl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/parse.h"

static struct {
    CURLM *multi;
    int epoll;
    uint64_t timer_ns, end_ns, done, failed; /* timer_ns 0: none */
} bench;

/* As libcurl's type wants it. */
static size_t on_body(char *data, size_t size, size_t n,
                      void *arg) // NOLINT(readability-non-const-parameter)
{
    (void)data;
    (void)arg;
    return size * n;
}

static int on_timer(CURLM *multi, long ms, void *arg)
{
    (void)multi;
    (void)arg;
    bench.timer_ns = ms < 0 ? 0 : clock_now_ns() + (uint64_t)ms * NS_PER_MS + 1;
    return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct epoll_event ev = { .data.fd = fd };

    (void)easy;
    (void)arg;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(bench.epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    ev.events = ((what & CURL_POLL_IN) ? (uint32_t)EPOLLIN : 0) |
                ((what & CURL_POLL_OUT) ? (uint32_t)EPOLLOUT : 0);
    epoll_ctl(bench.epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev);
    if (!known)
        curl_multi_assign(bench.multi, fd, &bench);
    return 0;
}

static void begin(const char *url)
{
    CURL *easy = curl_easy_init();

    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_multi_add_handle(bench.multi, easy);
}

static void take_finished(void)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(bench.multi, &left))) {
        CURL *easy = m->easy_handle;
        if (m->msg != CURLMSG_DONE)
            continue;
        bench.done++;
        bench.failed += m->data.result != CURLE_OK;
        curl_multi_remove_handle(bench.multi, easy);
        curl_multi_add_handle(bench.multi, easy);
    }
}

static void run(void)
{
    struct epoll_event events[256];
    int running;

    for (uint64_t now; (now = clock_now_ns()) < bench.end_ns;) {
        int wait = 100;
        if (bench.timer_ns)
            wait = bench.timer_ns <= now ? 0 : (int)((bench.timer_ns - now) / NS_PER_MS) + 1;
        int n = epoll_wait(bench.epoll, events, ARRAY_LEN(events), MIN(wait, 100));
        for (int i = 0; i < n; i++) {
            int what = ((events[i].events & EPOLLOUT) ? CURL_CSELECT_OUT : 0) |
                       ((events[i].events & ~(uint32_t)EPOLLOUT) ? CURL_CSELECT_IN : 0);
            curl_multi_socket_action(bench.multi, events[i].data.fd, what, &running);
        }
        if (bench.timer_ns && bench.timer_ns <= clock_now_ns()) {
            bench.timer_ns = 0;
            curl_multi_socket_action(bench.multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        take_finished();
    }
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
    struct err err = { 0 };
    struct rusage use;
    uint64_t n, seconds;

    if (argc != 4 || parse_u64(argv[2], 1, 100000, &n, &err) < 0 ||
        parse_u64(argv[3], 1, 3600, &seconds, &err) < 0) {
        fprintf(stderr, "usage: curl_multi URL CONNECTIONS SECONDS\n");
        return 2;
    }
    curl_global_init(CURL_GLOBAL_ALL);
    bench.epoll = epoll_create1(EPOLL_CLOEXEC);
    bench.multi = curl_multi_init();
    curl_multi_setopt(bench.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(bench.multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(bench.multi, CURLMOPT_MAXCONNECTS, (long)n);
    uint64_t begun = clock_now_ns();
    bench.end_ns = begun + seconds * NS_PER_SEC;
    for (uint64_t i = 0; i < n; i++)
        begin(argv[1]);
    run();
    getrusage(RUSAGE_SELF, &use);
    printf("%llu %.3f %.3f %.3f %llu %ld\n", (unsigned long long)bench.done,
           ns_to_sec(clock_now_ns() - begun), seconds_of(use.ru_utime), seconds_of(use.ru_stime),
           (unsigned long long)bench.failed, use.ru_maxrss);
    return 0; /* what is still held goes with the process */
}
