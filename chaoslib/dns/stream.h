/* Names over TCP, inside the holder: connections that a rule redirected to us end here. Each
 * message is judged as a packet would be; what passes goes on to the server that was meant, over a
 * connection of ours, which is made when the first one passes. Everything is served by the caller's
 * poll loop. */
#ifndef CHAOSLIB_DNS_STREAM_H
#define CHAOSLIB_DNS_STREAM_H

#include "chaoslib/dns/rules.h"

/* A query of our own that is under way, over UDP or TCP. */
struct dns_probe {
    uint16_t port; /* it comes from there, in network order; 0: there is none */
    bool seen;
};

struct dns_streams;
/* Rules and probe are looked at, and must outlive it. */
struct dns_streams *dns_streams_open(struct dns_rules *rules, struct dns_probe *probe,
                                     struct err *err);
/* Of our own connections, which must not be redirected again. */
void dns_streams_mark(struct dns_streams *s, uint32_t mark);
/* What is held is answered; connections end in good order. */
void dns_streams_end(struct dns_streams *s);
/* Idempotent by NULL. */
void dns_streams_close(struct dns_streams *s);
/* Where it listens, in host order; 0: there is no such family here. */
uint16_t dns_streams_port(const struct dns_streams *s, int family);
int dns_streams_fd(const struct dns_streams *s); /* readable: there is something to serve */
/* Does what can be done now; returns when the next answer is due, 0: none waits. */
uint64_t dns_streams_serve(struct dns_streams *s, uint64_t now_ns);

#endif
