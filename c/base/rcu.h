/* SPDX-License-Identifier: Apache-2.0
 * rcu.h - free what poll threads may still be reading, after each of them has passed a quiescent
 * state.
 *
 * Built on librte_rcu's QSBR.  One domain per datapath.  Poll threads report a quiescent state once
 * per iteration and go offline while they sleep, so a grace period lasts one iteration.
 *
 * Threads: rcu_quiescent, rcu_offline and rcu_online by the registered thread; everything else
 * under the datapath's control mutex. */
#ifndef UPCALL_RCU_H
#define UPCALL_RCU_H

#include <pthread.h>
#include <rte_rcu_qsbr.h>
#include <stdint.h>

#define RCU_THREADS 128

struct rcu; /* Owned by the datapath. */

struct rcu *rcu_create(void);
void rcu_destroy(struct rcu *);                 /* All threads gone; runs what is deferred. */
/* The mutex under which everything but the inline calls happens from now on, checked as invariant.h
 * says.  It is let go of while a grace period is waited for: a poll thread that is stuck in a
 * device must not hold up calls that do not need it.  Callers that wait therefore exclude each
 * other by a mutex of their own (struct dp's `life`).  NULL: none. */
void rcu_guard(struct rcu *, pthread_mutex_t *);
struct rte_rcu_qsbr *rcu_qsbr(struct rcu *);    /* For the inline calls below. */

int rcu_register(struct rcu *, unsigned int thread);   /* The thread must then call rcu_online. */
void rcu_unregister(struct rcu *, unsigned int thread);

/* Let go of that mutex for something else that waits, and take it again. */
void rcu_outside(struct rcu *);
void rcu_inside(struct rcu *);

/* Calls `free_fn(object, arg)` after a grace period: from a later rcu_* call of the control side,
 * never from a poll thread. */
void rcu_defer(struct rcu *, void (*free_fn)(void *object, void *arg), void *object, void *arg);
/* Runs what is due, but so little at once that nobody waits long for the mutex; does not wait. */
void rcu_reclaim(struct rcu *);
/* Waits for a grace period, then runs what was deferred before; both without the mutex, or with it
 * for a fraction of a millisecond at once. */
void rcu_synchronize(struct rcu *);
/* The same for `timeout_ms` at most; ETIMEDOUT: some thread has not come round, and what was
 * deferred waits on.  So may some of it otherwise: there may be millions. */
int rcu_synchronize_for(struct rcu *, uint32_t timeout_ms);
/* Runs everything that is deferred, and what that defers. */
void rcu_drain(struct rcu *);

static inline void rcu_quiescent(struct rte_rcu_qsbr *q, unsigned int thread)
{
    rte_rcu_qsbr_quiescent(q, thread);
}
static inline void rcu_online(struct rte_rcu_qsbr *q, unsigned int thread)
{
    rte_rcu_qsbr_thread_online(q, thread);
}
static inline void rcu_offline(struct rte_rcu_qsbr *q, unsigned int thread)
{
    rte_rcu_qsbr_thread_offline(q, thread);
}

#endif
