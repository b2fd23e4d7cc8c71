/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * Bundles: cut by Linux's rules they are the packets that would have been sent one by one, and
 * merged they are the packet that they were made of; what is changed in one is not merged. */
#include <rte_ip.h>
#include <rte_mbuf.h>

#include "dp_fixture.h"
#include "packet/csum.h"
#include "packet/eal.h"
#include "segment/segment_bundle.h"
#include "segment/segment_merge.h"
#include "segment_fixture.h"

static uint8_t other[FRAME_MAX];
static uint32_t bundled, merged, refused;

/* A tunnel over UDP with TCP in it. */
static void make_tunnel(struct stack *stack)
{
    struct layer *layer;

    *stack = (struct stack){ 0 };
    push_link(stack, false);
    push_ip(stack);
    layer = push(stack, VXLAN, 8 + 4 * (1 + below(20)));
    layer->sums = stack->layers[stack->n - 2].kind == IP6;
    if (!below(8))
        layer->sums = !layer->sums;
    push_link(stack, true);
    push_ip(stack);
    layer = push(stack, TCP, 20 + 4 * below(11));
    layer->bytes[12] = (uint8_t)(layer->size / 4 << 4);
    layer->bytes[13] = (uint8_t)(0x10 | (rand() & 0xc9)); /* ACK, and perhaps CWR, ECE, PSH, FIN. */
}

/* The layer of a kind, the first or the last. */
static const struct layer *layer_of(const struct stack *stack, enum kind kind)
{
    const struct layer *layer = stack->layers;

    while (layer->kind != kind)
        layer++;
    return layer;
}

static bool is_plain_ip(const struct layer *ip)
{
    return ip->size == (ip->kind == IP6 ? 40 : 20);
}

/* Whether an IP header stands behind Ethernet and tags. */
static bool is_on_ethernet(const struct layer *ip)
{
    return is_plain_ip(ip) && (ip[-1].kind == ETHERNET || ip[-1].kind == TAG);
}

/* The checksum of outer UDP, which single packets over IPv4 do not have. */
static void take_sum(struct rte_mbuf *m, const struct layer *udp, bool summed)
{
    uint8_t *bytes = rte_pktmbuf_mtod_offset(m, uint8_t *, udp->at);
    const uint32_t size = m->pkt_len - udp->at;
    const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, udp[-1].at);
    const uint8_t rest[4] = { (uint8_t)(size >> 8), (uint8_t)size, 0, 17 };
    uint16_t sum = 0;

    EQUAL(rte_raw_cksum_mbuf(m, udp->at, size, &sum), 0);
    EQUAL(csum_fold(csum_sum(rest, 4) + csum_sum(ip + (udp[-1].kind == IP6 ? 8 : 12), udp[-1].kind == IP6 ? 32 : 8) + sum), 0xffff);
    if (!summed)
        memset(bytes + 6, 0, 2);
}

static void equal(const struct rte_mbuf *a, const struct rte_mbuf *b, uint32_t from)
{
    const uint8_t *x = rte_pktmbuf_read(a, 0, a->pkt_len, got), *y = rte_pktmbuf_read(b, 0, b->pkt_len, other);

    EQUAL(a->pkt_len, b->pkt_len);
    for (uint32_t i = from; i < a->pkt_len; i++)
        if (x[i] != y[i])
            FAIL("byte %u of %u is %02x, not %02x", i, a->pkt_len, x[i], y[i]);
}

/* What becomes of a bundle where somebody cuts it. */
static void check_cut(const struct stack *stack, const struct rte_mbuf *m, const struct segment_plan *plan, const struct rte_mbuf *bundle,
                      uint32_t first, uint32_t count)
{
    const struct layer *udp = layer_of(stack, VXLAN);
    struct segment_plan again;

    EQUAL(segment_plan(bundle, UINT16_MAX, &again), SEGMENT_CAN);
    EQUAL(again.count, count);
    for (uint32_t i = 0; i < count; i++) {
        struct rte_mbuf *one = segment_cut(bundle, &again, i), *wants = segment_cut(m, plan, first + i);

        CHECK(one && wants);
        take_sum(one, udp, udp->sums);
        equal(one, wants, 0);
        rte_pktmbuf_free(one);
        rte_pktmbuf_free(wants);
    }
}

static struct segment_pieces pieces_of(const struct stack *stack, const struct rte_mbuf *bundle)
{
    const struct layer *udp = layer_of(stack, VXLAN);

    return (struct segment_pieces){ .at = udp->at + 8, .end = bundle->pkt_len, .inner = udp[1].at };
}

/* A bundle with a bit changed behind its outer headers is not merged, and stays as it is. */
static void check_changed(const struct stack *stack, struct rte_mbuf *bundle)
{
    const struct segment_pieces pieces = pieces_of(stack, bundle);
    const uint32_t at = pieces.at + below(bundle->pkt_len - pieces.at), skip = at < bundle->data_len ? 0 : bundle->data_len;
    uint8_t *byte = rte_pktmbuf_mtod_offset(skip ? bundle->next : bundle, uint8_t *, at - skip), bit = (uint8_t)(1u << below(8));
    struct rte_mbuf *before;

    *byte ^= bit;
    before = rte_pktmbuf_copy(bundle, eal_pool(), 0, UINT32_MAX);
    CHECK(before);
    CHECK(!segment_merge(bundle, &pieces));
    equal(bundle, before, 0);
    EQUAL(bundle->tx_offload, before->tx_offload);
    rte_pktmbuf_free(before);
    *byte ^= bit;
}

