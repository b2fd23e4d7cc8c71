/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * Which packets Linux may be given to cut inside their tunnels: those whose outer headers it can
 * repeat as they are, and no others, whatever is in them. */
#include <rte_mbuf.h>

#include "segment/segment_wrapped.h"
#include "segment_fixture.h"

static uint32_t wraps, refusals, nested;

static bool is_plain_ip(const struct layer *ip)
{
    return (ip->kind == IP4 && ip->size == 20) || (ip->kind == IP6 && ip->size == 40);
}

/* By the definition: Ethernet, IP, UDP or GRE without sums and numbers, Ethernet and tags, IP. */
static bool is_wrapped(const struct stack *stack)
{
    const struct layer *at = stack->layers, *ip = &stack->layers[stack->n - 2], *outer = at + 2;

    if (at[0].kind != ETHERNET || !is_plain_ip(&at[1]) || stack->n < 6 || outer->sums)
        return false;
    if (outer->kind != VXLAN && (outer->kind != GRE || outer->size > 8))
        return false;
    for (at = outer + 1; at->kind == ETHERNET || at->kind == TAG; at++)
        ;
    return outer[1].kind == ETHERNET && at == ip;
}

static void try_stack(struct vnet_buffer *b)
{
    struct packet packet = { .size = 2000 + below(below(50) ? 1000 : 63000), .last = true, .partial = true };
    struct segment_wrapped wrapped;
    struct rte_mbuf *packets[VNET_PACKETS];
    struct virtio_net_hdr header;
    struct stack stack;
    uint32_t size;
    bool good;

    do
        make_stack(&stack);
    while (stack.layers[stack.n - 1].kind != TCP);
    size = build(&stack, payload, &packet, frame);
    header = header_of(&stack, 100 + below(1300));
    if (receive(b, frame, size, &header, packets) != 1)
        return;
    good = segment_wrapped(packets[0], &wrapped);
    if (is_plain_ip(&stack.layers[stack.n - 2]))
        EQUAL(good, is_wrapped(&stack) && size <= 14 + 65535);
    if (good) {
        EQUAL(wrapped.inner, stack.layers[stack.n - 2].at);
        EQUAL(wrapped.ip6, stack.layers[1].kind == IP6);
        EQUAL(wrapped.gre, stack.layers[2].kind == GRE);
        EQUAL(wrapped.largest, stack.headers - 14 + header.gso_size);
    }
    wraps += good;
    refusals += !good;
    rte_pktmbuf_free(packets[0]);
}

/* One tunnel in another: Linux would leave the lengths between them as they are. */
static void try_nested(struct vnet_buffer *b)
{
    struct packet packet = { .size = 2000 + below(20000), .last = true, .partial = true };
    struct segment_wrapped wrapped;
    struct rte_mbuf *packets[VNET_PACKETS];
    struct virtio_net_hdr header;
    struct stack stack = { 0 };
    uint32_t size;

    for (int i = 0; i < 2; i++) {
        push(&stack, ETHERNET, 14);
        stack.l3 = 14;
        push_ip(&stack);
        if (below(3))
            push(&stack, VXLAN, 16)->sums = false;
        else
            push(&stack, GRE, 4)->sums = false;
    }
    push(&stack, ETHERNET, 14);
    push_ip(&stack);
    push(&stack, TCP, 20)->bytes[12] = 0x50;
    size = build(&stack, payload, &packet, frame);
    header = header_of(&stack, 100 + below(1300));
    if (receive(b, frame, size, &header, packets) != 1)
        return;
    CHECK(!segment_wrapped(packets[0], &wrapped));
    nested++;
    rte_pktmbuf_free(packets[0]);
}

static void push_plain_ip(struct stack *stack)
{
    struct layer *layer = push(stack, IP4, 20);

    layer->bytes[0] = 0x45;
    model_put16(layer->bytes + 6, 0x4000);
}

/* What Linux would refuse to cut, one after the other, and the same as it should be. */
static void try_unsound(struct vnet_buffer *b)
{
    static const struct {
        uint32_t at, value, segment;     /* Of the byte inside that is different; 0: none is. */
        bool good;
    } tries[] = { { 0, 0, 1000, true }, { 0, 0x44, 1000, false }, { 0, 0x65, 1000, false }, { 9, 17, 1000, false },
                  { 0, 0, 2000, false }, { 0, 0, 1999, true } };

    for (uint32_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        const struct packet packet = { .size = 2000, .last = true, .partial = true };
        struct segment_wrapped wrapped;
        struct rte_mbuf *packets[VNET_PACKETS];
        struct virtio_net_hdr header;
        struct stack stack = { .l3 = 14 };
        uint32_t size;

        push(&stack, ETHERNET, 14);
        push_plain_ip(&stack);
        push(&stack, VXLAN, 16);
        push(&stack, ETHERNET, 14);
        push_plain_ip(&stack);
        push(&stack, TCP, 20)->bytes[12] = 0x50;
        size = build(&stack, payload, &packet, frame);
        if (tries[i].value)
            frame[stack.layers[4].at + tries[i].at] = (uint8_t)tries[i].value;
        header = header_of(&stack, tries[i].segment);
        EQUAL(receive(b, frame, size, &header, packets), 1);
        EQUAL(segment_wrapped(packets[0], &wrapped), tries[i].good);
        rte_pktmbuf_free(packets[0]);
    }
}

/* Bytes and sizes that a hostile sender says: what is accepted lies within the packet. */
static void try_hostile(struct vnet_buffer *b)
{
    struct packet packet = { .size = 2 + below(2000), .last = true, .partial = true };
    struct segment_wrapped wrapped;
    struct rte_mbuf *packets[VNET_PACKETS];
    struct virtio_net_hdr header;
    struct stack stack;
    uint32_t size;

    make_stack(&stack);
    size = build(&stack, payload, &packet, frame);
    for (uint32_t i = below(5); i > 0; i--)
        frame[below(stack.headers)] = (uint8_t)rand();
    header = header_of(&stack, 1 + below(below(2) ? 65535 : 100));
    header.csum_start = (uint16_t)(below(2) ? header.csum_start : below(size));
    if (receive(b, frame, size, &header, packets) != 1)
        return;
    if (segment_wrapped(packets[0], &wrapped))
        CHECK(wrapped.inner >= 14 + 20 + 4 + 14 && wrapped.inner + 40 <= packets[0]->data_len);
    rte_pktmbuf_free(packets[0]);
}

int main(void)
{
    struct vnet_buffer buffer = { 0 };
    uint64_t before;

    fixture_start();
    before = fixture_mbufs();
    for (uint32_t i = 0; i < FRAME_MAX; i++)
        payload[i] = (uint8_t)rand();
    for (int i = 0; i < 20000; i++)
        try_stack(&buffer);
    for (int i = 0; i < 20000; i++)
        try_hostile(&buffer);
    for (int i = 0; i < 1000; i++)
        try_nested(&buffer);
    try_unsound(&buffer);
    CHECK(wraps > 100 && refusals > 1000 && nested > 100);
    vnet_empty(&buffer, 1);
    EQUAL(fixture_mbufs(), before);
    return 0;
}
