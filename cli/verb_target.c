/* `target`: the demo shop, to try load and faults on something that is nobody's. */
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "campaign/campaign.h"
#include "cli/shop.h"
#include "cli/verbs.h"

static int usage(const struct err *err, const char *option)
{
    fprintf(stderr, "chaos-load: target: --%s: %s\n", option, err->msg);
    return EXIT_USAGE;
}

static int target(const struct verb *v, const struct verb_args *args)
{
    struct shop_opts opts = { "127.0.0.1:5001", "shop", 2 * NS_PER_MS, 0, 1 };
    const char *latency = opt_value(args, "latency"), *fail = opt_value(args, "fail-rate"),
               *seed = opt_value(args, "seed");
    struct err err = { 0 };

    (void)v;
    if (args->n_rest > 0) {
        fprintf(stderr, "chaos-load: target takes no arguments, only options\n");
        return EXIT_USAGE;
    }
    if (opt_given(args, "listen"))
        opts.listen = opt_value(args, "listen");
    if (opt_given(args, "name"))
        opts.name = opt_value(args, "name");
    if (latency && parse_duration(latency, PARSE_UNIT, &opts.latency_ns, &err) < 0)
        return usage(&err, "latency");
    if (fail && parse_percent(fail, &opts.fail_rate, &err) < 0)
        return usage(&err, "fail-rate");
    if (seed && parse_u64(seed, 0, UINT64_MAX, &opts.seed, &err) < 0)
        return usage(&err, "seed");
    if (shop_run(&opts, &err) < 0) {
        fprintf(stderr, "chaos-load: target: %s\n", err.msg);
        return err.kind == ERR_USAGE ? EXIT_USAGE : EXIT_COULD_NOT_RUN;
    }
    return EXIT_PASS;
}

static const struct opt target_options[] = {
    { "listen", 'l', OPT_ONE, "ADDRESS", "where it listens (127.0.0.1:5001)", NULL, NULL },
    { "name", 'n', OPT_ONE, "NAME", "the name it shows (shop)", NULL, NULL },
    { "latency", 0, OPT_ONE, "DURATION",
      "median service time, log-normal around it (2ms); 0 answers at once", NULL, NULL },
    { "fail-rate", 0, OPT_ONE, "PERCENT", "share of requests answered 500, /health excepted (0%)",
      NULL, NULL },
    { "seed", 0, OPT_ONE, "N", "of service times and failures (1)", NULL, NULL },
    { 0 },
};

const struct verb verb_target = {
    .name = "target",
    .summary = "serve the demo shop, to try things on",
    .usage = "target [OPTIONS]",
    .description =
        "An HTTP/1.1 server with the pages of a small shop: / (HTML), /health, /items (GET lists, "
        "POST creates), /items/{id}, /slow?ms=N, /status/{code}, /bytes/{n}, /echo, /redirect, "
        "/login (sets a cookie) and /me (wants it). It serves until SIGTERM or Ctrl-C, and then "
        "finishes what it has begun. It listens on loopback unless told otherwise.",
    .examples = "chaos-load target --latency 5ms --fail-rate 1%",
    .opts = target_options,
    .run = target,
};
