/* SPDX-License-Identifier: Apache-2.0
 *
 * What cls_bench.c measures: tables, packets and actions of the shapes that bench:peers has. */
#ifndef UPCALL_CLS_BENCH_SHAPES_H
#define UPCALL_CLS_BENCH_SHAPES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/openvswitch.h>

#include <rte_byteorder.h>

#include "act/act.h"
#include "packet/key.h"

#define FRAME 64

struct shape {
    const char *name;
    uint32_t packets, flows;
    /* The key of packet i's flow under its mask. */
    void (*mask)(uint32_t i, struct key *mask);
    uint32_t masks;                  /* Flow i has mask i % masks. */
    bool ipv6, each;                 /* A flow for each packet, not one for all. */
    bool tcp;
    bool mixed;                      /* Six kinds and three sizes at random, as in `mixed` of bench:peers; of two lines each. */
    uint32_t outputs;                /* Ports that flows send to in turn; 0: one. */
    bool rewrite;                    /* Addresses and TTL are set, and a tag is pushed. */
};

static uint64_t seed = 42;

static uint32_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

static void base_mask(struct key *mask)
{
    memset(mask, 0, sizeof *mask);
    mask->base.l2 = 0xff;
    mask->base.eth_type = 0xffff;
    mask->base.vlan[0].tci = 0x10;
    mask->base.nw_frag = 0xff;
}

static void mask_port(uint32_t i, struct key *mask)
{
    (void)i;
    base_mask(mask);
}

static void mask_dst8(uint32_t i, struct key *mask)
{
    base_mask(mask);
    mask->base.ip4_dst = 0xff;
    (void)i;
}

static void mask_dst11(uint32_t i, struct key *mask)
{
    base_mask(mask);
    mask->base.ip4_dst = RTE_BE32(0xffe00000);
    (void)i;
}

/* Of IPv4, of what is tagged, of IPv6 (make_mixed()). */
static void mask_kind(uint32_t i, struct key *mask)
{
    base_mask(mask);
    if (i == 2) {
        memset(mask->wide.ip6_dst, 0xff, 4);
        return;
    }
    mask->base.ip4_dst = 0xff;
    if (i == 1)
        mask->base.vlan[0].tci = RTE_BE16(0x1fff);
}

static void mask_prefix(uint32_t i, struct key *mask)
{
    base_mask(mask);
    mask->base.ip4_dst = __builtin_bswap32(~0u << (31 - (i + 12) % 32));
}

static void mask_two_prefixes(uint32_t i, struct key *mask)
{
    base_mask(mask);
    mask->base.ip4_dst = __builtin_bswap32(~0u << (15 - i % 8));
    mask->base.ip4_src = __builtin_bswap32(~0u << (15 - i / 8 % 8));
}

static void mask_explosion(uint32_t i, struct key *mask)
{
    base_mask(mask);
    mask->base.nw_proto = 0xff;
    mask->base.ip4_src = __builtin_bswap32(~0u << (31 - i % 32));
    mask->base.tp_dst = __builtin_bswap16((uint16_t)(~0u << (15 - i / 32 % 16)));
}

static void mask_tuple(uint32_t i, struct key *mask)
{
    (void)i;
    base_mask(mask);
    mask->base.nw_proto = 0xff;
    mask->base.ip4_src = mask->base.ip4_dst = UINT32_MAX;
    mask->base.tp_src = mask->base.tp_dst = UINT16_MAX;
}

static void mask_ip6(uint32_t i, struct key *mask)
{
    (void)i;
    base_mask(mask);
    memset(mask->wide.ip6_dst, 0xff, 4);
}

