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

/* --- Dropped and sampled packets -------------------------------------------------------------- */

static void free_records(void *records, void *arg)
{
    (void)arg;
    records_destroy(records);
}

/* Under the control mutex, after a change. */
static void show(struct dp *dp)
{
    pmd_set_show(dp->pmds, dp->drops.records, dp->samples.records);
}

/* Ends a look, if it is this handle's; under the control mutex. */
static void forget(struct dp *dp, struct dp_look *look, const struct dp_opened *opened)
{
    struct records *records = look->records;

    if (!records || look->by != opened)
        return;
    *look = (struct dp_look){ NULL, NULL };
    show(dp);
    rcu_defer(dp->rcu, free_records, records, NULL);
}

void dp_looks_forget(struct dp_opened *opened)
{
    struct dp *dp = opened->dp;

    pthread_mutex_lock(&dp->control);
    forget(dp, &dp->drops, opened);
    forget(dp, &dp->samples, opened);
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

static struct dp_look *look_of(struct dp *dp, bool samples)
{
    return samples ? &dp->samples : &dp->drops;
}

static int watch(uint64_t handle, bool samples, uint32_t count, uint32_t size)
{
    struct dp_opened *opened;
    int error = enter(handle, &opened);
    struct dp_look *look;

    if (error)
        return error;
    look = look_of(opened->dp, samples);
    if (look->records)
        return leave(opened, error_set(EBUSY, "%s is looking at them", look->by == opened ? "this object" : "somebody else"));
    look->records = records_create(count, size);
    if (!look->records)
        return leave(opened, ENOMEM);
    look->by = opened;
    show(opened->dp);
    return leave(opened, 0);
}

static int unwatch(uint64_t handle, bool samples)
{
    struct dp_opened *opened;
    int error = enter(handle, &opened);

    if (error)
        return error;
    forget(opened->dp, look_of(opened->dp, samples), opened);
    return leave(opened, 0);
}

/* Begins to read the oldest record of a handle's, which stays locked.  ENOENT: there is none. */
static int begin_read(uint64_t handle, bool samples, struct dp_opened **opened, const void **oldest, uint64_t *lost)
{
    int error = enter(handle, opened);
    struct records *records;

    if (error)
        return error;
    records = look_of((*opened)->dp, samples)->records;
    if (!records || look_of((*opened)->dp, samples)->by != *opened)
        return leave(*opened, error_set(EINVAL, "%s packets are not looked at", samples ? "sampled" : "dropped"));
    *lost = records_lost(records);
    *oldest = record_oldest(records);
    return *oldest ? 0 : leave(*opened, ENOENT);
}

static int end_read(struct dp_opened *opened, bool samples)
{
    record_release(look_of(opened->dp, samples)->records);
    return leave(opened, 0);
}

int dp_drops_watch(uint64_t handle)
{
    return watch(handle, false, DP_DROPPED_MAX, sizeof(struct dp_dropped));
}

int dp_drops_read(uint64_t handle, struct dp_dropped *dropped, uint64_t *lost)
{
    struct dp_opened *opened;
    const void *oldest;
    int error = dropped && lost ? begin_read(handle, false, &opened, &oldest, lost) : EINVAL;

    if (error)
        return error;
    memcpy(dropped, oldest, offsetof(struct dp_dropped, bytes) + ((const struct dp_dropped *)oldest)->kept);
    return end_read(opened, false);
}

int dp_drops_unwatch(uint64_t handle)
{
    return unwatch(handle, false);
}

int dp_samples_watch(uint64_t handle)
{
    return watch(handle, true, DP_SAMPLES_MAX, sizeof(struct dp_sample));
}

int dp_samples_read(uint64_t handle, struct dp_sample *sample, uint64_t *lost)
{
    struct dp_opened *opened;
    const void *oldest;
    int error = sample && lost ? begin_read(handle, true, &opened, &oldest, lost) : EINVAL;

    if (error)
        return error;
    memcpy(sample, oldest, offsetof(struct dp_sample, bytes) + ((const struct dp_sample *)oldest)->kept);
    return end_read(opened, true);
}

int dp_samples_unwatch(uint64_t handle)
{
    return unwatch(handle, true);
}
