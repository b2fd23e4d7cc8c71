/* SPDX-License-Identifier: Apache-2.0 */
#include "packet/eal_hold.h"

#include <stdbool.h>

#include <rte_mbuf.h>

#include "packet/eal.h"

/* By all queues of the process. */
static struct eal_hold all;

struct counts {
    uint32_t n[EAL_HOLD_KINDS];
};

static unsigned int kind_of(const struct rte_mbuf *m)
{
    if (m->pool == eal_pool())
        return 0;
    return rte_pktmbuf_data_room_size(m->pool) >= EAL_LARGE_ROOM ? 1 : 2;
}

static void count(struct counts *counts, const struct rte_mbuf *m)
{
    for (; m; m = m->next)
        counts->n[kind_of(m)]++;
}

/* Whether a queue may hold a packet, besides `more`, which do not count yet. */
static bool fits(const struct eal_hold *hold, const struct counts *more, const struct rte_mbuf *m)
{
    struct counts with = *more;

    count(&with, m);
    for (unsigned int k = 0; k < EAL_HOLD_KINDS; k++) {
        const uint32_t total = atomic_load_explicit(&all.n[k], memory_order_relaxed) + with.n[k];
        const uint32_t own = atomic_load_explicit(&hold->n[k], memory_order_relaxed) + with.n[k];
        uint32_t limit = 0;

        if (with.n[k] == more->n[k])
            continue;
        for (const struct rte_mbuf *s = m; s && !limit; s = s->next)
            limit = kind_of(s) == k ? s->pool->size / 2 : 0;
        if (total > limit || own > limit - total + with.n[k])
            return false;
    }
    return true;
}

static void add(struct eal_hold *hold, const struct counts *counts)
{
    for (unsigned int k = 0; k < EAL_HOLD_KINDS; k++) {
        if (!counts->n[k])
            continue;
        atomic_fetch_add_explicit(&hold->n[k], counts->n[k], memory_order_relaxed);
        atomic_fetch_add_explicit(&all.n[k], counts->n[k], memory_order_relaxed);
    }
}

uint16_t eal_hold(struct eal_hold *hold, struct rte_mbuf **packets, uint16_t n)
{
    struct counts counts = { 0 };
    uint16_t held = 0;

    while (held < n && fits(hold, &counts, packets[held]))
        count(&counts, packets[held++]);
    add(hold, &counts);
    return held;
}

void eal_release(struct eal_hold *hold, struct rte_mbuf **packets, uint16_t n)
{
    struct counts counts = { 0 };

    for (uint16_t i = 0; i < n; i++)
        count(&counts, packets[i]);
    for (unsigned int k = 0; k < EAL_HOLD_KINDS; k++) {
        if (!counts.n[k])
            continue;
        atomic_fetch_sub_explicit(&hold->n[k], counts.n[k], memory_order_relaxed);
        atomic_fetch_sub_explicit(&all.n[k], counts.n[k], memory_order_relaxed);
    }
}
