/* SPDX-License-Identifier: Apache-2.0 */
#include "segment/segment.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include <rte_ip.h>

#include "packet/eal.h"
#include "packet/pkt.h"
#include "segment/segment_fix.h"
#include "segment/segment_walk.h"

static uint32_t be16(const uint8_t *at)
{
    return (uint32_t)(at[0] << 8 | at[1]);
}

/* --- The plan --------------------------------------------------------------------------- */

bool segment_is_plain(const struct rte_mbuf *m)
{
    struct partial_layout layout;
    struct partial partial;

    return m->pkt_len <= UINT16_MAX && partial_get(m, &partial) &&
           partial_parse(m, &layout) && layout.l4 == partial.start;
}

/* Where the transport header of a packet is that asks for nothing. */
static bool find_transport(const struct rte_mbuf *m, struct segment_plan *plan)
{
    struct partial_layout layout;

    if (partial_get(m, &plan->partial)) {
        plan->counted = true;
        plan->end = m->pkt_len;
        plan->udp = (m->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_UDP_CKSUM || (m->ol_flags & RTE_MBUF_F_TX_UDP_SEG);
        return true;
    }
    if (!partial_parse(m, &layout))
        return false;
    plan->partial = (struct partial){ layout.l4, layout.checksum, layout.payload };
    plan->end = partial_end(m, &layout);
    plan->udp = layout.proto == IPPROTO_UDP;
    return true;
}

enum segment_answer segment_plan(const struct rte_mbuf *m, uint32_t mtu, struct segment_plan *plan)
{
    uint32_t headers;

    memset(plan, 0, offsetof(struct segment_plan, layers));
    plan->udp = plan->counted = plan->keep = false;
    if (!find_transport(m, plan) || (plan->udp && !(m->ol_flags & RTE_MBUF_F_TX_UDP_SEG)) || !segment_walk(m, plan))
        return SEGMENT_CANNOT;
    if (plan->partial.payload < plan->partial.start + (plan->udp ? 8u : 20u) || plan->partial.field + 2 > plan->partial.payload)
        return SEGMENT_CANNOT;
    headers = plan->partial.payload - plan->l3;
    /* Headers must lie in one buffer, and stay in one when they are copied. */
    if (mtu <= headers || plan->end <= plan->partial.payload || plan->partial.payload > m->data_len
        || plan->partial.payload > EAL_FRAME_ROOM)
        return SEGMENT_CANNOT;
    plan->size = m->ol_flags & PARTIAL_SEG ? m->tso_segsz : mtu - headers;
    if (!plan->size || (plan->size + headers > mtu && !plan->udp))
        plan->size = mtu - headers; /* TCP may be cut anywhere. */
    if (plan->size + headers > mtu)
        return SEGMENT_CANNOT;
    plan->count = (plan->end - plan->partial.payload + plan->size - 1) / plan->size;
    return plan->count > SEGMENT_MOST ? SEGMENT_TOO_MANY : SEGMENT_CAN;
}

/* An IPv6 header of length 0, and behind it the one option that says more. */
static bool has_jumbo_option(const uint8_t *ip)
{
    return !be16(ip + 4) && ip[6] == IPPROTO_HOPOPTS && ip[41] == 0 && ip[42] == 0xc2 && ip[43] == 4;
}

/* Takes the options out, the innermost first: what lies in front of one stays where the plan has
 * it. */
static bool drop_jumbo_options(struct rte_mbuf *m, const struct segment_plan *plan)
{
    bool dropped = false;

    for (uint32_t i = plan->n; i-- > 0;) {
        uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *), *ip = frame + plan->layers[i].at;

        if (plan->layers[i].kind != SEGMENT_IP6 || plan->layers[i].at + 48u > plan->partial.start || !has_jumbo_option(ip))
            continue;
        ip[6] = ip[40];
        memmove(frame + 8, frame, plan->layers[i].at + 40u);
        rte_pktmbuf_adj(m, 8);
        dropped = true;
    }
    return dropped;
}

