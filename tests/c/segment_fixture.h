/* SPDX-License-Identifier: Apache-2.0
 * segment_fixture.h - packets of segment_model.h as they are received from the kernel. */
#ifndef UPCALL_SEGMENT_FIXTURE_H
#define UPCALL_SEGMENT_FIXTURE_H

#include <linux/virtio_net.h>

#include <rte_mbuf.h>

#include "dp_fixture.h"
#include "port/port_vnet.h"
#include "segment_model.h"

#define FRAME_MAX 540000u

static uint8_t payload[FRAME_MAX], frame[FRAME_MAX];
static __attribute__((unused)) uint8_t wanted[FRAME_MAX], got[FRAME_MAX];

/* Gives a frame to the buffer as the kernel does; returns what comes of it. */
static inline int receive(struct vnet_buffer *b, const uint8_t *bytes, uint32_t size, const struct virtio_net_hdr *header, struct rte_mbuf **packets)
{
    uint32_t at = 0;

    EQUAL(vnet_fill(b, 1), 1);
    b->header = *header;
    for (uint32_t i = 1; i < VNET_PARTS; i++) {
        const uint32_t part = RTE_MIN(size - at, (uint32_t)b->parts[i].iov_len);

        if (part) /* There may be no such place. */
            memcpy(b->parts[i].iov_base, bytes + at, part);
        at += part;
    }
    EQUAL(at, size);
    return vnet_receive(b, size + (uint32_t)sizeof *header, (struct vnet_tag){ 0 }, packets);
}

static inline struct virtio_net_hdr header_of(const struct stack *stack, uint32_t segment)
{
    const struct layer *transport = &stack->layers[stack->n - 1];
    const bool udp = transport->kind == UDP;
    const uint8_t tcp = transport[-1].kind == IP6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;

    return (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = udp ? 5 : tcp, .hdr_len = (uint16_t)stack->headers,
        .gso_size = (uint16_t)segment, .csum_start = (uint16_t)transport->at, .csum_offset = udp ? 6 : 16,
    };
}

#endif
