/* SPDX-License-Identifier: Apache-2.0
 * odp_l3.c - the attributes behind layer 2, of keys and of masks (odp_int.h).
 *
 * A key must have the attributes that its eth_type and protocol call for.  A mask may leave any
 * out, but what it has must be what the key calls for, and a field is matched only where the fields
 * that tell what it is are matched exactly. */
#include <errno.h>

#include "odp/odp_int.h"

static int refuse(const char **why, const char *text)
{
    *why = text;
    return EINVAL;
}

static bool all_zero(const uint8_t *at, uint32_t size)
{
    uint8_t any = 0;

    while (size--)
        any |= *at++;
    return !any;
}

static int read_mpls(struct odp_set *set, const struct key *of, struct key *to, const char **why)
{
    const uint8_t *at = odp_take(set, OVS_KEY_ATTR_MPLS);
    uint32_t n, *lse = to->wide.l3x.mpls;

    if (!at)
        return 0;
    n = set->attrs[OVS_KEY_ATTR_MPLS].size / 4u;
    if (!n || n > KEY_MPLS || set->attrs[OVS_KEY_ATTR_MPLS].size % 4)
        return refuse(why, "MPLS: not one to three label stack entries");
    memcpy(lse, at, n * 4);
    if (of)
        return 0;
    for (uint32_t i = 0; i + 1 < n; i++)
        if (lse[i] & ODP_BE32(0x100))
            return refuse(why, "MPLS: bottom of stack above the last label");
    if (n < KEY_MPLS && !(lse[n - 1] & ODP_BE32(0x100)))
        return refuse(why, "MPLS: no bottom of stack");
    return 0;
}

static int read_ipv4(struct odp_set *set, const struct key *of, struct key *to, const char **why)
{
    struct odp_ipv4 ip;

    if (!odp_take_into(set, OVS_KEY_ATTR_IPV4, &ip, sizeof ip))
        return 0;
    if (!of && ip.frag > KEY_FRAG_LATER)
        return refuse(why, "unknown kind of IP fragment");
    if (of && (ip.frag & KEY_FRAG_BITS) && (ip.frag & KEY_FRAG_BITS) != KEY_FRAG_BITS)
        return refuse(why, "the kind of IP fragment is matched in whole or not at all");
    to->base.ip4_src = ip.src;
    to->base.ip4_dst = ip.dst;
    to->base.nw_proto = ip.proto;
    to->base.nw_tos = ip.tos;
    to->base.nw_ttl = ip.ttl;
    to->base.nw_frag = of && ip.frag ? 0xff : ip.frag;
    return 0;
}

static int read_ipv6(struct odp_set *set, const struct key *of, struct key *to, const char **why)
{
    struct odp_ipv6 ip;

    if (!odp_take_into(set, OVS_KEY_ATTR_IPV6, &ip, sizeof ip))
        return 0;
    if (!of && ip.frag > KEY_FRAG_LATER)
        return refuse(why, "unknown kind of IP fragment");
    if (of && (ip.frag & KEY_FRAG_BITS) && (ip.frag & KEY_FRAG_BITS) != KEY_FRAG_BITS)
        return refuse(why, "the kind of IP fragment is matched in whole or not at all");
    if (!of && ip.label & ~ODP_BE32(0xfffff))
        return refuse(why, "IPv6 flow label above 20 bits");
    memcpy(to->wide.ip6_src, ip.src, 16);
    memcpy(to->wide.ip6_dst, ip.dst, 16);
    to->wide.ip6_label = ip.label & ODP_BE32(0xfffff);
    to->base.nw_proto = ip.proto;
    to->base.nw_tos = ip.tclass;
    to->base.nw_ttl = ip.hlimit;
    to->base.nw_frag = of && ip.frag ? 0xff : ip.frag;
    return 0;
}

static int read_arp(struct odp_set *set, const struct key *of, struct key *to, const char **why)
{
    struct odp_arp arp;

    if (!odp_take_into(set, OVS_KEY_ATTR_ARP, &arp, sizeof arp))
        return 0;
    if (!of && arp.op & ODP_BE16(0xff00))
        return refuse(why, "ARP opcode above 255");
    to->base.ip4_src = arp.sip;
    to->base.ip4_dst = arp.tip;
    to->base.nw_proto = ODP_BE16(arp.op) & 0xff;
    memcpy(to->wide.l3x.arp.sha, arp.sha, 6);
    memcpy(to->wide.l3x.arp.tha, arp.tha, 6);
    return 0;
}

