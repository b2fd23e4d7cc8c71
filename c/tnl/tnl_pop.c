/* SPDX-License-Identifier: Apache-2.0
 * tnl_pop.c - takes outer headers off (tnl_pop.h). */
#include "tnl/tnl_pop.h"

#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_mbuf.h>

#include "base/invariant.h"
#include "packet/csum.h"
#include "packet/partial.h"
#include "segment/segment_merge.h"
#include "tnl/tnl_pop_int.h"

#define HEADERS 256u             /* Bytes that hold every header of a packet (extract.h). */
#define LEARN 4u                 /* Times that it is tried in a burst. */
#define ETHERNET 14u             /* Bytes that are inside at least. */

/* Brings the headers of the packet inside into its first mbuf, as far as there is room. */
static void pull(struct rte_mbuf *m)
{
    while (m->next && m->data_len < HEADERS) {
        struct rte_mbuf *next = m->next;
        const uint32_t room = RTE_MIN((uint32_t)rte_pktmbuf_tailroom(m), HEADERS - m->data_len);
        const uint16_t part = (uint16_t)RTE_MIN(room, next->data_len);

        memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len), rte_pktmbuf_mtod(next, const uint8_t *), part);
        m->data_len = (uint16_t)(m->data_len + part);
        next->data_off = (uint16_t)(next->data_off + part);
        next->data_len = (uint16_t)(next->data_len - part);
        if (next->data_len)
            return;
        m->next = next->next;
        m->nb_segs--;
        next->next = NULL;
        next->nb_segs = 1;
        rte_pktmbuf_free_seg(next);
    }
}

/* What Linux left undone in the outer header is done with; what it left undone inside stays. */
static void take_partial(struct rte_mbuf *m, const struct tnl_seen *seen, const struct tnl_found *found)
{
    struct partial partial;

    if (!(m->ol_flags & PARTIAL_FLAGS))
        return;
    if (partial_is_at(m, seen->l4) || !partial_get(m, &partial) || partial.start < found->inner || partial.payload > found->end)
        m->ol_flags &= ~PARTIAL_FLAGS;
    else if (m->pkt_len > found->end)
        partial_grown(m, -(int32_t)(m->pkt_len - found->end));
}

enum stat_drop tnl_strip(struct rte_mbuf *m, const struct tnl_seen *seen, const struct tnl_found *found, uint32_t port)
{
    const uint32_t size = found->end - found->inner;

    if (tnl_passed(m) == 7)
        return DROP_tunnel_depth;
    if (!found->whole) {
        INVARIANT(found->inner <= m->data_len && found->inner <= found->end && found->end <= m->pkt_len);
        if (size < (found->type ? 1u : 14u))
            return DROP_tunnel;
        take_partial(m, seen, found);
        segment_trim(m, found->end);
        rte_pktmbuf_adj(m, (uint16_t)found->inner);
        pull(m);
    }
    tnl_mark(m, &found->tunnel, found->options, port);
    if (found->type)
        pkt_set_l3(m, found->type);
    return TNL_NO_DROP;
}

/* --- The header of the packet before --------------------------------------------------------- */

static uint16_t load16(const uint8_t *at)
{
    uint16_t x;

    memcpy(&x, at, sizeof x);
    return x;
}

static uint64_t load64(const uint8_t *at)
{
    uint64_t x;

    memcpy(&x, at, sizeof x);
    return x;
}

/* Where IP's length and UDP's are, and the other fields of two bytes that are each packet's own. */
static void forget_own(struct tnl_same *same)
{
    const uint32_t own4[] = { same->l3 + 2u, same->l3 + 4u, same->l3 + 10u, same->l4, same->l4 + 4u };
    const uint32_t own6[] = { same->l3 + 4u, same->l4, same->l4 + 4u };
    const uint32_t *own = same->ip6 ? own6 : own4;

    for (uint32_t i = 0; i < (same->ip6 ? sizeof own6 : sizeof own4) / sizeof own4[0]; i++)
        memset((uint8_t *)same->care + own[i], 0, 2);
}

void tnl_same_learn(struct tnl_same *same, const struct tnl_port *port, const struct rte_mbuf *m, const struct tnl_seen *seen,
                    const struct tnl_found *found)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);

    if (same->learnt == LEARN)
        return;
    same->learnt++;
    same->port = NULL;
    if ((port->config.kind != TUNNEL_VXLAN && port->config.kind != TUNNEL_GENEVE) || found->tunnel.flags & KEY_TUNNEL_CSUM
        || found->inner > TNL_SAME || found->inner > m->data_len || m->ol_flags & PARTIAL_FLAGS)
        return;
    same->size = found->inner;
    same->l3 = (uint16_t)seen->l3;
    same->l4 = (uint16_t)seen->l4;
    same->ip6 = seen->family == 6;
    same->tunnel = found->tunnel;
    memset(same->want, 0, sizeof same->want);
    memset(same->care, 0, sizeof same->care);
    memcpy(same->want, frame, same->size);
    memset(same->care, 0xff, same->size);
    forget_own(same);
    same->sum = 0;
    for (uint32_t at = same->l3; at < same->l4; at += 2)
        same->sum += load16((const uint8_t *)same->want + at) & load16((const uint8_t *)same->care + at);
    same->port = port;
}

