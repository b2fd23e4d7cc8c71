/* SPDX-License-Identifier: Apache-2.0
 * odp_mask.c - reads masks from ODP attributes, and makes exact ones (odp.h). */
#include "odp/odp.h"

#include <errno.h>

#include "odp/odp_int.h"

static int refuse(const char **why, const char *text)
{
    *why = text;
    return EINVAL;
}

static void fill(void *field, uint32_t size)
{
    memset(field, 0xff, size);
}

static void exact_l4(const struct key *key, struct key *mask)
{
    switch (odp_l4_attr(&key->base)) {
    case OVS_KEY_ATTR_TCP:
        mask->base.tcp_flags = ODP_BE16(0x0fff);
        mask->base.tp_src = mask->base.tp_dst = 0xffff;
        break;
    case OVS_KEY_ATTR_UDP:
    case OVS_KEY_ATTR_SCTP:
        mask->base.tp_src = mask->base.tp_dst = 0xffff;
        break;
    case OVS_KEY_ATTR_ICMP:
    case OVS_KEY_ATTR_ICMPV6:
        mask->base.tp_src = mask->base.tp_dst = ODP_BE16(0xff);
        if (odp_l4_attr(&key->base) == OVS_KEY_ATTR_ICMPV6 && odp_is_nd(&key->base)) {
            fill(&mask->wide.l3x.nd, sizeof mask->wide.l3x.nd);
            fill(&mask->ct.nd_reserved, 4);
            mask->ct.nd_options_type = 0xff;
        }
        break;
    default:
        break;
    }
}

static void exact_l3(const struct key *key, struct key *mask)
{
    struct key_base *b = &mask->base;
    uint16_t type = key->base.eth_type;

    if (odp_is_ip(type)) {
        b->nw_proto = b->nw_tos = b->nw_ttl = 0xff;
        if (type == ODP_BE16(0x0800)) {
            b->ip4_src = b->ip4_dst = UINT32_MAX;
        } else {
            fill(mask->wide.ip6_src, 32); /* And ip6_dst. */
            mask->wide.ip6_label = ODP_BE32(0xfffff);
        }
        exact_l4(key, mask);
    } else if (odp_is_arp(type)) {
        b->ip4_src = b->ip4_dst = UINT32_MAX;
        b->nw_proto = 0xff;
        fill(&mask->wide.l3x.arp, sizeof mask->wide.l3x.arp);
    } else if (odp_is_mpls(type)) {
        fill(mask->wide.l3x.mpls, 4 * odp_mpls_count(&key->wide));
    } else if (type == ODP_BE16(0x894f)) {
        fill(&mask->wide.l3x.nsh, key->wide.l3x.nsh.mdtype == 1 ? 24 : 8);
    }
}

/* What only some kinds of tunnel have is matched where there is such. */
static void exact_tunnel(const struct key *key, struct key *mask)
{
    fill(&mask->tunnel, offsetof(struct key_tunnel, options_size));
    mask->tunnel.options_size = 0xff;
    fill(mask->options, key->tunnel.options_size);
    if (key->tunnel.erspan_ver) {
        mask->tunnel.erspan_ver = 0xff;
        mask->tunnel.erspan = key->tunnel.erspan_ver == 1 ? UINT32_MAX : ODP_BE32(0xffff);
    }
    if (key->tunnel.gtpu_flags | key->tunnel.gtpu_msgtype)
        mask->tunnel.gtpu_flags = mask->tunnel.gtpu_msgtype = 0xff;
}

/* Exact on all that the packet has.  Metadata that only actions can set, and that lies outside
 * block 0, is left out of flows for packets straight from a port, where it is always zero: their
 * keys stay short, and short keys are fast. */
static void exact(const struct key *key, struct key *mask)
{
    struct key_base *b = &mask->base;

    b->l2 = 0xff;
    if (!key->base.l2)
        fill(b->eth_dst, 12); /* And eth_src. */
    for (int i = 0; i < KEY_VLANS; i++)
        if (key->base.vlan[i].tci)
            b->vlan[i].tci = 0xffff;
    b->ct_state = 0xff;
    b->ct_zone = 0xffff;
    b->skb_mark = b->ct_mark = b->dp_hash = UINT32_MAX;
    if (key->base.recirc_id || key->ct.skb_priority)
        mask->ct.skb_priority = UINT32_MAX;
    if (key->base.ct_state) {
        fill(mask->ct.label, 16);
        if (key->ct.orig_proto) {
            fill(mask->ct.orig_src, 32); /* And orig_dst. */
            mask->ct.orig_tp_src = mask->ct.orig_tp_dst = 0xffff;
            mask->ct.orig_proto = 0xff;
        }
    }
    if (key->tunnel.family)
        exact_tunnel(key, mask);
    exact_l3(key, mask);
}

/* What every match includes (key.h). */
static void always(const struct key *key, struct key *mask)
{
    struct key_base *b = &mask->base;

    b->in_port = b->recirc_id = UINT32_MAX;
    b->l2 |= key->base.l2 ? 0xff : KEY_L2_KIND;
    b->eth_type = 0xffff;
    for (int i = 0; i < KEY_VLANS && !key->base.l2; i++) {
        b->vlan[i].tci |= ODP_BE16(KEY_TCI_PRESENT);
        if (!key->base.vlan[i].tci)
            break; /* There is none behind a tag that is not there. */
        b->vlan[i].tpid = 0xffff;
    }
    if (key->tunnel.family)
        mask->tunnel.family = 0xff;
}

