/* The least a client on libevent can do: keep-alive GETs whose answers are all of one length, which
 * is learnt from the first. No parsing, no statistics, no timeouts, no TLS. What is faster than
 * this on libevent is faster by system calls, not by care.
 *
 *     bare_loop URL CONNECTIONS SECONDS      prints requests, seconds, user, system, failed, max
 * RSS */
#include <arpa/inet.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "base/defs.h"
#include "base/mem.h"
#include "base/parse.h"

static struct {
    struct event_base *base;
    char request[512];
    size_t request_len, answer_len;
    uint64_t done, failed;
    char rx[65536];
} bench;

struct bare {
    struct event ev;
    size_t got;
};

static void send_request(int fd)
{
    if (send(fd, bench.request, bench.request_len, MSG_NOSIGNAL) != (ssize_t)bench.request_len)
        bench.failed++;
}

static size_t length_of_answer(const char *text, size_t len)
{
    const char *end = memmem(text, len, "\r\n\r\n", 4);
    const char *field = memmem(text, len, "Content-Length: ", 16);

    if (!end || !field)
        return len;
    return (size_t)(end + 4 - text) + strtoul(field + 16, NULL, 10);
}

static void on_read(int fd, short what, void *arg)
{
    struct bare *b = arg;
    ssize_t n = recv(fd, bench.rx, sizeof(bench.rx), 0);

    (void)what;
    if (n <= 0) {
        bench.failed++;
        event_del(&b->ev);
        return;
    }
    if (!bench.answer_len)
        bench.answer_len = length_of_answer(bench.rx, (size_t)n);
    b->got += (size_t)n;
    if (b->got < bench.answer_len)
        return;
    b->got = 0;
    bench.done++;
    send_request(fd);
}

static void on_end(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

static void begin(struct bare *b, const struct sockaddr_in *to)
{
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0) {
        bench.failed++;
        return;
    }
    evutil_make_socket_nonblocking(fd);
    event_assign(&b->ev, bench.base, fd, EV_READ | EV_PERSIST, on_read, b);
    event_add(&b->ev, NULL);
    send_request(fd);
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
    struct sockaddr_in to = { .sin_family = AF_INET };
    struct timespec begun, ended;
    struct err err = { 0 };
    struct rusage use;
    uint64_t n, seconds;
    const char *host = argc == 4 ? strstr(argv[1], "://") : NULL;
    char *colon = host ? strchr(host + 3, ':') : NULL;
    uint64_t port;

    if (!colon || parse_u64(colon + 1, 1, 65535, &port, &err) < 0) {
        fprintf(stderr, "usage: bare_loop http://IP:PORT CONNECTIONS SECONDS\n");
        return 2;
    }
    *colon = '\0';
    host += 3;
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1 ||
        parse_u64(argv[2], 1, 100000, &n, &err) < 0 ||
        parse_u64(argv[3], 1, 3600, &seconds, &err) < 0) {
        fprintf(stderr, "usage: bare_loop http://IP:PORT CONNECTIONS SECONDS\n");
        return 2;
    }
    to.sin_port = htons((uint16_t)port);
    bench.request_len = (size_t)snprintf(
        bench.request, sizeof(bench.request),
        "GET / HTTP/1.1\r\nHost: %s:%u\r\nUser-Agent: chaos-load\r\n\r\n", host, (unsigned)port);
    struct event_config *config = event_config_new();
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_NO_CACHE_TIME);
    bench.base = event_base_new_with_config(config);
    struct bare *all = xcalloc(n, sizeof(*all));
    struct event *timer = event_new(bench.base, -1, 0, on_end, bench.base);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (uint64_t i = 0; i < n; i++)
        begin(&all[i], &to);
    event_add(timer, &(struct timeval){ .tv_sec = (time_t)seconds });
    event_base_dispatch(bench.base);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    getrusage(RUSAGE_SELF, &use);
    printf("%llu %.3f %.3f %.3f %llu %ld\n", (unsigned long long)bench.done,
           (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9,
           seconds_of(use.ru_utime), seconds_of(use.ru_stime), (unsigned long long)bench.failed,
           use.ru_maxrss);
    return 0; /* what is still held goes with the process */
}
