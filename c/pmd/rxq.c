/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/rxq.h"

#include <stdlib.h>

#define THREADS_MAX 128

uint64_t rxq_load(const struct rxq *rxq)
{
    const uint64_t count = atomic_load_explicit(&rxq->load.count, memory_order_acquire);
    uint64_t sampled;

    if (count <= LOAD_SAMPLES)
        /* The first minute of it. */
        return atomic_load_explicit(&rxq->cycles, memory_order_relaxed);
    load_sum(&rxq->load, LOAD_SAMPLES, &sampled);
    return sampled;
}

/* The thread with the fewest queues that is not isolated. */
static uint32_t least_loaded(const uint32_t *queues, const bool *isolated, uint32_t threads)
{
    uint32_t best = RXQ_NOBODY;

    for (uint32_t t = 0; t < threads; t++)
        if (!isolated[t] && (best == RXQ_NOBODY || queues[t] < queues[best]))
            best = t;
    return best;
}

void rxq_place(struct rxq **rxqs, uint32_t n, const bool *isolated, uint32_t threads)
{
    uint32_t queues[THREADS_MAX] = { 0 };

    for (uint32_t i = 0; i < n; i++)
        if (rxqs[i]->owner != RXQ_NOBODY)
            queues[rxqs[i]->owner]++;
    for (uint32_t i = 0; i < n; i++) {
        rxqs[i]->next_owner = rxqs[i]->owner;
        if (rxqs[i]->owner != RXQ_NOBODY)
            continue;
        rxqs[i]->next_owner = least_loaded(queues, isolated, threads);
        if (rxqs[i]->next_owner != RXQ_NOBODY)
            queues[rxqs[i]->next_owner]++;
    }
}

bool rxq_level(const struct rxq_list *list)
{
    uint64_t least = UINT64_MAX, leads = 0;

    for (uint32_t i = 0; i < list->n; i++)
        if (list->rxqs[i]->full && list->rxqs[i]->ahead < least)
            least = list->rxqs[i]->ahead;
    for (uint32_t i = 0; i < list->n; i++) {
        struct rxq *rxq = list->rxqs[i];

        rxq->ahead = rxq->ahead > least ? rxq->ahead - least : 0;
        leads |= rxq->ahead;
    }
    return leads;
}

struct rxq_list *rxq_list_make(struct rxq **rxqs, uint32_t n, uint32_t owner, int now, int next)
{
    struct rxq_list *list = malloc(sizeof *list + n * sizeof list->rxqs[0]);

    if (!list)
        return NULL;
    list->n = 0;
    for (uint32_t i = 0; i < n; i++)
        if ((!now || rxqs[i]->owner == owner) && (!next || rxqs[i]->next_owner == owner))
            list->rxqs[list->n++] = rxqs[i];
    return list;
}
