/* SPDX-License-Identifier: Apache-2.0
 * tnl_push_int.h - a header in the making, for the units that push.
 *
 * Threads: as tnl_push.h says. */
#ifndef UPCALL_TNL_PUSH_INT_H
#define UPCALL_TNL_PUSH_INT_H

#include "packet/worker.h"
#include "tnl/tnl_inner.h"
#include "tnl/tnl_int.h"

/* Ethernet with tags, IPv6, UDP, Geneve with all options: of ours.  tnl_push brings more. */
#define TNL_OUTER 512u

struct tnl_outer {
    uint32_t size;
    uint16_t l3, l4;
    bool ip6, udp;
    bool csum;                   /* UDP's or GRE's is to be computed. */
    uint8_t bytes[TNL_OUTER];
};

/* What a packet says of its tunnel. */
struct tnl_want {
    const struct tnl_hop *hop;
    const struct key_tunnel *tunnel;
    const uint8_t *options;
    uint32_t hash;               /* Of the packet inside. */
    uint16_t type;               /* Of a packet without Ethernet header, be16; else 0. */
    uint32_t inner_size;
    uint32_t now_ms;
};

/* Writes what follows the IP header: UDP or GRE, and the tunnel's own.  False: the kind does not
 * carry such a packet. */
bool tnl_outer_write(struct tnl *, const struct tnl_want *, struct tnl_outer *);

/* Puts a header before a packet and fills in lengths and checksums.  NULL: no buffer, or too large;
 * it was dropped. */
struct rte_mbuf *tnl_outer_put(struct worker *, struct rte_mbuf *, struct tnl_outer *);

/* UDP's source port for a hash. */
static inline uint16_t tnl_source_port(const struct tnl *tnl, uint32_t hash)
{
    const uint32_t ports = atomic_load_explicit(&((struct tnl *)(uintptr_t)tnl)->source_ports, memory_order_relaxed);

    return (uint16_t)((ports & UINT16_MAX) + (uint32_t)((uint64_t)hash * (ports >> 16) >> 32));
}

/* The answer of Linux to a packet that is too large with its outer headers: as if the tunnel's
 * other end had sent it.  NULL: it gets none. */
struct rte_mbuf *tnl_too_big(struct worker *, const struct rte_mbuf *, const struct tnl_inner *, uint32_t mtu);

#endif
