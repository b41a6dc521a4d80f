/* All fault kinds by name: each is a const descriptor in an inject_*.c file, listed once more in
 * catalog.c. Two lists and no registration: order, static linking and readers all know where to
 * look. */
#ifndef CHAOSLIB_INJECT_H
#define CHAOSLIB_INJECT_H

#include "chaoslib/chaos.h"

/* ---- backend `docker`: docker/ ---- */
extern const struct fault_kind fault_docker_kill, fault_docker_stop, fault_docker_restart,
    fault_docker_pause, fault_docker_remove, fault_docker_limits, fault_docker_disconnect,
    fault_docker_exec, fault_docker_crash;

/* ---- network: net/ ---- */
extern const struct fault_kind fault_process_net_latency, fault_process_net_loss,
    fault_process_net_corrupt, fault_process_net_duplicate, fault_process_net_reorder,
    fault_process_net_rate, fault_process_net_partition, fault_process_net_tcp_reset,
    fault_docker_net_latency, fault_docker_net_loss, fault_docker_net_corrupt,
    fault_docker_net_duplicate, fault_docker_net_reorder, fault_docker_net_rate,
    fault_docker_net_partition, fault_docker_net_tcp_reset, fault_host_net_latency,
    fault_host_net_loss, fault_host_net_corrupt, fault_host_net_duplicate, fault_host_net_reorder,
    fault_host_net_rate, fault_host_net_partition, fault_host_net_tcp_reset;

/* ---- at a port, by redirection: redirect/ ---- */
extern const struct fault_kind fault_redirect_docker_http_status, fault_redirect_docker_http_abort,
    fault_redirect_docker_http_delay, fault_redirect_docker_http_body,
    fault_redirect_docker_http_header, fault_redirect_docker_blackhole,
    fault_redirect_docker_slow_close, fault_redirect_docker_slicer,
    fault_redirect_docker_limit_data, fault_redirect_docker_tcp_refuse;
extern const struct fault_kind fault_redirect_http_status, fault_redirect_http_abort,
    fault_redirect_http_delay, fault_redirect_http_body, fault_redirect_http_header,
    fault_redirect_blackhole, fault_redirect_slow_close, fault_redirect_slicer,
    fault_redirect_limit_data, fault_redirect_tcp_refuse;
/* by_proxy of the network's kinds */
extern const struct fault_kind fault_redirect_docker_latency, fault_redirect_latency,
    fault_redirect_docker_rate, fault_redirect_rate, fault_redirect_docker_tcp_reset,
    fault_redirect_tcp_reset;
extern const struct fault_kind fault_redirect_docker_grpc_status, fault_redirect_grpc_status;

/* ---- names: dns/ ---- */
extern const struct fault_kind fault_dns_error_docker, fault_dns_spoof_docker,
    fault_dns_error_process, fault_dns_error_host, fault_dns_spoof_process, fault_dns_spoof_host;

/* ---- machine: machine/ ---- */
extern const struct fault_kind fault_process_cpu, fault_process_memory, fault_process_io,
    fault_process_disk_fill, fault_process_fds, fault_host_cpu, fault_host_memory, fault_host_io,
    fault_host_disk_fill, fault_host_fds, fault_docker_cpu, fault_docker_memory, fault_docker_io,
    fault_docker_disk_fill, fault_docker_fds;

/* ---- the load itself: client/ ---- */
extern const struct fault_kind fault_client_slow_read, fault_client_slow_send,
    fault_client_half_open, fault_client_abort, fault_client_tls_stall, fault_client_big_headers,
    fault_client_retry_storm;

/* ---- Pumba: pumba/ ---- */
extern const struct fault_kind fault_pumba;

/* ---- backend `process` ---- */
extern const struct fault_kind fault_process_kill, fault_process_stop, fault_process_restart,
    fault_process_pause, fault_process_signal, fault_process_exec, fault_process_crash,
    fault_process_limits, fault_process_clock_skew;

/* ---- backend `proxy` ---- */
extern const struct fault_kind fault_proxy_latency, fault_proxy_bandwidth, fault_proxy_rate,
    fault_proxy_loss, fault_proxy_reset, fault_proxy_refuse, fault_proxy_blackhole,
    fault_proxy_slow_close, fault_proxy_slicer, fault_proxy_limit_data, fault_proxy_http_status,
    fault_proxy_http_abort, fault_proxy_http_delay, fault_proxy_http_body, fault_proxy_http_header,
    fault_proxy_grpc_status;

#endif
