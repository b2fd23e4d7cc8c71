/* SPDX-License-Identifier: Apache-2.0
 * extract.c - see extract.h.
 *
 * The rules are those of Open vSwitch's userspace (checked against 3.1.0 by a differential test),
 * because its megaflows must mean the same here.  Some are not what one would guess: the IP version
 * nibble is not looked at; addresses of an IPv6 packet stay in the key when its extension headers
 * are broken; a truncated VLAN header leaves the TPID as eth_type.  IGMP has no fields, and ICMP
 * counts under IPv4 only, ICMPv6 under IPv6 only, which nobody can match on.
 *
 * Words 1 to 6 of block 0 are composed in registers: small stores followed by the vector load of a
 * lookup would stall on store forwarding, about 12 cycles each time. */
#include <string.h>

#include "packet/extract.h"

#include "base/invariant.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "key words are composed for little-endian machines");

#define BE16(x) ((uint16_t)((((x) & 0xffu) << 8) | (((x) >> 8) & 0xffu)))
#define BE32(x) __builtin_bswap32(x)
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define PROTO_HOPOPTS 0
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ROUTING 43
#define PROTO_FRAGMENT 44
#define PROTO_AH 51
#define PROTO_ICMPV6 58
#define PROTO_DSTOPTS 60
#define PROTO_SCTP 132

/* What is left to read, and what was found for the words of block 0. */
struct parse {
    const uint8_t *at;
    uint32_t room;           /* Contiguous bytes at `at`, which is NULL in another segment ... */
    uint32_t size;           /* ... and those that the packet has there.  room <= size. */
    uint64_t addresses;      /* Word 4. */
    uint32_t nw;             /* Low half of word 5: proto, tos, ttl, frag. */
    uint32_t tp;             /* High half of word 5: ports. */
    uint32_t tcp_flags;      /* be16. */
};

