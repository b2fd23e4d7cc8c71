/* SPDX-License-Identifier: Apache-2.0
 * act_set.c - set and set_masked of header fields, checksums kept right (act_int.h).
 *
 * Nothing is taken for granted: the packet may be another than the flow's key promised (execute
 * runs any list on any bytes).  Each function checks that the header is whole and in the first
 * segment, and leaves the packet alone if not.
 *
 * Where Open vSwitch 3.1.0 was seen to do otherwise: addresses of IPv4 change bytes of later
 * fragments as if they were a checksum; addresses of IPv6 behind a routing header, or a fragment
 * header that fragments nothing, leave the checksum of UDP as it was; only the first option of
 * neighbour discovery is set. */
#include <rte_mbuf.h>

#include "act/act_int.h"
#include "packet/csum.h"
#include "packet/partial.h"
#include "odp/odp_attr.h"

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMPV6 58
#define PROTO_SCTP 132

#define ND_OPTIONS 24u       /* Behind the 8 bytes of ICMPv6 and the target. */

/* Writes `value` over the bits of `mask` and returns the change for checksums.  `size` is even and
 * at most 40. */
static uint64_t put_masked(uint8_t *at, const uint8_t *value, const uint8_t *mask, uint32_t size)
{
    uint8_t to[40];
    uint64_t change;

    for (uint32_t i = 0; i < size; i++)
        to[i] = (uint8_t)(value[i] | (at[i] & ~mask[i]));
    change = csum_change(at, to, size);
    memcpy(at, to, size);
    return change;
}

/* The same for one byte of the word that begins at `word`. */
static uint64_t put_masked_byte(uint8_t *word, uint32_t index, uint8_t value, uint8_t mask)
{
    uint8_t values[2] = { 0, 0 }, masks[2] = { 0, 0 };

    values[index] = value;
    masks[index] = mask;
    return put_masked(word, values, masks, 2);
}

/* Whether the checksum of the transport header is a partial one, which covers the pseudo-header
 * only.  That of a header further inside is none of its. */
static bool is_partial(const struct rte_mbuf *m, const struct act_layers *l)
{
    return partial_is_at(m, l->l4);
}

/* UDP's checksum may be absent, and is never 0 when present. */
static void update_udp(uint8_t *field, uint64_t change)
{
    static const uint8_t none[2] = { 0, 0 };

    if (!memcmp(field, none, 2))
        return;
    csum_update(field, change);
    if (!memcmp(field, none, 2))
        memset(field, 0xff, 2);
}

/* The pseudo-header has changed. */
static void update_pseudo(struct rte_mbuf *m, const struct act_layers *l, uint64_t change)
{
    uint8_t *l4 = rte_pktmbuf_mtod(m, uint8_t *) + l->l4;
    uint8_t *field = l4 + (l->l4_kind == PROTO_TCP ? 16 : l->l4_kind == PROTO_UDP ? 6 : 2);

    if (!change || (l->l4_kind != PROTO_TCP && l->l4_kind != PROTO_UDP && l->l4_kind != PROTO_ICMPV6))
        return;
    if (is_partial(m, l))
        csum_update_partial(field, change);
    else if (l->l4_kind == PROTO_UDP)
        update_udp(field, change);
    else
        csum_update(field, change);
}

static void set_ipv4(struct rte_mbuf *m, const struct act_layers *l, const uint8_t *value, const uint8_t *mask)
{
    uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *) + l->l3;
    const struct odp_ipv4 *v = (const void *)value, *k = (const void *)mask;
    uint64_t addresses;

    if (l->ip != 4)
        return;
    addresses = put_masked(ip + 12, value, mask, 8);
    csum_update(ip + 10, addresses + put_masked_byte(ip, 1, v->tos, k->tos) + put_masked_byte(ip + 8, 0, v->ttl, k->ttl));
    update_pseudo(m, l, addresses);
}

static void set_ipv6(struct rte_mbuf *m, const struct act_layers *l, const uint8_t *value, const uint8_t *mask)
{
    uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *) + l->l3;
    const struct odp_ipv6 *v = (const void *)value, *k = (const void *)mask;
    uint32_t word, bits, set;
    uint64_t source, destination;

    if (l->ip != 6)
        return;
    source = put_masked(ip + 8, v->src, k->src, 16);
    destination = put_masked(ip + 24, v->dst, k->dst, 16);
    /* With segments left the last of them is the destination that the checksum knows, not this
     * one. */
    update_pseudo(m, l, source + (l->routed ? 0 : destination));
    memcpy(&word, ip, 4);
    set = v->label | ODP_BE32((uint32_t)v->tclass << 20);
    bits = k->label | ODP_BE32((uint32_t)k->tclass << 20);
    word = set | (word & ~bits);
    memcpy(ip, &word, 4);
    ip[7] = (uint8_t)(v->hlimit | (ip[7] & ~k->hlimit));
}

