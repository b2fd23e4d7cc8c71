/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * Partial checksums of SCTP, which are completed when a packet is received: of any size, over one mbuf and over two, against a CRC32C by bits. */
#include <linux/virtio_net.h>

#include <rte_mbuf.h>

#include "dp_fixture.h"
#include "packet/eal.h"
#include "model_sum.h"
#include "port/port_vnet.h"

#define START 34u                    /* Ethernet and IPv4. */
#define FIELD 8u
#define MAX 65549u

/* Receives a frame as the kernel gives it; NULL: refused. */
static struct rte_mbuf *receive(struct vnet_buffer *b, const uint8_t *frame, uint32_t size, uint8_t gso)
{
    uint32_t first = size < EAL_FRAME_ROOM ? size : EAL_FRAME_ROOM;
    struct rte_mbuf *m;

    EQUAL(vnet_fill(b, 1), 1);
    b->header = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = gso, .csum_start = START, .csum_offset = FIELD };
    memcpy(b->parts[1].iov_base, frame, first);
    if (size > first)
        memcpy(b->parts[2].iov_base, frame + first, size - first);
    m = vnet_take(b, size + (uint32_t)sizeof b->header);
    CHECK(m);
    if (vnet_mark(m, &b->header))
        return m;
    rte_pktmbuf_free(m);
    return NULL;
}

static void check(struct vnet_buffer *b, uint32_t size)
{
    static uint8_t frame[MAX], got[MAX];
    struct rte_mbuf *m;
    uint32_t crc;

    for (uint32_t i = 0; i < size; i++)
        frame[i] = (uint8_t)rand();
    frame[12] = 0x08;
    frame[13] = 0;
    m = receive(b, frame, size, VIRTIO_NET_HDR_GSO_NONE);
    CHECK(m);
    EQUAL(m->ol_flags, 0);           /* Nothing is left to do. */
    EQUAL(m->nb_segs, size > EAL_FRAME_ROOM ? 2 : 1);
    memset(frame + START + FIELD, 0, 4);
    crc = model_crc32c(frame + START, size - START);
    for (int i = 0; i < 4; i++)      /* Least significant byte first: RFC 9260, appendix A. */
        frame[START + FIELD + (uint32_t)i] = (uint8_t)(crc >> 8 * i);
    CHECK(!memcmp(rte_pktmbuf_read(m, 0, size, got), frame, size));
    rte_pktmbuf_free(m);
}

int main(void)
{
    struct vnet_buffer buffer = { 0 };
    uint8_t frame[60] = { 0 };
    uint64_t before;

    EQUAL(model_crc32c((const uint8_t *)"123456789", 9), 0xe3069283u);
    fixture_start();
    before = fixture_mbufs();
    for (uint32_t size = START + FIELD + 4; size <= 200; size++)
        check(&buffer, size);
    for (uint32_t size = EAL_FRAME_ROOM - 5; size <= EAL_FRAME_ROOM + 70; size++)
        check(&buffer, size);
    for (uint32_t size = 4096; size < MAX; size = size * 3 / 2 + 1)
        check(&buffer, size);
    check(&buffer, MAX);
    /* No room for the field, or segments, which it cannot do. */
    CHECK(!receive(&buffer, frame, START + FIELD + 3, VIRTIO_NET_HDR_GSO_NONE));
    CHECK(!receive(&buffer, frame, sizeof frame, VIRTIO_NET_HDR_GSO_TCPV4));
    vnet_empty(&buffer, 1);
    EQUAL(fixture_mbufs(), before);
    return 0;
}
