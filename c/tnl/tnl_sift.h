/* SPDX-License-Identifier: Apache-2.0
 * tnl_sift.h - finds packets that are for tunnels of ours.
 *
 * Threads: poll threads, and the control side with its own worker. */
#ifndef UPCALL_TNL_SIFT_H
#define UPCALL_TNL_SIFT_H

#include <stdint.h>

struct rte_mbuf;
struct worker;

/* Of packets that a port with TNL_RECEIVES brought, or one with TNL_SENDS is sent, takes those for
 * tunnels: they are looked up again.  The others, whose number is the answer, keep their order.
 * Tells of what it sees of neighbours. */
unsigned int tnl_sift(struct worker *, uint32_t port, uint32_t role, struct rte_mbuf **packets, unsigned int n);

#endif
