/* SPDX-License-Identifier: Apache-2.0 */
#include "packet/partial.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "packet/extract.h"

#define UDP_FIELD 6u

bool partial_parse(const struct rte_mbuf *m, struct partial_layout *layout)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    const uint32_t size = m->data_len;
    struct pkt_md md = { 0 };
    struct extract_layers layers;
    struct key key;

    if (m->ol_flags & PKT_L3)
        md = (struct pkt_md){ .more = PKT_MORE_L3, .packet_type = pkt_of((struct rte_mbuf *)(uintptr_t)m)->md.packet_type };
    else if (size < EXTRACT_RUNT)
        return false;
    extract_blocks(frame, size, m->pkt_len, &md, NULL, 1, &key, &layers);
    if (!layers.l4 || key.base.nw_frag)
        return false;
    *layout = (struct partial_layout){ .l3 = layers.l3, .l4 = layers.l4, .proto = key.base.nw_proto,
                                       .ip6 = key.base.eth_type == RTE_BE16(RTE_ETHER_TYPE_IPV6) };
    if (layout->proto == IPPROTO_TCP && layers.l4 + sizeof(struct rte_tcp_hdr) <= size) {
        layout->checksum = layers.l4 + offsetof(struct rte_tcp_hdr, cksum);
        layout->payload = (uint16_t)(layers.l4 + (frame[layers.l4 + 12] >> 4) * 4);
        return layout->payload <= size && layout->payload >= layers.l4 + sizeof(struct rte_tcp_hdr);
    }
    if (layout->proto == IPPROTO_UDP && layers.l4 + sizeof(struct rte_udp_hdr) <= size) {
        layout->checksum = layers.l4 + offsetof(struct rte_udp_hdr, dgram_cksum);
        layout->payload = (uint16_t)(layers.l4 + sizeof(struct rte_udp_hdr));
        return true;
    }
    return false;
}

uint32_t partial_end(const struct rte_mbuf *m, const struct partial_layout *layout)
{
    const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, layout->l3);
    uint32_t end;

    if (layout->ip6)
        end = layout->l3 + (uint32_t)sizeof(struct rte_ipv6_hdr) + (uint32_t)(ip[4] << 8 | ip[5]);
    else
        end = layout->l3 + (uint32_t)(ip[2] << 8 | ip[3]);
    return RTE_MIN(end, m->pkt_len);
}

void partial_mark(struct rte_mbuf *m, uint32_t start, uint32_t field, uint64_t flags)
{
    m->ol_flags |= flags;
    m->tx_offload = (uint64_t)(m->pkt_len - start) << 40;
    m->l2_len = field;
}

bool partial_get(const struct rte_mbuf *m, struct partial *partial)
{
    const uint32_t behind = (uint32_t)(m->tx_offload >> 40);
    struct partial_layout layout;

    if (!(m->ol_flags & PARTIAL_FLAGS))
        return false;
    /* The mark says no more than that: it is where the datapath sees the transport header. */
    if (!behind) {
        if (!partial_parse(m, &layout))
            return false;
        *partial = (struct partial){ layout.l4, layout.checksum, layout.payload };
        return true;
    }
    partial->start = m->pkt_len - behind;
    partial->field = partial->start + m->l2_len;
    partial->payload = partial->start + m->l4_len;
    return behind <= m->pkt_len && partial->field + 2 <= m->data_len && partial->payload <= m->data_len;
}

/* Of a sum over the whole; a UDP checksum of 0 would say that there is none. */
static void put_checksum(uint8_t *frame, const struct partial *partial, uint16_t sum)
{
    sum = (uint16_t)~sum;
    if (!sum && partial->field - partial->start == UDP_FIELD)
        sum = 0xffff;
    memcpy(frame + partial->field, &sum, sizeof sum);
}

bool partial_finish(struct rte_mbuf *m)
{
    struct partial partial;
    uint16_t sum;

    if (!partial_get(m, &partial) || rte_raw_cksum_mbuf(m, partial.start, m->pkt_len - partial.start, &sum)) {
        m->ol_flags &= ~PARTIAL_FLAGS;
        return false;
    }
    m->ol_flags &= ~PARTIAL_FLAGS;
    put_checksum(rte_pktmbuf_mtod(m, uint8_t *), &partial, sum);
    return true;
}

void partial_finish_copy(const struct rte_mbuf *m, uint8_t *copy)
{
    struct partial partial;

    if (partial_get(m, &partial))
        put_checksum(copy, &partial, rte_raw_cksum(copy + partial.start, m->pkt_len - partial.start));
}

static uint16_t pseudo_header(const uint8_t *frame, const struct partial_layout *layout)
{
    return layout->ip6 ? rte_ipv6_phdr_cksum((const struct rte_ipv6_hdr *)(frame + layout->l3), 0)
                       : rte_ipv4_phdr_cksum((const struct rte_ipv4_hdr *)(frame + layout->l3), 0);
}

void partial_detect(struct rte_mbuf *m)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    struct partial_layout layout;
    uint16_t sum;

    if (!partial_parse(m, &layout) || partial_end(m, &layout) != m->pkt_len)
        return;
    memcpy(&sum, frame + layout.checksum, sizeof sum);
    if (!sum || sum != pseudo_header(frame, &layout))
        return;
    partial_mark(m, layout.l4, layout.checksum - layout.l4,
                 (layout.proto == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM) |
                     (layout.ip6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4));
    m->l3_len = (uint16_t)(layout.l4 - layout.l3);
    m->l4_len = (uint8_t)(layout.payload - layout.l4);
}
