/* SPDX-License-Identifier: Apache-2.0
 * odp_plain.c - keys of untagged UDP and TCP packets over IPv4, at once.
 *
 * They are what most upcalls bring and most puts bring back. With neither tunnel nor conntrack
 * state their attributes always lie at the same places, so that reading and writing them is copying
 * fields, where walking fourteen attributes takes five times as long. */
#include "odp/odp.h"
#include "odp/odp_int.h"

struct plain {
    struct {
        uint16_t size, type;
        uint32_t value;
    } recirc_id, dp_hash, priority, in_port, skb_mark, ct_state, ct_zone, ct_mark;
    struct {
        uint16_t size, type;
        uint8_t value[16];
    } labels;
    struct {
        uint16_t size, type;
        uint32_t value;
    } packet_type;
    struct {
        uint16_t size, type;
        uint8_t src[6], dst[6];
    } ethernet;
    struct {
        uint16_t size, type, value, pad;
    } eth_type;
    struct {
        uint16_t size, type;
        struct odp_ipv4 value;
    } ipv4;
    struct {
        uint16_t size, type, src, dst;
    } l4;
    struct {
        uint16_t size, type, value, pad;
    } tcp_flags;                     /* TCP only. */
};
_Static_assert(sizeof(struct plain) == 148, "as in the attributes: without padding");
_Static_assert(offsetof(struct key_ct, orig_tp_src) == 48, "labels and addresses are six words");

#define UDP_SIZE ((uint32_t)offsetof(struct plain, tcp_flags))

#define COMMON                                                                                                          \
    .recirc_id = { 8, OVS_KEY_ATTR_RECIRC_ID, 0 }, .dp_hash = { 8, OVS_KEY_ATTR_DP_HASH, 0 },                          \
    .priority = { 8, OVS_KEY_ATTR_PRIORITY, 0 }, .in_port = { 8, OVS_KEY_ATTR_IN_PORT, 0 },                            \
    .skb_mark = { 8, OVS_KEY_ATTR_SKB_MARK, 0 }, .ct_state = { 8, OVS_KEY_ATTR_CT_STATE, 0 },                          \
    .ct_zone = { 6, OVS_KEY_ATTR_CT_ZONE, 0 }, .ct_mark = { 8, OVS_KEY_ATTR_CT_MARK, 0 },                              \
    .labels = { 20, OVS_KEY_ATTR_CT_LABELS, { 0 } }, .packet_type = { 8, ODP_KEY_PACKET_TYPE, 0 },                     \
    .ethernet = { 16, OVS_KEY_ATTR_ETHERNET, { 0 }, { 0 } },                                                           \
    .eth_type = { 6, OVS_KEY_ATTR_ETHERTYPE, ODP_BE16(0x0800), 0 }

/* What such keys have in common ... */
static const struct plain udp = {
    COMMON, .ipv4 = { 16, OVS_KEY_ATTR_IPV4, { .proto = 17 } }, .l4 = { 8, OVS_KEY_ATTR_UDP, 0, 0 },
};
static const struct plain tcp = {
    COMMON, .ipv4 = { 16, OVS_KEY_ATTR_IPV4, { .proto = 6 } }, .l4 = { 8, OVS_KEY_ATTR_TCP, 0, 0 },
    .tcp_flags = { 6, OVS_KEY_ATTR_TCP_FLAGS, 0, 0 },
};
/* ... and where: all headers, no conntrack state, Ethernet, whole packets and first fragments. */
#define ALL 0xffff, 0xffff
static const struct plain fixed = {
    .recirc_id = { ALL, 0 }, .dp_hash = { ALL, 0 }, .priority = { ALL, 0 }, .in_port = { ALL, 0 }, .skb_mark = { ALL, 0 },
    .ct_state = { ALL, UINT32_MAX }, .ct_zone = { ALL, 0xffff }, .ct_mark = { ALL, UINT32_MAX },
    .labels = { ALL, { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 } },
    .packet_type = { ALL, UINT32_MAX }, .ethernet = { ALL, { 0 }, { 0 } }, .eth_type = { ALL, 0xffff, 0 },
    .ipv4 = { ALL, { .proto = 255, .frag = (uint8_t)~KEY_FRAG_FIRST } }, .l4 = { ALL, 0, 0 }, .tcp_flags = { ALL, 0, 0 },
};

