/* The parameters of client faults. Inside client/ only. */
#ifndef CHAOSLIB_CLIENT_PARAMS_H
#define CHAOSLIB_CLIENT_PARAMS_H

#include "chaoslib/client/port.h"

extern const struct param_table client_slow_read_table, client_slow_send_table,
    client_half_open_table, client_abort_table, client_tls_stall_table, client_big_headers_table,
    client_retry_storm_table;

#endif
