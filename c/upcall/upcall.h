/* SPDX-License-Identifier: Apache-2.0
 * upcall.h - hands packets up: one bounded lock-free ring per handler, filled by poll threads,
 * emptied by a program.
 *
 * A ring holds mbufs (rte_ring, several producers, one consumer).  What does not fit is freed and
 * counted, so that at all times
 *     misses + action upcalls = handled + lost + purged + waiting,
 * where stat.missed counts the misses that got into a ring (counted here, not in burst.c), and
 * stat.lost all that did not.  The key and the copy of the packet are made by the consumer, so that
 * a miss costs the poll thread an enqueue.  A doorbell (eventfd) is rung only if the handler is
 * armed.
 *
 * Room is shared among ports, so that a flood from one leaves some for the others: a port may have
 * no more upcalls waiting than the ring has room left.  One port alone gets half of the ring, two a
 * third each, and so on; what is more is lost as DROP_upcall_quota, or as DROP_upcall_full where
 * there is no room at all.  `upcall-quota` may allow less.  Several poll threads may together
 * exceed a share by a burst each.  So it is with mbufs, of which a large packet takes many:
 * DROP_upcall_mbufs.
 *
 * Misses that repeat one that is pending go up like any others as long as there is room, because
 * they are the next packets of a new connection.  Once a port has used half of its share, or half
 * of the ring is taken, they are lost as DROP_upcall_duplicate: those whose key was handed up by
 * the same thread less than UPCALL_PENDING_MS ago, as far as a direct-mapped table of keyed hashes
 * remembers.  Of a burst only the first 8 have a chance then, the others are DROP_upcall_quota.  So
 * one connection that nobody decides on leaves room for others of its port.  Packets of userspace
 * actions are never duplicates.
 *
 * Threads: upcall_miss and upcall_action by poll threads and the control side; the rest by the
 * handler's program, one thread at a time per handler, as dp.h says. */
#ifndef UPCALL_UPCALL_H
#define UPCALL_UPCALL_H

#include <stdint.h>

#include "dp.h"
#include "packet/pkt.h"

struct burst_puts;
struct rte_mbuf;
struct upcalls;                  /* Owned by the datapath; upcall_handler.h. */
struct userdata;
struct worker;

/* A native callback that decides misses in the place of handlers, and the queue for the flows that
 * it asks for (burst_direct.h). */
struct upcall_direct {
    dp_direct_upcall_fn function; /* NULL: none. */
    void *aux;
    struct burst_puts *puts;
};

/* The callback that decides misses now, NULL if handlers do.  Good until this thread is
 * quiescent. */
const struct upcall_direct *upcall_direct(const struct worker *);

/* Completes the struct pkt of packets that no flow matched.  `md`: of the burst, or NULL: in each
 * packet. */
void upcall_mark(struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md);

/* Hands packets that no flow matched to handlers; takes them over.  `md` as above. */
void upcall_miss(struct worker *, struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md);

/* Takes over a packet of a userspace action; its struct pkt is complete.  A reference to `userdata`
 * (or NULL) is taken if the packet goes up. */
void upcall_action(struct worker *, struct rte_mbuf *, struct userdata *userdata, uint32_t original_size);

#endif
