/* SPDX-License-Identifier: Apache-2.0
 * ct_key.c - from a packet's bytes to a tuple, and whether the bytes can be believed (ct_int.h).
 *
 * The rules are those of Open vSwitch 3.1.0, seen: UDP's checksum is taken over what IP carries,
 * not over UDP's own length; ports of 0 are invalid; an ICMP error's source is not looked at,
 * but the packet inside must come from where the error goes. */
#include <rte_ip.h>
#include <rte_mbuf.h>

#include "ct/ct_int.h"
#include "ct/ct_sum.h"
#include "packet/csum.h"
#include "packet/extract.h"


/* The type that answers to a query of ICMP or ICMPv6, or that it answers to; the type itself if
 * it is no query. */
static uint8_t icmp_counterpart(uint8_t family, uint8_t type)
{
    if (family == 6)
        return type == 128 || type == 129 ? type ^ 1 : type;
    switch (type) {
    case 0:
    case 8:
        return type ^ 8;
    case 13:
        return 14;
    case 14:
        return 13;
    case 15:
        return 16;
    case 16:
        return 15;
    default:
        return type;
    }
}

void ct_reverse(const struct ct_key *key, struct ct_key *reverse)
{
    struct ct_key from = *key;

    memcpy(reverse->src, from.dst, sizeof from.dst);
    memcpy(reverse->dst, from.src, sizeof from.src);
    reverse->sport = from.dport;
    reverse->dport = from.sport;
    reverse->zone = from.zone;
    reverse->proto = from.proto;
    reverse->family = from.family;
    if (ct_is_icmp_query(&from)) {
        reverse->sport = from.sport;
        reverse->dport = icmp_counterpart(from.family, (uint8_t)from.dport) | (from.dport & 0xff00);
    }
}

uint32_t ct_hash_any(const struct ct *ct, const struct ct_key *key)
{
    /* Both directions of a query have the identifier at either end. */
    const uint16_t dport = ct_is_icmp_query(key) ? key->sport : key->dport;
    const int order = memcmp(key->src, key->dst, 16);
    const bool swap = order > 0 || (order == 0 && key->sport > dport);
    uint32_t data[2 * HASH_CHUNK] = { 0 };

    memcpy(data, swap ? key->dst : key->src, 16);
    memcpy(data + 4, swap ? key->src : key->dst, 16);
    data[8] = swap ? dport | (uint32_t)key->sport << 16 : key->sport | (uint32_t)dport << 16;
    data[9] = key->zone | (uint32_t)key->proto << 16 | (uint32_t)key->family << 24;
    return hash_chunks(&ct->hash, data, 2);
}

/* Sum of what IP carries, and of the pseudo header, which ICMP does without. */
static uint64_t l4_sum(const struct ct_packet *p)
{
    const uint8_t *ip = p->data + p->l3;
    uint64_t sum = 0;
    uint16_t rest = 0;

    if (p->key.family == 6)
        sum = ct_sum(ip + 8, 32) + CT_BE16(p->l4_size) + CT_BE16(p->key.proto);
    else if (p->key.proto != CT_PROTO_ICMP)
        sum = p->key.words[0] + p->key.words[2] + CT_BE16(p->l4_size) + CT_BE16(p->key.proto);
    if (CT_LIKELY((uint32_t)p->l4 + p->l4_size <= p->m->data_len))
        return sum + ct_sum(p->data + p->l4, p->l4_size);
    rte_raw_cksum_mbuf(p->m, p->l4, p->l4_size, &rest);
    return sum + rest;
}

static bool l4_checksum_good(struct ct_burst *b, const struct ct_packet *p)
{
    const uint64_t flags = p->m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;

    /* What is to be completed further inside belongs to what an outer checksum covers: it cannot be
     * checked before. */
    if (flags == RTE_MBUF_F_RX_L4_CKSUM_GOOD || (p->m->ol_flags & CT_L4_PENDING))
        return true;
    if (flags != RTE_MBUF_F_RX_L4_CKSUM_BAD && csum_fold(l4_sum(p)) == 0xffff)
        return true;
    ct_counted(b->thread, CT_COUNT_l4csum_err);
    return false;
}

