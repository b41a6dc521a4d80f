/* Both ends of what the tests of network faults measure: datagrams with numbers, and a little TCP.
 *
 *     net_peer serve [NAME]                          until it is killed; prints "ready" first
 *     net_peer ping HOST PORT N GAP_US SETTLE_MS SIZE
 *
 * The server sends datagrams to 9000 and 9001 back, and answers a request on TCP port 8080. NAME is
 * for whoever looks for its process. The pinger sends N datagrams at a steady pace and prints a
 * line for each that comes back, in the order of their coming:
 *
 *     NUMBER SENT_NS BACK_NS
 *
 * A busy machine is not to be taken for a slow network: it is the kernel that says when a datagram
 * came back, and both ends go before all that computes. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/parse.h"

#define DATAGRAM_MAX 65536
#define HEAD_BYTES sizeof(struct head)
#define N_UDP 2
#define N_TCP 64
#define N_MAX 100000
#define SHOP_PORT 8080
#define ECHO_PORT 9000
#define LINES_MAX ((size_t)64 << 20)
#define NS UINT64_C(1000000000)
#define BUFFER_BYTES (4 << 20)

struct head {
    uint64_t sent;
    uint32_t number;
};

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

static void sleep_until(uint64_t instant)
{
    struct timespec t = { .tv_sec = (time_t)(instant / NS), .tv_nsec = (long)(instant % NS) };

    while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL) != 0)
        ;
}

/* In front of whoever computes: as far as we are let. */
static void hurry(void)
{
    struct sched_param p = { .sched_priority = 1 };

    if (sched_setscheduler(0, SCHED_FIFO, &p) < 0)
        (void)setpriority(PRIO_PROCESS, 0, -20);
}

static int fail(const char *what)
{
    perror(what);
    return 1;
}

/* ---- the server ---- */

static int listen_on(int type, uint16_t port)
{
    struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), bytes = BUFFER_BYTES;

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
        return -1;
    return type == SOCK_STREAM && listen(fd, N_TCP) < 0 ? -1 : fd;
}

static void echo_all(int fd)
{
    static char text[DATAGRAM_MAX];
    struct sockaddr_in6 from;

    for (;;) {
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(fd, text, sizeof text, 0, (struct sockaddr *)&from, &len);
        if (n < 0)
            return;
        (void)sendto(fd, text, (size_t)n, 0, (struct sockaddr *)&from, len);
    }
}

static void answer(struct pollfd *p)
{
    static const char text[] = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
    char request[4096];

    if (recv(p->fd, request, sizeof request, 0) > 0)
        (void)send(p->fd, text, sizeof text - 1, MSG_NOSIGNAL);
    close(p->fd);
    p->fd = -1;
}

static void accept_into(struct pollfd *free_ones, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    for (int i = 0; fd >= 0 && i < N_TCP; i++)
        if (free_ones[i].fd < 0) {
            free_ones[i].fd = fd;
            return;
        }
    if (fd >= 0)
        close(fd);
}

