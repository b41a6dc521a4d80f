/* How long packets are on their way: small datagrams at a steady pace from one network namespace to
 * another, stamped before they are sent and, by the kernel, when they arrive.
 *
 *     one_way FROM TO ADDRESS PER_SECOND COUNT     names of `ip netns`, the IPv4 address of TO
 *
 * Prints the nanoseconds of each that arrived, one a line, in the order sent. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/mem.h"
#include "base/parse.h"

#define PORT 9009
#define COUNT_MAX 1000000u
#define SETTLE_NS NS_PER_SEC
#define SOCKET_BYTES (16 << 20)

struct flight {
    uint64_t sent_ns, got_ns;
};

static uint64_t now_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static int socket_in(const char *space, const struct sockaddr_in *at, bool receives)
{
    char path[256];
    int size = SOCKET_BYTES, on = 1;

    snprintf(path, sizeof path, "/run/netns/%s", space);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) {
        perror(path);
        return -1;
    }
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        return -1;
    setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    if (setsockopt(s, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0 ||
        (receives ? bind(s, (const void *)at, sizeof *at)
                  : connect(s, (const void *)at, sizeof *at)) < 0) {
        perror(space);
        close(s);
        return -1;
    }
    return s;
}

/* All that has come. */
static void take(int s, struct flight *flights, size_t n)
{
    for (;;) {
        uint64_t number = n, control[16];
        struct timespec ts;
        struct iovec v = { .iov_base = &number, .iov_len = sizeof number };
        struct msghdr m = {
            .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
        };

        if (recvmsg(s, &m, MSG_DONTWAIT) < 0)
            return;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
            if (c->cmsg_type == SCM_TIMESTAMPNS && number < n) {
                memcpy(&ts, CMSG_DATA(c), sizeof ts);
                flights[number].got_ns = (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
            }
    }
}

static void sleep_until(uint64_t ns)
{
    struct timespec ts = { .tv_sec = (time_t)(ns / NS_PER_SEC),
                           .tv_nsec = (long)(ns % NS_PER_SEC) };

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static void fly(int from, int to, struct flight *flights, size_t n, uint64_t gap_ns)
{
    uint64_t begin = now_ns(CLOCK_MONOTONIC);

    for (uint64_t i = 0; i < n; i++) {
        sleep_until(begin + i * gap_ns);
        flights[i].sent_ns = now_ns(CLOCK_REALTIME);
        if (send(from, &i, sizeof i, 0) < 0)
            perror("send");
        take(to, flights, n);
    }
    sleep_until(now_ns(CLOCK_MONOTONIC) + SETTLE_NS);
    take(to, flights, n);
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(PORT) };
    uint64_t per_second, n;

    if (argc != 6 || inet_pton(AF_INET, argv[3], &at.sin_addr) != 1 ||
        parse_u64(argv[4], 1, NS_PER_SEC, &per_second, NULL) < 0 ||
        parse_u64(argv[5], 1, COUNT_MAX, &n, NULL) < 0) {
        fputs("usage: one_way FROM TO ADDRESS PER_SECOND COUNT\n", stderr);
        return 2;
    }
    auto_free struct flight *flights = xcalloc(n, sizeof *flights);
    int to = socket_in(argv[2], &at, true), from = socket_in(argv[1], &at, false);
    if (to < 0 || from < 0)
        return 1;
    prctl(PR_SET_TIMERSLACK, 1);
    fly(from, to, flights, n, NS_PER_SEC / per_second);
    for (uint64_t i = 0; i < n; i++)
        if (flights[i].got_ns)
            printf("%lld\n", (long long)(flights[i].got_ns - flights[i].sent_ns));
    close(from);
    close(to);
    return 0;
}
