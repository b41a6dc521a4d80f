/* `proxy`: the fault proxy alone, with its toxics in from the start, until Ctrl-C. */
#include <signal.h>
#include <stdio.h>

#include "base/parse.h"
#include "campaign/campaign.h"
#include "chaoslib/proxy/toxic.h"
#include "cli/verbs.h"

#define NAME "proxy"

struct toxic_list {
    struct toxic v[64];
    size_t n;
};

static int read_toxics(const struct opt_values *texts, uint64_t seed, struct arena *arena,
                       struct toxic_list *ret)
{
    struct diag diag;
    struct param_ctx ctx = { .arena = arena, .diag = &diag };

    diag_init(&diag);
    for (size_t i = 0; texts && i < texts->n; i++) {
        if (ret->n == ARRAY_LEN(ret->v)) {
            diag_add(&diag, NULL, "--toxic: more than %zu", ARRAY_LEN(ret->v));
            break;
        }
        if (toxic_parse(&ctx, texts->values[i], seed + i, &ret->v[ret->n]) == 0)
            ret->n++;
    }
    fputs(buf_str(&diag.text), stderr);
    int rc = diag.n ? EXIT_USAGE : EXIT_PASS;
    diag_done(&diag);
    return rc;
}

static int put_in(struct proxies *p, const struct toxic_list *toxics, struct err *err)
{
    uint64_t handle;

    for (size_t i = 0; i < toxics->n; i++)
        if (proxies_toxic_add(p, NAME, &toxics->v[i], &handle, NULL, err) < 0)
            return err_wrap(err, "toxic %zu", i + 1);
    return 0;
}

static void say_counts(struct proxies *p)
{
    struct proxy_counts n = proxies_counts(p, NAME);

    printf("%llu connections, %llu requests, %llu bytes up, %llu bytes down, %llu hit, "
           "%llu not HTTP\n",
           (unsigned long long)n.connections, (unsigned long long)n.requests,
           (unsigned long long)n.bytes_up, (unsigned long long)n.bytes_down,
           (unsigned long long)n.hit, (unsigned long long)n.not_http);
}

static int serve(const struct proxy_plan *row, const struct toxic_list *toxics, struct err *err)
{
    struct proxies *p = proxies_new(err);
    sigset_t ends;
    char address[64];
    int unused;

    if (!p)
        return -1;
    int rc = proxies_add(p, row, err);
    if (rc == 0)
        rc = put_in(p, toxics, err);
    if (rc == 0)
        rc = proxies_address(p, NAME, address, err);
    if (rc == 0) {
        printf("%s -> %s, %zu toxics\n", address, row->upstream, toxics->n);
        fflush(stdout);
        sigemptyset(&ends);
        sigaddset(&ends, SIGINT);
        sigaddset(&ends, SIGTERM);
        sigwait(&ends, &unused);
        say_counts(p);
    }
    proxies_free(p);
    return rc;
}

/* Before any thread is there, so that none of them takes the signal that sigwait is for. */
static void block_ends(void)
{
    sigset_t ends;

    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
}

static int proxy(const struct verb *v, const struct verb_args *args)
{
    struct arena *arena = arena_new(0);
    struct toxic_list toxics = { .n = 0 };
    const char *seed_text = opt_value(args, "seed"), *listen = opt_value(args, "listen");
    struct proxy_plan row = { .name = NAME,
                              .listen = listen ? listen : "127.0.0.1:0",
                              .upstream = opt_value(args, "upstream"),
                              .protocol = PROXY_AUTO };
    struct err err = { 0 };
    uint64_t seed = 1;
    int rc = EXIT_USAGE;

    (void)v;
    if (args->n_rest > 0 || !row.upstream)
        fprintf(stderr, "chaos-load: proxy: --upstream is needed, such as 127.0.0.1:5001\n");
    else if (seed_text && parse_u64(seed_text, 0, UINT64_MAX, &seed, &err) < 0)
        fprintf(stderr, "chaos-load: proxy: --seed: %s\n", err.msg);
    else
        rc = read_toxics(opt_all(args, "toxic"), seed, arena, &toxics);
    if (rc == EXIT_PASS) {
        block_ends();
        if (serve(&row, &toxics, &err) < 0) {
            fprintf(stderr, "chaos-load: proxy: %s\n", err.msg);
            rc = err.kind == ERR_USAGE ? EXIT_USAGE : EXIT_COULD_NOT_RUN;
        }
    }
    arena_free(arena);
    return rc;
}

static const struct opt proxy_options[] = {
    { "listen", 'l', OPT_ONE, "ADDRESS", "where it listens (127.0.0.1:0: a free port)", NULL,
      NULL },
    { "upstream", 'u', OPT_ONE, "ADDRESS", "where it leads: 127.0.0.1:5001, [::1]:80, unix:/path",
      NULL, NULL },
    { "toxic", 't', OPT_MANY, "TOXIC", "a toxic and its parameters, such as 'latency delay=200ms'",
      NULL, NULL },
    { "seed", 0, OPT_ONE, "N", "of all lotteries (1)", NULL, NULL },
    { 0 },
};

const struct verb verb_proxy = {
    .name = "proxy",
    .summary = "run the fault proxy alone",
    .usage = "proxy --upstream ADDRESS [OPTIONS]",
    .description =
        "Listens, and passes connections on to the upstream with the toxics in effect, until "
        "Ctrl-C "
        "or SIGTERM; then prints what went through. A toxic is a kind and key=value words: "
        "latency, "
        "bandwidth, loss, tcp-reset, tcp-refuse, blackhole, slow-close, slicer, limit-data, "
        "http-status, http-abort, http-delay, http-body, http-header. Values with blanks stand in "
        "double quotes; maps are written with a dot, as in match.path=/items/*.",
    .examples = "chaos-load proxy --listen 127.0.0.1:5002 --upstream 127.0.0.1:5001 \\\n"
                "    --toxic 'latency delay=200ms jitter=50ms direction=response'\n"
                "chaos-load proxy --upstream 127.0.0.1:5001 \\\n"
                "    --toxic 'http-status status=503 percent=10% match.path=/items*'",
    .opts = proxy_options,
    .run = proxy,
};
