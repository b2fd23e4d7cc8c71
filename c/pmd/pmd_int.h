/* SPDX-License-Identifier: Apache-2.0
 * pmd_int.h - what pmd.c, pmd_set.c and pmd_ctl.c share: a poll thread's queues, how it is told to
 * stop, the set of threads.
 *
 * Threads: `rxqs`, `stop`, `max_sleep_us`, `sample_cycles` and `perf` are written by the control
 * side and read by the thread; the list that it may be reading is freed after a grace period, and
 * `perf` goes with the thread. */
#ifndef UPCALL_PMD_INT_H
#define UPCALL_PMD_INT_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include <rte_cycles.h>

#include "base/rcu.h"
#include "dp.h"
#include "packet/worker.h"
#include "pmd/load.h"
#include "pmd/rxq.h"

struct cls;
struct perf;
struct port_table;

#define PMD_THREADS_MAX (RCU_THREADS - 1)

struct pmd_thread {
    struct worker worker;
    struct stat_counters stat;
    _Atomic(struct rxq_list *) rxqs;
    _Atomic uint32_t stop, ended;
    _Atomic uint32_t max_sleep_us;
    /* Its queues compete for its time: several had packets in the last round, or one is ahead of
     * others. */
    bool contended;
    uint32_t held;               /* Bursts that may have left something to send. */
    uint64_t ran_ns;             /* That it had run when it was last looked at. */
    /* How long a sample of load is, and those of all cycles that passed, and of busy ones. */
    _Atomic uint64_t sample_cycles;
    struct load passed, busy;
    _Atomic(struct perf *) perf; /* NULL: nothing is recorded. */
    struct perf *kept;           /* What is or was recorded, or NULL.  The control side's. */
    pthread_t thread;
    uint32_t numa;               /* Of its core. */
    int wake;                    /* eventfd: something changed for a thread that may be asleep. */
    sem_t ready;                 /* Posted when `error` says whether the thread came up. */
    int error;
};

/* Dealing the queues out anew by itself. */
struct pmd_auto {
    bool enabled;
    uint32_t load_threshold, improvement_threshold, interval_min; /* dp_config.c */
    uint64_t next_ms;            /* When to look again; 0: not armed yet. */
    uint64_t checks, rebalances;
    uint32_t last, last_improvement;
};

struct pmd_set {
    struct rcu *rcu;
    struct cls *cls;
    struct port_table *ports;
    struct upcalls *upcalls;
    struct ct *ct;
    struct meters *meters;
    struct ipf *ipf;
    struct bonds *bonds;
    struct tnl *tnl;
    struct records *drops, *samples; /* As a worker's. */
    struct worker control;
    struct stat_counters control_stat;
    struct stat_counters gone;            /* Sum of threads that are no more. */
    struct pmd_thread **threads; /* Sorted by core. */
    uint32_t n;
    uint32_t max_sleep_us;
    struct rxq **rxqs;           /* Sorted by port, in the order that they came, and queue. */
    uint32_t rxq_n;
    enum rxq_algorithm algorithm;
    bool isolate;                /* Threads with pinned queues poll no others (rxq_assign.h). */
    uint32_t sample_ms;
    struct pmd_auto balance;
    bool records;                /* Threads do, and those that come will. */
    struct dp_perf_watch watch;
    bool used[RCU_THREADS];      /* Indexes of threads; 0 is the control side. */
};

/* Runs a thread on a core that has none; errno, and error_set(). */
int pmd_thread_start(struct pmd_set *, uint32_t core);
/* Ends one that polls nothing. */
void pmd_thread_stop(struct pmd_set *, uint32_t place);

/* Others have the control mutex for a moment.  But for the nap this thread would have it again
 * before any of those that wait is awake. */
static inline void pmd_let_others(struct pmd_set *set)
{
    rcu_outside(set->rcu);
    nanosleep(&(struct timespec){ 0, 20000 }, NULL);
    rcu_inside(set->rcu);
}

/* Gives the replica of a thread that begins all flows, and takes the counters of one that has
 * ended, bit by bit: in between others have the mutex.  pmd_flows.c. */
void pmd_flows_fill(struct pmd_set *, struct cls_replica *);
void pmd_flows_fold(struct pmd_set *, struct cls_replica *);

/* Whether the thread at a place has a queue that is pinned to it and wants no others. */
static inline bool pmd_isolated(const struct pmd_set *set, uint32_t place)
{
    for (uint32_t i = 0; i < set->rxq_n; i++)
        if (set->rxqs[i]->owner == place && set->rxqs[i]->pin == set->threads[place]->worker.core)
            return set->isolate || set->algorithm != RXQ_GROUP;
    return false;
}

/* The queues, in order, as they are to be dealt out: the caller's to free.  NULL: no memory. */
struct rxq_wish *pmd_wishes(const struct pmd_set *);

/* Iterations that are kept before a suspicious one, and after. */
#define PMD_AROUND 5u

static inline uint64_t pmd_sample_cycles(const struct pmd_set *set)
{
    return rte_get_tsc_hz() / 1000 * set->sample_ms;
}

/* Has a thread record, or no longer, as the set says.  ENOMEM. */
int pmd_thread_record(const struct pmd_set *, struct pmd_thread *);

/* Makes `next_owner` of every queue true.  In between, queues that move are polled by nobody, so
 * never by two.  ENOMEM: nothing moved, or some are polled by nobody. */
int pmd_rxqs_apply(struct pmd_set *);

/* Ends a thread's sleep, if it sleeps. */
void pmd_wake(struct pmd_thread *);

/* What the thread runs; `arg` is its struct pmd_thread. */
void *pmd_main(void *arg);

#endif