/* A key in a caller's buffer, anywhere: a copy would be read before its stores have ended. */
typedef const struct plain plain_there __attribute__((aligned(1)));

/* Whether words `from` to `end` are as they must be. */
static inline bool is_like(const uint8_t *attrs, const struct plain *like, uint32_t from, uint32_t end)
{
    const uint8_t *wanted = (const uint8_t *)like, *mask = (const uint8_t *)&fixed;
    uint32_t other = 0;

    for (uint32_t i = 4 * from; i < 4 * end; i += 4) {
        uint32_t a, b, m;

        memcpy(&a, attrs + i, 4);
        memcpy(&b, wanted + i, 4);
        memcpy(&m, mask + i, 4);
        other |= (a ^ b) & m;
    }
    return !other;
}

bool odp_plain_read(const uint8_t *attrs, uint32_t size, struct key *key)
{
    plain_there *p = (plain_there *)attrs;
    struct key_base *b = &key->base;

    if (size != sizeof *p && size != UDP_SIZE)
        return false;
    if (!is_like(attrs, size == UDP_SIZE ? &udp : &tcp, 0, UDP_SIZE / 4))
        return false;
    if (size != UDP_SIZE) {
        if (!is_like(attrs, &tcp, UDP_SIZE / 4, sizeof *p / 4))
            return false;
        b->tcp_flags = p->tcp_flags.value & ODP_BE16(0x0fff);
    }
    b->recirc_id = p->recirc_id.value;
    b->dp_hash = p->dp_hash.value;
    key->ct.skb_priority = p->priority.value;
    b->in_port = p->in_port.value;
    b->skb_mark = p->skb_mark.value;
    memcpy(b->eth_src, p->ethernet.src, 6);
    memcpy(b->eth_dst, p->ethernet.dst, 6);
    b->eth_type = p->eth_type.value;
    b->ip4_src = p->ipv4.value.src;
    b->ip4_dst = p->ipv4.value.dst;
    b->nw_proto = p->ipv4.value.proto;
    b->nw_tos = p->ipv4.value.tos;
    b->nw_ttl = p->ipv4.value.ttl;
    b->nw_frag = p->ipv4.value.frag;
    b->tp_src = p->l4.src;
    b->tp_dst = p->l4.dst;
    return true;
}

uint32_t odp_plain_write(const struct key *key, uint8_t *attrs, uint32_t room)
{
    const struct key_base *b = &key->base;
    const struct key_ct *ct = &key->ct;
    uint64_t other = b->l2 | b->ct_state | b->ct_zone | b->ct_mark | key->tunnel.family | ct->orig_tp_src | ct->orig_tp_dst | ct->orig_proto;
    uint64_t words[6];
    struct plain p;
    uint32_t size;

    memcpy(words, ct->label, sizeof words); /* And the addresses of the original tuple. */
    for (int i = 0; i < 6; i++)
        other |= words[i];
    if (other || b->eth_type != ODP_BE16(0x0800) || b->vlan[0].tci || b->in_port == UINT32_MAX || b->nw_frag > KEY_FRAG_FIRST
        || (b->nw_proto != 17 && b->nw_proto != 6))
        return 0;
    size = b->nw_proto == 17 ? UDP_SIZE : (uint32_t)sizeof p;
    if (room < size)
        return 0;
    p = b->nw_proto == 17 ? udp : tcp;
    p.recirc_id.value = b->recirc_id;
    p.dp_hash.value = b->dp_hash;
    p.priority.value = ct->skb_priority;
    p.in_port.value = b->in_port;
    p.skb_mark.value = b->skb_mark;
    memcpy(p.ethernet.src, b->eth_src, 6);
    memcpy(p.ethernet.dst, b->eth_dst, 6);
    p.ipv4.value = (struct odp_ipv4){ b->ip4_src, b->ip4_dst, b->nw_proto, b->nw_tos, b->nw_ttl, b->nw_frag };
    p.l4.src = b->tp_src;
    p.l4.dst = b->tp_dst;
    p.tcp_flags.value = b->tcp_flags;
    memcpy(attrs, &p, size);
    return size;
}
