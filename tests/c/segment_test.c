/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * Cutting of what Linux left in one piece, in encapsulations at random, against packets that are built header by header for what each of
 * them carries: cut to segments, and, above 64 KiB, split to parts first as they are received. */
#include <linux/virtio_net.h>
#include <netinet/in.h>

#include <rte_mbuf.h>

#include "dp_fixture.h"
#include "packet/eal.h"
#include "model_sum.h"
#include "packet/segment.h"
#include "port/port_vnet.h"

#define LAYERS 12u
#define FRAME_MAX 540000u

enum kind { ETHERNET, TAG, MPLS, PPPOE, IP4, IP6, GRE, VXLAN, TCP, UDP };

struct layer {
    enum kind kind;
    uint32_t size, at;
    uint8_t bytes[120];              /* What does not depend on the rest. */
    bool sums;                       /* GRE, VXLAN: has a checksum. */
};

struct stack {
    struct layer layers[LAYERS];
    uint32_t n, headers, l3;
};

static uint32_t below(uint32_t n)
{
    return (uint32_t)rand() % n;
}

static struct layer *push(struct stack *stack, enum kind kind, uint32_t size)
{
    struct layer *layer = &stack->layers[stack->n++];

    CHECK(stack->n <= LAYERS);
    *layer = (struct layer){ .kind = kind, .size = size, .at = stack->headers };
    for (uint32_t i = 0; i < size; i++)
        layer->bytes[i] = (uint8_t)rand();
    stack->headers += size;
    return layer;
}

/* --- A stack of headers at random ------------------------------------------------------------- */

static void push_ip(struct stack *stack)
{
    const uint32_t more = below(4) ? 0 : 8 + 8 * below(3);
    struct layer *layer;

    if (below(2)) {
        layer = push(stack, IP4, 20 + more);
        layer->bytes[0] = (uint8_t)(0x45 + more / 4);
        model_put16(layer->bytes + 6, below(2) ? 0x4000 : 0);
        memset(layer->bytes + 20, 1, more);
        return;
    }
    layer = push(stack, IP6, 40 + more);
    layer->bytes[0] = 0x60;
    if (!below(4))                   /* An address that looks like another header. */
        memcpy(layer->bytes + 20, "\x45\x00\x00\x00", 4);
    if (more) {
        layer->bytes[41] = (uint8_t)(more / 8 - 1);
        memset(layer->bytes + 42, 0, more - 2);
    }
}

/* `opaque`: in what nobody looks into, where no header but IP's may have a length. */
static void push_link(struct stack *stack, bool opaque)
{
    push(stack, ETHERNET, 14);
    for (uint32_t i = below(3); i > 0; i--)
        push(stack, TAG, 4);
    if (!stack->l3)
        stack->l3 = stack->headers;
    if (!below(5))
        push(stack, MPLS, 4);
    else if (!below(5) && !opaque)
        push(stack, PPPOE, 8);
}

static void make_stack(struct stack *stack)
{
    struct layer *layer;

    *stack = (struct stack){ 0 };
    push_link(stack, false);
    push_ip(stack);
    switch (below(6)) {
    case 0:
        push_ip(stack);
        break;
    case 1:
        layer = push(stack, GRE, 4 + 4 * below(4));
        layer->sums = layer->size == 16 || (layer->size > 4 && below(2));
        if (below(2))
            push_link(stack, false);
        push_ip(stack);
        break;
    case 2:
        layer = push(stack, VXLAN, 16);
        layer->sums = below(2);
        push_link(stack, true);
        push_ip(stack);
        break;
    default:
        break;
    }
    if (below(4)) {
        layer = push(stack, TCP, 20 + 4 * below(11));
        layer->bytes[12] = (uint8_t)(layer->size / 4 << 4);
    } else {
        push(stack, UDP, 8);
    }
}

/* --- A packet of it --------------------------------------------------------------------------- */

/* EtherType, or protocol of IP, that leads to a layer. */
static uint32_t ether_type(const struct layer *next)
{
    switch (next->kind) {
    case TAG: return 0x8100;
    case MPLS: return 0x8847;
    case PPPOE: return 0x8864;
    case IP6: return 0x86dd;
    case ETHERNET: return 0x6558;
    default: return 0x0800;
    }
}

static uint8_t protocol(const struct layer *next)
{
    switch (next->kind) {
    case TCP: return IPPROTO_TCP;
    case GRE: return IPPROTO_GRE;
    case IP4: return IPPROTO_IPIP;
    case IP6: return IPPROTO_IPV6;
    default: return IPPROTO_UDP;
    }
}

