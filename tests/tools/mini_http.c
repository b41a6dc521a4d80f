/* The web server of the test containers: static, small, answers with 200 what it can do.
 *
 *     mini_http PORT [MS]       listens so long after its start
 *     mini_http --check PORT    exit code 0 when one listens there: a HEALTHCHECK
 *
 * GET / is "ok\n"; /bytes/1000000 has a body of that size; /burn/1000 takes so many µs of processor
 * time; /hold/1000000 takes so much memory for a moment, in a process of its own; /write/1000 puts
 * so much, in blocks of 64 KiB, into a file in /data and syncs it. What could not be had is
 * answered with 507.
 *
 * HTTP/1.1 with keep-alive, a thread per connection, IPv6 and IPv4. SIGTERM ends it, also as the
 * first process of a container, where it would be ignored by default. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
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

static void burn(unsigned long us)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    unsigned long long until =
        (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000 + us;
    while ((unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000 <
           until)
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
}

/* Who is killed for it is not the server. */
static int hold(unsigned long bytes)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        char *p = bytes <= BODY_MAX ? malloc(bytes) : NULL;
        for (unsigned long i = 0; p && i < bytes; i += 4096)
            ((volatile char *)p)[i] = 1;
        _exit(p ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

/* Past the page cache, so that whoever waits for the disk waits here; where that cannot be, with
 * it. */
static int open_unnamed(void)
{
    static const int ways[] = { O_DIRECT, 0 };
    int fd = -1;

    for (size_t i = 0; fd < 0 && i < sizeof(ways) / sizeof(ways[0]); i++) {
        char name[] = "/data/fileXXXXXX";
        fd = mkostemp(name, ways[i]);
        if (fd >= 0)
            unlink(name);
    }
    return fd;
}

static int store(unsigned long bytes)
{
    static const char block[65536] __attribute__((aligned(4096)));
    int fd = open_unnamed(), rc = 0;

    if (fd < 0)
        return -1;
    for (unsigned long done = 0; done < bytes && rc == 0; done += sizeof(block))
        rc = write(fd, block, sizeof(block)) == sizeof(block) ? 0 : -1;
    if (rc == 0)
        rc = fsync(fd);
    close(fd);
    return rc;
}

/* What the path asks for, before the answer. */
static int work(const char *path)
{
    unsigned long n = 0;

    if (!path)
        return 0;
    if (sscanf(path, " /burn/%lu", &n) == 1)
        burn(n);
    else if (sscanf(path, " /hold/%lu", &n) == 1)
        return hold(n);
    else if (sscanf(path, " /write/%lu", &n) == 1)
        return store(n);
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
             "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s",
             work(path) == 0 ? "200 OK" : "507 Insufficient Storage", bytes,
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

static int check(unsigned port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "--check") == 0)
        return check((unsigned)strtoul(argv[2], NULL, 10));
    signal(SIGTERM, end);
    signal(SIGINT, end);
    if (argc > 2)
        usleep((useconds_t)strtoul(argv[2], NULL, 10) * 1000);
    int fd = listen_on(argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 8080), on = 1;
    pthread_attr_t attr;

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
