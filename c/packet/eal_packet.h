/* SPDX-License-Identifier: Apache-2.0
 * eal_packet.h - mbufs for packets that this program makes: copies of frames.
 *
 * Threads: any.  A poll thread takes from and gives to the cache that DPDK keeps for it, without a
 * lock; all other threads share one cache. */
#ifndef UPCALL_EAL_PACKET_H
#define UPCALL_EAL_PACKET_H

#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;

/* Once, when EAL has started: the pool to take from. */
void eal_packets_init(struct rte_mempool *);
/* How many the shared cache holds: in use for the pool, in no packet. */
uint32_t eal_packets_spare(void);

/* Empty mbufs for copies of frames, taken many at a time; returns how many: less than `n` if the
 * pool is empty. */
uint32_t eal_packets_take(struct rte_mbuf **, uint32_t n);
/* Frees packets.  Their mbufs are the first to be taken again, while they are still in this
 * processor's cache. */
void eal_packets_free(struct rte_mbuf **, uint32_t n);

/* A copy of a frame, a chain if it is larger than one mbuf; NULL if the pool is empty.  Its struct
 * pkt is not initialised. */
struct rte_mbuf *eal_packet(const uint8_t *frame, uint32_t size);
/* The same in an mbuf that was taken; on failure it is freed. */
struct rte_mbuf *eal_packet_fill(struct rte_mbuf *first, const uint8_t *frame, uint32_t size);

#endif
