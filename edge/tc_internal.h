/* Between tc.c and tc_codec.c. */
#ifndef EDGE_TC_INTERNAL_H
#define EDGE_TC_INTERNAL_H

#include "edge/tc.h"

struct nlmsghdr;

struct nlmsghdr *tc_request(void *buf, uint16_t type, uint16_t flags, const struct tc_qdisc *q);

#endif