/* The bytes that do not depend on the payload. */
static void put_types(const struct stack *stack, uint8_t *frame)
{
    for (uint32_t i = 0; i < stack->n; i++) {
        const struct layer *layer = &stack->layers[i], *next = layer + 1;
        uint8_t *at = frame + layer->at;

        memcpy(at, layer->bytes, layer->size);
        switch (layer->kind) {
        case ETHERNET:
            model_put16(at + 12, ether_type(next));
            break;
        case TAG:
            model_put16(at + 2, ether_type(next));
            break;
        case MPLS:
            at[2] |= 1;
            break;
        case PPPOE:
            model_put16(at + 6, next->kind == IP6 ? 0x57 : 0x21);
            break;
        case IP4:
            at[9] = protocol(next);
            break;
        case IP6:
            at[6] = layer->size > 40 ? IPPROTO_DSTOPTS : protocol(next);
            at[40] = layer->size > 40 ? protocol(next) : at[40];
            break;
        case GRE:
            model_put16(at, (layer->sums ? 0x8000u : 0) | (layer->size - 4 - 4 * layer->sums >= 4 ? 0x2000u : 0) |
                                (layer->size - 4 - 4 * layer->sums >= 8 ? 0x1000u : 0));
            model_put16(at + 2, ether_type(next));
            break;
        default:
            break;
        }
    }
}

static uint16_t pseudo(const struct stack *stack, uint32_t i, const uint8_t *frame, uint32_t size)
{
    const struct layer *ip = &stack->layers[i - 1];
    const uint32_t sum = (size >> 16) + (size & 0xffff) + (stack->layers[i].kind == TCP ? IPPROTO_TCP : IPPROTO_UDP);

    return ip->kind == IP6 ? model_sum(frame + ip->at + 8, 32, sum) : model_sum(frame + ip->at + 12, 8, sum);
}

static void put_sum(uint8_t *at, uint32_t sum, bool udp)
{
    sum = ~sum & 0xffff;
    model_put16(at, !sum && udp ? 0xffff : sum);
}

/* One of a transport header, or of VXLAN's UDP.  `partial`: the pseudo header's alone. */
static void put_transport(const struct stack *stack, uint32_t i, uint8_t *frame, uint32_t end, bool partial)
{
    const struct layer *layer = &stack->layers[i];
    uint8_t *at = frame + layer->at, *field = at + (layer->kind == TCP ? 16 : 6);
    uint32_t sum = pseudo(stack, i, frame, end - layer->at);

    model_put16(field, 0);
    if (partial)
        model_put16(field, sum);
    else
        put_sum(field, model_sum(at, end - layer->at, sum), layer->kind != TCP);
}

struct packet {
    uint32_t first, size;            /* Of the payload. */
    uint32_t before;                 /* Segments in front of it. */
    bool last, partial;
};

/* Builds a packet, lengths and checksums from the inside out; returns its size.  What was left partial is completed for the checksums
 * outside of it, which count on that. */
static uint32_t build(const struct stack *stack, const uint8_t *payload, const struct packet *packet, uint8_t *frame)
{
    const uint32_t end = stack->headers + packet->size, last = stack->n - 1;

    put_types(stack, frame);
    memcpy(frame + stack->headers, payload + packet->first, packet->size);
    for (uint32_t i = stack->n; i-- > 0;) {
        const struct layer *layer = &stack->layers[i];
        uint8_t *at = frame + layer->at;
        const uint32_t size = end - layer->at;
        uint32_t word;

        switch (layer->kind) {
        case TCP:
            word = ((uint32_t)at[4] << 24 | (uint32_t)(at[5] << 16 | at[6] << 8 | at[7])) + packet->first;
            model_put16(at + 4, word >> 16);
            model_put16(at + 6, word & 0xffff);
            at[13] &= (uint8_t)~((packet->first ? 0x80 : 0) | (packet->last ? 0 : 0x09));
            break;
        case UDP: case VXLAN:
            model_put16(at + 4, size & 0xffff);
            break;
        case PPPOE:
            model_put16(at + 4, (size - 6) & 0xffff);
            break;
        case IP4:
            model_put16(at + 2, size > 0xffff ? 0 : size);
            model_put16(at + 4, ((uint32_t)(at[4] << 8 | at[5]) + packet->before) & 0xffff);
            model_put16(at + 10, 0);
            put_sum(at + 10, model_sum(at, layer->size, 0), false);
            break;
        case IP6:
            model_put16(at + 4, size - 40 > 0xffff ? 0 : size - 40);
            break;
        default:
            break;
        }
    }
    put_transport(stack, last, frame, end, false);
    for (uint32_t i = last; i-- > 0;) {
        uint8_t *at = frame + stack->layers[i].at;

        if (stack->layers[i].kind == VXLAN && stack->layers[i].sums)
            put_transport(stack, i, frame, end, false);
        else if (stack->layers[i].kind == VXLAN)
            model_put16(at + 6, 0);
        if (stack->layers[i].kind == GRE && stack->layers[i].sums) {
            memset(at + 4, 0, 2);
            put_sum(at + 4, model_sum(at, end - stack->layers[i].at, 0), false);
        }
    }
    if (packet->partial)
        put_transport(stack, last, frame, end, true);
    return end;
}

