/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * Cutting of what Linux left in one piece, in encapsulations at random, against packets that are
 * built header by header for what each of them carries: cut to segments, and, above 64 KiB, split
 * to parts first as they are received. */
#include <linux/virtio_net.h>

#include <rte_mbuf.h>

#include "dp_fixture.h"
#include "packet/eal.h"
#include "segment/segment.h"
#include "segment_fixture.h"

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

/* Puts the option of RFC 2675 behind the innermost IPv6 header. */
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

/* Headers and wishes of a hostile sender: anything may come of them, within bounds. */
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
    /* No buffers: nothing is received, and those that were read to are ready again. */
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
