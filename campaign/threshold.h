/* Thresholds: k6's grammar and more.
 *
 *     [metric[{endpoint}]: ] aggregate op value [in <phase> | during <fault>] [over <window>]
 *
 *     errors: rate < 1%                       response_time: p(95) < 500ms in recovery
 *     response_time{GET /}: p(99) < 2s over 10s    recovery_time: max < 5s
 *     response_time: p(95) < baseline + 20% during kill shop
 *
 * metrics: response_time service_time schedule_lag (and k6's http_req_duration, http_req_waiting,
 * http_req_connecting, http_req_tls_handshaking, iteration-free ones) with p(N) avg min max med
 * count; errors (k6: http_req_failed) with rate count; requests (http_reqs) with count rate;
 * dropped with count rate; checks-like classes: errors{class:refused}; recovery_time time_to_impact
 * requests_lost with max min avg over the faults. Values carry units: ms s, %, /s; counts are bare.
 * Phases: warm-up baseline inject recovery cool-down, or a phase's full name in quotes. */
#ifndef CAMPAIGN_THRESHOLD_H
#define CAMPAIGN_THRESHOLD_H

#include "base/param.h"
#include "runner/stats.h"

enum metric {
    METRIC_RESPONSE_TIME,
    METRIC_SERVICE_TIME,
    METRIC_SCHEDULE_LAG,
    METRIC_DNS,
    METRIC_CONNECT,
    METRIC_TLS,
    METRIC_WAIT,
    METRIC_TRANSFER,
    METRIC_ERRORS,
    METRIC_REQUESTS,
    METRIC_DROPPED,
    METRIC_RECOVERY_TIME,
    METRIC_TIME_TO_IMPACT,
    METRIC_REQUESTS_LOST,
    METRIC_MAX
};
enum aggregate { AGG_P, AGG_AVG, AGG_MIN, AGG_MAX, AGG_MED, AGG_COUNT, AGG_RATE };
enum compare_op { OP_LT, OP_LE, OP_GT, OP_GE, OP_EQ, OP_NE };

struct threshold {
    const char *expression; /* as written, normalised: "response_time: p(95) < 500ms in recovery" */
    enum metric metric;
    const char *endpoint; /* NULL: all; matches a series' name, or "class:name" of an error class
                             for errors */
    enum fail_class fail; /* errors{class:x}; FAIL_NONE: all */
    enum aggregate agg;
    double q; /* AGG_P: 0..1 */
    enum compare_op op;
    double value;           /* ns for times, fraction for rates of errors, per second, or a count */
    bool is_relative;       /* < baseline + 20%: value is the fraction to add; */
    bool relative_absolute; /* < baseline + 50ms: value is ns to add */
    const char *phase;      /* NULL: the whole run; kind name or full phase name */
    const char *during;     /* fault name; NULL */
    uint64_t window_ns;     /* over: every window of this length must hold; 0 */
    bool abort;             /* stop everything when it breaks */
    uint64_t delay_abort_ns; /* not before so much time has passed */
};

int threshold_parse(const char *text, struct arena *arena, struct threshold *ret,
                    struct err *err) MUST_CHECK;
/* A text, or {on:, is:, abort:, delay:}. */
void threshold_load(const struct param_ctx *ctx, const struct doc *d, struct threshold *ret);

#endif
