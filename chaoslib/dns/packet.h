/* A query in its IP packet, and the same packet turned round: sent by the server that was asked, to
 * the one who asked, with an answer in it. Pure. */
#ifndef CHAOSLIB_DNS_PACKET_H
#define CHAOSLIB_DNS_PACKET_H

#include "base/defs.h"

#define DNS_PACKET_HEADERS_MAX 48 /* IPv6 and UDP; what dns_packet_turn adds to the answer */

struct dns_packet {
    bool is_v6, to_loopback;
    const uint8_t *payload; /* of UDP, inside the packet */
    size_t n_payload;
};
/* 0; -1: not one whole UDP datagram in one packet without extension headers. */
int dns_packet_parse(const uint8_t *packet, size_t len, struct dns_packet *ret) MUST_CHECK;
/* 0: `cap` is too small. */
size_t dns_packet_turn(const uint8_t *packet, const struct dns_packet *p, const uint8_t *answer,
                       size_t n_answer, uint8_t *out, size_t cap);

#endif