/* --- Received, and compared ------------------------------------------------------------------- */

static uint8_t payload[FRAME_MAX], frame[FRAME_MAX], wanted[FRAME_MAX], got[FRAME_MAX];

/* Gives a frame to the buffer as the kernel does; returns what comes of it. */
static int receive(struct vnet_buffer *b, const uint8_t *bytes, uint32_t size, const struct virtio_net_hdr *header, struct rte_mbuf **packets)
{
    uint32_t at = 0;

    EQUAL(vnet_fill(b, 1), 1);
    b->header = *header;
    for (uint32_t i = 1; i < VNET_PARTS; i++) {
        const uint32_t part = RTE_MIN(size - at, (uint32_t)b->parts[i].iov_len);

        memcpy(b->parts[i].iov_base, bytes + at, part);
        at += part;
    }
    EQUAL(at, size);
    return vnet_receive(b, size + (uint32_t)sizeof *header, (struct vnet_tag){ 0 }, packets);
}

static struct virtio_net_hdr header_of(const struct stack *stack, uint32_t segment)
{
    const struct layer *transport = &stack->layers[stack->n - 1];
    const bool udp = transport->kind == UDP;
    const uint8_t tcp = transport[-1].kind == IP6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;

    return (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = udp ? 5 : tcp, .hdr_len = (uint16_t)stack->headers,
        .gso_size = (uint16_t)segment, .csum_start = (uint16_t)transport->at, .csum_offset = udp ? 6 : 16,
    };
}

static void describe(const struct stack *stack)
{
    for (uint32_t i = 0; i < stack->n; i++)
        fprintf(stderr, "kind %d at %u, ", stack->layers[i].kind, stack->layers[i].at);
}

static void same(const struct stack *stack, const struct rte_mbuf *m, uint32_t size)
{
    const uint8_t *bytes = rte_pktmbuf_read(m, 0, m->pkt_len, got);

    EQUAL(m->pkt_len, size);
    for (uint32_t i = 0; i < size; i++)
        if (bytes[i] != wanted[i]) {
            describe(stack);
            FAIL("byte %u of %u is %02x, not %02x", i, size, bytes[i], wanted[i]);
        }
}

/* Cuts a packet with the payload from `first` on, and compares every segment. */
static void check_cut(const struct stack *stack, struct rte_mbuf *m, uint32_t first, uint32_t size, uint32_t segment, uint32_t whole)
{
    struct segment_plan plan;

    if (segment_plan(m, stack->headers - stack->l3 + segment, &plan) != SEGMENT_CAN) {
        describe(stack);
        FAIL("%u bytes by %u cannot be cut", size, segment);
    }
    EQUAL(plan.count, (size + segment - 1) / segment);
    for (uint32_t i = 0; i < plan.count; i++) {
        const uint32_t at = first + i * segment, part = RTE_MIN(segment, first + size - at);
        const struct packet packet = { .first = at, .size = part, .before = at / segment, .last = at + part == whole };
        struct rte_mbuf *cut = segment_cut(m, &plan, i);

        CHECK(cut);
        same(stack, cut, build(stack, payload, &packet, wanted));
        rte_pktmbuf_free(cut);
    }
}

static void try_whole(struct vnet_buffer *b)
{
    struct rte_mbuf *packets[VNET_PACKETS];
    struct virtio_net_hdr header;
    struct packet packet = { .last = true, .partial = true };
    struct stack stack;
    uint32_t segment, size;

    make_stack(&stack);
    segment = 200 + below(1300);
    packet.size = segment + 1 + below(below(2) ? 4000 : 63000);
    size = build(&stack, payload, &packet, frame);
    header = header_of(&stack, segment);
    EQUAL(receive(b, frame, size, &header, packets), 1);
    check_cut(&stack, packets[0], 0, packet.size, segment, packet.size);
    rte_pktmbuf_free(packets[0]);
}

