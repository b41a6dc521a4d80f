/* The parameters: the toxics' own, behind a target and a port instead of a proxy. */
#include "chaoslib/proxy/toxic_rows.h"
#include "chaoslib/redirect/redirect.h"

static const char *const mechanisms[] = { "proxy", NULL };

#define PORT_ROWS                                                                            \
    PARAM(INT, "port", struct redirect_params, port, .required = true, .lo = 1, .hi = 65535, \
          .help = "TCP port of the target; connections to it in its network namespace are "  \
                  "hit"),                                                                    \
        PARAM(BOOL, "reset_open", struct redirect_params, reset_open, .def = "true",         \
              .help = "reset connections that were open before, so that they come back "     \
                      "through the fault; false: they go on unhurt")
/* What the packets of a port can suffer, too: the proxy is one of two ways, and is asked for. */
#define MECHANISM_ROW                                                                          \
    PARAM(ENUM, "mechanism", struct redirect_params, mechanism, .def = "proxy",                \
          .choices = mechanisms,                                                               \
          .help = "connections to the port go through a proxy; also what is meant when a key " \
                  "is given that only this way has")
#define PROCESS_ROWS                                                          \
    PARAM(STR, "process", struct redirect_params, process, .required = true,  \
          .help = "a name under processes:, or the program that is running"), \
        PORT_ROWS
#define DOCKER_ROWS DOCKER_PARAM(struct redirect_params, docker), PORT_ROWS
/* Each kind twice: for a process, and for containers. */
#define ROWS(name_, ...)                                                      \
    static const struct param name_##_rows[] = { PROCESS_ROWS, __VA_ARGS__ }; \
    static const struct param name_##_docker_rows[] = { DOCKER_ROWS, __VA_ARGS__ }

ROWS(latency, MECHANISM_ROW, LATENCY_ROWS);
ROWS(rate, MECHANISM_ROW, BANDWIDTH_ROWS);
ROWS(reset, MECHANISM_ROW, RESET_ROWS);
static const struct param refuse_rows[] = { PROCESS_ROWS };
static const struct param refuse_docker_rows[] = { DOCKER_ROWS };
ROWS(blackhole, BLACKHOLE_ROWS);
ROWS(slow_close, SLOW_CLOSE_ROWS);
ROWS(slicer, SLICER_ROWS);
ROWS(limit, LIMIT_ROWS);
ROWS(status, STATUS_ROWS);
ROWS(abort, ABORT_ROWS);
ROWS(delay, DELAY_ROWS);
ROWS(body, BODY_ROWS);
ROWS(header, HEADER_ROWS);
ROWS(grpc, GRPC_STATUS_ROWS);

#define CHECK(fn_, kind_)                                                         \
    static void fn_(const struct param_ctx *ctx, const struct doc *d, void *base) \
    {                                                                             \
        toxic_tables[kind_].check(ctx, d, base);                                  \
    }
CHECK(check_rate, TOXIC_BANDWIDTH)
CHECK(check_reset, TOXIC_RESET)
CHECK(check_slicer, TOXIC_SLICER)
CHECK(check_status, TOXIC_HTTP_STATUS)
CHECK(check_abort, TOXIC_HTTP_ABORT)
CHECK(check_delay, TOXIC_HTTP_DELAY)
CHECK(check_body, TOXIC_HTTP_BODY)
CHECK(check_header, TOXIC_HTTP_HEADER)
CHECK(check_grpc, TOXIC_GRPC_STATUS)

#define TABLE(kind_, name_, rows_, check_)                                                    \
    [kind_] = {                                                                               \
        .title = "faults[]." name_, .rows = (rows_), .n = ARRAY_LEN(rows_), .check = (check_) \
    }

const struct param_table redirect_tables[TOXIC_KIND_MAX] = {
    TABLE(TOXIC_LATENCY, "latency", latency_rows, NULL),
    TABLE(TOXIC_BANDWIDTH, "rate", rate_rows, check_rate),
    TABLE(TOXIC_RESET, "tcp-reset", reset_rows, check_reset),
    TABLE(TOXIC_REFUSE, "tcp-refuse", refuse_rows, NULL),
    TABLE(TOXIC_BLACKHOLE, "blackhole", blackhole_rows, NULL),
    TABLE(TOXIC_SLOW_CLOSE, "slow-close", slow_close_rows, NULL),
    TABLE(TOXIC_SLICER, "slicer", slicer_rows, check_slicer),
    TABLE(TOXIC_LIMIT_DATA, "limit-data", limit_rows, NULL),
    TABLE(TOXIC_HTTP_STATUS, "http-status", status_rows, check_status),
    TABLE(TOXIC_HTTP_ABORT, "http-abort", abort_rows, check_abort),
    TABLE(TOXIC_HTTP_DELAY, "http-delay", delay_rows, check_delay),
    TABLE(TOXIC_HTTP_BODY, "http-body", body_rows, check_body),
    TABLE(TOXIC_HTTP_HEADER, "http-header", header_rows, check_header),
    TABLE(TOXIC_GRPC_STATUS, "grpc-status", grpc_rows, check_grpc),
};
const struct param_table redirect_docker_tables[TOXIC_KIND_MAX] = {
    TABLE(TOXIC_LATENCY, "latency", latency_docker_rows, NULL),
    TABLE(TOXIC_BANDWIDTH, "rate", rate_docker_rows, check_rate),
    TABLE(TOXIC_RESET, "tcp-reset", reset_docker_rows, check_reset),
    TABLE(TOXIC_REFUSE, "tcp-refuse", refuse_docker_rows, NULL),
    TABLE(TOXIC_BLACKHOLE, "blackhole", blackhole_docker_rows, NULL),
    TABLE(TOXIC_SLOW_CLOSE, "slow-close", slow_close_docker_rows, NULL),
    TABLE(TOXIC_SLICER, "slicer", slicer_docker_rows, check_slicer),
    TABLE(TOXIC_LIMIT_DATA, "limit-data", limit_docker_rows, NULL),
    TABLE(TOXIC_HTTP_STATUS, "http-status", status_docker_rows, check_status),
    TABLE(TOXIC_HTTP_ABORT, "http-abort", abort_docker_rows, check_abort),
    TABLE(TOXIC_HTTP_DELAY, "http-delay", delay_docker_rows, check_delay),
    TABLE(TOXIC_HTTP_BODY, "http-body", body_docker_rows, check_body),
    TABLE(TOXIC_HTTP_HEADER, "http-header", header_docker_rows, check_header),
    TABLE(TOXIC_GRPC_STATUS, "grpc-status", grpc_docker_rows, check_grpc),
};
