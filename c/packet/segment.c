/* SPDX-License-Identifier: Apache-2.0 */
#include "packet/pkt.h"
#include "packet/segment.h"
#include "packet/segment_walk.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "packet/csum.h"
#include "packet/eal.h"

static uint32_t be16(const uint8_t *at)
{
    return (uint32_t)(at[0] << 8 | at[1]);
}

static void set_be16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
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

/* The sum of a pseudo-header for `size` bytes of transport. */
static uint64_t pseudo_sum(const uint8_t *ip, bool ip6, uint8_t proto, uint32_t size)
{
    const uint8_t rest[8] = { (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size, 0, 0, 0, proto };

    return csum_sum(rest, sizeof rest) + (ip6 ? csum_sum(ip + 8, 32) : csum_sum(ip + 12, 8));
}

static uint16_t sum_from(const struct rte_mbuf *m, uint32_t at)
{
    uint16_t sum = 0;

    return rte_raw_cksum_mbuf(m, at, m->pkt_len - at, &sum) ? 0 : sum;
}

/* The same of a header in front of the transport header.  Where that is left partial, its sum will
 * be such that all it covers comes to the complement of what the field holds now. */
static uint64_t sum_inside(const struct rte_mbuf *m, const struct segment_plan *plan, uint32_t at)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    uint16_t held;

    if (!plan->keep)
        return sum_from(m, at);
    memcpy(&held, frame + plan->partial.field, sizeof held);
    return csum_sum(frame + at, plan->partial.start - at) + (uint16_t)~held;
}

static void put(uint8_t *field, uint64_t sum, bool udp)
{
    uint16_t folded = (uint16_t)~csum_fold(sum);

    if (!folded && udp)
        folded = 0xffff;
    memcpy(field, &folded, sizeof folded);
}

/* The transport header.  Its checksum comes from what the field holds where that is the sum of a
 * pseudo-header, because only the sender may know the destination (behind a routing header). */
static void fix_transport(struct rte_mbuf *segment, const struct segment_plan *plan, uint32_t index)
{
    uint8_t *frame = rte_pktmbuf_mtod(segment, uint8_t *), *l4 = frame + plan->partial.start, *field = frame + plan->partial.field;
    const uint32_t size = segment->pkt_len - plan->partial.start, before = plan->end - plan->partial.start;
    const uint32_t last = plan->layers[plan->n - 1].at;
    const uint8_t from[4] = { (uint8_t)(before >> 24), (uint8_t)(before >> 16), (uint8_t)(before >> 8), (uint8_t)before };
    const uint8_t to[4] = { (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size };
    uint64_t sum;
    uint16_t held;

    if (plan->udp) {
        set_be16(l4 + offsetof(struct rte_udp_hdr, dgram_len), size);
    } else {
        struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)l4;

        tcp->sent_seq = rte_cpu_to_be_32(rte_be_to_cpu_32(tcp->sent_seq) + index * plan->size);
        if (index)
            tcp->tcp_flags &= (uint8_t)~RTE_TCP_CWR_FLAG;
        if (index + 1 < plan->count)
            tcp->tcp_flags &= (uint8_t)~(RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG);
    }
    memcpy(&held, field, sizeof held);
    if (plan->counted)
        sum = held + csum_change(from, to, 4);
    else
        sum = pseudo_sum(frame + last, plan->layers[plan->n - 1].kind == SEGMENT_IP6, plan->udp ? IPPROTO_UDP : IPPROTO_TCP, size);
    if (plan->keep) {
        held = csum_fold(sum);
        memcpy(field, &held, sizeof held);
        return;
    }
    memset(field, 0, 2);
    put(field, sum + sum_from(segment, plan->partial.start), plan->udp);
}

/* `before`: segments in front of it. */
static void fix_length(struct rte_mbuf *segment, uint32_t at, uint32_t kind, uint32_t before)
{
    uint8_t *header = rte_pktmbuf_mtod_offset(segment, uint8_t *, at);
    const uint32_t size = segment->pkt_len - at;
    struct rte_ipv4_hdr *ip;

    switch (kind) {
    case SEGMENT_IP4:
        ip = (struct rte_ipv4_hdr *)header;
        set_be16(header + 2, size);
        set_be16(header + 4, be16(header + 4) + before);
        ip->hdr_checksum = 0;
        ip->hdr_checksum = rte_ipv4_cksum(ip);
        break;
    case SEGMENT_IP6:
        set_be16(header + 4, size - 40);
        break;
    case SEGMENT_UDP:
        set_be16(header + 4, size);
        break;
    case SEGMENT_PPPOE:
        set_be16(header + 4, size - 6);
        break;
    default:
        break;
    }
}

/* Checksums of encapsulations, which cover all that is inside them: after that is true. */
static void fix_outer_checksum(struct rte_mbuf *segment, const struct segment_plan *plan, uint32_t i)
{
    static const uint8_t none[2];
    uint8_t *frame = rte_pktmbuf_mtod(segment, uint8_t *), *header = frame + plan->layers[i].at;

    if (plan->layers[i].kind == SEGMENT_GRE) {
        memset(header + 4, 0, 2);
        put(header + 4, sum_inside(segment, plan, plan->layers[i].at), false);
    }
    if (plan->layers[i].kind == SEGMENT_UDP && memcmp(header + 6, none, 2) && i) {
        memset(header + 6, 0, 2);
        put(header + 6, pseudo_sum(frame + plan->layers[i - 1].at, plan->layers[i - 1].kind == SEGMENT_IP6, IPPROTO_UDP,
                                   segment->pkt_len - plan->layers[i].at) + sum_inside(segment, plan, plan->layers[i].at), true);
    }
}

/* All headers of a new packet; `before`: segments in front of it. */
static void fix_headers(struct rte_mbuf *segment, const struct segment_plan *plan, uint32_t index, uint32_t before)
{
    for (uint32_t i = 0; i < plan->n; i++)
        fix_length(segment, plan->layers[i].at, plan->layers[i].kind, before);
    fix_transport(segment, plan, index);
    for (uint32_t i = plan->n; i-- > 0;)
        fix_outer_checksum(segment, plan, i);
}

struct rte_mbuf *segment_cut(const struct rte_mbuf *m, const struct segment_plan *plan, uint32_t index)
{
    const uint32_t at = plan->partial.payload + index * plan->size;
    struct rte_mbuf *segment = copy_part(m, plan->partial.payload, at, RTE_MIN(plan->size, plan->end - at));

    if (segment)
        fix_headers(segment, plan, index, index);
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
    fix_headers(first, plan, index, index * (plan->size / m->tso_segsz));
}
