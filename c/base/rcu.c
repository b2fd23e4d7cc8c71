/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rcu.h"

#include <sched.h>
#include <stdlib.h>

#include "base/invariant.h"

struct deferred {
    struct deferred *next;
    uint64_t token;
    void (*free_fn)(void *object, void *arg);
    void *object, *arg;
};

struct rcu {
    struct rte_rcu_qsbr *qsbr;
    const pthread_mutex_t *guard;
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

void rcu_guard(struct rcu *rcu, const pthread_mutex_t *mutex)
{
    rcu->guard = mutex;
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

/* Waits until every thread that is online now has been quiescent once.  Not
 * rte_rcu_qsbr_synchronize(), which spins: a poll thread may need this very core to get there. */
static void wait_for_readers(struct rcu *rcu)
{
    uint64_t token = rte_rcu_qsbr_start(rcu->qsbr);

    while (rte_rcu_qsbr_check(rcu->qsbr, token, false) != 1)
        sched_yield();
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
    rcu_synchronize(rcu);
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
    if (!d) { /* Slow, but neither a leak nor a use after free. */
        wait_for_readers(rcu);
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
    do {
        /* What callees defer meanwhile belongs to a later grace period: it waits for the next
         * round. */
        struct deferred *last = NULL, *d;

        for (d = rcu->first; d; d = d->next)
            last = d;
        wait_for_readers(rcu);
        while (last) {
            if (rcu->first == last)
                last = NULL;
            run_first(rcu);
        }
    } while (rcu->first);
}
