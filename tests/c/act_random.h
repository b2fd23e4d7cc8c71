/* SPDX-License-Identifier: Apache-2.0
 * act_random.h - random lists of actions, all of them well-formed. */
#ifndef UPCALL_ACT_RANDOM_H
#define UPCALL_ACT_RANDOM_H

#include "frames.h"
#include "odp/odp_attr.h"

#define ACT_LIST_MAX 4096

struct act_list_text {
    uint8_t bytes[ACT_LIST_MAX];
    uint32_t size;
};

static inline uint8_t *al_add(struct act_list_text *l, uint32_t type, uint32_t size)
{
    uint16_t head[2] = { (uint16_t)(size + 4), (uint16_t)type };
    uint8_t *at = l->bytes + l->size;

    if (l->size + size + 8 > sizeof l->bytes)
        abort();
    memset(at, 0, ((size + 3) & ~3u) + 4);
    memcpy(at, head, 4);
    l->size += ((size + 3) & ~3u) + 4;
    return at + 4;
}

static inline void al_u32(struct act_list_text *l, uint32_t type, uint32_t x)
{
    memcpy(al_add(l, type, 4), &x, 4);
}

static inline uint32_t al_begin(struct act_list_text *l, uint32_t type)
{
    uint32_t at = l->size;

    al_add(l, type, 0);
    return at;
}

static inline void al_end(struct act_list_text *l, uint32_t at)
{
    uint16_t size = (uint16_t)(l->size - at);

    memcpy(l->bytes + at, &size, 2);
}

/* set or set_masked of a random field. */
static inline void al_random_set(struct act_list_text *l, uint64_t *state)
{
    static const struct {
        uint8_t attr, size;
    } fields[] = {
        { OVS_KEY_ATTR_PRIORITY, 4 }, { OVS_KEY_ATTR_SKB_MARK, 4 },  { OVS_KEY_ATTR_DP_HASH, 4 }, { OVS_KEY_ATTR_ETHERNET, 12 },
        { OVS_KEY_ATTR_ETHERNET, 12 }, { OVS_KEY_ATTR_IPV4, 12 },    { OVS_KEY_ATTR_IPV4, 12 },   { OVS_KEY_ATTR_IPV4, 12 },
        { OVS_KEY_ATTR_IPV6, 40 },    { OVS_KEY_ATTR_IPV6, 40 },     { OVS_KEY_ATTR_TCP, 4 },     { OVS_KEY_ATTR_UDP, 4 },
        { OVS_KEY_ATTR_SCTP, 4 },     { OVS_KEY_ATTR_ICMP, 2 },      { OVS_KEY_ATTR_ICMPV6, 2 },  { OVS_KEY_ATTR_ARP, 24 },
        { OVS_KEY_ATTR_ND, 28 },      { ODP_KEY_ND_EXTENSIONS, 8 },  { OVS_KEY_ATTR_MPLS, 4 },
    };
    uint32_t i = frame_random(state) % (sizeof fields / sizeof fields[0]), size = fields[i].size;
    bool masked = frame_random(state) & 1;
    uint32_t nest = al_begin(l, masked ? OVS_ACTION_ATTR_SET_MASKED : OVS_ACTION_ATTR_SET);
    uint8_t *at = al_add(l, fields[i].attr, masked ? 2 * size : size), *mask = at + size;

    for (uint32_t j = 0; j < size; j++)
        at[j] = (uint8_t)frame_random(state);
    if (fields[i].attr == OVS_KEY_ATTR_IPV6)
        memset(at + 32, 0, 1), at[33] &= 0x0f;
    if (masked) {
        uint32_t style = frame_random(state) % 3;

        for (uint32_t j = 0; j < size; j++)
            mask[j] = style == 0 ? 0xff : style == 1 ? (uint8_t)frame_random(state) : (frame_random(state) & 1 ? 0xff : 0);
        if (fields[i].attr == OVS_KEY_ATTR_IPV4)
            mask[8] = mask[11] = 0;
        if (fields[i].attr == OVS_KEY_ATTR_IPV6)
            mask[32] = mask[36] = mask[39] = 0, mask[33] &= 0x0f;
        if (fields[i].attr == OVS_KEY_ATTR_IPV4 && style == 2) { /* The commonest: TTL only. */
            memset(mask, 0, size);
            mask[10] = 0xff;
        }
        for (uint32_t j = 0; j < size; j++)
            at[j] &= mask[j];
    }
    al_end(l, nest);
}

static inline void al_random(struct act_list_text *l, uint64_t *state, uint32_t depth);

static inline void al_random_nested(struct act_list_text *l, uint64_t *state, uint32_t depth, uint32_t type)
{
    uint32_t nest = al_begin(l, type);

    al_random(l, state, depth + 1);
    al_end(l, nest);
}