static bool l3_checksum_good(struct ct_burst *b, const struct ct_packet *p)
{
    const uint64_t flags = p->m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
    const uint8_t *ip = p->data + p->l3;

    if (flags == RTE_MBUF_F_RX_IP_CKSUM_GOOD || (p->m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM))
        return true;
    if (flags != RTE_MBUF_F_RX_IP_CKSUM_BAD && csum_fold(ct_sum(ip, (ip[0] & 15u) * 4)) == 0xffff)
        return true;
    ct_counted(b->thread, CT_COUNT_l3csum_err);
    return false;
}

/* Ports, or identifier and type, of a packet or of one inside an ICMP error, of which `room`
 * bytes are at hand.  An error inside an error has no key. */
static bool read_ports(struct ct_key *key, const uint8_t *l4, uint32_t size, uint32_t room)
{
    if (key->proto == CT_PROTO_TCP || key->proto == CT_PROTO_UDP) {
        if (size < 8 || room < 8)
            return false;
        key->words[4] |= ct_load32(l4);
        return key->sport && key->dport;
    }
    if (!ct_is_icmp_query(key))
        return true;
    if (size < 8 || room < 8 || l4[1])
        return false;
    switch (l4[0]) {
    case 0:
    case 8:
    case 13:
    case 14:
    case 15:
    case 16:
        if (key->family != 4)
            return false;
        break;
    case 128:
    case 129:
        if (key->family != 6)
            return false;
        break;
    default:
        return false;
    }
    key->sport = ct_load16(l4 + 4);
    key->dport = l4[0];
    return true;
}

static bool is_icmp_error(const struct ct_key *key, uint8_t type)
{
    return key->family == 4 ? type == 3 || type == 4 || type == 5 || type == 11 || type == 12 : type >= 1 && type <= 4;
}

/* The headers of the packet inside an ICMP error: where they are, its addresses and protocol. */
static bool read_inner(struct ct_packet *p, struct ct_key *inner)
{
    static const struct pkt_md none;
    uint32_t at = p->l4 + 8u, room = p->m->data_len - at, header;
    const uint8_t *ip = p->data + at;

    p->inner_l3 = (uint16_t)at;
    if (p->l4_size < 8u + (inner->family == 4 ? 20 : 40) || room < (inner->family == 4 ? 20u : 40u))
        return false;
    if (room > p->l4_size - 8u)
        room = p->l4_size - 8u;
    if (inner->family == 4) {
        header = (ip[0] & 15u) * 4;
        if (ip[0] >> 4 != 4 || header < 20 || header > room || ct_load16(ip + 6) & CT_BE16(0x3fff))
            return false;
        memcpy(inner->src, ip + 12, 4);
        memcpy(inner->dst, ip + 16, 4);
        inner->proto = ip[9];
    } else {
        /* The packet's own extractor walks the extension headers, behind an Ethernet header put
         * in front of a copy. */
        uint8_t frame[14 + 256] = { [12] = 0x86, [13] = 0xdd };
        struct extract_layers layers;
        struct key key;

        header = room < 256 ? room : 256;
        memcpy(frame + 14, ip, header);
        /* The error cut it: it is as long as its header says. */
        header = CT_BE16(ct_load16(ip + 4)) + 40u;
        extract_blocks(frame, 14 + (room < 256 ? room : 256), 14 + (header > room ? header : room), &none, NULL, 1, &key, &layers);
        if (ip[0] >> 4 != 6 || !layers.l4 || key.base.nw_frag == KEY_FRAG_LATER)
            return false;
        memcpy(inner->src, ip + 8, 32);
        inner->proto = key.base.nw_proto;
        header = layers.l4 - 14u;
    }
    p->inner_l4 = (uint16_t)(at + header);
    p->inner_size = (uint16_t)(room - header);
    return true;
}

/* An error belongs to the connection of the packet inside; it goes the way that answers to it
 * go. */
static bool read_icmp_error(struct ct_packet *p)
{
    const uint8_t *outer = p->data + p->l3;
    struct ct_key inner = { .zone = p->key.zone, .family = p->key.family };

    if (!read_inner(p, &inner))
        return false;
    /* 3.1.0 wants 20 bytes of TCP within ICMPv6, which later versions and the kernel do not. */
    if (memcmp(inner.src, inner.family == 4 ? outer + 16 : outer + 24, inner.family == 4 ? 4 : 16))
        return false;
    if (!read_ports(&inner, p->data + p->inner_l4, p->inner_size, p->inner_size))
        return false;
    ct_reverse(&inner, &p->key);
    p->related = 1;
    return true;
}

