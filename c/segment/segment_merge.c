/* SPDX-License-Identifier: Apache-2.0 */
#include "segment/segment_merge.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

#include "packet/csum.h"
#include "packet/eal.h"
#include "packet/partial.h"
#include "segment/segment.h"

#define LAST_FLAGS (RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG)
#define NO_FLAGS (RTE_TCP_SYN_FLAG | RTE_TCP_RST_FLAG | RTE_TCP_URG_FLAG)
#define TCP_FLAGS 13u
#define TCP_CHECKSUM 16u

/* What all pieces have in common: places in a piece, and what the first one says. */
struct merge {
    const uint8_t *first;        /* Its headers. */
    uint32_t size, count;        /* Of a piece; how many. */
    uint32_t last;               /* Bytes of the last one. */
    uint32_t l3, l4, payload;
    uint8_t flags;               /* Of TCP, as the whole has them. */
    bool ip6;
};

/* A byte in a chain. */
struct place {
    struct rte_mbuf *m;
    uint32_t at;
};

static uint32_t be16(const uint8_t *at)
{
    return (uint32_t)(at[0] << 8 | at[1]);
}

static void set_be16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t be32(const uint8_t *at)
{
    return be16(at) << 16 | be16(at + 2);
}

/* --- Whether it can be ------------------------------------------------------------------------ */

/* Where the headers of the first piece are, of which `room` bytes can be looked at, from the packet
 * inside on. */
static bool find_headers(struct merge *merge, uint32_t inner, uint16_t type, uint32_t room)
{
    const uint8_t *frame = merge->first;
    uint32_t at = inner, next = __builtin_bswap16(type);

    if (!type) {
        for (at += 12; at + 6 <= room && at <= inner + 20; at += 4) {
            next = be16(frame + at);
            if (next != 0x8100 && next != 0x88a8)
                break;
        }
        at += 2;
    }
    merge->l3 = at;
    merge->ip6 = next == 0x86dd;
    merge->l4 = at + (merge->ip6 ? 40 : 20);
    if ((next != 0x0800 && !merge->ip6) || merge->l4 + 20 > room)
        return false;
    if (merge->ip6 ? frame[at] >> 4 != 6 || frame[at + 6] != IPPROTO_TCP
                   : frame[at] != 0x45 || frame[at + 9] != IPPROTO_TCP || be16(frame + at + 6) & 0x3fff)
        return false;
    merge->payload = merge->l4 + (frame[merge->l4 + 12] >> 4) * 4u;
    return merge->payload >= merge->l4 + 20 && merge->payload <= room && merge->payload < merge->size;
}

/* The sum of the pseudo-header for `size` bytes of TCP. */
static uint64_t pseudo_sum(const struct merge *merge, const uint8_t *headers, uint32_t size)
{
    const uint8_t rest[4] = { (uint8_t)(size >> 8), (uint8_t)size, 0, IPPROTO_TCP };

    return csum_sum(rest, sizeof rest) + csum_sum(headers + merge->l3 + (merge->ip6 ? 8 : 12), merge->ip6 ? 32 : 8);
}

/* Whether a piece of `size` bytes is what cutting would have made of the whole: its headers, in a
 * copy that is then made like the first one's; `sum` is the payload's. */
static bool is_piece(const struct merge *merge, uint8_t *headers, uint32_t size, uint32_t index, uint16_t sum)
{
    const uint8_t *ip0 = merge->first + merge->l3, *tcp0 = merge->first + merge->l4;
    uint8_t *ip = headers + merge->l3, *tcp = headers + merge->l4, flags = merge->flags;

    if (index)
        flags &= (uint8_t)~RTE_TCP_CWR_FLAG;
    if (index + 1 < merge->count)
        flags &= (uint8_t)~LAST_FLAGS;
    if (tcp[TCP_FLAGS] != flags || be32(tcp + 4) != be32(tcp0 + 4) + index * (merge->size - merge->payload))
        return false;
    if (csum_fold(pseudo_sum(merge, headers, size - merge->l4) + csum_sum(tcp, merge->payload - merge->l4) + sum) != UINT16_MAX)
        return false;
    if (merge->ip6 ? be16(ip + 4) != size - merge->l4
                   : be16(ip + 2) != size - merge->l3 || be16(ip + 4) != ((be16(ip0 + 4) + index) & UINT16_MAX)
                         || csum_fold(csum_sum(ip, 20)) != UINT16_MAX)
        return false;
    if (merge->ip6) {
        memcpy(ip + 4, ip0 + 4, 2);
    } else {
        memcpy(ip + 2, ip0 + 2, 4);
        memcpy(ip + 10, ip0 + 10, 2);
    }
    memcpy(tcp + 4, tcp0 + 4, 4);
    tcp[TCP_FLAGS] = tcp0[TCP_FLAGS];
    memcpy(tcp + TCP_CHECKSUM, tcp0 + TCP_CHECKSUM, 2);
    return !memcmp(headers, merge->first, merge->payload);
}