static inline void al_random_branch(struct act_list_text *l, uint64_t *state, uint32_t depth)
{
    uint32_t nest;
    uint16_t limit = (uint16_t)(40 + frame_random(state) % 80);

    switch (frame_random(state) % 4) {
    case 0:
        al_random_nested(l, state, depth, OVS_ACTION_ATTR_CLONE);
        break;
    case 1:
        nest = al_begin(l, OVS_ACTION_ATTR_SAMPLE);
        al_u32(l, OVS_SAMPLE_ATTR_PROBABILITY, frame_random(state) & 1 ? UINT32_MAX : 0);
        al_random_nested(l, state, depth, OVS_SAMPLE_ATTR_ACTIONS);
        al_end(l, nest);
        break;
    case 2:
        nest = al_begin(l, OVS_ACTION_ATTR_CHECK_PKT_LEN);
        memcpy(al_add(l, OVS_CHECK_PKT_LEN_ATTR_PKT_LEN, 2), &limit, 2);
        al_random_nested(l, state, depth, OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_GREATER);
        al_random_nested(l, state, depth, OVS_CHECK_PKT_LEN_ATTR_ACTIONS_IF_LESS_EQUAL);
        al_end(l, nest);
        break;
    default:
        nest = al_begin(l, 23); /* dec_ttl */
        al_random_nested(l, state, depth, 1);
        al_end(l, nest);
        break;
    }
}

/* The changes of a router, which are compiled to one operation: both MAC addresses, TTL, a tag; each but the first may be missing. */
static inline void al_random_rewrite(struct act_list_text *l, uint64_t *state)
{
    uint32_t nest = al_begin(l, OVS_ACTION_ATTR_SET);
    uint8_t *at = al_add(l, OVS_KEY_ATTR_ETHERNET, 12);

    for (int i = 0; i < 12; i++)
        at[i] = (uint8_t)frame_random(state);
    al_end(l, nest);
    if (frame_random(state) % 4) {
        nest = al_begin(l, OVS_ACTION_ATTR_SET_MASKED);
        at = al_add(l, OVS_KEY_ATTR_IPV4, 24);
        at[10] = (uint8_t)frame_random(state);
        at[22] = 0xff;
        al_end(l, nest);
    }
    if (frame_random(state) & 1)
        memcpy(al_add(l, OVS_ACTION_ATTR_PUSH_VLAN, 4), "\x81\x00\x30\x07", 4);
}

static inline void al_random_nsh(struct act_list_text *l, uint64_t *state)
{
    const uint32_t words = frame_random(state) % 16, md = 1 + (frame_random(state) & 1), nest = al_begin(l, OVS_ACTION_ATTR_PUSH_NSH);
    const uint32_t inner = al_begin(l, OVS_KEY_ATTR_NSH);
    uint8_t *at = al_add(l, OVS_NSH_KEY_ATTR_BASE, 8);

    at[0] = frame_random(state) & 3;
    at[1] = frame_random(state) & 0x3f;
    at[2] = (uint8_t)md;
    for (int i = 3; i < 8; i++)
        at[i] = (uint8_t)frame_random(state);
    at = md == 1 ? al_add(l, OVS_NSH_KEY_ATTR_MD1, 16) : al_add(l, OVS_NSH_KEY_ATTR_MD2, 4 * words);
    for (uint32_t i = 0; i < (md == 1 ? 16 : 4 * words); i++)
        at[i] = (uint8_t)frame_random(state);
    al_end(l, inner);
    al_end(l, nest);
}

static inline void al_random_set_nsh(struct act_list_text *l, uint64_t *state)
{
    const bool masked = frame_random(state) & 1;
    const uint32_t nest = al_begin(l, masked ? OVS_ACTION_ATTR_SET_MASKED : OVS_ACTION_ATTR_SET);
    const uint32_t inner = al_begin(l, OVS_KEY_ATTR_NSH);

    for (uint32_t type = OVS_NSH_KEY_ATTR_BASE; type <= OVS_NSH_KEY_ATTR_MD1; type++) {
        const uint32_t size = type == OVS_NSH_KEY_ATTR_BASE ? 8 : 16;
        uint8_t *at;

        if (type == OVS_NSH_KEY_ATTR_MD1 && frame_random(state) & 1)
            break;
        at = al_add(l, type, masked ? 2 * size : size);
        for (uint32_t i = 0; i < size; i++)
            at[i] = (uint8_t)frame_random(state);
        if (type == OVS_NSH_KEY_ATTR_BASE)
            at[0] &= 3, at[1] &= 0x3f;
        if (!masked)
            continue;
        for (uint32_t i = 0; i < size; i++)
            at[size + i] = type == OVS_NSH_KEY_ATTR_BASE && (i == 2 || i == 3) ? 0 : (uint8_t)frame_random(state);
        if (type == OVS_NSH_KEY_ATTR_BASE)
            at[size] &= 3, at[size + 1] &= 0x3f;
        for (uint32_t i = 0; i < size; i++)
            at[i] &= at[size + i];
    }
    al_end(l, inner);
    al_end(l, nest);
}

