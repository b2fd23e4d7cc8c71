/* SPDX-License-Identifier: Apache-2.0
 * tnl_pop.c - takes outer headers off (tnl_pop.h). */
#include "tnl/tnl_pop.h"

#include <string.h>

#include <rte_mbuf.h>

#include "base/invariant.h"
#include "packet/csum.h"
#include "packet/partial.h"
#include "segment/segment_merge.h"
#include "tnl/tnl_pop_int.h"

#define HEADERS 256u         /* Bytes that hold every header of a packet (extract.h). */

/* Brings the headers of the packet inside into its first mbuf, as far as there is room. */
static void pull(struct rte_mbuf *m)
{
    while (m->next && m->data_len < HEADERS) {
        struct rte_mbuf *next = m->next;
        const uint32_t room = RTE_MIN((uint32_t)rte_pktmbuf_tailroom(m), HEADERS - m->data_len);
        const uint16_t part = (uint16_t)RTE_MIN(room, next->data_len);

        memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len), rte_pktmbuf_mtod(next, const uint8_t *), part);
        m->data_len = (uint16_t)(m->data_len + part);
        next->data_off = (uint16_t)(next->data_off + part);
        next->data_len = (uint16_t)(next->data_len - part);
        if (next->data_len)
            return;
        m->next = next->next;
        m->nb_segs--;
        next->next = NULL;
        next->nb_segs = 1;
        rte_pktmbuf_free_seg(next);
    }
}

/* What Linux left undone in the outer header is done with; what it left undone inside stays. */
static void take_partial(struct rte_mbuf *m, const struct tnl_seen *seen, const struct tnl_found *found)
{
    struct partial partial;

    if (!(m->ol_flags & PARTIAL_FLAGS))
        return;
    if (partial_is_at(m, seen->l4) || !partial_get(m, &partial) || partial.start < found->inner || partial.payload > found->end)
        m->ol_flags &= ~PARTIAL_FLAGS;
    else if (m->pkt_len > found->end)
        partial_grown(m, -(int32_t)(m->pkt_len - found->end));
}

enum stat_drop tnl_strip(struct rte_mbuf *m, const struct tnl_seen *seen, const struct tnl_found *found, uint32_t port)
{
    const uint32_t tunnels = (uint32_t)((m->ol_flags & PKT_TUNNELS) >> PKT_TUNNELS_BIT);
    const uint32_t size = found->end - found->inner;
    struct pkt *pkt = pkt_of(m);

    if (tunnels == 7)
        return DROP_tunnel_depth;
    if (!found->whole) {
        INVARIANT(found->inner <= m->data_len && found->inner <= found->end && found->end <= m->pkt_len);
        if (size < (found->type ? 1u : 14u))
            return DROP_tunnel;
        take_partial(m, seen, found);
        segment_trim(m, found->end);
        rte_pktmbuf_adj(m, (uint16_t)found->inner);
        pull(m);
    }
    m->ol_flags &= ~(PKT_TUNNELS | PKT_TUNNEL | PKT_MARKED | PKT_L3 | RTE_MBUF_F_RX_RSS_HASH | TNL_RX_SUMS);
    m->ol_flags |= (uint64_t)(tunnels + 1) << PKT_TUNNELS_BIT;
    pkt->md = (struct pkt_md){ .in_port = port, .more = PKT_MORE_TUNNEL };
    pkt->tunnel = found->tunnel;
    memcpy(pkt->options, found->options, found->tunnel.options_size);
    if (found->type)
        pkt_set_l3(m, found->type);
    return TNL_NO_DROP;
}

bool tnl_pop(struct worker *worker, uint32_t no, struct rte_mbuf *m)
{
    const struct tnl_port *port = tnl_port_of(worker->tnl, no);
    enum stat_drop reason = DROP_tunnel;
    struct tnl_seen seen;
    struct tnl_found found;

    if (!port)
        reason = DROP_no_port;
    else if (tnl_see(m, &seen) && (!tnl_is_bundle(m, &seen) || tnl_merge(&port->config, m, &seen)))
        reason = tnl_read(&port->config, m, &seen, &found);
    if (reason == TNL_NO_DROP)
        reason = tnl_strip(m, &seen, &found, no);
    if (reason == TNL_NO_DROP)
        return true;
    worker_drop(worker, m, reason);
    return false;
}

/* --- ECN -------------------------------------------------------------------------------------- */

/* Sets the ECN of an IP header. */
static void mark(uint8_t *ip, uint8_t version, uint8_t to)
{
    const uint8_t before[2] = { ip[0], ip[1] };

    if (version == 6) {
        ip[1] = (uint8_t)((ip[1] & ~0x30) | to << 4);
        return;
    }
    ip[1] = (uint8_t)((ip[1] & ~3) | to);
    csum_update(ip + 10, csum_change(before, ip, 2));
}

/* The IP header, and its version; NULL: there is none, or not all of it. */
static uint8_t *ip_header(struct rte_mbuf *m, uint8_t *version)
{
    uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
    uint16_t type = pkt_of(m)->md.packet_type;
    uint32_t l3 = 0;

    if (!(m->ol_flags & PKT_L3)) {
        memcpy(&type, frame + 12, 2);
        for (l3 = 14; l3 < 22 && (type == RTE_BE16(0x8100) || type == RTE_BE16(0x88a8)) && m->data_len >= l3 + 4; l3 += 4)
            memcpy(&type, frame + l3 + 2, 2);
    }
    *version = type == RTE_BE16(0x0800) ? 4 : type == RTE_BE16(0x86dd) ? 6 : 0;
    return *version && m->data_len >= l3 + (*version == 4 ? 20u : 40u) ? frame + l3 : NULL;
}

bool tnl_ecn(struct rte_mbuf *m, uint8_t outer_tos)
{
    const uint8_t outer = outer_tos & 3;
    uint8_t version, inner, *ip;

    if (outer != 1 && outer != 3)
        return true;
    ip = m->data_len >= 14 || m->ol_flags & PKT_L3 ? ip_header(m, &version) : NULL;
    if (!ip)
        return true;
    inner = version == 4 ? ip[1] & 3 : ip[1] >> 4 & 3;
    if (outer == 3 && !inner)
        return false;
    if (outer == 3)
        mark(ip, version, 3);
    else if (inner == 2)
        mark(ip, version, 1);
    return true;
}
