/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/rxq.h"

#include <stdlib.h>

#define THREADS_MAX 128

/* Packets since the queues were last dealt out. */
static uint64_t load_of(const struct rxq *rxq)
{
    return atomic_load_explicit(&rxq->packets, memory_order_relaxed) - rxq->seen + 1;
}

static int busier_first(const void *a, const void *b)
{
    uint64_t x = load_of(*(struct rxq *const *)a), y = load_of(*(struct rxq *const *)b);

    return x < y ? 1 : x > y ? -1 : 0;
}

static uint32_t least_loaded(const uint64_t *loads, uint32_t threads)
{
    uint32_t best = 0;

    for (uint32_t t = 1; t < threads; t++)
        if (loads[t] < loads[best])
            best = t;
    return best;
}

void rxq_deal(struct rxq **rxqs, uint32_t n, uint32_t threads)
{
    uint64_t loads[THREADS_MAX] = { 0 };
    struct rxq **sorted = malloc((n + 1) * sizeof(*sorted));

    for (uint32_t i = 0; i < n; i++)
        /* Good enough if there is no memory to sort in. */
        rxqs[i]->next_owner = threads ? i % threads : RXQ_NOBODY;
    if (!sorted)
        return;
    for (uint32_t i = 0; i < n; i++)
        sorted[i] = rxqs[i];
    qsort(sorted, n, sizeof(*sorted), busier_first);
    for (uint32_t i = 0; threads && i < n; i++) {
        uint32_t thread = least_loaded(loads, threads);

        loads[thread] += load_of(sorted[i]);
        sorted[i]->next_owner = thread;
    }
    for (uint32_t i = 0; i < n; i++)
        rxqs[i]->seen = atomic_load_explicit(&rxqs[i]->packets, memory_order_relaxed);
    free(sorted);
}

void rxq_place(struct rxq **rxqs, uint32_t n, uint32_t threads)
{
    uint64_t queues[THREADS_MAX] = { 0 };

    for (uint32_t i = 0; i < n; i++)
        if (rxqs[i]->owner != RXQ_NOBODY)
            queues[rxqs[i]->owner]++;
    for (uint32_t i = 0; i < n; i++) {
        rxqs[i]->next_owner = rxqs[i]->owner;
        if (rxqs[i]->owner == RXQ_NOBODY && threads) {
            rxqs[i]->next_owner = least_loaded(queues, threads);
            queues[rxqs[i]->next_owner]++;
        }
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
