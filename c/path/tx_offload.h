/* SPDX-License-Identifier: Apache-2.0
 * tx_offload.h - whether a packet can leave by a port as it is: what Linux left undone in it
 * (partial.h), its size, chains.
 *
 * Threads: any; no state. */
#ifndef UPCALL_TX_OFFLOAD_H
#define UPCALL_TX_OFFLOAD_H

#include "packet/partial.h"
#include "packet/pkt.h"
#include "segment/segment.h"
#include "segment/segment_wrapped.h"
#include "port/port.h"

/* Whether a port cuts a packet that is to be cut itself, into pieces that are no larger than its
 * MTU. */
static inline bool tx_offload_cuts(const struct port *port, const struct rte_mbuf *m, uint32_t mtu)
{
    struct segment_wrapped wrapped;

    if ((port->caps & PORT_CAP_FIELDS) && (m->ol_flags & RTE_MBUF_F_TX_UDP_SEG))
        return false; /* Few drivers do. */
    if (atomic_load_explicit(&port->wraps, memory_order_relaxed) && segment_wrapped(m, &wrapped))
        return wrapped.largest <= mtu;
    return (m->ol_flags & PARTIAL_SEG) && (port->caps & PORT_CAP_TSO) && (uint32_t)m->tso_segsz + m->l3_len + m->l4_len <= mtu &&
           segment_is_plain(m);
}

/* Whether a packet may have to be changed before this port can send it. */
static inline bool tx_offload_needed(const struct port *port, const struct rte_mbuf *m)
{
    const uint32_t mtu = atomic_load_explicit(&port->mtu, memory_order_relaxed);

    if ((m->ol_flags & PARTIAL_FLAGS) && (port->caps & PORT_CAP_FIELDS))
        return true;
    if ((m->ol_flags & (PARTIAL_SEG | PKT_L3)) || (port->caps & PORT_CAP_L3))
        return !(m->ol_flags & PARTIAL_SEG) || (m->ol_flags & PKT_L3) || !tx_offload_cuts(port, m, mtu);
    if (m->pkt_len > mtu + PARTIAL_ETHERNET)
        return true;
    return ((m->ol_flags & PARTIAL_FLAGS) && !(port->caps & PORT_CAP_CSUM)) || (m->nb_segs > 1 && !(port->caps & PORT_CAP_CHAIN));
}

#endif
