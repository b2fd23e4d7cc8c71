/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding, counting and locking a datapath; nothing else. */
#include <errno.h>
#include <time.h>

#include <rte_cycles.h>

#include "base/invariant.h"
#include "base/error.h"
#include "base/rcu.h"
#include "dp_int.h"
#include "flow/flow.h"

#define TEND_US 50u

void dp_ref(struct dp *dp)
{
    atomic_fetch_add_explicit(&dp->references, 1, memory_order_relaxed);
}

void dp_unref(struct dp *dp)
{
    INVARIANT(atomic_load_explicit(&dp->references, memory_order_relaxed));
    if (atomic_fetch_sub_explicit(&dp->references, 1, memory_order_acq_rel) == 1)
        dp->free(dp);
}

struct dp *dp_of(uint64_t handle)
{
    struct dp_opened *opened = (struct dp_opened *)handle_get(handle, HANDLE_DP);
    struct dp *dp;

    if (!opened)
        return NULL;
    dp = opened->dp;
    dp_ref(dp);
    handle_put(&opened->object);
    return dp;
}

/* A mutex that is let go of and taken again at once mostly stays where it was, because the thread
 * that it woke is not running yet: one that asks again and again keeps others waiting for ever.  So
 * another's turn is waited for, for a millisecond or a few. */
static void let_another(const struct dp *dp)
{
    const uint32_t turns = atomic_load_explicit(&dp->turns, memory_order_relaxed);

    for (int i = 0; i < 50 && atomic_load_explicit(&dp->waiting, memory_order_relaxed) &&
                    atomic_load_explicit(&dp->turns, memory_order_relaxed) == turns; i++)
        nanosleep(&(struct timespec){ 0, 20000 }, NULL);
}

static void take(struct dp *dp)
{
    const uintptr_t self = (uintptr_t)pthread_self();

    if (atomic_load_explicit(&dp->waiting, memory_order_relaxed) && atomic_load_explicit(&dp->last, memory_order_relaxed) == self)
        let_another(dp);
    atomic_fetch_add_explicit(&dp->waiting, 1, memory_order_relaxed);
    pthread_mutex_lock(&dp->control);
    atomic_fetch_sub_explicit(&dp->waiting, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&dp->turns, 1, memory_order_relaxed);
    atomic_store_explicit(&dp->last, self, memory_order_relaxed);
}

/* A share of what is made bit by bit with the flows that come: none may come any more. */
static void tend(struct dp *dp)
{
    const uint64_t end = rte_rdtsc() + rte_get_tsc_hz() / 1000000 * TEND_US;

    while (flow_table_tend(dp->flows) && rte_rdtsc() < end)
        ;
}

int dp_lock(struct dp *dp)
{
    take(dp);
    if (dp->destroyed) {
        pthread_mutex_unlock(&dp->control);
        return error_set(ENODEV, "the datapath was destroyed");
    }
    rcu_reclaim(dp->rcu);
    tend(dp);
    return 0;
}

void dp_unlock(struct dp *dp)
{
    INVARIANT_HELD(&dp->control);
    pthread_mutex_unlock(&dp->control);
}

int dp_enter(uint64_t handle, struct dp **dp)
{
    int error;

    error_clear();
    *dp = dp_of(handle);
    if (!*dp)
        return error_set(EBADF, "the datapath is closed");
    error = dp_lock(*dp);
    if (error)
        dp_unref(*dp);
    return error;
}

int dp_leave(struct dp *dp, int error)
{
    dp_unlock(dp);
    dp_unref(dp);
    return error;
}

int dp_enter_life(uint64_t handle, struct dp **dp)
{
    int error;

    error_clear();
    *dp = dp_of(handle);
    if (!*dp)
        return error_set(EBADF, "the datapath is closed");
    pthread_mutex_lock(&(*dp)->life);
    error = dp_lock(*dp);
    if (error) {
        pthread_mutex_unlock(&(*dp)->life);
        dp_unref(*dp);
    }
    return error;
}

int dp_leave_life(struct dp *dp, int error)
{
    dp_unlock(dp);
    pthread_mutex_unlock(&dp->life);
    dp_unref(dp);
    return error;
}

int dp_meanwhile(struct dp *dp, void (*work)(void *), void *of)
{
    pthread_mutex_unlock(&dp->control);
    work(of);
    take(dp);
    return dp->destroyed ? error_set(ENODEV, "the datapath was destroyed") : 0;
}

bool dp_is_wanted(const struct dp *dp)
{
    return atomic_load_explicit(&dp->waiting, memory_order_relaxed);
}

int dp_give_way(struct dp *dp)
{
    if (!dp_is_wanted(dp))
        return 0;
    pthread_mutex_unlock(&dp->control);
    take(dp); /* Who waits comes first. */
    return dp->destroyed ? error_set(ENODEV, "the datapath was destroyed") : 0;
}

static bool is_wanted(void *dp)
{
    return dp_is_wanted(dp);
}

static int give_way(void *dp)
{
    return dp_give_way(dp);
}

static int meanwhile(void *dp, void (*work)(void *), void *of)
{
    return dp_meanwhile(dp, work, of);
}

void dp_pause(struct dp *dp, struct flow_pause *pause)
{
    *pause = (struct flow_pause){ .wanted = is_wanted, .let_others = give_way, .meanwhile = meanwhile, .arg = dp };
}
