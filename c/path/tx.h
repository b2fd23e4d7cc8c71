/* SPDX-License-Identifier: Apache-2.0
 * tx.h - transmit buffers: packets leave by a port, in bursts, made fit for it where need be.
 *
 * What a port cannot do is done here in software: partial checksums, segments larger than its MTU,
 * chains (tx_offload.h).
 *
 * Threads: the owner of the worker. */
#ifndef UPCALL_TX_H
#define UPCALL_TX_H

#include "base/invariant.h"
#include "packet/worker.h"

/* Sends what waits at one port, or everywhere. */
void tx_flush_port(struct worker *, struct worker_tx *);
void tx_flush(struct worker *);

/* Leaves a packet for a port's transmit buffer; takes it over. */
static inline void tx_output(struct worker *worker, struct rte_mbuf *m, uint32_t port)
{
    struct worker_tx *tx = port < WORKER_PORTS ? atomic_load_explicit(&worker->tx[port], memory_order_acquire) : NULL;

    if (__builtin_expect(!tx, 0)) {
        worker_drop(worker, m, DROP_no_port);
        return;
    }
    if (!tx->dirty) {
        if (__builtin_expect(worker->dirty_n == WORKER_DIRTY, 0))
            tx_flush(worker);
        tx->dirty = 1;
        worker->dirty[worker->dirty_n++] = tx->no;
    }
    INVARIANT(tx->n < WORKER_BURST);
    tx->packets[tx->n++] = m;
    if (tx->n == WORKER_BURST)
        tx_flush_port(worker, tx);
}

#endif
