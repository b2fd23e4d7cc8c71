/* SPDX-License-Identifier: Apache-2.0 */
#include "packet/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_branch_prediction.h>
#include <rte_mbuf.h>

#include "base/invariant.h"
#include "record/record.h"

void worker_show(struct worker *worker, struct records *drops, struct records *samples)
{
    atomic_store_explicit(&worker->drops, drops, memory_order_release);
    atomic_store_explicit(&worker->samples, samples, memory_order_release);
}

/* Nanoseconds since 1970. */
static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void copy_head(const struct rte_mbuf *m, uint8_t *to, uint32_t size)
{
    const void *bytes = rte_pktmbuf_read(m, 0, size, to);

    if (bytes && bytes != to)
        memcpy(to, bytes, size);
}

void worker_show_sample(struct worker *worker, const struct worker_sample *what, const struct rte_mbuf *m, uint32_t size)
{
    struct records *samples = atomic_load_explicit(&worker->samples, memory_order_acquire);
    struct dp_sample *sample;
    uint64_t ticket;

    sample = samples ? record_claim(samples, &ticket) : NULL;
    if (!sample)
        return;
    sample->ns = now_ns();
    sample->group = what->group;
    sample->probability = what->probability;
    sample->in_port = worker->in_port;
    sample->size = m->pkt_len;
    sample->kept = RTE_MIN(size, DP_SAMPLE_BYTES);
    sample->cookie_size = what->cookie_size;
    memcpy(sample->cookie, what->cookie, sizeof sample->cookie);
    copy_head(m, sample->bytes, sample->kept);
    record_publish(samples, ticket);
}

void worker_show_drops(struct worker *worker, struct records *drops, struct rte_mbuf *const *packets, unsigned int n,
                       enum stat_drop reason, uint32_t out_port)
{
    const uint64_t now = now_ns();

    for (unsigned int i = 0; i < n; i++) {
        const struct rte_mbuf *m = packets[i];
        struct dp_dropped *dropped;
        uint64_t ticket;

        dropped = record_claim(drops, &ticket);
        if (!dropped)
            continue;
        dropped->ns = now;
        dropped->reason = reason;
        /* What a port would not take may have waited for it, and has come from elsewhere. */
        dropped->in_port = out_port == DP_PORT_NONE ? worker->in_port : DP_PORT_NONE;
        dropped->out_port = out_port;
        dropped->size = m->pkt_len;
        dropped->kept = RTE_MIN(m->pkt_len, DP_DROPPED_BYTES);
        copy_head(m, dropped->bytes, dropped->kept);
        record_publish(drops, ticket);
    }
}

void worker_drop(struct worker *worker, struct rte_mbuf *m, enum stat_drop reason)
{
    worker_dropped(worker, &m, 1, reason, DP_PORT_NONE);
    rte_pktmbuf_free(m);
}

void worker_drop_bulk(struct worker *worker, struct rte_mbuf **packets, unsigned int n, enum stat_drop reason)
{
    worker_dropped(worker, packets, n, reason, DP_PORT_NONE);
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
