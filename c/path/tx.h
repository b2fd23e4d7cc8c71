/* SPDX-License-Identifier: Apache-2.0
 * tx.h - transmit buffers: packets leave by a port, in bursts, made fit for it where need be.
 *
 * What a port cannot do is done here in software: partial checksums, segments larger than its MTU,
 * chains (tx_offload.h).
 *
 * Threads: the owner of the worker. */
#ifndef UPCALL_TX_H
#define UPCALL_TX_H

#include <string.h>

#include "base/invariant.h"
#include "packet/partial.h"
#include "packet/worker.h"
#include "path/burst_sum.h"

/* In `ol_flags`: what not every port can send as it is. */
#define TX_ODD (PARTIAL_FLAGS | PARTIAL_SEG | PKT_L3)

/* Sends what waits at one port, or everywhere. */
void tx_flush_port(struct worker *, struct worker_tx *);
void tx_flush(struct worker *);

/* The buffer of a port; NULL: there is no such port. */
static inline struct worker_tx *tx_find(struct worker *worker, uint32_t port)
{
    return port < WORKER_PORTS ? atomic_load_explicit(&worker->tx[port], memory_order_acquire) : NULL;
}

/* A buffer that is about to be given packets. */
static inline void tx_mark(struct worker *worker, struct worker_tx *tx)
{
    if (tx->dirty)
        return;
    if (__builtin_expect(worker->dirty_n == WORKER_DIRTY, 0))
        tx_flush(worker);
    tx->dirty = 1;
    worker->dirty[worker->dirty_n++] = tx->no;
}

/* What a buffer notes of packets like this: struct worker_tx. */
static inline uint32_t tx_longest(const struct burst_sum *sum)
{
    return sum->segments == 1 && !(sum->flags & TX_ODD) ? sum->longest : UINT32_MAX;
}

/* What it is given is as this says. */
static inline void tx_note(struct worker_tx *tx, uint32_t longest)
{
    tx->longest = longest > tx->longest ? longest : tx->longest;
}

/* Leaves a packet for a port's transmit buffer; takes it over. */
static inline void tx_output(struct worker *worker, struct rte_mbuf *m, uint32_t port)
{
    struct worker_tx *tx = tx_find(worker, port);

    if (__builtin_expect(!tx, 0)) {
        worker_drop(worker, m, DROP_no_port);
        return;
    }
    tx_mark(worker, tx);
    INVARIANT(tx->n < WORKER_BURST);
    tx->longest = UINT32_MAX;
    tx->packets[tx->n++] = m;
    if (tx->n == WORKER_BURST)
        tx_flush_port(worker, tx);
}

/* The same of one of many for several ports: whether it is the first for its port is guessed wrong
 * too often for a branch.  `longest`: by tx_longest(). */
static inline void tx_output_known(struct worker *worker, struct rte_mbuf *m, uint32_t port, uint32_t longest)
{
    struct worker_tx *tx = tx_find(worker, port);

    if (__builtin_expect(!tx, 0)) {
        worker_drop(worker, m, DROP_no_port);
        return;
    }
    if (__builtin_expect(worker->dirty_n == WORKER_DIRTY, 0))
        tx_flush(worker);
    worker->dirty[worker->dirty_n] = tx->no;
    worker->dirty_n += !tx->dirty;
    tx->dirty = 1;
    INVARIANT(tx->n < WORKER_BURST);
    tx_note(tx, longest);
    tx->packets[tx->n++] = m;
    if (__builtin_expect(tx->n == WORKER_BURST, 0))
        tx_flush_port(worker, tx);
}

/* The same of several.  `sum`: of them and perhaps of others; NULL: not known yet. */
static inline void tx_output_bulk(struct worker *worker, struct rte_mbuf **packets, unsigned int n, uint32_t port,
                                  const struct burst_sum *sum)
{
    struct worker_tx *tx = tx_find(worker, port);
    struct burst_sum own;
    uint32_t longest;
    unsigned int k;

    if (__builtin_expect(!tx, 0)) {
        worker_drop_bulk(worker, packets, n, DROP_no_port);
        return;
    }
    if (!sum)
        burst_sum_up(packets, n, &own);
    longest = tx_longest(sum ? sum : &own);
    for (; n; packets += k, n -= k) {
        tx_mark(worker, tx); /* A tunnel that is flushed may have flushed all others, too. */
        tx_note(tx, longest);
        k = n < WORKER_BURST - tx->n ? n : WORKER_BURST - tx->n;
        memcpy(&tx->packets[tx->n], packets, k * sizeof packets[0]);
        tx->n += k;
        if (tx->n == WORKER_BURST)
            tx_flush_port(worker, tx);
    }
}

#endif
