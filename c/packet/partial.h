/* SPDX-License-Identifier: Apache-2.0
 * partial.h - what Linux leaves undone in a packet: its innermost checksum, and cutting it into
 * segments.
 *
 * Packets of veth and tap come with the sum of a pseudo-header in place of their checksum, and TCP
 * and UDP in pieces of up to 64 KiB.  They are kept so from port to port (RTE_MBUF_F_TX_L4_MASK,
 * PARTIAL_SEG) and finished where they leave by a port that cannot take them.
 *
 * Where the checksum begins is kept as its distance from the packet's end: headers in front of it
 * come and go, and it may lie in an encapsulation of which the outer headers have checksums of
 * their own, that are true.  In `tx_offload` of the mbuf, which no driver is given: the distance in
 * the upper 24 bits, where the field is in `l2_len`, the innermost IP header's size in `l3_len`,
 * the transport header's in `l4_len`, a segment's in `tso_segsz`.
 *
 * Threads: any; no state. */
#ifndef UPCALL_PARTIAL_H
#define UPCALL_PARTIAL_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#define PARTIAL_SEG (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)
#define PARTIAL_FLAGS (RTE_MBUF_F_TX_L4_MASK | PARTIAL_SEG)
#define PARTIAL_ETHERNET 14u

/* Bytes from the frame's beginning. */
struct partial {
    /* What the checksum covers, to the packet's end: the transport header. */
    uint32_t start;
    uint32_t field;              /* Where it stands. */
    uint32_t payload;            /* Behind the transport header. */
};

/* Where the layers of a TCP or UDP packet are, bytes from the frame's beginning. */
struct partial_layout {
    uint16_t l3, l4, payload;
    uint16_t checksum;           /* The field. */
    uint8_t proto;
    bool ip6;
};

/* Whether the first segment of a packet has all headers of TCP or UDP over IP, as the datapath sees
 * them, no fragment. */
bool partial_parse(const struct rte_mbuf *, struct partial_layout *);
/* Where the payload of a packet ends; frames may be padded. */
uint32_t partial_end(const struct rte_mbuf *, const struct partial_layout *);

/* Marks a packet: its checksum begins at byte `start`, and stands `field` bytes from there.  The
 * flags say the rest. */
void partial_mark(struct rte_mbuf *, uint32_t start, uint32_t field, uint64_t flags);

/* False: nothing was left undone, or the mark does not fit the packet. */
bool partial_get(const struct rte_mbuf *, struct partial *);

/* Whether it is the checksum of the transport header at byte `l4`, and not one further inside. */
static inline bool partial_is_at(const struct rte_mbuf *m, uint32_t l4)
{
    const uint32_t behind = (uint32_t)(m->tx_offload >> 40);

    return (m->ol_flags & PARTIAL_FLAGS) && (!behind || m->pkt_len - behind == l4);
}

/* The packet has become `bytes` longer (shorter) behind where its checksum begins. */
static inline void partial_grown(struct rte_mbuf *m, int32_t bytes)
{
    if ((m->ol_flags & PARTIAL_FLAGS) && m->tx_offload >> 40)
        m->tx_offload += (uint64_t)(int64_t)bytes << 40;
}

/* Completes the checksum, and gives up cutting.  False: the mark does not fit the packet. */
bool partial_finish(struct rte_mbuf *);

/* The same for a copy of the packet that lies in one piece. */
void partial_finish_copy(const struct rte_mbuf *, uint8_t *copy);

/* Marks a packet of which the checksum field holds the pseudo header's sum.  A packet whose
 * complete checksum happens to be the same number comes to no harm: completing it gives that number
 * again. */
void partial_detect(struct rte_mbuf *);

#endif
