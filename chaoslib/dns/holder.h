/* The helper that holds a fault of names (role "dns"), and what it is asked: {"do": "in"}, "probe",
 * "out". It answers when it is so. The descriptor it gets is the
 * network namespace. */
#ifndef CHAOSLIB_DNS_HOLDER_H
#define CHAOSLIB_DNS_HOLDER_H

#include "chaoslib/helper.h"

extern const struct helper_role dns_holder_role;

#endif
