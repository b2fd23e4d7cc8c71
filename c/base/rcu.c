/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rcu.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "base/invariant.h"

struct deferred {
    struct deferred *next;
    uint64_t token;
    void (*free_fn)(void *object, void *arg);
    void *object, *arg;
};

struct rcu {
    struct rte_rcu_qsbr *qsbr;
    pthread_mutex_t *guard;
    struct deferred *first, **last; /* Oldest first. */
};

struct rcu *rcu_create(void)
{
    size_t size = rte_rcu_qsbr_get_memsize(RCU_THREADS);
    struct rcu *rcu = calloc(1, sizeof *rcu);

    if (!rcu)
        return NULL;
    rcu->qsbr = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_CACHE_LINE_ROUNDUP(size));
    if (!rcu->qsbr || rte_rcu_qsbr_init(rcu->qsbr, RCU_THREADS)) {
        free(rcu->qsbr);
        free(rcu);
        return NULL;
    }
    rcu->last = &rcu->first;
    return rcu;
}

static inline void check_guard(const struct rcu *rcu)
{
    if (rcu->guard)
        INVARIANT_HELD(rcu->guard);
}

struct rte_rcu_qsbr *rcu_qsbr(struct rcu *rcu)
{
    return rcu->qsbr;
}

void rcu_guard(struct rcu *rcu, pthread_mutex_t *guard)
{
    rcu->guard = guard;
}

void rcu_outside(struct rcu *rcu)
{
    if (rcu->guard)
        pthread_mutex_unlock(rcu->guard);
}

void rcu_inside(struct rcu *rcu)
{
    if (rcu->guard)
        pthread_mutex_lock(rcu->guard);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Waits until every thread that is online now has been quiescent once; false: not in time.  Not
 * rte_rcu_qsbr_synchronize(), which spins: a poll thread may need this very core to get there. */
static bool wait_for_readers(struct rcu *rcu, pthread_mutex_t *guard, uint32_t timeout_ms)
{
    const struct timespec nap = { 0, 20000 };
    uint64_t token = rte_rcu_qsbr_start(rcu->qsbr), end = now_ms() + timeout_ms;
    bool over;
    int tries = 0;

    /* Mostly one turn of a loop is enough, and then the mutex is worth keeping. */
    while (!(over = rte_rcu_qsbr_check(rcu->qsbr, token, false) == 1) && tries++ < 64)
        sched_yield();
    if (over)
        return true;
    do {
        if (guard)
            pthread_mutex_unlock(guard);
        nanosleep(&nap, NULL);
        if (guard)
            /* rte_rcu_qsbr_check() remembers what it saw, without a lock of its own. */
            pthread_mutex_lock(guard);
        over = rte_rcu_qsbr_check(rcu->qsbr, token, false) == 1;
    } while (!over && (timeout_ms == UINT32_MAX || now_ms() < end));
    return over;
}

/* Calls back for the oldest entry.  It is unlinked first, because the callee may defer more. */
static void run_first(struct rcu *rcu)
{
    struct deferred *d = rcu->first;

    rcu->first = d->next;
    if (!rcu->first)
        rcu->last = &rcu->first;
    d->free_fn(d->object, d->arg);
    free(d);
}

void rcu_destroy(struct rcu *rcu)
{
    if (!rcu)
        return;
    rcu_drain(rcu);
    free(rcu->qsbr);
    free(rcu);
}

int rcu_register(struct rcu *rcu, unsigned int thread)
{
    check_guard(rcu);
    return rte_rcu_qsbr_thread_register(rcu->qsbr, thread);
}

void rcu_unregister(struct rcu *rcu, unsigned int thread)
{
    check_guard(rcu);
    rte_rcu_qsbr_thread_unregister(rcu->qsbr, thread);
}

void rcu_defer(struct rcu *rcu, void (*free_fn)(void *object, void *arg), void *object, void *arg)
{
    struct deferred *d = malloc(sizeof *d);

    check_guard(rcu);
    /* Slow, but neither a leak nor a use after free; with the mutex: the caller is in the midst of
     * a change. */
    if (!d) {
        wait_for_readers(rcu, NULL, UINT32_MAX);
        free_fn(object, arg);
        return;
    }
    *d = (struct deferred){
        .token = rte_rcu_qsbr_start(rcu->qsbr), .free_fn = free_fn, .object = object, .arg = arg,
    };
    *rcu->last = d;
    rcu->last = &d->next;
}

void rcu_reclaim(struct rcu *rcu)
{
    check_guard(rcu);
    while (rcu->first && rte_rcu_qsbr_check(rcu->qsbr, rcu->first->token, false) == 1)
        run_first(rcu);
}

void rcu_synchronize(struct rcu *rcu)
{
    check_guard(rcu);
    wait_for_readers(rcu, rcu->guard, UINT32_MAX);
    rcu_reclaim(rcu);
}

int rcu_synchronize_for(struct rcu *rcu, uint32_t timeout_ms)
{
    check_guard(rcu);
    if (!wait_for_readers(rcu, rcu->guard, timeout_ms))
        return ETIMEDOUT;
    rcu_reclaim(rcu);
    return 0;
}

void rcu_drain(struct rcu *rcu)
{
    while (rcu->first)
        rcu_synchronize(rcu);
}
