/* SPDX-License-Identifier: Apache-2.0
 * worker.h - the context that packets are handled with: counters, clock, transmit buffers, packets
 * that go round again.
 *
 * Each poll thread has one, and the control side has one for execute (index 0, core
 * WORKER_CONTROL_CORE), which is used under the control mutex only.
 *
 * Threads: a worker belongs to its thread. */
#ifndef UPCALL_WORKER_H
#define UPCALL_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/stat.h"
#include "dp.h"
#include "packet/pkt.h"

struct rte_mbuf;
struct rte_rcu_qsbr;

#define WORKER_BURST 32
#define WORKER_RECIRC_MAX 8         /* Recirculations of one packet; more are DROP_recirc_depth. */
#define WORKER_RECIRC_QUEUE 256
#define WORKER_PORTS 65536
#define WORKER_DIRTY 1024
#define WORKER_RECENT 1024
#define WORKER_CONTROL_CORE UINT32_MAX

struct cls_replica;
struct bonds;
struct histogram;
struct ct;
struct meters;
struct ipf;
struct ipf_whole;
struct port;
struct tnl;
struct records;
struct upcalls;

/* Packets that wait to be sent by one port. */
struct worker_tx {
    struct rte_mbuf *packets[WORKER_BURST];
    uint32_t n;
    uint32_t dirty;              /* On the list of buffers to flush. */
    /* None of the packets is longer; UINT32_MAX: unknown, or one may be of those that not every
     * port can send as they are (tx_offload.h). */
    uint32_t longest;
    struct port *port;
    uint16_t txq;
    uint16_t no;
};

/* Packets of the burst under way that go round again. */
struct worker_recirc {
    struct rte_mbuf *packets[WORKER_RECIRC_QUEUE];
    uint8_t depth[WORKER_RECIRC_QUEUE];
    uint32_t n;
};

/* Packets that a tunnel port brought at once, with the same outer header: they are looked up
 * together, and nothing is written of them in each one's struct pkt before that (tnl_pop.h). */
struct worker_popped {
    uint32_t n;                  /* 0: there are none. */
    uint32_t depth;
    uint32_t source_before;      /* UDP's source port is so many bytes before what is inside. */
    struct rte_mbuf *packets[WORKER_BURST];
    struct pkt common;           /* Of all of them, but for that port. */
};

/* Several outer packets in one, of which not all have been received: there was no room in `recirc`
 * (tnl_sift.c). */
struct worker_bundle {
    struct rte_mbuf *m;
    uint32_t port;               /* The tunnel's. */
    uint32_t next;               /* The first that is left. */
    uint32_t depth;
};

/* A miss that went up (upcall_admit.c). */
struct worker_recent {
    uint32_t hash;
    uint32_t ms;
};

