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
#define AHEAD 4u                 /* Packets whose headers inside are on their way. */
#define STEP 16u                 /* Bytes that are compared at once; a header has more. */

typedef uint64_t vector __attribute__((vector_size(STEP)));

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

static vector load_vector(const uint8_t *at)
{
    vector x;

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
        memset(same->care + own[i], 0, 2);
}

/* Opens the worker's place for packets that are looked up together, if nothing waits to be before
 * them. */
static void open_place(struct worker *worker, struct tnl_same *same, const struct tnl_found *found)
{
    struct worker_popped *popped = &worker->popped;

    same->together = !worker_waits(worker) && worker->depth < WORKER_RECIRC_MAX;
    if (!same->together)
        return;
    popped->depth = worker->depth + 1;
    popped->source_before = same->size - same->l4;
    popped->common.md = (struct pkt_md){ .in_port = same->port->no, .more = PKT_MORE_TUNNEL };
    popped->common.tunnel = same->tunnel;
    popped->common.tunnel.tp_src = 0;
    if (same->tunnel.options_size)
        memcpy(popped->common.options, found->options, same->tunnel.options_size);
}

void tnl_same_learn(struct worker *worker, struct tnl_same *same, const struct tnl_port *port, const struct rte_mbuf *m,
                    const struct tnl_seen *seen, const struct tnl_found *found)
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
    memcpy(same->want, frame, same->size);
    memset(same->care, 0xff, same->size);
    forget_own(same);
    same->sum = 0;
    for (uint32_t at = same->l3; at < same->l4; at += 2)
        same->sum += load16(same->want + at) & load16(same->care + at);
    same->port = port;
    open_place(worker, same, found);
}

/* Whether a sum of few 16-bit words is that of a header with a good checksum. */
static bool is_good(uint32_t sum)
{
    sum = (sum & UINT16_MAX) + (sum >> 16);
    return (sum & UINT16_MAX) + (sum >> 16) == UINT16_MAX;
}

/* The size of what is inside a packet; 0: its headers are others, or wrong. */
static inline uint32_t size_inside(const struct tnl_same *same, const struct rte_mbuf *m)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *), *ip = frame + same->l3, *udp = frame + same->l4;
    const uint32_t headers = same->size - same->l4, last = same->size - STEP;
    uint32_t end, length;
    vector differ;

    if (m->data_len < same->size + ETHERNET || m->nb_segs > 1 || m->ol_flags & (PARTIAL_FLAGS | PKT_L3))
        return 0;
    differ = (load_vector(frame + last) ^ load_vector(same->want + last)) & load_vector(same->care + last);
    for (uint32_t at = 0; at < last; at += STEP)
        differ |= (load_vector(frame + at) ^ load_vector(same->want + at)) & load_vector(same->care + at);
    if (differ[0] | differ[1])
        return 0;
    length = __builtin_bswap16(load16(udp + 4));
    if (same->ip6) {
        end = same->l3 + 40u + __builtin_bswap16(load16(ip + 4));
    } else {
        end = same->l3 + (uint32_t)__builtin_bswap16(load16(ip + 2));
        if (!is_good(same->sum + load16(ip + 2) + load16(ip + 4) + load16(ip + 10)))
            return 0;
    }
    return end > m->pkt_len || same->l4 + length > end || length < headers + ETHERNET ? 0 : length - headers;
}

static inline bool strip(const struct tnl_same *same, struct rte_mbuf *m)
{
    const uint64_t tunnels = (uint64_t)(tnl_passed(m) + 1) << PKT_TUNNELS_BIT;
    uint32_t inside;

    if (!same->port || unlikely(tunnels & ~PKT_TUNNELS))
        return false;
    inside = size_inside(same, m);
    if (unlikely(!inside))
        return false;
    m->data_off = (uint16_t)(m->data_off + same->size);
    m->data_len = (uint16_t)inside;
    m->pkt_len = inside;
    m->ol_flags = (m->ol_flags & ~TNL_POPPED) | tunnels;
    return true;
}

bool tnl_same_strip(const struct tnl_same *same, struct rte_mbuf *m)
{
    return strip(same, m);
}

void tnl_same_write(const struct tnl_same *same, struct rte_mbuf *m)
{
    struct pkt *pkt = pkt_of(m);
    const uint8_t *inside = rte_pktmbuf_mtod(m, const uint8_t *);

    pkt->md = (struct pkt_md){ .in_port = same->port->no, .more = PKT_MORE_TUNNEL };
    pkt->tunnel = same->tunnel;
    pkt->tunnel.tp_src = load16(inside - same->size + same->l4);
    if (same->tunnel.options_size)
        memcpy(pkt->options, inside - same->tunnel.options_size, same->tunnel.options_size);
}

unsigned int tnl_same_take(struct worker *worker, const struct tnl_same *same, struct rte_mbuf *const *packets, unsigned int n)
{
    struct worker_popped *popped = &worker->popped;
    unsigned int i = 0;

    if (!same->port || !same->together || worker->recirc.n)
        return 0;
    n = RTE_MIN(n, WORKER_BURST - popped->n);
    for (; i < n; i++) {
        if (i + AHEAD < n) /* Headers inside often begin in a second line. */
            __builtin_prefetch(rte_pktmbuf_mtod_offset(packets[i + AHEAD], const uint8_t *, 64));
        if (unlikely(!strip(same, packets[i])))
            break;
        popped->packets[popped->n + i] = packets[i];
    }
    popped->n += i;
    return i;
}

void tnl_same_pass(struct worker *worker, const struct tnl_same *same, struct rte_mbuf *m)
{
    struct worker_popped *popped = &worker->popped;

    if (likely(same->together && !worker->recirc.n && popped->n < WORKER_BURST)) {
        popped->packets[popped->n++] = m;
        return;
    }
    tnl_same_write(same, m);
    worker_recirculate(worker, m);
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
        tnl_same_learn(worker, same, port, m, &seen, &found);
        if (tnl_same_strip(same, m)) {
            tnl_same_pass(worker, same, m);
            return;
        }
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
        i += tnl_same_take(worker, &same, packets + i, n - i);
        if (i == n)
            return;
        if (tnl_same_strip(&same, packets[i]))
            tnl_same_pass(worker, &same, packets[i]);
        else
            pop_one(worker, port, packets[i], &same);
    }
}

void tnl_popped_write(const struct worker_popped *popped, struct rte_mbuf *const *packets, unsigned int n)
{
    const struct pkt *common = &popped->common;

    for (unsigned int i = 0; i < n; i++) {
        struct pkt *pkt = pkt_of(packets[i]);

        pkt->md = common->md;
        pkt->tunnel = common->tunnel;
        memcpy(&pkt->tunnel.tp_src, rte_pktmbuf_mtod(packets[i], const uint8_t *) - popped->source_before, 2);
        if (common->tunnel.options_size)
            memcpy(pkt->options, common->options, common->tunnel.options_size);
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
