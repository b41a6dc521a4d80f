/* The parameters: the toxics' own, behind a target and a port instead of a proxy. */
#include "chaoslib/proxy/toxic_rows.h"
#include "chaoslib/redirect/redirect.h"

#define TARGET_ROWS                                                                              \
    PARAM(STR, "process", struct redirect_params, process, .required = true,                     \
          .help = "a name under processes:, or the program that is running"),                    \
        PARAM(INT, "port", struct redirect_params, port, .required = true, .lo = 1, .hi = 65535, \
              .help = "TCP port of the target; connections to it in its network namespace are "  \
                      "hit"),                                                                    \
        PARAM(BOOL, "reset_open", struct redirect_params, reset_open, .def = "true",             \
              .help = "reset connections that were open before, so that they come back through " \
                      "the fault; false: they go on unhurt")

static const struct param blackhole_rows[] = { TARGET_ROWS, BLACKHOLE_ROWS };
static const struct param slow_close_rows[] = { TARGET_ROWS, SLOW_CLOSE_ROWS };
static const struct param slicer_rows[] = { TARGET_ROWS, SLICER_ROWS };
static const struct param limit_rows[] = { TARGET_ROWS, LIMIT_ROWS };
static const struct param status_rows[] = { TARGET_ROWS, STATUS_ROWS };
static const struct param abort_rows[] = { TARGET_ROWS, ABORT_ROWS };
static const struct param delay_rows[] = { TARGET_ROWS, DELAY_ROWS };
static const struct param body_rows[] = { TARGET_ROWS, BODY_ROWS };
static const struct param header_rows[] = { TARGET_ROWS, HEADER_ROWS };

#define CHECK(fn_, kind_)                                                         \
    static void fn_(const struct param_ctx *ctx, const struct doc *d, void *base) \
    {                                                                             \
        toxic_tables[kind_].check(ctx, d, base);                                  \
    }
CHECK(check_slicer, TOXIC_SLICER)
CHECK(check_status, TOXIC_HTTP_STATUS)
CHECK(check_abort, TOXIC_HTTP_ABORT)
CHECK(check_delay, TOXIC_HTTP_DELAY)
CHECK(check_body, TOXIC_HTTP_BODY)
CHECK(check_header, TOXIC_HTTP_HEADER)

#define TABLE(kind_, name_, rows_, check_)                                                    \
    [kind_] = {                                                                               \
        .title = "faults[]." name_, .rows = (rows_), .n = ARRAY_LEN(rows_), .check = (check_) \
    }

const struct param_table redirect_tables[TOXIC_KIND_MAX] = {
    TABLE(TOXIC_BLACKHOLE, "blackhole", blackhole_rows, NULL),
    TABLE(TOXIC_SLOW_CLOSE, "slow-close", slow_close_rows, NULL),
    TABLE(TOXIC_SLICER, "slicer", slicer_rows, check_slicer),
    TABLE(TOXIC_LIMIT_DATA, "limit-data", limit_rows, NULL),
    TABLE(TOXIC_HTTP_STATUS, "http-status", status_rows, check_status),
    TABLE(TOXIC_HTTP_ABORT, "http-abort", abort_rows, check_abort),
    TABLE(TOXIC_HTTP_DELAY, "http-delay", delay_rows, check_delay),
    TABLE(TOXIC_HTTP_BODY, "http-body", body_rows, check_body),
    TABLE(TOXIC_HTTP_HEADER, "http-header", header_rows, check_header),
};
