/* SPDX-License-Identifier: Apache-2.0 */
#include "port/port_offload.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "packet/extract.h"

bool port_offload_parse(const uint8_t *frame, uint32_t size, uint32_t packet_size, struct port_offload_layout *layout)
{
    const struct pkt_md md = { 0 };
    struct extract_layers layers;
    struct key key;

    if (size < EXTRACT_RUNT)
        return false;
    extract_key(frame, size, packet_size, &md, NULL, &key, &layers);
    if (!layers.l4 || key.base.nw_frag)
        return false;
    *layout = (struct port_offload_layout){ .l3 = layers.l3, .l4 = layers.l4, .proto = key.base.nw_proto,
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

/* The bytes from l4 on that belong to the IP packet; frames may be padded. */
static uint32_t l4_size(const uint8_t *frame, const struct port_offload_layout *layout, uint32_t packet_size)
{
    uint32_t end = packet_size, ip;

    if (layout->ip6)
        ip = layout->l3 + (uint32_t)sizeof(struct rte_ipv6_hdr) + (uint32_t)(frame[layout->l3 + 4] << 8 | frame[layout->l3 + 5]);
    else
        ip = layout->l3 + (uint32_t)(frame[layout->l3 + 2] << 8 | frame[layout->l3 + 3]);
    return (ip < end ? ip : end) - layout->l4;
}

static void put_checksum(uint8_t *frame, const struct port_offload_layout *layout, uint16_t sum)
{
    sum = (uint16_t)~sum;
    if (!sum && layout->proto == IPPROTO_UDP)
        sum = 0xffff; /* 0 would say that there is none. */
    memcpy(frame + layout->checksum, &sum, sizeof sum);
}

void port_offload_complete(uint8_t *frame, uint32_t size)
{
    struct port_offload_layout layout;

    if (port_offload_parse(frame, size, size, &layout))
        put_checksum(frame, &layout, rte_raw_cksum(frame + layout.l4, l4_size(frame, &layout, size)));
}

static uint16_t pseudo_header(const uint8_t *frame, const struct port_offload_layout *layout)
{
    return layout->ip6 ? rte_ipv6_phdr_cksum((const struct rte_ipv6_hdr *)(frame + layout->l3), 0)
                       : rte_ipv4_phdr_cksum((const struct rte_ipv4_hdr *)(frame + layout->l3), 0);
}

void port_offload_detect(struct rte_mbuf *m)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    struct port_offload_layout layout;
    uint16_t sum;

    if (!port_offload_parse(frame, m->data_len, m->pkt_len, &layout))
        return;
    memcpy(&sum, frame + layout.checksum, sizeof sum);
    if (!sum || sum != pseudo_header(frame, &layout))
        return;
    m->ol_flags |= (layout.proto == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM) |
                   (layout.ip6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4);
    m->l2_len = layout.l3;
    m->l3_len = (uint16_t)(layout.l4 - layout.l3);
}

bool port_offload_finish(struct rte_mbuf *m)
{
    uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
    struct port_offload_layout layout;
    uint16_t sum;

    if (!port_offload_parse(frame, m->data_len, m->pkt_len, &layout) ||
        rte_raw_cksum_mbuf(m, layout.l4, l4_size(frame, &layout, m->pkt_len), &sum))
        return false;
    put_checksum(frame, &layout, sum);
    m->ol_flags &= ~PORT_OFFLOAD_FLAGS;
    return true;
}

/* --- Segments --------------------------------------------------------------------------------- */

/* A new packet with the headers of `m`, and `size` bytes of its payload from `at` on; NULL: no
 * mbuf. */
static struct rte_mbuf *cut(const struct rte_mbuf *m, const struct port_offload_layout *layout, uint32_t at, uint32_t size)
{
    struct rte_mbuf *first = rte_pktmbuf_copy(m, m->pool, 0, layout->payload), *rest, *last;

    if (!first)
        return NULL;
    first->ol_flags &= ~PORT_OFFLOAD_FLAGS;
    last = rte_pktmbuf_lastseg(first);
    if (rte_pktmbuf_tailroom(last) >= size) { /* The common case: one mbuf a segment. */
        uint8_t *to = (uint8_t *)rte_pktmbuf_append(first, (uint16_t)size);
        const void *from = rte_pktmbuf_read(m, at, size, to);

        if (from != to)
            memcpy(to, from, size);
        return first;
    }
    rest = rte_pktmbuf_copy(m, m->pool, at, size);
    if (!rest || rte_pktmbuf_chain(first, rest)) {
        rte_pktmbuf_free(rest);
        rte_pktmbuf_free(first);
        return NULL;
    }
    return first;
}

static void set_be16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* Makes the headers of the segment number `index`, whose payload starts `done` bytes into the
 * whole, true. */
static void fix_headers(struct rte_mbuf *segment, const struct port_offload_layout *layout, uint32_t index, uint32_t done, bool last)
{
    uint8_t *frame = rte_pktmbuf_mtod(segment, uint8_t *), *l4 = frame + layout->l4;
    uint32_t l4_bytes = segment->pkt_len - layout->l4;
    uint16_t sum;

    if (layout->ip6) {
        set_be16(frame + layout->l3 + 4, segment->pkt_len - layout->l3 - (uint32_t)sizeof(struct rte_ipv6_hdr));
    } else {
        struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(frame + layout->l3);

        set_be16(frame + layout->l3 + 2, segment->pkt_len - layout->l3);
        set_be16(frame + layout->l3 + 4, (uint32_t)(frame[layout->l3 + 4] << 8 | frame[layout->l3 + 5]) + index);
        ip->hdr_checksum = 0;
        ip->hdr_checksum = rte_ipv4_cksum(ip);
    }
    if (layout->proto == IPPROTO_TCP) {
        struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)l4;

        tcp->sent_seq = rte_cpu_to_be_32(rte_be_to_cpu_32(tcp->sent_seq) + done);
        if (index)
            tcp->tcp_flags &= (uint8_t)~RTE_TCP_CWR_FLAG;
        if (!last)
            tcp->tcp_flags &= (uint8_t)~(RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG);
    } else {
        set_be16(l4 + offsetof(struct rte_udp_hdr, dgram_len), l4_bytes);
    }
    sum = pseudo_header(frame, layout);
    memcpy(frame + layout->checksum, &sum, sizeof sum);
    if (!rte_raw_cksum_mbuf(segment, layout->l4, l4_bytes, &sum))
        put_checksum(frame, layout, sum);
}

uint32_t port_offload_end(const struct rte_mbuf *m, const struct port_offload_layout *layout)
{
    return layout->l4 + l4_size(rte_pktmbuf_mtod(m, const uint8_t *), layout, m->pkt_len);
}

struct rte_mbuf *port_offload_cut(const struct rte_mbuf *m, const struct port_offload_layout *layout, uint32_t index, uint32_t at,
                                  uint32_t size)
{
    struct rte_mbuf *segment = cut(m, layout, at, size);

    if (segment)
        fix_headers(segment, layout, index, at - layout->payload, at + size == port_offload_end(m, layout));
    return segment;
}
