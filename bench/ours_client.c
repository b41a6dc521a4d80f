/* Our client engine alone, without plan, users or campaign: what client.h and the statistics cost.
 *
 *     ours_client URL CONNECTIONS SECONDS
 *
 * prints requests, seconds, user and system CPU seconds as one line of numbers. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/parse.h"
#include "runner/client.h"
#include "runner/url.h"

struct bench {
    struct loop *loop;
    struct client *client;
    struct stats *stats;
    struct request request;
    char text[1024]; /* its bytes */
    uint64_t end_ns, done, failed;
    size_t busy;
};

struct caller {
    struct bench *bench;
    struct lane lane;
};

static void done(void *arg, const struct answer *a);

static void send_next(struct caller *k, uint64_t sched_ns)
{
    struct bench *b = k->bench;

    b->request.sched_ns = b->request.start_ns = sched_ns;
    client_send(b->client, &k->lane, &b->request, done, k);
}

static void done(void *arg, const struct answer *a)
{
    struct caller *k = arg;
    struct bench *b = k->bench;

    stats_record(b->stats, 0, &a->sample);
    b->done++;
    if (a->sample.fail && b->failed++ == 0)
        fprintf(stderr, "%s: %s\n", fail_class_name(a->sample.fail), a->why);
    if (a->sample.done < b->end_ns)
        send_next(k, a->sample.done);
    else if (--b->busy == 0)
        loop_stop(b->loop);
}

static double cpu_s(const struct timeval *t)
{
    return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

static int run(struct bench *b, const char *url, uint64_t n, uint64_t seconds, struct err *err)
{
    auto_free struct caller *callers = xcalloc(n, sizeof(*callers));
    struct url u;
    uint64_t begin = clock_now_ns();

    if (url_parse(url, strlen(url), &u, err) < 0)
        return -1;
    b->request.origin = client_origin(b->client, url, err);
    if (!b->request.origin)
        return -1;
    b->request.bytes = b->text;
    b->request.len = (size_t)snprintf(
        b->text, sizeof(b->text), "GET %.*s HTTP/1.1\r\nHost: %s\r\nUser-Agent: chaos-load\r\n\r\n",
        u.rest_len ? (int)u.rest_len : 1, u.rest_len ? u.rest : "/",
        origin_host_header(b->request.origin));
    b->end_ns = begin + seconds * NS_PER_SEC;
    b->busy = n;
    for (uint64_t i = 0; i < n; i++) {
        callers[i].bench = b;
        send_next(&callers[i], clock_now_ns());
    }
    if (loop_run(b->loop, err) < 0)
        return -1;
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("%llu %.3f %.3f %.3f %llu %ld\n", (unsigned long long)b->done,
           ns_to_sec(clock_now_ns() - begin), cpu_s(&use.ru_utime), cpu_s(&use.ru_stime),
           (unsigned long long)b->failed, use.ru_maxrss);
    for (uint64_t i = 0; i < n; i++)
        lane_close(b->client, &callers[i].lane);
    return 0;
}

int main(int argc, char **argv)
{
    const struct http_plan http = { .timeout_ns = 60 * NS_PER_SEC,
                                    .connect_timeout_ns = 10 * NS_PER_SEC,
                                    .keep_alive = true,
                                    .dns = DNS_TTL,
                                    .dns_ttl_ns = 30 * NS_PER_SEC,
                                    .tls = { .resume = true } };
    struct bench b = { 0 };
    struct err err = { 0 };
    uint64_t n, seconds;
    int rc = -1;

    if (argc != 4 || parse_u64(argv[2], 1, 100000, &n, &err) < 0 ||
        parse_u64(argv[3], 1, 3600, &seconds, &err) < 0) {
        fprintf(stderr, "usage: ours_client URL CONNECTIONS SECONDS %s\n", err.msg);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    b.stats = stats_new(1);
    b.loop = loop_new(&err);
    if (b.loop)
        b.client = client_new(&(struct client_opts){ .loop = b.loop, .http = &http }, &err);
    if (b.client)
        rc = run(&b, argv[1], n, seconds, &err);
    if (rc < 0)
        fprintf(stderr, "%s\n", err.msg);
    client_free(b.client);
    loop_free(b.loop);
    stats_free(b.stats);
    return rc < 0 ? 3 : 0;
}
