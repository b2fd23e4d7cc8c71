/* SPDX-License-Identifier: Apache-2.0
 * ct.c - life and settings of the connections of a datapath (ct.h). */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "ct/ct_alg_int.h"
#include "ct/ct_event_int.h"

#define CAPACITY_LEAST (1u << 14)
/* Bytes of buckets a record may need, older arrays included: two entries, shards three eighths
 * full. */
#define ARENA_RECORD 100u

static void release_all(struct ct *ct)
{
    mem_unmap(ct->conns, ct->capacity * (uint64_t)sizeof *ct->conns);
    mem_unmap(ct->arena, ct->arena_size);
    mem_unmap(ct->pool, ct->capacity * (uint64_t)sizeof *ct->pool);
    mem_unmap(ct->limits, (CT_ZONE_DEFAULT + 1) * sizeof *ct->limits);
    mem_unmap(ct->helpers, sizeof *ct->helpers);
    ct->conns = NULL;
    ct->arena = NULL;
    ct->pool = NULL;
    ct->limits = NULL;
    ct->helpers = NULL;
}

/* As many records as the system lets us have room for. */
static int reserve_all(struct ct *ct)
{
    for (ct->capacity = CT_CAPACITY; ct->capacity >= CAPACITY_LEAST; ct->capacity /= 2) {
        ct->arena_size = ct->capacity * (uint64_t)ARENA_RECORD + ((uint64_t)CT_SHARDS * 4 * sizeof(struct ct_bucket));
        ct->conns = mem_map(ct->capacity * (uint64_t)sizeof *ct->conns);
        ct->arena = mem_map(ct->arena_size);
        ct->pool = mem_map(ct->capacity * (uint64_t)sizeof *ct->pool);
        ct->limits = mem_map((CT_ZONE_DEFAULT + 1) * sizeof *ct->limits);
        ct->helpers = mem_map(sizeof *ct->helpers);
        if (ct->conns && ct->arena && ct->pool && ct->limits && ct->helpers)
            return 0;
        release_all(ct);
    }
    return ENOMEM;
}

int ct_create(struct rte_rcu_qsbr *qsbr, struct ct **created)
{
    struct ct *ct = aligned_alloc(64, (sizeof *ct + 63) & ~(size_t)63);
    int error;

    if (!ct)
        return ENOMEM;
    memset(ct, 0, sizeof *ct);
    error = hash_seed(&ct->hash);
    if (!error)
        error = reserve_all(ct);
    if (error) {
        free(ct);
        return error;
    }
    ct->qsbr = qsbr;
    pthread_mutex_init(&ct->control, NULL);
    atomic_init(&ct->max, CT_MAX_DEFAULT);
    atomic_init(&ct->sweep_ms, CT_SWEEP_MS_DEFAULT);
    ct->sweep_at = CT_NONE;
    for (uint32_t i = 0; i <= CT_THREADS; i++)
        ct->threads[i].random = (ct->hash.words[i % 12] ^ (UINT64_C(0x9e3779b97f4a7c15) * (i + 1))) | 1;
    *created = ct;
    return 0;
}

static void free_policies(struct ct_policies *list)
{
    while (list) {
        struct ct_policies *older = list->older;

        free(list);
        list = older;
    }
}

void ct_destroy(struct ct *ct)
{
    if (!ct)
        return;
    free_policies(ct->old_policies);
    free_policies(ct->waiting_policies);
    free(atomic_load_explicit(&ct->policies, memory_order_relaxed));
    pthread_mutex_destroy(&ct->control);
    ct_events_destroy(ct);
    release_all(ct);
    free(ct);
}

uint32_t ct_count(const struct ct *ct)
{
    return atomic_load_explicit(&ct->count, memory_order_relaxed);
}

uint64_t ct_counter(const struct ct *ct, enum ct_counter counter)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i <= CT_THREADS; i++)
        sum += atomic_load_explicit(&ct->threads[i].counters[counter], memory_order_relaxed);
    return sum;
}

uint32_t ct_max(const struct ct *ct)
{
    return atomic_load_explicit(&ct->max, memory_order_relaxed);
}

void ct_set_max(struct ct *ct, uint32_t max)
{
    atomic_store_explicit(&ct->max, max, memory_order_relaxed);
}

bool ct_tcp_seq_check(const struct ct *ct)
{
    return !atomic_load_explicit(&ct->no_seq_check, memory_order_relaxed);
}

void ct_set_tcp_seq_check(struct ct *ct, bool on)
{
    atomic_store_explicit(&ct->no_seq_check, !on, memory_order_relaxed);
}

uint32_t ct_sweep_ms(const struct ct *ct)
{
    return atomic_load_explicit(&ct->sweep_ms, memory_order_relaxed);
}

void ct_set_sweep_ms(struct ct *ct, uint32_t ms)
{
    atomic_store_explicit(&ct->sweep_ms, ms, memory_order_relaxed);
}
