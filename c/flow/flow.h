/* SPDX-License-Identifier: Apache-2.0
 * flow.h - the flow table as programs see it: put, delete, get, dump, by key or by UFID, on ODP
 * bytes.
 *
 * `struct flow` is the part of a flow that packets do not need; the classifier (cls.h) has the
 * other.  It is found by index, by UFID (hash table) and by key (classifier).  Counters are summed
 * over replicas when read.
 *
 * Threads: all under the control mutex. */
#ifndef UPCALL_FLOW_H
#define UPCALL_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "dp.h"

struct worker;
struct flow_table;           /* Owned by the datapath; owns the cls. */
struct flow_dump;
struct cls;
struct rcu;

struct flow_table *flow_table_create(struct rcu *);
void flow_table_destroy(struct flow_table *);
struct cls *flow_table_cls(struct flow_table *);
/* Whether actions were ever compiled that track connections. */
bool flow_table_tracks(const struct flow_table *);

/* Upcalls that operations may be about: struct dp_upcall and what follows, at multiples of 8. */
struct flow_upcalls {
    const uint8_t *arena;
    uint32_t used;
};

/* Called in the midst of a long batch, when everything is whole: others may have the control mutex
 * meanwhile.  An error ends the batch: what is left of it fails with it.  NULL: nobody is let
 * in. */
struct flow_pause {
    int (*let_others)(void *arg);
    void *arg;
};

/* dp_operate() with the control mutex held.  `control` runs DP_OP_EXECUTE; `upcalls` and `pause`
 * may be NULL. */
int flow_operate(struct flow_table *, struct worker *control, const struct flow_upcalls *upcalls, const struct flow_pause *pause, const uint8_t *ops, uint32_t ops_size,
                 uint32_t count, uint8_t *results, uint32_t results_size, uint32_t *results_used);
/* Removes up to `max` flows from index `*at` on, which is 0 at first; false: there are no more. */
bool flow_flush(struct flow_table *, uint32_t *at, uint32_t max);

/* A dump gives each flow that stays through it exactly once, whatever else comes and goes. */
int flow_dump_open(struct flow_table *, uint32_t flags, struct flow_dump **);
int flow_dump_next(struct flow_table *, struct flow_dump *, uint32_t max, uint8_t *records, uint32_t size, uint32_t *count,
                   uint32_t *used);
void flow_dump_close(struct flow_dump *);

/* Puts the flow that a direct upcall decided on (from the control side, later than the packet). */
int flow_put(struct flow_table *, const struct dp_op *op, const uint8_t *key, const uint8_t *mask, const uint8_t *actions,
             const char **why);

#endif
