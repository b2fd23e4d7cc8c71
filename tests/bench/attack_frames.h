/* SPDX-License-Identifier: Apache-2.0
 * attack_frames.h - frames and masks chosen to be dear, for attack_bench.c: flows that collide under CRC32C, tuple space explosion, deep MPLS stacks, chains of
 * IPv6 extension headers, fragments. */
#ifndef UPCALL_ATTACK_FRAMES_H
#define UPCALL_ATTACK_FRAMES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act/act.h"
#include "packet/key.h"

#define ATTACK_FRAME 160u

/* One to one, and far from linear. */
static inline uint32_t attack_mix(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

static inline struct act_prog *attack_program(uint32_t port)
{
    const struct key key = { 0 };
    const struct {
        uint16_t size, type;
        uint32_t port;
    } attr = { 8, 1, port };
    struct act_prog *prog;
    const char *why;

    if (act_compile((const uint8_t *)&attr, port == UINT32_MAX ? 0 : sizeof attr, &key, &prog, &why))
        exit(2);
    return prog;
}

/* --- Masks ------------------------------------------------------------------------------------------------ */

static inline void attack_mask_addresses(uint32_t i, struct key *mask)
{
    (void)i;
    memset(mask, 0, sizeof *mask);
    mask->base.l2 = 0xff;
    mask->base.eth_type = 0xffff;
    mask->base.vlan[0].tci = 0x10;
    mask->base.nw_frag = 0xff;
    mask->base.ip4_src = mask->base.ip4_dst = UINT32_MAX;
}

static inline void attack_mask_explosion(uint32_t i, struct key *mask)
{
    attack_mask_addresses(i, mask);
    mask->base.ip4_dst = 0;
    mask->base.nw_proto = 0xff;
    mask->base.ip4_src = __builtin_bswap32(~0u << (31 - i % 32));
    mask->base.tp_dst = __builtin_bswap16((uint16_t)(~0u << (15 - i / 32 % 16)));
}

/* --- IPv4 ------------------------------------------------------------------------------------------------- */

static inline uint32_t attack_ipv4(uint8_t *frame, uint64_t addresses, uint16_t sport, uint16_t dport, uint16_t fragment)
{
    static const uint8_t head[] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0 };

    memset(frame, 0, 60);
    memcpy(frame, head, sizeof head);
    fragment = __builtin_bswap16(fragment);
    memcpy(frame + 20, &fragment, 2);
    memcpy(frame + 26, &addresses, 8);
    frame[34] = (uint8_t)(sport >> 8);
    frame[35] = (uint8_t)sport;
    frame[36] = (uint8_t)(dport >> 8);
    frame[37] = (uint8_t)dport;
    frame[39] = 26;
    return 60;
}

static inline uint32_t attack_plain(uint32_t i, uint8_t *frame)
{
    (void)i;
    return attack_ipv4(frame, 0x0100000a0200000aull, 1000, 53, 0);
}

static inline uint32_t attack_random(uint32_t i, uint8_t *frame)
{
    uint32_t src = attack_mix(i), dst = attack_mix(src ^ 0x5bd1e995u);

    return attack_ipv4(frame, (uint64_t)dst << 32 | src, 1000, 53, 0);
}

static inline uint32_t attack_fragment(uint32_t i, uint8_t *frame)
{
    uint32_t at = attack_mix(i);

    return attack_ipv4(frame, (uint64_t)at << 32 | ~at, (uint16_t)at, 53, (uint16_t)(i % 3 ? at % 8000 | (i % 2 ? 0x2000 : 0) : 0x2000));
}

static inline uint32_t attack_explosion(uint32_t i, uint8_t *frame)
{
    uint32_t cold = attack_mix(i), src = (0x0a010203u ^ 0x80000000u >> i % 32) ^ (cold & ~(~0u << (31 - i % 32)));
    uint16_t dport = (uint16_t)((80u ^ 0x8000u >> i / 32 % 16) ^ (cold >> 8 & ~(~0u << (15 - i / 32 % 16))));

    return attack_ipv4(frame, 10ull << 32 | __builtin_bswap32(src), 1000, dport, 0);
}

static inline uint32_t attack_crc32c(uint64_t x)
{
    uint32_t crc = 0;

    for (int i = 0; i < 64; i++) {
        crc ^= x >> i & 1;
        crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return crc;
}

/* Pairs of addresses with one CRC32C, whatever it starts from: sums of a basis of those whose CRC is 0, found by elimination, because CRC is linear. */
static inline uint32_t attack_collision(uint32_t i, uint8_t *frame)
{
    static uint64_t basis[32];
    uint64_t addresses = 0;

    if (!basis[0]) {
        uint64_t rows[32] = { 0 };
        uint32_t images[32] = { 0 }, found = 0;

        for (int bit = 0; bit < 64; bit++) {
            uint64_t row = 1ull << bit;
            uint32_t image = attack_crc32c(row);

            for (int k = 31; k >= 0 && image; k--) {
                if (!(image >> k & 1))
                    continue;
                if (!images[k]) {
                    images[k] = image;
                    rows[k] = row;
                    break;
                }
                image ^= images[k];
                row ^= rows[k];
            }
            if (!image)
                basis[found++] = row;
        }
        if (found != 32)
            exit(2);
    }
    for (int bit = 0; bit < 14; bit++)
        addresses ^= (i + 1) >> bit & 1 ? basis[bit] : 0;
    if (attack_crc32c(addresses))
        exit(2);
    return attack_ipv4(frame, addresses, 1000, 53, 0);
}

/* --- Others ----------------------------------------------------------------------------------------------- */

/* More labels than a key has, and an IPv4 packet behind them. */
static inline uint32_t attack_mpls(uint32_t i, uint8_t *frame)
{
    uint8_t inner[ATTACK_FRAME];
    const uint32_t depth = 1 + i % 20, size = attack_random(i, inner);

    memcpy(frame, inner, 12);
    frame[12] = 0x88;
    frame[13] = 0x47;
    for (uint32_t label = 0; label < depth; label++) {
        uint32_t entry = __builtin_bswap32((attack_mix(i + label) & 0xfffff000) | (label + 1 == depth ? 0x100 : 0) | 64);

        memcpy(frame + 14 + 4 * label, &entry, 4);
    }
    memcpy(frame + 14 + 4 * depth, inner + 14, size - 14);
    return size + 4 * depth;
}

/* Extension headers of all kinds in any order, 8 bytes each, then UDP or nothing. */
static inline uint32_t attack_chain(uint32_t i, uint8_t *frame)
{
    static const uint8_t kinds[] = { 0, 60, 43, 60, 51, 44, 60, 0 };
    uint32_t size = 54, x = attack_mix(i);
    uint8_t *next = frame + 20;

    memset(frame, 0, ATTACK_FRAME);
    attack_plain(0, frame);
    memset(frame + 12, 0, 48);
    frame[12] = 0x86;
    frame[13] = 0xdd;
    frame[14] = 0x60;
    frame[21] = 64;
    memcpy(frame + 22, &x, 4);
    for (uint32_t n = x % 11; n; n--, size += 8) {
        x = attack_mix(x);
        *next = kinds[x % sizeof kinds];
        next = frame + size;
    }
    *next = x % 5 ? 17 : 59;
    size += 16;
    frame[19] = (uint8_t)(size - 54);
    return size;
}

#endif
