/* SPDX-License-Identifier: Apache-2.0
 *
 * Misses decided by a native callback on the poll thread.  It pays for its own actions: they are compiled, run and freed there.  The flow waits for a
 * thread that may take the control mutex. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "act/act.h"
#include "dp_int.h"
#include "flow/flow.h"
#include "odp/odp.h"
#include "pmd/pmd_set.h"
#include "upcall/upcall_int.h"

#define DIRECT_ACTIONS 16384     /* Bytes that a callback may fill. */
#define DIRECT_PUTS 4096

/* A flow on its way into the table. */
struct put {
    struct dp_op op;
    uint8_t bytes[];             /* Key, mask, actions; not padded. */
};

struct upcall_service {
    struct dp *dp;
    pthread_t thread;
    bell_t bell;
    _Atomic bool asleep, stop;
    struct rte_ring *puts;
};

/* --- Poll threads ----------------------------------------------------------------------------------------- */

static void defer_put(struct upcall_service *service, const struct dp_direct_upcall *up)
{
    struct put *put = malloc(sizeof *put + up->key_size + up->mask_size + up->actions_size);

    if (!put)
        return; /* The next miss tries again. */
    put->op = (struct dp_op){
        .type = DP_OP_PUT, .flags = DP_OPF_CREATE | DP_OPF_MASK, .key_size = up->key_size, .mask_size = up->mask_size,
        .actions_size = up->actions_size,
    };
    memcpy(put->bytes, up->key, up->key_size);
    memcpy(put->bytes + up->key_size, up->mask, up->mask_size);
    memcpy(put->bytes + up->key_size + up->mask_size, up->actions, up->actions_size);
    if (rte_ring_mp_enqueue(service->puts, put)) {
        free(put);
        return;
    }
    atomic_thread_fence(memory_order_seq_cst); /* Pairs with serve(). */
    if (atomic_exchange_explicit(&service->asleep, false, memory_order_acq_rel))
        bell_ring(&service->bell);
}

static bool decide(struct pmd *pmd, const struct upcall_set *set, struct rte_mbuf *m)
{
    static _Thread_local uint8_t gathered[65536], actions[DIRECT_ACTIONS];
    uint8_t key_bytes[ODP_KEY_MAX], mask[ODP_KEY_MAX];
    struct dp_direct_upcall up = {
        .key = key_bytes, .mask = mask, .actions = actions, .mask_size = sizeof mask, .actions_size = sizeof actions,
    };
    uint32_t size = rte_pktmbuf_pkt_len(m);
    struct act_prog *prog;
    const char *why;
    struct key key;
    int verdict;

    upcall_key(m, &key);
    up.key_size = odp_key_write(&key, key_bytes, sizeof key_bytes);
    up.packet = rte_pktmbuf_read(m, 0, size < sizeof gathered ? size : sizeof gathered, gathered);
    up.packet_size = size < sizeof gathered ? size : sizeof gathered;
    verdict = set->direct(&up, set->aux);
    if ((verdict && verdict != ENOSPC) || up.mask_size > sizeof mask || up.actions_size > sizeof actions ||
        act_compile(actions, up.actions_size, &key, &prog, &why)) {
        stat_add(&pmd->stat->lost, 1);
        pmd_drop(pmd, m, DROP_upcall_error);
        return false;
    }
    act_run(pmd, prog, &m, 1, NULL);
    act_free(prog);
    if (!verdict)
        defer_put(set->service, &up);
    return true;
}

void upcall_direct(struct pmd *pmd, const struct upcall_set *set, struct rte_mbuf **packets, unsigned int n)
{
    uint64_t decided = 0;

    for (unsigned int i = 0; i < n; i++)
        decided += decide(pmd, set, packets[i]);
    stat_add(&pmd->stat->missed, decided);
}

/* --- Service thread --------------------------------------------------------------------------------------- */

static void put_all(struct upcall_service *service)
{
    struct put *put;

    while (!rte_ring_sc_dequeue(service->puts, (void **)&put)) {
        const uint8_t *key = put->bytes, *mask = key + put->op.key_size, *actions = mask + put->op.mask_size;
        const char *why;

        if (!dp_lock(service->dp)) {
            flow_put(service->dp->flows, &put->op, key, mask, actions, &why); /* EEXIST: another packet of it was first. */
            dp_unlock(service->dp);
        }
        free(put);
    }
}

static void *serve(void *arg)
{
    struct upcall_service *service = arg;

    pthread_setname_np(pthread_self(), "upcall-puts");
    while (!atomic_load_explicit(&service->stop, memory_order_acquire)) {
        uint32_t bell = atomic_load_explicit(&service->bell, memory_order_acquire);

        put_all(service);
        atomic_store_explicit(&service->asleep, true, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst); /* Pairs with defer_put(). */
        if (rte_ring_empty(service->puts))
            bell_wait(&service->bell, bell, -1);
    }
    put_all(service);
    return NULL;
}

struct upcall_service *upcall_service_start(struct dp *dp)
{
    struct upcall_service *service = calloc(1, sizeof *service);

    if (!service)
        return NULL;
    service->dp = dp;
    service->puts = aligned_alloc(64, RTE_ALIGN((size_t)rte_ring_get_memsize(DIRECT_PUTS), 64));
    if (service->puts && !rte_ring_init(service->puts, "puts", DIRECT_PUTS, RING_F_SC_DEQ) &&
        !pthread_create(&service->thread, NULL, serve, service))
        return service;
    free(service->puts);
    free(service);
    return NULL;
}

void upcall_service_stop(struct upcall_service *service)
{
    if (!service)
        return;
    atomic_store_explicit(&service->stop, true, memory_order_release);
    bell_ring(&service->bell);
    pthread_join(service->thread, NULL);
    free(service->puts);
    free(service);
}
