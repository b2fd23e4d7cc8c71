/* SPDX-License-Identifier: Apache-2.0
 * pmd_ctl.h - what is asked of poll threads while they run: cores, naps, figures, the end.
 *
 * Threads: all under the control mutex. */
#ifndef UPCALL_PMD_CTL_H
#define UPCALL_PMD_CTL_H

#include <stdint.h>

#include "dp.h"

struct pmd_set;
struct port;
struct stat_counters;

/* Runs threads on exactly these cores (bits of two words), 0, 0: one, on the last core, and deals
 * the queues out over them.  errno, and error_set(): all is as it was. */
int pmd_set_cores(struct pmd_set *, uint64_t low, uint64_t high);

/* Longest nap of idle threads, DP_POLL_SLEEP_MAX_US at most. */
void pmd_set_max_sleep(struct pmd_set *, uint32_t max_sleep_us);

/* Packets received by a port's queues. */
uint64_t pmd_set_received(struct pmd_set *, const struct port *);

/* Adds the counters of all threads, those gone included, and the control side. */
void pmd_set_sum(struct pmd_set *, struct stat_counters *);

/* The thread on the smallest core >= `core`, and the `index`-th receive queue.  ENOENT: none. */
int pmd_set_thread(struct pmd_set *, uint32_t core, struct dp_poll_thread_info *);
int pmd_set_rxq(struct pmd_set *, uint32_t index, struct dp_rxq_info *);

/* Ends all threads, for good. */
void pmd_set_stop(struct pmd_set *);

#endif
