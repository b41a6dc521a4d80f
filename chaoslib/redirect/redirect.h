/* Proxy faults for a port that nobody put a proxy in front of: rules in the target's network
 * namespace redirect connections to that port to an embedded proxy inside a helper (role
 * "redirect"), which passes them on to where they were going. Inside chaoslib. */
#ifndef CHAOSLIB_REDIRECT_REDIRECT_H
#define CHAOSLIB_REDIRECT_REDIRECT_H

#include "chaoslib/docker/select.h"
#include "chaoslib/helper.h"
#include "chaoslib/proxy/toxic.h"

struct redirect_params {
    struct toxic_params toxic; /* first: what reads and checks toxics reads these, too */
    const char *process;
    struct docker_select docker; /* without a process */
    int64_t port;
    bool reset_open;
    int mechanism;
};
/* Rows NULL: not by redirection. */
extern const struct param_table redirect_tables[TOXIC_KIND_MAX],
    redirect_docker_tables[TOXIC_KIND_MAX];

/* A toxic to the helper and back; the texts of the one read belong to `j`, headers' arrays to the
 * caller (free both). */
void toxic_write(const struct toxic *t, struct json *ret);
int toxic_read(const struct json *j, struct toxic *ret, struct err *err) MUST_CHECK;

/* Asked {"do": "in"}, "probe", "out"; answers when it is so. */
extern const struct helper_role redirect_role;

#endif
