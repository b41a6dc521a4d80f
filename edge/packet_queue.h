/* Packets that a rule sends to user space (nft_queue), one by one, each waiting for a verdict
 * (libnetfilter_queue). The queue belongs to the network namespace in which it was opened, and ends
 * with its socket: from then on its packets pass; those that wait are lost. More than it can hold
 * pass as well. */
#ifndef EDGE_PACKET_QUEUE_H
#define EDGE_PACKET_QUEUE_H

#include "base/err.h"

#define PACKET_QUEUE_FIRST 41000
#define PACKET_QUEUE_TRIED 64
#define PACKET_MAX 0xffff

struct packet_queue;
/* The first number from PACKET_QUEUE_FIRST on that nobody listens to. */
struct packet_queue *packet_queue_open(uint16_t *ret_number, struct err *err);
void packet_queue_close(struct packet_queue *q);
int packet_queue_fd(const struct packet_queue *q); /* readable: packet_queue_read */

/* For each packet that is there, on this thread; it lives during the call and is cut at nothing. */
typedef void packet_fn(void *arg, uint32_t id, const uint8_t *packet, size_t len);
int packet_queue_read(struct packet_queue *q, packet_fn *fn, void *arg, struct err *err) MUST_CHECK;

void packet_pass(struct packet_queue *q, uint32_t id);
void packet_drop(struct packet_queue *q, uint32_t id);
/* Another packet goes on in its place, with that mark; the kernel routes it anew. */
void packet_replace(struct packet_queue *q, uint32_t id, uint32_t mark, const void *packet,
                    size_t len);

#endif
