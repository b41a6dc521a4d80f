/* What a plan says of a fault of names. Inside chaoslib/dns. */
#ifndef CHAOSLIB_DNS_PARAMS_H
#define CHAOSLIB_DNS_PARAMS_H

#include "base/param.h"
#include "chaoslib/dns/rules.h"
#include "chaoslib/docker/select.h"

struct dns_params {
    const char *process, *host;
    struct docker_select docker;
    struct strs patterns;
    struct pairs map;
    int match, answer;
    double percent;
    uint64_t delay_ns;
};
extern const struct param_table dns_error_docker_table, dns_spoof_docker_table,
    dns_error_process_table, dns_error_host_table, dns_spoof_process_table, dns_spoof_host_table;

/* The rules meant; names in `map` are looked up here and now. The caller calls dns_rules_done. */
int dns_rules_make(const struct dns_params *p, struct dns_rules *ret, struct err *err) MUST_CHECK;

#endif
