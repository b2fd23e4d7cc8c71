/* SPDX-License-Identifier: Apache-2.0
 * cls_hot_kind.h - the same answers as cls_hot_frame.h without a branch that depends on the kind of
 * a packet, for traffic whose kinds alternate: what differs between kinds is looked up.
 *
 * It takes longer than branches that are predicted, and half as long as some that are not.  First
 * the kinds of a whole burst are found, because what follows has to wait for them: so the waits
 * of several packets overlap.
 *
 * Threads: any. */
#ifndef UPCALL_CLS_HOT_KIND_H
#define UPCALL_CLS_HOT_KIND_H

#include "cls/cls_hot_frame.h"

/* What the frames of one kind have in common. */
struct hot_kind {
    uint8_t ipv6, tags, l4;         /* As in struct hot_frame. */
    uint8_t base;                   /* Bytes that must be contiguous. */
    uint8_t least;                  /* The length in the IP header is no less, ... */
    uint8_t outer;                  /* ... does not count so many bytes before it ... */
    uint8_t inner;                  /* ... and counts so many before layer 4. */
    uint8_t length_at;
    /* A word of layer 4, or anything: the least size of a header that it says, and bits for that;
     * how many types of ICMPv6 from 135 on are not of this kind; bits of TCP's flags. */
    uint8_t word_at, header, header_bits, discovery;
    uint16_t flags;
    uint16_t fragment;              /* Bits of IPv4's that must be 0, as stored. */
};

#define HOT_KIND(is6, n, layer4, l4_size, ...) \
    { .ipv6 = is6, .tags = n, .l4 = layer4, .base = 14 + 4 * (n) + ((is6) ? 40 : 20) + (l4_size), \
      .least = ((is6) ? 0 : 20) + (l4_size), .outer = 14 + 4 * (n) + ((is6) ? 40 : 0), .inner = (is6) ? 0 : 20, \
      .length_at = 14 + 4 * (n) + ((is6) ? 4 : 2), .fragment = (is6) ? 0 : 0xff3f, __VA_ARGS__ }
#define HOT_KINDS(is6, n) \
    HOT_KIND(is6, n, HOT_UDP, 8, .word_at = 0), \
    HOT_KIND(is6, n, HOT_ICMP, 8, .word_at = (is6) ? 54 + 4 * (n) : 0, .discovery = (is6) ? 2 : 0), \
    HOT_KIND(is6, n, HOT_TCP, 20, .word_at = 14 + 4 * (n) + ((is6) ? 40 : 20) + 12, .header = 20, .header_bits = 0x3c, .flags = 0xfff)

#define HOT_KIND_NUMBERS 18u
#define HOT_KIND_NONE 255u

/* By hot_kind_of(). */
static const struct hot_kind hot_kinds[HOT_KIND_NUMBERS] = {
    HOT_KINDS(0, 0), HOT_KINDS(0, 1), HOT_KINDS(0, 2), HOT_KINDS(1, 0), HOT_KINDS(1, 1), HOT_KINDS(1, 2),
};

static inline uint32_t hot_kind_of(uint32_t ipv6, uint32_t tags, uint32_t l4)
{
    return 9 * ipv6 + 3 * tags + l4;
}

#define HOT_KNOWN 8u                /* One of enum hot_l4. */

/* Layer 4 by protocol: of IPv4 in the lower half, of IPv6 in the upper one. */
static const uint8_t hot_protocols[256] = {
    [1] = HOT_KNOWN | HOT_ICMP,
    [6] = HOT_KNOWN | HOT_TCP | (HOT_KNOWN | HOT_TCP) << 4,
    [17] = HOT_KNOWN | HOT_UDP | (HOT_KNOWN | HOT_UDP) << 4,
    [58] = (HOT_KNOWN | HOT_ICMP) << 4,
};

/* Of which kind a frame is, if it is of one. */
static inline uint32_t hot_kind_find(const uint8_t *frame, uint32_t size)
{
    uint32_t tags, l3, ipv6, l4;
    uint64_t head;
    bool odd;

    if (__builtin_expect(size < 14 + 20 + 8, 0))
        return HOT_KIND_NONE;
    tags = hot_is_tag(hot_load64(frame + 12));
    tags += tags & hot_is_tag(hot_load64(frame + 16));
    l3 = 14 + 4 * tags;
    head = hot_load64(frame + l3 - 2); /* Type, then the first bytes of layer 3. */
    ipv6 = (uint16_t)head == 0xdd86;
    l4 = (uint32_t)hot_protocols[frame[l3 + 9 - 3 * ipv6]] >> 4 * ipv6;
    /* 0x0800, version 4, 5 words of header. */
    odd = (!ipv6 & ((head & 0xffffff) != 0x450008)) | !(l4 & HOT_KNOWN);
    return odd ? HOT_KIND_NONE : hot_kind_of(ipv6, tags, l4 & 3);
}

/* True if a frame, which is of that kind by what says it, is as hot_frame_read() wants it.
 * `whole`: it is no fragment, either. */
static inline __attribute__((always_inline)) bool hot_kind_read(const uint8_t *frame, uint32_t size, uint32_t packet_size, uint32_t number,
                                                                struct hot_frame *f, const bool whole)
{
    const struct hot_kind *kind;
    uint32_t length, word, header, odd;

    if (__builtin_expect(number == HOT_KIND_NONE, 0))
        return false;
    kind = &hot_kinds[number];
    if (__builtin_expect(size < kind->base, 0))
        return false;
    length = hot_load_be16(frame + kind->length_at);
    word = hot_load_be16(frame + kind->word_at);
    header = word >> 10 & kind->header_bits;
    *f = (struct hot_frame){ .tags = kind->tags, .ipv6 = kind->ipv6, .l4 = kind->l4, .tcp_flags = (uint16_t)(word & kind->flags), .kind = number };
    /* Each of them is less than 2^16, or one is below 0. */
    odd = packet_size | (packet_size - kind->outer - length) | (length - kind->least) | (length - kind->inner - header) | (header - kind->header)
        | ((uint8_t)((word >> 8) - 135) - (uint32_t)kind->discovery);
    if (!whole) {
        uint16_t fragment;

        memcpy(&fragment, frame + 20 + 4 * kind->tags, sizeof fragment);
        odd |= (uint32_t)(fragment & kind->fragment) << 16;
    }
    return __builtin_expect(!(odd >> 16), 1);
}

#endif
