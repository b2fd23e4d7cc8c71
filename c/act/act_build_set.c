/* SPDX-License-Identifier: Apache-2.0
 * act_build_set.c - compiles set and set_masked (act_build.h). */
#include <errno.h>

#include "act/act_build_set.h"

#define NSH_BASE 8u
#define NSH_ALL (NSH_BASE + 16u)  /* With contexts. */

/* In text. */
static const char *const names[] = {
    [OVS_KEY_ATTR_PRIORITY] = "skb_priority", [OVS_KEY_ATTR_SKB_MARK] = "skb_mark", [OVS_KEY_ATTR_DP_HASH] = "dp_hash",
    [OVS_KEY_ATTR_RECIRC_ID] = "recirc_id", [OVS_KEY_ATTR_ETHERNET] = "eth", [OVS_KEY_ATTR_IPV4] = "ipv4",
    [OVS_KEY_ATTR_IPV6] = "ipv6", [OVS_KEY_ATTR_TCP] = "tcp", [OVS_KEY_ATTR_UDP] = "udp", [OVS_KEY_ATTR_SCTP] = "sctp",
    [OVS_KEY_ATTR_ICMP] = "icmp", [OVS_KEY_ATTR_ICMPV6] = "icmpv6", [OVS_KEY_ATTR_ARP] = "arp", [OVS_KEY_ATTR_ND] = "nd",
    [ODP_KEY_ND_EXTENSIONS] = "nd_ext", [OVS_KEY_ATTR_MPLS] = "mpls", [OVS_KEY_ATTR_NSH] = "nsh",
};

/* Sizes of what can be set; 0: it cannot. */
static uint32_t settable(uint32_t attr)
{
    switch (attr) {
    case OVS_KEY_ATTR_PRIORITY:
    case OVS_KEY_ATTR_SKB_MARK:
    case OVS_KEY_ATTR_DP_HASH:
    case OVS_KEY_ATTR_RECIRC_ID:
    case OVS_KEY_ATTR_TCP:
    case OVS_KEY_ATTR_UDP:
    case OVS_KEY_ATTR_SCTP:
    case OVS_KEY_ATTR_MPLS:
        return 4;
    case OVS_KEY_ATTR_ICMP:
    case OVS_KEY_ATTR_ICMPV6:
        return 2;
    case OVS_KEY_ATTR_ETHERNET:
    case OVS_KEY_ATTR_IPV4:
        return 12;
    case OVS_KEY_ATTR_IPV6:
        return 40;
    case OVS_KEY_ATTR_ARP:
        return 24;
    case OVS_KEY_ATTR_ND:
        return 28;
    case OVS_KEY_ATTR_NSH:
        return NSH_ALL;
    case ODP_KEY_ND_EXTENSIONS:
        return 8;
    default:
        return 0;
    }
}

static bool is_metadata(uint32_t attr)
{
    return attr == OVS_KEY_ATTR_PRIORITY || attr == OVS_KEY_ATTR_SKB_MARK || attr == OVS_KEY_ATTR_DP_HASH
           || attr == OVS_KEY_ATTR_RECIRC_ID;
}

/* Fields that are in an attribute but cannot be set: IP protocol and fragment.  Clears them; false
 * if a mask asks for them. */
static bool clear_fixed(uint32_t attr, uint8_t *value, uint8_t *mask, bool masked)
{
    struct odp_ipv4 *v4 = (void *)value, *m4 = (void *)mask;
    struct odp_ipv6 *v6 = (void *)value, *m6 = (void *)mask;

    if (attr == OVS_KEY_ATTR_IPV4) {
        if (masked && (m4->proto || m4->frag))
            return false;
        v4->proto = v4->frag = m4->proto = m4->frag = 0;
    } else if (attr == OVS_KEY_ATTR_IPV6) {
        if (masked && (m6->proto || m6->frag))
            return false;
        if (masked && m6->label & ~ODP_BE32(0xfffff))
            return false;
        v6->proto = v6->frag = m6->proto = m6->frag = 0;
        v6->label &= ODP_BE32(0xfffff);
        m6->label &= ODP_BE32(0xfffff);
    }
    return true;
}

/* Whether a set changes addresses or ports, so that a packet's connection must be looked up
 * anew. */
