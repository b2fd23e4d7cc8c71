/* SPDX-License-Identifier: Apache-2.0 */
#include "port/port_vnet.h"

#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#include "link/link_wrap.h"
#include "packet/csum.h"
#include "packet/eal.h"
#include "packet/partial.h"
#include "segment/segment.h"
#include "segment/segment_wrapped.h"

/* Missing in older headers. */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define TCP_CHECKSUM 16          /* csum_offset. */
#define UDP_CHECKSUM 6
#define SCTP_CHECKSUM 8

/* Stands in for a large buffer where none is to be had: for one packet at a time, which is then
 * copied to small ones. */
static _Thread_local uint8_t spare[EAL_LARGE_ROOM];
/* The same of what a large buffer does not hold: what of it a packet in the making lies in. */
static _Thread_local struct rte_mbuf views[(VNET_MORE + EAL_LARGE_ROOM - 1) / EAL_LARGE_ROOM];
static _Thread_local bool registered;
static _Thread_local struct vnet_buffer own[VNET_BATCH];
static pthread_key_t ends;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void end_thread(void *arg)
{
    (void)arg;
    vnet_empty(own, VNET_BATCH);
    if (own[0].more)
        munmap(own[0].more, (size_t)VNET_BATCH * VNET_MORE);
}

/* Memory that is there once it is written to. */
static void map_more(void)
{
    uint8_t *more = mmap(NULL, (size_t)VNET_BATCH * VNET_MORE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    for (uint32_t i = 0; i < VNET_BATCH && more != MAP_FAILED; i++)
        own[i].more = more + (size_t)i * VNET_MORE;
}

static void make_key(void)
{
    pthread_key_create(&ends, end_thread);
}

struct vnet_buffer *vnet_buffers(void)
{
    if (unlikely(!registered)) {
        registered = true;
        map_more();
        pthread_once(&once, make_key);
        pthread_setspecific(ends, own);
    }
    return own;
}

unsigned int vnet_fill(struct vnet_buffer *buffers, unsigned int n)
{
    struct rte_mempool *large = eal_pool_large();

    for (unsigned int i = 0; i < n; i++) {
        struct vnet_buffer *b = &buffers[i];
        uint8_t *rest;

        if (!b->m)
            b->m = rte_pktmbuf_alloc(eal_pool());
        if (!b->m)
            return i;
        if (!b->large && large)
            b->large = rte_pktmbuf_alloc(large);
        rest = b->large ? rte_pktmbuf_mtod(b->large, uint8_t *) : buffers == own ? spare : NULL;
        if (!b->large && i) /* Fewer at once, but every one of them whole. */
            return i;
        b->parts[0] = (struct iovec){ &b->header, sizeof b->header };
        b->parts[1] = (struct iovec){ rte_pktmbuf_mtod(b->m, void *), EAL_FRAME_ROOM };
        b->parts[2] = (struct iovec){ rest, rest ? EAL_LARGE_ROOM : 0 };
        b->parts[3] = (struct iovec){ b->more, b->large && b->more ? VNET_MORE : 0 };
    }
    return n;
}

/* Hangs the rest of a frame, which had no large buffer to go to, behind its first mbuf. */
static bool append_copy(struct rte_mbuf *m, const uint8_t *rest, uint32_t size)
{
    struct rte_mbuf *last = m;

    while (size) {
        const uint32_t part = RTE_MIN(size, EAL_FRAME_ROOM);
        struct rte_mbuf *next = rte_pktmbuf_alloc(eal_pool());

        if (!next)
            return false;
        memcpy(rte_pktmbuf_mtod(next, uint8_t *), rest, part);
        next->data_len = (uint16_t)part;
        last->next = next;
        last = next;
        m->nb_segs++;
        rest += part;
        size -= part;
    }
    return true;
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

    if (size < sizeof b->header || size - sizeof b->header > EAL_FRAME_ROOM + b->parts[2].iov_len)
        return NULL;
    size -= (uint32_t)sizeof b->header;
    b->m = NULL;
    m->pkt_len = size;
    m->data_len = (uint16_t)RTE_MIN(size, (uint32_t)EAL_FRAME_ROOM);
    if (size <= EAL_FRAME_ROOM)
        return m;
    if (b->large) {
        b->large->data_len = (uint16_t)(size - EAL_FRAME_ROOM);
        b->large->pkt_len = b->large->data_len;
        m->next = b->large;
        m->nb_segs = 2;
        b->large = NULL;
    } else if (!append_copy(m, b->parts[2].iov_base, size - EAL_FRAME_ROOM)) {
        rte_pktmbuf_free(m);
        return NULL;
    }
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

struct vnet_tag vnet_tag_of(struct msghdr *message)
{
    struct vnet_tag tag = { 0 };

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        struct tpacket_auxdata aux;

        if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
            continue;
        memcpy(&aux, CMSG_DATA(c), sizeof aux);
        if (aux.tp_status & TP_STATUS_VLAN_VALID)
            tag = (struct vnet_tag){ aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : RTE_ETHER_TYPE_VLAN, aux.tp_vlan_tci };
    }
    return tag;
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

/* The size of the IP header in front of the transport header, for what the MTU leaves of a
 * segment. */
static uint32_t ip_size(const uint8_t *frame, uint32_t start, bool ip6)
{
    for (uint32_t size = 20; size <= 60 && size + PARTIAL_ETHERNET <= start && !ip6; size += 4)
        if (frame[start - size] == (0x40 | size / 4))
            return size;
    return 40;
}

/* The size of the transport header; 0: it is not all there, or of another protocol. */
static uint32_t transport_size(const struct rte_mbuf *m, const struct virtio_net_hdr *header)
{
    const uint32_t start = header->csum_start;
    uint32_t size = header->csum_offset == UDP_CHECKSUM ? 8 : 0;

    /* Which has been seen to be there, so the byte is too. */
    if (header->csum_offset == TCP_CHECKSUM)
        size = (rte_pktmbuf_mtod_offset(m, const uint8_t *, start)[12] >> 4) * 4u;
    return (header->csum_offset == TCP_CHECKSUM && size < 20) || start + size > m->data_len ? 0 : size;
}

/* What a packet asks for besides a checksum.  False: what nobody can do. */
static bool mark_segments(const struct virtio_net_hdr *header, uint64_t *flags)
{
    switch (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_NONE:
        return true;
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV6:
        if (header->csum_offset != TCP_CHECKSUM)
            return false;
        *flags |= RTE_MBUF_F_TX_TCP_SEG;
        return header->gso_size;
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        *flags |= RTE_MBUF_F_TX_UDP_SEG;
        return header->csum_offset == UDP_CHECKSUM && header->gso_size;
    default:
        return false;
    }
}

bool vnet_mark(struct rte_mbuf *m, const struct virtio_net_hdr *header)
{
    const uint32_t start = header->csum_start;
    /* Of those whose sum is like this, TCP's alone has another name. */
    uint64_t flags = RTE_MBUF_F_TX_UDP_CKSUM;
    const bool ip6 = (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV6;
    uint32_t l4;

    if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
        return header->gso_type == VIRTIO_NET_HDR_GSO_NONE;
    if (start < PARTIAL_ETHERNET || header->csum_offset > 126 || start + header->csum_offset + 2u > m->data_len)
        return false;
    if (header->csum_offset == SCTP_CHECKSUM)
        return header->gso_type == VIRTIO_NET_HDR_GSO_NONE && complete_sctp(m, start);
    if (header->csum_offset == TCP_CHECKSUM)
        flags = RTE_MBUF_F_TX_TCP_CKSUM;
    l4 = transport_size(m, header);
    if (!mark_segments(header, &flags) || (!l4 && (flags & PARTIAL_SEG)))
        return false;
    partial_mark(m, start, header->csum_offset, flags | (ip6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4));
    m->l3_len = ip_size(rte_pktmbuf_mtod(m, const uint8_t *), start, ip6);
    m->l4_len = l4;
    m->tso_segsz = flags & PARTIAL_SEG ? header->gso_size : 0;
    return true;
}

/* --- What is larger than an IP packet --------------------------------------------------------- */

/* The whole of it as one chain, of which all but the first two mbufs are views: not to be freed. */
static struct rte_mbuf *chain_up(struct vnet_buffer *b, uint32_t size)
{
    struct rte_mbuf *m = b->m, *last = b->large;

    m->pkt_len = size;
    m->data_len = EAL_FRAME_ROOM;
    m->next = b->large;
    m->nb_segs = 2;
    b->large->data_len = EAL_LARGE_ROOM;
    size -= EAL_FRAME_ROOM + EAL_LARGE_ROOM;
    for (uint32_t i = 0, at = 0; at < size; i++) {
        views[i] = (struct rte_mbuf){ .buf_addr = b->more + at, .data_len = (uint16_t)RTE_MIN(size - at, EAL_LARGE_ROOM) };
        at += views[i].data_len;
        last->next = &views[i];
        last = &views[i];
        m->nb_segs++;
    }
    return m;
}

/* Its mbufs are ready to be read to again. */
static void take_apart(struct vnet_buffer *b)
{
    rte_pktmbuf_reset(b->m);
    rte_pktmbuf_reset(b->large);
    b->m->next = b->large->next = NULL;
}

static int split(const struct rte_mbuf *m, const struct segment_plan *plan, struct rte_mbuf **packets)
{
    struct rte_mempool *large = eal_pool_large();
    struct rte_mbuf *rest[VNET_PACKETS];

    _Static_assert(VNET_PACKETS == SEGMENT_PARTS && EAL_LARGE_ROOM == SEGMENT_PART_ROOM, "a part fits");
    if (!large || rte_pktmbuf_alloc_bulk(eal_pool(), packets, plan->count))
        return -1;
    if (rte_pktmbuf_alloc_bulk(large, rest, plan->count)) {
        rte_pktmbuf_free_bulk(packets, plan->count);
        return -1;
    }
    for (uint32_t i = 0; i < plan->count; i++)
        segment_split(m, plan, i, packets[i], rest[i]);
    return (int)plan->count;
}

int vnet_receive(struct vnet_buffer *b, uint32_t size, struct vnet_tag tag, struct rte_mbuf *packets[VNET_PACKETS])
{
    const uint32_t room = sizeof b->header + EAL_FRAME_ROOM + EAL_LARGE_ROOM;
    const bool viewed = size > room && b->large && size - room <= b->parts[3].iov_len;
    struct rte_mbuf *m = viewed ? chain_up(b, size - (uint32_t)sizeof b->header) : vnet_take(b, size);
    struct segment_plan plan;
    int n = 0;

    if (!m)
        return 0;
    if (tag.tpid)
        vnet_tag(b, m, tag.tpid, tag.tci);
    if (vnet_mark(m, &b->header)) {
        const bool too_large = viewed || (m->pkt_len > UINT16_MAX && (m->ol_flags & PARTIAL_SEG));

        packets[0] = m;
        if (!too_large)
            return 1;
        n = segment_split_plan(m, &plan) ? split(m, &plan, packets) : 0;
    }
    if (viewed)
        take_apart(b);
    else
        rte_pktmbuf_free(m);
    return n;
}

/* --- Sending ---------------------------------------------------------------------------------- */

static uint8_t gso_type(const struct rte_mbuf *m)
{
    if (!(m->ol_flags & PARTIAL_SEG))
        return VIRTIO_NET_HDR_GSO_NONE;
    if (m->ol_flags & RTE_MBUF_F_TX_UDP_SEG)
        return VIRTIO_NET_HDR_GSO_UDP_L4;
    return m->ol_flags & RTE_MBUF_F_TX_IPV6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
}

unsigned int vnet_parts(struct rte_mbuf *m, struct virtio_net_hdr *header, struct iovec parts[VNET_SEGMENTS + 1])
{
    unsigned int n = 1;

    memset(header, 0, sizeof *header);
    if (m->ol_flags & PARTIAL_FLAGS) {
        struct partial partial;

        if (!partial_get(m, &partial) || partial.payload > UINT16_MAX)
            return 0;
        header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        header->csum_start = (uint16_t)partial.start;
        header->csum_offset = (uint16_t)(partial.field - partial.start);
        header->gso_type = gso_type(m);
        if (header->gso_type != VIRTIO_NET_HDR_GSO_NONE) {
            header->gso_size = m->tso_segsz;
            header->hdr_len = (uint16_t)partial.payload;
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

bool vnet_wrap(const struct rte_mbuf *m, struct msghdr *message, union vnet_ancillary *ancillary)
{
    struct segment_wrapped wrapped;
    uint32_t mark;

    _Static_assert(SEGMENT_WRAPPED_MOST == LINK_WRAP_MOST, "it takes all that is found");
    if (!(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) || !segment_wrapped(m, &wrapped))
        return false;
    mark = link_wrap_mark(wrapped.inner, wrapped.ip6, wrapped.gre);
    message->msg_control = ancillary;
    message->msg_controllen = CMSG_SPACE(sizeof mark);
    ancillary->align = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof mark), .cmsg_level = SOL_SOCKET, .cmsg_type = SO_MARK };
    memcpy(CMSG_DATA(&ancillary->align), &mark, sizeof mark);
    return true;
}
