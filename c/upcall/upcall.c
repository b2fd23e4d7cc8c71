/* SPDX-License-Identifier: Apache-2.0 */
#include "upcall/upcall.h"

#include <string.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include "base/hash.h"
#include "packet/extract.h"
#include "segment/segment.h"
#include "packet/userdata.h"
#include "upcall/upcall_int.h"

void upcall_free(struct rte_mbuf *m)
{
    userdata_free(pkt_of(m)->userdata);
    rte_pktmbuf_free(m);
}

void handler_ring_doorbell(struct handler *handler)
{
    const uint64_t one = 1;

    /* It can only fail when the counter is full, and then the doorbell rings already. */
    if (write(handler->doorbell, &one, sizeof one) < 0)
        return;
}

static uint32_t connection_hash(struct rte_mbuf *m, const struct key *key)
{
    /* Not a secret: only that a connection always comes to the same handler. */
    static const struct hash_key seed = { { 0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89,
                                            0x452821e638d01377, 0xbe5466cf34e90c6c, 0xc0ac29b7c97c50dd, 0x3f84d5b5b5470917,
                                            0x9216d5d98979fb1b, 0xd1310ba698dfb5ac, 0x2ffd72dbd01adfb7, 0xb8e1afed6a267e96 } };
    uint32_t data[2 * HASH_CHUNK] = { 0 };

    if (m->ol_flags & RTE_MBUF_F_RX_RSS_HASH)
        return m->hash.rss;
    data[3] = key->base.eth_type;
    if (key->base.eth_type == RTE_BE16(0x0800)) {
        data[0] = key->base.ip4_src;
        data[1] = key->base.ip4_dst;
    } else if (key->base.eth_type == RTE_BE16(0x86dd)) {
        memcpy(data + 4, key->wide.ip6_src, 32);
    } else {
        memcpy(data, key->base.eth_dst, 12);
    }
    data[12] = key->base.nw_proto; /* 0 where there is none. */
    data[13] = (uint32_t)key->base.tp_src << 16 | key->base.tp_dst;
    return hash_chunks(&seed, data, 2);
}

/* Counts upcalls that no handler will see, and frees them; not what they carry. */
static void lose(struct worker *worker, struct handler *handler, struct rte_mbuf **packets, unsigned int n, enum stat_drop reason)
{
    if (!n)
        return;
    stat_add(&worker->stat->lost, n);
    worker_dropped(worker, packets, n, reason, DP_PORT_NONE);
    if (handler)
        atomic_fetch_add_explicit(&handler->lost, n, memory_order_relaxed);
    rte_pktmbuf_free_bulk(packets, n);
}

