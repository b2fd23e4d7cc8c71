/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rcu.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_pause.h>

#include "base/invariant.h"
#include "base/slab.h"

/* Callbacks that rcu_reclaim() runs at once, and of those that are waiting a share, so that they
 * cannot become ever more; but no more than take STEP_US. */
#define STEP 512u
#define SHARE 4u
#define MOST 1536u
#define STEP_US 300u
/* Another thread needs so long to get the mutex that is let go of for it. */
#define TURN_NS 20000
/* For so long readers are waited for with the mutex held: most come round in a microsecond. */
#define SPIN_US 20u

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
    uint32_t n;
    struct slab slab;               /* Of struct deferred: there may be a million at a time. */
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

/* Lets others have the mutex. */
static void let_others(pthread_mutex_t *guard)
{
    if (guard)
        pthread_mutex_unlock(guard);
    nanosleep(&(struct timespec){ 0, TURN_NS }, NULL);
    if (guard)
        pthread_mutex_lock(guard);
}

/* Waits until every thread that was online when the token was taken has been quiescent once; false:
 * not in time.  Not rte_rcu_qsbr_synchronize(), which spins: a poll thread may need this very core
 * to get there. */
static bool wait_for_readers(struct rcu *rcu, pthread_mutex_t *guard, uint64_t token, uint32_t timeout_ms)
{
    const uint64_t end = now_ms() + timeout_ms;
    const uint64_t spin = rte_rdtsc() + rte_get_tsc_hz() / 1000000 * SPIN_US;
    bool over;

    /* Mostly one turn of a loop is enough, and then the mutex is worth keeping.  Not to be kept
     * while this thread gives its core away: it may be gone for milliseconds. */
    while (!(over = rte_rcu_qsbr_check(rcu->qsbr, token, false) == 1) && rte_rdtsc() < spin)
        rte_pause();
    if (over)
        return true;
    do {
        /* With the mutex again: rte_rcu_qsbr_check() remembers what it saw, without a lock. */
        let_others(guard);
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
    rcu->n--;
    d->free_fn(d->object, d->arg);
    slab_put(&rcu->slab, d, sizeof *d);
}

void rcu_destroy(struct rcu *rcu)
{
    if (!rcu)
        return;
    rcu_drain(rcu);
    slab_clear(&rcu->slab);
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
    struct deferred *d = slab_get(&rcu->slab, sizeof *d);

    check_guard(rcu);
    /* Slow, but neither a leak nor a use after free; with the mutex: the caller is in the midst of
     * a change. */
    if (!d) {
        wait_for_readers(rcu, NULL, rte_rcu_qsbr_start(rcu->qsbr), UINT32_MAX);
        free_fn(object, arg);
        return;
    }
    *d = (struct deferred){
        .token = rte_rcu_qsbr_start(rcu->qsbr), .free_fn = free_fn, .object = object, .arg = arg,
    };
    *rcu->last = d;
    rcu->last = &d->next;
    rcu->n++;
}

/* At most so many, and no longer than STEP_US. */
static void run_due(struct rcu *rcu, uint32_t most)
{
    const uint64_t end = rte_rdtsc() + rte_get_tsc_hz() / 1000000 * STEP_US;

    for (uint32_t n = 0; n < most && rcu->first && rte_rcu_qsbr_check(rcu->qsbr, rcu->first->token, false) == 1; n++) {
        if (n && rte_rdtsc() > end)
            return;
        run_first(rcu);
    }
}

/* Runs what was deferred before a token that is over, until a time, with the mutex let go of in
 * between. */
static void run_before(struct rcu *rcu, uint64_t token, uint64_t end_ms)
{
    run_due(rcu, UINT32_MAX);
    while (rcu->first && rcu->first->token < token && now_ms() < end_ms) {
        let_others(rcu->guard);
        run_due(rcu, UINT32_MAX);
    }
}

void rcu_reclaim(struct rcu *rcu)
{
    check_guard(rcu);
    run_due(rcu, RTE_MIN(STEP + rcu->n / SHARE, MOST));
}

void rcu_synchronize(struct rcu *rcu)
{
    const uint64_t token = rte_rcu_qsbr_start(rcu->qsbr);

    check_guard(rcu);
    wait_for_readers(rcu, rcu->guard, token, UINT32_MAX);
    run_before(rcu, token, UINT64_MAX);
}

int rcu_synchronize_for(struct rcu *rcu, uint32_t timeout_ms)
{
    const uint64_t token = rte_rcu_qsbr_start(rcu->qsbr), end = now_ms() + timeout_ms;

    check_guard(rcu);
    if (!wait_for_readers(rcu, rcu->guard, token, timeout_ms))
        return ETIMEDOUT;
    run_before(rcu, token, end);
    return 0;
}

void rcu_drain(struct rcu *rcu)
{
    while (rcu->first)
        rcu_synchronize(rcu);
}
