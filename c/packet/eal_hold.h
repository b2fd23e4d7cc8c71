/* SPDX-License-Identifier: Apache-2.0
 * eal_hold.h - how many mbufs queues may hold that somebody else is to empty, and may never.
 *
 * A bound for each queue is none for the pool: enough queues hold it whole, and then nobody
 * receives.  So all queues together hold half of a pool at most, and one queue no more than is left
 * for the others.
 *
 * Threads: eal_hold() by the one thread that fills a queue at a time, eal_release() by any. */
#ifndef UPCALL_EAL_HOLD_H
#define UPCALL_EAL_HOLD_H

#include <stdatomic.h>
#include <stdint.h>

struct rte_mbuf;

/* Pools: of all packets, of large buffers, of single ports. */
#define EAL_HOLD_KINDS 3

/* What one queue holds; zero at first. */
struct eal_hold {
    _Atomic uint32_t n[EAL_HOLD_KINDS];
};

/* How many of these packets, from the first on, the queue may hold; they count from now on. */
uint16_t eal_hold(struct eal_hold *, struct rte_mbuf **, uint16_t n);

/* Packets left the queue, or did not fit in it. */
void eal_release(struct eal_hold *, struct rte_mbuf **, uint16_t n);

#endif