static bool moves(uint32_t attr, const uint8_t *mask)
{
    static const uint8_t none[32];

    if (attr == OVS_KEY_ATTR_IPV4 || attr == OVS_KEY_ATTR_IPV6) /* Both begin with the addresses. */
        return memcmp(mask, none, attr == OVS_KEY_ATTR_IPV4 ? 8 : 32) != 0;
    return attr == OVS_KEY_ATTR_TCP || attr == OVS_KEY_ATTR_UDP || attr == OVS_KEY_ATTR_SCTP;
}

/* Value and mask of a service header's fields: the attributes of the nest behind each other. */
static void read_nsh(struct act_builder *b, const struct odp_attr *nest, bool masked, uint8_t *value, uint8_t *mask)
{
    struct odp_walk walk = { nest->at, nest->size };
    struct odp_attr attr;

    while (odp_next(&walk, &attr)) {
        const uint32_t at = attr.type == OVS_NSH_KEY_ATTR_MD1 ? NSH_BASE : 0, size = at ? NSH_ALL - NSH_BASE : NSH_BASE;

        if ((attr.type != OVS_NSH_KEY_ATTR_BASE && attr.type != OVS_NSH_KEY_ATTR_MD1) || attr.size != (masked ? 2 * size : size)) {
            act_build_fail(b, EINVAL, "NSH attribute that cannot be set or of the wrong size");
            return;
        }
        memcpy(value + at, attr.at, size);
        if (masked)
            memcpy(mask + at, attr.at + size, size);
        else
            memset(mask + at, 0xff, size);
    }
    if (walk.left || !nest->size)
        act_build_fail(b, EINVAL, nest->size ? "NSH attribute cut short" : "no field of a service header");
    if (masked && (mask[2] || mask[3]))
        act_build_fail(b, EINVAL, "set of the metadata type of a service header, or of what follows it");
    value[2] = value[3] = mask[2] = mask[3] = 0;
    if ((value[0] & mask[0]) > 3 || (value[1] & mask[1]) > 0x3f)
        act_build_fail(b, EINVAL, "NSH has flags of 2 bits and a ttl of 6");
}

/* Value and mask of a field of one structure. */
static void read_plain(struct act_builder *b, const struct odp_attr *attr, bool masked, uint8_t *value, uint8_t *mask, uint32_t size)
{
    if (attr->size != (masked ? 2 * size : size)) {
        act_build_fail(b, EINVAL, "set of the wrong size");
        return;
    }
    memcpy(value, attr->at, size);
    if (masked)
        memcpy(mask, attr->at + size, size);
    else
        memset(mask, 0xff, size);
    if (!clear_fixed(attr->type, value, mask, masked))
        act_build_fail(b, EINVAL, "set of an IP protocol, fragment or reserved bits");
}

void act_build_set(struct act_builder *b, struct act_list *l, const struct odp_attr *nest, bool masked)
{
    struct odp_walk walk = { nest->at, nest->size };
    struct odp_attr attr;
    const char *missing;
    struct act_op *op;
    uint32_t size, operand;
    uint8_t *value;

    if (!odp_next(&walk, &attr) || walk.left) {
        act_build_fail(b, EINVAL, "set without exactly one field");
        return;
    }
    size = settable(attr.type);
    b->field = attr.type < sizeof names / sizeof names[0] ? names[attr.type] : NULL;
    if (!size) {
        act_build_fail(b, EINVAL, "set of a field that cannot be set");
        return;
    }
    operand = act_build_operand(b, 2 * size);
    if (b->error)
        return;
    value = b->pool + operand;
    if (attr.type == OVS_KEY_ATTR_NSH)
        read_nsh(b, &attr, masked, value, value + size);
    else
        read_plain(b, &attr, masked, value, value + size, size);
    for (uint32_t i = 0; masked && i < size; i++)
        if (value[i] & ~value[size + i])
            act_build_fail(b, EINVAL, "set_masked with a value outside its mask");
    missing = act_known_set(&l->known, attr.type);
    if (missing)
        act_build_fail(b, EINVAL, missing);
    if (is_metadata(attr.type))
        b->needs_md = true;
    else if (attr.type == OVS_KEY_ATTR_ETHERNET)
        b->writes = true;
    else
        act_build_layers(b, l);
    op = act_build_op(b, is_metadata(attr.type) ? ACT_OP_SET_META : ACT_OP_SET);
    if (!op)
        return;
    op->a = attr.type;
    op->b = size;
    op->operand = operand;
    op->moves = moves(attr.type, b->pool + operand + size);
}
