/* See threshold_names.h. k6's names lead to what is nearest here: its http_req_duration to the
 * response time, which under closed load is the same and under open load does not leave out the
 * time that requests had to wait for their turn. */
#include "campaign/threshold_names.h"

#include <string.h>

#define AGG(a) (1u << AGG_##a)
#define TIMES (AGG(P) | AGG(AVG) | AGG(MIN) | AGG(MAX) | AGG(MED) | AGG(COUNT))
#define TIMES_TEXT "p(N), avg, min, max, med and count"

static const struct {
    const char *name, *k6, *help, *example;
    unsigned aggregates;
    const char *aggregates_text;
    bool is_time;
} metrics[] = {
    [METRIC_RESPONSE_TIME] = { "response_time", "http_req_duration",
                               "from the instant the schedule wanted it to the last byte back",
                               "p(95) < 500ms", TIMES, TIMES_TEXT, true },
    [METRIC_SERVICE_TIME] = { "service_time", NULL, "from the first byte out to the last byte back",
                              "p(95) < 500ms", TIMES, TIMES_TEXT, true },
    [METRIC_SCHEDULE_LAG] = { "schedule_lag", NULL, "how late the first byte went out",
                              "p(99) < 10ms", TIMES, TIMES_TEXT, true },
    [METRIC_DNS] = { "dns", NULL, "looking the name up", "p(95) < 50ms", TIMES, TIMES_TEXT, true },
    [METRIC_CONNECT] = { "connect", "http_req_connecting", "opening the connection", "p(95) < 50ms",
                         TIMES, TIMES_TEXT, true },
    [METRIC_TLS] = { "tls", "http_req_tls_handshaking", "the TLS handshake", "p(95) < 100ms", TIMES,
                     TIMES_TEXT, true },
    [METRIC_WAIT] = { "wait", "http_req_waiting", "from the request sent to the first byte back",
                      "p(95) < 500ms", TIMES, TIMES_TEXT, true },
    [METRIC_TRANSFER] = { "transfer", "http_req_receiving", "from the first byte back to the last",
                          "p(95) < 100ms", TIMES, TIMES_TEXT, true },
    [METRIC_ERRORS] = { "errors", "http_req_failed",
                        "failed requests; a class of them with errors{class:refused}", "rate < 1%",
                        AGG(RATE) | AGG(COUNT), "rate and count", false },
    [METRIC_REQUESTS] = { "requests", "http_reqs", "requests that ended", "rate > 100/s",
                          AGG(RATE) | AGG(COUNT), "rate and count", false },
    [METRIC_DROPPED] = { "dropped", "dropped_iterations",
                         "arrivals for which no user was free (open load)", "rate < 1%",
                         AGG(RATE) | AGG(COUNT), "rate and count", false },
    [METRIC_RECOVERY_TIME] = { "recovery_time", NULL,
                               "from a fault's beginning until users are well again and stay so",
                               "max < 5s", AGG(MAX) | AGG(MIN) | AGG(AVG), "max, min and avg",
                               true },
    [METRIC_TIME_TO_IMPACT] = { "time_to_impact", NULL,
                                "from a fault's beginning until users feel it", "min > 1s",
                                AGG(MAX) | AGG(MIN) | AGG(AVG), "max, min and avg", true },
    [METRIC_REQUESTS_LOST] = { "requests_lost", NULL,
                               "failed requests from a fault's beginning until recovery",
                               "max < 100", AGG(MAX) | AGG(MIN) | AGG(AVG) | AGG(COUNT),
                               "max, min, avg and count", false },
};
_Static_assert(ARRAY_LEN(metrics) == METRIC_MAX, "every metric has a name");

static const struct {
    const char *name, *hint;
} k6_only[] = {
    { "checks", "a failed expectation is a failed request, so write errors: rate < 1%" },
    { "iterations", "write requests: count > 1000" },
    { "iteration_duration", "write response_time: p(95) < 500ms" },
    { "group_duration", "name the tasks and write response_time{name}: p(95) < 500ms" },
    { "http_req_blocked", "write connect: p(95) < 50ms" },
    { "http_req_sending", "write service_time: p(95) < 500ms" },
    { "vus", "the number of users is the plan's own" },
    { "vus_max", "the number of users is the plan's own" },
    { "data_sent", "bytes are reported, but no condition can be put on them" },
    { "data_received", "bytes are reported, but no condition can be put on them" },
};

const char *metric_name(enum metric m)
{
    return metrics[m].name;
}

const char *metric_help(enum metric m)
{
    return metrics[m].help;
}

const char *metric_example(enum metric m)
{
    return metrics[m].example;
}

const char *metric_aggregates(enum metric m)
{
    return metrics[m].aggregates_text;
}

const char *metric_k6_name(enum metric m)
{
    return metrics[m].k6;
}

bool metric_allows(enum metric m, enum aggregate a)
{
    return metrics[m].aggregates & (1u << a);
}

bool metric_is_time(enum metric m)
{
    return metrics[m].is_time;
}

static bool is_word(const char *word, const char *name, size_t len)
{
    return word && strlen(word) == len && strncmp(word, name, len) == 0;
}

bool metric_by_name(const char *name, size_t len, enum metric *ret)
{
    for (enum metric m = 0; m < METRIC_MAX; m++)
        if (is_word(metrics[m].name, name, len) || is_word(metrics[m].k6, name, len)) {
            *ret = m;
            return true;
        }
    return false;
}

const char *metric_hint(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(k6_only); i++)
        if (strcmp(k6_only[i].name, name) == 0)
            return k6_only[i].hint;
    return NULL;
}

size_t metric_names_list(const char **out, size_t max)
{
    size_t n = 0;

    for (enum metric m = 0; m < METRIC_MAX && n < max; m++)
        out[n++] = metrics[m].name;
    for (enum metric m = 0; m < METRIC_MAX && n < max; m++)
        if (metrics[m].k6)
            out[n++] = metrics[m].k6;
    return n;
}
