/* SPDX-License-Identifier: Apache-2.0
 * odp_key.c - reads keys and masks from ODP attributes (odp.h).
 *
 * The verdicts are those of Open vSwitch's userspace datapath (odp_flow_key_to_flow of 3.1.0 with a
 * fitness other than "perfect" refused), with these differences: unknown attributes are refused
 * (3.1 skips them, later ones do not, and a feature probe must learn the truth); attributes beside
 * an ENCAP that belong into it are refused; a mask for a truncated VLAN header can be given. */
#include "odp/odp.h"

#include <errno.h>

#include "odp/odp_int.h"
#include "packet/pkt.h"

#define VARIABLE 0xffff

/* Payload sizes by attribute; 0: no such attribute. */
static const uint16_t odp_sizes[ODP_KEY_LAST + 1] = {
    [OVS_KEY_ATTR_ENCAP] = VARIABLE,
    [OVS_KEY_ATTR_PRIORITY] = 4,
    [OVS_KEY_ATTR_IN_PORT] = 4,
    [OVS_KEY_ATTR_ETHERNET] = 12,
    [OVS_KEY_ATTR_VLAN] = 2,
    [OVS_KEY_ATTR_ETHERTYPE] = 2,
    [OVS_KEY_ATTR_IPV4] = 12,
    [OVS_KEY_ATTR_IPV6] = 40,
    [OVS_KEY_ATTR_TCP] = 4,
    [OVS_KEY_ATTR_UDP] = 4,
    [OVS_KEY_ATTR_ICMP] = 2,
    [OVS_KEY_ATTR_ICMPV6] = 2,
    [OVS_KEY_ATTR_ARP] = 24,
    [OVS_KEY_ATTR_ND] = 28,
    [OVS_KEY_ATTR_SKB_MARK] = 4,
    [OVS_KEY_ATTR_TUNNEL] = VARIABLE,
    [OVS_KEY_ATTR_SCTP] = 4,
    [OVS_KEY_ATTR_TCP_FLAGS] = 2,
    [OVS_KEY_ATTR_DP_HASH] = 4,
    [OVS_KEY_ATTR_RECIRC_ID] = 4,
    [OVS_KEY_ATTR_MPLS] = VARIABLE,
    [OVS_KEY_ATTR_CT_STATE] = 4,
    [OVS_KEY_ATTR_CT_ZONE] = 2,
    [OVS_KEY_ATTR_CT_MARK] = 4,
    [OVS_KEY_ATTR_CT_LABELS] = 16,
    [OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV4] = 16,
    [OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV6] = 40,
    [OVS_KEY_ATTR_NSH] = VARIABLE,
    [ODP_KEY_PACKET_TYPE] = 4,
    [ODP_KEY_ND_EXTENSIONS] = 8,
};

static int refuse(const char **why, const char *text)
{
    *why = text;
    return EINVAL;
}

int odp_collect(const uint8_t *attrs, uint32_t size, struct odp_set *set, const char **why)
{
    struct odp_walk walk = { attrs, size };
    struct odp_attr attr;

    set->present = set->expected = 0;
    while (odp_next(&walk, &attr)) {
        if (attr.type > ODP_KEY_LAST || !odp_sizes[attr.type])
            return refuse(why, "unknown key attribute");
        if (odp_sizes[attr.type] != VARIABLE && odp_sizes[attr.type] != attr.size)
            return refuse(why, "key attribute of the wrong size");
        if (odp_has(set, attr.type))
            return refuse(why, "key attribute given twice");
        set->present |= 1ull << attr.type;
        set->attrs[attr.type] = attr;
    }
    return walk.left ? refuse(why, "key attribute cut short") : 0;
}

int odp_read_unused(const struct odp_set *set, const char **why)
{
    return set->present & ~set->expected ? refuse(why, "key attribute that does not belong here") : 0;
}

static void take_tuples(struct odp_set *set, struct key_ct *ct)
{
    const uint8_t *at = odp_take(set, OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV4);
    uint32_t address = 4;

    if (!at) {
        at = odp_take(set, OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV6);
        address = 16;
    }
    if (!at)
        return;
    memcpy(ct->orig_src, at, address);
    memcpy(ct->orig_dst, at + address, address);
    memcpy(&ct->orig_tp_src, at + 2 * address, 2);
    memcpy(&ct->orig_tp_dst, at + 2 * address + 2, 2);
    ct->orig_proto = at[2 * address + 4];
}

