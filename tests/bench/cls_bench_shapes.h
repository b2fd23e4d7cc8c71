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
    bool mixed;                      /* UDP and TCP, tagged UDP, UDP over IPv6, at random. */
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
    { "mixed", 10000, 64, mask_port, 1, .mixed = true },
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

static void make_frame(uint8_t *f, const struct shape *shape, uint32_t i)
{
    const uint32_t flow = shape->each ? i % shape->flows : 0, kind = shape->mixed ? rnd() % 4 : shape->ipv6 ? 3 : shape->tcp;

    memset(f, 0, FRAME);
    for (int k = 0; k < 12; k++)
        f[k] = (uint8_t)(2 * k);
    if (kind == 3) {
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
    if (kind == 1) {
        f[23] = 6;
        f[46] = 0x50;
    }
    if (kind == 2) {
        memmove(f + 16, f + 12, FRAME - 16);
        memcpy(f + 12, "\x81\0\0\7", 4);
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
static struct act_prog *actions_of(const struct shape *shape)
{
    static const uint8_t ethernet[24] = { 2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 4, [12 ... 23] = 0xff };
    static const uint8_t ttl[24] = { [10] = 63, [22] = 0xff }, tag[4] = { 0x81, 0, 0x10, 100 };
    struct key key = { .base = { .eth_type = RTE_BE16(0x0800), .nw_ttl = 64 } };
    uint8_t list[256] = { 0 }, set[32], *end = list;
    const uint32_t port = 2;
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
