/* SPDX-License-Identifier: Apache-2.0
 * tnl_ready.c - headers that are ready, by Open vSwitch (tnl_ready.h) or since the packet before
 * (tnl_push_int.h). */
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_byteorder.h>
#include <rte_mbuf.h>

#include "packet/csum.h"
#include "packet/partial.h"
#include "tnl/tnl_ready.h"
#include "tnl/tnl_push_int.h"

/* What packets have in common with the one that was learnt from. */
#define TNL_ALIKE_FLAGS (PKT_TUNNEL | PKT_MARKED | PKT_L3 | PARTIAL_FLAGS)

#define LEARN 4u                 /* Times that it is tried in a burst. */
#define AHEAD 4u                 /* Packets whose room for a header is on its way. */

void tnl_laid_sum(struct tnl_laid *laid, uint32_t l3, uint32_t l4, bool ip6, const uint8_t *header)
{
    laid->l3 = (uint16_t)l3;
    laid->l4 = (uint16_t)l4;
    laid->ip6 = ip6;
    laid->sum = 0;
    for (uint32_t i = 0; i < 20; i += 2) {
        uint16_t word;

        memcpy(&word, header + l3 + i, 2);
        laid->sum += i == 2 || i == 10 ? 0 : word;
    }
}

/* Lays a ready header out; false: it cannot be. */
static bool lay_out(const struct tnl_ready *ready, struct tnl_laid *laid)
{
    const uint8_t *type = ready->header + 12;
    uint32_t l3 = 14;

    while (l3 < 22 && ((type[0] == 0x81 && !type[1]) || (type[0] == 0x88 && type[1] == 0xa8))) {
        type += 4;
        l3 += 4;
    }
    laid->ip6 = type[0] == 0x86 && type[1] == 0xdd;
    laid->l3 = (uint16_t)l3;
    laid->l4 = (uint16_t)(l3 + (laid->ip6 ? 40 : 20));
    if (ready->size > sizeof ready->header || ready->size < laid->l4 + 4u)
        return false;
    if (!laid->ip6 && (type[0] != 0x08 || type[1] || ready->header[l3] != 0x45))
        return false;
    laid->udp = ready->header[l3 + (laid->ip6 ? 6 : 9)] == 17;
    if (!laid->udp && ready->header[l3 + (laid->ip6 ? 6 : 9)] != 47)
        return false;
    return ready->size >= laid->l4 + (laid->udp ? 8u : 4u);
}

bool tnl_ready_check(const struct tnl_ready *ready)
{
    struct tnl_laid laid;

    return lay_out(ready, &laid);
}

bool tnl_ready_lay(const struct worker *worker, const struct tnl_ready *ready, struct tnl_laid *laid)
{
    const struct tnl_port *port = tnl_port_of(worker->tnl, ready->port);
    const uint8_t *l4;

    if (!port || !lay_out(ready, laid))
        return false;
    l4 = ready->header + laid->l4;
    laid->csum = laid->udp ? l4[6] | l4[7] : (l4[0] & 0x80) && ready->size >= laid->l4 + 8u;
    laid->plain = laid->udp && !laid->csum && port->config.kind != TUNNEL_GTPU;
    tnl_laid_sum(laid, laid->l3, laid->l4, laid->ip6, ready->header);
    return true;
}

/* What of the packet inside goes into a header that is ready. */
struct own {
    uint32_t hash;
    uint8_t ecn;
};

/* The same as tnl_inner_hash() and tnl_outer_ecn() say; what is common is read here. */
static inline struct own own_of(const struct hash_key *seed, const struct rte_mbuf *m)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    struct tnl_inner inner;
    uint32_t type, ports;
    uint64_t addresses;

    memcpy(&type, frame + 12, sizeof type);
    /* IPv4 without options, unfragmented, with ports. */
    if (likely(m->data_len >= 38 && (type & RTE_BE32(0xffffff00)) == RTE_BE32(0x08004500) && !(m->ol_flags & (PKT_L3 | RTE_MBUF_F_RX_RSS_HASH))
               && !((frame[20] & 0x3f) | frame[21]) && (frame[23] == 17 || frame[23] == 6))) {
        memcpy(&addresses, frame + 26, sizeof addresses);
        memcpy(&ports, frame + 34, sizeof ports);
        return (struct own){ .hash = hash_words(seed, addresses ^ ((uint64_t)ports << 32 | frame[23]), 0, ports, 0),
                             .ecn = (uint8_t)((frame[15] & 3) - ((frame[15] & 3) == 3)) };
    }
    tnl_inner_read(m, &inner);
    return (struct own){ .hash = tnl_inner_hash(seed, m, &inner), .ecn = tnl_outer_ecn(&inner) };
}

