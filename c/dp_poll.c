/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry points of dp.h about poll threads. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "dp_int.h"
#include "pmd/pmd_ctl.h"

int dp_poll_threads_choose(uint64_t handle, const uint8_t *cores, uint32_t size)
{
    struct dp_opened *opened;
    uint64_t words[DP_CORES / 64] = { 0 };

    error_clear();
    if (size && !cores)
        return EINVAL;
    for (uint32_t i = 0; i < size; i++) {
        if (i < sizeof words)
            words[i / 8] |= (uint64_t)cores[i] << i % 8 * 8;
        else if (cores[i])
            return error_set(EINVAL, "cores have numbers up to %u", DP_CORES - 1);
    }
    opened = (struct dp_opened *)handle_get(handle, HANDLE_DP);
    if (!opened)
        return error_set(EBADF, "the datapath is closed");
    pthread_mutex_lock(&opened->dp->control);
    memcpy(opened->cores, words, sizeof words);
    opened->chosen = true;
    pthread_mutex_unlock(&opened->dp->control);
    handle_put(&opened->object);
    return 0;
}

/* The cores that were chosen by this handle, if any were since the last time; else `cores` stay as
 * they are. */
static int take_chosen(uint64_t handle, uint64_t cores[DP_CORES / 64])
{
    struct dp_opened *opened = (struct dp_opened *)handle_get(handle, HANDLE_DP);

    error_clear();
    if (!opened)
        return error_set(EBADF, "the datapath is closed");
    pthread_mutex_lock(&opened->dp->control);
    if (opened->chosen)
        memcpy(cores, opened->cores, sizeof opened->cores);
    opened->chosen = false;
    pthread_mutex_unlock(&opened->dp->control);
    handle_put(&opened->object);
    return 0;
}

int dp_poll_threads_set(uint64_t handle, uint64_t cores_low, uint64_t cores_high, uint32_t max_sleep_us)
{
    struct dp *dp;
    uint64_t chosen[DP_CORES / 64] = { cores_low, cores_high };
    int error = take_chosen(handle, chosen);

    if (!error)
        error = dp_enter_life(handle, &dp);
    if (error)
        return error_publish(handle, DP_ABOUT_ALL, error);
    if (max_sleep_us > DP_POLL_SLEEP_MAX_US) {
        error = error_set(ERANGE, "naps last %d us at most, not %u", DP_POLL_SLEEP_MAX_US, max_sleep_us);
        return dp_leave_life(dp, error_publish(handle, DP_ABOUT_ALL, error));
    }
    pmd_set_max_sleep(dp->pmds, max_sleep_us);
    if (!max_sleep_us)
        pmd_set_settle(dp->pmds);
    return dp_leave_life(dp, error_publish(handle, DP_ABOUT_ALL, pmd_set_cores(dp->pmds, chosen)));
}

int dp_poll_threads_rebalance(uint64_t handle)
{
    struct dp *dp;
    int error = dp_enter_life(handle, &dp);

    if (error)
        return error_publish(handle, DP_ABOUT_ALL, error);
    return dp_leave_life(dp, error_publish(handle, DP_ABOUT_ALL, pmd_set_rebalance(dp->pmds)));
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