static void set_ports(struct rte_mbuf *m, const struct act_layers *l, uint8_t proto, const uint8_t *value, const uint8_t *mask)
{
    uint8_t *l4 = rte_pktmbuf_mtod(m, uint8_t *) + l->l4;
    uint32_t before, after, checksum;
    uint64_t change;

    if (l->l4_kind != proto || (proto == PROTO_TCP && ((l4[12] >> 4) < 5 || (l4[12] >> 4) * 4 > l->l4_size)))
        return;
    memcpy(&before, l4, 4);
    change = put_masked(l4, value, mask, 4);
    if (is_partial(m, l))
        return; /* The ports are not in the pseudo-header. */
    if (proto == PROTO_TCP) {
        csum_update(l4 + 16, change);
    } else if (proto == PROTO_UDP) {
        update_udp(l4 + 6, change);
    } else {
        memcpy(&after, l4, 4);
        memcpy(&checksum, l4 + 8, 4);
        checksum ^= csum_crc32c_change(before ^ after, l->l4_size);
        memcpy(l4 + 8, &checksum, 4);
    }
}

static void set_icmp(struct rte_mbuf *m, const struct act_layers *l, uint8_t proto, const uint8_t *value, const uint8_t *mask)
{
    uint8_t *l4 = rte_pktmbuf_mtod(m, uint8_t *) + l->l4;

    if (l->l4_kind == proto)
        csum_update(l4 + 2, put_masked(l4, value, mask, 2));
}

/* Bytes of layer 4 that are in the first segment. */
static uint32_t l4_room(const struct rte_mbuf *m, const struct act_layers *l)
{
    return RTE_MIN((uint32_t)l->l4_size, (uint32_t)m->data_len - l->l4);
}

static bool is_nd(const struct rte_mbuf *m, const struct act_layers *l)
{
    const uint8_t *l4 = rte_pktmbuf_mtod(m, const uint8_t *) + l->l4;

    return l->l4_kind == PROTO_ICMPV6 && (l4[0] == 135 || l4[0] == 136) && !l4[1] && l4_room(m, l) >= ND_OPTIONS;
}

/* Target and link-layer addresses; every option that the packet has. */
static void set_nd(struct rte_mbuf *m, const struct act_layers *l, const uint8_t *value, const uint8_t *mask)
{
    uint8_t *l4 = rte_pktmbuf_mtod(m, uint8_t *) + l->l4;
    uint32_t at = ND_OPTIONS, room, size;
    uint64_t change;

    if (!is_nd(m, l))
        return;
    room = l4_room(m, l);
    change = put_masked(l4 + 8, value, mask, 16);
    for (; at + 8 <= room; at += size) {
        size = l4[at + 1] * 8u;
        if (!size || size > room - at)
            break;
        if (size == 8 && (l4[at] == 1 || l4[at] == 2)) {
            uint32_t field = l4[at] == 1 ? 16 : 22;

            change += put_masked(l4 + at + 2, value + field, mask + field, 6);
        }
    }
    csum_update(l4 + 2, change);
}

static void set_nd_extensions(struct rte_mbuf *m, const struct act_layers *l, const uint8_t *value, const uint8_t *mask)
{
    uint8_t *l4 = rte_pktmbuf_mtod(m, uint8_t *) + l->l4;
    uint64_t change;

    if (!is_nd(m, l))
        return;
    change = put_masked(l4 + 4, value, mask, 4);
    if (l4_room(m, l) >= ND_OPTIONS + 8)
        change += put_masked_byte(l4 + ND_OPTIONS, 0, value[4], mask[4]);
    csum_update(l4 + 2, change);
}

static void set_arp(struct rte_mbuf *m, const struct act_layers *l, const uint8_t *value, const uint8_t *mask)
{
    static const uint8_t kind[6] = { 0, 1, 8, 0, 6, 4 };
    const struct odp_arp *v = (const void *)value, *k = (const void *)mask;
    uint8_t *arp = rte_pktmbuf_mtod(m, uint8_t *) + l->l3;

    if (!odp_is_arp(l->eth_type) || m->data_len < l->l3 + 28u || memcmp(arp, kind, sizeof kind))
        return;
    put_masked(arp + 6, (const uint8_t *)&v->op, (const uint8_t *)&k->op, 2);
    put_masked(arp + 8, v->sha, k->sha, 6);
    put_masked(arp + 14, (const uint8_t *)&v->sip, (const uint8_t *)&k->sip, 4);
    put_masked(arp + 18, v->tha, k->tha, 6);
    put_masked(arp + 24, (const uint8_t *)&v->tip, (const uint8_t *)&k->tip, 4);
}