int odp_read_metadata(struct odp_set *set, const struct key *of, struct key *to, const char **why)
{
    uint32_t ct_state = 0;

    odp_take_into(set, OVS_KEY_ATTR_RECIRC_ID, &to->base.recirc_id, 4);
    odp_take_into(set, OVS_KEY_ATTR_DP_HASH, &to->base.dp_hash, 4);
    odp_take_into(set, OVS_KEY_ATTR_PRIORITY, &to->ct.skb_priority, 4);
    odp_take_into(set, OVS_KEY_ATTR_SKB_MARK, &to->base.skb_mark, 4);
    odp_take_into(set, OVS_KEY_ATTR_CT_STATE, &ct_state, 4);
    odp_take_into(set, OVS_KEY_ATTR_CT_ZONE, &to->base.ct_zone, 2);
    odp_take_into(set, OVS_KEY_ATTR_CT_MARK, &to->base.ct_mark, 4);
    odp_take_into(set, OVS_KEY_ATTR_CT_LABELS, to->ct.label, 16);
    if (ct_state > 0xff && !of)
        return refuse(why, "unknown bits in ct_state");
    to->base.ct_state = (uint8_t)ct_state;
    if (odp_has(set, OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV4) && odp_has(set, OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV6))
        return refuse(why, "two original tuples");
    take_tuples(set, &to->ct);
    if (!odp_take_into(set, OVS_KEY_ATTR_IN_PORT, &to->base.in_port, 4) && !of)
        to->base.in_port = UINT32_MAX;
    if (odp_take(set, OVS_KEY_ATTR_TUNNEL))
        return odp_read_tunnel(&set->attrs[OVS_KEY_ATTR_TUNNEL], of, &to->tunnel, to->options, why);
    return 0;
}

int odp_check_tuples(uint64_t present, uint16_t eth_type, const char **why)
{
    if ((present >> OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV4 & 1 && eth_type != ODP_BE16(0x0800))
        || (present >> OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV6 & 1 && eth_type != ODP_BE16(0x86dd)))
        return refuse(why, "original tuple of another IP version than eth_type");
    return 0;
}

/* The Ethernet header of a key, or what stands for it. */
static int read_key_ethernet(struct odp_set *set, struct key *key, uint16_t *type, const char **why)
{
    const uint8_t *ethernet = odp_take(set, OVS_KEY_ATTR_ETHERNET);
    uint32_t packet_type = 0;

    odp_take_into(set, ODP_KEY_PACKET_TYPE, &packet_type, 4);
    packet_type = ODP_BE32(packet_type);
    if (packet_type && (packet_type >> 16 != 1 || (packet_type & 0xffff && (packet_type & 0xffff) < 0x600)))
        return refuse(why, "unknown packet type");
    *type = 0;
    if (ethernet) {
        memcpy(key->base.eth_src, ethernet, 6); /* Source first, unlike the wire. */
        memcpy(key->base.eth_dst, ethernet + 6, 6);
    } else if (packet_type || odp_has(set, OVS_KEY_ATTR_ETHERTYPE)) {
        key->base.l2 = 1;
        *type = ODP_BE16(packet_type & 0xffff);
    }
    return 0;
}

static int read_type(struct odp_set *set, uint16_t *type, const char **why)
{
    if (odp_take_into(set, OVS_KEY_ATTR_ETHERTYPE, type, 2))
        return ODP_BE16(*type) < 0x600 ? refuse(why, "eth_type below 0x600") : 0;
    if (*type)
        return 0;
    if (odp_has(set, OVS_KEY_ATTR_IPV4))
        *type = ODP_BE16(0x0800);
    else if (odp_has(set, OVS_KEY_ATTR_IPV6))
        *type = ODP_BE16(0x86dd);
    else if (odp_has(set, OVS_KEY_ATTR_MPLS))
        *type = ODP_BE16(0x8847);
    return 0;
}

/* One tag of a key.  `*truncated`: a tag that the frame was too short for; its TPID is the
 * eth_type. */
