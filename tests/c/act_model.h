/* SPDX-License-Identifier: Apache-2.0
 * act_model.h - actions on a plain array of bytes, the simplest way that can be thought of: what the compiled programs are judged by.
 *
 * One packet at a time, attributes interpreted as they come, checksums computed anew over all they cover.  Only for frames whose checksums
 * were right (model_fix() changes nothing). */
#ifndef UPCALL_ACT_MODEL_H
#define UPCALL_ACT_MODEL_H

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

/* Bytes of what would be sent now. */
static inline uint32_t model_sent(const struct model *m)
{
    if (!m->cut)
        return m->size;
    return m->size >= m->cut + 14 ? m->size - m->cut : 14;
}

static inline void model_emit(const struct model *m, enum event_kind kind, uint32_t arg, event_fn *fn, void *to)
{
    static struct event e;

    e.kind = kind;
    e.arg = arg;
    e.original_size = m->size;
    e.size = model_sent(m);
    e.md = m->md;
    e.l3 = model_l3(m);
    memcpy(e.bytes, m->bytes, e.size);
    fn(to, &e);
}

static inline void model_insert_bytes(struct model *m, uint32_t at, const void *bytes, uint32_t n)
{
    if (m->size + n > sizeof m->bytes)
        abort();
    memmove(m->bytes + at + n, m->bytes + at, m->size - at);
    memcpy(m->bytes + at, bytes, n);
    m->size += n;
}

static inline void model_insert(struct model *m, uint32_t at, const void *bytes)
{
    model_insert_bytes(m, at, bytes, 4);
}

static inline void model_remove_bytes(struct model *m, uint32_t at, uint32_t n)
{
    memmove(m->bytes + at, m->bytes + at + n, m->size - at - n);
    m->size -= n;
}

static inline void model_remove(struct model *m, uint32_t at)
{
    model_remove_bytes(m, at, 4);
}

/* What a service header says that follows it; 0: it has no word for it. */
static inline uint8_t model_nsh_next(const struct model *m)
{
    if (!model_l3(m))
        return 3;
    return m->md.packet_type == htons(0x0800) ? 1 : m->md.packet_type == htons(0x86dd) ? 2 : m->md.packet_type == htons(0x894f) ? 4 : 0;
}

static inline bool model_push_nsh(struct model *m, const struct odp_attr *a)
{
    struct odp_walk walk = { a->at, a->size };
    struct odp_attr base, context = { .size = 0 };
    uint8_t header[256] = { 0 };

    odp_next(&walk, &base);
    odp_next(&walk, &context);
    if (!model_nsh_next(m))
        return false;
    header[0] = (uint8_t)((base.at[0] << 12 | base.at[1] << 6) >> 8);
    header[1] = (uint8_t)(base.at[1] << 6 | (8 + context.size) / 4);
    header[2] = base.at[2];
    header[3] = model_nsh_next(m);
    memcpy(header + 4, base.at + 4, 4);
    memcpy(header + 8, context.at, context.size);
    model_insert_bytes(m, 0, header, 8u + context.size);
    model_type(m, true, htons(0x894f));
    return true;
}

static inline bool model_pop_nsh(struct model *m)
{
    static const uint16_t types[] = { 0, 0x0800, 0x86dd, 0, 0x894f };
    uint32_t size;
    uint8_t next;

    if (!model_l3(m) || m->md.packet_type != htons(0x894f))
        return true;
    if (m->size < 8)
        return false;
    size = (m->bytes[1] & 0x3fu) * 4;
    next = m->bytes[3];
    if (size < 8 || size >= m->size || !next || next > 4)
        return false;
    model_remove_bytes(m, 0, size);
    model_type(m, next != 3, next != 3 ? htons(types[next]) : 0);
    return true;
}

