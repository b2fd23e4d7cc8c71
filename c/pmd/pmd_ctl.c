/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sched.h>

#include "base/cores.h"
#include "dp_int.h"
#include "base/error.h"
#include "pmd/pmd_int.h"
#include "pmd/pmd_set.h"
#include "port/port.h"

#define MAX_SLEEP_LIMIT_US 10000

/* Waits until a thread has gone round once more from now on, so that what it was told holds and what it slept before is counted. */
static void settle(struct pmd_thread *thread)
{
    uint64_t seen = atomic_load_explicit(&thread->stat.iterations, memory_order_relaxed);

    pmd_wake(thread);
    while (atomic_load_explicit(&thread->stat.iterations, memory_order_relaxed) < seen + 2)
        sched_yield();
}

void pmd_set_max_sleep(struct pmd_set *set, uint32_t max_sleep_us)
{
    set->max_sleep_us = RTE_MIN(max_sleep_us, (uint32_t)MAX_SLEEP_LIMIT_US);
    for (uint32_t t = 0; t < set->n; t++)
        atomic_store_explicit(&set->threads[t]->max_sleep_us, set->max_sleep_us, memory_order_relaxed);
    for (uint32_t t = 0; t < set->n && !set->max_sleep_us; t++)
        settle(set->threads[t]);
}

static bool wanted(const uint64_t cores[2], uint32_t core)
{
    return core < 128 && cores[core / 64] >> core % 64 & 1;
}

static bool running(const struct pmd_set *set, uint32_t core)
{
    for (uint32_t t = 0; t < set->n; t++)
        if (set->threads[t]->pmd.core == core)
            return true;
    return false;
}

/* Stops the threads on cores that are not (`keep`) wanted; their queues must have gone elsewhere. */
static void stop_others(struct pmd_set *set, const uint64_t keep[2])
{
    for (uint32_t t = set->n; t-- > 0;)
        if (!wanted(keep, set->threads[t]->pmd.core))
            pmd_thread_stop(set, t);
}

/* Deals all queues out over the threads on wanted cores. */
static int deal(struct pmd_set *set, const uint64_t cores[2])
{
    uint32_t places[PMD_THREADS_MAX], n = 0;

    for (uint32_t t = 0; t < set->n; t++)
        if (wanted(cores, set->threads[t]->pmd.core))
            places[n++] = t;
    rxq_deal(set->rxqs, set->rxq_n, n);
    for (uint32_t i = 0; i < set->rxq_n; i++)
        if (set->rxqs[i]->next_owner != RXQ_NOBODY)
            set->rxqs[i]->next_owner = places[set->rxqs[i]->next_owner];
    return pmd_rxqs_apply(set);
}

static int set_cores(struct pmd_set *set, uint64_t cores[2])
{
    uint64_t before[2] = { 0, 0 };
    int error = 0;

    for (uint32_t t = 0; t < set->n; t++)
        before[set->threads[t]->pmd.core / 64 % 2] |= 1ull << set->threads[t]->pmd.core % 64;
    for (uint32_t core = 0; core < 128 && !error; core++)
        if (wanted(cores, core) && !running(set, core))
            error = pmd_thread_start(set, core);
    if (!error)
        error = deal(set, cores);
    if (error) /* As it was. */
        stop_others(set, before);
    else
        stop_others(set, cores);
    return error;
}

int dp_poll_threads_set(uint64_t handle, uint64_t cores_low, uint64_t cores_high, uint32_t max_sleep_us)
{
    uint64_t cores[2] = { cores_low, cores_high };
    struct pmd_set *set;
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error_publish(error);
    set = dp->pmds;
    set->chosen = cores_low || cores_high;
    if (!set->chosen) {
        uint32_t core = cores_last();

        cores[core / 64 % 2] |= 1ull << core % 64;
    }
    pmd_set_max_sleep(set, max_sleep_us);
    /* Chosen cores get their threads now, the default one with the first queue. */
    if (set->chosen || set->rxq_n)
        error = set_cores(set, cores);
    return dp_leave(dp, error_publish(error));
}

/* --- Going, and figures ----------------------------------------------------------------------------------- */

void pmd_set_stop(struct pmd_set *set)
{
    for (uint32_t t = 0; t < set->n; t++)
        atomic_store_explicit(&set->threads[t]->stop, 1, memory_order_release);
    while (set->n)
        pmd_thread_stop(set, set->n - 1);
    for (uint32_t i = 0; i < set->rxq_n; i++)
        set->rxqs[i]->owner = RXQ_NOBODY;
}

void pmd_set_sum(struct pmd_set *set, struct stat_counters *sum)
{
    stat_sum(sum, &set->gone);
    stat_sum(sum, &set->control_stat);
    for (uint32_t t = 0; t < set->n; t++)
        stat_sum(sum, &set->threads[t]->stat);
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

uint64_t pmd_set_received(struct pmd_set *set, const struct port *port)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < set->rxq_n; i++)
        if (set->rxqs[i]->port == port)
            sum += get(&set->rxqs[i]->packets);
    return sum;
}

static void describe(const struct pmd_set *set, uint32_t place, struct dp_poll_thread_info *info)
{
    const struct pmd_thread *thread = set->threads[place];
    const struct stat_counters *s = &thread->stat;

    *info = (struct dp_poll_thread_info){
        .core = thread->pmd.core, .packets = get(&s->received), .hit = get(&s->hit), .missed = get(&s->missed),
        .lost = get(&s->lost), .recirculated = get(&s->recirculated), .mask_hit = get(&s->mask_hit),
        .rx_batches = get(&s->rx_batches), .tx_packets = get(&s->tx_packets), .tx_batches = get(&s->tx_batches),
        .iterations = get(&s->iterations), .cycles_busy = get(&s->cycles_busy), .cycles_idle = get(&s->cycles_idle),
        .cycles_sleep = get(&s->cycles_sleep),
    };
    for (uint32_t i = 0; i < set->rxq_n; i++)
        info->rxq_count += set->rxqs[i]->owner == place;
}

int dp_poll_thread_next(uint64_t handle, uint32_t core, struct dp_poll_thread_info *info)
{
    struct dp *dp;
    int error = info ? dp_enter(handle, &dp) : EINVAL;
    uint32_t place = 0;

    if (error)
        return error;
    while (place < dp->pmds->n && dp->pmds->threads[place]->pmd.core < core)
        place++;
    if (place == dp->pmds->n)
        return dp_leave(dp, ENOENT);
    describe(dp->pmds, place, info);
    return dp_leave(dp, 0);
}

int dp_rxq_get(uint64_t handle, uint32_t index, struct dp_rxq_info *info)
{
    const struct rxq *rxq;
    struct dp *dp;
    int error = info ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    if (index >= dp->pmds->rxq_n)
        return dp_leave(dp, ENOENT);
    rxq = dp->pmds->rxqs[index];
    *info = (struct dp_rxq_info){
        .port = rxq->port->no, .queue = rxq->queue, .packets = get(&rxq->packets),
        .core = rxq->owner == RXQ_NOBODY ? UINT32_MAX : dp->pmds->threads[rxq->owner]->pmd.core,
    };
    return dp_leave(dp, 0);
}
