/* SPDX-License-Identifier: Apache-2.0 */
#include "segment/segment_bundle.h"

#include <string.h>

#include <rte_mbuf.h>

#include "packet/csum.h"
#include "packet/eal.h"
#include "packet/pkt.h"
#include "segment/segment_fix.h"

#define UDP_CHECKSUM 6u

bool segment_bundle_plan(const struct rte_mbuf *m, const struct segment_plan *plan, struct segment_bundle *bundle)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    const uint32_t ip = plan->layers[0].at, udp = plan->layers[1].at;
    const bool ip6 = plan->layers[0].kind == SEGMENT_IP6;
    bool summed;

    if (m->ol_flags & PKT_L3 || plan->udp || plan->keep || !plan->counted || plan->n < 3 || plan->layers[1].kind != SEGMENT_UDP)
        return false;
    if (ip != plan->l3 || (plan->layers[0].kind != SEGMENT_IP4 && !ip6) || udp - ip != (ip6 ? 40 : 20))
        return false;
    summed = frame[udp + UDP_CHECKSUM] | frame[udp + UDP_CHECKSUM + 1];
    if (summed != ip6)
        return false;
    bundle->inside = udp + 8;
    bundle->piece = plan->partial.payload - bundle->inside + plan->size;
    bundle->most = RTE_MIN(EAL_LARGE_ROOM, UINT16_MAX - (bundle->inside - ip)) / bundle->piece;
    return bundle->most > 1 && plan->count > 1;
}

/* Copies a part of the payload and answers its sum. */
static uint64_t copy_payload(const struct rte_mbuf *m, uint32_t at, uint32_t size, uint8_t *to)
{
    const void *from = rte_pktmbuf_read(m, at, size, to);

    if (from && from != to)
        memcpy(to, from, size);
    return csum_sum(to, size);
}

/* The first one's headers go to `head`; returns how many bytes were written behind them. */
static uint32_t fill(const struct rte_mbuf *m, const struct segment_plan *plan, const struct segment_bundle *bundle, uint32_t first,
                     uint32_t count, uint8_t *head, uint8_t *rest)
{
    const uint32_t headers = plan->partial.payload;
    uint8_t scratch[EAL_FRAME_ROOM], *to = rest;

    for (uint32_t i = 0; i < count; i++) {
        const uint32_t index = first + i, at = headers + index * plan->size, size = RTE_MIN(plan->size, plan->end - at);
        struct segment_piece piece = { i ? scratch : head, headers + size, 0 };
        uint8_t *own = to;

        if (i)
            to += headers - bundle->inside;
        piece.sum = copy_payload(m, at, size, to);
        to += size;
        memcpy(piece.frame, rte_pktmbuf_mtod(m, const uint8_t *), headers);
        segment_fix(plan, &piece, 2, index, index);
        if (i)
            memcpy(own, scratch + bundle->inside, headers - bundle->inside);
    }
    return (uint32_t)(to - rest);
}

struct rte_mbuf *segment_bundle(const struct rte_mbuf *m, const struct segment_plan *plan, const struct segment_bundle *bundle,
                                uint32_t first, uint32_t *count)
{
    struct rte_mempool *large = eal_pool_large();
    const uint32_t n = RTE_MIN(bundle->most, plan->count - first), udp = bundle->inside - 8;
    struct rte_mbuf *head, *rest;

    if (n < 2 || !large)
        return NULL;
    head = rte_pktmbuf_alloc(eal_pool());
    rest = head ? rte_pktmbuf_alloc(large) : NULL;
    if (!rest) {
        rte_pktmbuf_free(head);
        return NULL;
    }
    head->data_len = (uint16_t)plan->partial.payload;
    rest->data_len = (uint16_t)fill(m, plan, bundle, first, n, rte_pktmbuf_mtod(head, uint8_t *), rte_pktmbuf_mtod(rest, uint8_t *));
    head->next = rest;
    head->nb_segs = 2;
    head->pkt_len = (uint32_t)head->data_len + rest->data_len;
    pkt_copy_marks(head, m);
    head->ol_flags = m->ol_flags & PKT_MARKED;
    segment_fix_outer(plan, rte_pktmbuf_mtod(head, uint8_t *), head->pkt_len, first);
    partial_mark(head, udp, UDP_CHECKSUM,
                 RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_UDP_SEG |
                     (plan->layers[0].kind == SEGMENT_IP6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4));
    head->l3_len = udp - plan->layers[0].at;
    head->l4_len = 8;
    head->tso_segsz = (uint16_t)bundle->piece;
    *count = n;
    return head;
}
