/* SPDX-License-Identifier: Apache-2.0
 * pmd_figures.h - how busy poll threads are, what their iterations are like, and whether their
 * queues should be dealt out anew.
 *
 * Threads: all under the control mutex; pmd_balance() with struct dp's `life` too, and it lets
 * go of the control mutex while it waits. */
#ifndef UPCALL_PMD_FIGURES_H
#define UPCALL_PMD_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "dp.h"

struct pmd_set;

/* --- Load ------------------------------------------------------------------------------------- */

void pmd_set_sample_ms(struct pmd_set *, uint32_t ms);
/* The last `samples`; ENOENT: no thread on that core, no such queue. */
int pmd_load_thread(const struct pmd_set *, uint32_t core, uint32_t samples, struct dp_load_info *);
int pmd_load_rxq(const struct pmd_set *, uint32_t index, uint32_t samples, uint64_t *cycles);

/* --- Balance ---------------------------------------------------------------------------------- */

void pmd_balance_enable(struct pmd_set *, bool);
void pmd_balance_load(struct pmd_set *, uint32_t percent);
void pmd_balance_improvement(struct pmd_set *, uint32_t percent);
void pmd_balance_interval(struct pmd_set *, uint32_t minutes);
/* Settings and what came of them; with `dry_run` also what would become of it now.  ENOMEM. */
int pmd_balance_describe(const struct pmd_set *, bool dry_run, struct dp_balance_info *);
/* In how many ms pmd_balance() is due; UINT32_MAX: never. */
uint32_t pmd_balance_due(const struct pmd_set *, uint64_t now_ms);
/* Deals the queues out anew if an interval has passed, a thread was overloaded all the time, and it
 * is worth it. */
int pmd_balance(struct pmd_set *, uint64_t now_ms);

/* --- Iterations ------------------------------------------------------------------------------- */

/* ENOMEM: some threads do not record. */
int pmd_record(struct pmd_set *, bool);
int pmd_perf_get(const struct pmd_set *, uint32_t core, struct dp_perf_info *);
int pmd_perf_history(const struct pmd_set *, uint32_t core, uint32_t which, struct dp_perf_sample *, uint32_t room, uint32_t *count);
const struct dp_perf_watch *pmd_perf_watch(const struct pmd_set *);
/* EINVAL: too many iterations around. */
int pmd_perf_watch_set(struct pmd_set *, const struct dp_perf_watch *);
int pmd_perf_take(struct pmd_set *, uint32_t core, struct dp_perf_incident *, struct dp_perf_sample *, uint32_t room);

#endif
