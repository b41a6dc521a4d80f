/* `init`: a plan to start with, which runs as it is. A test validates and runs it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "campaign/campaign.h"
#include "cli/verbs.h"

static const char starter[] =
    "# yaml-language-server: $schema=./chaos-load.schema.json\n"
    "# (written by: chaos-load schema > chaos-load.schema.json)\n"
    "#\n"
    "# chaos-load explain plan.yaml        shows what it would do\n"
    "# chaos-load run plan.yaml --out out  does it; see out/report.html\n"
    "# All keys: chaos-load-plan(5), or chaos-load schema --markdown\n"
    "apiVersion: chaos-load/v1\n"
    "name: the shop survives a killed server\n"
    "\n"
    "# Your own:  target: http://127.0.0.1:5001\n"
    "# Here: a demo server that the run starts as a process named 'shop'.\n"
    "target: {embedded: shop}\n"
    "\n"
    "users:\n"
    "  - name: visitor\n"
    "    think: between(100ms, 300ms)     # constant(1s), pacing(10s), exponential(2s), none\n"
    "    tasks:\n"
    "      - {get: /, weight: 3}\n"
    "      - {get: /health, weight: 1, expect: {status: 200}}\n"
    "\n"
    "# Closed load: so many users. Open load instead: {arrivals: {rate: 100/s, for: 30s}}\n"
    "load: {users: 20, spawn: 20/s, for: 30s}\n"
    "\n"
    "faults:\n"
    "  - kill: {process: shop, restart_after: 1s}\n"
    "    at: 10s\n"
    "  # - latency: {proxy: front, delay: 200ms, jitter: 50ms}\n"
    "  #   at: 18s\n"
    "  #   duration: 5s\n"
    "\n"
    "thresholds:\n"
    "  - 'errors: rate < 1% in baseline'\n"
    "  - 'response_time: p(95) < 500ms in baseline'\n"
    "  - 'recovery_time: max < 10s'\n"
    "  # - {on: 'response_time{GET /}', is: 'p(99) < 2s over 10s', abort: true}\n";

static int write_file(const char *path, bool force)
{
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (force ? O_TRUNC : O_EXCL);
    auto_close int fd = open(path, flags, 0666);

    if (fd < 0 && errno == EEXIST) {
        fprintf(stderr, "chaos-load: '%s' is already there; --force writes over it\n", path);
        return EXIT_USAGE;
    }
    if (fd < 0 || write(fd, starter, sizeof(starter) - 1) != (ssize_t)sizeof(starter) - 1) {
        fprintf(stderr, "chaos-load: write '%s': %s\n", path,
                strerror(errno)); // NOLINT(concurrency-mt-unsafe)
        return EXIT_COULD_NOT_RUN;
    }
    fprintf(stderr, "wrote %s; next: chaos-load explain %s\n", path, path);
    return EXIT_PASS;
}

static int init(const struct verb *v, const struct verb_args *args)
{
    (void)v;
    if (args->n_rest > 1) {
        fprintf(stderr, "chaos-load: init writes one file\n");
        return EXIT_USAGE;
    }
    if (args->n_rest == 1 && strcmp(args->rest[0], "-") != 0)
        return write_file(args->rest[0], opt_given(args, "force"));
    fputs(starter, stdout);
    return EXIT_PASS;
}

static const struct opt init_options[] = {
    { "force", 'f', OPT_NONE, NULL, "write over a file that is there", NULL, NULL },
    { 0 },
};

const struct verb verb_init = {
    .name = "init",
    .summary = "write a plan to start with",
    .usage = "init [FILE]",
    .description =
        "Writes a commented plan that runs as it is, against a demo server of its own; to "
        "standard output, or to a file that is not there yet.",
    .examples = "chaos-load init plan.yaml\nchaos-load run plan.yaml --out results/",
    .opts = init_options,
    .run = init,
};