static int read_key_vlan(struct odp_set *set, uint16_t type, struct key_vlan *vlan, bool *truncated, const char **why)
{
    const struct odp_attr *encap = &set->attrs[OVS_KEY_ATTR_ENCAP];
    uint16_t tci = 0;
    int error;

    if (!odp_take_into(set, OVS_KEY_ATTR_VLAN, &tci, 2) || !odp_take(set, OVS_KEY_ATTR_ENCAP))
        return refuse(why, "VLAN eth_type without vlan and encap");
    error = odp_read_unused(set, why);
    if (error)
        return error;
    *truncated = !tci;
    if (!tci)
        return encap->size ? refuse(why, "encap behind a truncated VLAN tag") : 0;
    if (!(tci & ODP_BE16(KEY_TCI_PRESENT)))
        return refuse(why, "VLAN TCI without the present bit 0x1000");
    *vlan = (struct key_vlan){ .tci = tci, .tpid = type };
    return odp_collect(encap->at, encap->size, set, why);
}

int odp_key_read(const uint8_t *attrs, uint32_t size, struct key *key, const char **why)
{
    struct odp_set set;
    uint64_t metadata;
    uint16_t type;
    bool truncated = false;
    int error;

    memset(key, 0, sizeof *key);
    if (odp_plain_read(attrs, size, key))
        return 0;
    error = odp_collect(attrs, size, &set, why);
    if (error)
        return error;
    metadata = set.present;
    error = odp_read_metadata(&set, NULL, key, why);
    if (!error)
        error = read_key_ethernet(&set, key, &type, why);
    for (int i = 0; !error; i++) {
        error = read_type(&set, &type, why);
        if (error || !odp_is_vlan(type) || i == KEY_VLANS)
            break;
        if (key->base.l2)
            return refuse(why, "VLAN tag without an Ethernet header");
        error = read_key_vlan(&set, type, &key->base.vlan[i], &truncated, why);
        if (truncated)
            break;
        type = 0;
    }
    if (error)
        return error;
    key->base.eth_type = type;
    if (!truncated)
        error = odp_read_l3(&set, true, NULL, key, why);
    if (!error && !truncated)
        error = odp_read_unused(&set, why);
    return error ? error : odp_check_tuples(metadata, type, why);
}

void odp_md_of(const struct key *key, struct pkt *pkt)
{
    static const uint8_t none[offsetof(struct key_ct, nd_options_type)];

    pkt->md = (struct pkt_md){
        .in_port = key->base.in_port,
        .recirc_id = key->base.recirc_id,
        .dp_hash = key->base.dp_hash,
        .skb_mark = key->base.skb_mark,
        .skb_priority = key->ct.skb_priority,
        .ct_mark = key->base.ct_mark,
        .ct_zone = key->base.ct_zone,
        .ct_state = key->base.ct_state,
        .more = key->base.l2 ? PKT_MORE_L3 : 0,
        .packet_type = key->base.l2 ? key->base.eth_type : 0,
    };
    if (key->tunnel.family) {
        pkt->tunnel = key->tunnel;
        memcpy(pkt->options, key->options, KEY_OPTIONS);
        pkt->md.more |= PKT_MORE_TUNNEL;
    }
    /* Labels and the original tuple. */
    if (memcmp(&key->ct, none, sizeof none)) {
        pkt->ct = key->ct;
        pkt->md.more |= PKT_MORE_CT;
    }
}

int odp_md_read(const uint8_t *attrs, uint32_t size, struct pkt *pkt, const char **why)
{
    struct odp_set set;
    struct key key;
    uint32_t packet_type = 0;
    int error = odp_collect(attrs, size, &set, why);

    memset(&key, 0, sizeof key);
    if (!error)
        error = odp_read_metadata(&set, NULL, &key, why);
    if (!error && odp_take_into(&set, ODP_KEY_PACKET_TYPE, &packet_type, 4)) {
        packet_type = ODP_BE32(packet_type);
        if (packet_type && (packet_type >> 16 != 1 || (packet_type & 0xffff) < 0x600))
            return refuse(why, "unknown packet type");
        key.base.l2 = packet_type != 0;
        key.base.eth_type = ODP_BE16(packet_type & 0xffff);
    }
    if (!error)
        odp_md_of(&key, pkt);
    return error;
}