static inline uint16_t load16(const void *p)
{
    uint16_t x;

    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint32_t load32(const void *p)
{
    uint32_t x;

    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint64_t load64(const void *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof x);
    return x;
}

/* Goes past `n` <= size bytes.  If they end outside the first segment, nothing more can be read. */
static inline void advance(struct parse *p, uint32_t n)
{
    p->size -= n;
    if (LIKELY(n <= p->room)) {
        p->at += n;
        p->room -= n;
    } else {
        p->at = NULL;
        p->room = 0;
    }
}

/* The rest of the packet is `size` <= p->size bytes; what follows is padding. */
static inline void limit(struct parse *p, uint32_t size)
{
    p->size = size;
    if (p->room > size)
        p->room = size;
}

static inline uint32_t nw_word(uint32_t proto, uint32_t tos, uint32_t ttl, uint32_t frag)
{
    return proto | tos << 8 | ttl << 16 | frag << 24;
}

/* VLAN tags, then eth_type or 802.2 with SNAP.  `p` goes from the beginning behind all that. */
static uint16_t read_l2(struct parse *p, uint64_t *vlans)
{
    static const uint8_t snap[6] = { 0xaa, 0xaa, 0x03, 0, 0, 0 };
    uint64_t tags = 0;
    uint16_t type;

    advance(p, 12); /* The addresses. */
    type = load16(p->at);
    for (int i = 0; i < KEY_VLANS && (type == BE16(0x8100) || type == BE16(0x88a8)) && p->room >= 6; i++) {
        uint64_t tci = load16(p->at + 2) | BE16(KEY_TCI_PRESENT);

        tags |= (tci | (uint64_t)type << 16) << (32 * i);
        advance(p, 4);
        type = load16(p->at);
    }
    *vlans = tags;
    advance(p, 2);
    if (LIKELY(BE16(type) >= 0x600))
        return type;
    if (p->room < 8 || memcmp(p->at, snap, sizeof snap))
        return 0;
    type = load16(p->at + 6);
    advance(p, 8);
    return BE16(type) >= 0x600 ? type : 0;
}

static bool read_ipv4(struct parse *p)
{
    uint32_t header, total, fragment;

    if (p->room < 20)
        return false;
    header = (p->at[0] & 15u) * 4;
    total = BE16(load16(p->at + 2));
    if (header < 20 || header > p->size || total > p->size || total < header || p->size - total > UINT16_MAX)
        return false;
    limit(p, total);
    fragment = BE16(load16(p->at + 6));
    p->addresses = load64(p->at + 12);
    p->nw = nw_word(p->at[9], p->at[1], p->at[8],
                    fragment & 0x1fff ? KEY_FRAG_LATER : fragment & 0x2000 ? KEY_FRAG_FIRST : KEY_FRAG_NONE);
    advance(p, header);
    return true;
}

/* Walks extension headers.  `*proto` is the first one's type, then the one that ended the walk.  No
 * branch depends on which header it is: senders could have each of them mispredicted. */
static bool skip_extensions(struct parse *p, uint32_t *proto, uint32_t *frag)
{
    const uint64_t extensions = 1ull << PROTO_HOPOPTS | 1ull << PROTO_ROUTING | 1ull << PROTO_FRAGMENT | 1ull << PROTO_AH
                                | 1ull << PROTO_DSTOPTS;

    while (*proto < 64 && extensions >> *proto & 1) {
        const bool fragment = *proto == PROTO_FRAGMENT;
        const uint32_t ah = *proto == PROTO_AH;
        uint32_t next, size;

        if (p->room < 8)
            return false;
        size = ((fragment ? 0 : p->at[1]) + 1u + ah) << (3 - ah); /* AH: words of 4, from 2. */
        if (size > p->size)
            return false;
        next = p->at[0];
        /* An atomic fragment (offset 0, no more) is whole.  Reserved bits count, as in OVS. */
        if (UNLIKELY(fragment & (load16(p->at + 2) != 0))) {
            const bool later = load16(p->at + 2) & BE16(0xfff8);

            *frag = later ? KEY_FRAG_LATER : KEY_FRAG_FIRST;
            if (later) {
                advance(p, size);
                return true; /* What follows is not a header. */
            }
        }
        advance(p, size);
        *proto = next;
    }
    return true;
}

static bool read_ipv6(struct parse *p, struct key_wide *wide)
{
    uint32_t flow, payload, proto, ttl, frag = KEY_FRAG_NONE;

    if (p->room < 40)
        return false;
    payload = BE16(load16(p->at + 4));
    if (payload + 40 > p->size || p->size - (payload + 40) > UINT16_MAX)
        return false;
    memcpy(wide->ip6_src, p->at + 8, 32); /* And ip6_dst. */
    flow = BE32(load32(p->at));
    proto = p->at[6];
    ttl = p->at[7];
    limit(p, payload + 40);
    advance(p, 40);
    if (!skip_extensions(p, &proto, &frag))
        return false;
    wide->ip6_label = BE32(flow & 0xfffff);
    p->nw = nw_word(proto, (flow >> 20) & 0xff, ttl, frag);
    return true;
}

static void read_arp(struct parse *p, struct key_wide *wide)
{
    /* Ethernet, IPv4, 6 and 4 bytes of address. */
    if (p->room < 28 || load64(p->at) << 16 != 0x0406000801000000ull)
        return;
    p->addresses = load32(p->at + 14) | (uint64_t)load32(p->at + 24) << 32;
    p->nw = p->at[6] ? 0 : p->at[7];
    memcpy(wide->l3x.arp.sha, p->at + 8, 6);
    memcpy(wide->l3x.arp.tha, p->at + 18, 6);
}

static void read_mpls(struct parse *p, struct key_wide *wide)
{
    for (int i = 0; i < KEY_MPLS && p->room >= 4; i++) {
        wide->l3x.mpls[i] = load32(p->at);
        if (p->at[2] & 1)
            break;
        advance(p, 4);
    }
}

static void read_nsh(const struct parse *p, struct key_wide *wide)
{
    uint32_t head, size;

    if (p->room < 8)
        return;
    head = BE16(load16(p->at));
    size = (head & 0x3f) * 4;
    if (size > p->size || head >> 14)
        return;
    if (p->at[2] == 1) {
        if (size != 24 || p->room < 24)
            return;
        memcpy(wide->l3x.nsh.context, p->at + 8, 16);
    } else if (p->at[2] == 2 && size < 8) {
        return;
    }
    wide->l3x.nsh.flags = (head >> 12) & 3;
    wide->l3x.nsh.ttl = (head >> 6) & 0x3f;
    wide->l3x.nsh.mdtype = p->at[2];
    wide->l3x.nsh.np = p->at[3];
    memcpy(&wide->l3x.nsh.path, p->at + 4, 4);
}

/* Neighbour discovery behind ICMPv6's 8 bytes.  Of link-layer options the first type is kept. */
static void read_nd(struct parse *p, struct key *key)
{
    key->ct.nd_reserved = load32(p->at + 4);
    advance(p, 8);
    if (p->room < 16)
        return;
    memcpy(key->wide.l3x.nd.target, p->at, 16);
    advance(p, 16);
    while (p->room >= 8) {
        uint32_t type = p->at[0], size = p->at[1] * 8u;

        if (!size || size > p->size)
            return;
        if ((type == 1 || type == 2) && size == 8) {
            uint8_t *mac = type == 1 ? key->wide.l3x.nd.sll : key->wide.l3x.nd.tll;

            if (load32(mac) | load16(mac + 4)) {
                /* Told twice: nothing of it can be believed. */
                memset(&key->wide.l3x.nd, 0, sizeof key->wide.l3x.nd);
                return;
            }
            memcpy(mac, p->at + 2, 6);
            if (!key->ct.nd_options_type)
                key->ct.nd_options_type = (uint8_t)type;
        }
        advance(p, size);
    }
}

static void read_l4(struct parse *p, bool ipv6, struct key *key)
{
    switch (p->nw & 0xff) {
    case PROTO_TCP:
        if (LIKELY(p->room >= 20)) {
            uint32_t header = (p->at[12] >> 4) * 4u;

            if (LIKELY(header >= 20 && header <= p->size)) {
                p->tp = load32(p->at);
                p->tcp_flags = load16(p->at + 12) & BE16(0x0fff);
            }
        }
        break;
    case PROTO_UDP:
        if (LIKELY(p->room >= 8))
            p->tp = load32(p->at);
        break;
    case PROTO_SCTP:
        if (LIKELY(p->room >= 12))
            p->tp = load32(p->at);
        break;
    case PROTO_ICMP:
    case PROTO_ICMPV6:
        if (p->room < 8 || ((p->nw & 0xff) == PROTO_ICMPV6) != ipv6)
            break;
        p->tp = (uint32_t)p->at[0] << 8 | (uint32_t)p->at[1] << 24;
        if (ipv6 && (p->at[0] == 135 || p->at[0] == 136) && !p->at[1])
            read_nd(p, key);
        break;
    default:
        break;
    }
}

/* Block 0 from its parts.  `vlans` are both tags, tci first. */
static inline void store_base(struct key *key, const uint8_t *frame, uint16_t type, uint64_t vlans, const struct parse *p,
                              const struct pkt_md *md)
{
    key->words[0] = md->in_port | (uint64_t)md->recirc_id << 32;
    key->words[1] = load64(frame);
    key->words[2] = load32(frame + 8) | (uint64_t)type << 32 | vlans << 48;
    key->words[3] = vlans >> 16 | (uint64_t)md->ct_state << 56;
    key->words[4] = p->addresses;
    key->words[5] = p->nw | (uint64_t)p->tp << 32;
    key->words[6] = p->tcp_flags | (uint32_t)md->ct_zone << 16 | (uint64_t)md->skb_mark << 32;
    key->words[7] = md->ct_mark | (uint64_t)md->dp_hash << 32;
}

static inline void clear_upper(struct key *key, const struct pkt_md *md, uint32_t blocks)
{
    if (blocks == 1)
        return;
    memset(&key->wide, 0, sizeof key->wide + sizeof key->tunnel + sizeof key->ct);
    key->ct.skb_priority = md->skb_priority;
    if (blocks >> KEY_OPTIONS_BLOCK)
        memset(key->options, 0, sizeof key->options);
}

static void copy_metadata(struct key *key, const struct pkt_md *md, const struct pkt *pkt, bool ip)
{
    if (md->more & PKT_MORE_TUNNEL)
        pkt_key_tunnel(pkt, key);
    if (md->more & PKT_MORE_CT) {
        memcpy(key->ct.label, pkt->ct.label, sizeof key->ct.label);
        /* A packet that is no longer IP (it got a label, say) has no original tuple to match on. */
        if (ip) {
            memcpy(key->ct.orig_src, pkt->ct.orig_src, 32); /* And orig_dst. */
            key->ct.orig_tp_src = pkt->ct.orig_tp_src;
            key->ct.orig_tp_dst = pkt->ct.orig_tp_dst;
            key->ct.orig_proto = pkt->ct.orig_proto;
        }
    }
}

/* Any packet. */
static __attribute__((noinline)) void extract_any(const uint8_t *frame, uint32_t size, uint32_t packet_size, const struct pkt_md *md,
                                                  const struct pkt *pkt, uint32_t blocks, struct key *key, struct extract_layers *layers)
{
    static const uint8_t no_addresses[12];
    const bool l3 = md->more & PKT_MORE_L3;
    struct parse p = { .at = frame, .room = size, .size = packet_size };
    struct extract_layers found = { 0 };
    bool ip = false;
    uint64_t vlans = 0;
    uint16_t type;

    clear_upper(key, md, blocks | 2); /* What is read looks at what was read. */
    type = l3 ? md->packet_type : read_l2(&p, &vlans);
    found.l3 = (uint16_t)(p.at - frame);
    switch (type) {
    case BE16(0x0800):
        ip = read_ipv4(&p);
        break;
    case BE16(0x86dd):
        ip = read_ipv6(&p, &key->wide);
        break;
    case BE16(0x0806):
    case BE16(0x8035):
        read_arp(&p, &key->wide);
        break;
    case BE16(0x8847):
    case BE16(0x8848):
        read_mpls(&p, &key->wide);
        break;
    case BE16(0x894f):
        read_nsh(&p, &key->wide);
        break;
    }
    if (ip && p.at) {
        found.l4 = (uint16_t)(p.at - frame);
        found.l4_size = (uint16_t)p.size;
        if (p.nw >> 24 != KEY_FRAG_LATER)
            read_l4(&p, type == BE16(0x86dd), key);
    }
    store_base(key, l3 ? no_addresses : frame, type, vlans, &p, md);
    key->base.l2 = l3; /* KEY_L2_KIND. */
    if (UNLIKELY(md->more))
        copy_metadata(key, md, pkt, ip);
    if (layers)
        *layers = found;
}

void extract_blocks(const uint8_t *frame, uint32_t size, uint32_t packet_size, const struct pkt_md *md, const struct pkt *pkt,
                    uint32_t blocks, struct key *key, struct extract_layers *layers)
{
    INVARIANT((size >= EXTRACT_RUNT || md->more & PKT_MORE_L3) && size <= packet_size);
    INVARIANT(pkt || !(md->more & (PKT_MORE_TUNNEL | PKT_MORE_CT)));
    /* Untagged IPv4 without options or fragmentation, with UDP or TCP: the most frequent. */
    if (LIKELY(size >= 14 + 20 + 8)) {
        const uint8_t *ip = frame + 14;
        uint32_t total = BE16(load16(ip + 2)), proto = ip[9];

        if (LIKELY(load16(frame + 12) == BE16(0x0800) && (ip[0] & 15) == 5 && !(load16(ip + 6) & BE16(0x3fff))
                   && total <= packet_size - 14 && packet_size - 14 - total <= UINT16_MAX && !md->more)) {
            struct parse p = { .addresses = load64(ip + 12), .nw = nw_word(proto, ip[1], ip[8], KEY_FRAG_NONE),
                               .tp = load32(ip + 20) };

            if (proto == PROTO_TCP && total >= 40 && size >= 54) {
                uint32_t header = (ip[32] >> 4) * 4u;

                if (UNLIKELY(header < 20 || 20 + header > total))
                    goto any;
                p.tcp_flags = load16(ip + 32) & BE16(0x0fff);
            } else if (UNLIKELY(proto != PROTO_UDP || total < 28)) {
                goto any;
            }
            clear_upper(key, md, blocks);
            store_base(key, frame, BE16(0x0800), 0, &p, md);
            if (layers)
                *layers = (struct extract_layers){ .l3 = 14, .l4 = 34, .l4_size = (uint16_t)(total - 20) };
            return;
        }
    }
any:
    extract_any(frame, size, packet_size, md, pkt, blocks, key, layers);
}