static const struct shape shapes[] = {
    { "one-flow", 1, 1, mask_port, 1, false, false },
    { "mixed", 20000, 20000, mask_kind, 3, .mixed = true },
    { "multi-out", 10000, 10000, mask_dst11, 1, .outputs = 8 },
    { "tcp-10k", 10000, 1, mask_dst8, 1, .tcp = true },
    { "rewrite-10k", 10000, 1, mask_dst8, 1, .rewrite = true },
    { "l3-1k", 1000, 1, mask_dst8, 1, false, false },
    { "l3-10k", 10000, 1, mask_dst8, 1, false, false },
    { "l3-100k", 100000, 1, mask_dst8, 1, false, false },
    { "masks20-10k", 10000, 20, mask_prefix, 20, false, true },
    { "masks64-10k", 10000, 64, mask_two_prefixes, 64, false, true },
    { "masks64-420k", 420000, 18800, mask_two_prefixes, 64, false, true },
    { "exact-100k", 100000, 100000, mask_tuple, 1, false, true },
    { "explosion-512", 1000000, 512, mask_explosion, 512, false, true },
    { "ipv6-10k", 10000, 1, mask_ip6, 1, true, false },
};

/* An address that parts ways with that of its group at the last bit of a prefix, so that no two flows overlap. */
static uint32_t diverge(uint32_t group, uint32_t prefix)
{
    uint32_t address = (group * 0x9e3779b1u & 0xffff0000) | 0x5555;

    return ((address ^ (prefix & -prefix)) & prefix) | (rnd() & ~prefix);
}

enum { UDP4, TCP4, TAGGED, UDP6, TCP6, ICMP4, KINDS };

/* Of the kinds, how many of ten; and which mask of mask_kind() its flow has. */
static const uint8_t kind_share[KINDS] = { 2, 2, 2, 2, 1, 1 }, kind_mask[KINDS] = { 0, 0, 1, 2, 2, 0 };

/* What a frame of `mixed` ends with, in its second line, where no header reaches. */
struct frame_end {
    uint16_t size, mask;
};

static struct frame_end *end_of(uint8_t *f)
{
    return (struct frame_end *)(f + 2 * FRAME) - 1;
}

/* A frame of one of six kinds. */
static void make_mixed(uint8_t *f)
{
    static const uint16_t sizes[12] = { [0 ... 6] = 60, [7 ... 10] = 590, 1514 };
    uint16_t size = sizes[rnd() % 12];
    uint32_t kind = 0, l3, l4;

    for (uint32_t at = rnd() % 10; at >= kind_share[kind]; kind++)
        at -= kind_share[kind];
    memset(f, 0, 2 * FRAME);
    for (int k = 0; k < 12; k++)
        f[k] = (uint8_t)(2 * k);
    l3 = kind == TAGGED ? 18 : 14;
    if (kind == TAGGED)
        memcpy(f + 12, "\x81\0\0\x64", 4);
    if (kind == UDP6 || kind == TCP6) {
        l4 = l3 + 40;
        size = size < l4 + 20 && kind == TCP6 ? (uint16_t)(l4 + 20) : size < l4 + 8 ? (uint16_t)(l4 + 8) : size;
        memcpy(f + 12, "\x86\xdd\x60", 3);
        f[l3 + 4] = (uint8_t)((size - l4) >> 8);
        f[l3 + 5] = (uint8_t)(size - l4);
        f[l3 + 6] = kind == TCP6 ? 6 : 17;
        f[l3 + 7] = 64;
        for (uint32_t k = l3 + 8; k < l4; k++)
            f[k] = (uint8_t)rnd();
        memcpy(f + l3 + 24, kind == TCP6 ? "\x20\x01\x0d\xb9" : "\x20\x01\x0d\xb8", 4);
    } else {
        static const uint8_t head[] = { 8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64 };

        l4 = l3 + 20;
        memcpy(f + l3 - 2, head, sizeof head);
        f[l3 + 2] = (uint8_t)((size - l3) >> 8);
        f[l3 + 3] = (uint8_t)(size - l3);
        f[l3 + 9] = kind == TCP4 ? 6 : kind == ICMP4 ? 1 : 17;
        for (uint32_t k = l3 + 12; k < l4; k++)
            f[k] = (uint8_t)rnd();
        f[l3 + 16] = kind == TCP4 ? 11 : kind == TAGGED ? 12 : kind == ICMP4 ? 13 : 10;
    }
    if (kind == ICMP4) {
        f[l4] = 8;
    } else {
        for (uint32_t k = l4; k < l4 + 4; k++)
            f[k] = (uint8_t)rnd();
        if (kind == TCP4 || kind == TCP6)
            memcpy(f + l4 + 12, "\x50\x10", 2);
    }
    *end_of(f) = (struct frame_end){ size, kind_mask[kind] };
}

