/* SPDX-License-Identifier: Apache-2.0 */
#include "packet/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_branch_prediction.h>
#include <rte_mbuf.h>

#include "base/invariant.h"

void worker_drop(struct worker *worker, struct rte_mbuf *m, enum stat_drop reason)
{
    stat_drop(worker->stat, reason, 1);
    rte_pktmbuf_free(m);
}

void worker_drop_bulk(struct worker *worker, struct rte_mbuf **packets, unsigned int n, enum stat_drop reason)
{
    stat_drop(worker->stat, reason, n);
    rte_pktmbuf_free_bulk(packets, n);
}

void worker_recirculate(struct worker *worker, struct rte_mbuf *m)
{
    struct worker_recirc *recirc = &worker->recirc;

    INVARIANT(recirc->n <= WORKER_RECIRC_QUEUE);
    if (worker->depth >= WORKER_RECIRC_MAX) {
        worker_drop(worker, m, DROP_recirc_depth);
        return;
    }
    if (recirc->n == WORKER_RECIRC_QUEUE) {
        worker_drop(worker, m, DROP_recirc_full);
        return;
    }
    recirc->depth[recirc->n] = (uint8_t)(worker->depth + 1);
    recirc->packets[recirc->n++] = m;
}

uint64_t worker_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void worker_tick(struct worker *worker)
{
    worker->now = worker_clock();
    worker->now_ms = (uint32_t)worker->now ? (uint32_t)worker->now : 1;
}

uint64_t worker_ms(struct worker *worker)
{
    const uint64_t tsc = rte_rdtsc();
    struct timespec now;
    uint64_t left;

    if (likely(tsc - worker->ms_since < worker->ms_cycles))
        return worker->ms;
    clock_gettime(CLOCK_MONOTONIC, &now);
    left = 1000000 - (uint64_t)now.tv_nsec % 1000000; /* Nanoseconds of this millisecond. */
    worker->ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    worker->ms_since = tsc;
    worker->ms_cycles = left * (rte_get_tsc_hz() / 1000) / 1000000;
    return worker->ms;
}

/* No port is anything to tunnels. */
static const _Atomic uint8_t no_roles[WORKER_PORTS];

int worker_init(struct worker *worker, struct stat_counters *stat, uint32_t index, uint32_t core)
{
    worker->tx = calloc(WORKER_PORTS, sizeof *worker->tx);
    if (!worker->tx)
        return ENOMEM;
    worker->stat = stat;
    worker->roles = no_roles;
    worker->index = index;
    worker->core = core;
    worker_tick(worker);
    worker->random = rte_rdtsc() * 2 + 1; /* Anything but 0. */
    return 0;
}

void worker_fini(struct worker *worker)
{
    free(worker->tx);
    worker->tx = NULL;
}
