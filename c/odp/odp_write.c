/* SPDX-License-Identifier: Apache-2.0
 * odp_write.c - writes keys and masks as ODP attributes (odp.h). */
#include "odp/odp.h"

#include "odp/odp_int.h"

static void put_u32(struct odp_out *out, unsigned int type, uint32_t x)
{
    odp_put_bytes(out, type, &x, sizeof x);
}

static void put_u16(struct odp_out *out, unsigned int type, uint16_t x)
{
    odp_put_bytes(out, type, &x, sizeof x);
}

static bool has_tuple(const struct key_ct *ct)
{
    static const uint8_t none[offsetof(struct key_ct, nd_options_type) - offsetof(struct key_ct, orig_src)];

    return memcmp(ct->orig_src, none, sizeof none);
}

static void write_tuple(struct odp_out *out, const struct key *data, const struct key *key)
{
    bool ipv6 = key->base.eth_type == ODP_BE16(0x86dd);
    uint32_t address = ipv6 ? 16 : 4;
    uint8_t *at;

    if (!odp_is_ip(key->base.eth_type) || !(has_tuple(&key->ct) || has_tuple(&data->ct)))
        return;
    at = odp_put(out, ipv6 ? OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV6 : OVS_KEY_ATTR_CT_ORIG_TUPLE_IPV4, 2 * address + 8);
    if (!at)
        return;
    memcpy(at, data->ct.orig_src, address);
    memcpy(at + address, data->ct.orig_dst, address);
    memcpy(at + 2 * address, &data->ct.orig_tp_src, 2);
    memcpy(at + 2 * address + 2, &data->ct.orig_tp_dst, 2);
    at[2 * address + 4] = data->ct.orig_proto;
}

static void write_metadata(struct odp_out *out, const struct key *data, const struct key *key, bool is_mask)
{
    uint32_t packet_type;

    put_u32(out, OVS_KEY_ATTR_RECIRC_ID, data->base.recirc_id);
    put_u32(out, OVS_KEY_ATTR_DP_HASH, data->base.dp_hash);
    put_u32(out, OVS_KEY_ATTR_PRIORITY, data->ct.skb_priority);
    if (key->tunnel.family || data->tunnel.family) /* A mask may ask that there is no tunnel. */
        odp_write_tunnel(out, data, key);
    if (is_mask || data->base.in_port != UINT32_MAX)
        put_u32(out, OVS_KEY_ATTR_IN_PORT, data->base.in_port);
    put_u32(out, OVS_KEY_ATTR_SKB_MARK, data->base.skb_mark);
    put_u32(out, OVS_KEY_ATTR_CT_STATE, data->base.ct_state);
    put_u16(out, OVS_KEY_ATTR_CT_ZONE, data->base.ct_zone);
    put_u32(out, OVS_KEY_ATTR_CT_MARK, data->base.ct_mark);
    odp_put_bytes(out, OVS_KEY_ATTR_CT_LABELS, data->ct.label, 16);
    write_tuple(out, data, key);
    /* A flow whose mask did not ask for the packet type is shown as it was put: as one of
     * frames. */
    packet_type = is_mask ? (data->base.l2 == 0xff ? UINT32_MAX : 0) : key->base.l2 ? ODP_BE32(0x10000u | ODP_BE16(key->base.eth_type)) : 0;
    put_u32(out, ODP_KEY_PACKET_TYPE, packet_type);
}

static void write_nd(struct odp_out *out, const struct key *data, bool is_mask)
{
    uint8_t *at;

    if (is_mask && (data->base.tp_src != ODP_BE16(0xff) || data->base.tp_dst != ODP_BE16(0xff)))
        return;
    odp_put_bytes(out, OVS_KEY_ATTR_ND, &data->wide.l3x.nd, 28);
    if (!data->ct.nd_reserved && !data->ct.nd_options_type)
        return;
    at = odp_put(out, ODP_KEY_ND_EXTENSIONS, 8);
    if (at) {
        memcpy(at, &data->ct.nd_reserved, 4);
        at[4] = data->ct.nd_options_type;
    }
}

static void write_l4(struct odp_out *out, const struct key *data, const struct key *key, bool is_mask)
{
    unsigned int type = odp_l4_attr(&key->base);
    uint8_t *at;

    if (!type)
        return;
    if (type == OVS_KEY_ATTR_ICMP || type == OVS_KEY_ATTR_ICMPV6) {
        at = odp_put(out, type, 2);
        if (at) {
            at[0] = (uint8_t)ODP_BE16(data->base.tp_src);
            at[1] = (uint8_t)ODP_BE16(data->base.tp_dst);
        }
        if (type == OVS_KEY_ATTR_ICMPV6 && odp_is_nd(&key->base))
            write_nd(out, data, is_mask);
        return;
    }
    odp_put_bytes(out, type, &data->base.tp_src, 4); /* And tp_dst. */
    if (type == OVS_KEY_ATTR_TCP)
        put_u16(out, OVS_KEY_ATTR_TCP_FLAGS, data->base.tcp_flags);
}

