/* SPDX-License-Identifier: Apache-2.0 */
#include "segment/segment_wrapped.h"

#include <netinet/in.h>

#include <rte_mbuf.h>

#include "packet/partial.h"
#include "packet/pkt.h"

#define ETHERNET 14u

static uint32_t be16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

/* Where UDP or GRE ends, of which `room` bytes are there; 0: it has something of each packet. */
static uint32_t outer_end(const uint8_t *frame, uint32_t room, struct segment_wrapped *wrapped)
{
    const uint32_t type = be16(frame + 12);
    const uint8_t *ip = frame + ETHERNET, *l4;
    uint32_t at = ETHERNET + (type == 0x86dd ? 40 : 20), proto;

    wrapped->ip6 = type == 0x86dd;
    if ((type != 0x0800 && type != 0x86dd) || room < at + 8)
        return 0;
    if (!wrapped->ip6 && (ip[0] != 0x45 || be16(ip + 6) & 0x3fff))
        return 0;
    l4 = frame + at;
    proto = wrapped->ip6 ? ip[6] : ip[9];
    wrapped->gre = proto == IPPROTO_GRE;
    if (proto == IPPROTO_UDP)
        return l4[6] | l4[7] ? 0 : at + 8;
    return wrapped->gre && !(be16(l4) & ~0x2000u) && be16(l4 + 2) == 0x6558 ? at + 4 + (l4[0] & 0x20 ? 4 : 0) : 0;
}

/* Whether an Ethernet header at byte `at`, and tags, lead to the IP header at byte `inner`. */
static bool leads_to(const uint8_t *frame, uint32_t at, uint32_t inner)
{
    for (at += ETHERNET; at < inner && (be16(frame + at - 2) == 0x8100 || be16(frame + at - 2) == 0x88a8); at += 4)
        ;
    return at == inner;
}

/* Whether the packet whose IP header is at byte `inner` lies in the outer one, and in no other that
 * knows its length as well: Linux would leave that as it is.  Behind UDP are VXLAN, or Geneve. */
static bool is_next(const uint8_t *frame, uint32_t end, const struct segment_wrapped *wrapped)
{
    const uint32_t options = (frame[end] & 0x3f) * 4u;

    if (wrapped->gre)
        return leads_to(frame, end, wrapped->inner);
    return leads_to(frame, end + 8, wrapped->inner)
           || (!(frame[end] >> 6) && be16(frame + end + 2) == 0x6558 && leads_to(frame, end + 8 + options, wrapped->inner));
}

/* Whether Linux will find the TCP header where it is, and more behind it than fits a segment: it
 * drops what it cannot cut. */
static bool is_sound(const struct rte_mbuf *m, const struct partial *partial, const uint8_t *ip)
{
    if (!m->tso_segsz || m->pkt_len - partial->payload <= m->tso_segsz)
        return false;
    if (m->ol_flags & RTE_MBUF_F_TX_IPV6)
        return ip[0] >> 4 == 6 && m->l3_len == 40 && ip[6] == IPPROTO_TCP;
    return ip[0] >> 4 == 4 && m->l3_len == (ip[0] & 15) * 4u && ip[9] == IPPROTO_TCP;
}

bool segment_wrapped(const struct rte_mbuf *m, struct segment_wrapped *wrapped)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    struct partial partial;
    uint32_t end, type;

    if (!(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) || (m->ol_flags & (PKT_L3 | PKT_MARKED)) || m->pkt_len > ETHERNET + UINT16_MAX)
        return false;
    if (!partial_get(m, &partial) || !(m->tx_offload >> 40) || partial.payload > m->data_len || m->l3_len < 20
        || partial.start < ETHERNET + m->l3_len)
        return false;
    wrapped->inner = partial.start - (uint32_t)m->l3_len;
    wrapped->largest = partial.payload - ETHERNET + m->tso_segsz;
    end = outer_end(frame, wrapped->inner, wrapped);
    if (!end || wrapped->inner < end + ETHERNET || wrapped->inner > SEGMENT_WRAPPED_MOST || !is_next(frame, end, wrapped))
        return false;
    if (!is_sound(m, &partial, frame + wrapped->inner))
        return false;
    type = be16(frame + wrapped->inner - 2);
    return type == (m->ol_flags & RTE_MBUF_F_TX_IPV6 ? 0x86ddu : 0x0800u);
}
