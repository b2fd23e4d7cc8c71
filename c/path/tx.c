/* SPDX-License-Identifier: Apache-2.0 */
#include "path/tx.h"

#include <stdatomic.h>

#include <rte_mbuf.h>

#include "act/act.h"
#include "base/invariant.h"
#include "path/gather.h"
#include "path/tx_device.h"
#include "path/tx_offload.h"
#include "port/port.h"
#include "segment/segment_bundle.h"
#include "tnl/tnl.h"
#include "tnl/tnl_sift.h"
#include "tnl/tnl_push.h"

#define SEND_RETRIES 4

/* Counts what does not leave by a port. */
static void count_unsent(struct worker *worker, const struct worker_tx *tx, struct rte_mbuf *const *packets, unsigned int n,
                         enum stat_drop reason)
{
    /* Not stat_add: threads may share the queue, and drops are rare. */
    atomic_fetch_add_explicit(&tx->port->txqs[tx->txq].dropped, n, memory_order_relaxed);
    worker_dropped(worker, packets, n, reason, tx->no);
}

/* Drops what a port would not take. */
static void drop_unsent(struct worker *worker, const struct worker_tx *tx, struct rte_mbuf **packets, unsigned int n,
                        enum stat_drop reason)
{
    count_unsent(worker, tx, packets, n, reason);
    rte_pktmbuf_free_bulk(packets, n);
}

/* Sends packets by one queue of a port. */
static void transmit_by(struct worker *worker, const struct worker_tx *tx, uint16_t queue, struct rte_mbuf **packets, unsigned int n)
{
    struct port *port = tx->port;
    struct port_txq *txq = &port->txqs[queue];
    unsigned int sent = 0, retries = 0;
    uint64_t refused;
    bool gone;

    INVARIANT(n && n <= WORKER_BURST);
    INVARIANT(queue < port->txq_count);
    if (txq->shared)
        rte_spinlock_lock(&txq->lock);
    refused = atomic_load_explicit(&port->tx.errors, memory_order_relaxed);
    while (sent < n) {
        uint16_t took = port->class->tx_burst(port, queue, packets + sent, (uint16_t)(n - sent));

        sent += took;
        if (!took && ++retries > SEND_RETRIES)
            break;
    }
    refused = atomic_load_explicit(&port->tx.errors, memory_order_relaxed) - refused;
    if (txq->shared)
        rte_spinlock_unlock(&txq->lock);
    stat_add(&worker->stat->tx_packets, sent - refused);
    stat_add(&worker->stat->tx_batches, 1);
    if (likely(sent == n && !refused))
        return;
    gone = atomic_load_explicit(&port->gone, memory_order_relaxed);
    /* The class has freed these. */
    stat_drop(worker->stat, gone ? DROP_link_down : DROP_tx_error, refused);
    if (sent < n)
        drop_unsent(worker, tx, packets + sent, n - sent, gone ? DROP_link_down : DROP_tx_full);
}

/* Sends packets that the port is able to send as they are; takes them over. */
static void transmit(struct worker *worker, const struct worker_tx *tx, struct rte_mbuf **packets, unsigned int n)
{
    if (likely(!(tx->port->caps & PORT_CAP_SPREAD))) {
        transmit_by(worker, tx, tx->txq, packets, n);
        return;
    }
    act_hash_packets(packets, n);
    while (n) {
        uint16_t queue;
        const unsigned int same = tx_device_queue(tx->port, packets, n, &queue);

        transmit_by(worker, tx, queue, packets, same);
        packets += same;
        n -= same;
    }
}

/* --- What the port cannot send as it is ------------------------------------------------------- */

/* Sends a packet in pieces; takes it over. */
static void send_segments(struct worker *worker, struct worker_tx *tx, struct rte_mbuf *m, const struct segment_plan *plan)
{
    const bool chains = tx->port->caps & PORT_CAP_CHAIN;
    struct rte_mbuf *ready[WORKER_BURST];
    struct segment_bundle bundle;
    const bool bundled = tx->port->caps & PORT_CAP_BUNDLE && segment_bundle_plan(m, plan, &bundle);
    unsigned int n = 0;

    for (uint32_t index = 0, took = 1; index < plan->count; index += took) {
        struct rte_mbuf *segment = bundled ? segment_bundle(m, plan, &bundle, index, &took) : NULL;

        if (!segment) {
            segment = segment_cut(m, plan, index);
            took = 1;
        }
        if (!segment || (segment->nb_segs > 1 && !chains)) {
            count_unsent(worker, tx, segment ? &segment : &m, 1, segment ? DROP_tx_oversize : DROP_no_mbuf);
            rte_pktmbuf_free(segment);
            break; /* The receiver drops what follows a gap, or asks for it again. */
        }
        ready[n++] = segment;
        if (n == WORKER_BURST) {
            transmit(worker, tx, ready, n);
            n = 0;
        }
    }
    if (n)
        transmit(worker, tx, ready, n);
    rte_pktmbuf_free(m);
}

