/* SPDX-License-Identifier: Apache-2.0
 * act_build_set.c - compiles set and set_masked (act_build.h). */
#include <errno.h>

#include "act/act_build_set.h"

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

void act_build_set(struct act_builder *b, struct act_list *l, const struct odp_attr *nest, bool masked)
{
    struct odp_walk walk = { nest->at, nest->size };
    struct odp_attr attr;
    struct act_op *op;
    uint32_t size, operand;

    if (!odp_next(&walk, &attr) || walk.left) {
        act_build_fail(b, EINVAL, "set without exactly one field");
        return;
    }
    size = settable(attr.type);
    if (!size || attr.size != (masked ? 2 * size : size)) {
        act_build_fail(b, EINVAL, size ? "set of the wrong size" : "set of a field that cannot be set");
        return;
    }
    operand = act_build_operand(b, 2 * size);
    if (b->error)
        return;
    memcpy(b->pool + operand, attr.at, attr.size);
    if (!masked)
        memset(b->pool + operand + size, 0xff, size);
    for (uint32_t i = 0; masked && i < size; i++)
        if (attr.at[i] & ~attr.at[size + i])
            act_build_fail(b, EINVAL, "set_masked with a value outside its mask");
    if (!clear_fixed(attr.type, b->pool + operand, b->pool + operand + size, masked))
        act_build_fail(b, EINVAL, "set of an IP protocol, fragment or reserved bits");
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
