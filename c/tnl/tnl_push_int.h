/* SPDX-License-Identifier: Apache-2.0
 * tnl_push_int.h - a header in the making, for the units that push.
 *
 * Threads: as tnl_push.h says. */
#ifndef UPCALL_TNL_PUSH_INT_H
#define UPCALL_TNL_PUSH_INT_H

#include "packet/worker.h"
#include "tnl/tnl_inner.h"
#include "tnl/tnl_int.h"
#include "tnl/tnl_ready.h"

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

/* A header of UDP without a checksum, and what a packet puts into it. */
struct tnl_plain {
    const uint8_t *header;
    const struct tnl_laid *laid;
    uint32_t size;               /* 16 at least. */
    uint32_t in_port;            /* That the packet is from now on as received from. */
    uint32_t source_low, source_count; /* The range of UDP's port. */
};
/* Where the headers lie, and the sum of an IPv4 header without its length. */
void tnl_laid_sum(struct tnl_laid *, uint32_t l3, uint32_t l4, bool ip6, const uint8_t *header);

/* Packets of a burst that get the same outer header, but for lengths, checksum, source port and
 * ECN: the first gets it the long way, and is learnt from; the others are compared with it.  Good
 * for one burst: it points to a hop. */
struct tnl_alike {
    const struct tnl_hop *hop;   /* NULL, as at first: none is known. */
    uint32_t learnt;             /* So often, 0 at first: where each is another, it is left. */
    /* Of the packet that it was learnt from: some flags, its mark, 0 without PKT_MARKED, and what
     * its flow says of the tunnel, with PKT_TUNNEL. */
    uint64_t flags;
    uint32_t mark;
    struct key_tunnel tunnel;
    uint32_t size;               /* Of the header. */
    uint32_t most;               /* Bytes of a packet that fit the path with it. */
    struct tnl_laid laid;
    uint8_t header[TNL_HEADER];  /* ECN 0; lengths, checksum and source port are written over. */
};
/* Learns from a packet, which has no outer header yet, if others can be like it. */
void tnl_alike_learn(struct tnl_alike *, const struct rte_mbuf *, const struct tnl_want *, const struct tnl_outer *);
/* Puts the header before a packet that is like that one.  False: it is not, and is as it was. */
bool tnl_alike_push(struct worker *, const struct tnl_alike *, struct rte_mbuf *);

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
