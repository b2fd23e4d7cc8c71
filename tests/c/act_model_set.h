/* SPDX-License-Identifier: Apache-2.0
 * act_model_set.h - a packet as a plain array of bytes, and its fields set there, checksums computed
 * anew over all they cover (act_model.h). */
#ifndef UPCALL_ACT_MODEL_SET_H
#define UPCALL_ACT_MODEL_SET_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>

#include "packet/extract.h"
#include "frames.h"
#include "model_sum.h"
#include "odp/odp_attr.h"

#define MODEL_ROOM 4096

struct model {
    uint8_t bytes[MODEL_ROOM];
    uint32_t size;
    uint32_t tags;           /* Pushed by actions, and not popped again. */
    uint32_t cut;            /* To be taken off the next packet that is sent. */
    struct pkt_md md;
};

enum event_kind { EVENT_OUTPUT, EVENT_UPCALL, EVENT_RECIRC, EVENT_DROP };

struct event {
    enum event_kind kind;
    uint32_t arg;            /* Port, recirc id. */
    uint32_t size, original_size;
    bool l3;                 /* Without Ethernet header. */
    struct pkt_md md;
    uint8_t bytes[MODEL_ROOM];
};

typedef void event_fn(void *to, const struct event *);

static inline bool model_l3(const struct model *m)
{
    return m->md.more & PKT_MORE_L3;
}

static inline void model_type(struct model *m, bool l3, uint16_t type)
{
    m->md.more = l3 ? PKT_MORE_L3 : 0;
    m->md.packet_type = type;
}

static inline void model_extract(const struct model *m, struct key *key, struct extract_layers *layers)
{
    const uint32_t skip = model_l3(m) ? 0 : 4 * m->tags;

    if (!model_l3(m) && m->size < EXTRACT_RUNT + skip) {
        memset(key, 0, sizeof *key);
        *layers = (struct extract_layers){ .l3 = (uint16_t)(EXTRACT_RUNT + skip) };
        return;
    }
    /* Headers are where they were found before the tags came. */
    extract_key(m->bytes + skip, m->size - skip, m->size - skip, &m->md, NULL, key, layers);
    layers->l3 = (uint16_t)(layers->l3 + skip);
    if (layers->l4)
        layers->l4 = (uint16_t)(layers->l4 + skip);
}

/* The destination that IPv6 checksums know: the last segment, if a routing header has some left. */
static inline const uint8_t *model_ip6_destination(const uint8_t *ip, const uint8_t *end)
{
    uint8_t proto = ip[6];

    for (const uint8_t *at = ip + 40; at < end;) {
        uint32_t size = proto == 51 ? (at[1] + 2u) * 4 : proto == 44 ? 8 : (at[1] + 1u) * 8;

        if (proto == 43 && at[3])
            return at + size - 16;
        proto = at[0];
        at += size;
    }
    return ip + 24;
}

/* The sum of the pseudo-header. */
static inline uint32_t model_pseudo(const uint8_t *frame, const struct key *key, const struct extract_layers *l)
{
    const uint8_t *ip = frame + l->l3;
    uint32_t sum = key->base.nw_proto + l->l4_size;

    if (key->base.eth_type == htons(0x0800))
        return model_sum(ip + 12, 8, sum);
    return model_sum(ip + 8, 16, model_sum(model_ip6_destination(ip, frame + l->l4), 16, sum));
}

/* Where the checksum of layer 4 is, from its start; 0: there is none, or none that can be computed. */
static inline uint32_t model_l4_field(const struct key *key, const struct extract_layers *l)
{
    uint8_t proto = key->base.nw_proto;
    bool v4 = key->base.eth_type == htons(0x0800);

    if (!l->l4 || key->base.nw_frag == KEY_FRAG_LATER)
        return 0;
    if (proto == 6)
        return l->l4_size >= 20 ? 16 : 0;
    if (proto == 17)
        return l->l4_size >= 8 ? 6 : 0;
    if (proto == 132)
        return l->l4_size >= 12 ? 8 : 0;
    return l->l4_size >= 8 && proto == (v4 ? 1 : 58) ? 2 : 0;
}

