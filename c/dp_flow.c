/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry points of dp.h about flows: handles and locks here, everything else in flow.h. */
#include <errno.h>
#include <stdlib.h>

#include "dp_int.h"
#include "base/error.h"
#include "flow/flow.h"
#include "base/handle.h"
#include "base/rcu.h"
#include "path/tx.h"
#include "pmd/pmd_set.h"

struct dump {
    struct handle_object object;
    struct dp *dp;
    struct flow_dump *dump;
};

int dp_operate(uint64_t handle, const uint8_t *ops, uint32_t ops_size, uint32_t count, uint8_t *results, uint32_t results_size,
               uint32_t *results_used)
{
    struct flow_pause pause;
    struct worker *control;
    struct dp *dp;
    int error = results_used && (!count || (ops && results)) ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    control = pmd_set_control(dp->pmds);
    dp_pause(dp, &pause);
    error = flow_operate(dp->flows, control, NULL, &pause, ops, ops_size, count, results, results_size, results_used);
    tx_flush(control);
    dp_service_track(dp);
    return dp_leave(dp, error);
}

int dp_flow_flush(uint64_t handle)
{
    uint32_t at = 0;
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    while (!error && flow_flush(dp->flows, &at, DP_GIVE_WAY)) {
        rcu_reclaim(dp->rcu);
        error = dp_give_way(dp);
    }
    return dp_leave(dp, error);
}

static void dump_release(struct handle_object *object)
{
    struct dump *dump = (struct dump *)object;

    if (dump->dump) {
        pthread_mutex_lock(&dump->dp->control); /* Of a destroyed datapath too. */
        flow_dump_close(dump->dump);
        pthread_mutex_unlock(&dump->dp->control);
    }
    dp_unref(dump->dp);
    free(dump);
}

int dp_dump_open(uint64_t handle, uint32_t flags, uint64_t *dump_handle)
{
    struct dump *dump;
    struct dp *dp;
    int error = dump_handle ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    dump = calloc(1, sizeof *dump);
    if (!dump)
        return dp_leave(dp, ENOMEM);
    atomic_init(&dump->object.references, 1);
    dump->object.release = dump_release;
    dump->dp = dp;
    dp_ref(dp);
    error = flow_dump_open(dp->flows, flags, &dump->dump);
    if (!error)
        error = handle_open(HANDLE_DUMP, &dump->object, dump_handle);
    dp_unlock(dp);
    if (error)
        handle_put(&dump->object);
    dp_unref(dp);
    return error;
}

int dp_dump_next(uint64_t handle, uint32_t max, uint8_t *records, uint32_t size, uint32_t *count, uint32_t *used)
{
    struct dump *dump;
    int error;

    error_clear();
    if (!records || !count || !used)
        return EINVAL;
    dump = (struct dump *)handle_get(handle, HANDLE_DUMP);
    if (!dump)
        return error_set(EBADF, "no such dump");
    error = dp_lock(dump->dp);
    if (!error) {
        error = flow_dump_next(dump->dp->flows, dump->dump, max, records, size, count, used);
        dp_unlock(dump->dp);
    }
    handle_put(&dump->object);
    return error;
}

int dp_dump_close(uint64_t handle)
{
    struct handle_object *dump;

    error_clear();
    dump = handle_close(handle, HANDLE_DUMP);
    if (!dump)
        return error_set(EBADF, "no such dump");
    handle_put(dump);
    return 0;
}
