/* SPDX-License-Identifier: Apache-2.0
 * rxq.h - receive queues: which poll thread polls which, and how a thread's time is shared among
 * its queues.
 *
 * Time, not packets: queues that all have more than a burst waiting are polled for the same time
 * each, so that expensive packets slow their sender down, and what a queue does not use is free for
 * the others.  A queue is charged for its bursts and passed over while it is more than RXQ_AHEAD
 * cycles ahead of the waiting queue that had least.
 *
 * Threads: under the control mutex, but `packets` and `cycles`, which the owning thread counts,
 * what it keeps of time, and a published list, which it reads. */
#ifndef UPCALL_RXQ_H
#define UPCALL_RXQ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pmd/load.h"
#include "pmd/rxq_assign.h"

struct port;

/* 1 or 2 us: less would part queues that cost the same, more is what a burst may have to wait. */
#define RXQ_AHEAD 4096u
/* A burst that took longer, 100 us, is charged what the thread ran meanwhile: the rest is not the
 * packets' doing, but the scheduler's. */
#define RXQ_CHARGE_MAX (1u << 18)
/* A burst of which most packets have no flow is charged so many times: in a flood of misses,
 * traffic that has flows comes first. */
#define RXQ_MISS_FACTOR 4u

struct rxq {
    struct port *port;
    uint32_t queue;
    uint32_t owner;              /* Thread, by its place in the set, or RXQ_NOBODY. */
    uint32_t next_owner;         /* While queues are being dealt out. */
    uint32_t pin;                /* The core that it is to be polled by, or RXQ_UNPINNED. */
    _Atomic uint64_t packets;
    _Atomic uint64_t cycles;     /* That its packets took. */
    struct load load;            /* Of `cycles`. */
    /* The owning thread's. */
    uint64_t ahead;              /* Cycles of the time stamp counter, as of the last rxq_level(). */
    uint32_t burst;              /* Packets of its last burst. */
    bool full;                   /* Which was full, so more is waiting. */
} __attribute__((aligned(64)));

/* Queues of one thread. */
struct rxq_list {
    uint32_t n;
    struct rxq *rxqs[];
};

/* Cycles of its last samples, and of the one under way. */
uint64_t rxq_load(const struct rxq *);

/* Sets `next_owner` of queues that nobody polls, and leaves the others where they are.  Threads of
 * which `isolated` is true get none. */
void rxq_place(struct rxq **rxqs, uint32_t n, const bool *isolated, uint32_t threads);

/* Takes from every queue's lead that of the waiting queue that has the smallest one.  If none is
 * waiting, nobody keeps a lead: what was not needed is not saved up.  Returns whether a lead is
 * left. */
bool rxq_level(const struct rxq_list *);

/* Queues that thread `owner` has now (`now` != 0), will have (`next` != 0), or both.  NULL: no
 * memory. */
struct rxq_list *rxq_list_make(struct rxq **rxqs, uint32_t n, uint32_t owner, int now, int next);

#endif
