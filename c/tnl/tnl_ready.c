/* SPDX-License-Identifier: Apache-2.0
 * tnl_ready.c - headers that are ready, by Open vSwitch (tnl_ready.h) or since the packet before
 * (tnl_push_int.h). */
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_mbuf.h>

#include "packet/csum.h"
#include "packet/partial.h"
#include "tnl/tnl_ready.h"
#include "tnl/tnl_push_int.h"

/* What packets have in common with the one that was learnt from. */
#define TNL_ALIKE_FLAGS (PKT_TUNNEL | PKT_MARKED | PKT_L3 | PARTIAL_FLAGS)

#define LEARN 4u                 /* Times that it is tried in a burst. */

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

static uint16_t source_of(const struct tnl *tnl, const struct rte_mbuf *m)
{
    struct tnl_inner inner;

    tnl_inner_read(m, &inner);
    return tnl_source_port(tnl, tnl_inner_hash(&tnl->seed, m, &inner));
}

bool tnl_plain_put(struct rte_mbuf *m, const struct tnl_plain *plain)
{
    const struct tnl_laid *laid = plain->laid;
    const uint32_t size = plain->size, all = m->pkt_len + size - laid->l3, rest = m->pkt_len + size - laid->l4;
    const uint64_t tunnels = (m->ol_flags & PKT_TUNNELS) + (UINT64_C(1) << PKT_TUNNELS_BIT);
    const uint16_t udp = __builtin_bswap16((uint16_t)rest), source = __builtin_bswap16(plain->source);
    uint16_t length = __builtin_bswap16((uint16_t)all), sum;
    uint8_t *frame, *ip;

    if (tunnels & ~PKT_TUNNELS)
        return false;
    frame = (uint8_t *)rte_pktmbuf_prepend(m, (uint16_t)size);
    if (!frame)
        return false;
    for (uint32_t i = 0; i + 16 < size; i += 16)
        memcpy(frame + i, plain->header + i, 16);
    memcpy(frame + size - 16, plain->header + size - 16, 16);
    ip = frame + laid->l3;
    if (laid->ip6) {
        ip[1] |= (uint8_t)(plain->ecn << 4);
        length = __builtin_bswap16((uint16_t)(all - 40));
        memcpy(ip + 4, &length, 2);
    } else {
        ip[1] |= plain->ecn;
        memcpy(ip + 2, &length, 2);
        sum = (uint16_t)~csum_fold(laid->sum + length + ((uint32_t)plain->ecn << 8));
        memcpy(ip + 10, &sum, 2);
    }
    memcpy(frame + laid->l4, &source, 2);
    memcpy(frame + laid->l4 + 4, &udp, 2);
    m->ol_flags = (m->ol_flags & ~(PKT_TUNNELS | PKT_TUNNEL | PKT_L3 | PKT_MARKED | TNL_RX_SUMS)) | tunnels;
    pkt_of(m)->md = (struct pkt_md){ .in_port = plain->in_port };
    return true;
}

/* The same before a packet that has nothing left undone.  False: it is none such, and as it was. */
static bool push_plain(struct worker *worker, const struct tnl_ready *ready, const struct tnl_laid *laid, struct rte_mbuf *m)
{
    struct tnl_plain plain = { .header = ready->header, .laid = laid, .size = ready->size, .in_port = ready->out_port };

    if ((m->ol_flags & PARTIAL_FLAGS) || m->pkt_len + ready->size > UINT16_MAX)
        return false;
    plain.source = source_of(worker->tnl, m);
    return tnl_plain_put(m, &plain);
}

struct rte_mbuf *tnl_push_ready(struct worker *worker, const struct tnl_ready *ready, const struct tnl_laid *laid, struct rte_mbuf *m)
{
    struct tnl_port *port = tnl_port_of(worker->tnl, ready->port);
    struct tnl_outer outer;
    uint8_t *l4;

    if (likely(laid->plain) && likely(push_plain(worker, ready, laid, m)))
        return m;
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
    struct tnl_inner inner;
    struct tnl_plain plain;

    if (!alike->hop || (m->ol_flags & TNL_ALIKE_FLAGS) != alike->flags || m->pkt_len > alike->most || mark_of(m) != alike->mark)
        return false;
    if (alike->flags & PKT_TUNNEL && !is_same(&pkt_of(m)->tunnel, &alike->tunnel))
        return false;
    tnl_inner_read(m, &inner);
    plain = (struct tnl_plain){
        .header = alike->header, .laid = &alike->laid, .size = alike->size, .in_port = alike->hop->told.underlay,
        .source = tnl_source_port(worker->tnl, tnl_inner_hash(&worker->tnl->seed, m, &inner)), .ecn = tnl_outer_ecn(&inner),
    };
    return tnl_plain_put(m, &plain);
}