/* Lengths, ports and checksum of what IP carries. */
static bool read_l4(struct ct_burst *b, struct ct_packet *p)
{
    const uint8_t *l4 = p->data + p->l4;
    const uint32_t room = p->m->data_len - p->l4;
    uint32_t header;

    switch (p->key.proto) {
    case CT_PROTO_TCP:
        if (p->l4_size < 20 || room < 20)
            return false;
        header = (l4[12] >> 4) * 4u;
        if (header < 20 || header > p->l4_size || header > room)
            return false;
        break;
    case CT_PROTO_UDP:
        if (p->l4_size < 8 || room < 8 || CT_BE16(ct_load16(l4 + 4)) < 8 || CT_BE16(ct_load16(l4 + 4)) > p->l4_size)
            return false;
        if (!ct_load16(l4 + 6)) /* No checksum, which IPv6 does not allow. */
            return p->key.family == 4 && read_ports(&p->key, l4, p->l4_size, room);
        break;
    default:
        if (!ct_is_icmp_query(&p->key))
            return true;
        if (p->l4_size < 8 || room < 8)
            return false;
        break;
    }
    if (!l4_checksum_good(b, p))
        return false;
    if (ct_is_icmp_query(&p->key) && is_icmp_error(&p->key, l4[0]))
        return read_icmp_error(p);
    return read_ports(&p->key, l4, p->l4_size, room);
}

/* Any packet: the extractor finds the layers. */
static __attribute__((noinline)) bool find_layers(struct ct_packet *p)
{
    const bool l3 = p->m->ol_flags & PKT_L3;
    const struct pkt_md md = { .more = l3 ? PKT_MORE_L3 : 0, .packet_type = l3 ? pkt_of(p->m)->md.packet_type : 0 };
    struct extract_layers layers;
    struct key key;

    if (p->m->data_len < EXTRACT_RUNT)
        return false;
    extract_blocks(p->data, p->m->data_len, p->m->pkt_len, &md, NULL, 3, &key, &layers);
    p->fragment = key.base.nw_frag != KEY_FRAG_NONE;
    if (!layers.l4 || p->fragment)
        return false;
    p->l3 = layers.l3;
    p->l4 = layers.l4;
    p->l4_size = layers.l4_size;
    p->key.proto = key.base.nw_proto;
    if (key.base.eth_type == CT_BE16(0x0800)) {
        p->key.family = 4;
        memcpy(p->key.src, &key.base.ip4_src, 4);
        memcpy(p->key.dst, &key.base.ip4_dst, 4);
        return p->data[p->l3] >> 4 == 4;
    }
    p->key.family = 6;
    memcpy(p->key.src, key.wide.ip6_src, 32); /* And ip6_dst. */
    return p->data[p->l3] >> 4 == 6;
}

void ct_extract(struct ct_burst *b, struct ct_packet *p)
{
    const uint8_t *ip = p->data + 14;

    p->good = 0;
    p->fragment = 0;
    p->related = 0;
    p->reply = 0;
    p->expected = 0;
    p->translated = 0;
    p->key = (struct ct_key){ .words = { [4] = (uint64_t)b->request->zone << 32 } };
    /* Untagged IPv4 without options or fragmentation is most of what comes. */
    if (CT_LIKELY(p->m->data_len >= 14 + 20 + 8 && !(p->m->ol_flags & PKT_L3) && ct_load16(p->data + 12) == CT_BE16(0x0800) && ip[0] == 0x45
                  && !(ct_load16(ip + 6) & CT_BE16(0x3fff)))) {
        const uint32_t total = CT_BE16(ct_load16(ip + 2));

        if (total < 20 || total > p->m->pkt_len - 14)
            return;
        p->l3 = 14;
        p->l4 = 34;
        p->l4_size = (uint16_t)(total - 20);
        /* In whole words, which are read again at once. */
        p->key.words[0] = ct_load32(ip + 12);
        p->key.words[2] = ct_load32(ip + 16);
        p->key.words[4] |= (uint64_t)ip[9] << 48 | UINT64_C(4) << 56;
    } else if (!find_layers(p)) {
        return;
    }
    if (p->key.family == 4 && !l3_checksum_good(b, p))
        return;
    p->good = read_l4(b, p);
}
