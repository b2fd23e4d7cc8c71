// SPDX-License-Identifier: Apache-2.0
/*
 * queue: what a port of net_gen does with packets: fill mbufs from frames, free what is sent,
 * and count both.
 *
 * Ownership: a queue borrows its mempool and its control page; its frames are its own. Received
 * mbufs belong to the caller, transmitted ones go back to their mempools at once.
 * Threads: one thread a queue, as ethdev asks. Each counter has one writer and any readers.
 */
#ifndef QUEUE_H
#define QUEUE_H

#include "frames.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#define RX_QUEUES 2
#define TX_QUEUES 30
#define DESCRIPTORS 1024 /* packets that wait in a paced queue; what comes beyond them is missed */

/* One line each, so that a reader on another core disturbs one line a sample. */
struct counter {
    _Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint64_t packets;
    _Atomic uint64_t bytes;
    _Atomic uint64_t starved; /* receives refused because the mempool was empty */
    _Atomic uint64_t missed;  /* packets that came while the queue was full */
};

/* The layout that tests/bench/control_page.ts reads: a line for the gate, receives, transmits. */
struct control {
    _Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint32_t open;
    _Atomic uint64_t tsc_hz; /* of the machine, written when a port is made */
    _Atomic uint64_t rate;   /* packets a second that come to each queue; 0: as many as are taken */
    struct counter rx[RX_QUEUES];
    struct counter tx[TX_QUEUES];
};
_Static_assert(sizeof(struct control) == 64 * (1 + RX_QUEUES + TX_QUEUES), "one line a counter");
_Static_assert(sizeof(struct control) <= 4096, "one page");

struct rx_queue {
    struct rte_mempool *pool;
    struct control *control;
    struct counter *counter;
    struct frames frames;
    uint64_t rearm;   /* data_off, refcnt, nb_segs and port of a fresh mbuf */
    uint64_t last;    /* time stamp of the last receive, where receives are paced */
    long switches;    /* of the thread, when it was last asked */
    double waiting;   /* packets that came and were not received yet, likewise */
    uint32_t next;
    bool first_pass;
} __attribute__((aligned(RTE_CACHE_LINE_SIZE)));

/* An ethdev receive: whole bursts unless paced, 0 when the gate is shut or the mempool is empty. */
uint16_t queue_receive(void *rx_queue, struct rte_mbuf **, uint16_t count);
uint16_t queue_receive_nothing(void *rx_queue, struct rte_mbuf **, uint16_t count);

/* An ethdev transmit to a `struct counter`: takes everything. */
uint16_t queue_transmit(void *counter, struct rte_mbuf **, uint16_t count);

#endif
