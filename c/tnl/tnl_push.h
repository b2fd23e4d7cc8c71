/* SPDX-License-Identifier: Apache-2.0
 * tnl_push.h - puts outer headers before packets.
 *
 * Where no flow says more, the header is what Linux's devices send: no identification with DF, TTL
 * of the next hop, ECN of the packet inside, a UDP source port by its hash.  What Linux left undone
 * in a packet (partial.h) stays so; outer checksums are true once it has been done.
 *
 * Threads: poll threads, and the control side with its own worker. */
#ifndef UPCALL_TNL_PUSH_H
#define UPCALL_TNL_PUSH_H

#include <stdbool.h>
#include <stdint.h>

struct rte_mbuf;
struct worker;

/* Takes over outer packets for the port `underlay`: to be sent, or (`received`) looked up as some
 * that came from it.  Their struct pkt is complete. */
typedef void tnl_emit(struct worker *, struct rte_mbuf **, unsigned int n, uint32_t underlay, bool received);

/* Encapsulates packets that were sent to a tunnel port; takes them over. */
void tnl_push(struct worker *, uint32_t port, struct rte_mbuf **packets, unsigned int n, tnl_emit *);

#endif
