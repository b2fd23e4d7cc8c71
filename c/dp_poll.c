/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry points of dp.h about poll threads. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/histogram.h"
#include "dp_int.h"
#include "pmd/pmd_ctl.h"
#include "pmd/pmd_figures.h"

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

/* --- What threads do with their time (dp_perf.h) -------------------------------------------- */

int dp_load_get(uint64_t handle, uint32_t core, uint32_t samples, struct dp_load_info *load)
{
    struct dp *dp;
    int error = load ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, pmd_load_thread(dp->pmds, core, samples, load));
}

int dp_load_rxq(uint64_t handle, uint32_t index, uint32_t samples, uint64_t *cycles)
{
    struct dp *dp;
    int error = cycles ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, pmd_load_rxq(dp->pmds, index, samples, cycles));
}

int dp_balance_get(uint64_t handle, uint32_t dry_run, struct dp_balance_info *info)
{
    struct dp *dp;
    int error = info ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, pmd_balance_describe(dp->pmds, dry_run != 0, info));
}

int dp_perf_get(uint64_t handle, uint32_t core, struct dp_perf_info *info)
{
    struct dp *dp;
    int error = info ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, pmd_perf_get(dp->pmds, core, info));
}

int dp_perf_walls(uint8_t *walls, uint32_t size)
{
    if (!walls || size != sizeof histogram_walls)
        return EINVAL;
    memcpy(walls, histogram_walls, size);
    return 0;
}

int dp_perf_history(uint64_t handle, uint32_t core, uint32_t which, uint8_t *samples, uint32_t room, uint32_t *count)
{
    struct dp *dp;
    int error = samples && count && which <= DP_PERF_MILLISECONDS ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, pmd_perf_history(dp->pmds, core, which, (struct dp_perf_sample *)(void *)samples, room, count));
}

int dp_perf_watch_get(uint64_t handle, struct dp_perf_watch *watch)
{
    struct dp *dp;
    int error = watch ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    *watch = *pmd_perf_watch(dp->pmds);
    return dp_leave(dp, 0);
}

int dp_perf_watch_set(uint64_t handle, const struct dp_perf_watch *watch)
{
    struct dp *dp;
    int error = watch ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, pmd_perf_watch_set(dp->pmds, watch));
}

int dp_perf_suspicious(uint64_t handle, uint32_t core, struct dp_perf_incident *incident, uint8_t *samples, uint32_t room)
{
    struct dp *dp;
    int error = incident && (samples || !room) ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, pmd_perf_take(dp->pmds, core, incident, (struct dp_perf_sample *)(void *)samples, room));
}
