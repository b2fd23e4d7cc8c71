/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry points of dp.h about poll threads. */
#include <errno.h>

#include "base/error.h"
#include "dp_int.h"
#include "pmd/pmd_ctl.h"

int dp_poll_threads_set(uint64_t handle, uint64_t cores_low, uint64_t cores_high, uint32_t max_sleep_us)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error_publish(error);
    if (max_sleep_us > DP_POLL_SLEEP_MAX_US) {
        error = error_set(ERANGE, "naps last %d us at most, not %u", DP_POLL_SLEEP_MAX_US, max_sleep_us);
        return dp_leave(dp, error_publish(error));
    }
    pmd_set_max_sleep(dp->pmds, max_sleep_us);
    return dp_leave(dp, error_publish(pmd_set_cores(dp->pmds, cores_low, cores_high)));
}

int dp_poll_thread_next(uint64_t handle, uint32_t core, struct dp_poll_thread_info *info)
{
    struct dp *dp;
    int error = info ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, pmd_set_thread(dp->pmds, core, info));
}

int dp_rxq_get(uint64_t handle, uint32_t index, struct dp_rxq_info *info)
{
    struct dp *dp;
    int error = info ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, pmd_set_rxq(dp->pmds, index, info));
}