/* Merged, a bundle is what Linux would have handed over for its part of the payload. */
static void check_merge(const struct stack *stack, struct rte_mbuf *bundle, const struct packet *part, uint32_t segment)
{
    const struct segment_pieces pieces = pieces_of(stack, bundle);
    const struct layer *ip = &stack->layers[stack->n - 2];
    const uint32_t size = build(stack, payload, part, wanted);
    const uint8_t *bytes;
    struct partial partial;

    if (!is_on_ethernet(ip)) {
        refused++;
        CHECK(!segment_merge(bundle, &pieces));
        return;
    }
    check_changed(stack, bundle);
    CHECK(segment_merge(bundle, &pieces));
    merged++;
    EQUAL(bundle->pkt_len, size);
    bytes = rte_pktmbuf_read(bundle, 0, size, got);
    for (uint32_t i = pieces.at; i < size; i++)
        if (bytes[i] != wanted[i])
            FAIL("byte %u of %u is %02x, not %02x", i, size, bytes[i], wanted[i]);
    CHECK(partial_get(bundle, &partial));
    EQUAL(partial.start, stack->layers[stack->n - 1].at);
    EQUAL(partial.payload, stack->headers);
    EQUAL(bundle->tso_segsz, segment);
    EQUAL(bundle->l3_len, ip->size);
    CHECK(bundle->ol_flags & RTE_MBUF_F_TX_TCP_SEG);
    CHECK(!(bundle->ol_flags & RTE_MBUF_F_TX_UDP_SEG));
}

static void try_bundles(struct vnet_buffer *b)
{
    struct packet packet = { .last = true, .partial = true };
    struct segment_bundle bundle;
    struct segment_plan plan;
    struct rte_mbuf *packets[VNET_PACKETS];
    struct virtio_net_hdr header;
    struct stack stack;
    const struct layer *udp;
    uint32_t segment, size, took = 1;

    make_tunnel(&stack);
    udp = layer_of(&stack, VXLAN);
    segment = below(6) ? 200 + below(1300) : 1 + below(200);
    packet.size = segment + 1 + below(RTE_MIN(below(2) ? 4000u : 63000u, segment * 900));
    size = build(&stack, payload, &packet, frame);
    header = header_of(&stack, segment);
    EQUAL(receive(b, frame, size, &header, packets), 1);
    EQUAL(segment_plan(packets[0], stack.headers - stack.l3 + segment, &plan), SEGMENT_CAN);
    EQUAL(segment_bundle_plan(packets[0], &plan, &bundle),
          is_on_ethernet(udp - 1) && udp->sums == (udp[-1].kind == IP6) && 2 * (stack.headers - udp->at - 8 + segment) <= EAL_LARGE_ROOM);
    for (uint32_t i = 0; i < plan.count && segment_bundle_plan(packets[0], &plan, &bundle); i += took) {
        struct rte_mbuf *one = segment_bundle(packets[0], &plan, &bundle, i, &took);
        struct packet part = packet;

        if (!one) { /* A single one is left. */
            EQUAL(i + 1, plan.count);
            break;
        }
        CHECK(took > 1 && i + took <= plan.count && one->pkt_len - udp[-1].at <= UINT16_MAX);
        bundled++;
        check_cut(&stack, packets[0], &plan, one, i, took);
        part.first = i * segment;
        part.size = RTE_MIN(packet.size - part.first, took * segment);
        part.before = i;
        part.last = i + took == plan.count;
        check_merge(&stack, one, &part, segment);
        rte_pktmbuf_free(one);
    }
    rte_pktmbuf_free(packets[0]);
}

/* Places and sizes that a hostile sender says. */
static void try_hostile(struct vnet_buffer *b)
{
    struct packet packet = { .size = 2 + below(20000), .last = true, .partial = true };
    struct segment_pieces pieces;
    struct rte_mbuf *packets[VNET_PACKETS];
    struct virtio_net_hdr header;
    struct stack stack;
    uint32_t size;

    make_tunnel(&stack);
    size = build(&stack, payload, &packet, frame);
    for (uint32_t i = below(5); i > 0; i--)
        frame[below(stack.headers)] = (uint8_t)rand();
    header = header_of(&stack, 1 + below(below(2) ? 65535 : 100));
    header.gso_type = 5;
    header.csum_start = (uint16_t)layer_of(&stack, VXLAN)->at;
    header.csum_offset = 6;
    if (receive(b, frame, size, &header, packets) != 1)
        return;
    pieces = pieces_of(&stack, packets[0]);
    if (below(2))
        pieces.end -= below(RTE_MIN(pieces.end - pieces.at, 2000u));
    if (below(2))
        pieces.inner += below(100);
    if (below(2))
        pieces.type = below(2) ? RTE_BE16(0x0800) : (uint16_t)rand();
    segment_merge(packets[0], &pieces);
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
    for (int i = 0; i < 600; i++)
        try_bundles(&buffer);
    for (int i = 0; i < 5000; i++)
        try_hostile(&buffer);
    CHECK(bundled > 200 && merged > 50 && refused > 20);
    vnet_empty(&buffer, 1);
    EQUAL(fixture_mbufs(), before);
    return 0;
}