static int serve(void)
{
    struct pollfd p[N_UDP + 1 + N_TCP];

    for (int i = 0; i < N_UDP + 1 + N_TCP; i++)
        p[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
    for (int i = 0; i < N_UDP; i++)
        p[i].fd = listen_on(SOCK_DGRAM, (uint16_t)(ECHO_PORT + i));
    p[N_UDP].fd = listen_on(SOCK_STREAM, SHOP_PORT);
    for (int i = 0; i <= N_UDP; i++)
        if (p[i].fd < 0)
            return fail("listen");
    puts("ready");
    fflush(stdout);
    while (poll(p, N_UDP + 1 + N_TCP, -1) >= 0) {
        for (int i = 0; i < N_UDP; i++)
            if (p[i].revents)
                echo_all(p[i].fd);
        for (int i = N_UDP + 1; i < N_UDP + 1 + N_TCP; i++)
            if (p[i].fd >= 0 && p[i].revents)
                answer(&p[i]);
        if (p[N_UDP].revents)
            accept_into(&p[N_UDP + 1], p[N_UDP].fd);
    }
    return fail("poll");
}

/* ---- the pinger ---- */

struct ping {
    const char *host;
    uint64_t port, n, gap_us, settle_ms, size;
    int fd;
    struct buf lines;
};

static int connect_to(struct ping *p)
{
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)p->port) };
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = six.sin6_port };
    bool is_six = inet_pton(AF_INET6, p->host, &six.sin6_addr) == 1;
    int bytes = BUFFER_BYTES;

    if (!is_six && inet_pton(AF_INET, p->host, &four.sin_addr) != 1)
        return -1;
    p->fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(p->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    (void)setsockopt(p->fd, SOL_SOCKET, SO_TIMESTAMPNS, &(int){ 1 }, sizeof(int));
    return is_six ? connect(p->fd, (struct sockaddr *)&six, sizeof six)
                  : connect(p->fd, (struct sockaddr *)&four, sizeof four);
}

static uint64_t stamp_of(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(c), sizeof t);
            return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
        }
    return now();
}

/* A refusal (ICMP) ends nothing: it is one way of not coming back. */
static void take_all(struct ping *p)
{
    static char text[DATAGRAM_MAX];
    char control[256];
    struct head h;

    for (;;) {
        struct iovec v = { .iov_base = text, .iov_len = sizeof text };
        struct msghdr m = {
            .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
        };
        ssize_t n = recvmsg(p->fd, &m, MSG_DONTWAIT);
        if (n < (ssize_t)HEAD_BYTES)
            return;
        memcpy(&h, text, HEAD_BYTES);
        buf_addf(&p->lines, "%u %llu %llu\n", h.number, (unsigned long long)h.sent,
                 (unsigned long long)stamp_of(&m));
    }
}

static void send_one(const struct ping *p, uint32_t number)
{
    static char text[DATAGRAM_MAX];
    struct head h = { .number = number, .sent = now() };

    memcpy(text, &h, HEAD_BYTES);
    (void)send(p->fd, text, p->size, 0);
}

static int ping(struct ping *p)
{
    uint64_t begin = now();

    for (uint32_t i = 0; i < p->n; i++) {
        sleep_until(begin + i * p->gap_us * 1000);
        send_one(p, i);
        take_all(p);
    }
    uint64_t end = now() + p->settle_ms * 1000000;
    for (uint64_t t = now(); t < end; t = now()) {
        struct pollfd wait = { .fd = p->fd, .events = POLLIN };
        (void)poll(&wait, 1, (int)((end - t) / 1000000) + 1);
        take_all(p);
    }
    fputs(buf_str(&p->lines), stdout);
    buf_done(&p->lines);
    return 0;
}

static int ping_by(char **argv)
{
    struct ping p = { .host = argv[0], .fd = -1 };

    p.lines = BUF_INIT(LINES_MAX);
    if (parse_u64(argv[1], 1, UINT16_MAX, &p.port, NULL) < 0 ||
        parse_u64(argv[2], 1, N_MAX, &p.n, NULL) < 0 ||
        parse_u64(argv[3], 0, NS, &p.gap_us, NULL) < 0 ||
        parse_u64(argv[4], 0, NS, &p.settle_ms, NULL) < 0 ||
        parse_u64(argv[5], HEAD_BYTES, 60000, &p.size, NULL) < 0 || connect_to(&p) < 0)
        return fail("net_peer ping HOST PORT N GAP_US SETTLE_MS SIZE");
    return ping(&p);
}

int main(int argc, char **argv)
{
    hurry();
    if (argc >= 2 && argc <= 3 && strcmp(argv[1], "serve") == 0)
        return serve();
    if (argc == 8 && strcmp(argv[1], "ping") == 0)
        return ping_by(argv + 2);
    fprintf(stderr, "usage: net_peer serve [NAME] | ping HOST PORT N GAP_US SETTLE_MS SIZE\n");
    return 2;
}
