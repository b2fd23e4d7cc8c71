/* SPDX-License-Identifier: Apache-2.0
 * pmd_rest.h - how an idle poll thread rests.
 *
 * First it naps, by the clock.  Then it sleeps on descriptors: its own, by which it is told that
 * something changed, and one of each queue that has one.  Those end a sleep at once.  A queue that
 * has none is looked at by the clock, so that a thread that has such queues naps on, but for what
 * the others bring.  So does one that a descriptor woke in vain: some stay readable while nothing
 * can be received, as when all mbufs are in use, or the device is lost.
 *
 * No wake-up is lost: a descriptor of the kernel stays readable while there is something; a bell
 * (rx_resume) rings for what comes after it was armed, so that the thread looks once more between
 * arming and sleeping; and what pmd_wake() writes stays in the eventfd.
 *
 * Threads: the poll thread whose `struct pmd_thread` it is; pmd_wake() and rest_leave() by the
 * control side. */
#ifndef UPCALL_PMD_REST_H
#define UPCALL_PMD_REST_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "pmd/rxq.h"
#include "port/port.h"

struct perf;
struct pmd_thread;

/* After so long without a packet a thread sleeps on descriptors. */
#define REST_DEEP_US 2000
/* More queues are looked at by the clock, all of them. */
#define REST_QUEUES 1024u

/* What a thread remembers between rounds of its loop. */
struct pace {
    uint64_t tsc, tick, tick_cycles; /* Now; when the clock is read again; how often. */
    uint64_t idle_since, idle_cycles, deep_cycles;
    uint64_t shared_until, shared_cycles;
    long preempted;                  /* How often others took the core. */
    struct perf *perf;               /* What was recorded to in the last round. */
    uint64_t sampled;                /* When the last sample of load ended. */
    uint32_t nap_us;
    bool woke, rung, told;           /* From a sleep; by pmd_wake(); by a queue's descriptor. */
};

/* What a thread is about to sleep on. */
struct rest {
    uint32_t told;                   /* Descriptors of queues, behind the thread's own. */
    uint32_t blind;                  /* Queues that have none. */
    uint32_t bells;                  /* Queues to be looked at once more. */
    struct pollfd fds[REST_QUEUES + 1];
};

/* Whether what was there before a queue was armed must be looked for. */
static inline bool rest_has_bell(const struct rxq *rxq)
{
    return rxq->port->class->rx_resume;
}

/* For the control side: a queue that no thread polls has no owner from now on.  The last one may be
 * asleep on it, and know nothing of it when it is back: what it armed would go on interrupting. */
static inline void rest_leave(struct rxq *rxq)
{
    if (rxq->owner != RXQ_NOBODY && rest_has_bell(rxq))
        rxq->port->class->rx_resume(rxq->port, (uint16_t)rxq->queue);
    rxq->owner = RXQ_NOBODY;
}

/* Sleeps a little longer than last time, by the clock. */
void rest_nap(struct pmd_thread *, struct pace *, uint32_t max_us);

/* Arms what can tell.  Then rest_sleep() and rest_end(), or rest_resume(). */
void rest_arm(const struct pmd_thread *, struct rest *);
/* Sleeps, and says so to nobody before rest_end(): packets come first. */
void rest_sleep(struct pmd_thread *, struct pace *, struct rest *, uint32_t max_us);
void rest_end(const struct pmd_thread *, struct pace *);
void rest_resume(const struct pmd_thread *);

#endif