static int read_nsh(struct odp_set *set, const struct key *of, struct key *to, const char **why)
{
    struct odp_walk walk;
    struct odp_attr attr;
    bool md1 = false;
    const uint8_t *at = odp_take(set, OVS_KEY_ATTR_NSH);

    if (!at)
        return 0;
    walk = (struct odp_walk){ at, set->attrs[OVS_KEY_ATTR_NSH].size };
    while (odp_next(&walk, &attr)) {
        if (attr.type == OVS_NSH_KEY_ATTR_BASE && attr.size == 8) {
            memcpy(&to->wide.l3x.nsh, attr.at, 8); /* Same order. */
        } else if (attr.type == OVS_NSH_KEY_ATTR_MD1 && attr.size == 16) {
            memcpy(to->wide.l3x.nsh.context, attr.at, 16);
            md1 = true;
        } else {
            return refuse(why, "NSH attribute unknown or of the wrong size");
        }
    }
    if (walk.left)
        return refuse(why, "NSH attribute cut short");
    if (md1 && (of ? of : to)->wide.l3x.nsh.mdtype != 1)
        return refuse(why, "NSH contexts with another metadata type than 1");
    return 0;
}

static int read_nd(struct odp_set *set, const struct key *of, struct key *to, const char **why)
{
    const uint8_t *extensions = odp_take(set, ODP_KEY_ND_EXTENSIONS), *nd = odp_take(set, OVS_KEY_ATTR_ND);
    bool exact = to->base.tp_src == ODP_BE16(0xff) && to->base.tp_dst == ODP_BE16(0xff);

    if (!of && !nd)
        return refuse(why, "neighbour discovery without nd");
    if (nd) {
        if (of && !exact && !all_zero(nd, 28))
            return refuse(why, "nd matched without exact ICMPv6 type and code");
        memcpy(to->wide.l3x.nd.target, nd, 28); /* And both addresses: same order. */
    }
    if (extensions) {
        if (of && !exact && !all_zero(extensions, 5))
            return refuse(why, "nd_ext matched without exact ICMPv6 type and code");
        memcpy(&to->ct.nd_reserved, extensions, 4);
        to->ct.nd_options_type = extensions[4];
    }
    return 0;
}

static int read_l4(struct odp_set *set, const struct key *of, struct key *to, const char **why)
{
    unsigned int type = odp_l4_attr(of ? &of->base : &to->base);
    const uint8_t *at = type ? odp_take(set, type) : NULL;

    if (!type)
        return 0;
    if (!at && !of)
        return refuse(why, "IP protocol without its attribute");
    if (at && (type == OVS_KEY_ATTR_ICMP || type == OVS_KEY_ATTR_ICMPV6)) {
        to->base.tp_src = ODP_BE16(at[0]);
        to->base.tp_dst = ODP_BE16(at[1]);
    } else if (at) {
        memcpy(&to->base.tp_src, at, 4); /* And tp_dst. */
    }
    if (type == OVS_KEY_ATTR_TCP) {
        odp_take_into(set, OVS_KEY_ATTR_TCP_FLAGS, &to->base.tcp_flags, 2);
        to->base.tcp_flags &= ODP_BE16(0x0fff);
    }
    if (of && (to->base.tp_src || to->base.tp_dst || to->base.tcp_flags) && to->base.nw_proto != 0xff)
        return refuse(why, "transport layer matched without an exact IP protocol");
    if (type == OVS_KEY_ATTR_ICMPV6 && odp_is_nd(of ? &of->base : &to->base))
        return read_nd(set, of, to, why);
    return 0;
}

int odp_read_l3(struct odp_set *set, bool type_exact, const struct key *of, struct key *to, const char **why)
{
    uint16_t eth_type = of ? of->base.eth_type : to->base.eth_type;
    unsigned int type;
    int error;

    if (eth_type == ODP_BE16(0x0800)) {
        type = OVS_KEY_ATTR_IPV4;
        error = read_ipv4(set, of, to, why);
    } else if (eth_type == ODP_BE16(0x86dd)) {
        type = OVS_KEY_ATTR_IPV6;
        error = read_ipv6(set, of, to, why);
    } else if (odp_is_arp(eth_type)) {
        type = OVS_KEY_ATTR_ARP;
        error = read_arp(set, of, to, why);
    } else if (odp_is_mpls(eth_type)) {
        type = OVS_KEY_ATTR_MPLS;
        error = read_mpls(set, of, to, why);
    } else if (eth_type == ODP_BE16(0x894f)) {
        type = OVS_KEY_ATTR_NSH;
        error = read_nsh(set, of, to, why);
    } else {
        return 0;
    }
    if (error)
        return error;
    if (!of && !odp_has(set, type))
        return refuse(why, "eth_type without its attribute");
    if (of && !type_exact && odp_has(set, type) && !all_zero(set->attrs[type].at, set->attrs[type].size))
        return refuse(why, "network layer matched without an exact eth_type");
    return odp_is_ip(eth_type) ? read_l4(set, of, to, why) : 0;
}
