/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry points of dp.h about tunnels. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/handle.h"
#include "dp_int.h"
#include "packet/worker.h"
#include "pmd/pmd_set.h"
#include "tnl/tnl.h"

int dp_tnl_hop_set(uint64_t handle, const struct dp_tnl_hop *hop)
{
    struct dp *dp;
    int error = hop ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, tnl_hop_set(dp->tnl, hop));
}

int dp_tnl_hop_delete(uint64_t handle, const struct dp_tnl_hop_key *key)
{
    struct dp *dp;
    int error = key ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, tnl_hop_delete(dp->tnl, key));
}

int dp_tnl_hop_flush(uint64_t handle, uint32_t underlay)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    return error ? error : dp_leave(dp, tnl_hop_flush(dp->tnl, underlay));
}

int dp_tnl_hop_next(uint64_t handle, uint32_t *at, struct dp_tnl_hop *hop)
{
    struct dp *dp;
    int error = at && hop ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, tnl_hop_next(dp->tnl, at, hop));
}

int dp_tnl_locals_set(uint64_t handle, const struct dp_tnl_local *locals, uint32_t count)
{
    struct dp *dp;
    int error = locals || !count ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, tnl_locals_set(dp->tnl, locals, count));
}

int dp_tnl_source_ports(uint64_t handle, uint32_t low, uint32_t high)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    return error ? error : dp_leave(dp, tnl_source_ports(dp->tnl, low, high));
}

/* --- Events ----------------------------------------------------------------------------------- */

struct watch {
    struct handle_object object;
    struct dp *dp;
    int descriptor;
};

/* Not under the control mutex, which the caller may or may not hold: nobody else can have this
 * watch, and a datapath with a watch has no other. */
static void watch_release(struct handle_object *object)
{
    struct watch *watch = (struct watch *)object;

    tnl_unwatch(watch->dp->tnl, watch->descriptor);
    dp_unref(watch->dp);
    free(watch);
}

int dp_tnl_watch(uint64_t handle, struct dp_tnl_watch_info *info)
{
    struct watch *watch;
    struct dp *dp;
    int error = info ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    watch = calloc(1, sizeof *watch);
    error = watch ? tnl_watch(dp->tnl, &watch->descriptor) : ENOMEM;
    if (error) {
        free(watch);
        return dp_leave(dp, error);
    }
    atomic_init(&watch->object.references, 1);
    watch->object.release = watch_release;
    watch->dp = dp;
    dp_ref(dp);
    *info = (struct dp_tnl_watch_info){ .descriptor = watch->descriptor };
    error = handle_open(HANDLE_TUNNELS, &watch->object, &info->watch);
    dp_unlock(dp);
    if (error)
        handle_put(&watch->object);
    dp_unref(dp);
    return error;
}

int dp_tnl_events(uint64_t handle, uint32_t max, struct dp_tnl_event *events, uint32_t *count)
{
    struct watch *watch;
    int error;

    error_clear();
    if (!count || (max && !events))
        return EINVAL;
    watch = (struct watch *)handle_get(handle, HANDLE_TUNNELS);
    if (!watch)
        return error_set(EBADF, "no such watch");
    error = dp_lock(watch->dp);
    if (!error) {
        *count = tnl_events_take(watch->dp->tnl, pmd_set_control(watch->dp->pmds)->now, max, events);
        dp_unlock(watch->dp);
    }
    handle_put(&watch->object);
    return error;
}

int dp_tnl_watch_close(uint64_t handle)
{
    struct handle_object *watch;

    error_clear();
    watch = handle_close(handle, HANDLE_TUNNELS);
    if (!watch)
        return error_set(EBADF, "no such watch");
    handle_put(watch);
    return 0;
}
