/* SPDX-License-Identifier: Apache-2.0
 * cls_hot_frame.h - whether a frame is one of the common stacks of headers that the vector builds
 * of the lookup extract by shuffles.
 *
 * Untagged, one tag or two; IPv4 without options and unfragmented, or IPv6 without extension
 * headers; TCP, UDP or ICMP (neighbour discovery apart).  Whatever is unusual (a size that is
 * wrong, a header cut by the end of the first segment) is left to extract_key(), so these checks
 * may refuse more than they must but never less.
 *
 * Threads: any. */
#ifndef UPCALL_CLS_HOT_FRAME_H
#define UPCALL_CLS_HOT_FRAME_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "cls/cls_int.h"
#include "packet/pkt.h"

enum hot_l4 { HOT_UDP, HOT_ICMP, HOT_TCP };

struct hot_frame {
    uint32_t tags;
    uint32_t ipv6;
    uint32_t l4;                    /* enum hot_l4. */
    uint32_t kind;                  /* Of cls_hot_kind.h, where that has read it. */
    uint16_t tcp_flags;             /* Host order. */
};

/* Whether the view asks for what of a packet only its struct pkt has: PKT_MORE_TUNNEL is block 2 of
 * a key, PKT_MORE_CT block 3.  `by`: all packets came by this tunnel; or NULL. */
static inline bool hot_needs_pkt(const struct cls_view *view, const struct pkt_md *md, const struct pkt *by)
{
    const uint32_t known = by ? PKT_MORE_TUNNEL : 0;

    return md->more & (view->blocks >> 2 | (view->blocks >> 4 ? PKT_MORE_TUNNEL : 0) | PKT_MORE_L3) & ~known;
}

/* Where the tunnel of a packet is that came by one. */
static inline const struct pkt *hot_tunnel(const struct pkt *by, struct rte_mbuf *m)
{
    return by ? by : pkt_of(m);
}
_Static_assert(PKT_MORE_TUNNEL == 1u << (2 - 2) && PKT_MORE_CT == 1u << (3 - 2), "bits of blocks");

/* Whether what it asks for is for the scalar extractor: of a packet that came by a tunnel it is
 * not. */
static inline bool hot_is_rare(const struct cls_view *view, const struct pkt_md *md)
{
    return md->more & ((view->blocks >> 2 & PKT_MORE_CT) | PKT_MORE_L3);
}

/* The blocks of tunnel options that the view asks for, under its mask; `pkt` may be NULL. */
static inline void hot_store_options(const struct cls_view *view, const struct pkt *pkt, struct key *key)
{
    memset(key->options, 0, sizeof key->options);
    if (pkt)
        memcpy(key->options, pkt->options, pkt->tunnel.options_size);
    for (uint32_t w = 8 * KEY_OPTIONS_BLOCK; view->blocks >> w / 8; w++)
        key->words[w] &= view->mask.words[w];
}

static inline uint64_t hot_load64(const uint8_t *at)
{
    uint64_t x;

    memcpy(&x, at, sizeof x);
    return x;
}

static inline uint16_t hot_load_be16(const uint8_t *at)
{
    uint16_t x;

    memcpy(&x, at, sizeof x);
    return __builtin_bswap16(x);
}

/* The traffic class of IPv6, which crosses bytes. */
static inline uint8_t hot_tos(const uint8_t *ip6)
{
    return (uint8_t)(ip6[0] << 4 | ip6[1] >> 4);
}

static inline bool hot_is_tag(uint64_t type)
{
    return (uint16_t)type == 0x0081 || (uint16_t)type == 0xa888; /* As stored: 0x8100, 0x88a8. */
}

/* Layer 4 at `at`, of which `here` bytes are contiguous and `size` belong to the packet. */
static inline bool hot_frame_l4(const uint8_t *at, uint32_t proto, uint32_t here, uint32_t size, struct hot_frame *f)
{
    if (size < 8)
        return false;
    if (__builtin_expect(proto == 17, 1)) {
        f->l4 = HOT_UDP;
        return true;
    }
    if (proto == 6) {
        uint32_t header;

        if (here < 20 || size < 20)
            return false;
        header = (at[12] >> 4) * 4u;
        f->l4 = HOT_TCP;
        f->tcp_flags = hot_load_be16(at + 12) & 0xfff;
        return header >= 20 && header <= size;
    }
    f->l4 = HOT_ICMP;
    return f->ipv6 ? proto == 58 && at[0] != 135 && at[0] != 136 : proto == 1;
}

/* True if the frame is one of them. */
static inline bool hot_frame_read(const uint8_t *frame, uint32_t size, uint32_t packet_size, struct hot_frame *f)
{
    uint32_t l3 = 14;
    uint64_t head;

    *f = (struct hot_frame){ 0 };
    if (size < 14 + 20 + 8 || packet_size > UINT16_MAX)
        return false;
    head = hot_load64(frame + 12);  /* Type, then the first bytes of layer 3. */
    if (__builtin_expect(hot_is_tag(head), 0)) {
        f->tags = 1;
        head = hot_load64(frame + 16);
        if (hot_is_tag(head)) {
            f->tags = 2;
            head = hot_load64(frame + 20);
        }
        l3 = 14 + 4 * f->tags;
    }
    size -= l3;
    packet_size -= l3;
    frame += l3;
    /* 0x0800, version 4, 5 words of header. */
    if (__builtin_expect((head & 0xffffff) == 0x450008, 1)) {
        uint64_t rest;
        uint32_t total = __builtin_bswap16((uint16_t)(head >> 32));

        if (size < 28)
            return false;
        rest = hot_load64(frame + 6); /* Fragment, ttl, protocol. */
        if ((rest & 0xff3f) || total > packet_size || total < 20)
            return false;
        return hot_frame_l4(frame + 20, (uint8_t)(rest >> 24), size - 20, total - 20, f);
    }
    if ((uint16_t)head != 0xdd86 || size < 48)
        return false;
    f->ipv6 = 1;
    {
        uint32_t payload = hot_load_be16(frame + 4);

        return payload + 40 <= packet_size && hot_frame_l4(frame + 40, frame[6], size - 40, payload, f);
    }
}

#endif
