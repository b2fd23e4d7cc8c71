/* SPDX-License-Identifier: Apache-2.0 */
#include "tnl/tnl_inner.h"

#include <string.h>

#include <rte_mbuf.h>

#include "base/hash.h"
#include "packet/pkt.h"

static uint16_t be16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static bool is_tag(uint16_t type)
{
    return type == 0x8100 || type == 0x88a8;
}

void tnl_inner_read(const struct rte_mbuf *m, struct tnl_inner *inner)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *), *ip;
    uint32_t l3 = 0;
    uint16_t type = 0;

    memset(inner, 0, sizeof *inner);
    if (m->ol_flags & PKT_L3) {
        type = __builtin_bswap16(pkt_of((struct rte_mbuf *)(uintptr_t)m)->md.packet_type);
    } else if (m->data_len >= 14) {
        type = be16(frame + 12);
        for (l3 = 14; is_tag(type) && l3 < 22 && m->data_len >= l3 + 4u; l3 += 4)
            type = be16(frame + l3 + 2);
    }
    inner->l3 = (uint16_t)l3;
    ip = frame + l3;
    if (type == 0x0800 && m->data_len >= l3 + 20u) {
        inner->version = 4;
        inner->tos = ip[1];
        inner->ttl = ip[8];
        inner->proto = ip[9];
        inner->df = ip[6] & 0x40;
    } else if (type == 0x86dd && m->data_len >= l3 + 40u) {
        inner->version = 6;
        inner->tos = (uint8_t)(ip[0] << 4 | ip[1] >> 4);
        inner->ttl = ip[7];
        inner->proto = ip[6];
        inner->df = true;
    }
}

static bool has_ports(uint8_t proto)
{
    return proto == 6 || proto == 17 || proto == 132;
}

uint32_t tnl_inner_hash(const struct hash_key *seed, const struct rte_mbuf *m, const struct tnl_inner *inner)
{
    const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, inner->l3);
    uint64_t words[4] = { 0 };
    uint32_t size = 0, ports = 0;

    if (m->ol_flags & RTE_MBUF_F_RX_RSS_HASH)
        return m->hash.rss;
    if (inner->version == 4) {
        size = (ip[0] & 15) * 4u;
        memcpy(&words[0], ip + 12, 8);
        if (be16(ip + 6) & 0x3fff)
            size = 0; /* A fragment: the others have no ports. */
    } else if (inner->version == 6) {
        memcpy(words, ip + 8, 32);
        size = 40;
    } else if (m->data_len >= 14 && !(m->ol_flags & PKT_L3)) {
        memcpy(words, rte_pktmbuf_mtod(m, const uint8_t *), 14);
    }
    if (size >= 20 && has_ports(inner->proto) && m->data_len >= inner->l3 + size + 4)
        memcpy(&ports, ip + size, 4);
    return hash_words(seed, words[0] ^ ((uint64_t)ports << 32 | inner->proto), words[1], words[2] ^ ports, words[3]);
}
