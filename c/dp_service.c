/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "dp_service.h"

#include <pthread.h>
#include <stdlib.h>

#include "dp_int.h"
#include "ct/ct.h"
#include "flow/flow.h"
#include "ipf/ipf.h"
#include "packet/worker.h"
#include "path/burst_direct.h"

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
        const char *why;

        if (!dp_lock(service->dp)) {
            /* EEXIST: another packet of it was first. */
            flow_put(service->dp->flows, &put->op, key, mask, actions, &why);
            dp_unlock(service->dp);
        }
        free(put);
    }
}

/* Looks after connections and fragments.  Answers in how many milliseconds again. */
static int keep(struct dp *dp)
{
    const uint64_t now = worker_clock();
    const uint32_t ct = ct_service(dp->ct, now), ipf = ipf_service(dp->ipf, now);

    return (int)(ct < ipf ? ct : ipf);
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
    if (!dp->destroyed && !dp->service && flow_table_tracks(dp->flows))
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

struct burst_puts *dp_service_puts(struct dp_service *service)
{
    return service->puts;
}
