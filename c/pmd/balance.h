/* SPDX-License-Identifier: Apache-2.0
 * balance.h - whether dealing the queues out anew is worth it: a function of numbers.
 *
 * The rules are those of Open vSwitch 3.1 (dpif-netdev.c, pmd_rebalance_dry_run): for each NUMA
 * node, the variance of how busy its threads are, now and as rxq_assign() would have it, in whole
 * per cent; threads that are isolated do not count.
 *
 * Threads: any; no state. */
#ifndef UPCALL_BALANCE_H
#define UPCALL_BALANCE_H

#include "dp.h"
#include "pmd/rxq_assign.h"

/* `cores` have what they do now: `isolated`, `queues` and `load`; `passed`, by place, are the
 * cycles that passed in the same time.  `wishes` are the queues.  Fills the last five fields in.
 * ENOMEM. */
int balance_try(const struct rxq_core *cores, const uint64_t *passed, uint32_t n_cores, struct rxq_wish *wishes, uint32_t n,
                enum rxq_algorithm, bool isolate, struct dp_balance_info *);

#endif
