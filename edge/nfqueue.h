/* Packets that the kernel hands to user space and waits for what we say of them (NFQUEUE).
 *
 * What is held when the queue is closed, or we are killed, is lost; what comes after passes, by the
 * rule's bypass. An overflow passes, too. The queue belongs to the network namespace in which it
 * was opened, and has a number that was free in it. */
#ifndef EDGE_NFQUEUE_H
#define EDGE_NFQUEUE_H

#include "base/err.h"

struct nfqueue;

struct nfqueue_opts {
    bool payload; /* the packet itself, not only its head */
    bool gso;     /* big packets of the sender uncut: cheaper, where only time matters */
};

struct nfqueue *nfqueue_open(const struct nfqueue_opts *opts, struct err *err);
void nfqueue_close(struct nfqueue *q);
uint16_t nfqueue_number(const struct nfqueue *q);
int nfqueue_fd(const struct nfqueue *q);

struct nfqueue_packet {
    uint32_t id;
    uint8_t hook;           /* enum nft_hook */
    size_t len;             /* from the IP header on */
    const uint8_t *payload; /* lives during the call */
    size_t payload_len;     /* may be less than len */
};
typedef void nfqueue_fn(void *arg, const struct nfqueue_packet *p);
/* All that has come, without waiting; returns how many packets. */
size_t nfqueue_read(struct nfqueue *q, nfqueue_fn *fn, void *arg);

/* Gathered, and sent by nfqueue_flush or when there are many. */
void nfqueue_accept(struct nfqueue *q, uint32_t id);
void nfqueue_accept_changed(struct nfqueue *q, uint32_t id, const uint8_t *payload, size_t len);
void nfqueue_drop(struct nfqueue *q, uint32_t id);
/* All that came before, and this one. Flushes. */
void nfqueue_accept_until(struct nfqueue *q, uint32_t id);
void nfqueue_flush(struct nfqueue *q);

#endif