/* Gives packets of one port whose struct pkt is complete to a handler; returns how many it took. */
static unsigned int enqueue(struct worker *worker, struct handler *handler, struct rte_mbuf **packets, unsigned int n)
{
    struct upcall_refused refused;
    unsigned int admitted = upcall_admit(worker, handler, packets, n, &refused), sent;

    lose(worker, handler, packets + admitted, refused.duplicates, DROP_upcall_duplicate);
    lose(worker, handler, packets + admitted + refused.duplicates, n - admitted - refused.duplicates, refused.reason);
    if (!admitted)
        return 0;
    UPCALL_PUBLISH(handler->ring);
    sent = rte_ring_mp_enqueue_burst(handler->ring, (void **)packets, admitted, NULL);
    upcall_leave(handler, packets + sent, admitted - sent); /* Another thread was faster. */
    lose(worker, handler, packets + sent, admitted - sent, DROP_upcall_full);
    /* Pairs with handler_arm(): either the handler sees the packets when it looks again, or it is
     * seen armed here. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&handler->armed, memory_order_relaxed) &&
        atomic_exchange_explicit(&handler->armed, 0, memory_order_acq_rel))
        handler_ring_doorbell(handler);
    return sent;
}

/* Spreads packets over several handlers, by connection. */
static unsigned int spread(struct worker *worker, const struct upcall_set *set, struct rte_mbuf **packets, unsigned int n)
{
    unsigned int sent = 0;

    for (unsigned int i = 0; i < n; i++) {
        struct key key;

        extract_packet(packets[i], &key);
        sent += enqueue(worker, set->handlers[connection_hash(packets[i], &key) % set->n], &packets[i], 1);
    }
    return sent;
}

static unsigned int hand_up(struct worker *worker, const struct upcall_set *set, struct rte_mbuf **packets, unsigned int n)
{
    if (!set->enabled) {
        lose(worker, NULL, packets, n, DROP_upcall_disabled);
        return 0;
    }
    if (!set->n) {
        lose(worker, NULL, packets, n, DROP_upcall_no_handler);
        return 0;
    }
    return set->n == 1 ? enqueue(worker, set->handlers[0], packets, n) : spread(worker, set, packets, n);
}

/* Loses a burst at once if no handler has room for its port: before anything is written about its
 * packets, because this is what a flood costs. */
static bool shed(struct worker *worker, const struct upcall_set *set, struct rte_mbuf **packets, unsigned int n, uint32_t in_port)
{
    enum stat_drop reason;

    for (uint32_t i = 0; i < set->n; i++)
        if (!upcall_is_full(set->handlers[i], in_port, &reason))
            return false;
    /* Whose they were would take their keys. */
    lose(worker, set->handlers[worker_random(worker) % set->n], packets, n, reason);
    return true;
}

static const struct upcall_set *set_of(const struct worker *worker)
{
    return atomic_load_explicit(&worker->upcalls->set, memory_order_acquire);
}

const struct upcall_direct *upcall_direct(const struct worker *worker)
{
    const struct upcall_set *set = set_of(worker);

    return set->direct.function && set->enabled ? &set->direct : NULL;
}

void upcall_mark(struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md)
{
    for (unsigned int i = 0; i < n; i++) {
        struct pkt *pkt = pkt_of(packets[i]);

        if (md)
            pkt->md = *md;
        pkt->userdata = NULL;
        pkt->original_size = rte_pktmbuf_pkt_len(packets[i]);
        pkt->kind = DP_UPCALL_MISS;
    }
}

/* Whether a packet is cut before it goes up.  A program answers for packets, and has no word for
 * datagrams that are to be cut out of one, nor for what lies in an encapsulation; plain TCP goes up
 * whole, which any port can cut anywhere. */
static bool is_cut(const struct rte_mbuf *m)
{
    return (m->ol_flags & PARTIAL_SEG) && ((m->ol_flags & RTE_MBUF_F_TX_UDP_SEG) || !segment_is_plain(m));
}

/* The segment number `index`, with what the packet carries along. */
static struct rte_mbuf *segment_of(struct rte_mbuf *m, const struct segment_plan *plan, uint32_t index)
{
    struct rte_mbuf *segment = segment_cut(m, plan, index);
    const struct pkt *from = pkt_of(m);

    if (!segment)
        return NULL;
    pkt_of(segment)->md = from->md;
    if (from->md.more) {
        pkt_copy_tunnel(pkt_of(segment), from);
        pkt_of(segment)->ct = from->ct;
    }
    return segment;
}

static enum segment_answer plan_cut(struct worker *worker, struct rte_mbuf *m, struct segment_plan *plan)
{
    const enum segment_answer answer = segment_plan(m, UINT16_MAX, plan);

    if (answer != SEGMENT_CAN)
        lose(worker, NULL, &m, 1, answer == SEGMENT_TOO_MANY ? DROP_tx_segments : DROP_tx_oversize);
    return answer;
}

/* Hands one packet up in pieces.  Each counts as received, as if the sender had cut it. */
static void miss_in_pieces(struct worker *worker, const struct upcall_set *set, struct rte_mbuf *m, const struct pkt_md *md)
{
    struct rte_mbuf *segments[WORKER_BURST];
    struct segment_plan plan;
    unsigned int n = 0;

    upcall_mark(&m, 1, md);
    if (plan_cut(worker, m, &plan) != SEGMENT_CAN)
        return;
    for (uint32_t index = 0; index < plan.count; index++) {
        segments[n] = segment_of(m, &plan, index);
        if (!segments[n]) {
            stat_drop(worker->stat, DROP_no_mbuf, 1);
            stat_add(&worker->stat->lost, 1);
        } else if (++n < WORKER_BURST && index + 1 < plan.count) {
            continue;
        }
        if (n) {
            upcall_mark(segments, n, NULL);
            stat_add(&worker->stat->missed, hand_up(worker, set, segments, n));
        }
        n = 0;
    }
    stat_add(&worker->stat->received, plan.count - 1);
    rte_pktmbuf_free(m);
}

void upcall_miss(struct worker *worker, struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md)
{
    const struct upcall_set *set = set_of(worker);
    unsigned int whole = 0;

    if (set->n && set->enabled && shed(worker, set, packets, n, md ? md->in_port : pkt_of(packets[0])->md.in_port))
        return;
    for (unsigned int i = 0; i < n; i++) {
        if (unlikely(is_cut(packets[i])))
            miss_in_pieces(worker, set, packets[i], md);
        else
            packets[whole++] = packets[i];
    }
    if (!whole)
        return;
    upcall_mark(packets, whole, md);
    stat_add(&worker->stat->missed, hand_up(worker, set, packets, whole));
}

static void hand_action_up(struct worker *worker, struct rte_mbuf *m, struct userdata *userdata, uint32_t original_size)
{
    struct pkt *pkt = pkt_of(m);

    if (userdata)
        atomic_fetch_add_explicit(&userdata->references, 1, memory_order_relaxed);
    pkt->userdata = userdata;
    pkt->original_size = original_size;
    pkt->kind = DP_UPCALL_ACTION;
    if (!hand_up(worker, set_of(worker), &m, 1))
        userdata_free(userdata);
}

void upcall_action(struct worker *worker, struct rte_mbuf *m, struct userdata *userdata, uint32_t original_size)
{
    struct segment_plan plan;

    if (likely(!is_cut(m))) {
        hand_action_up(worker, m, userdata, original_size);
        return;
    }
    if (plan_cut(worker, m, &plan) != SEGMENT_CAN)
        return;
    for (uint32_t index = 0; index < plan.count; index++) {
        struct rte_mbuf *segment = segment_of(m, &plan, index);

        if (segment) {
            hand_action_up(worker, segment, userdata, segment->pkt_len);
        } else {
            stat_drop(worker->stat, DROP_no_mbuf, 1);
            stat_add(&worker->stat->lost, 1);
        }
    }
    rte_pktmbuf_free(m);
}