/* What is matched in whole, always, must not be asked for in part: the flow would match less than
 * it says.  Absent, or without bits, it says nothing. */
static bool in_part(uint32_t mask, uint32_t all)
{
    return mask && mask != all;
}

/* Tags and eth_type.  Leaves `set` at the level where layer 3 is; `*type` is the mask of eth_type,
 * 0 if not given. */
static int read_l2(struct odp_set *set, const struct key *key, struct key *mask, uint16_t *type, const char **why)
{
    int i = 0, error;

    *type = 0;
    odp_take_into(set, OVS_KEY_ATTR_ETHERTYPE, type, 2);
    for (; i < KEY_VLANS && key->base.vlan[i].tci; i++) {
        const struct odp_attr encap = set->attrs[OVS_KEY_ATTR_ENCAP];
        bool inner;

        if (in_part(*type, 0xffff))
            return refuse(why, "eth_type of a VLAN tag is matched in whole or not at all");
        if (odp_take_into(set, OVS_KEY_ATTR_VLAN, &mask->base.vlan[i].tci, 2) && mask->base.vlan[i].tci
            && !(mask->base.vlan[i].tci & ODP_BE16(KEY_TCI_PRESENT)))
            return refuse(why, "whether there is a VLAN tag always matters");
        inner = odp_take(set, OVS_KEY_ATTR_ENCAP);
        error = odp_read_unused(set, why);
        if (!error)
            error = inner ? odp_collect(encap.at, encap.size, set, why) : odp_collect(NULL, 0, set, why);
        if (error)
            return error;
        *type = 0;
        odp_take_into(set, OVS_KEY_ATTR_ETHERTYPE, type, 2);
        if (!inner)
            return 0;
    }
    if (i < KEY_VLANS && !key->base.l2) {
        /* No tag, or a truncated one: there is nothing to match but that. */
        odp_take(set, OVS_KEY_ATTR_VLAN);
        if (odp_is_vlan(key->base.eth_type) && odp_take(set, OVS_KEY_ATTR_ENCAP) && set->attrs[OVS_KEY_ATTR_ENCAP].size)
            return refuse(why, "encap behind a truncated VLAN tag");
    }
    if (in_part(*type, 0xffff))
        return refuse(why, "eth_type is matched in whole or not at all");
    if (!key->base.eth_type && *type != 0xffff)
        return refuse(why, "eth_type is always matched: a key without one needs an eth_type mask of 0xffff");
    return 0;
}

int odp_mask_read(const uint8_t *attrs, uint32_t size, const struct key *key, struct key *mask, const char **why)
{
    struct odp_set set;
    const uint8_t *ethernet;
    uint64_t metadata;
    uint32_t packet_type = 0;
    uint16_t type;
    int error;

    memset(mask, 0, sizeof *mask);
    if (!attrs || !size) {
        if (!attrs)
            exact(key, mask);
        always(key, mask);
        /* No mask at all, or one of nothing: Open vSwitch's translation always looks at this.  A
         * mask that has something decides for itself. */
        if (odp_is_ip(key->base.eth_type))
            mask->base.nw_frag = 0xff;
        return 0;
    }
    error = odp_collect(attrs, size, &set, why);
    metadata = set.present;
    if (!error)
        error = odp_read_metadata(&set, key, mask, why);
    if (!error)
        error = odp_check_tuples(metadata, key->base.eth_type, why);
    if (error)
        return error;
    if (mask->base.in_port != UINT32_MAX)
        return refuse(why, "in_port is not matched exactly");
    if (in_part(mask->base.recirc_id, UINT32_MAX))
        return refuse(why, "recirc_id is matched in whole or not at all");
    if (key->tunnel.family == 0 && mask->tunnel.family)
        mask->tunnel.family = 0xff;
    odp_take_into(&set, ODP_KEY_PACKET_TYPE, &packet_type, 4);
    if (in_part(packet_type, UINT32_MAX))
        return refuse(why, "packet_type is matched in whole or not at all");
    mask->base.l2 = packet_type ? 0xff : 0;
    ethernet = key->base.l2 ? NULL : odp_take(&set, OVS_KEY_ATTR_ETHERNET);
    if (ethernet) {
        memcpy(mask->base.eth_src, ethernet, 6);
        memcpy(mask->base.eth_dst, ethernet + 6, 6);
    }
    error = read_l2(&set, key, mask, &type, why);
    if (!error)
        error = odp_read_l3(&set, type == 0xffff || key->base.l2, key, mask, why);
    if (!error)
        error = odp_read_unused(&set, why);
    if (!error)
        always(key, mask);
    return error;
}

/* Masks are read with an eye on the layers of the key, and on what is in some of them: labels,
 * tunnels, neighbour discovery. */
bool odp_mask_alike(const struct key *a, const struct key *b)
{
    unsigned int l4 = odp_l4_attr(&a->base);

    return (l4 == OVS_KEY_ATTR_UDP || l4 == OVS_KEY_ATTR_TCP || l4 == OVS_KEY_ATTR_SCTP) && a->base.nw_proto == b->base.nw_proto
           && a->base.nw_frag == b->base.nw_frag && a->base.eth_type == b->base.eth_type && !a->base.l2 && !b->base.l2
           && !a->tunnel.family && !b->tunnel.family && !memcmp(a->base.vlan, b->base.vlan, sizeof a->base.vlan);
}