/* A packet that has no other owner, in one mbuf if the port wants that.  NULL: it was dropped. */
static struct rte_mbuf *own(struct worker *worker, struct worker_tx *tx, struct rte_mbuf *m, bool chains)
{
    bool shared = false;
    struct rte_mbuf *copy;

    for (const struct rte_mbuf *s = m; s; s = s->next)
        shared |= !RTE_MBUF_DIRECT(s) || rte_mbuf_refcnt_read(s) > 1;
    if (!shared && (chains || m->nb_segs == 1 || !rte_pktmbuf_linearize(m)))
        return m;
    copy = rte_pktmbuf_copy(m, m->pool, 0, UINT32_MAX);
    if (!copy) {
        drop_unsent(worker, tx, &m, 1, DROP_no_mbuf);
        return NULL;
    }
    pkt_copy_marks(copy, m);
    rte_pktmbuf_free(m);
    if (!chains && copy->nb_segs > 1 && rte_pktmbuf_linearize(copy)) {
        drop_unsent(worker, tx, &copy, 1, DROP_tx_oversize); /* More than one mbuf holds. */
        return NULL;
    }
    return copy;
}

/* What is larger than the port's MTU, or has headers that the port would not understand: cut in
 * pieces, or dropped. */
static void send_large(struct worker *worker, struct worker_tx *tx, struct rte_mbuf *m)
{
    struct segment_plan plan;

    switch (segment_plan(m, atomic_load_explicit(&tx->port->mtu, memory_order_relaxed), &plan)) {
    case SEGMENT_CAN:
        send_segments(worker, tx, m, &plan);
        break;
    case SEGMENT_TOO_MANY:
        drop_unsent(worker, tx, &m, 1, DROP_tx_segments);
        break;
    default:
        drop_unsent(worker, tx, &m, 1, DROP_tx_oversize);
    }
}

/* Whether the packet behind its VLAN tags is larger than the MTU, or is to be cut and the port
 * cannot. */
static bool is_too_much(const struct port *port, const struct rte_mbuf *m)
{
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    const uint32_t mtu = atomic_load_explicit(&port->mtu, memory_order_relaxed);
    uint32_t l2 = PARTIAL_ETHERNET;

    if (m->ol_flags & PARTIAL_SEG)
        return !tx_offload_cuts(port, m, mtu);
    if (m->ol_flags & PKT_L3)
        return m->pkt_len > mtu;
    while (l2 + 4 <= m->data_len && l2 < PARTIAL_ETHERNET + 8 &&
           ((frame[l2 - 2] == 0x81 && frame[l2 - 1] == 0x00) || (frame[l2 - 2] == 0x88 && frame[l2 - 1] == 0xa8)))
        l2 += 4;
    return m->pkt_len > mtu + l2;
}

static void send_one(struct worker *worker, struct worker_tx *tx, struct rte_mbuf *m)
{
    struct port *port = tx->port;

    if (!(m->ol_flags & PKT_L3) != !(port->caps & PORT_CAP_L3) || !m->pkt_len) {
        drop_unsent(worker, tx, &m, 1, DROP_tx_packet_type);
        return;
    }
    if (is_too_much(port, m)) {
        /* The device may have been given a larger MTU since: asked once in a millisecond at
         * most. */
        if (atomic_exchange_explicit(&port->mtu_asked_ms, worker->now_ms, memory_order_relaxed) != worker->now_ms)
            port_follow_mtu(port);
        if (is_too_much(port, m)) {
            send_large(worker, tx, m);
            return;
        }
    }
    m = own(worker, tx, m, port->caps & PORT_CAP_CHAIN);
    if (!m)
        return;
    if ((m->ol_flags & PARTIAL_FLAGS) && !(port->caps & PORT_CAP_CSUM) && !partial_finish(m)) {
        drop_unsent(worker, tx, &m, 1, DROP_tx_error);
        return;
    }
    if ((m->ol_flags & PARTIAL_FLAGS) && (port->caps & PORT_CAP_FIELDS) && !tx_device_describe(m)) {
        drop_unsent(worker, tx, &m, 1, DROP_tx_error);
        return;
    }
    transmit(worker, tx, &m, 1);
}

/* Sends packets, each made fit for the port or dropped and counted; takes them over. */
static void send_fit(struct worker *worker, struct worker_tx *tx, struct rte_mbuf **packets, unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        if (tx_offload_needed(tx->port, packets[i]))
            send_one(worker, tx, packets[i]);
        else
            transmit(worker, tx, &packets[i], 1);
    }
}

/* Whether a port can send all packets of a buffer as they are, by what was noted of them. */
static inline bool is_plain(const struct port *port, uint32_t longest)
{
    return longest <= atomic_load_explicit(&port->mtu, memory_order_relaxed) + PARTIAL_ETHERNET && !(port->caps & PORT_CAP_L3);
}

