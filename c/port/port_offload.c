/* SPDX-License-Identifier: Apache-2.0 */
#include "port/port_offload.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "packet/eal.h"
#include "packet/extract.h"
#include "pmd/pmd.h"

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

/* The same for a packet of which the pseudo header's sum stands in the field.  False: it has no such checksum. */
static bool complete(struct rte_mbuf *m)
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

/* --- Segments --------------------------------------------------------------------------------------------- */

/* A new packet with the headers of `m`, and `size` bytes of its payload from `at` on; NULL: no mbuf. */
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

/* Makes the headers of the segment number `index`, whose payload starts `done` bytes into the whole, true. */
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

/* Sends a packet in pieces that fit the MTU; takes it over. */
static void send_segments(struct pmd *pmd, struct pmd_tx *tx, struct rte_mbuf *m, const struct port_offload_layout *layout, uint32_t size)
{
    uint32_t end = layout->l4 + l4_size(rte_pktmbuf_mtod(m, const uint8_t *), layout, m->pkt_len);
    bool chains = tx->port->caps & PORT_CAP_CHAIN;

    for (uint32_t at = layout->payload, index = 0; at < end; index++) {
        uint32_t part = RTE_MIN(size, end - at);
        struct rte_mbuf *segment = cut(m, layout, at, part);

        if (!segment || (segment->nb_segs > 1 && !chains)) {
            stat_drop(pmd->stat, segment ? DROP_tx_oversize : DROP_no_mbuf, 1);
            rte_pktmbuf_free(segment);
            break; /* The receiver would drop what follows a gap anyhow, or ask for it again. */
        }
        fix_headers(segment, layout, index, at - layout->payload, at + part == end);
        pmd_send(pmd, tx, &segment, 1);
        at += part;
    }
    rte_pktmbuf_free(m);
}

/* --- One packet ------------------------------------------------------------------------------------------- */

/* A packet that nobody else looks at, in one mbuf if the port wants that.  NULL: it was dropped. */
static struct rte_mbuf *own(struct pmd *pmd, struct rte_mbuf *m, bool chains)
{
    bool shared = false;
    struct rte_mbuf *copy;

    for (const struct rte_mbuf *s = m; s; s = s->next)
        shared |= !RTE_MBUF_DIRECT(s) || rte_mbuf_refcnt_read(s) > 1;
    if (!shared && (chains || m->nb_segs == 1 || !rte_pktmbuf_linearize(m)))
        return m;
    copy = rte_pktmbuf_copy(m, m->pool, 0, UINT32_MAX);
    if (!copy) {
        pmd_drop(pmd, m, DROP_no_mbuf);
        return NULL;
    }
    rte_pktmbuf_free(m);
    if (!chains && copy->nb_segs > 1 && rte_pktmbuf_linearize(copy)) {
        pmd_drop(pmd, copy, DROP_tx_oversize); /* More than one mbuf holds. */
        return NULL;
    }
    return copy;
}

/* What is larger than the port's MTU: handed on, cut in pieces, or dropped. */
static void send_large(struct pmd *pmd, struct pmd_tx *tx, struct rte_mbuf *m)
{
    struct port *port = tx->port;
    struct port_offload_layout layout;
    uint32_t headers, size, mtu = atomic_load_explicit(&port->mtu, memory_order_relaxed);

    if (!port_offload_parse(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &layout) ||
        (layout.proto == IPPROTO_UDP && !(m->ol_flags & RTE_MBUF_F_TX_UDP_SEG))) {
        pmd_drop(pmd, m, DROP_tx_oversize);
        return;
    }
    headers = (uint32_t)(layout.payload - layout.l3);
    if (mtu <= headers) {
        pmd_drop(pmd, m, DROP_tx_oversize);
        return;
    }
    /* Without a size it was executed by a program, from an upcall that had it large: TCP may be cut anywhere. */
    size = m->ol_flags & PORT_OFFLOAD_SEG ? m->tso_segsz : mtu - headers;
    if (!size || size + headers > mtu)
        size = mtu - headers;
    send_segments(pmd, tx, m, &layout, size);
}

/* Whether the packet behind its VLAN tags is larger than the MTU. */
static bool too_large(const struct port *port, const struct rte_mbuf *m, uint32_t *mtu)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    uint32_t l2 = PORT_ETHERNET;

    while (l2 + 4 <= m->data_len && l2 < PORT_ETHERNET + 8 &&
           ((frame[l2 - 2] == 0x81 && frame[l2 - 1] == 0x00) || (frame[l2 - 2] == 0x88 && frame[l2 - 1] == 0xa8)))
        l2 += 4;
    *mtu = atomic_load_explicit(&port->mtu, memory_order_relaxed);
    return m->pkt_len > *mtu + l2;
}

static void send_one(struct pmd *pmd, struct pmd_tx *tx, struct rte_mbuf *m)
{
    struct port *port = tx->port;
    uint32_t mtu;

    if (too_large(port, m, &mtu) && !port_offload_cuts(port, m, mtu)) {
        /* The device may have been given a larger MTU since: asked once in a millisecond at most. */
        if (atomic_exchange_explicit(&port->mtu_asked_ms, pmd->now_ms, memory_order_relaxed) != pmd->now_ms)
            port_follow_mtu(port);
        if (too_large(port, m, &mtu) && !port_offload_cuts(port, m, mtu)) {
            send_large(pmd, tx, m);
            return;
        }
    }
    m = own(pmd, m, port->caps & PORT_CAP_CHAIN);
    if (!m)
        return;
    if ((m->ol_flags & PORT_OFFLOAD_FLAGS) && !(port->caps & PORT_CAP_CSUM) && !complete(m)) {
        pmd_drop(pmd, m, DROP_tx_error);
        return;
    }
    pmd_send(pmd, tx, &m, 1);
}

void port_offload_send(struct pmd *pmd, struct pmd_tx *tx, struct rte_mbuf **packets, unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        if (port_offload_needed(tx->port, packets[i]))
            send_one(pmd, tx, packets[i]);
        else
            pmd_send(pmd, tx, &packets[i], 1);
    }
}
