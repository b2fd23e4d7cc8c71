/* SPDX-License-Identifier: Apache-2.0
 * upcall.h - hands packets up: one bounded lock-free ring per handler, filled by poll threads, emptied by a program.
 *
 * A ring holds mbufs (rte_ring, several producers, one consumer).  What does not fit is freed and counted, so that at all times
 *     misses + action upcalls = handled + lost + purged + waiting,
 * where stat.missed counts the misses that got into a ring (counted here, not in burst.c), and stat.lost all that did not.
 * The key and the copy of the packet are made by the consumer, so that a miss costs the poll thread an enqueue.  A doorbell (eventfd) is rung
 * only if the handler is armed.
 *
 * Threads: upcall_miss and upcall_action by poll threads and the control side; the rest by the handler's program, one thread at a
 * time per handler, as dp.h says. */
#ifndef UPCALL_UPCALL_H
#define UPCALL_UPCALL_H

#include <stdint.h>

#include "pkt.h"

struct rte_mbuf;
struct pmd;
struct act_userdata;

/* Takes over packets that no flow matched.  `md`: of the burst, or NULL: in each packet. */
void upcall_miss(struct pmd *, struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md);

/* Takes over a packet of a userspace action; its struct pkt is complete.  A reference to `userdata` (or NULL) is taken if the packet goes up. */
void upcall_action(struct pmd *, struct rte_mbuf *, struct act_userdata *userdata, uint32_t original_size);

#endif
