/* SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE
#include "dp_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/handle.h"
#include "base/rcu.h"
#include "base/stat.h"
#include "bond/bond.h"
#include "cls/cls.h"
#include "ct/ct_event.h"
#include "flow/flow.h"
#include "ipf/ipf.h"
#include "meter/meter.h"
#include "packet/eal.h"
#include "pmd/pmd_ctl.h"
#include "pmd/pmd_set.h"
#include "port/port.h"
#include "record/record.h"
#include "tnl/tnl.h"
#include "upcall/upcall_handler.h"

/* The datapaths of this process.  Taken before a control mutex, if both are. */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct dp *list;

/* --- Life ------------------------------------------------------------------------------------- */

static void dp_free(struct dp *dp)
{
    if (dp->rcu)
        rcu_guard(dp->rcu, NULL); /* Nobody else has it any more. */
    upcalls_destroy(dp->upcalls);
    pmd_set_destroy(dp->pmds);
    ct_destroy(dp->ct);
    ipf_destroy(dp->ipf);
    meters_destroy(dp->meters);
    bonds_destroy(dp->bonds);
    tnl_destroy(dp->tnl);
    records_destroy(dp->drops.records);
    records_destroy(dp->samples.records);
    port_table_destroy(dp->ports);
    flow_table_destroy(dp->flows);
    rcu_destroy(dp->rcu);
    pthread_mutex_destroy(&dp->control);
    pthread_mutex_destroy(&dp->life);
    free(dp);
}

/* A datapath with one reference, in no list. */
static struct dp *dp_new(const char *name)
{
    struct dp *dp = calloc(1, sizeof *dp);

    if (!dp)
        return NULL;
    snprintf(dp->name, sizeof dp->name, "%s", name);
    atomic_init(&dp->references, 1);
    dp->free = dp_free;
    pthread_mutex_init(&dp->control, NULL);
    pthread_mutex_init(&dp->life, NULL);
    dp->rcu = rcu_create();
    dp->flows = dp->rcu ? flow_table_create(dp->rcu) : NULL;
    dp->ports = port_table_create();
    dp->upcalls = dp->flows ? upcalls_create(dp->rcu) : NULL;
    dp->meters = dp->rcu ? meters_create(dp->rcu) : NULL;
    dp->ipf = ipf_create();
    dp->bonds = dp->rcu ? bonds_create(dp->rcu) : NULL;
    dp->tnl = dp->rcu ? tnl_create(dp->rcu) : NULL;
    if (dp->ports && dp->upcalls && dp->meters && dp->ipf && dp->bonds && dp->tnl && !ct_create(rcu_qsbr(dp->rcu), &dp->ct))
        dp->pmds = pmd_set_create(&(struct pmd_parts){ dp->rcu, flow_table_cls(dp->flows), dp->ports, dp->upcalls, dp->ct,
                                                       dp->meters, dp->ipf, dp->bonds, dp->tnl });
    if (dp->pmds) {
        rcu_guard(dp->rcu, &dp->control);
        return dp;
    }
    dp->destroyed = true;
    if (dp->flows)
        dp_free(dp);
    else {
        ipf_destroy(dp->ipf);
        port_table_destroy(dp->ports);
        meters_destroy(dp->meters);
        bonds_destroy(dp->bonds);
        tnl_destroy(dp->tnl);
        rcu_destroy(dp->rcu);
        free(dp);
    }
    return NULL;
}

static void unlist(struct dp *dp)
{
    struct dp **at = &list;

    while (*at && *at != dp)
        at = &(*at)->next;
    if (*at)
        *at = dp->next;
}

/* Calls of destroy() under way: a process that exits meanwhile may not take it that all threads
 * have stopped. */
static _Atomic uint32_t ending;

/* Ends everything that moves.  The caller has a reference, and has taken the datapath from the
 * list.  Calls that come meanwhile are refused at once.  With `exiting` no thread is waited for
 * that does not come round, and false says so: the process takes it along. */
