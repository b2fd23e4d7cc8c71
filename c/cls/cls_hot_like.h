/* SPDX-License-Identifier: Apache-2.0
 * cls_hot_like.h - what a thread expects of the next packet: the headers of one that it saw.
 *
 * Most packets have the headers of the packet before.  One comparison under a mask says so, where
 * cls_hot_frame.h takes twenty steps, and then equal keys need not be made: they are compared in
 * the frame.
 *
 * Of two packets in a row that are unlike, the second is what is expected from now on.  Where more
 * than one in four of a port are unlike, nothing is expected of it for LIKE_PAUSE bursts: kinds
 * that alternate would cost more than they save.
 *
 * Threads: the owner of the replica. */
#ifndef UPCALL_CLS_HOT_LIKE_H
#define UPCALL_CLS_HOT_LIKE_H

#include "cls/cls_hot_frame.h"

#define LIKE_PAUSE 64
#define LIKE_LEARN 2                /* That it takes to learn. */
#define LIKE_UNLIKE 4               /* One in so many. */

/* Nothing is expected. */
static inline void like_forget(struct cls_like *like)
{
    like->size = 0;
    like->view = 0;
}

/* Expects the headers of a frame of which hot_frame_read() said `f`.  Those that are longer than
 * CLS_LIKE are never expected.  True: nothing was expected before, so no expectation was wrong. */
static inline bool like_learn(struct cls_like *like, const uint8_t *frame, const struct hot_frame *f)
{
    const uint32_t l3 = 14 + 4 * f->tags, l4 = l3 + (f->ipv6 ? 40 : 20);
    const uint32_t size = l4 + (f->l4 == HOT_TCP ? 20 : 8);
    const bool first = !like->size;

    like_forget(like);
    if (size > CLS_LIKE)
        return false;               /* Counts as unlike, or each of its kind would try again. */
    memset(like->care, 0, sizeof like->care);
    for (uint32_t tag = 0; tag <= f->tags; tag++)
        like->care[12 + 4 * tag] = like->care[13 + 4 * tag] = 0xff;
    if (f->ipv6) {
        like->care[l3 + 6] = 0xff;
    } else {
        like->care[l3] = like->care[l3 + 9] = 0xff;
        like->care[l3 + 6] = 0x3f;  /* More fragments, offset. */
        like->care[l3 + 7] = 0xff;
    }
    if (f->l4 == HOT_TCP)
        like->care[l4 + 12] = 0xf0; /* Its size. */
    else if (f->l4 == HOT_ICMP && f->ipv6)
        like->care[l4] = 0xff;      /* Neighbour discovery has more keys. */
    for (uint32_t i = 0; i < CLS_LIKE; i++)
        like->want[i] = i < size ? frame[i] & like->care[i] : 0;
    like->size = size;
    like->tags = f->tags;
    like->ipv6 = f->ipv6;
    like->l4 = f->l4;
    like->l4_at = l4;
    like->length_at = l3 + (f->ipv6 ? 4 : 2);
    /* The length counts what the IP header says it counts. */
    like->least = (f->ipv6 ? 0 : 20) + (f->l4 == HOT_TCP ? (frame[l4 + 12] >> 4) * 4u : 8);
    like->base = l3 + (f->ipv6 ? 40 : 0) + like->least;
    return first;
}

/* Notes which bits of a frame like this a view looks at. */
static __attribute__((noinline)) void like_look_at(struct cls_like *like, const struct cls_view *view)
{
    const uint8_t *mask = view->mask.bytes;
    const uint32_t l4 = like->l4_at, l3 = l4 - (like->ipv6 ? 40 : 20);
    uint8_t *bits = like->looked_at;

    like->view = view->number;
    memset(bits, 0, CLS_LIKE);
    memcpy(bits, mask + offsetof(struct key_base, eth_dst), 12);
    for (uint32_t tag = 0; tag < like->tags; tag++)
        memcpy(bits + 14 + 4 * tag, mask + offsetof(struct key_base, vlan) + 4 * tag, 2);
    if (like->ipv6) {
        const uint8_t tos = view->mask.base.nw_tos, *wide = (const uint8_t *)&view->mask.wide;

        memcpy(bits + l3, wide + offsetof(struct key_wide, ip6_label), 4);
        bits[l3] = tos >> 4;
        bits[l3 + 1] = (uint8_t)((bits[l3 + 1] & 0x0f) | tos << 4);
        bits[l3 + 7] = view->mask.base.nw_ttl;
        memcpy(bits + l3 + 8, wide + offsetof(struct key_wide, ip6_src), 32);
    } else {
        bits[l3 + 1] = view->mask.base.nw_tos;
        bits[l3 + 8] = view->mask.base.nw_ttl;
        memcpy(bits + l3 + 12, mask + offsetof(struct key_base, ip4_src), 8);
    }
    if (like->l4 == HOT_ICMP) {
        bits[l4] = mask[offsetof(struct key_base, tp_src) + 1];
        bits[l4 + 1] = mask[offsetof(struct key_base, tp_dst) + 1];
    } else {
        memcpy(bits + l4, mask + offsetof(struct key_base, tp_src), 4);
    }
    if (like->l4 == HOT_TCP) {
        memcpy(bits + l4 + 12, &view->mask.base.tcp_flags, 2);
        bits[l4 + 12] &= 0x0f;
    }
}

/* What of struct hot_frame is each packet's own. */
static inline uint16_t like_tcp_flags(const struct cls_like *like, const uint8_t *frame)
{
    return like->l4 == HOT_TCP ? hot_load_be16(frame + like->l4_at + 12) & 0xfff : 0;
}

#endif