struct worker {
    struct upcalls *upcalls;         /* Where misses go (upcall.h). */
    struct cls_replica *replica;
    struct ct *ct;                   /* The datapath's connections (ct.h). */
    struct meters *meters;           /* And its meters (meter.h). */
    struct ipf *ipf;                 /* And fragments that wait (ipf.h). */
    struct bonds *bonds;             /* And its bonds (bond.h). */
    struct tnl *tnl;                 /* And its tunnels (tnl.h). */
    const _Atomic uint8_t *roles;    /* What ports are to those: TNL_*; never NULL. */
    struct stat_counters *stat;
    struct rte_rcu_qsbr *qsbr;
    struct histogram *upcall_cycles; /* Where handing up is recorded; NULL: nowhere. */
    _Atomic(struct worker_tx *) *tx;    /* By port number; NULL: no such port. */
    uint64_t now;                    /* CLOCK_MONOTONIC in ms, as of this burst, ... */
    uint32_t now_ms;                 /* ... and modulo 2^32, never 0. */
    /* worker_ms(): what it said, when (cycles), and for how long it holds. */
    uint64_t ms, ms_since, ms_cycles;
    _Atomic(struct records *) drops; /* NULL: nobody looks at what is dropped. */
    uint32_t in_port;                /* Of the packets in hand. */
    uint32_t depth;                  /* Of the packets in hand: how often they were recirculated. */
    uint64_t random;                 /* State of worker_random(). */
    uint32_t index;                  /* RCU and replica index; 0: the control side. */
    uint32_t core;
    uint32_t dirty_n;
    uint32_t flushed;                /* Of those, while they are. */
    uint16_t dirty[WORKER_DIRTY];       /* Ports with packets to send; full: all are flushed. */
    _Atomic(struct records *) samples; /* NULL: nobody looks at what psample actions see. */
    struct worker_recirc recirc;
    struct worker_popped popped; /* They came before those of `recirc`. */
    /* Put together of fragments that were for no tunnel (gather.h): more than `recirc` has room
     * for, so that they are cut when nothing else waits. */
    struct ipf_whole *gathered, *gathered_last;
    uint32_t bundle_n;
    struct worker_bundle bundles[WORKER_BURST]; /* Their turn is before that of those. */
    struct worker_recent recent[WORKER_RECENT];
};

/* Prepares what poll threads and the control side have in common.  ENOMEM. */
int worker_init(struct worker *, struct stat_counters *, uint32_t index, uint32_t core);
void worker_fini(struct worker *);

/* CLOCK_MONOTONIC in ms. */
uint64_t worker_clock(void);
/* Sets the clock of a worker. */
void worker_tick(struct worker *);
/* CLOCK_MONOTONIC in ms, where worker_clock() may be some behind.  Reads the clock once in a
 * millisecond, and the cycles in between. */
uint64_t worker_ms(struct worker *);

/* Who looks at packets, from now on; NULL: nobody. */
void worker_show(struct worker *, struct records *drops, struct records *samples);

/* What a psample action says. */
struct worker_sample {
    uint32_t group, probability, cookie_size;
    uint8_t cookie[DP_SAMPLE_COOKIE];
};
/* Shows a packet, of which `size` bytes count, to who looks on; it stays the caller's. */
void worker_show_sample(struct worker *, const struct worker_sample *, const struct rte_mbuf *, uint32_t size);

/* Counts packets that are dropped for a reason, and shows them to who looks on.  `out_port`: the
 * port that would not take them, or DP_PORT_NONE.  They stay the caller's. */
void worker_show_drops(struct worker *, struct records *, struct rte_mbuf *const *, unsigned int n, enum stat_drop, uint32_t out_port);
static inline void worker_dropped(struct worker *worker, struct rte_mbuf *const *packets, unsigned int n, enum stat_drop reason,
                                  uint32_t out_port)
{
    struct records *drops = atomic_load_explicit(&worker->drops, memory_order_acquire);

    stat_drop(worker->stat, reason, n);
    if (__builtin_expect(drops != NULL, 0))
        worker_show_drops(worker, drops, packets, n, reason, out_port);
}

/* Drops a packet for a reason. */
void worker_drop(struct worker *, struct rte_mbuf *, enum stat_drop);
void worker_drop_bulk(struct worker *, struct rte_mbuf **, unsigned int n, enum stat_drop);

/* Puts a packet whose struct pkt is complete, md.recirc_id being the new one, on the list of
 * packets to look up again. */
void worker_recirculate(struct worker *, struct rte_mbuf *);

/* Whether packets wait to be looked up again. */
static inline bool worker_waits(const struct worker *worker)
{
    return (worker->recirc.n | worker->popped.n | worker->bundle_n) || worker->gathered;
}

/* xorshift64*: for sample. */
static inline uint32_t worker_random(struct worker *worker)
{
    uint64_t x = worker->random;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    worker->random = x;
    return (uint32_t)((x * 0x2545f4914f6cdd1dull) >> 32);
}

#endif
