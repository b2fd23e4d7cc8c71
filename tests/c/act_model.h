/* SPDX-License-Identifier: Apache-2.0
 * act_model.h - actions on a plain array of bytes, the simplest way that can be thought of: what the compiled programs are judged by.
 *
 * One packet at a time, attributes interpreted as they come, checksums computed anew over all they cover.  Only for frames whose checksums
 * were right (model_fix() changes nothing). */
#ifndef UPCALL_ACT_MODEL_H
#define UPCALL_ACT_MODEL_H

#include "act_model_set.h"

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
    struct odp_attr nest, base, context = { .size = 0 };
    uint8_t header[256] = { 0 };

    odp_next(&walk, &nest);
    walk = (struct odp_walk){ nest.at, nest.size };
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
        case 25: /* psample: nobody looks. */
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
