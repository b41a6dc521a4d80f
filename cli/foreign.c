/* Options that people bring from other tools: each leads to what it is called here, or says why it
 * is not there. Those that mean the same are real options of `run`. */
#include <string.h>

#include "cli/opts.h"

static const struct {
    const char *name, *hint;
} hints[] = {
    /* Locust */
    { "locustfile",
      "this tool runs plans, not Python; write the tasks as --task 'GET / 3', or in a "
      "plan ('chaos-load init')" },
    { "hatch-rate", "is called --spawn-rate" },
    { "autostart", "there is no web page here; the run begins at once" },
    { "autoquit", "there is no web page here; the run ends by itself" },
    { "web-host", "there is no web page here; use --html or --out for a report" },
    { "web-port", "there is no web page here; use --html or --out for a report" },
    { "master", "running on several machines is not there yet" },
    { "worker", "running on several machines is not there yet" },
    { "expect-workers", "running on several machines is not there yet" },
    { "processes", "one process is enough: it has a thread per CPU, see --threads" },
    { "print-stats", "the statistics are always printed; --quiet leaves them out" },
    { "reset-stats", "write --warmup 30s: what comes before is a phase of its own" },
    { "exit-code-on-error", "write --threshold 'errors: count == 0', which exits 1 when broken" },
    { "check-fail-ratio", "write --threshold 'errors: rate < 1%'" },
    { "check-avg-response-time", "write --threshold 'response_time: avg < 500ms'" },
    { "check-rps", "write --threshold 'requests: rate > 100/s'" },
    { "equal-weights", "give the tasks no weights" },
    { "class-picker", "write the classes in a plan, under users:" },
    { "list", "'chaos-load explain PLAN' lists the tasks" },
    { "show-task-ratio", "'chaos-load explain PLAN' shows the shares of the tasks" },
    { "show-task-ratio-json", "'chaos-load explain PLAN' shows the shares of the tasks" },
    { "config", "give the plan itself: chaos-load run plan.yaml" },
    /* k6 */
    { "vus", "is called --users" },
    { "duration", "is called --run-time" },
    { "stage", "is called --stages, as in --stages '30s:100,1m:500'" },
    { "rps", "is called --arrivals, as in --arrivals 500/s" },
    { "summary-export", "is called --result FILE" },
    { "insecure-skip-tls-verify", "is called --insecure" },
    { "no-thresholds", "leave the thresholds out" },
    /* wrk, hey, vegeta, oha */
    { "connections", "is called --users; see also --connect pooled" },
    { "rate", "is called --arrivals, as in --arrivals 500/s" },
    { "latency", "percentiles are always shown" },
    { "method", "write it in the task: --task 'POST /items'" },
    { "body", "is called --data" },
    { "url", "write --host http://127.0.0.1:5001 --task 'GET /'" },
    { "target", "is called --host" },
    { "token", "a secret on the command line is seen by everyone; use --bearer-env or "
               "--bearer-file" },
    { "password", "a secret on the command line is seen by everyone; use --password-env or "
                  "--password-file" },
};

const char *foreign_hint(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(hints); i++)
        if (strcmp(hints[i].name, name) == 0)
            return hints[i].hint;
    return NULL;
}
