/* SPDX-License-Identifier: Apache-2.0
 * act_hash.c - the hash that chooses a bond's bucket: the device's, or of addresses and ports, as
 * Open vSwitch 3.1 computes it (lib/flow.c, flow_hash_5tuple; lib/hash.h of builds without SSE4.2).
 * Anybody can compute it, so it is for nothing but to spread traffic. */
#include <rte_mbuf.h>
#include <string.h>

#include "act/act_int.h"
#include "odp/odp_attr.h"
#include "packet/extract.h"

#define BASIS_FINAL 42u

static uint32_t rotate(uint32_t x, int n)
{
    return x << n | x >> (32 - n);
}

/* MurmurHash3, 32 bits. */
static uint32_t add(uint32_t hash, uint32_t word)
{
    hash ^= rotate(word * 0xcc9e2d51u, 15) * 0x1b873593u;
    return rotate(hash, 13) * 5 + 0xe6546b64u;
}

static uint32_t finish(uint32_t hash, uint32_t size)
{
    hash ^= size;
    hash = (hash ^ hash >> 16) * 0x85ebca6bu;
    hash = (hash ^ hash >> 13) * 0xc2b2ae35u;
    return hash ^ hash >> 16;
}

static uint32_t add_bytes(uint32_t hash, const uint8_t *at, uint32_t words)
{
    uint32_t word;

    for (; words--; at += 4) {
        memcpy(&word, at, 4);
        hash = add(hash, word);
    }
    return hash;
}

static bool has_ports(uint8_t proto)
{
    return proto == 6 || proto == 17 || proto == 132 || proto == 1 || proto == 58;
}

/* Of a packet as it came. */
static uint32_t five_tuple(const struct rte_mbuf *m)
{
    const uint8_t *ports;
    struct extract_layers found;
    struct key key;
    uint32_t hash = 0;

    act_read_key(m, 0, &key, &found);
    if (key.base.eth_type == ODP_BE16(0x0800) || key.base.eth_type == ODP_BE16(0x0806)) {
        hash = add(add(hash, key.base.ip4_src), key.base.ip4_dst);
    } else if (key.base.eth_type == ODP_BE16(0x86dd)) {
        hash = add_bytes(hash, key.wide.ip6_src, 4);
        hash = add_bytes(hash, key.wide.ip6_dst, 4);
    } else {
        return finish(hash, BASIS_FINAL);
    }
    hash = add(hash, key.base.nw_proto);
    ports = (const uint8_t *)&key.base.tp_src; /* Both, behind each other. */
    /* The operation of an ARP request is taken for ICMP, which then has no type. */
    if (has_ports(key.base.nw_proto))
        hash = add_bytes(hash, ports, 1);
    return finish(hash, BASIS_FINAL);
}

void act_hash_packets(struct rte_mbuf **packets, unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        if (packets[i]->ol_flags & RTE_MBUF_F_RX_RSS_HASH)
            continue;
        packets[i]->hash.rss = five_tuple(packets[i]);
        packets[i]->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
    }
}