/* Copies a header of 16 bytes or more. */
static inline void copy_header(uint8_t *to, const uint8_t *from, uint32_t size)
{
    if (likely(size >= 32 && size <= 64)) {
        memcpy(to, from, 32);
        memcpy(to + size - 32, from + size - 32, 32);
        return;
    }
    for (uint32_t i = 0; i + 16 < size; i += 16)
        memcpy(to + i, from + i, 16);
    memcpy(to + size - 16, from + size - 16, 16);
}

/* Puts a header before a packet that has nothing left undone.  False: there is no room, or one
 * tunnel too many, and the packet is as it was.  `md`: somebody asks for its metadata. */
static inline bool put_plain(struct rte_mbuf *m, const struct tnl_plain *plain, struct own own, bool md)
{
    const struct tnl_laid *laid = plain->laid;
    const uint32_t size = plain->size, all = m->pkt_len + size - laid->l3, rest = m->pkt_len + size - laid->l4;
    const uint64_t tunnels = (m->ol_flags & PKT_TUNNELS) + (UINT64_C(1) << PKT_TUNNELS_BIT);
    const uint16_t udp = __builtin_bswap16((uint16_t)rest);
    const uint16_t source = __builtin_bswap16((uint16_t)(plain->source_low + (uint32_t)((uint64_t)own.hash * plain->source_count >> 32)));
    uint16_t length = __builtin_bswap16((uint16_t)all), sum;
    uint8_t *frame, *ip;

    if (unlikely(tunnels & ~PKT_TUNNELS) || unlikely(size > rte_pktmbuf_headroom(m)))
        return false;
    m->data_off = (uint16_t)(m->data_off - size);
    m->data_len = (uint16_t)(m->data_len + size);
    m->pkt_len += size;
    frame = rte_pktmbuf_mtod(m, uint8_t *);
    copy_header(frame, plain->header, size);
    ip = frame + laid->l3;
    if (laid->ip6) {
        ip[1] |= (uint8_t)(own.ecn << 4);
        length = __builtin_bswap16((uint16_t)(all - 40));
        memcpy(ip + 4, &length, 2);
    } else {
        ip[1] |= own.ecn;
        memcpy(ip + 2, &length, 2);
        sum = (uint16_t)~csum_fold(laid->sum + length + ((uint32_t)own.ecn << 8));
        memcpy(ip + 10, &sum, 2);
    }
    memcpy(frame + laid->l4, &source, 2);
    memcpy(frame + laid->l4 + 4, &udp, 2);
    m->ol_flags = (m->ol_flags & ~(PKT_TUNNELS | PKT_TUNNEL | PKT_L3 | PKT_MARKED | TNL_RX_SUMS)) | tunnels;
    if (md)
        pkt_of(m)->md = (struct pkt_md){ .in_port = plain->in_port };
    return true;
}

/* The range of UDP's source ports, as it is now. */
static inline void set_source(struct tnl_plain *plain, const struct tnl *tnl)
{
    const uint32_t ports = atomic_load_explicit(&((struct tnl *)(uintptr_t)tnl)->source_ports, memory_order_relaxed);

    plain->source_low = ports & UINT16_MAX;
    plain->source_count = ports >> 16;
}

unsigned int tnl_push_plain(struct worker *worker, const struct tnl_ready *ready, const struct tnl_laid *laid, struct rte_mbuf *const *packets,
                            unsigned int n, bool md)
{
    struct tnl_plain plain = { .header = ready->header, .laid = laid, .size = ready->size, .in_port = ready->out_port };
    unsigned int i;

    set_source(&plain, worker->tnl);
    for (i = 0; i < n; i++) {
        struct rte_mbuf *m = packets[i];
        struct own own;

        if (i + AHEAD < n) /* Where the header goes, no card has written. */
            __builtin_prefetch(rte_pktmbuf_mtod_offset(packets[i + AHEAD], const uint8_t *, -(int)ready->size), 1);
        if (unlikely((m->ol_flags & PARTIAL_FLAGS) || m->pkt_len + ready->size > UINT16_MAX || m->data_len < 16))
            break;
        own = own_of(&worker->tnl->seed, m);
        own.ecn = 0; /* The header says it. */
        if (unlikely(!put_plain(m, &plain, own, md)))
            break;
    }
    return i;
}

static uint16_t source_of(const struct tnl *tnl, const struct rte_mbuf *m)
{
    struct tnl_inner inner;

    tnl_inner_read(m, &inner);
    return tnl_source_port(tnl, tnl_inner_hash(&tnl->seed, m, &inner));
}

struct rte_mbuf *tnl_push_ready(struct worker *worker, const struct tnl_ready *ready, const struct tnl_laid *laid, struct rte_mbuf *m)
{
    struct tnl_port *port = tnl_port_of(worker->tnl, ready->port);
    struct tnl_outer outer;
    uint8_t *l4;

