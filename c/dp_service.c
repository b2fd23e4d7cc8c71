/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

#include "dp_int.h"
#include "ct/ct.h"
#include "flow/flow.h"
#include "ipf/ipf.h"
#include "packet/worker.h"
#include "path/burst_direct.h"
#include "pmd/pmd_figures.h"
#include "tnl/tnl.h"

struct dp_service {
    struct dp *dp;
    pthread_t thread;
    _Atomic bool stop;
    struct burst_puts *puts;
};

static void put_all(struct dp_service *service)
{
    struct burst_put *put;

    while ((put = burst_puts_take(service->puts)) != NULL) {
        const uint8_t *key = put->bytes, *mask = key + put->op.key_size, *actions = mask + put->op.mask_size;
        struct flow_pause pause;
        const char *why;

        dp_pause(service->dp, &pause);
        if (!dp_lock(service->dp)) {
            /* EEXIST: another packet of it was first. */
            if (!flow_fetch(service->dp->flows, &pause))
                flow_put(service->dp->flows, &put->op, key, mask, actions, &why);
            dp_unlock(service->dp);
        }
        free(put);
    }
}

#define AGAIN_MS 100u            /* While somebody else changes threads. */

/* Deals the queues out anew, if that is due.  Never waits for `life`: who holds it may be waiting
 * for this thread.  Answers in how many milliseconds again. */
static uint32_t balance(struct dp *dp, uint64_t now)
{
    uint32_t due;

    if (dp_lock(dp))
        return UINT32_MAX;
    due = pmd_balance_due(dp->pmds, now);
    dp_unlock(dp);
    if (due)
        return due;
    if (pthread_mutex_trylock(&dp->life))
        return AGAIN_MS;
    due = UINT32_MAX;
    if (!dp_lock(dp)) {
        pmd_balance(dp->pmds, now); /* Without memory the queues stay where they are. */
        due = pmd_balance_due(dp->pmds, now);
        dp_unlock(dp);
    }
    pthread_mutex_unlock(&dp->life);
    return due;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Looks after connections, fragments and the balance of threads.  Answers in how many milliseconds
 * again. */
static int keep(struct dp *dp)
{
    const uint64_t now = worker_clock();
    const uint32_t next = least(least(ct_service(dp->ct, now), ipf_service(dp->ipf, now)), balance(dp, now));

    return next > INT_MAX ? INT_MAX : (int)next;
}

static void *serve(void *arg)
{
    struct dp_service *service = arg;

    pthread_setname_np(pthread_self(), "upcall-service");
    while (!atomic_load_explicit(&service->stop, memory_order_acquire)) {
        uint32_t bell = burst_puts_bell(service->puts);

        put_all(service);
        burst_puts_wait(service->puts, bell, keep(service->dp));
    }
    put_all(service);
    return NULL;
}

struct dp_service *dp_service_start(struct dp *dp)
{
    struct dp_service *service = calloc(1, sizeof *service);

    if (!service)
        return NULL;
    service->dp = dp;
    service->puts = burst_puts_create();
    if (service->puts && !pthread_create(&service->thread, NULL, serve, service))
        return service;
    burst_puts_destroy(service->puts);
    free(service);
    return NULL;
}

void dp_service_track(struct dp *dp)
{
    if (!dp->destroyed && !dp->service && (flow_table_tracks(dp->flows) || tnl_has_ports(dp->tnl)))
        dp->service = dp_service_start(dp);
}

void dp_service_stop(struct dp_service *service)
{
    if (!service)
        return;
    atomic_store_explicit(&service->stop, true, memory_order_release);
    burst_puts_ring(service->puts);
    pthread_join(service->thread, NULL);
    burst_puts_destroy(service->puts);
    free(service);
}

void dp_service_look(struct dp_service *service)
{
    if (service)
        burst_puts_ring(service->puts);
}

struct burst_puts *dp_service_puts(struct dp_service *service)
{
    return service->puts;
}
