/* dns-error and dns-spoof: a helper inside the target's network namespace holds them (holder.c). */
#include <errno.h>

#include "chaoslib/dns/params.h"
#include "chaoslib/held.h"
#include "chaoslib/inject.h"

static int plan(struct fault_run *r, struct json *spec, struct err *err)
{
    struct dns_rules rules;

    if (dns_rules_make(r->params, &rules, err) < 0)
        return -EINVAL;
    dns_rules_write(&rules, rng_u64(&r->rng), spec);
    dns_rules_done(&rules);
    return 0;
}

static int prepare(struct fault_run *r, struct err *err)
{
    const struct dns_params *p = r->params;

    return held_prepare(r,
                        &(struct held_kind){ .role = "dns",
                                             .mechanism = "packet queue, nftables owner table",
                                             .process = p->process,
                                             .host = p->host,
                                             .docker = p->process || p->host ? NULL : &p->docker,
                                             .plan = plan },
                        err);
}

#define DNS_FAULT(id_, name_, backend_, summary_) \
    const struct fault_kind fault_dns_##id_ =     \
        HELD_KIND(name_, backend_, summary_, &dns_##id_##_table, struct dns_params, prepare)

DNS_FAULT(error_docker, "dns-error", "docker", "names in a container are not resolved");
DNS_FAULT(spoof_docker, "dns-spoof", "docker", "names in a container lead elsewhere");
DNS_FAULT(error_process, "dns-error", "process", "names of a process are not resolved");
DNS_FAULT(error_host, "dns-error", "host", "names on this machine are not resolved");
DNS_FAULT(spoof_process, "dns-spoof", "process", "names of a process lead elsewhere");
DNS_FAULT(spoof_host, "dns-spoof", "host", "names on this machine lead elsewhere");