    if (!port) {
        worker_drop(worker, m, DROP_tunnel);
        return NULL;
    }
    outer.size = ready->size;
    outer.l3 = laid->l3;
    outer.l4 = laid->l4;
    outer.ip6 = laid->ip6;
    outer.udp = laid->udp;
    outer.csum = laid->csum;
    memcpy(outer.bytes, ready->header, ready->size);
    l4 = outer.bytes + outer.l4;
    if (outer.udp) {
        const uint16_t source = __builtin_bswap16(source_of(worker->tnl, m));

        memcpy(l4, &source, 2);
        if (port->config.kind == TUNNEL_GTPU && outer.size >= outer.l4 + 16u) {
            l4[10] = (uint8_t)(m->pkt_len >> 8);
            l4[11] = (uint8_t)m->pkt_len;
        }
    } else {
        const uint32_t at = 4u + (l4[0] & 0x80 ? 4 : 0) + (l4[0] & 0x20 ? 4 : 0);

        if (l4[0] & 0x10 && outer.size >= outer.l4 + at + 4) {
            const uint32_t sequence = __builtin_bswap32(atomic_fetch_add_explicit(&port->sequence, 1, memory_order_relaxed));

            memcpy(l4 + at, &sequence, 4);
        }
    }
    m = tnl_outer_put(worker, m, &outer);
    if (m)
        pkt_of(m)->md = (struct pkt_md){ .in_port = ready->out_port };
    return m;
}

/* --- Packets alike ---------------------------------------------------------------------------- */

static uint32_t mark_of(struct rte_mbuf *m)
{
    return m->ol_flags & PKT_MARKED ? pkt_of(m)->md.skb_mark : 0;
}

void tnl_alike_learn(struct tnl_alike *alike, const struct rte_mbuf *packet, const struct tnl_want *want, const struct tnl_outer *outer)
{
    struct rte_mbuf *m = (struct rte_mbuf *)(uintptr_t)packet;
    const struct tunnel_config *config = &want->hop->port->config;
    const bool told = m->ol_flags & PKT_TUNNEL;
    uint8_t *ip = alike->header + outer->l3;

    if (alike->learnt == LEARN)
        return;
    alike->learnt++;
    alike->hop = NULL;
    if (!outer->udp || outer->csum || config->kind == TUNNEL_GTPU || outer->size > sizeof alike->header
        || m->ol_flags & (PKT_L3 | PARTIAL_FLAGS) || want->tunnel->options_size || want->tunnel->tp_src)
        return;
    /* Of the packet inside, or of its own. */
    if ((!told && (config->tos_inherit || config->ttl_inherit)) || (!outer->ip6 && !(want->tunnel->flags & KEY_TUNNEL_DF)))
        return;
    alike->flags = m->ol_flags & TNL_ALIKE_FLAGS;
    alike->mark = mark_of(m);
    if (told)
        alike->tunnel = pkt_of(m)->tunnel;
    alike->size = outer->size;
    alike->most = UINT16_MAX - outer->size;
    if (want->hop->told.mtu)
        alike->most = RTE_MIN(alike->most, want->hop->told.mtu + outer->l3 > outer->size ? want->hop->told.mtu + outer->l3 - outer->size : 0);
    memcpy(alike->header, outer->bytes, outer->size);
    ip[1] &= outer->ip6 ? 0xcf : 0xfc;
    tnl_laid_sum(&alike->laid, outer->l3, outer->l4, outer->ip6, alike->header);
    alike->hop = want->hop;
}

static bool is_same(const struct key_tunnel *a, const struct key_tunnel *b)
{
    const uint64_t *x = (const uint64_t *)(const void *)a, *y = (const uint64_t *)(const void *)b;
    uint64_t differ = 0;

    for (unsigned int i = 0; i < sizeof *a / 8; i++)
        differ |= x[i] ^ y[i];
    return !differ;
}

bool tnl_alike_push(struct worker *worker, const struct tnl_alike *alike, struct rte_mbuf *m)
{
    struct tnl_plain plain;

    if (!alike->hop || (m->ol_flags & TNL_ALIKE_FLAGS) != alike->flags || m->pkt_len > alike->most || mark_of(m) != alike->mark)
        return false;
    if (alike->flags & PKT_TUNNEL && !is_same(&pkt_of(m)->tunnel, &alike->tunnel))
        return false;
    plain = (struct tnl_plain){ .header = alike->header, .laid = &alike->laid, .size = alike->size, .in_port = alike->hop->told.underlay };
    set_source(&plain, worker->tnl);
    return m->data_len >= 16 && put_plain(m, &plain, own_of(&worker->tnl->seed, m), true);
}