/* How many of the first packets a port can send as they are. */
static inline unsigned int count_plain(const struct port *port, struct rte_mbuf **packets, unsigned int n)
{
    const uint32_t most = atomic_load_explicit(&port->mtu, memory_order_relaxed) + PARTIAL_ETHERNET;
    const uint16_t segments = port->caps & PORT_CAP_CHAIN ? UINT16_MAX : 1;
    uint64_t odd = PARTIAL_SEG | PKT_L3;
    unsigned int i;

    if (!(port->caps & PORT_CAP_CSUM) || (port->caps & PORT_CAP_FIELDS))
        odd |= PARTIAL_FLAGS;
    if (port->caps & PORT_CAP_L3)
        odd = UINT64_MAX;
    for (i = 0; i < n; i++) {
        const struct rte_mbuf *m = packets[i];

        if (__builtin_expect((m->ol_flags & odd) || m->pkt_len > most || m->nb_segs > segments || odd == UINT64_MAX, 0)
            && tx_offload_needed(port, m))
            break;
    }
    return i;
}

/* --- Buffers ---------------------------------------------------------------------------------- */

/* Outer packets. */
static void emit(struct worker *worker, struct rte_mbuf **packets, unsigned int n, uint32_t underlay, bool received)
{
    for (unsigned int i = 0; i < n && received; i++)
        worker_recirculate(worker, packets[i]);
    if (!received)
        tx_output_bulk(worker, packets, n, underlay, NULL);
}

/* Fragments that are for no tunnel. */
static void send_pieces(struct worker *worker, uint32_t port, struct tnl_whole *whole)
{
    struct worker_tx *tx = atomic_load_explicit(&worker->tx[port], memory_order_acquire);
    struct rte_mbuf *pieces[WORKER_BURST];
    unsigned int n;

    while ((n = gather_cut(worker, whole, pieces, WORKER_BURST)) != 0) {
        if (likely(tx))
            send_fit(worker, tx, pieces, n);
        else
            worker_drop_bulk(worker, pieces, n, DROP_no_port); /* It has just been taken away. */
    }
}

static const struct tnl_gather gather_sent = { .take = gather_take_sent, .keep = gather_keep, .pass = send_pieces };

/* Has packets leave by a tunnel, or takes those for tunnels out of what a port is sent.  Answers
 * how many are left to be sent, in the port's buffer. */
static unsigned int through_tunnels(struct worker *worker, struct worker_tx *tx, unsigned int n)
{
    struct rte_mbuf *packets[WORKER_BURST];
    uint64_t bytes = 0;

    if (!(atomic_load_explicit(&worker->roles[tx->no], memory_order_acquire) & TNL_IS_TUNNEL))
        return tnl_sift(worker, tx->no, TNL_SENDS, &gather_sent, tx->packets, n);
    /* The buffer may be wanted meanwhile, by this very tunnel. */
    for (unsigned int i = 0; i < n; i++) {
        packets[i] = tx->packets[i];
        bytes += packets[i]->pkt_len;
    }
    atomic_fetch_add_explicit(&tx->port->tx.packets, n, memory_order_relaxed);
    atomic_fetch_add_explicit(&tx->port->tx.bytes, bytes, memory_order_relaxed);
    tnl_push(worker, tx->no, packets, n, emit);
    return 0;
}

void tx_flush_port(struct worker *worker, struct worker_tx *tx)
{
    const uint32_t longest = tx->longest;
    unsigned int n = tx->n, plain;

    INVARIANT(n <= WORKER_BURST);
    if (!n)
        return;
    tx->n = tx->longest = 0;
    if (unlikely(atomic_load_explicit(&worker->roles[tx->no], memory_order_relaxed) & (TNL_IS_TUNNEL | TNL_SENDS))) {
        n = through_tunnels(worker, tx, n);
        if (!n)
            return;
    }
    if (atomic_load_explicit(&tx->port->gone, memory_order_relaxed)) {
        drop_unsent(worker, tx, tx->packets, n, DROP_link_down);
        return;
    }
    plain = is_plain(tx->port, longest) ? n : count_plain(tx->port, tx->packets, n);
    if (plain)
        transmit(worker, tx, tx->packets, plain);
    if (plain < n)
        send_fit(worker, tx, tx->packets + plain, n - plain);
}

void tx_flush(struct worker *worker)
{
    INVARIANT(worker->dirty_n <= WORKER_DIRTY);
    /* What a tunnel sends may find the list full, and flush it from here on. */
    while (worker->flushed < worker->dirty_n) {
        struct worker_tx *tx = atomic_load_explicit(&worker->tx[worker->dirty[worker->flushed++]], memory_order_acquire);

        /* Otherwise the port is being removed: what waited is dropped by pmd_set_remove_port(). */
        if (tx) {
            tx->dirty = 0; /* Tunnels may put something in again. */
            tx_flush_port(worker, tx);
        }
    }
    worker->flushed = worker->dirty_n = 0;
}
