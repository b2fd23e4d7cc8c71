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

/* Takes over an outer packet for the port `underlay`: to be sent, or (`received`) looked up as one
 * that came from it.  Its struct pkt is complete then. */
typedef void tnl_emit(struct worker *, struct rte_mbuf *, uint32_t underlay, bool received);

/* Encapsulates packets that were sent to a tunnel port; takes them over. */
void tnl_push(struct worker *, uint32_t port, struct rte_mbuf **packets, unsigned int n, tnl_emit *);

/* Open vSwitch's tnl_push: a header that is complete but for lengths, checksums, the UDP source
 * port and the sequence number. */
struct tnl_ready {
    uint32_t port;               /* The tunnel's. */
    uint32_t out_port;           /* The packet is from now on as received from this one. */
    uint32_t size;
    uint8_t header[512];
};
/* How a ready header is laid out; false: it is not Ethernet, IPv4 or IPv6, and UDP or GRE. */
bool tnl_ready_check(const struct tnl_ready *);
/* NULL: it was dropped. */
struct rte_mbuf *tnl_push_ready(struct worker *, const struct tnl_ready *, struct rte_mbuf *);

#endif