/* Computes all checksums of a frame anew, on which `tags` have been pushed. */
static inline void model_fix_typed(uint8_t *frame, uint32_t size, uint32_t tags, const struct pkt_md *md)
{
    struct model m = { .size = size, .tags = tags, .md = *md };
    struct extract_layers l;
    struct key key;
    uint32_t field, sum, crc;
    uint8_t *l4;

    memcpy(m.bytes, frame, size);
    model_extract(&m, &key, &l);
    if (l.l4 && key.base.eth_type == htons(0x0800)) {
        model_put16(frame + l.l3 + 10, 0);
        model_put16(frame + l.l3 + 10, (uint16_t)~model_sum(frame + l.l3, (frame[l.l3] & 15u) * 4, 0));
    }
    field = model_l4_field(&key, &l);
    if (!field)
        return;
    l4 = frame + l.l4;
    if (key.base.nw_proto == 132) {
        memset(l4 + 8, 0, 4);
        crc = model_crc32c(l4, l.l4_size);
        memcpy(l4 + 8, &crc, 4);
        return;
    }
    if (key.base.nw_proto == 17 && !l4[6] && !l4[7])
        return;
    model_put16(l4 + field, 0);
    sum = (uint16_t)~model_sum(l4, l.l4_size, key.base.nw_proto == 1 ? 0 : model_pseudo(frame, &key, &l));
    model_put16(l4 + field, key.base.nw_proto == 17 && !sum ? 0xffff : sum);
}

static inline void model_fix(uint8_t *frame, uint32_t size)
{
    const struct pkt_md none = { 0 };

    model_fix_typed(frame, size, 0, &none);
}

static inline void model_put(uint8_t *at, const uint8_t *value, const uint8_t *mask, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        at[i] = (uint8_t)(value[i] | (at[i] & ~mask[i]));
}

static inline void model_put32(uint32_t *at, const uint8_t *value, const uint8_t *mask)
{
    model_put((uint8_t *)at, value, mask, 4);
}

static inline void model_set_nd(struct model *m, const struct extract_layers *l, const uint8_t *v, const uint8_t *k)
{
    uint8_t *l4 = m->bytes + l->l4;

    model_put(l4 + 8, v, k, 16);
    for (uint32_t at = 24; at + 8 <= l->l4_size && l4[at + 1] && at + l4[at + 1] * 8u <= l->l4_size; at += l4[at + 1] * 8u) {
        if (l4[at] == 1 && l4[at + 1] == 1)
            model_put(l4 + at + 2, v + 16, k + 16, 6);
        if (l4[at] == 2 && l4[at + 1] == 1)
            model_put(l4 + at + 2, v + 22, k + 22, 6);
    }
}

static inline void model_set_ip(struct model *m, const struct key *key, const struct extract_layers *l, uint32_t attr,
                                const uint8_t *v, const uint8_t *k)
{
    uint8_t *ip = m->bytes + l->l3;
    uint8_t word[4], mask[4];

    if (attr == OVS_KEY_ATTR_IPV4 && key->base.eth_type == htons(0x0800)) {
        model_put(ip + 12, v, k, 8);
        model_put(ip + 1, v + 9, k + 9, 1);
        model_put(ip + 8, v + 10, k + 10, 1);
    } else if (attr == OVS_KEY_ATTR_IPV6 && key->base.eth_type == htons(0x86dd)) {
        model_put(ip + 8, v, k, 32);
        memcpy(word, v + 32, 4);
        memcpy(mask, k + 32, 4);
        word[0] = v[37] >> 4;
        mask[0] = k[37] >> 4;
        word[1] = (uint8_t)((word[1] & 0x0f) | v[37] << 4);
        mask[1] = (uint8_t)((mask[1] & 0x0f) | k[37] << 4);
        model_put(ip, word, mask, 4);
        model_put(ip + 7, v + 38, k + 38, 1);
    }
}