/* `mark`: where the first piece begins. */
static bool are_pieces(const struct rte_mbuf *m, const struct merge *merge, uint32_t mark)
{
    uint8_t headers[EAL_FRAME_ROOM];

    for (uint32_t i = 0; i < merge->count; i++) {
        const uint32_t at = mark + i * merge->size, size = i + 1 < merge->count ? merge->size : merge->last;
        const void *bytes = rte_pktmbuf_read(m, at, merge->payload, headers);
        uint16_t sum = 0;

        if (!bytes || rte_raw_cksum_mbuf(m, at + merge->payload, size - merge->payload, &sum))
            return false;
        if (bytes != headers)
            memcpy(headers, bytes, merge->payload);
        if (!is_piece(merge, headers, size, i, sum))
            return false;
    }
    return true;
}

/* --- Moving ----------------------------------------------------------------------------------- */

static void advance(struct place *place, uint32_t size)
{
    place->at += size;
    while (place->at >= place->m->data_len && place->m->next) {
        place->at -= place->m->data_len;
        place->m = place->m->next;
    }
}

/* Moves bytes of a chain to a place in front of them. */
static void move(struct place *to, struct place *from, uint32_t size)
{
    while (size) {
        const uint32_t room = RTE_MIN(to->m->data_len - to->at, from->m->data_len - from->at), part = RTE_MIN(size, room);

        memmove(rte_pktmbuf_mtod_offset(to->m, uint8_t *, to->at), rte_pktmbuf_mtod_offset(from->m, uint8_t *, from->at), part);
        advance(to, part);
        advance(from, part);
        size -= part;
    }
}

void segment_trim(struct rte_mbuf *m, uint32_t size)
{
    struct rte_mbuf *s = m;
    uint32_t left = size;

    if (size >= m->pkt_len)
        return;
    m->pkt_len = size;
    for (uint16_t n = 1; s->next && left > s->data_len; n++) {
        left -= s->data_len;
        s = s->next;
        m->nb_segs = (uint16_t)(n + 1);
    }
    s->data_len = (uint16_t)left;
    if (s == m)
        m->nb_segs = 1;
    rte_pktmbuf_free(s->next);
    s->next = NULL;
}

/* Puts the payload together, and the first piece's headers before it right. */
static void join(struct rte_mbuf *m, const struct merge *merge, uint32_t mark)
{
    const uint32_t part = merge->size - merge->payload;
    const uint32_t inside = (merge->count - 1) * part + merge->last;
    uint8_t *headers = rte_pktmbuf_mtod_offset(m, uint8_t *, mark), *ip = headers + merge->l3;
    struct place to = { m, 0 }, from = { m, 0 };
    uint16_t sum;

    advance(&to, mark + merge->size);
    advance(&from, mark + merge->size);
    for (uint32_t i = 1; i < merge->count; i++) {
        advance(&from, merge->payload);
        move(&to, &from, i + 1 < merge->count ? part : merge->last - merge->payload);
    }
    segment_trim(m, mark + inside);
    if (merge->ip6) {
        set_be16(ip + 4, inside - merge->l4);
    } else {
        set_be16(ip + 2, inside - merge->l3);
        memset(ip + 10, 0, 2);
        sum = (uint16_t)~csum_fold(csum_sum(ip, 20));
        memcpy(ip + 10, &sum, 2);
    }
    headers[merge->l4 + TCP_FLAGS] = merge->flags;
    sum = csum_fold(pseudo_sum(merge, headers, inside - merge->l4));
    memcpy(headers + merge->l4 + TCP_CHECKSUM, &sum, 2);
    m->ol_flags &= ~(PARTIAL_FLAGS | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6);
    partial_mark(m, mark + merge->l4, TCP_CHECKSUM,
                 RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_TCP_SEG | (merge->ip6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4));
    m->l3_len = merge->l4 - merge->l3;
    m->l4_len = merge->payload - merge->l4;
    m->tso_segsz = (uint16_t)part;
}

bool segment_merge(struct rte_mbuf *m, const struct segment_pieces *pieces)
{
    struct merge merge = { .size = m->tso_segsz };
    const uint8_t *last;
    uint8_t spare;

    for (const struct rte_mbuf *s = m; s; s = s->next)
        if (!RTE_MBUF_DIRECT(s) || rte_mbuf_refcnt_read(s) > 1 || !s->data_len)
            return false;
    if (!merge.size || pieces->end > m->pkt_len || pieces->end <= pieces->at + merge.size || pieces->at >= m->data_len)
        return false;
    merge.count = (pieces->end - pieces->at + merge.size - 1) / merge.size;
    merge.last = pieces->end - pieces->at - (merge.count - 1) * merge.size;
    merge.first = rte_pktmbuf_mtod_offset(m, const uint8_t *, pieces->at);
    if (merge.count > SEGMENT_MOST
        || !find_headers(&merge, pieces->inner - pieces->at, pieces->type, RTE_MIN(m->data_len - pieces->at, (uint32_t)EAL_FRAME_ROOM))
        || merge.last <= merge.payload)
        return false;
    last = rte_pktmbuf_read(m, pieces->end - merge.last + merge.l4 + TCP_FLAGS, 1, &spare);
    if (!last)
        return false;
    merge.flags = (uint8_t)((merge.first[merge.l4 + TCP_FLAGS] & ~LAST_FLAGS) | (*last & LAST_FLAGS));
    if (merge.flags & NO_FLAGS || !(merge.flags & RTE_TCP_ACK_FLAG) || !are_pieces(m, &merge, pieces->at))
        return false;
    join(m, &merge, pieces->at);
    return true;
}