static void write_nsh(struct odp_out *out, const struct key *data, const struct key *key)
{
    uint32_t nest = odp_nest(out, OVS_KEY_ATTR_NSH);

    odp_put_bytes(out, OVS_NSH_KEY_ATTR_BASE, &data->wide.l3x.nsh, 8);
    if (key->wide.l3x.nsh.mdtype == 1)
        odp_put_bytes(out, OVS_NSH_KEY_ATTR_MD1, data->wide.l3x.nsh.context, 16);
    odp_nest_end(out, nest);
}

static void write_l3(struct odp_out *out, const struct key *data, const struct key *key, bool is_mask)
{
    const struct key_base *b = &data->base;
    uint16_t type = key->base.eth_type;

    if (type == ODP_BE16(0x0800)) {
        struct odp_ipv4 ip = { b->ip4_src, b->ip4_dst, b->nw_proto, b->nw_tos, b->nw_ttl, b->nw_frag };

        odp_put_bytes(out, OVS_KEY_ATTR_IPV4, &ip, sizeof ip);
        write_l4(out, data, key, is_mask);
    } else if (type == ODP_BE16(0x86dd)) {
        struct odp_ipv6 ip = { .label = data->wide.ip6_label, .proto = b->nw_proto, .tclass = b->nw_tos,
                               .hlimit = b->nw_ttl, .frag = b->nw_frag };

        memcpy(ip.src, data->wide.ip6_src, 16);
        memcpy(ip.dst, data->wide.ip6_dst, 16);
        odp_put_bytes(out, OVS_KEY_ATTR_IPV6, &ip, sizeof ip);
        write_l4(out, data, key, is_mask);
    } else if (odp_is_arp(type)) {
        struct odp_arp arp = { .sip = b->ip4_src, .tip = b->ip4_dst, .op = ODP_BE16(b->nw_proto) };

        memcpy(arp.sha, data->wide.l3x.arp.sha, 6);
        memcpy(arp.tha, data->wide.l3x.arp.tha, 6);
        odp_put_bytes(out, OVS_KEY_ATTR_ARP, &arp, sizeof arp);
    } else if (odp_is_mpls(type)) {
        odp_put_bytes(out, OVS_KEY_ATTR_MPLS, data->wide.l3x.mpls, 4 * odp_mpls_count(&key->wide));
    } else if (type == ODP_BE16(0x894f)) {
        write_nsh(out, data, key);
    }
}

static uint32_t write_key(const struct key *data, const struct key *key, bool is_mask, uint8_t *attrs, uint32_t room)
{
    struct odp_out out = { attrs, 0, room, false };
    const struct key_base *b = &data->base;
    uint16_t type = key->base.eth_type;
    uint32_t nests[KEY_VLANS];
    int n = 0;

    write_metadata(&out, data, key, is_mask);
    if (!key->base.l2) {
        uint8_t *at = odp_put(&out, OVS_KEY_ATTR_ETHERNET, 12);

        if (at) {
            memcpy(at, b->eth_src, 6);
            memcpy(at + 6, b->eth_dst, 6);
        }
        /* A truncated tag is written as one with TCI 0 and nothing in it. */
        while (n < KEY_VLANS && (key->base.vlan[n].tci || odp_is_vlan(type))) {
            uint16_t tpid = key->base.vlan[n].tci ? b->vlan[n].tpid : b->eth_type;

            put_u16(&out, OVS_KEY_ATTR_ETHERTYPE, tpid);
            put_u16(&out, OVS_KEY_ATTR_VLAN, b->vlan[n].tci);
            nests[n] = odp_nest(&out, OVS_KEY_ATTR_ENCAP);
            if (!key->base.vlan[n++].tci)
                goto end;
        }
    }
    if (type || is_mask)
        put_u16(&out, OVS_KEY_ATTR_ETHERTYPE, b->eth_type);
    write_l3(&out, data, key, is_mask);
end:
    while (n--)
        odp_nest_end(&out, nests[n]);
    return out.full ? 0 : out.used;
}

uint32_t odp_key_write(const struct key *key, uint8_t *attrs, uint32_t room)
{
    uint32_t size = odp_plain_write(key, attrs, room);

    return size ? size : write_key(key, key, false, attrs, room);
}

uint32_t odp_mask_write(const struct key *mask, const struct key *key, uint8_t *attrs, uint32_t room)
{
    return write_key(mask, key, true, attrs, room);
}
