/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry points of dp.h about ports together: changes of their set, bonds, and packets that
 * they or the datapath drop. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/handle.h"
#include "base/rcu.h"
#include "bond/bond.h"
#include "dp_int.h"
#include "pmd/pmd_set.h"
#include "port/port.h"
#include "record/record.h"

/* What a program has to be told of changes: it waits for the descriptor, where it waits for
 * everything else. */
struct watch {
    struct handle_object object;
    struct dp *dp;
    struct port_watch watch;
};

static void watch_release(struct handle_object *object)
{
    struct watch *watch = (struct watch *)object;

    port_unwatch(watch->dp->ports, &watch->watch);
    dp_unref(watch->dp);
    free(watch);
}

int dp_port_watch(uint64_t handle, struct dp_watch_info *info)
{
    struct watch *watch;
    struct dp *dp;
    int error = info ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    watch = calloc(1, sizeof *watch);
    if (!watch)
        return dp_leave(dp, ENOMEM);
    atomic_init(&watch->object.references, 1);
    watch->object.release = watch_release;
    watch->dp = dp;
    error = port_watch(dp->ports, &watch->watch);
    if (error) {
        free(watch);
        return dp_leave(dp, error);
    }
    dp_ref(dp);
    error = handle_open(HANDLE_WATCH, &watch->object, &info->watch);
    info->descriptor = watch->watch.descriptor;
    info->pad = 0;
    dp_unlock(dp);
    if (error)
        handle_put(&watch->object);
    dp_unref(dp);
    return error;
}

int dp_port_watch_read(uint64_t handle, uint64_t *sequence)
{
    struct watch *watch;
    uint64_t rings;
    int error;

    error_clear();
    if (!sequence)
        return EINVAL;
    watch = (struct watch *)handle_get(handle, HANDLE_WATCH);
    if (!watch)
        return error_set(EBADF, "no such watch");
    /* Before the question: a change behind it rings again. */
    if (read(watch->watch.descriptor, &rings, sizeof rings) < 0)
        rings = 0;
    error = dp_lock(watch->dp);
    if (!error) {
        *sequence = port_table_sequence(watch->dp->ports);
        dp_unlock(watch->dp);
    }
    handle_put(&watch->object);
    return error;
}

int dp_port_watch_close(uint64_t handle)
{
    struct handle_object *watch;

    error_clear();
    watch = handle_close(handle, HANDLE_WATCH);
    if (!watch)
        return error_set(EBADF, "no such watch");
    handle_put(watch);
    return 0;
}

/* --- Bonds ------------------------------------------------------------------------------------ */

_Static_assert((int)DP_BOND_BUCKETS == (int)BOND_BUCKETS, "one number, two names");

static int no_bond(uint32_t id)
{
    return error_set(ENOENT, "there is no bond %u", id);
}

int dp_bond_add(uint64_t handle, uint32_t id, const struct dp_bond *bond)
{
    uint32_t ports[DP_BOND_BUCKETS];
    struct dp *dp;
    int error = bond ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    memcpy(ports, bond->ports, sizeof ports);
    return dp_leave(dp, bond_add(dp->bonds, id, ports));
}

int dp_bond_delete(uint64_t handle, uint32_t id)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error;
    error = bond_delete(dp->bonds, id);
    return dp_leave(dp, error == ENOENT ? no_bond(id) : error);
}

int dp_bond_get(uint64_t handle, uint32_t id, struct dp_bond *bond)
{
    struct dp *dp;
    int error = bond ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    return dp_leave(dp, bond_get(dp->bonds, id, bond->ports, bond->bytes) ? no_bond(id) : 0);
}

int dp_bond_next(uint64_t handle, uint32_t id, uint32_t *next)
{
    struct dp *dp;
    int error = next ? dp_enter(handle, &dp) : EINVAL;

    return error ? error : dp_leave(dp, bond_next(dp->bonds, id, next));
}

/* --- Dropped packets -------------------------------------------------------------------------- */

static void free_records(void *records, void *arg)
{
    (void)arg;
    records_destroy(records);
}

/* Under the control mutex. */
static void stop_showing(struct dp *dp)
{
    pmd_set_show_drops(dp->pmds, NULL);
    rcu_defer(dp->rcu, free_records, dp->drops, NULL);
    dp->drops = NULL;
    dp->drops_for = NULL;
}

void dp_drops_forget(struct dp_opened *opened)
{
    struct dp *dp = opened->dp;

    pthread_mutex_lock(&dp->control);
    if (dp->drops && dp->drops_for == opened)
        stop_showing(dp);
    pthread_mutex_unlock(&dp->control);
}

/* A handle and its datapath, with the control mutex held. */
static int enter(uint64_t handle, struct dp_opened **opened)
{
    int error;

    error_clear();
    *opened = (struct dp_opened *)handle_get(handle, HANDLE_DP);
    if (!*opened)
        return error_set(EBADF, "the datapath is closed");
    error = dp_lock((*opened)->dp);
    if (error)
        handle_put(&(*opened)->object);
    return error;
}

static int leave(struct dp_opened *opened, int error)
{
    dp_unlock(opened->dp);
    handle_put(&opened->object);
    return error;
}

int dp_drops_watch(uint64_t handle)
{
    struct dp_opened *opened;
    int error = enter(handle, &opened);
    struct dp *dp;

    if (error)
        return error;
    dp = opened->dp;
    if (dp->drops)
        return leave(opened, error_set(EBUSY, "%s is looking at them", dp->drops_for == opened ? "this object" : "somebody else"));
    dp->drops = records_create(DP_DROPPED_MAX, sizeof(struct dp_dropped));
    if (!dp->drops)
        return leave(opened, ENOMEM);
    dp->drops_for = opened;
    pmd_set_show_drops(dp->pmds, dp->drops);
    return leave(opened, 0);
}

int dp_drops_read(uint64_t handle, struct dp_dropped *dropped, uint64_t *lost)
{
    const struct dp_dropped *oldest;
    struct dp_opened *opened;
    int error = dropped && lost ? enter(handle, &opened) : EINVAL;
    struct dp *dp;

    if (error)
        return error;
    dp = opened->dp;
    if (!dp->drops || dp->drops_for != opened)
        return leave(opened, error_set(EINVAL, "dropped packets are not looked at"));
    *lost = records_lost(dp->drops);
    oldest = record_oldest(dp->drops);
    if (!oldest)
        return leave(opened, ENOENT);
    memcpy(dropped, oldest, offsetof(struct dp_dropped, bytes) + oldest->kept);
    record_release(dp->drops);
    return leave(opened, 0);
}

int dp_drops_unwatch(uint64_t handle)
{
    struct dp_opened *opened;
    int error = enter(handle, &opened);

    if (error)
        return error;
    if (opened->dp->drops && opened->dp->drops_for == opened)
        stop_showing(opened->dp);
    return leave(opened, 0);
}