static bool end(struct dp *dp, bool exiting)
{
    bool stopped;
    struct dp_service *service = NULL;
    struct port *port;
    uint32_t at = 0;

    if (dp_lock(dp))
        return true;
    dp->destroyed = true;
    dp_unlock(dp);
    if (exiting ? pthread_mutex_trylock(&dp->life) : pthread_mutex_lock(&dp->life))
        return false;
    pthread_mutex_lock(&dp->control);
    stopped = pmd_set_stop(dp->pmds, exiting);
    if (stopped) {
        upcalls_shutdown(dp->upcalls);
        ipf_purge(dp->ipf);
        while ((port = port_first(dp->ports, 0)) != NULL)
            dp_port_remove(dp, port->no);
        while (flow_flush(dp->flows, &at, DP_GIVE_WAY)) {
            rcu_reclaim(dp->rcu);
            (void)dp_give_way(dp); /* Who waits is to hear that it was destroyed. */
        }
        error_clear();
        rcu_synchronize(dp->rcu);
        port_table_changed(dp->ports);
        tnl_wake(dp->tnl);
        ct_wake_listeners(dp->ct);
        service = dp->service;
        dp->service = NULL;
    }
    pthread_mutex_unlock(&dp->control);
    pthread_mutex_unlock(&dp->life);
    dp_service_stop(service); /* It takes the control mutex. */
    return stopped;
}

static bool destroy(struct dp *dp, bool exiting)
{
    bool stopped;

    atomic_fetch_add_explicit(&ending, 1, memory_order_acq_rel);
    stopped = end(dp, exiting);
    atomic_fetch_sub_explicit(&ending, 1, memory_order_acq_rel);
    return stopped;
}

static void opened_release(struct handle_object *object)
{
    struct dp_opened *opened = (struct dp_opened *)object;

    dp_looks_forget(opened);
    dp_unref(opened->dp);
    free(opened);
}

static struct dp *named(const char *name)
{
    for (struct dp *dp = list; dp; dp = dp->next)
        if (!strcmp(dp->name, name))
            return dp;
    return NULL;
}

/* Finds or makes it; it then is in the list, and has a reference for the caller. */
static int find_or_make(const char *name, uint32_t flags, struct dp **found)
{
    struct dp *dp = named(name);

    *found = dp;
    if (dp && (flags & DP_CREATE) && (flags & DP_EXCLUSIVE))
        return error_set(EEXIST, "it exists");
    if (!dp && !(flags & DP_CREATE))
        return error_set(ENODEV, "this process has no such datapath");
    if (!dp) {
        dp = *found = dp_new(name);
        if (!dp)
            return error_set(ENOMEM, "not enough memory");
        dp->next = list;
        list = dp;
    } else {
        dp_ref(dp);
    }
    return 0;
}

static bool name_is_good(const char *name)
{
    size_t size = name ? strnlen(name, DP_NAME_SIZE) : 0;

    return size && size < DP_NAME_SIZE && !strpbrk(name, "\n\t ");
}

int dp_open(const char *name, uint32_t flags, uint64_t *handle)
{
    struct dp_opened *opened;
    struct dp *dp = NULL;
    int error;

    error_clear();
    if (!handle || !name_is_good(name))
        return error_set(EINVAL, "a name has 1 to %d bytes and no blanks", DP_NAME_SIZE - 1);
    if (!eal_started())
        return error_set(ENXIO, "EAL has not been started: call dp_eal_start() first");
    opened = calloc(1, sizeof *opened);
    if (!opened)
        return ENOMEM;
    pthread_mutex_lock(&list_lock);
    error = find_or_make(name, flags, &dp);
    if (!error) {
        atomic_init(&opened->object.references, 1);
        opened->object.release = opened_release;
        opened->dp = dp;
        dp->opens++;
        error = handle_open(HANDLE_DP, &opened->object, handle);
        if (error) {
            if (!--dp->opens)
                unlist(dp);
            dp_unref(dp);
        }
    }
    pthread_mutex_unlock(&list_lock);
    if (error)
        free(opened);
    return error;
}

int dp_close(uint64_t handle)
{
    struct dp_opened *opened;
    bool last;

    error_clear();
    opened = (struct dp_opened *)handle_close(handle, HANDLE_DP);
    if (!opened)
        return error_set(EBADF, "the datapath is closed");
    pthread_mutex_lock(&list_lock);
    last = !--opened->dp->opens;
    if (last)
        unlist(opened->dp);
    pthread_mutex_unlock(&list_lock);
    if (last)
        destroy(opened->dp, false);
    handle_put(&opened->object);
    return 0;
}

