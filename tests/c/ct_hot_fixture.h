/* SPDX-License-Identifier: Apache-2.0
 * ct_hot_fixture.h - packets of few connections, with faults of all kinds, and actions that track them. */
#ifndef UPCALL_CT_HOT_FIXTURE_H
#define UPCALL_CT_HOT_FIXTURE_H

#include <linux/openvswitch.h>
#include <rte_mbuf.h>

#include "act/act.h"
#include "check.h"
#include "ct/ct_int.h"
#include "packet/csum.h"

#define CONNECTIONS 12u
#define FRAME_ROOM 200u

static uint64_t seed = 0x9e3779b97f4a7c15ull;
static bool faulty;                  /* Bursts that have packets of other kinds. */

static inline uint32_t rnd(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 20) % below;
}

/* --- Packets ---------------------------------------------------------------------------------- */

static inline void put16(uint8_t *at, uint32_t x)
{
    at[0] = (uint8_t)(x >> 8);
    at[1] = (uint8_t)x;
}

static inline void put32(uint8_t *at, uint32_t x)
{
    put16(at, x >> 16);
    put16(at + 2, x);
}

static inline void sum_frame(uint8_t *f, uint32_t size, bool bad)
{
    uint8_t *l4 = f + 34, *field = f[23] == 6 ? l4 + 16 : f[23] == 17 ? l4 + 6 : l4 + 2;
    uint64_t all;
    uint16_t sum;

    put16(f + 24, 0);
    sum = (uint16_t)~csum_fold(csum_sum(f + 14, 20));
    memcpy(f + 24, &sum, 2);
    put16(field, 0);
    all = csum_sum(l4, size - 34);
    if (f[23] != 1)
        all += csum_sum(f + 26, 8) + __builtin_bswap16((uint16_t)(size - 34)) + __builtin_bswap16(f[23]);
    sum = (uint16_t)(~csum_fold(all) + bad);
    memcpy(field, &sum, 2);
}

/* A packet of a connection, some with a fault, its number in the identification, which no translation changes.  The size of the frame. */
static inline uint32_t make_frame(uint8_t *f, uint32_t connection, uint32_t id)
{
    static const uint8_t protos[] = { 17, 17, 6, 6, 6, 1 };
    const uint8_t proto = protos[connection % sizeof protos], reply = rnd(5) < 2;
    const uint32_t head = proto == 6 ? 20 : 8, payload = rnd(4) ? rnd(20) : rnd(100), size = 34 + head + payload;
    const uint32_t a = 0x0a000001 + connection, b = 0x0a000101 + connection % 3;

    memset(f, (int)rnd(256), FRAME_ROOM);
    memcpy(f, "\x02\0\0\0\0\2\2\0\0\0\0\1\x08\0\x45\0\0\0\0\0\0\0\x40", 23);
    put16(f + 16, size - 14);
    put16(f + 18, id);
    f[23] = proto;
    put32(f + 26, reply ? b : a);
    put32(f + 30, reply ? (rnd(2) ? 0xc0000201 : a) : b); /* The address that is translated to, too. */
    put16(f + 34, reply ? 80 : 1000 + connection);
    put16(f + 36, reply ? 1000 + connection : 80);
    if (proto == 17) {
        put16(f + 38, rnd(60) ? 8 + payload : rnd(40));
    } else if (proto == 6) {
        static const uint8_t flags[] = { 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x18, 0x18, 0x02, 0x11, 0x04, 0x00 };

        put32(f + 38, (reply ? 5000u : 1000u) + rnd(20));
        put32(f + 42, (reply ? 1000u : 5000u) + rnd(20));
        f[46] = rnd(60) ? 0x50 : (uint8_t)rnd(256);
        f[47] = rnd(40) ? flags[rnd(8)] : flags[rnd(sizeof flags)];
        if (f[47] == 0x02 && reply)
            f[47] = 0x12;
        put16(f + 48, rnd(60000));
    } else {
        f[34] = reply ? 0 : 8;
        f[35] = 0;
        put16(f + 38, 7 + connection);
    }
    sum_frame(f, size, !rnd(50));
    if (proto == 17 && !rnd(20))
        put16(f + 40, 0);
    if (!faulty)
        return size + (rnd(4) ? 0 : rnd(16));
    if (!rnd(80))
        put16(f + 20, rnd(2) ? 0x2000 : 0x0005); /* A fragment; the sum is wrong then. */
    if (!rnd(80))
        f[14] = 0x46;
    if (!rnd(80))
        put16(f + 16, rnd(200));
    return rnd(100) ? size + (rnd(4) ? 0 : rnd(16)) : 14 + rnd(size - 14);
}

static inline uint64_t offload(void)
{
    static const uint64_t flags[] = { RTE_MBUF_F_RX_IP_CKSUM_GOOD, RTE_MBUF_F_RX_L4_CKSUM_GOOD, RTE_MBUF_F_RX_IP_CKSUM_BAD,
                                      RTE_MBUF_F_RX_L4_CKSUM_BAD, RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD };

    return rnd(8) ? 0 : flags[rnd(sizeof flags / sizeof flags[0])];
}

struct list {
    uint8_t bytes[256];
    uint32_t size;
};

static inline void attr(struct list *l, uint16_t type, const void *value, uint32_t size)
{
    const uint16_t head[2] = { (uint16_t)(4 + size), type };

    memcpy(l->bytes + l->size, head, 4);
    if (size)
        memcpy(l->bytes + l->size + 4, value, size);
    l->size += (4 + size + 3) & ~3u;
}

static inline void put_ct(struct list *l, uint16_t zone, bool commit, bool nat, bool mark)
{
    static const uint8_t address[4] = { 192, 0, 2, 1 };
    const uint32_t marks[2] = { 1 + rnd(3), UINT32_MAX };
    struct list ct = { .size = 0 }, range = { .size = 0 };

    if (commit)
        attr(&ct, rnd(8) ? OVS_CT_ATTR_COMMIT : OVS_CT_ATTR_FORCE_COMMIT, NULL, 0);
    attr(&ct, OVS_CT_ATTR_ZONE, &zone, 2);
    if (mark)
        attr(&ct, OVS_CT_ATTR_MARK, marks, 8);
    if (nat && commit) {
        attr(&range, OVS_NAT_ATTR_SRC, NULL, 0);
        attr(&range, OVS_NAT_ATTR_IP_MIN, address, 4);
    }
    if (nat)
        attr(&ct, OVS_CT_ATTR_NAT, range.bytes, range.size);
    attr(l, OVS_ACTION_ATTR_CT, ct.bytes, ct.size);
}

#endif
