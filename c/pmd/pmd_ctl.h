/* SPDX-License-Identifier: Apache-2.0
 * pmd_ctl.h - what is asked of poll threads while they run: cores, naps, figures, the end.
 *
 * Threads: all under the control mutex; pmd_set_cores, pmd_set_rebalance, pmd_set_settle and
 * pmd_set_stop with struct dp's `life` too, and they let go of the control mutex while they
 * wait. */
#ifndef UPCALL_PMD_CTL_H
#define UPCALL_PMD_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include "dp.h"
#include "pmd/rxq_assign.h"

struct pmd_set;
struct port;
struct stat_counters;

/* Runs threads on exactly these cores (bits), none: one, on the last free core, which is added to
 * `cores`; and deals the queues out over them. errno, and error_set(): all is as it was. */
int pmd_set_cores(struct pmd_set *, uint64_t cores[DP_CORES / 64]);

/* Deals the queues out anew over the threads that there are. */
int pmd_set_rebalance(struct pmd_set *);
/* How, from the next time on. */
void pmd_set_algorithm(struct pmd_set *, enum rxq_algorithm);
void pmd_set_isolate(struct pmd_set *, bool);
/* Pins queues of a port to cores, from the next time on: `QUEUE:CORE,...`; those that are not named
 * are free.  EINVAL, and error_set(): all is as it was. */
int pmd_set_affinity(struct pmd_set *, const struct port *, const char *text);

/* Longest nap of idle threads, DP_POLL_SLEEP_MAX_US at most. */
void pmd_set_max_sleep(struct pmd_set *, uint32_t max_sleep_us);
/* Waits until every thread has gone round with what it was told. */
void pmd_set_settle(struct pmd_set *);

/* Packets received by a port's queues. */
uint64_t pmd_set_received(struct pmd_set *, const struct port *);

/* Adds the counters of all threads, those gone included, and the control side. */
void pmd_set_sum(struct pmd_set *, struct stat_counters *);

/* The thread on the smallest core >= `core`, and the `index`-th receive queue.  ENOENT: none. */
int pmd_set_thread(struct pmd_set *, uint32_t core, struct dp_poll_thread_info *);
int pmd_set_rxq(struct pmd_set *, uint32_t index, struct dp_rxq_info *);

/* Ends all threads, for good.  With `hurry`, false after a second if some thread does not end;
 * nothing may be freed then. */
bool pmd_set_stop(struct pmd_set *, bool hurry);

#endif
