/* SPDX-License-Identifier: Apache-2.0
 * odp_int.h - what the odp_*.c units share: walking attributes, ids, wire structures.
 *
 * Threads: any; no state. */
#ifndef UPCALL_ODP_INT_H
#define UPCALL_ODP_INT_H

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
#define ODP_TYPE_MASK 0x3fff     /* Of an attribute's type; the bits above are NLA_F_NESTED and NLA_F_NET_BYTEORDER. */

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

/* Takes the next attribute.  False at the end and where the list is malformed; then walk->left is not 0. */
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

/* The attributes of one level of a key or mask, by id. */
struct odp_set {
    uint64_t present;        /* Bits by id ... */
    uint64_t expected;       /* ... and of those that the reader had a use for. */
    struct odp_attr attrs[ODP_KEY_LAST + 1];
};

/* Collects them: sizes are right, none comes twice, none is unknown. */
int odp_collect(const uint8_t *attrs, uint32_t size, struct odp_set *set, const char **why);

static inline bool odp_has(const struct odp_set *set, unsigned int type)
{
    return set->present >> type & 1;
}

/* The payload of an attribute if it is present; marks it as used. */
static inline const uint8_t *odp_take(struct odp_set *set, unsigned int type)
{
    if (!odp_has(set, type))
        return NULL;
    set->expected |= 1ull << type;
    return set->attrs[type].at;
}

/* The same into `to`, which stays as it is if there is none. */
static inline bool odp_take_into(struct odp_set *set, unsigned int type, void *to, uint32_t size)
{
    const uint8_t *at = odp_take(set, type);

    if (at)
        memcpy(to, at, size);
    return at;
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

/* Whether a packet with this key is a neighbour solicitation or advertisement, beyond being ICMPv6. */
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

/* The readers work on keys (`of` == NULL) and on masks of the key `of`. */
int odp_read_metadata(struct odp_set *set, const struct key *of, struct key *to, const char **why);
int odp_read_tunnel(const struct odp_attr *nest, bool is_mask, struct key_tunnel *to, const char **why);
int odp_read_l3(struct odp_set *set, bool type_exact, const struct key *of, struct key *to, const char **why);
/* `present` as it was at the outermost level: an original tuple is of the packet's IP version. */
int odp_check_tuples(uint64_t present, uint16_t eth_type, const char **why);
int odp_read_unused(const struct odp_set *set, const char **why);

/* Both only know some keys, the most frequent ones (odp_plain.c): false, or 0, for all others.  Reading is into a key of zeros. */
bool odp_plain_read(const uint8_t *attrs, uint32_t size, struct key *key);
uint32_t odp_plain_write(const struct key *key, uint8_t *attrs, uint32_t room);

/* Attributes being written.  Once one did not fit, `full` stays set. */
struct odp_out {
    uint8_t *start;
    uint32_t used, room;
    bool full;
};
/* Appends an attribute and returns its payload, `size` zeroed bytes, or NULL. */
uint8_t *odp_put(struct odp_out *out, unsigned int type, uint32_t size);
void odp_put_bytes(struct odp_out *out, unsigned int type, const void *bytes, uint32_t size);
/* A nest is begun, filled and closed. */
uint32_t odp_nest(struct odp_out *out, unsigned int type);
void odp_nest_end(struct odp_out *out, uint32_t nest);
void odp_write_tunnel(struct odp_out *out, const struct key_tunnel *data, const struct key_tunnel *key);

#endif