/* Headers in front of everything. */
static inline bool model_front(struct model *m, const struct odp_attr *a)
{
    struct extract_layers l;
    struct key key;
    uint8_t header[14];

    model_extract(m, &key, &l);
    m->tags = 0;
    switch (a->type) {
    case OVS_ACTION_ATTR_PUSH_ETH:
        if (!model_l3(m))
            return false;
        memcpy(header, a->at + 6, 6);
        memcpy(header + 6, a->at, 6);
        memcpy(header + 12, &m->md.packet_type, 2);
        model_insert_bytes(m, 0, header, 14);
        model_type(m, false, 0);
        return true;
    case OVS_ACTION_ATTR_POP_ETH:
        if (model_l3(m) || !key.base.eth_type || m->size <= l.l3)
            return false;
        model_remove_bytes(m, 0, l.l3);
        model_type(m, true, key.base.eth_type);
        return true;
    case OVS_ACTION_ATTR_PUSH_NSH:
        return model_push_nsh(m, a);
    default:
        return model_pop_nsh(m);
    }
}

/* add_mpls in front; behind Ethernet it is push_mpls. */
static inline void model_add_mpls(struct model *m, const struct odp_attr *a)
{
    uint16_t type;

    memcpy(&type, a->at + 4, 2);
    model_insert(m, 0, a->at);
    model_type(m, true, type);
    m->tags = 0;
}

/* False: the packet cannot take it and is dropped. */
static inline bool model_vlan_mpls(struct model *m, const struct odp_attr *a)
{
    struct extract_layers l;
    struct key key;
    uint8_t tag[4];
    uint16_t type;

    model_extract(m, &key, &l);
    switch (a->type) {
    case OVS_ACTION_ATTR_PUSH_VLAN:
        if (model_l3(m) || m->size < 14)
            return false;
        memcpy(tag, a->at, 4);
        tag[2] &= 0xef;
        model_insert(m, 12, tag);
        m->tags++;
        break;
    case OVS_ACTION_ATTR_POP_VLAN:
        if (!model_l3(m) && m->size >= 18 && ((m->bytes[12] == 0x81 && !m->bytes[13]) || (m->bytes[12] == 0x88 && m->bytes[13] == 0xa8)))
            model_remove(m, 12);
        m->tags -= m->tags > 0;
        break;
    case 22: /* add_mpls */
        if (!(a->at[6] & 1)) {
            model_add_mpls(m, a);
            break;
        }
        /* fall through */
    case OVS_ACTION_ATTR_PUSH_MPLS:
        if (!key.base.eth_type || m->size < l.l3)
            return false;
        memcpy(&type, a->at + 4, 2);
        model_insert(m, l.l3, a->at);
        if (model_l3(m))
            model_type(m, true, type);
        else
            memcpy(m->bytes + l.l3 - 2, &type, 2);
        break;
    default:
        if (odp_is_mpls(key.base.eth_type) && m->size >= l.l3 + 4u) {
            memcpy(&type, a->at, 2);
            if (m->size == 4)
                return false;
            model_remove(m, l.l3);
            if (!model_l3(m))
                memcpy(m->bytes + l.l3 - 2, &type, 2);
            else
                model_type(m, type != htons(0x6558), type);
        }
        break;
    }
    return true;
}

/* False: the TTL is used up. */
static inline bool model_dec_ttl(struct model *m)
{
    struct extract_layers l;
    struct key key;
    uint8_t *ttl;

    model_extract(m, &key, &l);
    if (!l.l4)
        return true;
    ttl = m->bytes + l.l3 + (key.base.eth_type == htons(0x0800) ? 8 : 7);
    if (*ttl <= 1)
        return false;
    --*ttl;
    model_fix_typed(m->bytes, m->size, m->tags, &m->md);
    return true;
}

static inline bool model_run(struct model *m, const uint8_t *attrs, uint32_t size, event_fn *fn, void *to);

/* A list on a copy of the packet. */
static inline void model_nested(const struct model *m, const struct odp_attr *list, event_fn *fn, void *to)
{
    struct model copy = *m;

    model_run(&copy, list->at, list->size, fn, to);
}

static inline void model_check_len(const struct model *m, const struct odp_attr *a, event_fn *fn, void *to)
{
    struct odp_walk walk = { a->at, a->size };
    struct odp_attr sub, lists[4];
    const uint32_t size = model_sent(m);
    uint16_t limit;

    while (odp_next(&walk, &sub))
        lists[sub.type & 3] = sub;
    memcpy(&limit, lists[OVS_CHECK_PKT_LEN_ATTR_PKT_LEN].at, 2);
    model_nested(m, &lists[size > limit ? OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_GREATER
                                        : OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_LESS_EQUAL], fn, to);
}

