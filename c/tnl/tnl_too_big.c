/* SPDX-License-Identifier: Apache-2.0
 * tnl_too_big.c - ICMP's "fragmentation needed" (RFC 792, 1191) and ICMPv6's "packet too big"
 * (RFC 4443), as Linux has a tunnel answer: from the packet's receiver, with the MTU inside. */
#include <string.h>

#include <rte_ip.h>
#include <rte_mbuf.h>

#include "packet/csum.h"
#include "tnl/tnl_push_int.h"

#define QUOTED4 (576u - 28u)     /* Bytes of the packet in an answer, which has 576 at most ... */
#define QUOTED6 (1280u - 48u)    /* ... or 1280. */
#define TTL 64u

/* Not about errors, and about whole packets or first fragments. */
static bool may_answer(const uint8_t *ip, uint32_t size, const struct tnl_inner *inner)
{
    const uint32_t l4 = inner->version == 4 ? (ip[0] & 15u) * 4 : 40;
    const uint8_t *source = inner->version == 4 ? ip + 12 : ip + 8, *destination = inner->version == 4 ? ip + 16 : ip + 24;
    static const uint8_t none[16];

    if (!inner->version || !inner->df || l4 < 20 || size < l4 + 8)
        return false;
    if (inner->version == 4)
        return memcmp(source, none, 4) && source[0] < 224 && destination[0] < 224 && !(((uint32_t)ip[6] << 8 | ip[7]) & 0x1fff)
               && (inner->proto != 1 || ip[l4] == 0 || ip[l4] == 8);
    return memcmp(source, none, 16) && source[0] != 0xff && destination[0] != 0xff && (inner->proto != 58 || ip[40] >= 128);
}

static void put16(uint8_t *at, uint32_t x)
{
    at[0] = (uint8_t)(x >> 8);
    at[1] = (uint8_t)x;
}

static void write_checksum(uint8_t *field, uint64_t sum)
{
    const uint16_t folded = (uint16_t)~csum_fold(sum);

    memcpy(field, &folded, sizeof folded);
}

static void write_ip4(uint8_t *to, const uint8_t *ip, uint32_t quoted, uint32_t mtu)
{
    memset(to, 0, 28);
    to[0] = 0x45;
    put16(to + 2, 28 + quoted);
    to[8] = TTL;
    to[9] = 1;
    memcpy(to + 12, ip + 16, 4);
    memcpy(to + 16, ip + 12, 4);
    write_checksum(to + 10, csum_sum(to, 20));
    to[20] = 3;
    to[21] = 4;
    put16(to + 26, mtu > UINT16_MAX ? UINT16_MAX : mtu);
    write_checksum(to + 22, csum_sum(to + 20, 8 + quoted));
}

static void write_ip6(uint8_t *to, const uint8_t *ip, uint32_t quoted, uint32_t mtu)
{
    const uint8_t pseudo[8] = { 0, 0, (uint8_t)((8 + quoted) >> 8), (uint8_t)(8 + quoted), 0, 0, 0, 58 };

    memset(to, 0, 48);
    to[0] = 0x60;
    put16(to + 4, 8 + quoted);
    to[6] = 58;
    to[7] = TTL;
    memcpy(to + 8, ip + 24, 16);
    memcpy(to + 24, ip + 8, 16);
    to[40] = 2;
    put16(to + 44, mtu >> 16);
    put16(to + 46, mtu);
    write_checksum(to + 42, csum_sum(pseudo, sizeof pseudo) + csum_sum(to + 8, 32) + csum_sum(to + 40, 8 + quoted));
}

struct rte_mbuf *tnl_too_big(struct worker *worker, const struct rte_mbuf *m, const struct tnl_inner *inner, uint32_t mtu)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *), *ip = frame + inner->l3;
    const uint32_t head = inner->version == 4 ? 28 : 48, least = inner->version == 4 ? 68 : 1280;
    const uint32_t quoted = RTE_MIN(m->data_len - (uint32_t)inner->l3, inner->version == 4 ? QUOTED4 : QUOTED6);
    struct rte_mbuf *answer;
    uint8_t *to;

    if (!may_answer(ip, m->data_len - inner->l3, inner))
        return NULL;
    answer = rte_pktmbuf_alloc(m->pool);
    if (!answer || !rte_pktmbuf_append(answer, (uint16_t)(inner->l3 + head + quoted))) {
        rte_pktmbuf_free(answer);
        stat_drop(worker->stat, DROP_no_mbuf, 1);
        return NULL;
    }
    to = rte_pktmbuf_mtod(answer, uint8_t *);
    if (inner->l3) {
        memcpy(to, frame + 6, 6);
        memcpy(to + 6, frame, 6);
        memcpy(to + 12, frame + 12, inner->l3 - 12u);
    }
    to += inner->l3;
    memcpy(to + head, ip, quoted);
    if (inner->version == 4)
        write_ip4(to, ip, quoted, RTE_MAX(mtu, least));
    else
        write_ip6(to, ip, quoted, RTE_MAX(mtu, least));
    memset(pkt_of(answer), 0, offsetof(struct pkt, tunnel));
    if (m->ol_flags & PKT_L3)
        pkt_set_l3(answer, pkt_of((struct rte_mbuf *)(uintptr_t)m)->md.packet_type);
    answer->ol_flags |= m->ol_flags & PKT_TUNNELS;
    return answer;
}
