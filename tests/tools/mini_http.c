/* The web server of the test containers: static, small, answers everything with 200.
 *
 *     mini_http PORT        GET / is "ok\n"; GET /bytes/1000000 has a body of that size
 *
 * HTTP/1.1 with keep-alive, a thread per connection, IPv6 and IPv4. SIGTERM ends it, also as the
 * first process of a container, where it would be ignored by default. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 16384
#define BODY_MAX 1000000000UL
#define STACK_BYTES ((size_t)128 << 10)

static void end(int sig)
{
    (void)sig;
    _exit(0);
}

static int send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        if (n <= 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int answer(int fd, const char *request)
{
    char head[128], filler[4096];
    size_t bytes = 3;
    const char *path = strchr(request, ' ');
    int has_size = path && strncmp(path, " /bytes/", 8) == 0;

    if (has_size)
        bytes = strtoul(path + 8, NULL, 10);
    if (bytes > BODY_MAX)
        return -1;
    snprintf(head, sizeof(head),
             "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s", bytes,
             has_size || strncmp(request, "HEAD", 4) == 0 ? "" : "ok\n");
    if (send_all(fd, head, strlen(head)) < 0)
        return -1;
    memset(filler, 'x', sizeof(filler));
    for (size_t left = has_size ? bytes : 0; left > 0;) {
        size_t n = left < sizeof(filler) ? left : sizeof(filler);

        if (send_all(fd, filler, n) < 0)
            return -1;
        left -= n;
    }
    return 0;
}

/* The body of a request is read and forgotten. */
static size_t body_length(const char *head)
{
    const char *at = strcasestr(head, "\r\ncontent-length:");

    return at ? strtoul(at + 17, NULL, 10) : 0;
}

/* Answers every whole request in the buffer; what remains is the beginning of the next one. */
static int serve_buffer(int fd, char *buf, size_t *len, size_t *skip)
{
    for (;;) {
        size_t n = *skip < *len ? *skip : *len;

        memmove(buf, buf + n, *len - n + 1);
        *len -= n;
        *skip -= n;
        char *end_of_head = strstr(buf, "\r\n\r\n");
        if (*skip || !end_of_head)
            return 0;
        end_of_head[2] = '\0';
        *skip = (size_t)(end_of_head + 4 - buf) + body_length(buf);
        if (answer(fd, buf) < 0 || strcasestr(buf, "\r\nconnection: close"))
            return -1;
    }
}

static void *serve(void *arg)
{
    int fd = (int)(long)arg;
    char buf[HEAD_MAX];
    size_t len = 0, skip = 0;
    ssize_t n;

    while (len < sizeof(buf) - 1 && (n = recv(fd, buf + len, sizeof(buf) - 1 - len, 0)) > 0) {
        len += (size_t)n;
        buf[len] = '\0';
        if (serve_buffer(fd, buf, &len, &skip) < 0)
            break;
    }
    close(fd);
    return NULL;
}

/* Both families by one socket; IPv4 alone where there is no other. */
static int listen_on(unsigned port)
{
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port) };
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, off = 0;

    if (fd >= 0 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(fd, (struct sockaddr *)&six, sizeof(six)) == 0 && listen(fd, 1024) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(fd, (struct sockaddr *)&four, sizeof(four)) == 0 && listen(fd, 1024) == 0)
        return fd;
    return -1;
}

int main(int argc, char **argv)
{
    int fd = listen_on(argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 8080), on = 1;
    pthread_attr_t attr;

    signal(SIGTERM, end);
    signal(SIGINT, end);
    if (fd < 0) {
        perror("mini_http: cannot listen");
        return 1;
    }
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    for (;;) {
        pthread_t thread;
        int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (peer < 0)
            continue;
        setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (pthread_create(&thread, &attr, serve, (void *)(long)peer) != 0)
            close(peer);
    }
}
