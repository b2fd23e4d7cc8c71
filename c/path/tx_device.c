/* SPDX-License-Identifier: Apache-2.0 */
#include "path/tx_device.h"

#include <netinet/in.h>

#include "packet/partial.h"

#define L2_MOST 127u             /* What the fields of an mbuf hold. */
#define L3_MOST 511u

bool tx_device_describe(struct rte_mbuf *m)
{
    const bool cut = m->ol_flags & PARTIAL_SEG;
    const uint16_t segment = (uint16_t)m->tso_segsz;
    struct partial_layout layout;

    if (!partial_parse(m, &layout) || !partial_is_at(m, layout.l4) || layout.l3 > L2_MOST || (uint32_t)(layout.l4 - layout.l3) > L3_MOST)
        return !cut && partial_finish(m);
    m->ol_flags &= ~(PARTIAL_FLAGS | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_IP_CKSUM);
    m->ol_flags |= layout.ip6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
    /* Lengths of IPv4 headers change when a packet is cut. */
    if (cut)
        m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | (layout.ip6 ? 0 : RTE_MBUF_F_TX_IP_CKSUM);
    m->ol_flags |= layout.proto == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
    m->tx_offload = 0;
    m->tso_segsz = segment;
    m->l2_len = layout.l3 & L2_MOST;
    m->l3_len = (uint64_t)(layout.l4 - layout.l3) & L3_MOST;
    m->l4_len = (uint64_t)(layout.payload - layout.l4) & UINT8_MAX;
    return true;
}

unsigned int tx_device_queue(const struct port *port, struct rte_mbuf *const *packets, unsigned int n, uint16_t *queue)
{
    unsigned int same = 1;

    *queue = (uint16_t)(packets[0]->hash.rss % port->txq_count);
    while (same < n && packets[same]->hash.rss % port->txq_count == *queue)
        same++;
    return same;
}
