/* SPDX-License-Identifier: Apache-2.0
 * burst_direct.h - misses decided by a native callback, on the thread that has them.
 *
 * That thread pays for the actions: they are compiled, run and freed there.  It may not wait for
 * the control mutex, so the flow that the callback asks for is left in a queue, for the service
 * thread of the datapath (dp_service.c) to put.
 *
 * Threads: burst_direct and burst_miss by the owner of the worker; the rest by the service thread,
 * burst_puts_ring by any. */
#ifndef UPCALL_BURST_DIRECT_H
#define UPCALL_BURST_DIRECT_H

#include "dp.h"

struct burst_puts;
struct rte_mbuf;
struct pkt_md;
struct upcall_direct;
struct worker;

/* Takes over misses whose struct pkt is complete. */
void burst_direct(struct worker *, const struct upcall_direct *, struct rte_mbuf **, unsigned int n);

/* Takes over packets that no flow matched: they go to such a callback, or up.  `md`: theirs, or
 * NULL: each one's struct pkt is complete. */
void burst_miss(struct worker *, struct rte_mbuf **, unsigned int n, const struct pkt_md *md);

/* A flow on its way into the table. */
struct burst_put {
    struct dp_op op;
    uint32_t port;               /* By which the packet came. */
    uint8_t bytes[];             /* Key, mask, actions; not padded. */
};

struct burst_puts *burst_puts_create(void);  /* NULL: no memory. */
void burst_puts_destroy(struct burst_puts *); /* Empty. */

/* The oldest, to be freed by free(); NULL: none. */
struct burst_put *burst_puts_take(struct burst_puts *);

/* To wait: read the bell, take all that has come, then wait for the bell to differ from what was
 * read. */
uint32_t burst_puts_bell(struct burst_puts *);
void burst_puts_wait(struct burst_puts *, uint32_t bell, int timeout_ms);
void burst_puts_ring(struct burst_puts *);

#endif
