/* The parameters of toxics as lists of rows, for every table that takes them: in a proxy of the
 * plan (toxic_params.c), and by redirection (redirect/params.c). The struct is `struct
 * toxic_params`, or begins with one. */
#ifndef CHAOSLIB_PROXY_TOXIC_ROWS_H
#define CHAOSLIB_PROXY_TOXIC_ROWS_H

#include "chaoslib/proxy/toxic.h"

extern const char *const toxic_directions[];
extern const struct param_table toxic_match_table;

#define DIRECTION_ROW(def_)                                                                     \
    PARAM(ENUM, "direction", struct toxic_params, direction, .def = (def_),                     \
          .choices = toxic_directions,                                                          \
          .help = "request: towards the server (alias upstream), response: towards the client " \
                  "(alias downstream), both")
#define PERCENT_ROW(of_)                                                         \
    PARAM(PERCENT, "percent", struct toxic_params, toxic.percent, .def = "100%", \
          .help = "share of " of_ " that it hits")
#define MATCH_ROW                                                                        \
    PARAM(TABLE, "match", struct toxic_params, toxic.match, .table = &toxic_match_table, \
          .help = "only requests like this")
#define DELAY_ROW(name_, help_, ...) \
    PARAM(DURATION, name_, struct toxic_params, toxic.delay_ns, .help = (help_), __VA_ARGS__)
#define JITTER_ROW                                                              \
    PARAM(DURATION, "jitter", struct toxic_params, toxic.jitter_ns, .hi = 3600, \
          .help = "spread around the delay, uniform")
#define BODY_ROW(help_, ...) \
    PARAM(STR, "body", struct toxic_params, toxic.body, .help = (help_), __VA_ARGS__)

#define LATENCY_ROWS                                                                       \
    DELAY_ROW("delay", "time added to all data on its way", .required = true, .hi = 3600), \
        JITTER_ROW, DIRECTION_ROW("response"), PERCENT_ROW("connections")
#define BANDWIDTH_ROWS                                                                        \
    PARAM(BANDWIDTH, "rate", struct toxic_params, toxic.bits_per_sec, .required = true,       \
          .help = "bits per second that a connection gets, in each direction that is named"), \
        DIRECTION_ROW("response"), PERCENT_ROW("connections")
#define LOSS_ROWS                                                                            \
    PARAM(PERCENT, "percent", struct toxic_params, toxic.percent, .required = true,          \
          .help = "share of chunks that are lost and come after a retransmission time-out"), \
        DELAY_ROW("rto", "the stall; it doubles when the retransmission is lost too",        \
                  .def = "200ms", .hi = 3600),                                               \
        DIRECTION_ROW("response")
#define RESET_ROWS                                                                              \
    PARAM(DURATION, "after", struct toxic_params, toxic.after_ns, .hi = 86400,                  \
          .help = "time from when the toxic meets a connection until it is reset"),             \
        PARAM(SIZE, "after_bytes", struct toxic_params, toxic.bytes,                            \
              .help =                                                                           \
                  "reset once so many bytes went through in the direction (0: by time alone)"), \
        DIRECTION_ROW("both"), PERCENT_ROW("connections")
#define BLACKHOLE_ROWS                                                              \
    PARAM(DURATION, "after", struct toxic_params, toxic.after_ns, .hi = 86400,      \
          .help = "close swallowed connections after so much time (0: hold them)"), \
        DIRECTION_ROW("both"), PERCENT_ROW("connections")
#define SLOW_CLOSE_ROWS                                                                   \
    DELAY_ROW("delay", "time by which the end of a stream comes later", .required = true, \
              .hi = 3600),                                                                \
        DIRECTION_ROW("response"), PERCENT_ROW("connections")
#define SLICER_ROWS                                                                      \
    PARAM(SIZE, "size", struct toxic_params, toxic.bytes, .required = true,              \
          .help = "bytes per slice"),                                                    \
        DELAY_ROW("delay", "pause between slices", .hi = 60), DIRECTION_ROW("response"), \
        PERCENT_ROW("connections")
#define LIMIT_ROWS                                                                  \
    PARAM(SIZE, "bytes", struct toxic_params, toxic.bytes, .required = true,        \
          .help = "the connection is closed after so many bytes in the direction"), \
        DIRECTION_ROW("response"), PERCENT_ROW("connections")
#define STATUS_ROWS                                                                       \
    PARAM(INT, "status", struct toxic_params, status, .def = "503", .lo = 200, .hi = 599, \
          .aliases = "code", .help = "status code of the answer"),                        \
        BODY_ROW("body of the answer", .def = ""), DIRECTION_ROW("request"),              \
        PERCENT_ROW("requests"), MATCH_ROW
#define ABORT_ROWS DIRECTION_ROW("request"), PERCENT_ROW("requests"), MATCH_ROW
#define DELAY_ROWS                                                                           \
    DELAY_ROW("delay", "time by which a message comes later", .required = true, .hi = 3600), \
        JITTER_ROW, DIRECTION_ROW("response"), PERCENT_ROW("requests"), MATCH_ROW
#define BODY_ROWS                                                                   \
    BODY_ROW("what the body becomes", .required = true), DIRECTION_ROW("response"), \
        PERCENT_ROW("requests"), MATCH_ROW
#define HEADER_ROWS                                                               \
    PARAM(PAIRS, "headers", struct toxic_params, toxic.headers, .required = true, \
          .help = "fields to set; an empty value removes the field"),             \
        DIRECTION_ROW("response"), PERCENT_ROW("requests"), MATCH_ROW
/* status: by name or number (loads itself), so that it has no row of status codes of HTTP. */
void grpc_code_load(const struct param_ctx *ctx, const struct doc *d, void *field);
void grpc_names_load(const struct param_ctx *ctx, const struct doc *d, void *field);
#define GRPC_NAMES_ROW(name_, field_, help_)                                               \
    PARAM(CUSTOM, name_, struct toxic_params, toxic.calls.field_, .load = grpc_names_load, \
          .type_text = "list of texts, or a text",                                         \
          .schema_json = "{\"type\":[\"string\",\"array\"]}", .help = (help_))
#define GRPC_STATUS_ROWS                                                                        \
    PARAM(CUSTOM, "status_code", struct toxic_params, status, .load = grpc_code_load,           \
          .def = "UNAVAILABLE", .aliases = "status,code",                                       \
          .type_text = "a status of gRPC, or its number",                                       \
          .schema_json = "{\"type\":[\"string\",\"integer\"]}", .help = "what calls end with"), \
        PARAM(STR, "message", struct toxic_params, toxic.body, .def = "",                       \
              .help = "the text beside it"),                                                    \
        PERCENT_ROW("calls"),                                                                   \
        GRPC_NAMES_ROW("services", services,                                                    \
                       "only calls of these, pkg.Service; * is any run of characters"),         \
        GRPC_NAMES_ROW("methods", methods, "only calls of these methods; * as in services")

#endif
