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
struct upcall_taken;

struct flow_table *flow_table_create(struct rcu *);
void flow_table_destroy(struct flow_table *);
struct cls *flow_table_cls(struct flow_table *);
/* Goes on with what is made bit by bit and would else wait for the next flow; some ten
 * microseconds.  True: there may be more. */
bool flow_table_tend(struct flow_table *);
/* Whether actions were ever compiled that track connections. */
bool flow_table_tracks(const struct flow_table *);

/* Asked in the midst of a long batch: whether somebody waits for the control mutex; then, when
 * everything is whole, others may have it.  An error ends the batch: what is left of it fails with
 * it.  NULL: nobody is let in. */
struct flow_pause {
    bool (*wanted)(void *arg);
    int (*let_others)(void *arg);
    /* Lets go of the mutex, and does something meanwhile.  An error as above. */
    int (*meanwhile)(void *arg, void (*work)(void *), void *of);
    void *arg;
};

/* dp_operate() with the control mutex held.  `control` runs DP_OP_EXECUTE; `upcalls`, which
 * operations may be about, and `pause` may be NULL. */
int flow_operate(struct flow_table *, struct worker *control, const struct upcall_taken *upcalls, const struct flow_pause *pause, const uint8_t *ops, uint32_t ops_size,
                 uint32_t count, uint8_t *results, uint32_t results_size, uint32_t *results_used);
/* Fetches some memory that flows to come will touch, if there is any, with the mutex let go of.  An
 * error of `pause`. */
int flow_fetch(struct flow_table *, const struct flow_pause *pause);
/* Removes up to `max` flows from index `*at` on, which is 0 at first, or, unless that is
 * UINT32_MAX, as many as take a fraction of a millisecond; false: there are no more. */
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
