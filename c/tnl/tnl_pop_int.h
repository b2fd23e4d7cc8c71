/* SPDX-License-Identifier: Apache-2.0
 * tnl_pop_int.h - an outer packet as it is read, for the units that pop.
 *
 * Threads: as tnl_pop.h says. */
#ifndef UPCALL_TNL_POP_INT_H
#define UPCALL_TNL_POP_INT_H

#include <string.h>

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

/* Packets of a burst with the same outer header, but for what each has of its own: lengths,
 * identification, IPv4's checksum, UDP's source port.  The first is read the long way and learnt
 * from; others are compared with it.  Good for one burst: it points to a port. */
#define TNL_SAME 128u            /* Bytes of such headers, at most. */
struct tnl_same {
    const struct tnl_port *port; /* That takes them; NULL, as at first: none is known. */
    uint32_t learnt;             /* So often, 0 at first: where each is another, it is left. */
    uint32_t size;               /* Of the headers. */
    uint16_t l3, l4;
    bool ip6;
    uint32_t sum;                /* Of IPv4's header, without what each has of its own. */
    bool together;               /* They go to worker.popped. */
    struct key_tunnel tunnel;    /* Without the source port. */
    uint8_t want[TNL_SAME], care[TNL_SAME];
};
/* Learns from a packet that has its header still, if others can have the same: VXLAN's or Geneve's,
 * without an outer checksum. */
void tnl_same_learn(struct worker *, struct tnl_same *, const struct tnl_port *, const struct rte_mbuf *, const struct tnl_seen *,
                    const struct tnl_found *);
/* Takes the header off a packet that has the same, and writes nothing to its struct pkt.  False: it
 * has not, and is as it was. */
bool tnl_same_strip(const struct tnl_same *, struct rte_mbuf *);
/* Has a packet that was stripped looked up again; takes it over. */
void tnl_same_pass(struct worker *, const struct tnl_same *, struct rte_mbuf *);
/* Completes the struct pkt of one. */
void tnl_same_write(const struct tnl_same *, struct rte_mbuf *);
/* Both for as many of the first packets as it can.  Answers how many. */
unsigned int tnl_same_take(struct worker *, const struct tnl_same *, struct rte_mbuf *const *, unsigned int n);

/* How many outer headers a packet was given or lost. */
static inline uint32_t tnl_passed(const struct rte_mbuf *m)
{
    return (uint32_t)((m->ol_flags & PKT_TUNNELS) >> PKT_TUNNELS_BIT);
}

/* What of a packet's flags was about its outer header. */
#define TNL_POPPED (PKT_TUNNELS | PKT_TUNNEL | PKT_MARKED | PKT_L3 | RTE_MBUF_F_RX_RSS_HASH | TNL_RX_SUMS)

/* A packet that has lost its outer header came by a tunnel port.  `options`: as many bytes as the
 * tunnel's metadata says. */
static inline void tnl_mark(struct rte_mbuf *m, const struct key_tunnel *tunnel, const uint8_t *options, uint32_t port)
{
    const uint64_t tunnels = (uint64_t)(tnl_passed(m) + 1) << PKT_TUNNELS_BIT;
    struct pkt *pkt = pkt_of(m);

    m->ol_flags = (m->ol_flags & ~TNL_POPPED) | tunnels;
    pkt->md = (struct pkt_md){ .in_port = port, .more = PKT_MORE_TUNNEL };
    pkt->tunnel = *tunnel;
    if (tunnel->options_size)
        memcpy(pkt->options, options, tunnel->options_size);
}

/* ECN of the outer header to the packet inside (RFC 6040 as Linux has it).  False: it says what the
 * packet inside cannot: it is to be dropped. */
bool tnl_ecn(struct rte_mbuf *, uint8_t outer_tos);

/* What a packet to us says of a neighbour, or of a path's MTU. */
void tnl_snoop(struct worker *, uint32_t port, const struct rte_mbuf *, const struct tnl_seen *);

#endif
