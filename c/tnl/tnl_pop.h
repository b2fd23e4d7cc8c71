/* SPDX-License-Identifier: Apache-2.0
 * tnl_pop.h - takes outer headers off packets.
 *
 * What Linux checks is checked: lengths, versions, flags, checksums; what fails is dropped under
 * one of the names tunnel*.  As in Open vSwitch no IPv4 options are taken, and fragments are not
 * put together.  Many outer packets in one (segment_bundle.h) become one TCP packet again; where
 * they cannot, tnl_sift() takes each by itself, and here they are dropped.  Options of Geneve are
 * the flows' to know, critical ones too.
 *
 * Threads: poll threads, and the control side with its own worker. */
#ifndef UPCALL_TNL_POP_H
#define UPCALL_TNL_POP_H

#include <stdint.h>

struct rte_mbuf;
struct worker;

/* Open vSwitch's tnl_pop: whatever the addresses.  Packets are then the tunnel port's, their struct
 * pkt complete or in worker.popped, and looked up again.  Takes them over; `n` may be 0. */
void tnl_pop(struct worker *, uint32_t port, struct rte_mbuf **packets, unsigned int n);

/* Completes the struct pkt of packets that came in worker.popped, before anything else is done to
 * them: what they lost still stands before what they hold. */
struct worker_popped;
void tnl_popped_write(const struct worker_popped *, struct rte_mbuf *const *packets, unsigned int n);

#endif
