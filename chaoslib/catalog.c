/* The list of all fault kinds, in the order of the docs. */
#include <string.h>

#include "chaoslib/inject.h"
#include "chaoslib/process/offspring.h"

const struct fault_kind *const fault_catalog[] = {
    /* on a container */
    &fault_docker_kill,
    &fault_docker_crash,
    &fault_docker_pause,
    &fault_docker_stop,
    &fault_docker_restart,
    &fault_docker_remove,
    &fault_docker_limits,
    &fault_docker_disconnect,
    &fault_docker_exec,

    /* on the network of a container, a process or this machine */
    &fault_docker_net_latency,
    &fault_process_net_latency,
    &fault_host_net_latency,
    &fault_docker_net_loss,
    &fault_process_net_loss,
    &fault_host_net_loss,
    &fault_docker_net_corrupt,
    &fault_process_net_corrupt,
    &fault_host_net_corrupt,
    &fault_docker_net_duplicate,
    &fault_process_net_duplicate,
    &fault_host_net_duplicate,
    &fault_docker_net_reorder,
    &fault_process_net_reorder,
    &fault_host_net_reorder,
    &fault_docker_net_rate,
    &fault_process_net_rate,
    &fault_host_net_rate,
    &fault_docker_net_partition,
    &fault_process_net_partition,
    &fault_host_net_partition,
    &fault_docker_net_tcp_reset,
    &fault_process_net_tcp_reset,
    &fault_host_net_tcp_reset,

    /* names: DNS */
    &fault_dns_error_docker,
    &fault_dns_error_process,
    &fault_dns_error_host,
    &fault_dns_spoof_docker,
    &fault_dns_spoof_process,
    &fault_dns_spoof_host,
    /* at a port, by redirection */
    &fault_redirect_docker_tcp_refuse,
    &fault_redirect_tcp_refuse,
    &fault_redirect_docker_http_status,
    &fault_redirect_http_status,
    &fault_redirect_docker_http_abort,
    &fault_redirect_http_abort,
    &fault_redirect_docker_http_delay,
    &fault_redirect_http_delay,
    &fault_redirect_docker_http_body,
    &fault_redirect_http_body,
    &fault_redirect_docker_http_header,
    &fault_redirect_http_header,
    &fault_redirect_docker_grpc_status,
    &fault_redirect_grpc_status,
    &fault_redirect_docker_blackhole,
    &fault_redirect_blackhole,
    &fault_redirect_docker_slow_close,
    &fault_redirect_slow_close,
    &fault_redirect_docker_slicer,
    &fault_redirect_slicer,
    &fault_redirect_docker_limit_data,
    &fault_redirect_limit_data,

    /* on the machine: cpu, memory, disks, descriptors */
    &fault_docker_cpu,
    &fault_process_cpu,
    &fault_host_cpu,
    &fault_docker_memory,
    &fault_process_memory,
    &fault_host_memory,
    &fault_docker_io,
    &fault_process_io,
    &fault_host_io,
    &fault_docker_disk_fill,
    &fault_process_disk_fill,
    &fault_host_disk_fill,
    &fault_docker_fds,
    &fault_process_fds,
    &fault_host_fds,

    /* by the load itself */
    &fault_client_slow_read,
    &fault_client_slow_send,
    &fault_client_half_open,
    &fault_client_abort,
    &fault_client_tls_stall,
    &fault_client_big_headers,
    &fault_client_retry_storm,

    /* by Pumba */
    &fault_pumba,

    /* on a process */
    &fault_process_kill,
    &fault_process_crash,
    &fault_process_pause,
    &fault_process_stop,
    &fault_process_restart,
    &fault_process_signal,
    &fault_process_exec,
    &fault_process_limits,
    &fault_process_clock_skew,
    /* on a proxy */
    &fault_proxy_latency,
    &fault_proxy_bandwidth,
    &fault_proxy_rate,
    &fault_proxy_loss,
    &fault_proxy_reset,
    &fault_proxy_refuse,
    &fault_proxy_blackhole,
    &fault_proxy_slow_close,
    &fault_proxy_slicer,
    &fault_proxy_limit_data,
    &fault_proxy_http_status,
    &fault_proxy_http_abort,
    &fault_proxy_http_delay,
    &fault_proxy_http_body,
    &fault_proxy_http_header,
    &fault_proxy_grpc_status,
    NULL,
};

const struct fault_kind *fault_kind_find(const char *name, const char *backend)
{
    for (const struct fault_kind *const *k = fault_catalog; *k; k++)
        if (strcmp((*k)->name, name) == 0 && strcmp((*k)->backend, backend) == 0)
            return *k;
    if (strcmp(name, fault_process_run.name) == 0 &&
        strcmp(backend, fault_process_run.backend) == 0)
        return &fault_process_run;
    return NULL;
}
