/* SPDX-License-Identifier: Apache-2.0
 * odp_attr.h - attributes in memory: walking a list of them, ids, wire structures, what a key has.
 *
 * Threads: any; no state. */
#ifndef UPCALL_ODP_ATTR_H
#define UPCALL_ODP_ATTR_H

#include <linux/openvswitch.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "packet/key.h"

/* Not in every kernel's header; numbers are the ABI's. */
#define ODP_KEY_PACKET_TYPE 29
#define ODP_KEY_ND_EXTENSIONS 30
#define ODP_KEY_LAST ODP_KEY_ND_EXTENSIONS
/* Of an attribute's type; the bits above are NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
#define ODP_TYPE_MASK 0x3fff

#define ODP_BE16(x) ((uint16_t)((((x) & 0xffu) << 8) | (((x) >> 8) & 0xffu)))
#define ODP_BE32(x) __builtin_bswap32(x)

/* One attribute.  `at` points to its payload and may be unaligned in a caller's buffer. */
struct odp_attr {
    const uint8_t *at;
    uint16_t type;           /* Without the flag bits. */
    uint16_t size;           /* Of the payload. */
};

/* A place in a list of attributes. */
struct odp_walk {
    const uint8_t *at;
    uint32_t left;
};

/* Takes the next attribute.  False at the end and where the list is malformed; then walk->left is
 * not 0. */
static inline bool odp_next(struct odp_walk *walk, struct odp_attr *attr)
{
    uint16_t head[2];
    uint32_t padded;

    if (walk->left < sizeof head)
        return false;
    memcpy(head, walk->at, sizeof head);
    if (head[0] < sizeof head || head[0] > walk->left)
        return false;
    attr->at = walk->at + sizeof head;
    attr->type = head[1] & ODP_TYPE_MASK;
    attr->size = (uint16_t)(head[0] - sizeof head);
    padded = (head[0] + 3u) & ~3u;
    if (padded > walk->left)
        padded = walk->left; /* The last one need not be padded. */
    walk->at += padded;
    walk->left -= padded;
    return true;
}

/* Wire structures whose order differs from that of struct key. */
struct odp_ipv4 {
    uint32_t src, dst;
    uint8_t proto, tos, ttl, frag;
};
struct odp_ipv6 {
    uint8_t src[16], dst[16];
    uint32_t label;
    uint8_t proto, tclass, hlimit, frag;
};
struct odp_arp {
    uint32_t sip, tip;
    uint16_t op;
    uint8_t sha[6], tha[6];
    uint16_t pad;
};
_Static_assert(sizeof(struct odp_ipv4) == 12 && sizeof(struct odp_ipv6) == 40 && sizeof(struct odp_arp) == 24, "as on the wire");

static inline bool odp_is_vlan(uint16_t type)
{
    return type == ODP_BE16(0x8100) || type == ODP_BE16(0x88a8);
}
static inline bool odp_is_mpls(uint16_t type)
{
    return type == ODP_BE16(0x8847) || type == ODP_BE16(0x8848);
}
static inline bool odp_is_arp(uint16_t type)
{
    return type == ODP_BE16(0x0806) || type == ODP_BE16(0x8035);
}
static inline bool odp_is_ip(uint16_t type)
{
    return type == ODP_BE16(0x0800) || type == ODP_BE16(0x86dd);
}

/* Whether a packet with this key is a neighbour solicitation or advertisement, beyond being
 * ICMPv6. */
static inline bool odp_is_nd(const struct key_base *b)
{
    return (b->tp_src == ODP_BE16(135) || b->tp_src == ODP_BE16(136)) && !b->tp_dst;
}

/* The attribute id of the transport layer that a key has, or 0. */
unsigned int odp_l4_attr(const struct key_base *b);

/* Labels that an MPLS attribute of this key holds: up to the bottom of stack, else all. */
static inline uint32_t odp_mpls_count(const struct key_wide *w)
{
    for (uint32_t i = 0; i < KEY_MPLS; i++)
        if (w->l3x.mpls[i] & ODP_BE32(0x100))
            return i + 1;
    return KEY_MPLS;
}

#endif