/* Headers that come and go in front of a packet. */
static inline void al_random_front(struct act_list_text *l, uint64_t *state)
{
    uint8_t *at;

    switch (frame_random(state) % 7) {
    case 0:
        at = al_add(l, OVS_ACTION_ATTR_PUSH_ETH, 12);
        for (int i = 0; i < 12; i++)
            at[i] = (uint8_t)frame_random(state);
        break;
    case 1:
    case 2:
        al_add(l, OVS_ACTION_ATTR_POP_ETH, 0);
        break;
    case 3:
        al_random_nsh(l, state);
        break;
    case 4:
        al_add(l, OVS_ACTION_ATTR_POP_NSH, 0);
        break;
    case 5:
        at = al_add(l, 22, 8); /* add_mpls */
        for (int i = 0; i < 4; i++)
            at[i] = (uint8_t)frame_random(state);
        at[4] = 0x88;
        at[5] = 0x47;
        at[6] = frame_random(state) & 1;
        break;
    default:
        al_random_set_nsh(l, state);
        break;
    }
}

/* Tags and labels. */
static inline void al_random_tag(struct act_list_text *l, uint64_t *state)
{
    uint8_t *at;

    switch (frame_random(state) % 4) {
    case 0:
        at = al_add(l, OVS_ACTION_ATTR_PUSH_VLAN, 4);
        at[0] = frame_random(state) & 1 ? 0x81 : 0x88;
        at[1] = at[0] == 0x81 ? 0x00 : 0xa8;
        at[2] = (uint8_t)(frame_random(state) | 0x10);
        at[3] = (uint8_t)frame_random(state);
        break;
    case 1:
        al_add(l, OVS_ACTION_ATTR_POP_VLAN, 0);
        break;
    case 2:
        at = al_add(l, OVS_ACTION_ATTR_PUSH_MPLS, 8);
        for (int j = 0; j < 4; j++)
            at[j] = (uint8_t)frame_random(state);
        at[4] = 0x88;
        at[5] = 0x47;
        break;
    default:
        at = al_add(l, OVS_ACTION_ATTR_POP_MPLS, 2);
        at[0] = frame_random(state) & 1 ? 0x88 : 0x08;
        at[1] = at[0] == 0x88 ? 0x47 : 0x00;
        if (frame_random(state) % 4 == 0)
            at[0] = 0x65, at[1] = 0x58;
        break;
    }
}

static inline void al_random(struct act_list_text *l, uint64_t *state, uint32_t depth)
{
    uint32_t n = frame_random(state) % (depth ? 4 : 8), nest;

    if (frame_random(state) % 4 == 0)
        al_random_rewrite(l, state);
    while (n--) {
        if (l->size > ACT_LIST_MAX - 1500)
            return;
        switch (frame_random(state) % 20) {
        case 0:
        case 1:
        case 2:
            al_u32(l, OVS_ACTION_ATTR_OUTPUT, 1 + frame_random(state) % 4);
            break;
        case 3:
            if (frame_random(state) % 3 == 0) {
                nest = al_begin(l, 25); /* psample */
                al_u32(l, 1, 7);
                if (frame_random(state) & 1)
                    al_add(l, 2, frame_random(state) % 17);
                al_end(l, nest);
                break;
            }
            nest = al_begin(l, OVS_ACTION_ATTR_USERSPACE);
            al_u32(l, OVS_USERSPACE_ATTR_PID, 7);
            if (frame_random(state) & 1)
                memset(al_add(l, OVS_USERSPACE_ATTR_USERDATA, 5), 0x33, 5);
            if (frame_random(state) & 1)
                al_add(l, OVS_USERSPACE_ATTR_ACTIONS, 0);
            al_end(l, nest);
            break;
        case 4:
        case 5:
        case 6:
        case 7:
            al_random_tag(l, state);
            break;
        case 8:
            al_u32(l, OVS_ACTION_ATTR_TRUNC, 14 + frame_random(state) % 100);
            break;
        case 9:
            al_u32(l, OVS_ACTION_ATTR_RECIRC, 1 + frame_random(state) % 9);
            break;
        case 10:
            if (depth < 3)
                al_random_branch(l, state, depth);
            break;
        case 11:
        case 12:
            al_random_front(l, state);
            break;
        case 14:
            al_u32(l, OVS_ACTION_ATTR_METER, frame_random(state) % 9);
            break;
        case 13:
            if (frame_random(state) % 4)
                break;
            al_u32(l, 24, frame_random(state) % 3); /* drop: nothing may follow. */
            return;
        default:
            al_random_set(l, state);
            break;
        }
    }
}

#endif
