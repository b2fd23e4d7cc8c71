/* SPDX-License-Identifier: Apache-2.0 */
#include "port/port_vnet.h"

#include <netinet/in.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_mbuf.h>

#include "packet/csum.h"
#include "packet/eal.h"
#include "port/port_offload.h"

/* Missing in older headers. */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define TCP_CHECKSUM 16          /* csum_offset. */
#define UDP_CHECKSUM 6
#define SCTP_CHECKSUM 8

unsigned int vnet_fill(struct vnet_buffer *buffers, unsigned int n)
{
    struct rte_mempool *large = eal_pool_large();

    for (unsigned int i = 0; i < n; i++) {
        struct vnet_buffer *b = &buffers[i];

        if (!b->m)
            b->m = rte_pktmbuf_alloc(eal_pool());
        if (!b->m)
            return i;
        if (!b->large && large)
            b->large = rte_pktmbuf_alloc(large);
        b->parts[0] = (struct iovec){ &b->header, sizeof b->header };
        b->parts[1] = (struct iovec){ rte_pktmbuf_mtod(b->m, void *), EAL_FRAME_ROOM };
        b->parts[2] = (struct iovec){ b->large ? rte_pktmbuf_mtod(b->large, void *) : NULL, b->large ? EAL_LARGE_ROOM : 0 };
    }
    return n;
}

void vnet_empty(struct vnet_buffer *buffers, unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        rte_pktmbuf_free(buffers[i].m);
        rte_pktmbuf_free(buffers[i].large);
        buffers[i].m = buffers[i].large = NULL;
    }
}

struct rte_mbuf *vnet_take(struct vnet_buffer *b, uint32_t size)
{
    struct rte_mbuf *m = b->m;

    if (size < sizeof b->header || size - sizeof b->header > EAL_FRAME_ROOM + (b->large ? EAL_LARGE_ROOM : 0))
        return NULL;
    size -= (uint32_t)sizeof b->header;
    m->pkt_len = size;
    m->data_len = (uint16_t)RTE_MIN(size, (uint32_t)EAL_FRAME_ROOM);
    if (size > EAL_FRAME_ROOM) {
        b->large->data_len = (uint16_t)(size - EAL_FRAME_ROOM);
        b->large->pkt_len = b->large->data_len;
        m->next = b->large;
        m->nb_segs = 2;
        b->large = NULL;
    }
    b->m = NULL;
    return m;
}

void vnet_tag(struct vnet_buffer *b, struct rte_mbuf *m, uint16_t tpid, uint16_t tci)
{
    const uint8_t tag[4] = { (uint8_t)(tpid >> 8), (uint8_t)tpid, (uint8_t)(tci >> 8), (uint8_t)tci };
    uint8_t *frame;

    frame = m->data_len < 12 ? NULL : (uint8_t *)rte_pktmbuf_prepend(m, sizeof tag);
    if (!frame)
        return;
    memmove(frame, frame + sizeof tag, 12);
    memcpy(frame + 12, tag, sizeof tag);
    if (b->header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        b->header.csum_start = (uint16_t)(b->header.csum_start + sizeof tag);
        b->header.hdr_len = (uint16_t)(b->header.hdr_len + sizeof tag);
    }
}

/* Bytes before the network header. */
static uint32_t l2_size(const struct rte_mbuf *m)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    uint32_t size = PORT_ETHERNET;

    while (size + 4 <= m->data_len && size < PORT_ETHERNET + 8 &&
           ((frame[size - 2] == 0x81 && frame[size - 1] == 0x00) || (frame[size - 2] == 0x88 && frame[size - 1] == 0xa8)))
        size += 4;
    return size;
}

/* SCTP's checksum is a CRC32C, of which a virtio-net header can be read but which it cannot ask
 * for: it is completed at once, over all that follows, as the kernel does. */
static bool complete_sctp(struct rte_mbuf *m, uint32_t start)
{
    uint8_t *field = rte_pktmbuf_mtod_offset(m, uint8_t *, start + SCTP_CHECKSUM);
    uint32_t crc = UINT32_MAX;

    if (start + SCTP_CHECKSUM + sizeof crc > m->data_len)
        return false;
    memset(field, 0, sizeof crc);
    for (struct rte_mbuf *s = m; s; s = s->next) {
        crc = csum_crc32c(crc, rte_pktmbuf_mtod_offset(s, const uint8_t *, start), s->data_len - start);
        start = 0;
    }
    crc = rte_cpu_to_le_32(~crc);
    memcpy(field, &crc, sizeof crc);
    return true;
}

bool vnet_mark(struct rte_mbuf *m, const struct virtio_net_hdr *header)
{
    uint32_t l2 = l2_size(m);

    if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
        return header->gso_type == VIRTIO_NET_HDR_GSO_NONE;
    if (header->csum_start < l2 || header->csum_start + header->csum_offset + 2u > m->data_len)
        return false;
    if (header->csum_offset == SCTP_CHECKSUM)
        return header->gso_type == VIRTIO_NET_HDR_GSO_NONE && complete_sctp(m, header->csum_start);
    m->l2_len = l2;
    m->l3_len = header->csum_start - l2;
    if (header->csum_offset == TCP_CHECKSUM)
        m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
    else if (header->csum_offset == UDP_CHECKSUM)
        m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
    else
        return false;
    m->ol_flags |= rte_pktmbuf_mtod_offset(m, const uint8_t *, l2)[0] >> 4 == 6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
    switch (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_NONE:
        return true;
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV6:
        m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
        break;
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        m->ol_flags |= RTE_MBUF_F_TX_UDP_SEG;
        break;
    default:
        return false;
    }
    m->tso_segsz = header->gso_size;
    m->l4_len = header->hdr_len > header->csum_start ? header->hdr_len - header->csum_start : 0;
    return header->gso_size != 0;
}

static uint8_t gso_type(const struct rte_mbuf *m, const struct port_offload_layout *layout)
{
    if (!(m->ol_flags & PORT_OFFLOAD_SEG))
        return VIRTIO_NET_HDR_GSO_NONE;
    if (layout->proto == IPPROTO_UDP)
        return VIRTIO_NET_HDR_GSO_UDP_L4;
    return layout->ip6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
}

unsigned int vnet_parts(struct rte_mbuf *m, struct virtio_net_hdr *header, struct iovec parts[VNET_SEGMENTS + 1])
{
    unsigned int n = 1;

    memset(header, 0, sizeof *header);
    if (m->ol_flags & PORT_OFFLOAD_FLAGS) {
        struct port_offload_layout layout;

        /* Read again from the packet, which actions may have changed. */
        if (!port_offload_parse(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &layout))
            return 0;
        header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        header->csum_start = layout.l4;
        header->csum_offset = (uint16_t)(layout.checksum - layout.l4);
        header->gso_type = gso_type(m, &layout);
        if (header->gso_type != VIRTIO_NET_HDR_GSO_NONE) {
            header->gso_size = m->tso_segsz;
            header->hdr_len = layout.payload;
        }
    }
    parts[0] = (struct iovec){ header, sizeof *header };
    for (struct rte_mbuf *s = m; s; s = s->next) {
        if (n > VNET_SEGMENTS)
            return 0;
        parts[n++] = (struct iovec){ rte_pktmbuf_mtod(s, void *), s->data_len };
    }
    return n;
}
