/* Packets that wait, by the instant at which they go on; among equals the first come goes first. */
#ifndef CHAOSLIB_NET_HELD_H
#define CHAOSLIB_NET_HELD_H

#include "base/defs.h"

struct held_packet {
    uint64_t release_ns;
    uint32_t id; /* rising, as the kernel counts them */
};

struct held {
    struct held_packet *v;
    size_t n, capacity;
};

void held_push(struct held *h, const struct held_packet *p);
const struct held_packet *held_first(const struct held *h); /* NULL: none */
struct held_packet held_pop(struct held *h);                /* there must be one */
void held_done(struct held *h);

#endif
