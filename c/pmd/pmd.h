/* SPDX-License-Identifier: Apache-2.0
 * pmd.h - a poll thread: its context, its loop, its transmit buffers.
 *
 * The control side has a context of the same shape (index 0, core UINT32_MAX) for execute; it polls nothing, and is used under the
 * control mutex only.
 *
 * Threads: a pmd belongs to its thread; pmd_start, pmd_stop and friends on the control side. */
#ifndef UPCALL_PMD_H
#define UPCALL_PMD_H

#include <stdint.h>

#include "packet/pkt.h"
#include "base/stat.h"

struct rte_mbuf;
struct rte_rcu_qsbr;

#define PMD_BURST 32
#define PMD_RECIRC_MAX 8         /* Recirculations of one packet; more are DROP_recirc_depth. */
#define PMD_RECIRC_QUEUE 256
#define PMD_PORTS 65536
#define PMD_DIRTY 1024
#define PMD_RECENT 1024
#define PMD_CONTROL_CORE UINT32_MAX

struct dp;
struct port;
struct cls_replica;

/* Packets that wait to be sent by one port. */
struct pmd_tx {
    struct rte_mbuf *packets[PMD_BURST];
    uint32_t n;
    uint32_t dirty;              /* On the list of buffers to flush. */
    struct port *port;
    uint16_t txq;
    uint16_t no;
};

/* Packets of the burst under way that go round again. */
struct pmd_recirc {
    struct rte_mbuf *packets[PMD_RECIRC_QUEUE];
    uint8_t depth[PMD_RECIRC_QUEUE];
    uint32_t n;
};

/* A miss that went up (upcall_admit.c). */
struct pmd_recent {
    uint32_t hash;
    uint32_t ms;
};

struct pmd {
    struct dp *dp;
    struct cls_replica *replica;
    struct stat_counters *stat;
    struct rte_rcu_qsbr *qsbr;
    _Atomic(struct pmd_tx *) *tx;    /* By port number; NULL: no such port. */
    uint32_t now_ms;                 /* CLOCK_MONOTONIC, modulo 2^32, as of this burst; never 0. */
    uint32_t depth;                  /* Of the packets in hand: how often they were recirculated. */
    uint64_t random;                 /* State of pmd_random(). */
    uint32_t index;                  /* RCU and replica index; 0: the control side. */
    uint32_t core;
    uint32_t dirty_n;
    uint16_t dirty[PMD_DIRTY];       /* Ports with packets to send; full: all are flushed. */
    struct pmd_recirc recirc;
    struct pmd_recent recent[PMD_RECENT];
};

/* Drops a packet for a reason. */
void pmd_drop(struct pmd *, struct rte_mbuf *, enum stat_drop);
void pmd_drop_bulk(struct pmd *, struct rte_mbuf **, unsigned int n, enum stat_drop);

/* Sends packets by a port at once, whatever waits in its buffer; takes them over.  The port is able to send them as they are. */
void pmd_send(struct pmd *, struct pmd_tx *, struct rte_mbuf **, unsigned int n);

/* Sends what waits at one port, or everywhere. */
void pmd_flush_port(struct pmd *, struct pmd_tx *);
void pmd_flush(struct pmd *);

/* Puts a packet whose struct pkt is complete, md.recirc_id being the new one, on the list of packets to look up again. */
void pmd_recirculate(struct pmd *, struct rte_mbuf *);

/* Leaves a packet for a port's transmit buffer; takes it over. */
static inline void pmd_output(struct pmd *pmd, struct rte_mbuf *m, uint32_t port)
{
    struct pmd_tx *tx = port < PMD_PORTS ? atomic_load_explicit(&pmd->tx[port], memory_order_acquire) : NULL;

    if (__builtin_expect(!tx, 0)) {
        pmd_drop(pmd, m, DROP_no_port);
        return;
    }
    if (!tx->dirty) {
        if (__builtin_expect(pmd->dirty_n == PMD_DIRTY, 0))
            pmd_flush(pmd);
        tx->dirty = 1;
        pmd->dirty[pmd->dirty_n++] = tx->no;
    }
    tx->packets[tx->n++] = m;
    if (tx->n == PMD_BURST)
        pmd_flush_port(pmd, tx);
}

/* xorshift64*: for sample. */
static inline uint32_t pmd_random(struct pmd *pmd)
{
    uint64_t x = pmd->random;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    pmd->random = x;
    return (uint32_t)((x * 0x2545f4914f6cdd1dull) >> 32);
}

#endif