bool segment_split_plan(struct rte_mbuf *m, struct segment_plan *plan)
{
    memset(plan, 0, offsetof(struct segment_plan, layers));
    plan->udp = plan->counted = false;
    plan->keep = true;
    if (!(m->ol_flags & PARTIAL_SEG) || !m->tso_segsz || !find_transport(m, plan) || !plan->counted || !segment_walk(m, plan))
        return false;
    if (drop_jumbo_options(m, plan) && (plan->l3 = 0, !find_transport(m, plan) || !segment_walk(m, plan)))
        return false;
    if (plan->partial.payload < plan->partial.start + (plan->udp ? 8u : 20u) || plan->partial.field + 2 > plan->partial.payload
        || plan->partial.payload > m->data_len || plan->partial.payload > EAL_FRAME_ROOM || plan->end <= plan->partial.payload)
        return false;
    plan->size = RTE_MIN(SEGMENT_PART_ROOM, UINT16_MAX - plan->partial.payload) / m->tso_segsz * m->tso_segsz;
    if (!plan->size)
        return false;
    plan->count = (plan->end - plan->partial.payload + plan->size - 1) / plan->size;
    return plan->count <= SEGMENT_PARTS;
}

/* --- Cutting ---------------------------------------------------------------------------- */

/* A new packet with the headers of `m`, and `size` bytes of its payload from `at` on; NULL: no
 * mbuf. */
static struct rte_mbuf *copy_part(const struct rte_mbuf *m, uint32_t headers, uint32_t at, uint32_t size)
{
    struct rte_mbuf *first = rte_pktmbuf_copy(m, m->pool, 0, headers), *rest, *last;

    if (!first)
        return NULL;
    pkt_copy_marks(first, m);
    first->ol_flags &= ~PARTIAL_FLAGS;
    first->tx_offload = 0;
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

struct rte_mbuf *segment_cut(const struct rte_mbuf *m, const struct segment_plan *plan, uint32_t index)
{
    const uint32_t at = plan->partial.payload + index * plan->size;
    struct rte_mbuf *segment = copy_part(m, plan->partial.payload, at, RTE_MIN(plan->size, plan->end - at));

    if (segment) {
        struct segment_piece piece = { rte_pktmbuf_mtod(segment, uint8_t *), segment->pkt_len, 0 };
        uint16_t sum = 0;

        if (!rte_raw_cksum_mbuf(segment, plan->partial.payload, segment->pkt_len - plan->partial.payload, &sum))
            piece.sum = sum;
        segment_fix(plan, &piece, 0, index, index);
    }
    return segment;
}

static void append(struct rte_mbuf *to, const struct rte_mbuf *m, uint32_t at, uint32_t size)
{
    uint8_t *bytes = (uint8_t *)rte_pktmbuf_append(to, (uint16_t)size);
    const void *from = rte_pktmbuf_read(m, at, size, bytes);

    if (from != bytes)
        memcpy(bytes, from, size);
}

void segment_split(const struct rte_mbuf *m, const struct segment_plan *plan, uint32_t index, struct rte_mbuf *first, struct rte_mbuf *rest)
{
    const uint32_t at = plan->partial.payload + index * plan->size, size = RTE_MIN(plan->size, plan->end - at);
    uint64_t flags = m->ol_flags & (PARTIAL_FLAGS | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6);

    append(first, m, 0, plan->partial.payload);
    append(rest, m, at, size);
    rte_pktmbuf_chain(first, rest);
    if (size <= m->tso_segsz)
        flags &= ~PARTIAL_SEG;
    partial_mark(first, plan->partial.start, plan->partial.field - plan->partial.start, flags);
    first->l3_len = m->l3_len;
    first->l4_len = m->l4_len;
    first->tso_segsz = flags & PARTIAL_SEG ? m->tso_segsz : 0;
    segment_fix(plan, &(struct segment_piece){ rte_pktmbuf_mtod(first, uint8_t *), first->pkt_len, 0 }, 0, index,
                index * (plan->size / m->tso_segsz));
}