static void set_ethernet(struct rte_mbuf *m, const uint8_t *value, const uint8_t *mask)
{
    uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);

    if (m->ol_flags & PKT_L3 || m->data_len < 14)
        return;
    /* The attribute has the source first, the frame the destination. */
    put_masked(frame, value + 6, mask + 6, 6);
    put_masked(frame + 6, value, mask, 6);
}

/* Flags, TTL, path and, of metadata type 1, contexts: behind each other in struct ovs_nsh_key_base
 * and _md1, where flags and TTL have bytes of their own. */
static void set_nsh(struct rte_mbuf *m, const struct act_layers *l, const uint8_t *value, const uint8_t *mask)
{
    uint8_t *nsh = rte_pktmbuf_mtod(m, uint8_t *) + l->l3;
    uint8_t bits[2], set[2];

    if (l->eth_type != ODP_BE16(0x894f) || m->data_len < l->l3 + 8u)
        return;
    set[0] = (uint8_t)((value[0] & 3) << 4 | (value[1] >> 2 & 0x0f));
    bits[0] = (uint8_t)((mask[0] & 3) << 4 | (mask[1] >> 2 & 0x0f));
    set[1] = (uint8_t)(value[1] << 6);
    bits[1] = (uint8_t)(mask[1] << 6);
    put_masked(nsh, set, bits, 2);
    put_masked(nsh + 4, value + 4, mask + 4, 4);
    if (nsh[2] == 1 && m->data_len >= l->l3 + 24u)
        put_masked(nsh + 8, value + 8, mask + 8, 16);
}

void act_set(struct rte_mbuf *m, const struct act_layers *l, uint32_t attr, const uint8_t *value, const uint8_t *mask)
{
    switch (attr) {
    case OVS_KEY_ATTR_ETHERNET:
        set_ethernet(m, value, mask);
        break;
    case OVS_KEY_ATTR_IPV4:
        set_ipv4(m, l, value, mask);
        break;
    case OVS_KEY_ATTR_IPV6:
        set_ipv6(m, l, value, mask);
        break;
    case OVS_KEY_ATTR_TCP:
        set_ports(m, l, PROTO_TCP, value, mask);
        break;
    case OVS_KEY_ATTR_UDP:
        set_ports(m, l, PROTO_UDP, value, mask);
        break;
    case OVS_KEY_ATTR_SCTP:
        set_ports(m, l, PROTO_SCTP, value, mask);
        break;
    case OVS_KEY_ATTR_ICMP:
        set_icmp(m, l, PROTO_ICMP, value, mask);
        break;
    case OVS_KEY_ATTR_ICMPV6:
        set_icmp(m, l, PROTO_ICMPV6, value, mask);
        break;
    case OVS_KEY_ATTR_ND:
        set_nd(m, l, value, mask);
        break;
    case ODP_KEY_ND_EXTENSIONS:
        set_nd_extensions(m, l, value, mask);
        break;
    case OVS_KEY_ATTR_ARP:
        set_arp(m, l, value, mask);
        break;
    case OVS_KEY_ATTR_NSH:
        set_nsh(m, l, value, mask);
        break;
    case OVS_KEY_ATTR_MPLS:
        if (odp_is_mpls(l->eth_type) && m->data_len >= l->l3 + 4u)
            put_masked(rte_pktmbuf_mtod(m, uint8_t *) + l->l3, value, mask, 4);
        break;
    default:
        break;
    }
}

bool act_dec_ttl(struct rte_mbuf *m, const struct act_layers *l)
{
    uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *) + l->l3;

    if (l->ip == 4) {
        if (ip[8] <= 1)
            return false;
        csum_update(ip + 10, put_masked_byte(ip + 8, 0, (uint8_t)(ip[8] - 1), 0xff));
    } else if (l->ip == 6) {
        if (ip[7] <= 1)
            return false;
        ip[7]--;
    }
    return true;
}

static void set_word(uint32_t *field, const uint8_t *operand)
{
    uint32_t value, mask;

    memcpy(&value, operand, 4);
    memcpy(&mask, operand + 4, 4);
    *field = value | (*field & ~mask);
}

void act_set_metadata(struct rte_mbuf *m, uint32_t attr, const uint8_t *operand)
{
    struct pkt_md *md = &pkt_of(m)->md;

    switch (attr) {
    case OVS_KEY_ATTR_PRIORITY:
        set_word(&md->skb_priority, operand);
        m->ol_flags |= PKT_MARKED;
        break;
    case OVS_KEY_ATTR_SKB_MARK:
        set_word(&md->skb_mark, operand);
        m->ol_flags |= PKT_MARKED;
        break;
    case OVS_KEY_ATTR_DP_HASH:
        set_word(&md->dp_hash, operand);
        break;
    default:
        set_word(&md->recirc_id, operand);
        break;
    }
}