/* `v` and `k` are struct ovs_nsh_key_base, then the contexts. */
static inline void model_set_nsh(struct model *m, uint32_t l3, const uint8_t *v, const uint8_t *k)
{
    uint8_t *nsh = m->bytes + l3;
    uint32_t flags, ttl;

    if (m->size < l3 + 8)
        return;
    flags = nsh[0] >> 4 & 3;
    ttl = (nsh[0] & 15u) << 2 | nsh[1] >> 6;
    flags = v[0] | (flags & ~k[0] & 3u);
    ttl = v[1] | (ttl & ~k[1] & 0x3fu);
    nsh[0] = (uint8_t)((nsh[0] & 0xc0) | flags << 4 | ttl >> 2);
    nsh[1] = (uint8_t)((nsh[1] & 0x3f) | ttl << 6);
    model_put(nsh + 4, v + 4, k + 4, 4);
    if (nsh[2] == 1 && m->size >= l3 + 24)
        model_put(nsh + 8, v + 8, k + 8, 16);
}

static inline void model_set(struct model *m, uint32_t attr, const uint8_t *v, const uint8_t *k)
{
    struct extract_layers l;
    struct key key;
    uint32_t field;
    uint8_t *at;

    switch (attr) {
    case OVS_KEY_ATTR_PRIORITY:
        model_put32(&m->md.skb_priority, v, k);
        return;
    case OVS_KEY_ATTR_SKB_MARK:
        model_put32(&m->md.skb_mark, v, k);
        return;
    case OVS_KEY_ATTR_DP_HASH:
        model_put32(&m->md.dp_hash, v, k);
        return;
    case OVS_KEY_ATTR_ETHERNET:
        if (model_l3(m) || m->size < 14)
            return;
        model_put(m->bytes, v + 6, k + 6, 6);
        model_put(m->bytes + 6, v, k, 6);
        return;
    default:
        break;
    }
    model_extract(m, &key, &l);
    field = model_l4_field(&key, &l);
    at = m->bytes + (l.l4 ? l.l4 : l.l3);
    if (attr == OVS_KEY_ATTR_NSH && key.base.eth_type == htons(0x894f)) {
        model_set_nsh(m, l.l3, v, k);
    } else if (attr == OVS_KEY_ATTR_MPLS && odp_is_mpls(key.base.eth_type) && m->size >= l.l3 + 4u) {
        model_put(at, v, k, 4);
    } else if (attr == OVS_KEY_ATTR_ARP && odp_is_arp(key.base.eth_type) && m->size >= l.l3 + 28u
               && !memcmp(at, "\0\1\10\0\6\4", 6)) {
        model_put(at + 6, v + 8, k + 8, 2);
        model_put(at + 8, v + 10, k + 10, 6);
        model_put(at + 14, v, k, 4);
        model_put(at + 18, v + 16, k + 16, 6);
        model_put(at + 24, v + 4, k + 4, 4);
    } else if (l.l4) {
        model_set_ip(m, &key, &l, attr, v, k);
        if (field && attr == odp_l4_attr(&key.base))
            model_put(at, v, k, attr == OVS_KEY_ATTR_ICMP || attr == OVS_KEY_ATTR_ICMPV6 ? 2 : 4);
        if (field && odp_l4_attr(&key.base) == OVS_KEY_ATTR_ICMPV6 && odp_is_nd(&key.base) && l.l4_size >= 24) {
            if (attr == OVS_KEY_ATTR_ND)
                model_set_nd(m, &l, v, k);
            if (attr == ODP_KEY_ND_EXTENSIONS) {
                model_put(at + 4, v, k, 4);
                if (l.l4_size >= 32)
                    model_put(at + 24, v + 4, k + 4, 1);
            }
        }
        model_fix_typed(m->bytes, m->size, m->tags, &m->md);
    }
}

#endif