/* Puts the option of RFC 2675 behind the first IPv6 header, as Linux does where nothing encapsulates it. */
static uint32_t add_option(const struct stack *stack, uint32_t size, struct virtio_net_hdr *header)
{
    const struct layer *ip = &stack->layers[stack->n - 2];
    const uint32_t at = ip->at + 40, length = size + 8 - at;
    const uint8_t option[8] = { frame[ip->at + 6], 0, 0xc2, 4, (uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length };

    memmove(frame + at + 8, frame + at, size - at);
    memcpy(frame + at, option, 8);
    frame[ip->at + 6] = 0;
    header->csum_start = (uint16_t)(header->csum_start + 8);
    header->hdr_len = (uint16_t)(header->hdr_len + 8);
    return size + 8;
}

/* Parts ask for what the packet asked for, and together they are it. */
static void try_large(struct vnet_buffer *b)
{
    struct packet packet = { .last = true, .partial = true };
    struct rte_mbuf *packets[VNET_PACKETS];
    struct virtio_net_hdr header;
    struct stack stack;
    uint32_t segment, size, at = 0;
    int n;

    make_stack(&stack);
    segment = below(8) ? 600 + below(1000) : 20000 + below(40000);
    packet.size = 65536 + below(below(2) ? 3000 : 458000);
    size = build(&stack, payload, &packet, frame);
    header = header_of(&stack, segment);
    if (stack.layers[stack.n - 2].kind == IP6 && below(2))
        size = add_option(&stack, size, &header);
    n = receive(b, frame, size, &header, packets);
    CHECK(n > 1 && n <= VNET_PACKETS);
    for (int i = 0; i < n; i++) {
        const uint32_t part = packets[i]->pkt_len - stack.headers;
        const struct packet want = { .first = at, .size = part, .before = at / segment, .last = at + part == packet.size, .partial = true };

        CHECK(part <= UINT16_MAX && (part % segment == 0 || want.last));
        same(&stack, packets[i], build(&stack, payload, &want, wanted));
        EQUAL((packets[i]->ol_flags & PARTIAL_SEG) != 0, part > segment);
        if (part > segment && segment < 2000)
            check_cut(&stack, packets[i], at, part, segment, packet.size);
        at += part;
        rte_pktmbuf_free(packets[i]);
    }
    EQUAL(at, packet.size);
}

/* Headers and wishes of a hostile sender: anything may come of them, but no more than can. */
static void try_hostile(struct vnet_buffer *b)
{
    struct packet packet = { .size = below(2) ? 66000 + below(450000) : below(5000), .last = true, .partial = true };
    struct rte_mbuf *packets[VNET_PACKETS];
    struct virtio_net_hdr header;
    struct stack stack;
    uint32_t size;
    int n;

    make_stack(&stack);
    size = build(&stack, payload, &packet, frame);
    header = header_of(&stack, below(3) ? below(70000) : 1448);
    for (uint32_t i = below(6); i > 0; i--)
        frame[below(stack.headers)] = (uint8_t)rand();
    if (!below(3))
        header.csum_start = (uint16_t)(header.csum_start + below(100) - 50);
    if (!below(4))
        header.gso_type = (uint8_t)below(6);
    if (!below(8))
        header.csum_offset = (uint16_t)below(80);
    n = receive(b, frame, below(6) ? size : RTE_MIN(size, below(stack.headers + 50)), &header, packets);
    CHECK(n >= 0 && n <= VNET_PACKETS);
    for (int i = 0; i < n; i++) {
        struct segment_plan plan;

        CHECK(packets[i]->pkt_len <= UINT16_MAX);
        if (segment_plan(packets[i], 1500, &plan) == SEGMENT_CAN) {
            CHECK(plan.count <= SEGMENT_MOST);
            for (uint32_t k = 0; k < plan.count; k += plan.count > 1 ? plan.count - 1 : 1)
                rte_pktmbuf_free(segment_cut(packets[i], &plan, k));
        }
        rte_pktmbuf_free(packets[i]);
    }
}

int main(void)
{
    struct vnet_buffer buffer = { 0 };
    struct rte_mbuf *packets[VNET_PACKETS], *taken[20000];
    struct virtio_net_hdr header;
    struct packet packet = { .size = 200000, .last = true, .partial = true };
    struct stack stack;
    uint32_t n = 0, size;
    uint64_t before;

    fixture_start();
    before = fixture_mbufs();
    buffer.more = malloc(VNET_MORE);
    for (uint32_t i = 0; i < FRAME_MAX; i++)
        payload[i] = (uint8_t)rand();
    for (int i = 0; i < 400; i++)
        try_whole(&buffer);
    for (int i = 0; i < 60; i++)
        try_large(&buffer);
    for (int i = 0; i < 3000; i++)
        try_hostile(&buffer);
    /* No buffers: nothing of it is received, and the buffers that were read to are ready again. */
    make_stack(&stack);
    size = build(&stack, payload, &packet, frame);
    header = header_of(&stack, 1448);
    EQUAL(vnet_fill(&buffer, 1), 1);
    while (n < 20000 && (taken[n] = rte_pktmbuf_alloc(eal_pool_large())) != NULL)
        n++;
    EQUAL(receive(&buffer, frame, size, &header, packets), -1);
    rte_pktmbuf_free_bulk(taken, n);
    CHECK(receive(&buffer, frame, size, &header, packets) == 4);
    rte_pktmbuf_free_bulk(packets, 4);
    vnet_empty(&buffer, 1);
    EQUAL(fixture_mbufs(), before);
    free(buffer.more);
    return 0;
}
