/* SPDX-License-Identifier: Apache-2.0
 * meter_fixture.h - meters with an RCU domain of their own, and packets that have a size and nothing else. */
#ifndef UPCALL_METER_FIXTURE_H
#define UPCALL_METER_FIXTURE_H

#include <rte_mbuf.h>
#include <stdlib.h>
#include <string.h>

#include "base/rcu.h"
#include "check.h"
#include "meter/meter.h"

struct world {
    struct rcu *rcu;
    struct meters *meters;
};

static inline void world_begin(struct world *w)
{
    w->rcu = rcu_create();
    w->meters = meters_create(w->rcu);
    if (!w->rcu || !w->meters)
        abort();
}

static inline void world_end(struct world *w)
{
    meters_destroy(w->meters);
    rcu_destroy(w->rcu);
}

/* A burst of packets of one size. */
struct burst {
    struct rte_mbuf m[METER_BURST];
    struct rte_mbuf *packets[METER_BURST];
};

static inline void burst_make(struct burst *b, uint32_t size)
{
    memset(b, 0, sizeof *b);
    for (int i = 0; i < METER_BURST; i++) {
        b->m[i].pkt_len = size;
        b->packets[i] = &b->m[i];
    }
}

static inline struct meter_config one_band(enum meter_unit unit, uint32_t rate, uint32_t burst)
{
    return (struct meter_config){ .unit = unit, .band_count = 1, .bands = { { rate, burst } } };
}

#endif
