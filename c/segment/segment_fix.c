/* SPDX-License-Identifier: Apache-2.0 */
#include "segment/segment_fix.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "packet/csum.h"

static uint32_t be16(const uint8_t *at)
{
    return (uint32_t)(at[0] << 8 | at[1]);
}

static void set_be16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* The sum of a pseudo-header for `size` bytes of transport. */
static uint64_t pseudo_sum(const uint8_t *ip, bool ip6, uint8_t proto, uint32_t size)
{
    const uint8_t rest[8] = { (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size, 0, 0, 0, proto };

    return csum_sum(rest, sizeof rest) + (ip6 ? csum_sum(ip + 8, 32) : csum_sum(ip + 12, 8));
}

/* The sum of all from a header on. */
static uint64_t sum_from(const struct segment_plan *plan, const struct segment_piece *piece, uint32_t at)
{
    const uint32_t headers = plan->partial.payload - at;
    const uint16_t payload = csum_fold(piece->sum);

    return csum_sum(piece->frame + at, headers) + (headers & 1 ? __builtin_bswap16(payload) : payload);
}

/* The same of a header in front of the transport header.  Where that is left partial, its sum will
 * be such that all it covers comes to the complement of what the field holds now. */
static uint64_t sum_inside(const struct segment_plan *plan, const struct segment_piece *piece, uint32_t at)
{
    uint16_t held;

    if (!plan->keep)
        return sum_from(plan, piece, at);
    memcpy(&held, piece->frame + plan->partial.field, sizeof held);
    return csum_sum(piece->frame + at, plan->partial.start - at) + (uint16_t)~held;
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
static void fix_transport(const struct segment_plan *plan, const struct segment_piece *piece, uint32_t index)
{
    uint8_t *frame = piece->frame, *l4 = frame + plan->partial.start, *field = frame + plan->partial.field;
    const uint32_t size = piece->size - plan->partial.start, before = plan->end - plan->partial.start;
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
    put(field, sum + sum_from(plan, piece, plan->partial.start), plan->udp);
}

/* `before`: segments in front of it. */
static void fix_length(uint8_t *frame, uint32_t all, uint32_t at, uint32_t kind, uint32_t before)
{
    uint8_t *header = frame + at;
    const uint32_t size = all - at;
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
static void fix_outer_checksum(const struct segment_plan *plan, const struct segment_piece *piece, uint32_t i)
{
    static const uint8_t none[2];
    const uint32_t at = plan->layers[i].at;
    uint8_t *frame = piece->frame, *header = frame + at;

    if (plan->layers[i].kind == SEGMENT_GRE) {
        memset(header + 4, 0, 2);
        put(header + 4, sum_inside(plan, piece, at), false);
    }
    if (plan->layers[i].kind == SEGMENT_UDP && memcmp(header + 6, none, 2) && i) {
        memset(header + 6, 0, 2);
        put(header + 6, pseudo_sum(frame + plan->layers[i - 1].at, plan->layers[i - 1].kind == SEGMENT_IP6, IPPROTO_UDP, piece->size - at)
                            + sum_inside(plan, piece, at), true);
    }
}

void segment_fix(const struct segment_plan *plan, const struct segment_piece *piece, uint32_t from, uint32_t index, uint32_t before)
{
    for (uint32_t i = from; i < plan->n; i++)
        fix_length(piece->frame, piece->size, plan->layers[i].at, plan->layers[i].kind, before);
    fix_transport(plan, piece, index);
    for (uint32_t i = plan->n; i-- > from;)
        fix_outer_checksum(plan, piece, i);
}

void segment_fix_outer(const struct segment_plan *plan, uint8_t *frame, uint32_t size, uint32_t before)
{
    uint8_t *field = frame + plan->layers[1].at + offsetof(struct rte_udp_hdr, dgram_cksum);
    uint16_t sum;

    fix_length(frame, size, plan->layers[0].at, plan->layers[0].kind, before);
    fix_length(frame, size, plan->layers[1].at, plan->layers[1].kind, before);
    sum = csum_fold(pseudo_sum(frame + plan->layers[0].at, plan->layers[0].kind == SEGMENT_IP6, IPPROTO_UDP, size - plan->layers[1].at));
    memcpy(field, &sum, sizeof sum);
}