int dp_destroy(uint64_t handle)
{
    struct dp *dp;

    error_clear();
    dp = dp_of(handle);
    if (!dp)
        return error_publish(handle, DP_ABOUT_ALL, error_set(EBADF, "the datapath is closed"));
    pthread_mutex_lock(&list_lock);
    unlist(dp);
    pthread_mutex_unlock(&list_lock);
    destroy(dp, false);
    dp_unref(dp);
    return 0;
}

int dp_enumerate(char *text, uint32_t size)
{
    uint32_t used = 0;

    error_clear();
    if (!text || !size)
        return EINVAL;
    text[0] = '\0';
    pthread_mutex_lock(&list_lock);
    for (struct dp *dp = list; dp && used < size; dp = dp->next)
        used += (uint32_t)snprintf(text + used, size - used, "%s\n", dp->name);
    pthread_mutex_unlock(&list_lock);
    return used < size ? 0 : ENOBUFS;
}

/* Stops what must not outlive the process's tidy end.  At exit another thread may hold a lock for
 * good, so nothing is waited for there; false: some thread does not stop. */
static bool shut_down(bool exiting)
{
    bool stopped = true;
    struct dp *dp;

    for (int i = 0; exiting && i < 1000 && atomic_load_explicit(&ending, memory_order_acquire); i++)
        usleep(1000);
    if (exiting && atomic_load_explicit(&ending, memory_order_acquire))
        return false;
    if (exiting ? pthread_mutex_trylock(&list_lock) : pthread_mutex_lock(&list_lock))
        return false;
    while ((dp = list) != NULL) {
        bool busy = exiting && pthread_mutex_trylock(&dp->control);

        list = dp->next;
        dp_ref(dp);
        if (exiting && !busy)
            pthread_mutex_unlock(&dp->control);
        pthread_mutex_unlock(&list_lock);
        stopped &= !busy && destroy(dp, exiting);
        if (stopped || !exiting)
            dp_unref(dp); /* Else a thread may still use it. */
        pthread_mutex_lock(&list_lock);
    }
    pthread_mutex_unlock(&list_lock);
    return stopped;
}

int dp_shutdown(void)
{
    error_clear();
    shut_down(false);
    return 0;
}

/* A thread that is stuck in a device may hold a stream that exit() would flush, and wait for; so
 * the process ends at once then. */
static void at_exit(int status, void *unused)
{
    (void)unused;
    if (!shut_down(true))
        _exit(status);
}

__attribute__((constructor)) static void set_exit(void)
{
    on_exit(at_exit, NULL);
}

/* --- Counters --------------------------------------------------------------------------------- */

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

int dp_stats_get(uint64_t handle, struct dp_stats *stats)
{
    struct stat_counters sum = { 0 };
    struct ipf_status fragments;
    struct dp *dp;
    int error = stats ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    pmd_set_sum(dp->pmds, &sum);
    *stats = (struct dp_stats){
        .received = get(&sum.received), .hit = get(&sum.hit), .missed = get(&sum.missed), .lost = get(&sum.lost),
        .recirculated = get(&sum.recirculated), .mask_hit = get(&sum.mask_hit),
        .validator_mismatches = get(&sum.validator_mismatches), .drop_count = DROP_COUNT,
        .flows = cls_flow_count(flow_table_cls(dp->flows)), .masks = cls_mask_count(flow_table_cls(dp->flows)),
    };
    upcalls_count(dp->upcalls, &stats->upcalls_handled, &stats->upcalls_purged);
    for (uint32_t i = 0; i < DROP_COUNT; i++)
        stats->drops[i] = get(&sum.drops[i]);
    ipf_status(dp->ipf, &fragments);
    for (int v6 = 0; v6 < 2; v6++)
        stats->drops[DROP_fragment] += fragments.counters[v6].expired + fragments.counters[v6].purged;
    return dp_leave(dp, 0);
}
