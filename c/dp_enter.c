/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding, counting and locking a datapath; nothing else. */
#include <errno.h>

#include "base/invariant.h"
#include "base/error.h"
#include "base/rcu.h"
#include "dp_int.h"

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

int dp_lock(struct dp *dp)
{
    pthread_mutex_lock(&dp->control);
    if (dp->destroyed) {
        pthread_mutex_unlock(&dp->control);
        return error_set(ENODEV, "the datapath was destroyed");
    }
    rcu_reclaim(dp->rcu);
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
