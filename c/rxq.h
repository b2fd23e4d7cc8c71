/* SPDX-License-Identifier: Apache-2.0
 * rxq.h - receive queues, and which poll thread polls which.
 *
 * Threads: under the control mutex, but `packets`, which the owning thread counts, and a published list, which it reads. */
#ifndef UPCALL_RXQ_H
#define UPCALL_RXQ_H

#include <stdatomic.h>
#include <stdint.h>

struct port;

#define RXQ_NOBODY UINT32_MAX

struct rxq {
    struct port *port;
    uint32_t queue;
    uint32_t owner;              /* Thread, by its place in the set, or RXQ_NOBODY. */
    uint32_t next_owner;         /* While queues are being dealt out. */
    uint64_t seen;               /* `packets` when they were last dealt out. */
    _Atomic uint64_t packets;
} __attribute__((aligned(64)));

/* Queues of one thread. */
struct rxq_list {
    uint32_t n;
    struct rxq *rxqs[];
};

/* Sets `next_owner` of every queue so that `threads` threads have about the same load: the busiest queue first, each to the thread that has least.  Queues
 * without traffic count a little, so that they spread as well. */
void rxq_deal(struct rxq **rxqs, uint32_t n, uint32_t threads);

/* Sets `next_owner` of queues that nobody polls, and leaves the others where they are. */
void rxq_place(struct rxq **rxqs, uint32_t n, uint32_t threads);

/* Queues that thread `owner` has now (`now` != 0), will have (`next` != 0), or both.  NULL: no memory. */
struct rxq_list *rxq_list_make(struct rxq **rxqs, uint32_t n, uint32_t owner, int now, int next);

#endif
