/* SPDX-License-Identifier: Apache-2.0
 * tnl_pop.h - takes outer headers off packets, and finds those that are for us.
 *
 * What Linux checks is checked: lengths, versions, flags, checksums; what fails is dropped under
 * one of the names tunnel*.  As in Open vSwitch no IPv4 options are taken, and fragments are not
 * put together.  Options of Geneve are the flows' to know, critical ones too.
 *
 * Threads: poll threads, and the control side with its own worker. */
#ifndef UPCALL_TNL_POP_H
#define UPCALL_TNL_POP_H

#include <stdbool.h>
#include <stdint.h>

struct rte_mbuf;
struct worker;

/* Open vSwitch's tnl_pop: whatever the addresses.  The packet is then one of the tunnel port's, its
 * struct pkt complete.  False: it was dropped. */
bool tnl_pop(struct worker *, uint32_t port, struct rte_mbuf *);

/* Of packets that a port with TNL_RECEIVES brought, or one with TNL_SENDS is sent, takes those for
 * tunnels: they are looked up again.  The others, whose number is the answer, keep their order.
 * Tells of what it sees of neighbours. */
unsigned int tnl_sift(struct worker *, uint32_t port, uint32_t role, struct rte_mbuf **packets, unsigned int n);

#endif
