/* SPDX-License-Identifier: Apache-2.0
 * upcall_int.h - what the upcall_*.c units share: handlers, and the set of them that poll threads
 * see.
 *
 * A set is immutable; another one is published by pointer and the old one freed after a grace
 * period.  Poll threads hold no reference to a handler: it leaves the set, and a grace period
 * passes, before it goes.  Nobody waits for that: what the threads put into its ring meanwhile is
 * thrown away when the period is over.
 *
 * Threads: sets and handlers' places under the control mutex.  A ring's consumer side, and what
 * comes with it, under the handler's `consumer` mutex, and its arena under `holder`, which is held
 * through a whole exchange; poll threads never take them.  Order: holder, control, consumer. */
#ifndef UPCALL_UPCALL_INT_H
#define UPCALL_UPCALL_INT_H

#include <pthread.h>
#include <rte_ring.h>
#include <stdbool.h>

#include "base/hash.h"
#include "dp.h"
#include "packet/key.h"
#include "packet/worker.h"
#include "upcall/upcall.h"
#include "upcall/upcall_exchange.h"
#include "upcall/upcall_handler.h"

#define UPCALL_RING 4096             /* Packets; less where a quarter of the pool is less. */
/* A call that does not wait may look for so long whether poll threads have come round. */
#define UPCALL_WAIT_MS 100
#define UPCALL_PENDING_MS 2         /* For so long a miss is taken to be pending. */

/* DPDK 22.11's ring with several producers waits for the one before with a relaxed load, so the
 * consumer is not formally ordered after all of them; every processor that DPDK runs on does it
 * right, but ThreadSanitizer has to be told. */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define UPCALL_PUBLISH(ring) __tsan_release(ring)
#define UPCALL_OBSERVE(ring) __tsan_acquire(ring)
#else
#define UPCALL_PUBLISH(ring) ((void)0)
#define UPCALL_OBSERVE(ring) ((void)0)
#endif

/* Pools whose mbufs waiting upcalls hold: packets, large buffers, and all pools of ports
 * together. */
#define UPCALL_POOLS 3

/* Of one port in a ring: upcalls, and their mbufs. */
struct upcall_waiting {
    _Atomic uint32_t n, mbufs[UPCALL_POOLS];
};

struct handler {
    /* The owner, and the datapath until a grace period after the handler left the set. */
    _Atomic uint32_t users;
    struct handler *next_gone;
    struct rte_ring *ring;
    struct rte_mempool *pool;        /* That of all packets. */
    _Atomic uint32_t held[UPCALL_POOLS]; /* mbufs of the packets in the ring, by pool. */
    struct upcall_waiting *waiting;  /* By port. */
    uint32_t quota;                  /* Of each port; 0: only its share. */
    uint32_t id;
    int doorbell;                    /* eventfd. */
    _Atomic uint32_t armed;
    _Atomic bool closed;
    _Atomic uint64_t lost;
    /* Consumer side. */
    pthread_mutex_t consumer __attribute__((aligned(64)));
    pthread_mutex_t holder;
    uint8_t *arena;
    uint32_t batch_n, batch_at;      /* Dequeued, not yet written to the arena. */
    struct rte_mbuf *batch[UPCALL_BATCH];
    _Atomic uint64_t handled, purged;
    struct upcall_taken taken;       /* Under `holder`. */
};

struct upcall_set {
    struct upcall_direct direct;
    bool enabled;
    uint32_t n;
    struct handler *handlers[];      /* Open ones. */
};

struct upcalls {
    _Atomic(struct upcall_set *) set;
    struct rcu *rcu;
    struct handler *open[UPCALL_HANDLERS_MAX]; /* By id. */
    uint32_t count;                  /* Ids allowed. */
    bool enabled;
    struct upcall_direct direct;
    uint32_t ring_size, quota;       /* For handlers opened from now on. */
    struct handler *gone;            /* Left the set; poll threads may still know them. */
    uint64_t handled_gone, purged_gone;
    struct hash_key hash_key;        /* Of what makes misses duplicates. */
};

/* Frees a packet of a ring and what it carries. */
void upcall_free(struct rte_mbuf *);
void handler_ring_doorbell(struct handler *);

/* Whether a port's share of the ring is used up, and as what its packets are lost then. */
bool upcall_is_full(const struct handler *, uint32_t in_port, enum stat_drop *reason);

/* What upcall_admit() leaves behind those it admits: first duplicates, then packets to be lost for
 * `reason`. */
struct upcall_refused {
    unsigned int duplicates;
    enum stat_drop reason;
};
/* Chooses among `n` <= WORKER_BURST packets of one kind and port, whose struct pkt is complete,
 * those that may enter the ring, puts them first and counts them as waiting; returns how many. */
unsigned int upcall_admit(struct worker *, struct handler *, struct rte_mbuf **, unsigned int n, struct upcall_refused *);
/* Packets that were admitted do not wait any more. */
void upcall_leave(struct handler *, struct rte_mbuf **, unsigned int n);

#endif