static void make_frame(uint8_t *f, const struct shape *shape, uint32_t i)
{
    const uint32_t flow = shape->each ? i % shape->flows : 0;

    memset(f, 0, FRAME);
    for (int k = 0; k < 12; k++)
        f[k] = (uint8_t)(2 * k);
    if (shape->ipv6) {
        static const uint8_t head[] = { 0x86, 0xdd, 0x60, 0, 0, 0, 0, 10, 17, 64 };

        memcpy(f + 12, head, sizeof head);
        for (int k = 22; k < 58; k++)
            f[k] = (uint8_t)rnd();
        memcpy(f + 38, "\x20\x01\x0d\xb8", 4);
        return;
    }
    {
        static const uint8_t head[] = { 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0 };
        uint32_t src = rnd(), dst = 10u << 24 | (rnd() & 0xffffff), sport = rnd(), dport = rnd();
        struct key mask;

        memcpy(f + 12, head, sizeof head);
        shape->mask(flow % shape->masks, &mask);
        if (shape->each && shape->mask == mask_explosion) {
            /* Parts ways with 10.1.2.3 and port 80 at the last bit of the mask. */
            src = (0x0a010203u ^ 0x80000000u >> (flow % 32)) ^ (rnd() & ~(~0u << (31 - flow % 32)));
            dport = (80u ^ 0x8000u >> (flow / 32 % 16)) ^ (rnd() & ~(~0u << (15 - flow / 32 % 16)));
        } else if (shape->each && shape->mask != mask_tuple) {
            dst = diverge(flow / shape->masks, __builtin_bswap32(mask.base.ip4_dst));
            src = diverge(flow / shape->masks, __builtin_bswap32(mask.base.ip4_src));
        }
        src = __builtin_bswap32(src);
        dst = __builtin_bswap32(dst);
        memcpy(f + 26, &src, 4);
        memcpy(f + 30, &dst, 4);
        f[34] = (uint8_t)(sport >> 8);
        f[35] = (uint8_t)sport;
        f[36] = (uint8_t)(dport >> 8);
        f[37] = (uint8_t)dport;
        f[39] = 26;
    }
    if (shape->tcp) {
        f[23] = 6;
        f[46] = 0x50;
    }
}

static uint8_t *attribute(uint8_t *to, uint16_t type, const void *value, uint16_t size)
{
    const uint16_t head[2] = { (uint16_t)(4 + size), type };

    memcpy(to, head, 4);
    memcpy(to + 4, value, size);
    return to + 4 + ((size + 3) & ~3);
}

/* Output, or set(eth(src=...,dst=...)),set(ipv4(ttl=63)),push_vlan(vid=100),output. */
static struct act_prog *actions_of(const struct shape *shape, uint32_t port)
{
    static const uint8_t ethernet[24] = { 2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 4, [12 ... 23] = 0xff };
    static const uint8_t ttl[24] = { [10] = 63, [22] = 0xff }, tag[4] = { 0x81, 0, 0x10, 100 };
    struct key key = { .base = { .eth_type = RTE_BE16(0x0800), .nw_ttl = 64 } };
    uint8_t list[256] = { 0 }, set[32], *end = list;
    struct act_prog *prog;
    const char *why;

    if (shape->rewrite) {
        attribute(set, OVS_KEY_ATTR_ETHERNET, ethernet, sizeof ethernet);
        end = attribute(end, OVS_ACTION_ATTR_SET_MASKED, set, 28);
        attribute(set, OVS_KEY_ATTR_IPV4, ttl, sizeof ttl);
        end = attribute(end, OVS_ACTION_ATTR_SET_MASKED, set, 28);
        end = attribute(end, OVS_ACTION_ATTR_PUSH_VLAN, tag, sizeof tag);
    }
    end = attribute(end, OVS_ACTION_ATTR_OUTPUT, &port, sizeof port);
    if (act_compile(list, (size_t)(end - list), &key, &prog, &why)) {
        printf("%s\n", why);
        exit(1);
    }
    return prog;
}

#endif
