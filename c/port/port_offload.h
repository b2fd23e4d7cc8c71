/* SPDX-License-Identifier: Apache-2.0
 * port_offload.h - does in software what a port cannot: partial checksums, segments larger than the
 * MTU, chains.
 *
 * Linux leaves the checksum of packets on veth and tap to the receiver that needs it, and hands
 * over TCP in pieces of up to 64 KiB.  Such packets are kept as they are from port to port
 * (RTE_MBUF_F_TX_* flags) and finished only where they leave by a port that cannot take them.
 * Where the layers start is read from the packet again, because actions may have moved them.
 *
 * Threads: any; no state. */
#ifndef UPCALL_PORT_OFFLOAD_H
#define UPCALL_PORT_OFFLOAD_H

#include <rte_mbuf_core.h>

#include "port/port.h"

#define PORT_OFFLOAD_SEG (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)
#define PORT_OFFLOAD_FLAGS (RTE_MBUF_F_TX_L4_MASK | PORT_OFFLOAD_SEG)
#define PORT_ETHERNET 14u

/* Where the layers of a TCP or UDP packet are, bytes from the frame's beginning. */
struct port_offload_layout {
    uint16_t l3, l4, payload;
    uint16_t checksum;           /* The field. */
    uint8_t proto;
    bool ip6;
};

/* Whether the first `size` bytes of a packet have all headers of TCP or UDP over IP, no
 * fragment. */
bool port_offload_parse(const uint8_t *frame, uint32_t size, uint32_t packet_size, struct port_offload_layout *);

/* Whether a port takes what is larger than its MTU, because it cuts it up itself, into pieces that
 * are not. */
static inline bool port_offload_cuts(const struct port *port, const struct rte_mbuf *m, uint32_t mtu)
{
    return (m->ol_flags & PORT_OFFLOAD_SEG) && (port->caps & PORT_CAP_TSO) && (uint32_t)m->tso_segsz + m->l3_len + m->l4_len <= mtu;
}

/* Whether a packet may have to be changed before this port can send it. */
static inline bool port_offload_needed(const struct port *port, const struct rte_mbuf *m)
{
    const uint32_t mtu = atomic_load_explicit(&port->mtu, memory_order_relaxed);

    if (m->pkt_len > mtu + PORT_ETHERNET && !port_offload_cuts(port, m, mtu))
        return true;
    return ((m->ol_flags & PORT_OFFLOAD_FLAGS) && !(port->caps & PORT_CAP_CSUM)) || (m->nb_segs > 1 && !(port->caps & PORT_CAP_CHAIN));
}

/* Marks a packet of which the checksum field holds the pseudo header's sum as having a partial
 * checksum.  A packet whose complete checksum happens to be the same number comes to no harm:
 * completing it gives that number again. */
void port_offload_detect(struct rte_mbuf *);

/* Completes the partial checksum of a packet.  False: it has none, or its headers are not in the
 * first segment. */
bool port_offload_finish(struct rte_mbuf *);

/* Where the payload of a packet ends, bytes from the frame's beginning; frames may be padded. */
uint32_t port_offload_end(const struct rte_mbuf *, const struct port_offload_layout *);

/* The segment number `index` of a packet: its headers, made true, and `size` bytes of its payload
 * from byte `at` of the frame on.  NULL: no mbuf. */
struct rte_mbuf *port_offload_cut(const struct rte_mbuf *, const struct port_offload_layout *, uint32_t index, uint32_t at, uint32_t size);

/* Completes the partial TCP or UDP checksum of a frame that lies in one piece; leaves other frames
 * alone. */
void port_offload_complete(uint8_t *frame, uint32_t size);

#endif
