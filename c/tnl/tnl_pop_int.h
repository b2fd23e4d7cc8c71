/* SPDX-License-Identifier: Apache-2.0
 * tnl_pop_int.h - an outer packet as it is read, for the units that pop.
 *
 * Threads: as tnl_pop.h says. */
#ifndef UPCALL_TNL_POP_INT_H
#define UPCALL_TNL_POP_INT_H

#include "packet/partial.h"
#include "packet/worker.h"
#include "tnl/tnl_int.h"

#define TNL_NO_DROP DROP_COUNT   /* Nothing is wrong. */

struct tnl_seen {
    const uint8_t *frame;        /* The packet's first segment, of ... */
    uint32_t room;               /* ... so many bytes. */
    uint32_t l3, l4;
    uint32_t end;                /* Of the IP packet, by its header. */
    uint16_t vlan;               /* Identifier, host order; 0: no tag. */
    uint8_t tags;
    uint8_t family;              /* 4, 6; 0: no IP packet. */
    uint8_t proto;               /* 17, 47, or what else it is. */
    uint8_t fragment;            /* 0: no; 1: the first; 2: a later one. */
    uint8_t tos, ttl;
    bool options;                /* IPv4 with options. */
};

/* Reads the headers up to that behind IP's.  False: no IP packet that is all there. */
bool tnl_see(const struct rte_mbuf *, struct tnl_seen *);

static inline const uint8_t *tnl_source(const struct tnl_seen *seen)
{
    return seen->frame + seen->l3 + (seen->family == 4 ? 12 : 8);
}
static inline const uint8_t *tnl_destination(const struct tnl_seen *seen)
{
    return seen->frame + seen->l3 + (seen->family == 4 ? 16 : 24);
}

/* What the tunnel's header said. */
struct tnl_found {
    struct key_tunnel tunnel;
    uint8_t options[KEY_OPTIONS];
    uint32_t inner;              /* Where the packet inside begins ... */
    uint32_t end;                /* ... and ends. */
    uint16_t type;               /* be16, of a packet without Ethernet header; else 0. */
    bool whole;                  /* GTP-U's own messages keep all headers. */
};

/* Checks and reads the header of a kind behind the IP header; DROP_*, or TNL_NO_DROP. */
enum stat_drop tnl_read(const struct tunnel_config *, struct rte_mbuf *, const struct tnl_seen *, struct tnl_found *);

/* Whether it is several UDP packets in one, which Linux would cut. */
static inline bool tnl_is_bundle(const struct rte_mbuf *m, const struct tnl_seen *seen)
{
    return (m->ol_flags & RTE_MBUF_F_TX_UDP_SEG) && seen->proto == 17 && !seen->fragment && partial_is_at(m, seen->l4);
}

/* Makes one packet of such a one, as Linux's devices hand over TCP that is to be cut, and reads it
 * again.  False: it cannot be, and stays as it was. */
bool tnl_merge(const struct tunnel_config *, struct rte_mbuf *, struct tnl_seen *);

/* Takes the checksum of outer UDP away that it has for having been in such a one. */
void tnl_unsum(const struct tunnel_config *, struct rte_mbuf *, const struct tnl_seen *);

/* Takes the outer header off, by what was read.  TNL_NO_DROP, or why it cannot be. */
enum stat_drop tnl_strip(struct rte_mbuf *, const struct tnl_seen *, const struct tnl_found *, uint32_t port);

/* ECN of the outer header to the packet inside (RFC 6040 as Linux has it).  False: it says what the
 * packet inside cannot: it is to be dropped. */
bool tnl_ecn(struct rte_mbuf *, uint8_t outer_tos);

/* What a packet to us says of a neighbour, or of a path's MTU. */
void tnl_snoop(struct worker *, uint32_t port, const struct rte_mbuf *, const struct tnl_seen *);

#endif
