/* SPDX-License-Identifier: Apache-2.0
 * rxq_assign.h - which core is to poll which receive queue: a function of numbers, for machines of
 * any shape.
 *
 * The rules are those of Open vSwitch 3.1 (dpif-netdev.c, sched_numa_list_schedule): queues that
 * are pinned to a core go there, and isolate it from others; the others go to cores of their port's
 * NUMA node, or, where that has none, to those of another node in turn.
 *
 * Threads: any; no state. */
#ifndef UPCALL_RXQ_ASSIGN_H
#define UPCALL_RXQ_ASSIGN_H

#include <stdbool.h>
#include <stdint.h>

#define RXQ_NOBODY UINT32_MAX
#define RXQ_UNPINNED UINT32_MAX

enum rxq_algorithm {
    RXQ_ROUNDROBIN,          /* One after the other. */
    RXQ_CYCLES,              /* The busiest queue first; cores there and back: 0 1 2 2 1 0. */
    RXQ_GROUP,               /* The busiest queue first, to the core that has least to do. */
};

struct rxq_core {
    uint32_t core, numa;     /* Sorted by core. */
    /* Answered. */
    bool isolated;           /* A queue is pinned to it, and it takes no others. */
    uint32_t queues;
    uint64_t load;
};

struct rxq_wish {
    uint32_t numa;           /* Of its port. */
    uint32_t pin;            /* A core, or RXQ_UNPINNED. */
    uint64_t load;           /* What it costs, in any unit; 0: not known. */
    /* Answered. */
    uint32_t place;          /* Of its core in the list, or RXQ_NOBODY: all are isolated. */
    bool pin_lost;           /* No thread runs on the core that it is pinned to. */
    bool far;                /* Polled by another NUMA node. */
};

/* Assigns queues, which are sorted by port and queue.  Without `isolate`, which RXQ_GROUP only
 * allows, cores with pinned queues take others.  ENOMEM. */
int rxq_assign(struct rxq_core *cores, uint32_t n_cores, struct rxq_wish *wishes, uint32_t n, enum rxq_algorithm, bool isolate);

#endif