static inline void model_sample(const struct model *m, const struct odp_attr *a, event_fn *fn, void *to)
{
    struct odp_walk walk = { a->at, a->size };
    struct odp_attr sub, actions = { .at = NULL };
    uint32_t probability = 0;

    while (odp_next(&walk, &sub))
        if (sub.type == OVS_SAMPLE_ATTR_PROBABILITY)
            memcpy(&probability, sub.at, 4);
        else
            actions = sub;
    if (probability)
        model_nested(m, &actions, fn, to);
}

static inline void model_set_attr(struct model *m, const struct odp_attr *a)
{
    uint8_t value[64] = { 0 }, mask[64] = { 0 };
    static const uint8_t ones[64] = { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
                                      255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
                                      255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 };
    struct odp_walk walk = { a->at, a->size };
    struct odp_attr field;

    odp_next(&walk, &field);
    if (field.type == OVS_KEY_ATTR_NSH) {
        const bool masked = a->type == OVS_ACTION_ATTR_SET_MASKED;
        struct odp_walk nest = { field.at, field.size };
        struct odp_attr sub;

        while (odp_next(&nest, &sub)) {
            const uint32_t at = sub.type == OVS_NSH_KEY_ATTR_MD1 ? 8 : 0, n = at ? 16 : 8;

            memcpy(value + at, sub.at, n);
            memcpy(mask + at, masked ? sub.at + n : ones, n);
        }
        model_set(m, OVS_KEY_ATTR_NSH, value, mask);
        return;
    }
    model_set(m, field.type, field.at, a->type == OVS_ACTION_ATTR_SET ? ones : field.at + field.size / 2);
}

static inline bool model_run(struct model *m, const uint8_t *attrs, uint32_t size, event_fn *fn, void *to)
{
    struct odp_walk walk = { attrs, size };
    struct odp_attr a, sub;
    uint32_t word = 0;

    while (odp_next(&walk, &a)) {
        if (a.size >= 4)
            memcpy(&word, a.at, 4);
        switch (a.type) {
        case OVS_ACTION_ATTR_OUTPUT:
            model_emit(m, EVENT_OUTPUT, word, fn, to);
            m->cut = 0;
            break;
        case OVS_ACTION_ATTR_USERSPACE:
            model_emit(m, EVENT_UPCALL, 0, fn, to);
            m->cut = 0;
            break;
        case OVS_ACTION_ATTR_RECIRC:
            m->cut = 0;
            model_emit(m, EVENT_RECIRC, word, fn, to);
            break;
        case OVS_ACTION_ATTR_TRUNC:
            m->cut = m->size > word ? m->size - word : 0;
            break;
        case OVS_ACTION_ATTR_CLONE:
            model_nested(m, &a, fn, to);
            break;
        case OVS_ACTION_ATTR_SAMPLE:
            model_sample(m, &a, fn, to);
            break;
        case OVS_ACTION_ATTR_CHECK_PKT_LEN:
            model_check_len(m, &a, fn, to);
            break;
        case OVS_ACTION_ATTR_SET:
        case OVS_ACTION_ATTR_SET_MASKED:
            model_set_attr(m, &a);
            break;
        case 23: /* dec_ttl */
            if (!model_dec_ttl(m)) {
                walk = (struct odp_walk){ a.at, a.size };
                odp_next(&walk, &sub);
                return model_run(m, sub.at, sub.size, fn, to);
            }
            break;
        case OVS_ACTION_ATTR_HASH:
            break;
        case OVS_ACTION_ATTR_METER:
            if (model_meters(m->size, word)) return false;
            break;
        case 24: /* drop */
            return true;
        case OVS_ACTION_ATTR_PUSH_ETH:
        case OVS_ACTION_ATTR_POP_ETH:
        case OVS_ACTION_ATTR_PUSH_NSH:
        case OVS_ACTION_ATTR_POP_NSH:
            if (!model_front(m, &a))
                return false;
            break;
        default:
            if (!model_vlan_mpls(m, &a))
                return false;
            break;
        }
    }
    return true;
}

#endif