/* The size of what is inside a packet; 0: its headers are others, or wrong. */
static inline uint32_t size_inside(const struct tnl_same *same, const struct rte_mbuf *m)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *), *ip = frame + same->l3, *udp = frame + same->l4;
    const uint32_t words = (same->size + 7) / 8, headers = same->size - same->l4;
    uint64_t differ = 0;
    uint32_t end, length;

    if (m->data_len < same->size + ETHERNET || m->nb_segs > 1 || m->ol_flags & (PARTIAL_FLAGS | PKT_L3))
        return 0;
    for (uint32_t i = 0; i < words; i++)
        differ |= (load64(frame + 8 * i) ^ same->want[i]) & same->care[i];
    if (differ)
        return 0;
    length = __builtin_bswap16(load16(udp + 4));
    if (same->ip6) {
        end = same->l3 + 40u + __builtin_bswap16(load16(ip + 4));
    } else {
        end = same->l3 + (uint32_t)__builtin_bswap16(load16(ip + 2));
        if (csum_fold((uint64_t)same->sum + load16(ip + 2) + load16(ip + 4) + load16(ip + 10)) != UINT16_MAX)
            return 0;
    }
    return end > m->pkt_len || same->l4 + length > end || length < headers + ETHERNET ? 0 : length - headers;
}

bool tnl_same_strip(const struct tnl_same *same, struct rte_mbuf *m)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    uint32_t inside;

    if (!same->port || unlikely(tnl_passed(m) == 7))
        return false;
    inside = size_inside(same, m);
    if (unlikely(!inside))
        return false;
    m->data_off = (uint16_t)(m->data_off + same->size);
    m->data_len = (uint16_t)inside;
    m->pkt_len = inside;
    tnl_mark(m, &same->tunnel, frame + same->size - same->tunnel.options_size, same->port->no);
    pkt_of(m)->tunnel.tp_src = load16(frame + same->l4);
    return true;
}

/* --- Open vSwitch's action ------------------------------------------------------------------- */

/* Takes it over. */
static void pop_one(struct worker *worker, const struct tnl_port *port, struct rte_mbuf *m, struct tnl_same *same)
{
    enum stat_drop reason = DROP_tunnel;
    struct tnl_seen seen;
    struct tnl_found found;

    if (tnl_see(m, &seen) && (!tnl_is_bundle(m, &seen) || tnl_merge(&port->config, m, &seen)))
        reason = tnl_read(&port->config, m, &seen, &found);
    if (reason == TNL_NO_DROP) {
        tnl_same_learn(same, port, m, &seen, &found);
        reason = tnl_strip(m, &seen, &found, port->no);
    }
    if (reason == TNL_NO_DROP)
        worker_recirculate(worker, m);
    else
        worker_drop(worker, m, reason);
}

void tnl_pop(struct worker *worker, uint32_t no, struct rte_mbuf **packets, unsigned int n)
{
    const struct tnl_port *port = tnl_port_of(worker->tnl, no);
    struct tnl_same same; /* Not initialized in whole: it is large. */

    same.port = NULL;
    same.learnt = 0;
    if (!port) {
        worker_drop_bulk(worker, packets, n, DROP_no_port);
        return;
    }
    for (unsigned int i = 0; i < n; i++) {
        if (tnl_same_strip(&same, packets[i]))
            worker_recirculate(worker, packets[i]);
        else
            pop_one(worker, port, packets[i], &same);
    }
}

/* --- ECN -------------------------------------------------------------------------------------- */

/* Sets the ECN of an IP header. */
static void mark(uint8_t *ip, uint8_t version, uint8_t to)
{
    const uint8_t before[2] = { ip[0], ip[1] };

    if (version == 6) {
        ip[1] = (uint8_t)((ip[1] & ~0x30) | to << 4);
        return;
    }
    ip[1] = (uint8_t)((ip[1] & ~3) | to);
    csum_update(ip + 10, csum_change(before, ip, 2));
}

/* The IP header, and its version; NULL: there is none, or not all of it. */
static uint8_t *ip_header(struct rte_mbuf *m, uint8_t *version)
{
    uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
    uint16_t type = pkt_of(m)->md.packet_type;
    uint32_t l3 = 0;

    if (!(m->ol_flags & PKT_L3)) {
        memcpy(&type, frame + 12, 2);
        for (l3 = 14; l3 < 22 && (type == RTE_BE16(0x8100) || type == RTE_BE16(0x88a8)) && m->data_len >= l3 + 4; l3 += 4)
            memcpy(&type, frame + l3 + 2, 2);
    }
    *version = type == RTE_BE16(0x0800) ? 4 : type == RTE_BE16(0x86dd) ? 6 : 0;
    return *version && m->data_len >= l3 + (*version == 4 ? 20u : 40u) ? frame + l3 : NULL;
}

bool tnl_ecn(struct rte_mbuf *m, uint8_t outer_tos)
{
    const uint8_t outer = outer_tos & 3;
    uint8_t version, inner, *ip;

    if (outer != 1 && outer != 3)
        return true;
    ip = m->data_len >= 14 || m->ol_flags & PKT_L3 ? ip_header(m, &version) : NULL;
    if (!ip)
        return true;
    inner = version == 4 ? ip[1] & 3 : ip[1] >> 4 & 3;
    if (outer == 3 && !inner)
        return false;
    if (outer == 3)
        mark(ip, version, 3);
    else if (inner == 2)
        mark(ip, version, 1);
    return true;
}
